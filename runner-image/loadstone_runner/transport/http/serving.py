"""Listen for the control API, at a port or at a socket that only its owner can open."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from loadstone_runner.transport.http.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

END_SECONDS: Final = 2.0
# Of a connection on which nothing is asked; aiohttp's own is an hour. Longer than proxies keep theirs (nginx: 60 s), so
# that none of them asks on one that is about to be closed.
IDLE_SECONDS: Final = 75.0
OWNER_ONLY: Final = 0o600


@contextlib.asynccontextmanager
async def at_port(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the context lasts; give the port (of 0: the one that was free)."""
    async with _running(app) as runner:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ControlError(f"the control API cannot listen on {host}:{port}: {error.strerror}") from error
        yield int(runner.addresses[0][1])


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
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, keepalive_timeout=IDLE_SECONDS, shutdown_timeout=END_SECONDS
    )
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()


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
