"""Talk with the agent over `launcher.sock`: a JSON object a line. Connects again whenever it must; never blocks."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RETRY_FAST_NS: Final = 50_000_000
RETRY_SLOW_NS: Final = 200_000_000
FAST_FOR_NS: Final = 1_000_000_000
# An agent that reads nothing is as good as gone; the events are told again to the next connection.
QUEUE_MAX_BYTES: Final = 1024 * 1024

Order = dict[str, Any]


class AgentLink:
    """The connection to the agent, there or not."""

    __slots__ = ("_absent_since_ns", "_next_try_ns", "_path", "_received", "_socket", "_to_send")

    def __init__(self, path: str, now_ns: int) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._absent_since_ns = now_ns
        self._next_try_ns = now_ns
        self._received = b""
        self._to_send = bytearray()

    @property
    def fd(self) -> int | None:
        """The connection's descriptor, None without one."""
        return None if self._socket is None else self._socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether something is left to send."""
        return bool(self._to_send)

    def absent_ns(self, now_ns: int) -> int:
        """Return for how long there has been no connection; 0 with one."""
        return 0 if self._socket is not None else now_ns - self._absent_since_ns

    def next_try_ns(self) -> int | None:
        """Return when to call `connect` again; None while there is a connection."""
        return None if self._socket is not None else self._next_try_ns

    def connect(self, now_ns: int, greeting: Iterable[Mapping[str, Any]]) -> bool:
        """Try to connect if it is time; send the greeting, which says everything anew; return whether it worked."""
        if self._socket is not None or now_ns < self._next_try_ns:
            return False
        is_early = now_ns - self._absent_since_ns < FAST_FOR_NS
        self._next_try_ns = now_ns + (RETRY_FAST_NS if is_early else RETRY_SLOW_NS)
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            connecting.connect(self._path)
        except OSError:
            connecting.close()
            return False
        self._socket = connecting
        self._received = b""
        self._to_send.clear()
        for event in greeting:
            self.send(event, now_ns)
        return True

    def send(self, event: Mapping[str, Any], now_ns: int) -> None:
        """Send an event, or keep it until it can be written; without a connection it is left to the next greeting."""
        if self._socket is None:
            return
        self._to_send += json.dumps(event).encode() + b"\n"
        self.write_some(now_ns)
        if len(self._to_send) > QUEUE_MAX_BYTES:
            self._drop(now_ns)

    def write_some(self, now_ns: int) -> None:
        """Write what the agent takes without blocking."""
        if self._socket is None or not self._to_send:
            return
        try:
            del self._to_send[: self._socket.send(self._to_send)]
        except BlockingIOError:
            return
        except OSError:
            self._drop(now_ns)

    def read_orders(self, now_ns: int) -> list[Order]:
        """Return the orders that have come; a line that is none is skipped."""
        if self._socket is None:
            return []
        try:
            received = self._socket.recv(64 * 1024)
        except BlockingIOError:
            return []
        except OSError:
            received = b""
        if not received:
            self._drop(now_ns)
            return []
        *lines, self._received = (self._received + received).split(b"\n")
        return [order for line in lines if (order := _parse(line)) is not None]

    def _drop(self, now_ns: int) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._absent_since_ns = now_ns
            self._next_try_ns = now_ns


def _parse(line: bytes) -> Order | None:
    """Return an order; None if the line is none."""
    try:
        order = json.loads(line)
    except ValueError:
        return None
    return order if isinstance(order, dict) else None
