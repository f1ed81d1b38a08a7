"""A real agent process, and the master, launcher and engines around it, which do what a test says. No test is here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from grpc import aio
from tests.component.ports import free_port

from loadstone_core.spec.digest import files_digest
from loadstone_core.stats.stream import Counters, pack_counters
from loadstone_protocol import framing
from loadstone_protocol.credentials import add_port
from loadstone_protocol.v1 import coordination_pb2 as cpb
from loadstone_protocol.v1 import coordination_pb2_grpc
from loadstone_protocol.v1 import engine_pb2 as epb
from loadstone_protocol.v1 import statistics_pb2 as spb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable

    from loadstone_protocol.identity import Pems

PATIENCE = 20.0
SCRIPT = {"test.py": b"from loadstone import User\n", "lib/rows.csv": b"1,2\n"}
LOAD = epb.LoadPlan(
    name="default",
    model=epb.USERS,
    segments=[epb.Segment(start_ns=0, duration_ns=10**10, from_value=5, to_value=5)],
    end_ns=10**10,
    target="http://127.0.0.1:1",
    graceful_stop_ns=10**9,
)
SECOND = 10**9

Accept = Callable[[Any], bool]


def anything(_: object) -> bool:
    return True


class Connection:
    """One control stream of the agent and what the test says on it."""

    def __init__(self) -> None:
        self.down: asyncio.Queue[cpb.MasterMessage | None] = asyncio.Queue()
        self.heard: list[cpb.AgentMessage] = []
        self.news = asyncio.Event()
        self.ended = asyncio.Event()
        self.acknowledges = True

    def say(self, **kind: Any) -> None:
        self.down.put_nowait(cpb.MasterMessage(**kind))

    def end(self) -> None:
        self.down.put_nowait(None)

    def all(self, kind: str) -> list[Any]:
        return [getattr(each, kind) for each in self.heard if each.HasField(kind)]

    async def wait_for(self, kind: str, accept: Accept = anything) -> Any:
        """Return the first message of a kind, heard already or yet to come, that is accepted."""
        async with asyncio.timeout(PATIENCE):
            seen = 0
            while True:
                for each in self.heard[seen:]:
                    if each.HasField(kind) and accept(getattr(each, kind)):
                        return getattr(each, kind)
                seen = len(self.heard)
                self.news.clear()
                if len(self.heard) == seen:
                    await self.news.wait()


class Master(coordination_pb2_grpc.CoordinationServicer):
    """A master that does what the test says; by itself it welcomes and acknowledges."""

    def __init__(self, *, clock_offset_ns: int = 0, pems: Pems | None = None) -> None:
        self.pems = pems
        self.clock_offset_ns = clock_offset_ns
        self.epoch = 1
        self.welcomes = True
        self.receives = True
        self.takes = asyncio.Event()
        self.takes.set()
        self.connections: asyncio.Queue[Connection] = asyncio.Queue()
        self.states: list[spb.StreamState] = []
        self.peers: list[cpb.Peer] = []
        self.news = asyncio.Event()
        self.server: aio.Server | None = None
        self.port = 0

    async def start(self, port: int | None = None) -> None:
        self.server = aio.server(options=[("grpc.so_reuseport", 0)])
        coordination_pb2_grpc.add_CoordinationServicer_to_server(self, self.server)  # type: ignore[no-untyped-call]  # generated
        self.port = add_port(self.server, f"127.0.0.1:{port or free_port()}", self.pems)
        await self.server.start()

    async def stop(self) -> None:
        assert self.server is not None
        await self.server.stop(None)

    async def connection(self) -> Connection:
        return await asyncio.wait_for(self.connections.get(), PATIENCE)

    async def state(self, accept: Accept = anything) -> spb.StreamState:
        async with asyncio.timeout(PATIENCE):
            while True:
                for state in self.states:
                    if accept(state):
                        return state
                self.news.clear()
                await self.news.wait()

    async def Control(  # noqa: N802 the name in the proto
        self, requests: AsyncIterator[cpb.AgentMessage], _context: Any
    ) -> AsyncIterator[cpb.MasterMessage]:
        connection = Connection()
        reading = asyncio.create_task(self._read(connection, requests))
        try:
            while (message := await connection.down.get()) is not None:
                yield message
        finally:
            reading.cancel()
            connection.ended.set()

    async def _read(self, connection: Connection, requests: AsyncIterator[cpb.AgentMessage]) -> None:
        async for message in requests:
            connection.heard.append(message)
            connection.news.set()
            match message.WhichOneof("kind"):
                case "hello":
                    if self.welcomes:
                        connection.say(welcome=cpb.Welcome(epoch=self.epoch, lease_ns=30 * SECOND))
                    self.connections.put_nowait(connection)
                case "heartbeat" if connection.acknowledges:
                    connection.say(ack=cpb.HeartbeatAck(number=message.heartbeat.number, epoch=self.epoch))
                case "ping":
                    now = time.monotonic_ns() + self.clock_offset_ns
                    connection.say(pong=cpb.Pong(sent_ns=message.ping.sent_ns, master_ns=now))
        connection.ended.set()

    async def Statistics(  # noqa: N802 the name in the proto
        self, requests: AsyncIterator[cpb.StatisticsFrame], _context: Any
    ) -> AsyncIterator[cpb.StatisticsAck]:
        async for frame in requests:
            if frame.HasField("peer"):
                self.peers.append(frame.peer)
                continue
            self.states.append(frame.state)
            self.news.set()
            await self.takes.wait()
            if self.receives:
                yield cpb.StatisticsAck(stream=frame.state.stream, received=frame.state.sequence)


class Engine:
    """An engine's end of agent.sock."""

    def __init__(self, folder: Path, engine: int = 0) -> None:
        self.folder = folder
        self.engine = engine
        self.decoder = framing.Decoder()
        self.held: list[epb.ToEngine] = []

    async def connect(self) -> Engine:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    self.reader, self.writer = await asyncio.open_unix_connection(self.folder / "agent.sock")
                    break
                await asyncio.sleep(0.02)
        self.say(
            hello=epb.EngineHello(role=epb.ENGINE_ROLE_ENGINE, engine=self.engine, start=1, pid=1, counters_path="")
        )
        return self

    def say(self, **kind: Any) -> None:
        self.writer.write(framing.encode(epb.EngineMessage(**kind).SerializeToString()))

    def status(self, stage: epb.EngineStatus.Stage, applied: int = 0, **fields: Any) -> None:
        self.say(status=epb.EngineStatus(stage=stage, applied_revision=applied, **fields))

    def state(self, sequence: int, series: Iterable[spb.SeriesState] = (), **fields: Any) -> None:
        self.say(state=spb.StreamState(sequence=sequence, series=series, **fields))

    async def hear(self, kind: str, accept: Accept = anything) -> Any:
        async with asyncio.timeout(PATIENCE):
            while True:
                while self.held:
                    message = self.held.pop(0)
                    if message.HasField(kind) and accept(getattr(message, kind)):
                        return getattr(message, kind)
                received = await self.reader.read(65536)
                assert received, "the agent closed the connection"
                self.held += [epb.ToEngine.FromString(each) for each in self.decoder.feed(received)]

    def counters(self, **counts: int) -> None:
        path = self.folder / f"engine-{self.engine}-1.counters"
        path.write_bytes(pack_counters(Counters(**counts)))

    def close(self) -> None:
        self.writer.close()


class Launcher:
    """The launcher's end of launcher.sock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def connect(self, engines: int = 1) -> Launcher:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    self.reader, self.writer = await asyncio.open_unix_connection(self.folder / "launcher.sock")
                    break
                await asyncio.sleep(0.02)
        self.say(event="hello", pid=1, engines=engines, role="engine")
        return self

    def say(self, **event: Any) -> None:
        self.writer.write(json.dumps(event).encode() + b"\n")

    def exited(
        self, engine: int = 0, *, code: int | None = 0, signal: int | None = None, tail: str = "", oom: bool = False
    ) -> None:
        self.say(event="exited", engine=engine, start=1, code=code, signal=signal, tail=tail, oom=oom)

    async def order(self, do: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await self.reader.readline()
                assert line, "the agent closed the connection"
                order: dict[str, Any] = json.loads(line)
                if order["do"] == do:
                    return order

    def close(self) -> None:
        self.writer.close()


class Pod:
    """A real agent process with a scripted master, launcher and engines around it."""

    def __init__(
        self,
        folder: Path,
        *,
        engines: int = 1,
        clock_offset_ns: int = 0,
        pems: Pems | None = None,
        **environment: str,
    ) -> None:
        self.environment = environment
        self.folder = folder
        self.engines = engines
        self.scripts = folder / "scripts"
        self.sockets = folder / "sockets"
        self.termination = folder / "termination"
        self.master = Master(clock_offset_ns=clock_offset_ns, pems=pems)
        self.version = 0
        self.opened: list[Engine | Launcher] = []

    async def __aenter__(self) -> Self:
        mount(self.scripts)
        self.sockets.mkdir()
        await self.master.start()
        await self.start_agent()
        return self

    async def start_agent(self, **environment: str) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "loadstone_runner",
            "agent",
            env={
                **os.environ,
                "LOADSTONE_RUN_UID": "uid/1",
                "LOADSTONE_EPOCH": "1",
                "LOADSTONE_WORKER": "3",
                "LOADSTONE_ATTEMPT": "2",
                "LOADSTONE_POD": "pod-3",
                "LOADSTONE_MASTER": f"127.0.0.1:{self.master.port}",
                "LOADSTONE_SCRIPT_DIR": str(self.scripts),
                "LOADSTONE_METRICS": "",
                "LOADSTONE_SOCKET_DIR": str(self.sockets),
                "LOADSTONE_TERMINATION_FILE": str(self.termination),
                "LOADSTONE_ENGINES": str(self.engines),
                **self.environment,
                **environment,
            },
        )

    async def __aexit__(self, *_: object) -> None:
        for each in self.opened:
            each.close()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await self.master.stop()

    async def engine(self, number: int = 0) -> Engine:
        engine = await Engine(self.sockets, number).connect()
        self.opened.append(engine)
        return engine

    async def launcher(self) -> Launcher:
        launcher = await Launcher(self.sockets).connect(self.engines)
        self.opened.append(launcher)
        return launcher

    async def wait(self) -> int:
        return await asyncio.wait_for(self.process.wait(), PATIENCE)

    def last_word(self) -> dict[str, Any]:
        word: dict[str, Any] = json.loads(self.termination.read_text())
        return word

    def configure(
        self, connection: Connection, run_state: epb.RunState, *, epoch: int = 1, revision: int = 0, **fields: Any
    ) -> bytes:
        self.version = revision or self.version + 1
        fields.setdefault("script_digest", files_digest(SCRIPT))
        body = cpb.CommonBody(run_state=run_state, scenarios=[LOAD], **fields).SerializeToString()
        digest = hashlib.sha256(body).digest()
        connection.say(
            config=cpb.Config(version=cpb.Version(epoch=epoch, revision=self.version), sha256=digest, body=body)
        )
        return digest

    async def running(self) -> tuple[Connection, Launcher, list[Engine]]:
        """Bring everybody to RUNNING."""
        launcher = await self.launcher()
        engines = [await self.engine(number) for number in range(self.engines)]
        connection = await self.master.connection()
        connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1))
        self.configure(connection, epb.READY_STATE)
        self.configure(connection, epb.RUNNING_STATE, start_at_ns=time.monotonic_ns() + self.master.clock_offset_ns)
        for engine in engines:
            config = await engine.hear("config", lambda config: config.run_state == epb.RUNNING_STATE)
            engine.status(epb.EngineStatus.RUNNING, config.revision)
        return connection, launcher, engines


def mount(scripts: Path) -> None:
    """Lay files out as the kubelet mounts a Secret: links into a hidden folder that is itself a link."""
    hidden = scripts / "..2026_11_20"
    for name, content in SCRIPT.items():
        path = hidden / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (scripts / "..data").symlink_to("..2026_11_20")
    for name in {Path(name).parts[0] for name in SCRIPT}:
        (scripts / name).symlink_to(f"..data/{name}")


def series_of(name: str, count: int) -> spb.SeriesState:
    key = spb.SeriesKey(metric="latency", scenario="default", method="GET", name=name)
    return spb.SeriesState(key=key, kind=spb.KIND_TREND, count=count, total=count, index_deltas=[5], counts=[count])


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 100))
