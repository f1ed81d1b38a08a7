"""Connections that stay open and carry messages: WebSocket and server-sent events. Carrying them is the engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

_LINE_MAX_BYTES: Final = 16 * 1024 * 1024
_EVENT_MAX_BYTES: Final = 64 * 1024 * 1024


class WebSocket(Protocol):
    """One WebSocket, RFC 6455; use it in a `with` block, or close it.

    Nothing here raises because of what the server or the network does: `send` then returns False, `receive` and `ask`
    return None, and `error` names the failure. Pings are answered while a greenlet receives.

    Attributes:
        status: of the opening; 101 when it is open, 0 if there was no whole answer.
        error: None, or the named failure of the opening or of what came after it.
        close_code: that the server closed with; 0: it has not.
        subprotocol: that the server chose; empty: none.
        is_open: whether messages can be sent.
        name: of its series.
    """

    status: int
    error: str | None
    close_code: int
    subprotocol: str
    name: str

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        ...

    @property
    def ok(self) -> bool:
        """Whether nothing has failed."""
        ...

    def send(self, message: str | bytes) -> bool:
        """Send text or bytes, counted in `messages_sent`; return whether it left."""
        ...

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Return the next message, counted in `messages_received`; None: it is closed, or nothing came in time.

        Args:
            timeout: seconds, or `inf`; default: the client's. A timeout here is no failure.
        """
        ...

    def ask(self, message: str | bytes, *, name: str | None = None, timeout: float | None = None) -> str | bytes | None:
        """Send a message and return the next one that comes; the time between is a sample of `message_latency`.

        No answer in time, or a closed connection, is counted as an error. For servers that also speak unasked, receive
        in a loop instead.

        Args:
            message: text or bytes.
            name: of the sample's series; default: the connection's.
            timeout: seconds; default: the client's.
        """
        ...

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, wait a second at most for the server's, and close."""
        ...

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages until the connection is closed."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ServerEvent(NamedTuple):
    """One server-sent event.

    Attributes:
        event: its type; `message` unless the server says another.
        data: its lines, joined by line feeds.
        id: the newest that the server has given so far.
    """

    event: str
    data: str
    id: str


class ServerEvents(Protocol):
    """A stream of server-sent events; use it in a `with` block. Nothing here raises because of the network.

    Attributes:
        status: of the opening; 0 if there was no whole answer.
        error: None, or the named failure of the opening or of what came after it.
        name: of its series.
    """

    status: int
    error: str | None
    name: str

    @property
    def ok(self) -> bool:
        """Whether nothing has failed."""
        ...

    def receive(self, timeout: float | None = None) -> ServerEvent | None:
        """Return the next event, counted in `messages_received`; None: the stream ended, or nothing came in time.

        Args:
            timeout: seconds, or `inf`; default: the client's. A timeout here is no failure.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...

    def __iter__(self) -> Iterator[ServerEvent]:
        """Yield events until the stream ends."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class EventParser:
    """Make events of a stream's bytes, as the HTML standard says (section 9.2.6). Values in, values out."""

    __slots__ = ("_data", "_event", "_held", "_id", "_is_first", "_size")

    def __init__(self) -> None:
        self._held = b""
        self._data: list[str] = []
        self._event = ""
        self._id = ""
        self._is_first = True
        self._size = 0

    def feed(self, received: bytes) -> list[ServerEvent]:
        """Take bytes, split anywhere; return the events that they complete.

        Raises:
            ValueError: a line that is longer than 16 MiB, or an event that is longer than 64 MiB.
        """
        held = self._held + received
        if self._is_first and len(held) >= len(b"\xef\xbb\xbf"):
            held = held.removeprefix(b"\xef\xbb\xbf")
            self._is_first = False
        found: list[ServerEvent] = []
        # A carriage return at the end may be half of a line's end.
        whole = held if not held.endswith(b"\r") else held[:-1]
        lines = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._held = lines.pop() + held[len(whole) :]
        if len(self._held) > _LINE_MAX_BYTES:
            raise ValueError(f"a line of the event stream is longer than {_LINE_MAX_BYTES >> 20} MiB")
        for line in lines:
            if line:
                self._take(line.decode("utf-8", "replace"))
            elif event := self._complete():
                found.append(event)
        return found

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            # An empty line of data takes some room as well.
            self._size += len(line)
            if self._size > _EVENT_MAX_BYTES:
                raise ValueError(f"an event is longer than {_EVENT_MAX_BYTES >> 20} MiB")
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _complete(self) -> ServerEvent | None:
        data, self._data, self._size = self._data, [], 0
        event, self._event = self._event, ""
        return ServerEvent(event or "message", "\n".join(data), self._id) if data else None
