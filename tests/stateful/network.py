"""An in-memory network: who listens where, which paths are cut, and the Unix sockets within a pod.

What gRPC makes of it is `connections` and `calls`. A cut holds everything back until it heals.
"""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.stateful.clockwork import Process, this_process
from tests.stateful.connections import Channel, Server

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from tests.stateful.calls import Call
    from tests.stateful.clockwork import VirtualTimeLoop
    from tests.stateful.connections import Connection


class Network:
    """Who listens where, and which paths are cut.

    Attributes:
        names: addresses by host name, as a Service has them.
        taps: told of every message, when it is handed to the receiver: (call, whether it goes up, bytes).
        ended: told of every call that the server's side has ended: (call, why).
    """

    def __init__(self, loop: VirtualTimeLoop, dice: random.Random) -> None:
        self.loop = loop
        self.dice = dice
        self.names: dict[str, list[str]] = {}
        self.taps: list[Callable[[Call, bool, bytes], None]] = []
        self.ended: list[Callable[[Call, str], None]] = []
        self.listeners: dict[tuple[str, int], Server] = {}
        self.connections: list[Connection] = []
        self.slowness = 1.0
        self._cuts: set[frozenset[str]] = set()
        self._away: set[str] = set()
        self._island: set[str] = set()
        self._sockets: dict[str, LocalListener] = {}
        self._outside = contextvars.Context()  # of no process
        loop.resolve = lambda host: self.names.get(host, [])
        loop.listen = self._listen_locally

    # What is patched over `grpc.aio`.

    def server(self, **_options: Any) -> Server:
        return Server(self, this_process())

    def channel(self, target: str, **_options: Any) -> Channel:
        host, _, port = target.removeprefix("ipv4:").rpartition(":")
        return Channel(self, this_process(), (host, int(port)))

    # Faults.

    def cut(self, one: str, other: str) -> None:
        """Let nothing pass between two addresses until `heal`."""
        self._cuts.add(frozenset({one, other}))
        self.look()

    def heal(self, one: str, other: str) -> None:
        self._cuts.discard(frozenset({one, other}))
        self.look()

    def part(self, addresses: Iterable[str]) -> None:
        """Let nothing pass between these addresses and all others, until `heal_all`."""
        self._island = set(addresses)
        self.look()

    @property
    def is_parted(self) -> bool:
        return bool(self._island)

    def heal_all(self) -> None:
        self._cuts.clear()
        self._island.clear()
        self.slowness = 1.0
        self.look()

    def take_away(self, address: str) -> None:
        """Switch a node off: nobody answers there any more, not even with a refusal."""
        self._away.add(address)
        self.look()

    def is_cut(self, one: str, other: str) -> bool:
        is_parted = (one in self._island) != (other in self._island)
        return is_parted or one in self._away or other in self._away or frozenset({one, other}) in self._cuts

    def look(self) -> None:
        """Look at every connection after something has changed about paths or processes."""
        self.connections = [each for each in self.connections if not each.is_over]
        for each in self.connections:
            each.look()

    # Moments.

    def latency(self) -> float:
        seconds = self.dice.choice((0.0002, 0.0005, 0.001, 0.005, 0.02))
        if self.dice.random() < 0.02:
            seconds += 0.2
        return seconds * self.slowness

    def after(self, seconds: float, what: Callable[..., Any], *arguments: Any) -> None:
        """Do something in the network itself, whatever becomes of processes."""
        self.loop.call_at(self.loop.time() + seconds, what, *arguments, context=self._outside.copy())

    # Unix sockets.

    def _listen_locally(self, path: str, factory: Callable[[], asyncio.Protocol], process: Process) -> LocalListener:
        Path(path).touch()
        listener = self._sockets[path] = LocalListener(factory, process)
        return listener

    def dial_locally(self, path: str, protocol: asyncio.Protocol) -> LocalTransport | None:
        """Connect the running process to a socket of its pod; None if nobody listens there."""
        listener = self._sockets.get(path)
        if listener is None or not listener.process.is_alive or listener.is_closed:
            return None
        here = LocalTransport(this_process(), protocol)
        there = LocalTransport(listener.process, listener.factory())
        here.peer, there.peer = there, here
        for each in (there, here):
            each.process.call(each.protocol.connection_made, each)
        for each, other in ((here, there), (there, here)):
            each.process.on_end.append(lambda _process, other=other: other.lose())
        return here


class LocalListener:
    """A listening Unix socket."""

    def __init__(self, factory: Callable[[], asyncio.Protocol], process: Process) -> None:
        self.factory = factory
        self.process = process
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class LocalTransport(asyncio.Transport):
    """One end of a connection within a pod."""

    peer: LocalTransport

    def __init__(self, process: Process, protocol: Any) -> None:
        super().__init__()
        self.process = process
        self.protocol = protocol
        self._is_closed = False
        self._is_lost = False

    def write(self, data: Any) -> None:
        if not self._is_closed:
            self.peer.process.call(self.peer.receive, bytes(data))

    def receive(self, data: bytes) -> None:
        if not self._is_lost:
            self.protocol.data_received(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        """End the connection on both sides, behind what was written."""
        if not self._is_closed:
            self._is_closed = True
            self.process.call(self._lost)
            self.peer.lose()

    abort = close

    def lose(self) -> None:
        """Hear that the other end has gone."""
        self._is_closed = True
        self.process.call(self._lost)

    def _lost(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._is_closed = True
            self.protocol.connection_lost(None)
