import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Self

import pytest
from grpc import aio

from loadstone_core.spec.digest import files_digest
from loadstone_core.stats.stream import Counters, pack_counters
from loadstone_protocol import framing
from loadstone_protocol.v1 import coordination_pb2 as cpb
from loadstone_protocol.v1 import coordination_pb2_grpc
from loadstone_protocol.v1 import engine_pb2 as epb
from loadstone_protocol.v1 import statistics_pb2 as spb

PATIENCE = 20.0
SCRIPT = {"test.py": b"from loadstone import User\n", "lib/rows.csv": b"1,2\n"}
LOAD = epb.LoadPlan(
    model=epb.USERS,
    segments=[epb.Segment(start_ns=0, duration_ns=10**10, from_value=5, to_value=5)],
    end_ns=10**10,
    target="http://127.0.0.1:1",
    graceful_stop_ns=10**9,
)
SECOND = 10**9


class Connection:
    """One control stream of the agent and what the test says on it."""

    def __init__(self) -> None:
        self.down: asyncio.Queue = asyncio.Queue()
        self.heard: list[cpb.AgentMessage] = []
        self.news = asyncio.Event()
        self.ended = asyncio.Event()
        self.acknowledges = True

    def say(self, **kind) -> None:
        self.down.put_nowait(cpb.MasterMessage(**kind))

    def end(self) -> None:
        self.down.put_nowait(None)

    def all(self, kind: str) -> list:
        return [getattr(each, kind) for each in self.heard if each.HasField(kind)]

    async def wait_for(self, kind: str, accept=lambda _: True):
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

    def __init__(self, *, clock_offset_ns: int = 0) -> None:
        self.clock_offset_ns = clock_offset_ns
        self.epoch = 1
        self.welcomes = True
        self.receives = True
        self.connections: asyncio.Queue[Connection] = asyncio.Queue()
        self.states: list[spb.StreamState] = []
        self.peers: list[cpb.Peer] = []
        self.news = asyncio.Event()
        self.server: aio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self.server = aio.server(options=[("grpc.so_reuseport", 0)])
        coordination_pb2_grpc.add_CoordinationServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.server.start()

    async def stop(self) -> None:
        assert self.server is not None
        await self.server.stop(None)

    async def connection(self) -> Connection:
        return await asyncio.wait_for(self.connections.get(), PATIENCE)

    async def state(self, accept=lambda _: True) -> spb.StreamState:
        async with asyncio.timeout(PATIENCE):
            while True:
                for state in self.states:
                    if accept(state):
                        return state
                self.news.clear()
                await self.news.wait()

    async def Control(self, requests, _context):  # noqa: N802 the name in the proto
        connection = Connection()
        reading = asyncio.create_task(self._read(connection, requests))
        try:
            while (message := await connection.down.get()) is not None:
                yield message
        finally:
            reading.cancel()
            connection.ended.set()

    async def _read(self, connection: Connection, requests) -> None:
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

    async def Statistics(self, requests, _context):  # noqa: N802 the name in the proto
        async for frame in requests:
            if frame.HasField("peer"):
                self.peers.append(frame.peer)
                continue
            self.states.append(frame.state)
            self.news.set()
            if self.receives:
                yield cpb.StatisticsAck(stream=frame.state.stream, received=frame.state.sequence)


class Engine:
    """An engine's end of agent.sock."""

    def __init__(self, folder: Path, engine: int = 0) -> None:
        self.folder = folder
        self.engine = engine
        self.decoder = framing.Decoder()
        self.held: list[epb.ToEngine] = []

    async def connect(self) -> "Engine":
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

    def say(self, **kind) -> None:
        self.writer.write(framing.encode(epb.EngineMessage(**kind).SerializeToString()))

    def status(self, stage, applied: int = 0, **fields) -> None:
        self.say(status=epb.EngineStatus(stage=stage, applied_revision=applied, **fields))

    def state(self, sequence: int, series=(), **fields) -> None:
        self.say(state=spb.StreamState(sequence=sequence, series=series, **fields))

    async def hear(self, kind: str, accept=lambda _: True):
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

    async def connect(self, engines: int = 1) -> "Launcher":
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    self.reader, self.writer = await asyncio.open_unix_connection(self.folder / "launcher.sock")
                    break
                await asyncio.sleep(0.02)
        self.say(event="hello", pid=1, engines=engines, role="engine")
        return self

    def say(self, **event) -> None:
        self.writer.write(json.dumps(event).encode() + b"\n")

    def exited(self, engine: int = 0, *, code: int | None = 0, signal: int | None = None, tail="", oom=False) -> None:
        self.say(event="exited", engine=engine, start=1, code=code, signal=signal, tail=tail, oom=oom)

    async def order(self, do: str) -> dict:
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await self.reader.readline()
                assert line, "the agent closed the connection"
                order = json.loads(line)
                if order["do"] == do:
                    return order

    def close(self) -> None:
        self.writer.close()


class Pod:
    """A real agent process with a scripted master, launcher and engines around it."""

    def __init__(self, folder: Path, *, engines: int = 1, clock_offset_ns: int = 0) -> None:
        self.folder = folder
        self.engines = engines
        self.scripts = folder / "scripts"
        self.sockets = folder / "sockets"
        self.termination = folder / "termination"
        self.master = Master(clock_offset_ns=clock_offset_ns)
        self.version = 0
        self.opened: list = []

    async def __aenter__(self) -> Self:
        _mount(self.scripts)
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
                **environment,
            },
        )

    async def __aexit__(self, *_) -> None:
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

    def last_word(self) -> dict:
        return json.loads(self.termination.read_text())

    def configure(self, connection: Connection, run_state, *, epoch: int = 1, revision: int = 0, **fields) -> bytes:
        self.version = revision or self.version + 1
        fields.setdefault("script_digest", files_digest(SCRIPT))
        body = cpb.CommonBody(run_state=run_state, load=LOAD, **fields).SerializeToString()
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


def _mount(scripts: Path) -> None:
    """Lay files out as the kubelet mounts a Secret: links into a hidden folder that is itself a link."""
    hidden = scripts / "..2026_11_20"
    for name, content in SCRIPT.items():
        path = hidden / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (scripts / "..data").symlink_to("..2026_11_20")
    for name in {Path(name).parts[0] for name in SCRIPT}:
        (scripts / name).symlink_to(f"..data/{name}")


def _series(name: str, count: int) -> spb.SeriesState:
    key = spb.SeriesKey(metric="latency", scenario="default", method="GET", name=name)
    return spb.SeriesState(key=key, kind=spb.KIND_TREND, count=count, total=count, index_deltas=[5], counts=[count])


def _run(scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario, 100))


def test_agent_says_who_it_is_and_what_script_it_has_really_mounted(tmp_path):
    async def scenario():
        async with Pod(tmp_path, engines=2) as pod:
            connection = await pod.master.connection()
            hello = connection.heard[0].hello
            assert hello.peer.run_uid == "uid/1"
            assert (hello.peer.worker, hello.peer.attempt, hello.peer.pod) == (3, 2, "pod-3")
            assert hello.peer.boot
            assert (hello.protocol_major, hello.engines, hello.highest_epoch) == (1, 2, 1)
            assert hello.script_digest == files_digest(SCRIPT)

    _run(scenario())


def test_configuration_is_acknowledged_when_every_engine_has_applied_it_and_not_before(tmp_path):
    async def scenario():
        async with Pod(tmp_path, engines=2) as pod:
            engines = [await pod.engine(0), await pod.engine(1)]
            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=1, version=7, slot=1, slots=3))
            digest = pod.configure(connection, epb.READY_STATE, setup_json=b'{"token": 1}')

            configs = [await engine.hear("config", lambda config: config.slots) for engine in engines]
            assert [(config.slot, config.slots) for config in configs] == [(1, 6), (4, 6)]
            assert [(config.worker, config.attempt) for config in configs] == [(3, 2), (3, 2)]
            assert configs[0].load == LOAD
            assert configs[0].setup_json == b'{"token": 1}'

            engines[0].status(epb.EngineStatus.READY, configs[0].revision)
            beat = await connection.wait_for(
                "heartbeat", lambda beat: any(each.status.stage == epb.EngineStatus.READY for each in beat.engines)
            )
            assert not beat.applied.revision
            engines[1].status(epb.EngineStatus.READY, configs[1].revision)
            beat = await connection.wait_for("heartbeat", lambda beat: beat.applied.revision)
            assert (beat.applied.epoch, beat.applied.revision, beat.applied_sha256) == (1, 1, digest)
            assert beat.assignment == 7

    _run(scenario())


def test_a_script_that_differs_from_the_run_s_is_a_conflict_and_is_not_applied(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            engine = await pod.engine()
            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1))
            pod.configure(connection, epb.READY_STATE, script_digest=files_digest({"test.py": b"other"}))

            beat = await connection.wait_for("heartbeat", lambda beat: beat.conflict)
            assert files_digest(SCRIPT) in beat.conflict_detail
            assert files_digest({"test.py": b"other"}) in beat.conflict_detail
            assert "worker 3" in beat.conflict_detail

            # A newer configuration that fits ends the conflict, so the refused one was never held.
            pod.configure(connection, epb.READY_STATE)
            config = await engine.hear("config")
            engine.status(epb.EngineStatus.READY, config.revision)
            beat = await connection.wait_for("heartbeat", lambda beat: beat.applied.revision)
            assert (beat.applied.revision, beat.conflict) == (2, False)

    _run(scenario())


def test_one_version_with_two_contents_is_a_conflict(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            await pod.engine()
            connection = await pod.master.connection()
            pod.configure(connection, epb.READY_STATE, revision=4)
            pod.configure(connection, epb.READY_STATE, revision=4, setup_json=b"[]")

            beat = await connection.wait_for("heartbeat", lambda beat: beat.conflict)
            assert "1.4" in beat.conflict_detail

    _run(scenario())


@pytest.mark.parametrize("offset_ns", [0, 7 * 3600 * SECOND, -123 * SECOND])
def test_the_start_is_moved_from_the_master_s_clock_to_this_one(tmp_path, offset_ns):
    async def scenario():
        async with Pod(tmp_path, clock_offset_ns=offset_ns) as pod:
            engine = await pod.engine()
            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1))
            start_ns = time.monotonic_ns() + SECOND
            pod.configure(connection, epb.RUNNING_STATE, start_at_ns=start_ns + offset_ns)

            config = await engine.hear("config")
            assert abs(config.start_at_ns - start_ns) < 20_000_000

            engine.state(1, second=0, first_start_ns=start_ns + 5)
            beat = await connection.wait_for("heartbeat", lambda beat: beat.engines and beat.engines[0].started_at_ns)
            assert abs(beat.engines[0].started_at_ns - (start_ns + offset_ns)) < 20_000_000
            assert abs(beat.clock_offset_ns - offset_ns) < 20_000_000

    _run(scenario())


def test_granted_iterations_reach_the_engines_once_each_number(tmp_path):
    async def scenario():
        async with Pod(tmp_path, engines=3) as pod:
            engines = [await pod.engine(number) for number in range(3)]
            connection = await pod.master.connection()
            pod.configure(connection, epb.READY_STATE)
            ranges = [epb.IterationRange(start=0, count=10), epb.IterationRange(start=30, count=1)]
            connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1, ranges=ranges[:1]))
            # Repeated with what is not acknowledged yet, as a master does.
            connection.say(assignment=cpb.Assignment(epoch=1, version=2, slot=0, slots=1, ranges=ranges))

            numbers = []
            for engine in engines:
                config = await engine.hear("config")
                newest = await _newest_config(engine, config)
                numbers += [n for each in newest.ranges for n in range(each.start, each.start + each.count)]
            assert sorted(numbers) == [*range(10), 30]

    _run(scenario())


async def _newest_config(engine: Engine, config: epb.EngineConfig) -> epb.EngineConfig:
    with contextlib.suppress(TimeoutError):
        while True:
            config = await asyncio.wait_for(engine.hear("config"), 0.5)
    return config


def test_states_reach_the_master_as_the_engine_sent_them_under_the_agent_s_name(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            _, _, (engine,) = await pod.running()
            engine.state(1, [_series("a", 5)], second=0, users=3, counters=spb.Counters(started=6, completed=5))
            state = await pod.master.state()

            assert (await engine.hear("ack")).received == 1
            assert state.stream == spb.StreamId(worker=3, attempt=2, engine=0, start=1)
            assert (state.sequence, state.second, state.users, state.full) == (1, 0, 3, False)
            assert list(state.series) == [_series("a", 5)]
            assert state.counters == spb.Counters(started=6, completed=5)
            assert pod.master.peers[0].worker == 3

    _run(scenario())


def test_a_new_master_is_told_the_newest_state_of_every_series(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            connection, _, (engine,) = await pod.running()
            engine.state(1, [_series("a", 1), _series("b", 1)], second=0)
            engine.state(2, [_series("b", 2), _series("c", 2)], second=1, counters=spb.Counters(started=9))
            await pod.master.state(lambda state: state.sequence == 2)
            boot = connection.heard[0].hello.peer.boot

            await pod.master.stop()
            engine.state(3, [_series("c", 3)], second=2, counters=spb.Counters(started=12))
            await engine.hear("ack", lambda ack: ack.received == 3)
            port = pod.master.port
            pod.master = Master()
            pod.master.epoch = 2
            await pod.master.start(port)

            connection = await pod.master.connection()
            state = await pod.master.state(lambda state: state.full)
            assert connection.heard[0].hello.peer.boot == boot
            assert connection.heard[0].hello.applied == cpb.Version(epoch=1, revision=2)
            assert (state.sequence, state.second, state.counters.started) == (3, 2, 12)
            assert {each.key.name: each.count for each in state.series} == {"a": 1, "b": 2, "c": 3}

    _run(scenario())


def test_a_master_of_a_lower_epoch_is_not_obeyed(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            engine = await pod.engine()
            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=5, version=1, slot=0, slots=1))
            pod.configure(connection, epb.READY_STATE, epoch=5)
            await engine.hear("config")
            connection.end()

            # The old master welcomes with its own epoch and is left at once, again and again.
            for _ in range(2):
                connection = await pod.master.connection()
                assert connection.heard[0].hello.highest_epoch == 5
                await asyncio.wait_for(connection.ended.wait(), PATIENCE)
                assert not connection.all("heartbeat")

    _run(scenario())


def test_heartbeats_come_each_second_while_statistics_are_stuck(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            connection, _, (engine,) = await pod.running()
            blob = [_series("x" * 1000 + str(number), 1) for number in range(400)]
            for sequence in range(1, 60):
                engine.state(sequence, blob, second=sequence)
            began = time.monotonic()
            beats = len(connection.all("heartbeat"))
            await asyncio.sleep(4.0)
            gained = len(connection.all("heartbeat")) - beats

            assert gained >= 3 * (time.monotonic() - began) / 4
            await pod.master.state(lambda state: state.sequence == 59)

    _run(scenario())


def test_the_lease_is_lent_to_the_launcher_from_the_moment_of_sending(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            launcher = await pod.launcher()
            await pod.master.connection()
            first = await launcher.order("lease")
            second = await launcher.order("lease")
            assert 29.0 < first["seconds"] <= 30.0
            assert 29.0 < second["seconds"] <= 30.0

    _run(scenario())


def test_load_is_stopped_when_the_lease_has_run_out(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            launcher = await pod.launcher()
            engine = await pod.engine()
            connection = await pod.master.connection()
            connection.say(welcome=cpb.Welcome(epoch=1, lease_ns=2 * SECOND))
            connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1))
            pod.configure(connection, epb.RUNNING_STATE, start_at_ns=time.monotonic_ns(), graceful_stop_ns=30 * SECOND)
            await connection.wait_for("heartbeat", lambda beat: beat.number >= 2)
            connection.acknowledges = False
            silent = time.monotonic()

            config = await engine.hear("config", lambda config: config.run_state == epb.STOPPED_STATE)
            took = time.monotonic() - silent
            assert (config.graceful_stop_ns, config.stop_reason) == (0, "the lease has run out")
            assert 0.5 < took < 4.0
            assert (await launcher.order("deadline"))["seconds"] == 2.0

            # The agent keeps its state, and a master that comes back gets it.
            connection.acknowledges = True
            engine.state(1, [_series("a", 4)], second=0, final=True)
            assert (await pod.master.state(lambda state: state.final)).series[0].count == 4

    _run(scenario())


def test_a_clean_end_is_told_with_counts_and_the_launcher_exits_as_the_master_says(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            pod.configure(connection, epb.STOPPED_STATE, stop_reason="done", graceful_stop_ns=3 * SECOND)
            config = await engine.hear("config", lambda config: config.run_state == epb.STOPPED_STATE)
            assert (config.stop_reason, config.graceful_stop_ns) == ("done", 3 * SECOND)
            assert (await launcher.order("deadline"))["seconds"] == 8.0

            engine.counters(started=11, completed=10, iterations_started=4, iterations_completed=4, reported=10)
            engine.state(9, [_series("a", 10)], second=4, final=True, full=True)
            engine.status(epb.EngineStatus.ENDED, config.revision)
            await engine.hear("ack", lambda ack: ack.received == 9)
            engine.close()
            launcher.exited(code=0, tail="bye")

            end = await connection.wait_for("engine_end")
            assert (end.clean, end.final_sequence, end.exit_code, end.signal) == (True, 9, 0, 0)
            assert (end.counters_known, end.counters.started, end.counters.completed) == (True, 11, 10)
            assert end.stream == spb.StreamId(worker=3, attempt=2, engine=0, start=1)
            bye = await connection.wait_for("bye")
            assert list(bye.engines) == [end]

            connection.say(leave=cpb.Leave(run_over=True))
            assert (await launcher.order("exit"))["code"] == 0
            launcher.close()
            assert await pod.wait() == 0
            assert pod.last_word() == {"worker": 3, "attempt": 2, "durable": True, "started": 11, "completed": 10}

    _run(scenario())


def test_bye_waits_until_the_master_has_the_last_state_even_of_another_connection(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            pod.master.receives = False
            engine.state(2, [_series("a", 1)], second=0, final=True)
            await engine.hear("ack")
            engine.close()
            launcher.exited()
            await connection.wait_for("engine_end")
            await asyncio.sleep(1.5)
            assert not connection.all("bye")

            pod.master.receives = True
            connection.end()
            connection = await pod.master.connection()
            bye = await connection.wait_for("bye")
            assert bye.engines[0].final_sequence == 2
            assert connection.all("engine_end") == list(bye.engines)

    _run(scenario())


def test_an_engine_that_was_killed_is_told_with_its_counters_signal_and_last_lines(tmp_path):
    async def scenario():
        async with Pod(tmp_path, engines=2) as pod:
            connection, launcher, engines = await pod.running()
            engines[0].state(1, [_series("a", 3)], second=0)
            await engines[0].hear("ack")
            engines[0].counters(started=8, completed=6, ambiguous=1, reported=3)
            engines[0].close()
            launcher.exited(0, code=None, signal=signal.SIGKILL, tail="allocating\nmore", oom=True)

            end = await connection.wait_for("engine_end")
            assert (end.clean, end.counters_known, end.signal, end.out_of_memory) == (False, True, 9, True)
            assert (end.counters.started, end.counters.completed, end.counters.ambiguous) == (8, 6, 1)
            assert (end.tail, end.final_sequence) == ("allocating\nmore", 1)
            # The other engine lives, so there is more to come.
            await asyncio.sleep(0.5)
            assert not connection.all("bye")
            engines[1].close()
            launcher.exited(1, code=1, tail="crash")
            bye = await connection.wait_for("bye")
            assert [(each.stream.engine, each.clean, each.exit_code) for each in bye.engines] == [
                (0, False, 0),
                (1, False, 1),
            ]
            assert not bye.engines[1].counters_known  # it has connected, and its file is not there
            connection.say(leave=cpb.Leave(run_over=False))
            assert (await launcher.order("exit"))["code"] == 143

    _run(scenario())


def test_an_engine_that_never_came_up_has_sent_nothing(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            launcher = await pod.launcher()
            connection = await pod.master.connection()
            launcher.exited(code=127, tail="launcher: cannot start python")
            bye = await connection.wait_for("bye")
            end = bye.engines[0]
            assert (end.clean, end.exit_code, end.counters_known, end.counters.started) == (False, 127, True, 0)
            assert end.tail == "launcher: cannot start python"

    _run(scenario())


def test_a_launcher_that_is_gone_takes_its_engines_along(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            engine.counters(started=4, completed=2)
            engine.close()
            launcher.close()
            gone = time.monotonic()

            end = await connection.wait_for("engine_end")
            assert 1.5 < time.monotonic() - gone < 6.0
            assert (end.clean, end.exit_code, end.signal, end.counters.started) == (False, -1, 0, 4)
            assert await connection.wait_for("bye")

    _run(scenario())


def test_sigterm_drains_and_says_bye_as_terminated(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            pod.process.terminate()
            config = await engine.hear("config", lambda config: config.run_state == epb.STOPPED_STATE)
            assert config.stop_reason == "terminated"
            await connection.wait_for("heartbeat", lambda beat: beat.draining)

            engine.counters(started=2, completed=2)
            engine.state(1, [_series("a", 2)], second=0, final=True)
            await engine.hear("ack")
            engine.close()
            launcher.exited(code=143)
            bye = await connection.wait_for("bye")
            assert (bye.reason, bye.engines[0].clean) == ("terminated", True)
            connection.say(leave=cpb.Leave(run_over=False))
            launcher.close()
            assert await pod.wait() == 0
            assert pod.last_word()["durable"] is True

    _run(scenario())


def test_sigterm_after_the_engines_container_has_ended_flushes_what_is_held(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            engine.state(1, [_series("a", 2)], second=0)
            await engine.hear("ack")
            engine.counters(started=3, completed=3, reported=2)
            # The whole container at once: the launcher had no time to say anything.
            engine.close()
            launcher.close()
            await asyncio.sleep(0.2)
            terminated = time.monotonic()
            pod.process.terminate()
            bye = await connection.wait_for("bye")
            assert time.monotonic() - terminated < 1.5
            assert (bye.reason, bye.engines[0].clean, bye.engines[0].counters.completed) == ("terminated", False, 3)
            connection.say(leave=cpb.Leave(run_over=False))
            assert await pod.wait() == 0

    _run(scenario())


def test_without_leave_the_agent_gives_up_and_says_so(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            _, launcher, (engine,) = await pod.running()
            engine.counters(started=5, completed=5)
            engine.state(1, [_series("a", 5)], second=0, final=True)
            await engine.hear("ack")
            await pod.master.stop()
            engine.close()
            launcher.exited(code=0)
            await asyncio.sleep(0.2)
            terminated = time.monotonic()
            pod.process.terminate()
            order = await launcher.order("exit")
            launcher.close()
            assert await pod.wait() == 1
            assert 9.0 < time.monotonic() - terminated < 13.0
            assert order["code"] == 143
            assert pod.last_word() == {"worker": 3, "attempt": 2, "durable": False, "started": 5, "completed": 5}
            await pod.master.start()

    _run(scenario())


def test_a_refused_agent_stops_at_once(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            connection.say(refused=cpb.Refused(code=cpb.Refused.FENCED, detail="attempt 3 is here"))

            config = await engine.hear("config", lambda config: config.run_state == epb.STOPPED_STATE)
            assert config.graceful_stop_ns == 0
            assert (await launcher.order("deadline"))["seconds"] == 2.0
            engine.close()
            launcher.exited(code=0)
            assert (await launcher.order("exit"))["code"] == 143
            launcher.close()
            assert await pod.wait() == 1
            assert pod.last_word()["durable"] is False

    _run(scenario())


def test_bad_frames_of_one_engine_harm_nobody_else(tmp_path):
    async def scenario():
        async with Pod(tmp_path, engines=2) as pod:
            good = await pod.engine(0)
            bad = await pod.engine(1)
            connection = await pod.master.connection()
            bad.writer.write(b"\xff\xff\xff\xff not a frame")
            assert await asyncio.wait_for(bad.reader.read(), PATIENCE) is not None
            stranger = await pod.engine(9)
            assert await asyncio.wait_for(stranger.reader.read(), PATIENCE) == b""
            good.state(1, [_series("a", 1)], second=0)
            assert (await good.hear("ack")).received == 1
            assert (await pod.master.state()).stream.engine == 0
            assert not connection.ended.is_set()

    _run(scenario())


def test_a_script_problem_reaches_the_master_at_once(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            connection = await pod.master.connection()
            await connection.wait_for("heartbeat")
            engine = await pod.engine()
            told = time.monotonic()
            engine.say(script=epb.ScriptReport(ok=False, problem="no User class", traceback="line 1"))
            beat = await connection.wait_for(
                "heartbeat", lambda beat: any(each.script.problem for each in beat.engines)
            )
            assert time.monotonic() - told < 0.5
            assert beat.engines[0].script.traceback == "line 1"

    _run(scenario())


def test_the_master_may_come_later_than_the_agent(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            await pod.master.connection()
            pod.process.kill()
            await pod.process.wait()
            port = pod.master.port
            await pod.master.stop()
            await pod.start_agent()
            await asyncio.sleep(1.5)
            pod.master = Master()
            started = time.monotonic()
            await pod.master.start(port)
            await pod.master.connection()
            assert time.monotonic() - started < 1.5

    _run(scenario())


def test_metrics_show_the_agent_s_health(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            pod.process.kill()
            await pod.process.wait()
            port = _free_port()
            await pod.start_agent(LOADSTONE_METRICS=f"127.0.0.1:{port}")
            engine = await pod.engine()
            connection = await pod.master.connection()
            engine.status(epb.EngineStatus.RUNNING, users=17)
            await connection.wait_for("heartbeat", lambda beat: beat.engines and beat.engines[0].status.users == 17)
            text = await _get(port, "/metrics")
            assert text.startswith("HTTP/1.1 200 OK")
            assert "\nloadstone_agent_engine_users 17\n" in text
            assert (await _get(port, "/other")).startswith("HTTP/1.1 404")

    _run(scenario())


def test_the_way_to_hello_costs_little_processor_time(tmp_path):
    async def scenario():
        async with Pod(tmp_path) as pod:
            await pod.master.connection()
            seconds = _processor_seconds(pod.process.pid)
            assert seconds <= 1.0

    _run(scenario())


async def _get(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
