"""A connection of a watch breaks: how long the run was quiet before counts for nothing."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

import loadstone_client
from loadstone_client import Unreachable, asynchronous

ALIVE = b": alive\n\n"
OUTCOME = b'event: outcome\ndata: {"verdict": "Passed", "reason": "Passed", "message": "", "exitCode": 0}\n\n'
PATIENCE_SECONDS = 1.0
promise = pytest.mark.promise


class Quiet:
    """Says for longer than watchers have patience only that the run is alive, and breaks; then how the run ended.

    Or it ends that in peace, as proxies may do, and answers the next one with nothing.
    """

    def __init__(self, *, breaks: bool) -> None:
        self._loop = asyncio.new_event_loop()
        self._breaks = breaks
        self._connections = 0
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> str:
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._thread.start()
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        self._loop.run_until_complete(self._server.wait_closed())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self._connections += 1
        if self._connections == 2 and not self._breaks:
            writer.transport.abort()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        if self._connections > 1:
            writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(OUTCOME), OUTCOME))
            writer.close()
            return
        for _ in range(4):
            writer.write(b"%x\r\n%s\r\n" % (len(ALIVE), ALIVE))
            await asyncio.sleep(PATIENCE_SECONDS / 2)
        if self._breaks:
            writer.transport.abort()
            return
        writer.write(b"0\r\n\r\n")
        writer.close()


@pytest.fixture(params=[True, False])
def address(request) -> Iterator[str]:
    with Quiet(breaks=request.param) as found:
        yield found


@promise("embedding")
def test_a_watch_of_a_quiet_run_goes_on_when_its_connection_breaks(address) -> None:
    run = loadstone_client.connect(address)

    assert list(run.watch(patience_seconds=PATIENCE_SECONDS)) == []

    assert run.outcome is not None
    assert run.outcome.is_passed


@promise("embedding")
def test_so_does_that_of_asyncio(address) -> None:
    async def story() -> None:
        run = asynchronous.connect(address)
        assert [row async for row in run.watch(patience_seconds=PATIENCE_SECONDS)] == []
        assert run.outcome is not None
        assert run.outcome.is_passed

    asyncio.run(story())


def test_a_run_that_never_answers_is_given_up_after_that_time() -> None:
    with pytest.raises(Unreachable):
        list(loadstone_client.connect("unix:/nowhere").watch(patience_seconds=PATIENCE_SECONDS))
