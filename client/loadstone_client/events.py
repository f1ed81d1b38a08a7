"""Read a stream of server-sent events (HTML standard, 9.2.6). Pure: bytes in, events out."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One event; `identity` is that of the newest event that had one."""

    kind: str
    identity: str
    data: str


class EventReader:
    """The state of one stream."""

    def __init__(self) -> None:
        self._line = b""
        self._kind = "message"
        self._identity = ""
        self._data: list[str] = []

    def feed(self, received: bytes) -> list[Event]:
        """Take in bytes as they come; return the events that are whole now."""
        *lines, self._line = (self._line + received).split(b"\n")
        return [event for line in lines if (event := self._read(line.removesuffix(b"\r").decode(errors="replace")))]

    def _read(self, line: str) -> Event | None:
        if not line:
            return self._end()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._kind = value
            case "id":
                self._identity = value
            case "data":
                self._data.append(value)
        return None

    def _end(self) -> Event | None:
        event = Event(self._kind, self._identity, "\n".join(self._data)) if self._data else None
        self._kind, self._data = "message", []
        return event
