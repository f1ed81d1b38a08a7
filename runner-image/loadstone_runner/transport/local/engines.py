"""Serve `agent.sock`: engines in an agent's pod, the director in the master's. Frames of engine.proto, nothing decided.

A peer that sends what cannot be read loses its connection, and nobody else is harmed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, cast

from google.protobuf.message import DecodeError

from loadstone_protocol import framing
from loadstone_protocol.v1 import engine_pb2
from loadstone_protocol.version import may_talk
from loadstone_runner.transport.local.server import LocalServer

if TYPE_CHECKING:
    from pathlib import Path

# An engine that has not read 8 MiB of configuration and acknowledgements will not read more.
QUEUE_MAX_BYTES: Final = 8 * 1024 * 1024


class EngineLink:
    """A connection to one engine or director that has said who it is."""

    __slots__ = ("_transport", "hello")

    def __init__(self, transport: asyncio.Transport, hello: engine_pb2.EngineHello) -> None:
        self._transport = transport
        self.hello = hello

    @property
    def engine(self) -> int:
        """Return the engine's index in its worker."""
        return self.hello.engine

    @property
    def start(self) -> int:
        """Return how often the launcher has started this engine, from 1."""
        return self.hello.start

    def send(self, message: engine_pb2.ToEngine) -> None:
        """Queue a message; on a connection that is closed, or with too much in its queue, it is lost with it."""
        if self._transport.is_closing():
            return
        self._transport.write(framing.encode(message.SerializeToString()))
        if self._transport.get_write_buffer_size() > QUEUE_MAX_BYTES:
            self._transport.abort()

    def close(self) -> None:
        """End the connection after what is queued."""
        self._transport.close()


class EngineListener(Protocol):
    """Who is told what engines say; called on the event loop, so nothing in it may block."""

    def on_hello(self, link: EngineLink) -> None:
        """Take note of an engine that has connected, maybe again."""
        ...

    def on_message(self, link: EngineLink, message: engine_pb2.EngineMessage) -> None:
        """Take a message of an engine that has said hello."""
        ...

    def on_refused(self) -> None:
        """Count a connection that was ended for what was said on it."""
        ...

    def on_gone(self, link: EngineLink) -> None:
        """Take note that a connection has ended, which says nothing about the engine's process."""
        ...


async def serve_engines(path: Path, listener: EngineListener) -> LocalServer:
    """Listen for engines on the Unix socket `path`; raise OSError if that is not possible."""
    server = LocalServer(path)
    await server.start(lambda held: _Connection(held, listener))
    return server


class _Connection(asyncio.Protocol):
    """One accepted connection: hello first, then messages."""

    __slots__ = ("_decoder", "_link", "_listener", "_server", "_transport")

    def __init__(self, server: LocalServer, listener: EngineListener) -> None:
        self._server = server
        self._listener = listener
        self._decoder = framing.Decoder()
        self._transport: asyncio.Transport
        self._link: EngineLink | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.joined(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._decoder.feed(data):
                self._receive(engine_pb2.EngineMessage.FromString(payload))
        except (framing.FrameError, DecodeError):
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the cause changes nothing
        self._server.parted(self._transport)
        if self._link is not None:
            self._listener.on_gone(self._link)

    def _receive(self, message: engine_pb2.EngineMessage) -> None:
        if self._transport.is_closing():
            return
        if self._link is not None:
            self._listener.on_message(self._link, message)
            return
        hello = message.hello
        if message.WhichOneof("kind") != "hello" or not hello.role or not hello.start:
            self._refuse()
            return
        self._link = EngineLink(self._transport, hello)
        if complaint := may_talk(hello.protocol_major, hello.protocol_minor, hello.version):
            self._link.send(engine_pb2.ToEngine(refused=engine_pb2.EngineRefused(detail=complaint)))
            self._link.close()
            self._link = None
            return
        self._listener.on_hello(self._link)

    def _refuse(self) -> None:
        self._listener.on_refused()
        self._transport.abort()
