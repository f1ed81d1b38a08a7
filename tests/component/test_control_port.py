"""The port of the control API, when those come who have no token, or say nothing, or nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from loadstone_protocol.v1 import control_pb2
from loadstone_runner.transport.admission import Admission
from loadstone_runner.transport.http import serving
from loadstone_runner.transport.http.api import application
from loadstone_runner.transport.http.serving import STRANGE_SECONDS, at_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

TOKEN = "s3cret"
KNOWN = f"Host: run\r\nAuthorization: Bearer {TOKEN}\r\n"
promise = pytest.mark.promise


class Quiet:
    """A run of which nothing is to be seen yet."""

    async def state(self) -> dict[str, Any]:
        return {"kind": "run"}

    async def rows(self, _width: int, _second: int) -> AsyncGenerator[control_pb2.RowsMessage, None]:
        await asyncio.Event().wait()
        yield control_pb2.RowsMessage()

    async def report(self) -> bytes:
        return b""


class Endless(Quiet):
    """A run with more rows than any connection holds."""

    def __init__(self) -> None:
        self.given_up = asyncio.Event()

    async def rows(self, _width: int, _second: int) -> AsyncGenerator[control_pb2.RowsMessage, None]:
        try:
            for second in itertools.count():
                yield control_pb2.RowsMessage(row=control_pb2.Row(second=second, width_seconds=1))
                await asyncio.sleep(0)
        finally:
            self.given_up.set()


class Steady:
    """Takes any wish."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_told, **_named: None


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def at(cls, port: int) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def say(self, text: str | bytes) -> None:
        self._writer.write(text.encode() if isinstance(text, str) else text)

    async def status(self) -> int:
        """Return the status of an answer, whose body is an error's if it is one."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = int(head.split()[1])
        body = json.loads(await self._reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0])))
        assert (list(body) == ["error"]) is (status >= 400)
        return status

    async def closed(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while await self._reader.read(1 << 16):
                    pass
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
        return True

    async def leave(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionResetError):
            await self._writer.wait_closed()


@promise("control-api")
def test_who_is_not_let_in_holds_no_connection() -> None:
    async def story() -> None:
        app = application(Quiet(), admission=Admission(TOKEN), steered=None)
        async with at_port(app, "127.0.0.1", 0) as port:
            silent, halting, wrong, known, watching = [await Caller.at(port) for _ in range(5)]
            halting.say("GET /v1/run HTTP/1.1\r\nHost: ru")
            wrong.say("GET /v1/run HTTP/1.1\r\nHost: run\r\nAuthorization: Bearer nonsense\r\n\r\n")
            known.say(f"GET /v1/run HTTP/1.1\r\n{KNOWN}\r\n")
            watching.say(f"GET /v1/run/watch HTTP/1.1\r\n{KNOWN}\r\n")
            assert await wrong.status() == 401
            assert await known.status() == 200

            strangers = await asyncio.gather(*[each.closed(2 * STRANGE_SECONDS) for each in (silent, halting, wrong)])

            assert strangers == [True, True, True]
            assert not await watching.closed(0.1)
            known.say(f"GET /v1/run HTTP/1.1\r\n{KNOWN}\r\n")
            assert await known.status() == 200
            for each in (silent, halting, wrong, known, watching):
                await each.leave()

    asyncio.run(story())


@promise("control-api")
def test_who_was_let_in_and_asks_no_more_holds_no_connection_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.5)

    async def story() -> None:
        app = application(Quiet(), admission=Admission(TOKEN), steered=None)
        async with at_port(app, "127.0.0.1", 0) as port:
            idle, watching = [await Caller.at(port) for _ in range(2)]
            idle.say(f"GET /v1/run HTTP/1.1\r\n{KNOWN}\r\n")
            watching.say(f"GET /v1/run/watch HTTP/1.1\r\n{KNOWN}\r\n")
            assert await idle.status() == 200

            assert await idle.closed(20)
            assert not await watching.closed(0.1)
            for each in (idle, watching):
                await each.leave()

    asyncio.run(asyncio.wait_for(story(), 60))


@promise("control-api")
@pytest.mark.parametrize(
    ("asked", "header", "body"),
    [
        ("GET /v1/run/watch?from=" + "0" * 20 + "9" * 5_000, "", b""),
        ("POST /v1/run/load", "", b"[" * 16_000),
        ("POST /v1/run/load", "", b"\xff\xfe"),
        ("POST /v1/run/load", "Content-Encoding: gzip\r\n", b"{}"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(caplog, asked, header, body) -> None:
    async def story() -> None:
        app = application(Quiet(), admission=None, steered=Steady())
        async with at_port(app, "127.0.0.1", 0) as port:
            caller = await Caller.at(port)
            caller.say(f"{asked} HTTP/1.1\r\nHost: run\r\n{header}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert await caller.status() == 400
            await caller.leave()

    asyncio.run(story())

    assert caplog.records == []


@promise("control-api")
def test_a_watcher_that_takes_nothing_any_more_gives_its_place_to_others(monkeypatch, caplog) -> None:
    monkeypatch.setattr(serving, "VANISHED_MILLIS", 1_000)

    async def story() -> None:
        run = Endless()
        async with at_port(application(run, admission=Admission(TOKEN), steered=None), "127.0.0.1", 0) as port:
            caller = await Caller.at(port)
            caller.say(f"GET /v1/run/watch HTTP/1.1\r\n{KNOWN}\r\n")
            async with asyncio.timeout(20):
                await run.given_up.wait()
            assert await caller.closed(STRANGE_SECONDS)
            await caller.leave()

    asyncio.run(story())

    assert caplog.records == []


@promise("control-api")
def test_who_asks_for_the_head_of_a_watch_takes_no_place_of_a_watcher() -> None:
    async def story() -> None:
        app = application(Quiet(), admission=None, steered=None)
        async with at_port(app, "127.0.0.1", 0) as port:
            caller = await Caller.at(port)
            caller.say("HEAD /v1/run/watch HTTP/1.1\r\nHost: run\r\nConnection: close\r\n\r\n")
            assert await caller.closed(STRANGE_SECONDS)
            await caller.leave()

    asyncio.run(story())


@promise("control-api")
def test_what_is_no_http_leaves_nothing_in_the_log(caplog) -> None:
    async def story() -> None:
        app = application(Quiet(), admission=Admission(TOKEN), steered=None)
        async with at_port(app, "127.0.0.1", 0) as port:
            for nonsense in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"x" * 100_000):
                caller = await Caller.at(port)
                caller.say(nonsense)
                assert await caller.closed(2 * STRANGE_SECONDS)
                await caller.leave()

    asyncio.run(story())

    assert caplog.records == []
