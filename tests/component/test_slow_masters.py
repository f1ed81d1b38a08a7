"""A real agent before a master that takes its time: in a crowd each handshake waits for those before it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from tests.component.agent_process import Pod, run

if TYPE_CHECKING:
    from pathlib import Path

LATE_SECONDS = 1.5


class SlowDoor:
    """Passes connections on to a port, each after a while."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.knocks = 0

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.knocks += 1
        await asyncio.sleep(LATE_SECONDS)
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
        finally:
            for each in (writer, back):
                each.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while received := await reader.read(65_536):
            writer.write(received)
        writer.write_eof()


def test_an_agent_waits_for_a_handshake_that_takes_long_instead_of_beginning_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            await pod.master.connection()
            pod.process.kill()
            await pod.process.wait()
            async with SlowDoor(pod.master.port) as door:
                await pod.start_agent(LOADSTONE_MASTER=door.address)
                connection = await pod.master.connection()
                assert await connection.wait_for("heartbeat")
                # One for control and statistics, and one for logs and messages.
                assert door.knocks <= 2
                pod.process.kill()

    run(scenario())
