"""The operator's process, beside an API server that has no objects but the Lease, and what it answers itself."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest
from tests.component.nonsense import CLOSED_SECONDS, chatter, settle, silence
from tests.component.operator_process import Operator, beside_an_operator
from tests.component.ports import free_port
from tests.component.scraping import figure, page

from loadstone_operator.telemetry import pages
from loadstone_operator.telemetry.pages import Page, serve_pages

# Of all the waits at the end the longest is kopf's, of five seconds for tasks that are not its own.
LEAVING_SECONDS = 4.0
SILENT = 300  # more than a port keeps
OWN_CALLS = 8  # connections to the API server that come and go by themselves


def test_an_operator_that_is_told_to_end_gives_its_lease_back_and_is_gone_before_it_would_be_killed(
    tmp_path: Path,
) -> None:
    async def story(operator: Operator) -> None:
        await operator.until_ready()
        assert (await ask(operator.probes, b"GET /healthz HTTP/1.1\r\n\r\n"))[0] == b"HTTP/1.1 200 OK"
        assert operator.server.holders[-1][1] == "pod-1"
        told = time.monotonic()
        operator.process.send_signal(signal.SIGTERM)
        assert await operator.process.wait() == 0
        assert time.monotonic() - told < LEAVING_SECONDS
        assert operator.server.holders[-1][1] == ""

    asyncio.run(beside_an_operator(tmp_path, story))


@pytest.mark.promise("hostile-port")
@pytest.mark.once
@pytest.mark.timeout(240)
def test_nonsense_and_silence_on_the_ports_of_an_operator_are_closed_and_forgotten(tmp_path: Path) -> None:
    async def story(operator: Operator) -> None:
        pid, ports = operator.process.pid, (operator.probes, operator.metrics)
        await operator.until_ready()
        before = sockets(pid)

        async def assault(seed: int) -> None:
            async with asyncio.TaskGroup() as group:
                for port in ports:
                    group.create_task(silence("127.0.0.1", port, connections=SILENT))
                    group.create_task(chatter("127.0.0.1", port, connections=100, seed=seed))
                    group.create_task(dawdle(port))
                # Who makes sense is answered meanwhile; that many must not come between its connection and its request.
                await asyncio.sleep(0)
                for _ in range(20):
                    await check_pages(operator)
                    assert sockets(pid) <= before + OWN_CALLS + len(ports) * pages.CONNECTIONS_MAX
                    await asyncio.sleep(0.1)

        async with deaf(*ports):
            await settle(pid, assault)
            assert sockets(pid) <= before + OWN_CALLS
        await check_pages(operator)
        operator.process.send_signal(signal.SIGTERM)
        assert await operator.process.wait() == 0

    asyncio.run(beside_an_operator(tmp_path, story, seconds=200))


async def check_pages(operator: Operator) -> None:
    assert figure(await page(operator.metrics), "loadstone_operator_leader") == 1
    assert await ask(operator.probes, b"GET /healthz HTTP/1.1\r\n\r\n") == (b"HTTP/1.1 200 OK", b"ok\n")


async def dawdle(port: int) -> None:
    """Say a request that never ends, a byte at a time: that makes nobody patient for longer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = asyncio.create_task(reader.read())
    async with asyncio.timeout(CLOSED_SECONDS):
        while not answered.done():
            writer.write(b"G")
            await asyncio.sleep(0.2)
    with contextlib.suppress(ConnectionError):
        assert await answered == b""
    writer.close()


@contextlib.asynccontextmanager
async def deaf(*ports: int) -> AsyncIterator[None]:
    """Ask many times for a page and read none of it."""
    asking = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(100)]
    try:
        for each in asking:
            each.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        yield
    finally:
        for each in asking:
            each.close()


def sockets(pid: int) -> int:
    """Return how many sockets a process holds open."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(each.readlink()).startswith("socket:")
    return found


def test_the_operator_loads_no_synchronous_client() -> None:
    code = "import sys, json, loadstone_operator.__main__; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(done.stdout.splitlines()[-1]) if name != "kubernetes.client"}

    assert "kubernetes.aio.dynamic" in loaded
    assert loaded & {"requests", "oauthlib", "kubernetes.config", "kubernetes.client.api_client"} == set()
    assert [name for name in loaded if name.startswith("kubernetes.aio.client.models.v1_")] == []


# Pages


async def ask(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Return the status line and the body of an answer; both empty when there was none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        answer = await reader.read()
    except ConnectionError:
        answer = b""
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], body


def asked(*requests: bytes) -> list[tuple[bytes, bytes]]:
    async def story() -> list[tuple[bytes, bytes]]:
        port = free_port()
        shown = {"/healthz": lambda: Page(HTTPStatus.SERVICE_UNAVAILABLE, b"behind\n")}
        server = await serve_pages(port, shown, host="127.0.0.1")
        async with server, asyncio.timeout(30):
            return [await ask(port, request) for request in requests]

    return asyncio.run(story())


def test_a_page_is_answered_with_its_status_whatever_else_the_request_says() -> None:
    answers = asked(
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz?verbose HTTP/1.0\r\n\r\n",
        b"HEAD /healthz X\r\n\r\n",
    )

    assert answers == [
        (b"HTTP/1.1 503 Service Unavailable", b"behind\n"),
        (b"HTTP/1.1 503 Service Unavailable", b"behind\n"),
        (b"HTTP/1.1 503 Service Unavailable", b""),
    ]


def test_what_is_no_page_and_what_is_no_question_are_refused() -> None:
    (no_page, where), (no_question, _), (noise, _) = asked(
        b"GET / HTTP/1.1\r\n\r\n", b"POST /healthz HTTP/1.1\r\n\r\n", b"\xff\xfe\r\n\r\n"
    )

    assert (no_page, where) == (b"HTTP/1.1 404 Not Found", b"here are: /healthz\n")
    assert no_question == noise == b"HTTP/1.1 405 Method Not Allowed"


def test_of_too_many_silent_peers_the_oldest_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "CONNECTIONS_MAX", 3)

    async def story() -> None:
        port = free_port()
        async with await serve_pages(port, {}, host="127.0.0.1"), asyncio.timeout(30):
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
            ends = [asyncio.create_task(reader.read()) for reader, _ in silent]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            assert [each.done() for each in ends] == [True, False, False, False]
            assert (await ask(port, b"GET / HTTP/1.1\r\n\r\n"))[0] == b"HTTP/1.1 404 Not Found"
            for _, writer in silent:
                writer.close()
            await asyncio.gather(*ends, return_exceptions=True)

    asyncio.run(story())


def test_a_peer_that_talks_on_or_falls_silent_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "REQUEST_SECONDS", 0.2)

    assert asked(b"GET /healthz HTTP/1.1\r\n") == [(b"", b"")]
    monkeypatch.setattr(pages, "REQUEST_SECONDS", 600.0)
    assert asked(b"GET " + b"x" * (pages.HEAD_MAX_BYTES + 1)) == [(b"", b"")]
