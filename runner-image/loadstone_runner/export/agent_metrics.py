"""Show an agent's own health to Prometheus, in its text format. A run's results are the master's to show.

Made by hand, as a few gauges are not worth the start-up time of a client library.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadstone_runner.settings import Address

REQUEST_SECONDS: Final = 5.0
REQUEST_MAX_BYTES: Final = 16 * 1024
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One sample of one metric without labels."""

    name: str  # without the prefix
    kind: str  # "counter" or "gauge"
    help: str
    value: float


def exposition(metrics: Iterable[Metric]) -> str:
    """Return samples in Prometheus' text format 0.0.4."""
    return "".join(
        f"# HELP loadstone_agent_{each.name} {each.help}\n"
        f"# TYPE loadstone_agent_{each.name} {each.kind}\n"
        f"loadstone_agent_{each.name} {each.value!r}\n"
        for each in metrics
    )


async def serve_metrics(listen: Address, read: Callable[[], Iterable[Metric]]) -> asyncio.Server:
    """Answer `GET /metrics` with what `read` returns; raise OSError if the port is not to be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, read))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    return await asyncio.start_server(answer, listen.host, listen.port, limit=REQUEST_MAX_BYTES)


def _response(head: bytes, read: Callable[[], Iterable[Metric]]) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
    if path != b"/metrics" or method not in {b"GET", b"HEAD"}:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = exposition(read()).encode()
    lines = (
        "HTTP/1.1 200 OK",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + (body if method == b"GET" else b"")
