"""Answer GET requests with small pages, one a connection. What the pages say is not known here.

A probe comes every few seconds for ever: a web framework would be a good part of what an operator at rest costs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUEST_SECONDS: Final = 5.0
HEAD_MAX_BYTES: Final = 16 * 1024
# More than a loop accepts at once, so that a request that came with its connection is read before others push it out.
CONNECTIONS_MAX: Final = 250
PLAIN: Final = "text/plain; charset=utf-8"

_END_OF_HEAD: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = PLAIN


Pages: TypeAlias = "Mapping[str, Callable[[], Page]]"


async def serve_pages(port: int, pages: Pages, *, host: str | None = None) -> asyncio.Server:
    """Listen on a port, on all addresses unless one is given; raise OSError if that is not possible."""
    open_exchanges: dict[_Exchange, None] = {}  # the oldest first
    return await asyncio.get_running_loop().create_server(lambda: _Exchange(pages, open_exchanges), host, port)


class _Exchange(asyncio.Protocol):
    """One connection: a request, its answer, and the end; a peer that is slow or talks on and on is cut off.

    So is the oldest where there are too many: silent ones must take neither the memory nor the descriptors of others.
    """

    def __init__(self, pages: Pages, open_exchanges: dict[_Exchange, None]) -> None:
        self._pages = pages
        self._open = open_exchanges
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request, but not for ever."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"not a stream: {transport!r}")
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(REQUEST_SECONDS, transport.abort)
        self._open[self] = None
        if len(self._open) > CONNECTIONS_MAX:
            next(iter(self._open)).cut_off()

    def cut_off(self) -> None:
        """End the connection at once."""
        self._open.pop(self, None)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer once the head of the request is whole; nothing has a body here."""
        self._head += data
        if _END_OF_HEAD in self._head:
            self._transport.write(_answer(self._head, self._pages))
            self._transport.close()
        elif len(self._head) > HEAD_MAX_BYTES:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the peer is gone, whatever the cause)
        """Forget the peer."""
        self._open.pop(self, None)
        self._timer.cancel()


def _answer(head: bytes, pages: Pages) -> bytes:
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    if method not in {"GET", "HEAD"}:
        return _write(Page(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n"))
    show = pages.get(rest.partition(" ")[0].partition("?")[0])
    if show is None:
        return _write(Page(HTTPStatus.NOT_FOUND, f"here are: {', '.join(pages)}\n".encode()))
    return _write(show(), is_bare=method == "HEAD")


def _write(page: Page, *, is_bare: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if is_bare else page.body)
