"""What anybody can send to a port: silence, half a word, bytes of nothing. No test is here."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from typing import TYPE_CHECKING

from tests.component.processes import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CLOSED_SECONDS = 60
ROUNDS_MOST = 24  # the heap of gRPC still grows by a step now and then after thirty, ever more rarely
GIVEN_BACK_LOOKS = 50
LEVEL_BYTES = 2**19
GROWTH_MOST_BYTES = 96 * 2**20  # more than a process grows by that reads what 400 connections say at once
OPENINGS = (
    b"",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of a ClientHello
    b"\x16\x03\x01\xff\xff",
)


async def chatter(host: str, port: int, *, connections: int, seed: int) -> None:
    """Say nonsense on many connections at once, and see each of them closed by the other side."""
    chance = random.Random(seed)  # noqa: S311 (bytes for a port, not for a lock)

    async def say(words: bytes) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        with contextlib.suppress(ConnectionError):
            writer.write(words)
            await writer.drain()
            async with asyncio.timeout(CLOSED_SECONDS):
                while await reader.read(65_536):
                    pass
        writer.close()

    lengths = (0, 1, 300, 20_000)
    words = [chance.choice(OPENINGS) + chance.randbytes(chance.choice(lengths)) for _ in range(connections)]
    await asyncio.gather(*map(say, words))


async def silence(host: str, port: int, *, connections: int) -> None:
    """Open many connections at once, say nothing, and see each of them closed by the other side."""
    loop = asyncio.get_running_loop()
    sockets = [socket.create_connection((host, port)) for _ in range(connections)]
    try:
        async with asyncio.timeout(CLOSED_SECONDS):
            for each in sockets:
                each.setblocking(False)  # noqa: FBT003 (the standard library's)
                with contextlib.suppress(ConnectionError):
                    while await loop.sock_recv(each, 65_536):
                        pass
    finally:
        for each in sockets:
            each.close()


async def settle(pid: int, assault: Callable[[int], Awaitable[object]]) -> None:
    """Assault a process again and again until a round leaves it no larger than the one before.

    Heaps grow by steps until they hold what a round needs at once; what is never given back, grows in each round.
    """
    first = before = resident_bytes(pid)
    for number in range(ROUNDS_MOST):
        await assault(number)
        for _ in range(GIVEN_BACK_LOOKS):
            after = resident_bytes(pid)
            if after - first < GROWTH_MOST_BYTES:
                break
            await asyncio.sleep(0.1)  # some of what was said last is still being read
        else:
            raise AssertionError(f"grew by {after - first:,} bytes in {number + 1} rounds, and keeps them")
        if after - before < LEVEL_BYTES:
            return
        before = after
    raise AssertionError(f"each of {ROUNDS_MOST} rounds left the process larger than the one before")
