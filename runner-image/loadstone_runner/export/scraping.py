"""Answer Prometheus' scrapes: the smallest HTTP server that serves one page. What is on the page is not known here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    # Takes the Accept header, gives the page and its content type.
    Render = Callable[[str], Awaitable[tuple[bytes, str]]]

PATH: Final = "/metrics"
REQUEST_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0  # for who reads slowly; Prometheus gives up after 10
HEAD_MAX_BYTES: Final = 16 * 1024


async def serve_metrics(host: str, port: int, render: Render) -> asyncio.Server:
    """Listen for scrapes on a port; raise OSError if that is not possible."""
    return await asyncio.start_server(
        lambda reader, writer: _answer(reader, writer, render), host, port, limit=HEAD_MAX_BYTES
    )


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, render: Render) -> None:
    """Serve one request of a connection and close it: scrapes come seconds apart."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        answer = await _reply(head.decode("latin-1"), render)
        async with asyncio.timeout(ANSWER_SECONDS):
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        pass
    finally:
        # Each connection has a page of its own, which is not kept for somebody who does not read it.
        writer.transport.abort()


async def _reply(head: str, render: Render) -> bytes:
    request, *lines = head.split("\r\n")
    method, _, rest = request.partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    if method not in {"GET", "HEAD"}:
        return _response("405 Method Not Allowed", b"", "text/plain")
    if path != PATH:
        return _response("404 Not Found", f"metrics are at {PATH}\n".encode(), "text/plain")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    page, content_type = await render(headers.get("accept", ""))
    return _response("200 OK", b"" if method == "HEAD" else page, content_type)


def _response(status: str, body: bytes, content_type: str) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body
