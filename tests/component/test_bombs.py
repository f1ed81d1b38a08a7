"""What HTTP/2 and gRPC let a peer ask for without a limit of their own: the master's port has one for each."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import TYPE_CHECKING

import grpc
import hpack
import pytest
from grpc import aio
from tests.component.master_process import iterations, master_of, plan_of
from tests.component.nonsense import settle
from tests.component.scripted_agent import until

from loadstone_protocol.channel import MESSAGE_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.promise("hostile-port")

STEER = "/loadstone_protocol.v1.Run/Steer"
HEARD_SECONDS = 2
BOMB_BYTES = 256 * 2**20
DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_OF_HEADERS = 4
OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ASKED = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", STEER),
    (":authority", "x"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


def asked(stream: int) -> bytes:
    return frame(HEADERS, END_OF_HEADERS, stream, hpack.Encoder().encode(ASKED))


def many_headers() -> bytes:
    """Return a call with 100,000 headers of its own."""
    block = hpack.Encoder().encode(ASKED) + b"".join(b"\0\6x%05d\5value" % number for number in range(100_000))
    first, *rest = (block[at : at + 16_000] for at in range(0, len(block), 16_000))
    said = [frame(HEADERS, 0, 1, first), *(frame(CONTINUATION, 0, 1, each) for each in rest[:-1])]
    return b"".join([*said, frame(CONTINUATION, END_OF_HEADERS, 1, rest[-1])])


def many_resets() -> bytes:
    """Return 20,000 calls, each of which is given up at once."""
    return b"".join(asked(stream) + frame(RESET, 0, stream, b"\0\0\0\x08") for stream in range(1, 40_000, 2))


FLOODS: dict[str, Callable[[], bytes]] = {
    "headers": many_headers,
    "resets": many_resets,
    "pings": lambda: frame(PING, 0, 0, b"12345678") * 50_000,
    "empty frames": lambda: asked(1) + frame(DATA, 0, 1, b"") * 50_000,
    "a frame of 16 MiB": lambda: asked(1) + b"\xff\xff\xff\0\0" + struct.pack(">I", 1) + bytes(2**20),
}
SENT_AWAY = {"pings", "empty frames", "a frame of 16 MiB"}
REFUSED = {"resets"}  # each call; gRPC takes some that have too many headers, which have to be as harmless


async def flood(address: str, content: bytes) -> tuple[set[int], bool]:
    """Say this on a connection; return which kinds of frames came back, and whether it was closed."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    kinds: set[int] = set()
    try:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(OPENING + frame(SETTINGS, 0, 0, b"") + content)
            async with asyncio.timeout(HEARD_SECONDS):
                while True:
                    head = await reader.readexactly(9)
                    kinds.add(head[3])
                    await reader.readexactly(int.from_bytes(head[:3]))
    except TimeoutError:
        return kinds, False
    finally:
        writer.close()
    return kinds, True


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_on_the_port_of_a_master_disturbs_nobody_and_takes_no_memory_for_good(tmp_path, what) -> None:
    content = FLOODS[what]()

    async def assault(address: str) -> None:
        kinds, is_closed = await flood(address, content)
        assert is_closed or GO_AWAY in kinds or what not in SENT_AWAY, kinds
        assert RESET in kinds or what not in REFUSED, kinds
        assert DATA not in kinds, "nothing is answered"

    asyncio.run(asyncio.wait_for(while_it_runs(tmp_path, assault), 100))


@pytest.mark.parametrize("how", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_that_is_or_becomes_too_large_is_refused_before_it_takes_the_memory(tmp_path, how) -> None:
    async def assault(address: str) -> None:
        size = BOMB_BYTES if how is grpc.Compression.Gzip else 2 * MESSAGE_MAX_BYTES
        options = [("grpc.max_send_message_length", -1)]
        async with aio.insecure_channel(address, compression=how, options=options) as channel:
            with pytest.raises(aio.AioRpcError) as refused:
                await channel.unary_unary(STEER)(bytes(size), timeout=30)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, refused.value

    asyncio.run(asyncio.wait_for(while_it_runs(tmp_path, assault), 100))


async def while_it_runs(folder, assault: Callable[[str], Awaitable[None]]) -> None:
    """Assault a master until it grows no more, while two workers have heartbeats; let them end exactly."""
    async with master_of(plan_of(iterations(100)), folder) as master:
        await master.direct()
        agents = await master.crew(2)
        await settle(master.process.pid, lambda _: assault(master.address))
        beats = [agent.acknowledged for agent in agents]
        await until(lambda: all(agent.acknowledged > beat for agent, beat in zip(agents, beats, strict=True)))
        for agent in agents:
            agent.iterate(50)
            agent.request(50)
            await agent.send(agent.state(0))
        await asyncio.gather(*(agent.stopped() for agent in agents))
        await asyncio.gather(*(agent.bye() for agent in agents))
        report, _ = await master.finish()
        assert (report.outcome.verdict, report.progress.requests) == ("Passed", 100)
