"""What `grpc.aio` is to masters, agents and followers here: channels, calls and a server on the in-memory network.

A connection keeps the order of each of its calls and loses nothing while it lasts, as TCP does. Calls of one connection
overtake each other, and so do connections: what an agent said on an old one may arrive behind what it says on a new
one, or never. Whoever waits for too long gives a connection up, and only one side of it may know. Serialization is the
real one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import grpc
from grpc import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.stateful.clockwork import Process
    from tests.stateful.network import Network

# As `loadstone_protocol.channel` asks of the real one: a ping after 5 or 20 s, and 5 s for its answer.
CLIENT_PATIENCE = 10.0
SERVER_PATIENCE = 25.0
FOLLOWER_PATIENCE = 5.0
DIAL_PATIENCE = 20.0
END = object()


class Server:
    """A stand-in for `grpc.aio.Server`."""

    def __init__(self, network: Network, process: Process) -> None:
        self.process = process
        self._network = network
        self._handlers: list[Any] = []
        self._addresses: list[tuple[str, int]] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Do nothing: generated code adds the same as generic handlers."""

    def add_insecure_port(self, address: str) -> int:
        _, _, port = address.rpartition(":")
        self._addresses.append((self.process.address, int(port)))
        return int(port)

    async def start(self) -> None:
        for address in self._addresses:
            self._network.listeners[address] = self

    async def stop(self, grace: float | None) -> None:  # noqa: ARG002 as gRPC has it
        for address in self._addresses:
            if self._network.listeners.get(address) is self:
                del self._network.listeners[address]
        for connection in list(self._network.connections):
            if connection.server is self:
                connection.stop()

    def handler(self, method: str) -> Any:
        details = _Details(method)
        return next(found for each in self._handlers if (found := each.service(details)) is not None)


class _Details:
    """What a generic handler is asked with."""

    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


class Channel:
    """A stand-in for `grpc.aio.Channel`: one connection, made with the first call, and another when that has ended."""

    def __init__(self, network: Network, process: Process, address: tuple[str, int]) -> None:
        self._network = network
        self._process = process
        self._address = address
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:  # noqa: ARG002 as gRPC has it
        if self._connection is not None:
            self._connection.close()

    def stream_stream(self, method: str, **codec: Any) -> Callable[..., Call]:
        return lambda: self._call(method, codec)

    def unary_stream(self, method: str, **codec: Any) -> Callable[..., Call]:
        def call(request: Any) -> Call:
            made = self._call(method, codec)
            made.up.put(made.serialize(request))
            made.up.put(END)
            return made

        return call

    def unary_unary(self, method: str, **codec: Any) -> Callable[..., Any]:
        def call(request: Any, timeout: float | None = None) -> Any:
            made = self._call(method, codec)
            made.up.put(made.serialize(request))
            made.up.put(END)
            return made.answer(timeout)

        return call

    def _call(self, method: str, codec: dict[str, Any]) -> Call:
        if self._connection is None or self._connection.is_broken_here:
            self._connection = Connection(self._network, self._process, self._address)
        return self._connection.call(method, codec)


class Connection:
    """One TCP connection and the calls on it. Each side may know its end long before the other."""

    def __init__(self, network: Network, client: Process, address: tuple[str, int]) -> None:
        self.network = network
        self.client = client
        self.address = address
        self.server: Server | None = None
        self.calls: list[Call] = []
        self.is_broken_here = False  # the client's side knows that it has ended
        self.is_broken_there = False
        self.is_deaf = False  # nobody at the server's end reads; pings are answered all the same
        self._blocked = 0  # how often it was, and is again if odd
        network.connections.append(self)
        network.after(network.latency(), self._dial, 0.0)
        client.on_end.append(lambda _process: self._reset_by(client))
        self.look()

    @property
    def patience(self) -> float:
        """How long the server's side takes silence for nothing; short leases are played, and to scale with them."""
        return FOLLOWER_PATIENCE if self.client.name == "operator" else SERVER_PATIENCE

    @property
    def is_over(self) -> bool:
        is_left = self.is_broken_there or self.server is None or all(call.is_client_gone for call in self.calls)
        return self.is_broken_here and is_left

    @property
    def is_blocked(self) -> bool:
        """Whether nothing passes now: a path is cut, or one end is frozen."""
        server = self.network.listeners.get(self.address) if self.server is None else self.server
        frozen = server is not None and server.process.is_frozen
        return self.network.is_cut(self.client.address, self.address[0]) or frozen or self.client.is_frozen

    @property
    def is_cut(self) -> bool:
        return self.network.is_cut(self.client.address, self.address[0])

    def look(self) -> None:
        """See whether it is blocked now; if so, both sides lose their patience in time."""
        if self.is_blocked == bool(self._blocked % 2):
            return
        self._blocked += 1
        if self._blocked % 2:
            self.network.after(CLIENT_PATIENCE, self._give_up_here, self._blocked)
            self.network.after(self.patience, self._give_up_there, self._blocked)
            return
        for call in self.calls:
            call.up.flow()
            call.down.flow()

    def call(self, method: str, codec: dict[str, Any]) -> Call:
        call = Call(self, method, codec)
        self.calls.append(call)
        return call

    def close(self) -> None:
        """Leave: the server hears of it behind what was said before."""
        for call in self.calls:
            call.cancel()
        self.is_broken_here = True
        if self.is_deaf:
            # What is said is heard by nobody; the end of the connection is.
            self.network.after(self.network.latency(), self._tell_there)

    def break_client(self, why: str) -> None:
        if not self.is_broken_here:
            self.is_broken_here = True
            for call in self.calls:
                call.fail(grpc.StatusCode.UNAVAILABLE, why)

    def break_server(self) -> None:
        if not self.is_broken_there:
            self.is_broken_there = True
            for call in self.calls:
                call.lose_client()

    def _dial(self, waited: float) -> None:
        if self.is_broken_here:
            return
        if self.is_blocked:
            if waited >= DIAL_PATIENCE:
                self.break_client("the connection could not be made in time")
                return
            self.network.after(0.25, self._dial, waited + 0.25)
            return
        server = self.network.listeners.get(self.address)
        if server is None or not server.process.is_alive:
            self.break_client("connection refused")
            return
        self.server = server
        server.process.on_end.append(self._reset_by)
        for call in self.calls:
            call.up.flow()

    def stop(self) -> None:
        """Let the server end its calls, behind what it has said."""
        for call in self.calls:
            call.lose_client()
        self.network.after(self.network.latency(), self._close_there)

    def _close_there(self) -> None:
        left = max((call.down.seconds_left for call in self.calls), default=0.0)
        if left or self.is_cut:
            self.network.after(max(left, 0.1), self._close_there)
        else:
            self.break_server()
            self.break_client("the server has stopped")

    def _reset_by(self, process: Process) -> None:
        """Let the other side hear, if it can, that a process has ended: behind what that one said, or before it."""
        if self.is_over:
            return
        wait = self.network.latency()
        if self.network.dice.random() < 0.5:
            wait += max((call.said_by(process).seconds_left for call in self.calls), default=0.0)
        self.network.after(wait, self._hear_reset, process)

    def _hear_reset(self, process: Process) -> None:
        if self.is_cut:
            self.network.after(0.5, self._hear_reset, process)
        elif process is self.client:
            self.is_broken_here = True
            self.break_server()
        else:
            self.is_broken_there = True
            self.break_client("connection reset by peer")

    def _give_up_here(self, blocked: int) -> None:
        if self._blocked == blocked:
            self.break_client("keepalive timed out")
        if self._blocked == blocked or self.is_broken_here:
            self.network.after(self.network.latency(), self._tell_there)

    def _tell_there(self) -> None:
        """Let the server's side hear that the client has gone, once the path is there again."""
        if self.is_broken_there or self.server is None:
            return
        if self.is_cut:
            self.network.after(0.5, self._tell_there)
        else:
            self.break_server()

    def _give_up_there(self, blocked: int) -> None:
        if self._blocked == blocked:
            self.break_server()
            self.network.after(self.network.latency(), self._tell_here)

    def _tell_here(self) -> None:
        if self.is_broken_here:
            return
        if self.is_cut:
            self.network.after(0.5, self._tell_here)
        else:
            self.break_client("connection reset by peer")


class Pipe:
    """One direction of one call: in order, each message after a moment of its own."""

    def __init__(self, call: Call, *, is_up: bool) -> None:
        self._call = call
        self._is_up = is_up
        self._network = call.connection.network
        self._travelling: deque[tuple[float, Any]] = deque()
        self._is_awake = False
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
                self._hand_over(message)
        self.flow()

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
        try:
            return await asyncio.wait_for(self.read(), seconds)
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
