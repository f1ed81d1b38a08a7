"""What `grpc.aio`'s calls are here, from both ends.

Each keeps its order, and calls of one connection overtake each other. Serialization is the real one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.stateful.clockwork import Process
    from tests.stateful.connections import Connection

END = object()
# Calls of agents: gRPC promises more than they need. An order they do need, but for what is numbered (decision 0032).
STUTTERED = frozenset({"Statistics", "Bulk", "Control"})
DISORDERED = frozenset({"Bulk"})
TWICE, SWAPPED = 0.2, 0.2


class Pipe:
    """One direction of one call: in order, each message after a moment of its own."""

    def __init__(self, call: Call, *, is_up: bool) -> None:
        self._call = call
        self._is_up = is_up
        self._network = call.connection.network
        self._travelling: deque[tuple[float, Any]] = deque()
        self._is_awake = False
        self._has_begun = False
        self.arrived: deque[Any] = deque()
        self._reader: asyncio.Future[None] | None = None
        self.failure: BaseException | None = None

    def put(self, message: Any) -> None:
        """Send a message on its way."""
        earliest = self._travelling[-1][0] if self._travelling else 0.0
        due = max(earliest, self._network.loop.time() + self._network.latency())
        self._travelling.append((due, message))
        self.flow()

    @property
    def seconds_left(self) -> float:
        """How long it will be until all that travels has arrived."""
        return max(0.0, self._travelling[-1][0] - self._network.loop.time()) if self._travelling else 0.0

    def flow(self) -> None:
        """See to it that what travels arrives."""
        if self._travelling and not self._is_awake:
            self._is_awake = True
            self._network.after(max(0.0, self._travelling[0][0] - self._network.loop.time()), self._arrive)

    def _arrive(self) -> None:
        self._is_awake = False
        connection = self._call.connection
        if connection.is_cut or connection.server is None or connection.is_deaf:
            return  # it is held back until somebody calls `flow`
        while self._travelling and self._travelling[0][0] <= self._network.loop.time():
            _, message = self._travelling.popleft()
            if not (connection.is_broken_there if self._is_up else connection.is_broken_here):
                for each in self._stuttered(message):
                    self._hand_over(each)
        self.flow()

    def _stuttered(self, message: Any) -> tuple[Any, ...]:
        """Return a message, if its connection stutters perhaps twice, or behind the one that comes after it."""
        is_first, self._has_begun = not self._has_begun, True
        if is_first or self._call.method not in STUTTERED or not self._call.connection.stutters:
            return (message,)
        if not isinstance(message, bytes):
            return (message,)
        fate = self._network.dice.random()
        if fate < TWICE:
            return (message, message)
        has_next = self._travelling and isinstance(self._travelling[0][1], bytes)
        if has_next and fate < TWICE + SWAPPED and self._call.method in DISORDERED:
            return (self._travelling.popleft()[1], message)
        return (message,)

    def _hand_over(self, message: Any) -> None:
        if self._is_up and not self._call.is_begun:
            self._call.begin()
        if isinstance(message, bytes):
            for tap in self._network.taps:
                tap(self._call, self._is_up, message)
        elif self._is_up and isinstance(message, asyncio.CancelledError):
            self._call.lose_client()
        self.arrived.append(message)
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Let whoever reads hear of an end that came by no message."""
        if self.failure is None:
            self.failure = error
            self.wake()

    def wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> Any:
        """Return what has arrived next; raise what the call has failed with."""
        while not self.arrived:
            if self.failure is not None:
                raise self.failure
            self._reader = self._network.loop.create_future()
            await self._reader
        message = self.arrived.popleft()
        if isinstance(message, BaseException):
            self.failure = message
            raise message
        return message


class Call:
    """A stand-in for the client's call of `grpc.aio`, and what the server's side of it needs.

    Attributes:
        made_at: when its client began it.
        who: worker, attempt and boot of an agent, once a tap has heard it.
        turn: the how manieth of its kind of that worker it is.
        hello_turn: how many control streams of that worker had begun when it did.
        is_dismissed: the agent was told to go.
    """

    who: Any = None
    turn = 0
    hello_turn = 0
    is_dismissed = False

    def __init__(self, connection: Connection, method: str, codec: dict[str, Any]) -> None:
        self.connection = connection
        self.made_at = connection.network.loop.time()
        self.method = method.rpartition("/")[2]
        self.is_begun = False
        self.is_client_gone = False
        self.serialize = codec["request_serializer"]
        self._path = method
        self._read_answer = codec["response_deserializer"]
        self._is_done = False  # the client's side of it
        self._task: asyncio.Task[Any] | None = None
        self.up = Pipe(self, is_up=True)
        self.down = Pipe(self, is_up=False)

    def said_by(self, process: Process) -> Pipe:
        """Return what a process says on this call."""
        return self.up if process is self.connection.client else self.down

    # The client's side.

    async def write(self, message: Any) -> None:
        await asyncio.sleep(0)
        if self._is_done or self.connection.is_broken_here:
            raise asyncio.InvalidStateError("the call has ended")
        self.up.put(self.serialize(message))

    async def read(self) -> Any:
        message = await self.down.get()
        if message is END:
            self._is_done = True
            self.down.arrived.append(END)
            return aio.EOF
        return self._read_answer(message)

    def cancel(self) -> None:
        if not self._is_done:
            self._is_done = True
            self.up.put(asyncio.CancelledError())
            self.down.fail(asyncio.CancelledError())

    def __aiter__(self) -> Call:
        return self

    async def __anext__(self) -> Any:
        if (message := await self.read()) is aio.EOF:
            raise StopAsyncIteration
        return message

    async def answer(self, seconds: float | None) -> Any:
        # `wait_for` may take a cancellation for an answer: whoever asks would go on asking for ever.
        try:
            async with asyncio.timeout(seconds):
                return await self.read()
        except TimeoutError:
            self.cancel()
            raise _error(grpc.StatusCode.DEADLINE_EXCEEDED, "deadline exceeded") from None

    def fail(self, code: grpc.StatusCode, why: str) -> None:
        self._is_done = True
        self.down.fail(_error(code, why))

    # The server's side.

    def begin(self) -> None:
        """Let the server handle the call, in its own process."""
        self.is_begun = True
        server = self.connection.server
        assert server is not None
        handler = server.handler(self._path)
        self._task = server.process.spawn(self._handle(handler, Context(self, handler)))

    def lose_client(self) -> None:
        """Let the server's side hear that nobody is at the other end any more."""
        self.is_client_gone = True
        if self._task is not None and not self._task.done():
            self._task.cancel()

    async def _handle(self, handler: Any, context: Context) -> None:
        try:
            await self._serve(handler, context)
        except _Aborted:
            end, why = context.status, "aborted"
        except asyncio.CancelledError:
            end, why = _error(grpc.StatusCode.CANCELLED, "the server has ended the call"), "cancelled"
        except Exception as error:  # noqa: BLE001 as gRPC does: the call ends, the server lives
            end, why = _error(grpc.StatusCode.UNKNOWN, repr(error)), f"raised {error!r}"
            self.connection.network.loop.complain(f"a call of {self.method} raised {error!r}")
        else:
            end, why = END, "returned"
        if not self.is_client_gone:
            for told in self.connection.network.ended:
                told(self, why)
        self.down.put(end)

    async def _serve(self, handler: Any, context: Context) -> None:
        if handler.stream_stream is not None:
            await handler.stream_stream(self._requests(handler), context)
            return
        request = handler.request_deserializer(await self.up.get())
        if handler.unary_stream is not None:
            async for answer in handler.unary_stream(request, context):
                await context.write(answer)
        else:
            await context.write(await handler.unary_unary(request, context))

    async def _requests(self, handler: Any) -> AsyncIterator[Any]:
        while (message := await self.up.get()) is not END:
            yield handler.request_deserializer(message)


class Context:
    """A stand-in for `grpc.aio.ServicerContext`."""

    def __init__(self, call: Call, handler: Any) -> None:
        self._call = call
        self._serialize = handler.response_serializer
        self.status: BaseException = _error(grpc.StatusCode.UNKNOWN, "")

    async def write(self, message: Any) -> None:
        await asyncio.sleep(0)
        self._call.down.put(self._serialize(message))

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        self.status = _error(code, details)
        raise _Aborted


class _Aborted(Exception):  # noqa: N818 as gRPC's own
    """A handler has ended its call with a status."""


def _error(code: grpc.StatusCode, details: str) -> aio.AioRpcError:
    return aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), details)
