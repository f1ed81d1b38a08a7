from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from loadstone_runner.export import scraping

if TYPE_CHECKING:
    import pytest

PAGE = b"x" * 16 * 1024 * 1024


async def render(_accept: str) -> tuple[bytes, str]:
    return PAGE, "text/plain"


async def read_after(seconds: float) -> int:
    """Ask for the page, read nothing of it for so long, and return how much comes then."""
    server = await scraping.serve_metrics("127.0.0.1", 0, render)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1024)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a transport that reads
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    await asyncio.sleep(seconds)
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    size = 0
    try:
        async with asyncio.timeout(20):
            while content := await reader.read(2**20):
                size += len(content)
    except ConnectionError:
        pass
    writer.close()
    server.close()
    return size


def test_a_page_is_kept_for_who_reads_slowly_and_not_for_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(read_after(0.2)) > len(PAGE)
    monkeypatch.setattr(scraping, "ANSWER_SECONDS", 0.1)
    assert asyncio.run(read_after(0.5)) < len(PAGE)
