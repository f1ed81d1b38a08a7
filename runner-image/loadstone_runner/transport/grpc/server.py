"""A master's end of gRPC: both services on one port. What is said is checked here and decided behind `MasterPort`.

Each stream is handled on its own: whatever one peer sends, or does not send, only its own calls end.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc import aio

from loadstone_protocol import coordination
from loadstone_protocol.channel import SERVER_OPTIONS, concurrent_calls
from loadstone_protocol.codec import WireError, stream_state_from_message
from loadstone_protocol.credentials import add_port
from loadstone_protocol.messages import Bye, EngineEnd
from loadstone_protocol.v1 import control_pb2_grpc, coordination_pb2, coordination_pb2_grpc
from loadstone_runner.transport.grpc.control import Control, ListenError
from loadstone_runner.transport.grpc.doorstep import Doorstep
from loadstone_runner.transport.grpc.ending import end_task
from loadstone_runner.transport.grpc.followers import Run
from loadstone_runner.transport.grpc.gate import Gate
from loadstone_runner.transport.grpc.links import AgentLink, StatisticsLink
from loadstone_runner.transport.grpc.loop import OneATurn
from loadstone_runner.transport.grpc.reading import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from loadstone_core.stats.stream import SeriesState, StreamId, StreamState
    from loadstone_protocol.identity import Pems
    from loadstone_protocol.messages import AgentWord, Hello, Peer
    from loadstone_runner.transport.grpc.bulk import BulkEnd
    from loadstone_runner.transport.grpc.port import MasterPort

BAD_FRAMES_MAX: Final = 10
HELLO_SECONDS: Final = 10.0


async def serve(listen: str, port: MasterPort, *, workers: int, pems: Pems | None) -> tuple[aio.Server, int]:
    """Listen on `host:port` (0: any) and return the server and the port that it got; without `pems` TLS is off.

    Raises:
        ListenError: the address is taken or not of this machine.
    """
    doorstep = None if pems is None else Doorstep(port.count_stranger)
    gate = Gate(port.run_uid, doorstep, port.count_refused)
    server = aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=concurrent_calls(workers))
    server.add_generic_rpc_handlers((_coordination_of(_Coordination(port, gate)),))
    control_pb2_grpc.add_RunServicer_to_server(Run(port, gate), server)  # type: ignore[no-untyped-call]  # generated
    control = Control(port, gate.admit_operator)
    control_pb2_grpc.add_ControlServicer_to_server(control, server)  # type: ignore[no-untyped-call]  # generated
    try:
        bound = add_port(server, listen, pems, doorstep.come if doorstep else lambda: None)
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {listen}; is the port taken?") from error
    await server.start()
    return server, bound


def _coordination_of(servicer: _Coordination) -> grpc.GenericRpcHandler:
    """Return what agents call, as generated but that series stay as they came and what cannot be read is heard of."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Control": grpc.stream_stream_rpc_method_handler(
            servicer.Control,
            request_deserializer=read(coordination_pb2.AgentMessage),
            response_serializer=coordination_pb2.MasterMessage.SerializeToString,
        ),
        "Statistics": grpc.stream_stream_rpc_method_handler(
            servicer.Statistics,
            request_deserializer=read(coordination_pb2.PackedStatisticsFrame),
            response_serializer=coordination_pb2.StatisticsAck.SerializeToString,
        ),
        "Bulk": grpc.stream_stream_rpc_method_handler(
            servicer.Bulk,
            request_deserializer=read(coordination_pb2.BulkFrame),
            response_serializer=coordination_pb2.BulkFrame.SerializeToString,
        ),
    }
    return grpc.method_handlers_generic_handler("loadstone_protocol.v1.Coordination", handlers)


class _Coordination(coordination_pb2_grpc.CoordinationServicer):
    """What agents call."""

    def __init__(self, port: MasterPort, gate: Gate) -> None:
        self._port = port
        self._gate = gate
        self._bulk: dict[int, asyncio.Task[Any]] = {}  # by worker
        self._one_state = OneATurn()

    async def Control(  # noqa: N802 the name in the proto
        self, requests: AsyncIterator[coordination_pb2.AgentMessage], context: aio.ServicerContext[Any, Any]
    ) -> None:
        self._gate.meet(context)
        hello = await _hello(requests, context, self._port)
        await self._gate.admit_worker(context, hello.peer.worker)
        link = AgentLink(hello.peer, _this_task())
        refusal = self._port.join(hello, link)
        if refusal is not None:
            await context.write(coordination.refused_message(refusal))
            return
        try:
            await _both_ways(link.pump(context), self._listen(requests, context, link))
        finally:
            self._port.part(link)

    async def Statistics(  # noqa: N802 the name in the proto
        self, requests: AsyncIterator[coordination_pb2.PackedStatisticsFrame], context: aio.ServicerContext[Any, Any]
    ) -> None:
        self._gate.meet(context)
        peer = await _peer_of_stream(requests, context, self._port)
        await self._gate.admit_worker(context, peer.worker)
        if not self._port.may_report(peer):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "say Hello on the control stream first")
        link = StatisticsLink(peer)
        try:
            await _both_ways(link.pump(context), self._collect(requests, context, link))
        finally:
            self._port.part_statistics(link)

    async def Bulk(  # noqa: N802 the name in the proto
        self, requests: AsyncIterator[coordination_pb2.BulkFrame], context: aio.ServicerContext[Any, Any]
    ) -> None:
        self._gate.meet(context)
        peer = await _peer_of_stream(requests, context, self._port)
        await self._gate.admit_worker(context, peer.worker)
        end = self._port.join_bulk(peer)
        if end is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "say Hello on the control stream first")
            return
        with self._only(peer):
            end.begin()
            await _both_ways(end.pump(context.write), self._exchange(requests, context, peer, end=end))

    @contextlib.contextmanager
    def _only(self, peer: Peer) -> Iterator[None]:
        """Let a Bulk connection be the only one of its worker: it ends the one before."""
        task = _this_task()
        before = self._bulk.get(peer.worker)
        if before is not None:
            before.cancel()
        self._bulk[peer.worker] = task
        try:
            yield
        finally:
            if self._bulk.get(peer.worker) is task:
                del self._bulk[peer.worker]

    async def _exchange(
        self,
        requests: AsyncIterator[coordination_pb2.BulkFrame],
        context: aio.ServicerContext[Any, Any],
        peer: Peer,
        *,
        end: BulkEnd,
    ) -> None:
        bad_frames = 0
        async for frame in requests:
            if not self._port.may_report(peer):
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another agent has taken this one's place")
            try:
                end.hear(frame)
            except WireError as error:
                bad_frames += 1
                await self._refuse_frame(context, peer, error=error, is_last=bad_frames > BAD_FRAMES_MAX)

    async def _listen(
        self,
        requests: AsyncIterator[coordination_pb2.AgentMessage],
        context: aio.ServicerContext[Any, Any],
        link: AgentLink,
    ) -> None:
        bad_frames = 0
        async for message in requests:
            try:
                word = _word_of(message, link.peer)
            except WireError as error:
                bad_frames += 1
                await self._refuse_frame(context, link.peer, error=error, is_last=bad_frames > BAD_FRAMES_MAX)
                continue
            self._port.hear(link, word)

    async def _collect(
        self,
        requests: AsyncIterator[coordination_pb2.PackedStatisticsFrame],
        context: aio.ServicerContext[Any, Any],
        link: StatisticsLink,
    ) -> None:
        bad_frames = 0
        async for frame in requests:
            # All agents report when a second ends. One state a turn of the loop, so that no heartbeat waits for all.
            async with self._one_state:
                may_report = self._port.may_report(link.peer)
                error = self._take_in(frame, link) if may_report else None
            if not may_report:
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another agent has taken this one's place")
            if error is not None:
                bad_frames += 1
                await self._refuse_frame(context, link.peer, error=error, is_last=bad_frames > BAD_FRAMES_MAX)

    def _take_in(self, frame: coordination_pb2.PackedStatisticsFrame, link: StatisticsLink) -> WireError | None:
        """Report a state, or return why it cannot be meant."""
        try:
            state = _state_of(frame, link.peer, self._port.read_series)
        except WireError as error:
            return error
        self._port.report(link, state)
        return None

    async def _refuse_frame(
        self, context: aio.ServicerContext[Any, Any], peer: Peer, *, error: WireError, is_last: bool
    ) -> None:
        self._port.blame(peer, error)
        if is_last:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"too many bad messages; the last: {error}")


async def _hello(
    requests: AsyncIterator[coordination_pb2.AgentMessage], context: aio.ServicerContext[Any, Any], port: MasterPort
) -> Hello:
    """Return the first message of a control stream, or abort the call."""
    try:
        return coordination.hello_from_message(await _first(requests))
    except WireError as error:
        port.count_refused()
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise


async def _peer_of_stream(
    requests: AsyncIterator[coordination_pb2.PackedStatisticsFrame] | AsyncIterator[coordination_pb2.BulkFrame],
    context: aio.ServicerContext[Any, Any],
    port: MasterPort,
) -> Peer:
    """Return the peer that the first frame of a stream names, or abort the call."""
    try:
        return coordination.peer_from_message((await _first(requests)).peer)
    except WireError as error:
        port.count_refused()
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise


async def _first(requests: AsyncIterator[Any]) -> Any:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            return await anext(aiter(requests))
    except (StopAsyncIteration, TimeoutError) as error:
        raise WireError("a stream begins by saying who is there") from error


def _word_of(message: coordination_pb2.AgentMessage, peer: Peer) -> AgentWord:
    word = coordination.word_from_message(message)
    ends = word.engines if isinstance(word, Bye) else (word,) if isinstance(word, EngineEnd) else ()
    for end in ends:
        if not _is_own(end.stream, peer):
            raise WireError(f"worker {peer.worker} reports the end of stream {end.stream}")
    return word


def _state_of(
    frame: coordination_pb2.PackedStatisticsFrame, peer: Peer, read_series: Callable[[bytes], SeriesState]
) -> StreamState:
    if frame.WhichOneof("kind") != "state":
        raise WireError("a frame of a statistics stream holds a state")
    state = stream_state_from_message(frame.state, read_series)
    if not _is_own(state.stream, peer):
        raise WireError(f"worker {peer.worker} reports for stream {state.stream}")
    return state


def _is_own(stream: StreamId, peer: Peer) -> bool:
    return (stream.worker, stream.attempt) == (peer.worker, peer.attempt)


async def _both_ways(writing: Any, reading: Any) -> None:
    """Read until the peer has nothing more to say or either way breaks; what was queued before is written first."""
    tasks: Iterable[asyncio.Task[None]] = (asyncio.ensure_future(writing), asyncio.ensure_future(reading))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await end_task(task)


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a call is handled in a task")
    return task
