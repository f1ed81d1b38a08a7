"""Serve `launcher.sock`: what the launcher reports about its engines, and what it is ordered. Nothing is decided here.

A JSON object a line in both directions, as the launcher knows the standard library only.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from loadstone_core import __version__
from loadstone_core.errors import InternalError
from loadstone_runner.settings import LAUNCHER_PROTOCOL
from loadstone_runner.transport.local.server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LINE_MAX_BYTES: Final = 1024 * 1024
EXIT_REFUSED: Final = 76  # EX_PROTOCOL of sysexits.h
NUMBER_MAX: Final = 2**31

Event = dict[str, Any]


class EventError(InternalError):
    """A line that no launcher of ours writes."""


class EngineExit(NamedTuple):
    """How the process of an engine has ended."""

    engine: int
    start: int
    code: int | None  # None: by a signal
    signal: int | None
    tail: str  # the last lines it wrote
    out_of_memory: bool


class LauncherLink:
    """A connection to the launcher."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def send(self, order: Mapping[str, Any]) -> None:
        """Queue an order; on a closed connection it is lost."""
        if not self._transport.is_closing():
            self._transport.write(json.dumps(order).encode() + b"\n")


class LauncherListener(Protocol):
    """Who is told what the launcher says; called on the event loop, so nothing in it may block."""

    def on_launcher_hello(self, link: LauncherLink, event: Event) -> None:
        """Take note of a launcher that has connected, maybe again; the newest connection counts."""
        ...

    def on_event(self, event: Event) -> None:
        """Take any event but hello; `exit_of` reads an `exited` one."""
        ...

    def on_refused(self) -> None:
        """Count a connection that was ended for what was said on it."""
        ...

    def on_launcher_gone(self) -> None:
        """Take note that the newest connection has ended, which says nothing about the launcher's process."""
        ...


async def serve_launcher(path: Path, listener: LauncherListener) -> LocalServer:
    """Listen for the launcher on the Unix socket `path`; raise OSError if that is not possible."""
    server = LocalServer(path)
    newest = _Newest()
    await server.start(lambda held: _Connection(held, listener, newest))
    return server


def exit_of(event: Event) -> EngineExit:
    """Return what an `exited` event says; raise EventError if it lacks something."""
    match event:
        case {
            "event": "exited",
            "engine": int(engine),
            "start": int(start),
            "code": int() | None as code,
            "signal": int() | None as signal,
            "tail": str(tail),
            "oom": bool(out_of_memory),
        } if are_numbers(engine, start, *(each for each in (code, signal) if each is not None)):
            # JSON can write halves of characters, which no other text can hold.
            return EngineExit(engine, start, code, signal, tail.encode(errors="replace").decode(), out_of_memory)
    raise EventError(f"the launcher's event lacks something: {event}")


def are_numbers(*numbers: int) -> bool:
    """Return whether these can be numbers of processes, codes and signals; to Python's patterns True is an int."""
    return all(type(each) is int and abs(each) < NUMBER_MAX for each in numbers)


def refusal(spoken: object) -> str:
    """Return one sentence to a launcher that speaks another version of these lines."""
    return (
        f"this launcher speaks version {spoken} of the lines to its agent, which is Loadstone {__version__} and speaks "
        f"{LAUNCHER_PROTOCOL}; both containers of the pod must have the same image"
    )


class _Newest:
    """The connection that counts."""

    __slots__ = ("connection",)

    def __init__(self) -> None:
        self.connection: _Connection | None = None


class _Connection(asyncio.Protocol):
    """One accepted connection: hello first, then events."""

    __slots__ = ("_held", "_listener", "_newest", "_server", "_transport")

    def __init__(self, server: LocalServer, listener: LauncherListener, newest: _Newest) -> None:
        self._server = server
        self._listener = listener
        self._newest = newest
        self._held = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.joined(self._transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._held = (self._held + data).split(b"\n")
        try:
            for line in lines:
                self._receive(_parse(line))
        except EventError:
            self._refuse()
        if len(self._held) > LINE_MAX_BYTES:
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the cause changes nothing
        self._server.parted(self._transport)
        if self._newest.connection is self:
            self._newest.connection = None
            self._listener.on_launcher_gone()

    def _receive(self, event: Event) -> None:
        if event["event"] == "hello":
            spoken = event.get("protocol", 1)
            if spoken != LAUNCHER_PROTOCOL:
                # Whoever waits for its engines hears that they have ended, as after any order to exit.
                LauncherLink(self._transport).send({"do": "exit", "code": EXIT_REFUSED, "why": refusal(spoken)})
                return
            self._newest.connection = self
            self._listener.on_launcher_hello(LauncherLink(self._transport), event)
        elif self._newest.connection is self:
            self._listener.on_event(event)

    def _refuse(self) -> None:
        if not self._transport.is_closing():
            self._listener.on_refused()
            self._transport.abort()


def _parse(line: bytes) -> Event:
    """Return the event of one line; raise EventError if it is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EventError("the launcher's line is not JSON") from error
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise EventError("the launcher's line names no event")
    return event
