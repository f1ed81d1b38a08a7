"""Listen for the control API, at a port or at a socket that only its owner can open."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from loadstone_runner.transport.http.api import ADMITTED
from loadstone_runner.transport.http.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

END_SECONDS: Final = 2.0
# Of a connection of somebody who was let in and asks no more; aiohttp's own are an hour. Proxies keep theirs for less
# (nginx: 60 s), so none of them asks on one that is about to be closed.
IDLE_SECONDS: Final = 75.0
STRANGE_SECONDS: Final = 5.0
VANISHED_MILLIS: Final = 25_000
OWNER_ONLY: Final = 0o600


@contextlib.asynccontextmanager
async def at_port(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the context lasts; give the port (of 0: the one that was free).

    A connection on which nobody was let in after some seconds is closed: whoever reaches the port could hold it, and
    each is a file that agents and the disk then lack.
    """
    async with _running(app) as runner:
        loop = asyncio.get_running_loop()

        def accept() -> web.RequestHandler:
            connection = _server_of(runner)()
            loop.call_later(STRANGE_SECONDS, _close_stranger, app, connection)
            return connection

        try:
            server = await loop.create_server(accept, host, port)
        except OSError as error:
            raise ControlError(f"the control API cannot listen on {host}:{port}: {error.strerror}") from error
        for listener in server.sockets:
            # Of whoever has gone without a word, or takes nothing any more; connections have it of their listener.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_MILLIS)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()


def _close_stranger(app: web.Application, connection: web.RequestHandler) -> None:
    if connection.transport is not None and connection.transport not in app[ADMITTED]:
        connection.force_close()


def _server_of(runner: web.AppRunner) -> web.Server:
    if runner.server is None:
        raise RuntimeError("a runner has its server once it is set up")
    return runner.server


@contextlib.asynccontextmanager
async def at_socket(app: web.Application, path: str) -> AsyncIterator[None]:
    """Serve at a Unix socket of mode 0600 while the context lasts; one that a dead process left is replaced.

    Raises:
        ControlError: somebody listens there, something else is there, or the folder cannot be written.
    """
    listener = _bind(path)
    try:
        async with _running(app) as runner:
            await web.SockSite(runner, listener).start()
            yield
    finally:
        listener.close()
        _remove(path)


@contextlib.asynccontextmanager
async def _running(app: web.Application) -> AsyncIterator[web.AppRunner]:
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, keepalive_timeout=IDLE_SECONDS, shutdown_timeout=END_SECONDS
    )
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()


def _is_ours(record: logging.LogRecord) -> bool:
    """Say whether an error is one of this server: anybody can send what is no HTTP, and it is answered."""
    theirs = (HttpProcessingError, web.RequestPayloadError)
    return not (record.exc_info and isinstance(record.exc_info[1], theirs))


def _bind(path: str) -> socket.socket:
    """Return a socket at a path that has its mode from its first moment on."""
    where = Path(path)
    if where.exists() and not where.is_socket():
        raise ControlError(f"{path} is there and no socket; name another path for --control")
    if _answers(path):
        raise ControlError(f"another run is controlled at {path}; name another path for --control")
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o777 & ~OWNER_ONLY)
    try:
        where.unlink(missing_ok=True)
        listener.bind(path)
    except OSError as error:
        listener.close()
        raise ControlError(f"the control API cannot listen at {path}: {error.strerror}") from error
    finally:
        os.umask(before)
    return listener


def _answers(path: str) -> bool:
    """Say whether somebody listens at a path."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)
