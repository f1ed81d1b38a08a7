"""What `grpc.aio`'s channels and servers are here: connections on the in-memory network.

A connection loses nothing while it lasts, as TCP does. Connections overtake each other: what an agent said on an old
one may arrive behind what it says on a new one, or never. Whoever waits for too long gives a connection up, and only
one side of it may know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import grpc
from grpc import aio
from tests.stateful.calls import END, Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stateful.clockwork import Process
    from tests.stateful.network import Network

# As `loadstone_protocol.channel` asks of the real one: a ping after 5 or 20 s, and 5 s for its answer.
CLIENT_PATIENCE = 10.0
SERVER_PATIENCE = 25.0
FOLLOWER_PATIENCE = 5.0
DIAL_PATIENCE = 20.0


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
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:  # noqa: ARG002 as gRPC has it
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()

    def stream_stream(self, method: str, **codec: Any) -> Callable[..., Call]:
        return lambda: self._call(method, codec)

    def unary_stream(self, method: str, **codec: Any) -> Callable[..., Call]:
        return lambda request: self._ask(method, codec, request)

    def unary_unary(self, method: str, **codec: Any) -> Callable[..., Any]:
        return lambda request, timeout=None: self._ask(method, codec, request).answer(timeout)

    def _ask(self, method: str, codec: dict[str, Any], request: Any) -> Call:
        """Begin a call that says one thing."""
        made = self._call(method, codec)
        made.up.put(made.serialize(request))
        made.up.put(END)
        return made

    def _call(self, method: str, codec: dict[str, Any]) -> Call:
        if self._is_closed:
            raise aio.UsageError("Channel is closed.")
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
        self.stutters = False  # messages come twice, or in another order
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
