"""Carry exchanges whose bodies come and go bit by bit, or that have more than one deadline, in Python.

The same Answer comes of it as from the request path, over connections of its own. What is recorded is the client's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_runner.engine.http.bodies import BODY_MAX_BYTES
from loadstone_runner.engine.http.pool import IDLE_MAX
from loadstone_runner.engine.http.reception import Closable, Reception

if TYPE_CHECKING:
    from loadstone_runner.engine.http.connecting import Dialer
    from loadstone_runner.engine.http.connection import Answer
    from loadstone_runner.engine.http.origin import Origin
    from loadstone_runner.engine.http.requests import Written
    from loadstone_runner.engine.http.wire import Wire

_ENDLESS: Final = 1 << 62


class Courier:
    """One user's."""

    __slots__ = ("_adopted", "_dialer", "_first_byte_ns", "_idle")

    def __init__(self, dialer: Dialer, first_byte_ns: int) -> None:
        """Take what opens connections, and how long the first byte of an answer may take (0: as long as all of it)."""
        self._dialer = dialer
        self._first_byte_ns = first_byte_ns
        self._idle: dict[Origin, list[Wire]] = {}
        self._adopted: set[Closable] = set()

    def send(self, written: Written, *, deadline_ns: int, connect_by_ns: int, keeps_body: bool) -> Answer:
        """Send a request and return its whole answer, or what came of it. Never raises."""
        reception = self.open(written, deadline_ns=deadline_ns, connect_by_ns=connect_by_ns, limit=BODY_MAX_BYTES)
        parts: list[bytes] = []
        while part := reception.next_piece():
            if keeps_body:
                parts.append(part)
        reception.close()
        answer = reception.answer
        answer.body = b"".join(parts)
        return answer

    def open(
        self, written: Written, *, deadline_ns: int, connect_by_ns: int, limit: int = _ENDLESS, switches: bool = False
    ) -> Reception:
        """Send a request and read the head of its answer; the body is the reception's to give. Never raises.

        Args:
            written: the request.
            deadline_ns: until when the whole answer must be there, on the monotonic clock.
            connect_by_ns: until when there must be a connection.
            limit: of the body, in bytes.
            switches: whether status 101 is an answer.
        """
        reception = Reception(self, written, limit=limit, switches=switches)
        try:
            wire = self._wire_to(reception, connect_by_ns)
            reception.begin(wire, deadline_ns, self._first_byte_ns)
        except BaseException as error:  # noqa: BLE001 whatever it is, it is recorded before it is raised
            reception.fail(error)
        return reception

    def keep(self, origin: Origin, wire: Wire) -> None:
        """Keep a connection for the next exchange."""
        idle = self._idle.setdefault(origin, [])
        idle.append(wire)
        if len(idle) > IDLE_MAX:
            idle.pop(0).close()
        if len(self._idle) > IDLE_MAX:
            for left in self._idle.pop(next(iter(self._idle))):
                left.close()

    def adopt(self, connection: Closable) -> None:
        """Close a connection of a longer conversation with all others, if nobody has done it before."""
        self._adopted.add(connection)

    def disown(self, connection: Closable) -> None:
        """Forget a connection that is closed."""
        self._adopted.discard(connection)

    def close(self) -> None:
        """Close all connections that carry no exchange at the moment."""
        for connection in list(self._adopted):
            connection.close()
        idle, self._idle = self._idle, {}
        for wires in idle.values():
            for wire in wires:
                wire.close()

    def _wire_to(self, reception: Reception, connect_by_ns: int) -> Wire:
        idle = self._idle.get(reception.origin)
        while idle:
            wire = idle.pop()
            if not wire.is_stale():
                return wire
            wire.close()
        link = self._dialer.connect(reception.origin, connect_by_ns)
        reception.answer.opening = link.phases
        return link.wire
