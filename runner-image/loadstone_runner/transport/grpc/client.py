"""An agent's end of gRPC: find the master, stay connected, pass messages. asyncio only; nothing is decided here.

Heartbeats and statistics are calls of their own on one connection, so that a flood of the one never delays the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from grpc import aio

from loadstone_protocol.v1 import coordination_pb2, coordination_pb2_grpc
from loadstone_runner.transport.grpc.dialing import open_channel
from loadstone_runner.transport.grpc.ending import end_task

if TYPE_CHECKING:
    from loadstone_protocol.identity import Pems
    from loadstone_protocol.v1 import statistics_pb2
    from loadstone_runner.settings import Address

LOOKUP_EVERY_SECONDS: Final = 0.2
BACKOFF_FIRST_SECONDS: Final = 0.2
BACKOFF_MAX_SECONDS: Final = 5.0
# As long as making a connection may take, and as long again for what is said on it.
FIRST_WORD_SECONDS: Final = 10.0
REFUSED: Final = "Connection refused"
# Seconds of a stream that the master has not taken. No row waits for more of them, and the whole state says all of it
# with fewer bytes: a master that has more to do than it can gets states less often, and no heap of old ones.
STATES_MAX: Final = 5
TAKEN_SECONDS: Final = 10.0


class ClientListener(Protocol):
    """Who is told what the master says; called on the event loop, so nothing in it may block."""

    def on_open(self) -> None:
        """Say hello: there may be a master at the other end."""
        ...

    def on_message(self, message: coordination_pb2.MasterMessage) -> None:
        """Take a message of the control stream."""
        ...

    def whole_states(self) -> list[coordination_pb2.StatisticsFrame]:
        """Return the whole state of every stream: a master is to be told everything."""
        ...

    def on_acknowledged(self, ack: coordination_pb2.StatisticsAck) -> None:
        """Take note of what the master has of a stream."""
        ...

    def on_closed(self, why: str) -> None:
        """Take note that the connection has ended, or that there was none."""
        ...


class MasterClient:
    """The way to the master, there or not. What is said while there is no connection is lost."""

    def __init__(self, master: Address, listener: ClientListener, *, run_uid: str, pems: Pems | None) -> None:
        """Begin without a connection; with `pems` nobody is a master but this run's, without them TLS is off."""
        self._master = master
        self._run_uid = run_uid
        self._pems = pems
        self._listener = listener
        self._words: deque[coordination_pb2.AgentMessage] = deque()
        self._frames: deque[coordination_pb2.StatisticsFrame] = deque()
        self._has_words = asyncio.Event()
        self._has_frames = asyncio.Event()
        self._is_behind = False
        self._untaken: dict[tuple[int, int], list[int]] = {}  # the states of each stream, by their sequence
        self._has_taken = asyncio.Event()
        self._control: Any = None
        self._statistics: asyncio.Task[None] | None = None
        self._stub: Any = None
        self._target = ""
        self._failure: BaseException | None = None
        self._has_been_heard = False
        self._was_ever_heard = False
        self._lookups = 0

    @property
    def target(self) -> str:
        """The master of the newest connection, by gRPC's name of its address."""
        return self._target

    def say(self, message: coordination_pb2.AgentMessage) -> None:
        """Queue a message for the control stream; a heartbeat takes the place of one that has not left yet."""
        if self._control is None:
            return
        if message.HasField("heartbeat"):
            for held in [held for held in self._words if held.HasField("heartbeat")]:
                self._words.remove(held)
        self._words.append(message)
        self._has_words.set()

    def report(self, frame: coordination_pb2.StatisticsFrame) -> None:
        """Queue a state for the statistics stream; once too many are not taken, the whole state is said instead."""
        if self._statistics is None or self._is_behind:
            return
        if len(self._untaken.get(_stream_of(frame.state), ())) < STATES_MAX:
            self._send(frame)
        else:
            self._is_behind = True
            self._has_frames.set()

    def open_statistics(self, peer: coordination_pb2.StatisticsFrame) -> None:
        """Begin the statistics stream of this connection with the frame that says who reports."""
        self._stop_statistics()
        self._statistics = asyncio.create_task(self._keep_reporting(peer))
        self._statistics.add_done_callback(self._reporting_ended)

    def hang_up(self) -> None:
        """End this connection and look for a master anew."""
        if self._control is not None:
            self._control.cancel()

    async def run(self) -> None:
        """Connect again and again until cancelled; what a listener raises, comes out here."""
        pause = BACKOFF_FIRST_SECONDS
        while True:
            self._has_been_heard = False
            why = await self._connection(await self._resolve())
            if self._failure is not None:
                raise self._failure
            self._listener.on_closed(why)
            # A port that was never open is still being made, so there is no reason to become slower. One that does not
            # answer in time may have too many before it.
            is_made = self._was_ever_heard or REFUSED not in why
            is_first = self._has_been_heard or not is_made
            pause = BACKOFF_FIRST_SECONDS if is_first else min(pause * 2, BACKOFF_MAX_SECONDS)
            await asyncio.sleep(pause * _jitter())

    async def _resolve(self) -> str:
        """Return where the master is now: a fresh lookup, as a new master has a new address."""
        host, port = self._master
        if _is_literal(host):
            return _target(host, port)
        while True:
            with contextlib.suppress(OSError):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
                if found:
                    # Two addresses: an old and a new master. One of them will answer.
                    self._lookups += 1
                    return _target(str(found[self._lookups % len(found)][4][0]), port)
            await asyncio.sleep(LOOKUP_EVERY_SECONDS)

    async def _connection(self, target: str) -> str:
        """Hold one connection as long as it lasts; return why it ended."""
        self._target = target
        async with open_channel(target, run_uid=self._run_uid, pems=self._pems) as channel:
            self._stub = coordination_pb2_grpc.CoordinationStub(channel)  # type: ignore[no-untyped-call]  # generated
            self._control = self._stub.Control()
            self._words.clear()
            writer = asyncio.create_task(self._write_words(self._control))
            try:
                self._listener.on_open()
                return await self._listen(self._control)
            finally:
                self._stop_statistics()
                self._control = None
                await end_task(writer)

    async def _listen(self, control: Any) -> str:
        try:
            message = await _first_word(control)
            while message is not aio.EOF:
                self._has_been_heard = self._was_ever_heard = True
                self._listener.on_message(message)
                message = await control.read()
        except TimeoutError:
            return f"it did not answer in {FIRST_WORD_SECONDS:.0f} s"
        except aio.AioRpcError as error:
            return error.details() or str(error.code())
        except (asyncio.InvalidStateError, aio.UsageError):
            return "the connection broke"
        except asyncio.CancelledError:
            # hang_up() cancels the call, and reading from it says so in this way.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return "it was left"
        return "it ended the connection"

    async def _write_words(self, control: Any) -> None:
        while True:
            await self._has_words.wait()
            self._has_words.clear()
            while self._words:
                await _write(control, self._words.popleft())

    async def _keep_reporting(self, peer: coordination_pb2.StatisticsFrame) -> None:
        """Hold a statistics stream while the connection lasts; begin again with everything when it breaks alone."""
        pause = BACKOFF_FIRST_SECONDS
        # gRPC swallows a cancellation that comes while a call is being made; the channel is closed by then.
        while self._statistics is asyncio.current_task():
            call = self._stub.Statistics()
            self._retell(peer)
            writer = asyncio.create_task(self._write_frames(call))
            try:
                while (ack := await call.read()) is not aio.EOF:
                    pause = BACKOFF_FIRST_SECONDS
                    self._arrived(ack)
                    self._listener.on_acknowledged(ack)
            except (aio.AioRpcError, asyncio.InvalidStateError, aio.UsageError):
                pause = min(pause * 2, BACKOFF_MAX_SECONDS)
            finally:
                await end_task(writer)
            await asyncio.sleep(pause * _jitter())

    def _reporting_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = failure
            self.hang_up()

    def _retell(self, *first: coordination_pb2.StatisticsFrame) -> None:
        """Put everything in the queue in place of what is there."""
        self._untaken.clear()
        self._frames.clear()
        self._frames.extend(first)
        self._is_behind = False
        self._has_frames.set()
        for whole in self._listener.whole_states():
            self._send(whole)

    async def _write_frames(self, call: Any) -> None:
        while True:
            await self._has_frames.wait()
            self._has_frames.clear()
            while self._frames:
                await _write(call, self._frames.popleft())
            if self._is_behind:
                await self._until_taken()
                self._retell()

    def _send(self, frame: coordination_pb2.StatisticsFrame) -> None:
        self._untaken.setdefault(_stream_of(frame.state), []).append(frame.state.sequence)
        self._frames.append(frame)
        self._has_frames.set()

    def _arrived(self, ack: coordination_pb2.StatisticsAck) -> None:
        """Forget what the master has of a stream."""
        left = [sequence for sequence in self._untaken.pop(_stream_of(ack), ()) if sequence > ack.received]
        if left:
            self._untaken[_stream_of(ack)] = left
        self._has_taken.set()

    async def _until_taken(self) -> None:
        """Wait until the master has what was sent to it; what it refuses it never says to have."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TAKEN_SECONDS):
                while self._untaken:
                    self._has_taken.clear()
                    await self._has_taken.wait()

    def _stop_statistics(self) -> None:
        if self._statistics is not None:
            self._statistics.cancel()
            self._statistics = None
            self._frames.clear()


def _target(address: str, port: int) -> str:
    """Return gRPC's name of an address, so that it looks nothing up by itself."""
    return f"ipv6:[{address}]:{port}" if ":" in address else f"ipv4:{address}:{port}"


def _is_literal(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False


def _stream_of(named: statistics_pb2.StreamState | coordination_pb2.StatisticsAck) -> tuple[int, int]:
    return named.stream.engine, named.stream.start


def _jitter() -> float:
    """Return 0.9 to 1.1, so that a thousand agents do not come back in the same moment."""
    return 0.9 + os.urandom(1)[0] / 1275


async def _first_word(control: Any) -> Any:
    """Return what the master says first; raise TimeoutError if it says nothing for too long.

    `wait_for` would wait for a reading that has swallowed its cancellation, as gRPC's may.
    """
    reading = asyncio.create_task(control.read())
    try:
        await asyncio.wait((reading,), timeout=FIRST_WORD_SECONDS)
        if not reading.done():
            raise TimeoutError
    finally:
        if not reading.done():
            control.cancel()
            await end_task(reading)
    return reading.result()


async def _write(call: Any, message: coordination_pb2.AgentMessage | coordination_pb2.StatisticsFrame) -> None:
    """Write a message. When the call breaks, whoever reads from it says so, and this never returns."""
    try:
        await call.write(message)
    except (aio.AioRpcError, asyncio.InvalidStateError, aio.UsageError):
        await asyncio.Event().wait()
