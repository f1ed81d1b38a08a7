"""Listen on a Unix socket for the other containers of the pod. What is spoken on it is not known here."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Agent and engines run as different users of one group.
SOCKET_MODE: Final = 0o660


class LocalServer:
    """A listening Unix socket and what is connected to it."""

    __slots__ = ("_connected", "_path", "_server")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connected: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    async def start(self, connection: Callable[[LocalServer], asyncio.Protocol]) -> None:
        """Listen, in place of whatever socket a predecessor has left at the path.

        Raises:
            OSError: the folder is missing or not writable.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: connection(self), path=str(self._path))
        self._path.chmod(SOCKET_MODE)

    def joined(self, transport: asyncio.Transport) -> None:
        """Remember a connection, to be dropped at the end."""
        self._connected.add(transport)

    def parted(self, transport: asyncio.Transport) -> None:
        """Forget a connection that has ended."""
        self._connected.discard(transport)

    def close(self) -> None:
        """Stop listening, flush and drop every connection, remove the socket."""
        if self._server is not None:
            self._server.close()
        for transport in tuple(self._connected):
            transport.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
