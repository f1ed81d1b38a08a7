"""The control API behind an ingress that ends TLS: both clients come to it by https."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.component.hostile import Authority, server_context

import loadstone_client
from loadstone_client import Unreachable, asynchronous
from loadstone_runner.transport.admission import Admission
from loadstone_runner.transport.http.api import application
from loadstone_runner.transport.http.serving import at_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from loadstone_protocol.v1 import control_pb2

TOKEN = "s3cret"
REPORT = {"verdict": "Passed"}
promise = pytest.mark.promise


class Finished:
    """A run of which only the report is left."""

    async def state(self) -> dict[str, Any]:
        return {}

    async def rows(self, _width: int, _second: int) -> AsyncGenerator[control_pb2.RowsMessage, None]:
        for message in ():
            yield message

    async def report(self) -> bytes:
        return gzip.compress(json.dumps(REPORT).encode())


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while received := await reader.read(1 << 16):
        writer.write(received)
        await writer.drain()
    writer.close()


async def relay(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    onward = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(pump(reader, onward[1]), pump(onward[0], writer), return_exceptions=True)


@asynccontextmanager
async def ingress(certificate: Path) -> AsyncIterator[str]:
    """Serve a control API by https; give its address."""
    app = application(Finished(), admission=Admission(TOKEN), steered=None)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(at_port(app, "127.0.0.1", 0))
        server = await asyncio.start_server(partial(relay, port), "127.0.0.1", 0, ssl=server_context(certificate))
        stack.callback(server.close)
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@promise("embedding", "control-api")
def test_both_clients_come_by_https_and_to_nobody_whom_they_do_not_know(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    known = ssl.create_default_context(cafile=authority.certificate)

    async def story() -> None:
        async with ingress(authority.issue("ingress", "IP:127.0.0.1")) as address:
            blocking = loadstone_client.connect(address, token=TOKEN, tls=known)
            assert await asyncio.to_thread(blocking.report) == REPORT
            assert await asynchronous.connect(address, token=TOKEN, tls=known).report() == REPORT
            assert str(blocking.address) == address
            with pytest.raises(Unreachable, match=f"{address} does not answer: .*certificate"):
                await asyncio.to_thread(loadstone_client.connect(address, token=TOKEN).report)
            with pytest.raises(Unreachable, match=f"{address} does not answer: .*certificate"):
                await asynchronous.connect(address, token=TOKEN).report()

    asyncio.run(asyncio.wait_for(story(), 60))
