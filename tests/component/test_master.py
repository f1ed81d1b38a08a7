"""A real master process over loopback: scripted agents speak gRPC to it, a scripted director its Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.model import OnNoData, Severity, ThresholdSpec
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_core.units import SECOND
from loadstone_protocol import framing
from loadstone_protocol.channel import CLIENT_OPTIONS
from loadstone_protocol.codec import (
    counters_to_message,
    stream_id_to_message,
    stream_state_from_bytes,
    stream_state_from_message,
    stream_state_to_message,
)
from loadstone_protocol.follower import Follower, MasterRefused
from loadstone_protocol.v1 import control_pb2, coordination_pb2, coordination_pb2_grpc, engine_pb2
from loadstone_runner.master.store import Register, Store

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "ab" * 32
RUN_UID = "uid-1/1"
MILLISECOND = 1_000_000
IN_TIME = 15.0


def users(count: int, seconds: float) -> LoadProfile:
    duration = int(seconds * SECOND)
    return LoadProfile(Model.USERS, Profile((Segment(0, duration, count, count),), duration), None)


def iterations(count: int) -> LoadProfile:
    return LoadProfile(Model.ITERATIONS, Profile((Segment(0, 2**63 - 1, 10, 10),), None), count)


def plan_of(load: LoadProfile, **changes: Any) -> RunPlan:
    values: dict[str, Any] = {
        "run": RunIdentity(uid=RUN_UID, loadtest="checkout", namespace="default", number=1, epoch=1),
        "spec_digest": "sha256:00",
        "workers": 2,
        "engines_per_worker": 1,
        "load": load,
        "tolerance_ppm": 10_000,
        "target": "http://127.0.0.1:1",
        "percentiles": ("50", "90", "95", "99"),
        "thresholds": (),
        "startup_timeout_ns": 20 * SECOND,
        "graceful_stop_ns": 2 * SECOND,
        "script": ScriptRef(digest=DIGEST, directory="/scripts", entrypoint="test.py"),
    }
    return RunPlan(**{**values, **changes})


def threshold(expr: str, **changes: Any) -> ThresholdSpec:
    values: dict[str, Any] = {
        "name": "limit",
        "expr": expr,
        "severity": Severity.FAIL,
        "abort_on_fail": False,
        "delay_abort_ns": 0,
        "on_no_data": OnNoData.FAIL,
    }
    return ThresholdSpec(**{**values, **changes})


@dataclass
class Master:
    """The process under test and everything that is connected to it."""

    plan: RunPlan
    folder: Path
    metrics_port: int = 0
    process: asyncio.subprocess.Process | None = None
    director: Director | None = None
    agents: list[Agent] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)

    @property
    def address(self) -> str:
        return (self.folder / "state" / "address").read_text()

    @property
    def last_word(self) -> dict[str, Any]:
        word: dict[str, Any] = json.loads((self.folder / "last-word").read_text())
        return word

    async def start(self) -> None:
        (self.folder / "run.json").write_text(self.plan.to_json())
        metrics = f"127.0.0.1:{self.metrics_port}" if self.metrics_port else ""
        environment = {
            **os.environ,
            "LOADSTONE_RUN_FILE": str(self.folder / "run.json"),
            "LOADSTONE_SCRIPT_DIR": str(self.folder),
            "LOADSTONE_LISTEN": "127.0.0.1:0",
            "LOADSTONE_METRICS": metrics,
            "LOADSTONE_SOCKET_DIR": str(self.folder / "s"),
            "LOADSTONE_STATE_DIR": str(self.folder / "state"),
            "LOADSTONE_TERMINATION_FILE": str(self.folder / "last-word"),
            "LOADSTONE_LINGER_SECONDS": "5" if metrics else "0",
        }
        (self.folder / "state" / "address").unlink(missing_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "loadstone_runner", "master", env=environment
        )
        await until((self.folder / "state" / "address").exists)

    async def direct(self, **behaviour: Any) -> Director:
        self.director = Director(self.folder / "s" / "agent.sock", **behaviour)
        await self.director.start()
        return self.director

    async def join(self, worker: int, **behaviour: Any) -> Agent:
        agent = Agent(self.address, worker, **behaviour)
        self.agents.append(agent)
        await agent.connect()
        return agent

    def follow(self) -> Follower:
        follower = Follower(self.address, RUN_UID, 1)
        self.followers.append(follower)
        return follower

    async def finish(self) -> tuple[control_pb2.RunReport, dict[str, Any]]:
        """Follow the run to its outcome, fetch and store the report, see the process leave with 0."""
        follower = self.follow()
        report = await self.outcome(follower)
        content = await follower.fetch_report()
        assert hashlib.sha256(content).digest() == report.outcome.report_sha256
        await follower.stored(report.outcome.report_sha256)
        assert self.process is not None
        assert await asyncio.wait_for(self.process.wait(), 20) == 0
        return report, json.loads(gzip.decompress(content))

    async def outcome(self, follower: Follower) -> control_pb2.RunReport:
        async with asyncio.timeout(IN_TIME):
            async for report in follower.watch():
                if report.HasField("outcome"):
                    return report
        raise AssertionError("the stream ended without an outcome")

    async def stop(self) -> None:
        for agent in self.agents:
            await agent.close()
        for follower in self.followers:
            await follower.close()
        if self.director is not None:
            self.director.close()
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Director:
    """Imports at once, answers setup and teardown at once."""

    def __init__(self, path: Path, *, script: dict[str, Any] | None = None, setup: dict[str, Any] | None = None):
        self.path = path
        self.script = script or {"ok": True}
        self.setup = setup or {"ok": True, "result_json": b'{"token": 1}', "requests": 3}
        self.asked: list[bool] = []

    async def start(self) -> None:
        self.reader, self.writer = await asyncio.open_unix_connection(str(self.path))
        self.say(hello=engine_pb2.EngineHello(role=engine_pb2.ENGINE_ROLE_DIRECTOR, engine=0, start=1, pid=1))
        self.say(script=engine_pb2.ScriptReport(**self.script))
        self.task = asyncio.create_task(self.answer())

    def say(self, **kind: Any) -> None:
        self.writer.write(framing.encode(engine_pb2.EngineMessage(**kind).SerializeToString()))

    async def answer(self) -> None:
        decoder = framing.Decoder()
        while received := await self.reader.read(65536):
            for payload in decoder.feed(received):
                message = engine_pb2.ToEngine.FromString(payload)
                if message.WhichOneof("kind") == "setup":
                    teardown = message.setup.teardown
                    self.asked.append(teardown)
                    reply = {"ok": True, "requests": 2} if teardown else self.setup
                    self.say(setup=engine_pb2.SetupReport(teardown=teardown, **reply))

    def close(self) -> None:
        self.task.cancel()
        self.writer.close()


class Agent:
    """One worker with one engine: does what its configuration says, and reports what the test records."""

    def __init__(self, address: str, worker: int, *, digest: str = DIGEST, attempt: int = 1, **beat: Any):
        self.worker = worker
        self.attempt = attempt
        self.digest = digest
        self.address = address
        self.beat_fields = beat
        self.stream = StreamId(worker, attempt, 0, 1)
        self.recorder = Recorder()
        self.counters = Counters()
        self.users = 0
        self.sequence = 0
        self.number = 0
        self.left = 0
        self.rate = 0
        self.applied: coordination_pb2.Config | None = None
        self.body = coordination_pb2.CommonBody()
        self.assignments: list[coordination_pb2.Assignment] = []
        self.refused = coordination_pb2.Refused()
        self.left_with: bool | None = None
        self.acks: dict[int, coordination_pb2.StatisticsAck] = {}
        self.pongs: list[coordination_pb2.Pong] = []
        self.revisions: list[int] = []
        self.tasks: list[asyncio.Task[Any]] = []

    @property
    def peer(self) -> coordination_pb2.Peer:
        return coordination_pb2.Peer(
            run_uid=RUN_UID, worker=self.worker, attempt=self.attempt, boot="b1", pod=f"pod-{self.worker}"
        )

    async def connect(self, *, major: int = 1) -> None:
        self.channel = aio.insecure_channel(self.address, options=CLIENT_OPTIONS)
        stub = coordination_pb2_grpc.CoordinationStub(self.channel)  # type: ignore[no-untyped-call]  # generated
        self.control = stub.Control()
        hello = coordination_pb2.Hello(
            peer=self.peer, protocol_major=major, script_digest=self.digest, engines=1, highest_epoch=1
        )
        await self.control.write(coordination_pb2.AgentMessage(hello=hello))
        first = await self.control.read()
        if first.WhichOneof("kind") == "refused":
            self.refused = first.refused
            return
        assert first.WhichOneof("kind") == "welcome"
        self.statistics = stub.Statistics()
        await self.statistics.write(coordination_pb2.StatisticsFrame(peer=self.peer))
        self.tasks = [asyncio.create_task(each) for each in (self.obey(), self.listen(), self.live())]
        await self.heartbeat()

    async def obey(self) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            while (message := await self.control.read()) is not aio.EOF:
                match message.WhichOneof("kind"):
                    case "config":
                        assert hashlib.sha256(message.config.body).digest() == message.config.sha256
                        self.revisions.append(message.config.version.revision)
                        self.applied = message.config
                        self.body = coordination_pb2.CommonBody.FromString(message.config.body)
                        await self.heartbeat()
                    case "assignment":
                        self.assignments.append(message.assignment)
                    case "pong":
                        self.pongs.append(message.pong)
                    case "leave":
                        self.left_with = message.leave.run_over
                    case "refused":
                        self.refused = message.refused
                    case _:
                        pass

    async def listen(self) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            while (ack := await self.statistics.read()) is not aio.EOF:
                self.acks[ack.received] = ack

    async def live(self) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await asyncio.sleep(0.5)
                await self.heartbeat()

    async def heartbeat(self) -> None:
        self.number += 1
        stages = {engine_pb2.RUNNING_STATE: "RUNNING", engine_pb2.STOPPED_STATE: "STOPPING"}
        stage = "READY" if self.applied else "LOADING"
        stage = stages.get(self.body.run_state, stage)
        status = engine_pb2.EngineStatus(
            stage=stage,
            users=self.users,
            iterations_left=self.left,
            iterations_per_second=self.rate,
        )
        engine = coordination_pb2.EngineSummary(engine=0, start=1, status=status)
        fields: dict[str, Any] = {"engines": [engine], **self.beat_fields}
        if self.applied is not None:
            fields |= {"applied": self.applied.version, "applied_sha256": self.applied.sha256}
        if self.assignments:
            fields["assignment"] = self.assignments[-1].version
        beat = coordination_pb2.Heartbeat(number=self.number, round_trip_ns=MILLISECOND, **fields)
        await self.control.write(coordination_pb2.AgentMessage(heartbeat=beat))

    def request(self, times: int, *, name: str = "front", latency_ms: int = 10, failed: bool = False) -> None:
        for _ in range(times):
            self.recorder.request(
                method="GET",
                name=name,
                latency_ns=latency_ms * MILLISECOND,
                service_ns=latency_ms * MILLISECOND,
                failed=failed,
                unsent=False,
                ambiguous=False,
                interrupted=False,
                sent=50,
                received=100,
            )
        self.count(started=times, completed=times)

    def iterate(self, times: int) -> None:
        for _ in range(times):
            self.recorder.iteration(name="visit", duration_ns=20 * MILLISECOND, failed=False)
        self.count(iterations_started=times, iterations_completed=times)

    def count(self, **added: int) -> None:
        old = self.counters
        fields = {name: getattr(old, name) + added.get(name, 0) for name in Counters.__dataclass_fields__}
        self.counters = Counters(**fields)

    def state(self, second: int, *, final: bool = False) -> coordination_pb2.StatisticsFrame:
        self.sequence += 1
        state = StreamState(
            stream=self.stream,
            sequence=self.sequence,
            second=second,
            full=final,
            series=self.recorder.take(second) if not final else self.recorder.whole(),
            counters=self.counters,
            users=0 if final else self.users,
            final=final,
        )
        return coordination_pb2.StatisticsFrame(state=stream_state_to_message(state))

    async def send(self, *frames: coordination_pb2.StatisticsFrame) -> None:
        for frame in frames:
            await self.statistics.write(frame)
        await until(lambda: frames[-1].state.sequence in self.acks)

    async def running(self) -> None:
        await until(lambda: self.body.run_state == engine_pb2.RUNNING_STATE)
        await asyncio.sleep(max(0, (self.body.start_at_ns - time.monotonic_ns()) / SECOND))

    async def stopped(self) -> None:
        await until(lambda: self.body.run_state == engine_pb2.STOPPED_STATE)

    async def load(self, *, seconds: int, users: int, requests: int, latency_ms: int = 10) -> None:
        """Do `requests` requests in each of some seconds of load, reporting at the end of each."""
        self.users = users
        for second in range(seconds):
            self.request(requests, latency_ms=latency_ms)
            self.iterate(requests)
            end_ns = self.body.start_at_ns + (second + 1) * SECOND
            await asyncio.sleep(max(0, (end_ns - time.monotonic_ns()) / SECOND))
            await self.send(self.state(second))

    def end(self, *, clean: bool = True, **fields: Any) -> coordination_pb2.EngineEnd:
        return coordination_pb2.EngineEnd(
            stream=stream_id_to_message(self.stream),
            clean=clean,
            counters_known=True,
            counters=counters_to_message(self.counters),
            final_sequence=self.sequence,
            **fields,
        )

    async def bye(self) -> None:
        """Say everything, and leave when that is durable."""
        self.users = 0
        await self.send(self.final())
        await self.say_bye(self.end())

    def final(self) -> coordination_pb2.StatisticsFrame:
        passed = time.monotonic_ns() - self.body.start_at_ns if self.body.start_at_ns else -SECOND
        return self.state(max(-1, passed // SECOND), final=True)

    async def say_bye(self, *ends: coordination_pb2.EngineEnd) -> None:
        await self.control.write(coordination_pb2.AgentMessage(bye=coordination_pb2.Bye(engines=ends)))
        await until(lambda: self.left_with is not None)
        await self.close()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.channel.close()


async def until(holds: Any, seconds: float = IN_TIME) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        await asyncio.sleep(0.005)


def scenario(coroutine: Any) -> Any:
    asyncio.run(asyncio.wait_for(coroutine, 60))


@contextlib.asynccontextmanager
async def master_of(plan: RunPlan, folder: Path, **options: Any) -> Any:
    master = Master(plan, folder, **options)
    try:
        await master.start()
        yield master
    finally:
        await master.stop()


def test_a_run_passes_with_exact_totals_and_its_parts_of_the_status(tmp_path: Path) -> None:
    async def run() -> None:
        fast = threshold('latency{name="front"}:p95 < 300ms', name="fast")
        async with master_of(plan_of(users(10, 2), thresholds=(fast,)), tmp_path) as master:
            director = await master.direct()
            agents = [await master.join(worker) for worker in range(2)]

            async def work(agent: Agent) -> None:
                await agent.running()
                await agent.load(seconds=2, users=5, requests=7)
                await agent.stopped()
                await agent.bye()

            await asyncio.gather(*map(work, agents))
            report, document = await master.finish()

            outcome = report.outcome
            assert (outcome.verdict, outcome.reason, outcome.exit_code) == ("Passed", "Passed", 0)
            assert report.stage == control_pb2.FINISHED
            results = json.loads(outcome.results_json)
            assert (results["requests"], results["started"], results["unaccounted"]) == (28, 28, 0)
            assert results["outside"] == {"setup": 3, "teardown": 2}
            assert results["endpoints"][0]["requests"] == 28
            assert json.loads(outcome.load_json) == {
                "model": "users",
                "planned": 20,
                "achieved": 20,
                "unit": "user-seconds",
                "dropped": 0,
                "late": 0,
            }
            [judged] = json.loads(outcome.thresholds_json)
            assert (judged["name"], judged["verdict"], judged["actual"]) == ("fast", "Passed", "10.0ms")
            assert json.loads(outcome.summary_json)["elapsed"] == "2s"
            assert director.asked == [False, True]
            assert [agent.revisions for agent in agents] == [[1, 2, 3], [1, 2, 3]]
            assert all(agent.body.setup_json == b'{"token": 1}' for agent in agents)
            assert {(each.slot, each.slots) for agent in agents for each in agent.assignments} == {(0, 2), (1, 2)}
            assert sum(row[2] for row in document["timeline"]["rows"]) == 28
            assert master.last_word == {
                "verdict": "Passed",
                "reason": "Passed",
                "message": outcome.message,
                "exitCode": 0,
                "requests": 28,
            }

    scenario(run())


def test_nobody_starts_before_every_worker_has_acknowledged(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct()
            first = await master.join(0)
            await until(lambda: first.body.run_state == engine_pb2.READY_STATE)
            await asyncio.sleep(0.5)
            assert first.body.run_state == engine_pb2.READY_STATE
            second = await master.join(1)
            await asyncio.gather(first.running(), second.running())
            assert first.body.start_at_ns == second.body.start_at_ns
            assert first.applied.sha256 == second.applied.sha256

    scenario(run())


def test_the_outcome_is_pushed_within_tens_of_milliseconds_of_the_last_bye(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            agent = await master.join(0)
            await agent.running()
            await agent.load(seconds=1, users=1, requests=50)
            follower = master.follow()
            waiting = asyncio.create_task(master.outcome(follower))
            assert await follower.steer(steering(1, stop_reason="Stopped")) == 1
            await agent.stopped()
            await agent.send(agent.final())
            said = time.monotonic()
            bye = coordination_pb2.Bye(engines=[agent.end()])
            await agent.control.write(coordination_pb2.AgentMessage(bye=bye))
            report = await waiting
            passed = time.monotonic() - said
            print(f"bye to outcome: {passed * 1000:.1f} ms")
            assert passed < 0.2  # a wait for the next tick, or for half a second, would mostly show
            assert (report.outcome.verdict, report.outcome.exit_code) == ("Aborted", 130)
            assert json.loads(report.outcome.results_json)["requests"] == 50

    scenario(run())


def steering(revision: int, *, stop_reason: str = "", **fields: Any) -> control_pb2.Steering:
    return control_pb2.Steering(
        run_uid=RUN_UID, epoch=1, revision=revision, stop=bool(stop_reason), stop_reason=stop_reason, **fields
    )


def test_a_version_is_on_disk_before_it_arrives_and_a_final_state_before_the_leave(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            store = Store(tmp_path / "state")
            agent = await master.join(0)
            await agent.running()
            held = registered(store)
            assert (held.epoch, held.revision, held.start_at_ns) == (1, 2, agent.body.start_at_ns)
            assert held.digest == agent.applied.sha256.hex()
            await agent.load(seconds=1, users=1, requests=9)
            await master.follow().steer(steering(1, stop_reason="Stopped"))
            await agent.stopped()
            assert registered(store).revision == 3
            frame = agent.final()
            await agent.send(frame)
            assert agent.acks[agent.sequence].durable == 0
            assert store.read_ended() == []
            await agent.control.write(coordination_pb2.AgentMessage(bye=coordination_pb2.Bye(engines=[agent.end()])))
            await until(lambda: agent.left_with is not None)
            [kept] = store.read_ended()
            assert stream_state_from_bytes(kept) == stream_state_from_message(frame.state)
            await until(lambda: agent.acks[agent.sequence].durable == agent.sequence)

    scenario(run())


def registered(store: Store) -> Register:
    register = store.read_register()
    assert register is not None
    return register


def test_totals_are_exact_with_states_lost_repeated_and_out_of_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 30), workers=2), tmp_path) as master:
            await master.direct()
            agents = [await master.join(worker) for worker in range(2)]
            await asyncio.gather(*(agent.running() for agent in agents))
            for agent in agents:
                agent.users = 1
                frames = []
                for number in range(6):
                    agent.request(11, name=f"page {number % 3}")
                    agent.recorder.whole()
                    frames.append(agent.state(0))
                shuffled = [frames[at] for at in (3, 0, 0, 5, 1, 3)]
                await agent.send(*shuffled)
            follower = master.follow()
            await follower.steer(steering(1, stop_reason="Stopped"))
            await asyncio.gather(*(agent.stopped() for agent in agents))
            await asyncio.gather(*(agent.bye() for agent in agents))
            report, document = await master.finish()
            results = json.loads(report.outcome.results_json)
            assert (results["requests"], results["unaccounted"]) == (132, 0)
            assert {each["name"]: each["requests"] for each in results["endpoints"]} == {
                "page 0": 44,
                "page 1": 44,
                "page 2": 44,
            }
            latencies = [each for each in document["series"] if each["metric"] == "latency"]
            assert sum(sum(each["histogram"]["counts"]) for each in latencies) == 132

    scenario(run())


def test_iterations_are_granted_exactly_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(iterations(1000), workers=3), tmp_path) as master:
            await master.direct()
            agents = [await master.join(worker) for worker in range(3)]
            taken: list[int] = []

            async def work(agent: Agent) -> None:
                await agent.running()
                agent.users = 3
                seen = 0
                while agent.body.run_state != engine_pb2.STOPPED_STATE:
                    numbers: list[int] = []
                    for assignment in list(agent.assignments):
                        for place, each in enumerate(assignment.ranges):
                            if assignment.first_range + place >= seen:
                                numbers += range(each.start, each.start + each.count)
                                seen = assignment.first_range + place + 1
                    agent.iterate(len(numbers))
                    taken.extend(numbers)
                    agent.left, agent.rate = 0, 100
                    await agent.heartbeat()
                    await agent.send(agent.state(0))
                    await asyncio.sleep(0.05)
                await agent.bye()

            await asyncio.gather(*map(work, agents))
            report, _ = await master.finish()
            assert sorted(taken) == list(range(1000))
            assert (report.outcome.verdict, report.outcome.reason) == ("Passed", "Passed")
            load = json.loads(report.outcome.load_json)
            assert (load["model"], load["planned"], load["achieved"]) == ("iterations", 1000, 1000)

    scenario(run())


def test_iterations_that_were_granted_to_a_lost_worker_are_not_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(iterations(600), workers=6), tmp_path) as master:
            await master.direct()
            agents = [await master.join(worker) for worker in range(6)]
            await asyncio.gather(*(agent.running() for agent in agents))
            killed, *others = agents
            killed.iterate(40)
            end = killed.end(clean=False, signal=9)
            await killed.control.write(coordination_pb2.AgentMessage(engine_end=end))
            for agent in others:
                agent.iterate(100)
                await agent.send(agent.state(0))
            await asyncio.gather(*(agent.stopped() for agent in others))
            await asyncio.gather(killed.say_bye(end), *(agent.bye() for agent in others))
            report, _ = await master.finish()
            load = json.loads(report.outcome.load_json)
            assert (load["planned"], load["achieved"]) == (600, 540)
            assert (report.outcome.verdict, report.outcome.reason) == ("Inconclusive", "LoadNotReached")
            assert "lost 1 of 6 workers" in report.outcome.message

    scenario(run())


def test_a_lost_worker_is_named_and_what_it_did_is_bounded_by_its_counters(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 30), workers=2), tmp_path) as master:
            await master.direct()
            agents = [await master.join(worker) for worker in range(2)]
            await asyncio.gather(*(agent.running() for agent in agents))
            await asyncio.gather(*(agent.load(seconds=1, users=1, requests=20) for agent in agents))
            killed, other = agents
            killed.count(started=5, completed=4)
            end = killed.end(clean=False, signal=9, tail="compiling\nKilled", out_of_memory=True)
            await killed.control.write(coordination_pb2.AgentMessage(engine_end=end))
            await other.stopped()
            await asyncio.gather(killed.say_bye(end), other.bye())
            report, _ = await master.finish()
            outcome = report.outcome
            assert (outcome.verdict, outcome.reason, outcome.exit_code) == ("Error", "WorkerOOM", 1)
            assert "memory" in outcome.message
            assert any(each.startswith("WorkersLost: lost 1 of 2") for each in report.findings)
            worker = report.workers[0]
            assert (worker.state, worker.reason) == (control_pb2.WorkerReport.LOST, "OOMKilled")
            assert "signal 9: Killed" in worker.message
            results = json.loads(outcome.results_json)
            assert (results["requests"], results["started"], results["unaccounted"]) == (44, 45, 4)

    scenario(run())


def test_a_worker_whose_container_ended_is_lost_at_once_and_a_small_loss_does_not_end_the_run(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(6, 2), workers=6), tmp_path) as master:
            await master.direct()
            agents = [await master.join(worker) for worker in range(6)]
            await asyncio.gather(*(agent.running() for agent in agents))
            gone, *others = agents
            follower = master.follow()
            ended = control_pb2.WorkerEnd(worker=0, attempt=1, reason="Evicted", message="node pressure", exit_code=137)
            await gone.close()
            await follower.steer(steering(1, ended=[ended]))

            async def work(agent: Agent) -> None:
                await agent.load(seconds=2, users=1, requests=5)
                await agent.stopped()
                await agent.bye()

            await asyncio.gather(*map(work, others))
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Inconclusive", "LoadNotReached")
            results = json.loads(report.outcome.results_json)
            assert (results["requests"], results["unaccountedAtLeast"]) == (50, True)
            assert (report.workers[0].reason, report.workers[0].exit_code) == ("Evicted", 137)
            load = json.loads(report.outcome.load_json)
            assert (load["planned"], load["achieved"]) == (12, 10)

    scenario(run())


def test_the_startup_timeout_names_who_is_missing(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1), workers=3, startup_timeout_ns=2 * SECOND), tmp_path) as master:
            await master.direct()
            agent = await master.join(1)
            report = await master.outcome(master.follow())
            await agent.stopped()
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "StartupTimeout")
            assert "workers 0, 2 of 3 to connect" in report.outcome.message

    scenario(run())


def test_different_script_files_end_the_run_with_worker_and_digests(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct()
            await master.join(0)
            other = await master.join(1, digest="sha256:" + "cd" * 32)
            report = await master.outcome(master.follow())
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "ConfigConflict")
            assert "worker 1 (pod-1)" in report.outcome.message
            assert other.digest in report.outcome.message
            assert DIGEST in report.outcome.message
            await other.stopped()

    scenario(run())


@pytest.mark.parametrize("who", ["director", "engine"])
def test_a_script_that_cannot_be_imported_ends_the_run_with_the_traceback(tmp_path: Path, who: str) -> None:
    async def run() -> None:
        problem: dict[str, Any] = {
            "ok": False,
            "problem": "test.py line 3: SyntaxError",
            "traceback": "    users =\n          ^",
        }
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct(script=problem if who == "director" else None)
            if who == "engine":
                summary = coordination_pb2.EngineSummary(
                    engine=0,
                    start=1,
                    script=engine_pb2.ScriptReport(**problem),
                    status=engine_pb2.EngineStatus(),
                )
                await master.join(0, engines=[summary])
            report = await master.outcome(master.follow())
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "ScriptInvalid")
            assert "SyntaxError" in report.outcome.message
            assert "users =" in report.outcome.message

    scenario(run())


def test_a_worker_that_ends_after_the_verdict_is_let_go_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        problem = engine_pb2.ScriptReport(problem="no such module")
        broken = coordination_pb2.EngineSummary(engine=0, start=1, script=problem, status=engine_pb2.EngineStatus())
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct()
            late = await master.join(0)
            await until(lambda: late.applied is not None)
            await master.join(1, engines=[broken])
            report = await master.outcome(master.follow())
            assert report.outcome.reason == "ScriptInvalid"
            await late.stopped()
            await asyncio.wait_for(late.bye(), 2)
            assert late.left_with is True

    scenario(run())


def test_a_setup_that_fails_ends_the_run_before_any_load(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct(setup={"ok": False, "problem": "KeyError: 'token'", "requests": 1})
            report = await master.outcome(master.follow())
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "SetupFailed")
            assert "KeyError" in report.outcome.message

    scenario(run())


def test_a_threshold_ends_the_run_after_its_delay(tmp_path: Path) -> None:
    async def run() -> None:
        reliable = threshold("failures:rate < 10%", abort_on_fail=True, delay_abort_ns=SECOND)
        async with master_of(plan_of(users(1, 60), workers=1, thresholds=(reliable,)), tmp_path) as master:
            await master.direct()
            agent = await master.join(0)
            await agent.running()
            agent.users, second = 1, 0
            while agent.body.run_state != engine_pb2.STOPPED_STATE:
                agent.request(4, failed=True)
                agent.iterate(4)
                end_ns = agent.body.start_at_ns + (second + 1) * SECOND
                await asyncio.sleep(max(0, (end_ns - time.monotonic_ns()) / SECOND))
                await agent.send(agent.state(second))
                second += 1
                assert second < 10
            assert second >= 2
            await agent.bye()
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Failed", "ThresholdsFailed")
            assert report.outcome.exit_code == 99
            [judged] = json.loads(report.outcome.thresholds_json)
            assert (judged["verdict"], judged["actual"]) == ("Failed", "100%")
            assert judged["firstBreachAt"].endswith("Z")

    scenario(run())


def test_strangers_are_refused_with_a_sentence_and_bad_frames_harm_nobody_else(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            agent = await master.join(0, attempt=2)
            older = await master.join(0, attempt=1)
            assert older.refused.code == coordination_pb2.Refused.FENCED
            stranger = await master.join(7)
            assert stranger.refused.code == coordination_pb2.Refused.UNEXPECTED
            foreign = Agent(master.address, 0, attempt=3)
            master.agents.append(foreign)
            await foreign.connect(major=9)
            assert foreign.refused.code == coordination_pb2.Refused.PROTOCOL
            with pytest.raises(MasterRefused, match="uid-1/1"):
                await anext(aiter(Follower(master.address, "uid-1/2", 1).watch()))
            await agent.running()
            bad = agent.state(0)
            bad.state.stream.worker = 5
            await agent.statistics.write(bad)
            await agent.control.write(coordination_pb2.AgentMessage())
            newer = await master.join(0, attempt=3)
            await until(lambda: agent.refused.code)
            assert agent.refused.code == coordination_pb2.Refused.FENCED
            await until(lambda: newer.body.run_state == engine_pb2.RUNNING_STATE)

    scenario(run())


def test_a_follower_that_comes_back_sees_everything_at_once_and_steering_is_idempotent(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(3, 30), workers=1), tmp_path) as master:
            await master.direct()
            follower = master.follow()
            async for report in follower.watch():
                assert report.stage == control_pb2.GATHERING
                assert report.waiting_for == "worker 0 of 1 to connect"
                break
            agent = await master.join(0)
            await agent.running()
            await agent.load(seconds=2, users=3, requests=30)
            again = master.follow()
            async with asyncio.timeout(5):
                async for report in again.watch():
                    if report.progress.requests == 60 and report.progress.requests_per_second == 30:
                        assert report.stage == control_pb2.RUNNING_LOAD
                        assert (report.progress.users, report.workers[0].users) == (3, 3)
                        assert report.progress.iterations == 60
                        break
            assert await again.steer(steering(5, stop_reason="Suspended")) == 5
            assert await again.steer(steering(4, stop_reason="Killed", immediate=True)) == 5
            await agent.stopped()
            assert agent.body.stop_reason == "Suspended"
            assert agent.body.graceful_stop_ns == 2 * SECOND
            await agent.bye()
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Aborted", "Suspended")

    scenario(run())


def test_an_agent_that_reconnects_goes_on_where_it_was(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            agent = await master.join(0)
            await agent.running()
            await agent.load(seconds=1, users=1, requests=10)
            await agent.close()
            agent.request(5)
            await agent.connect()
            await agent.send(agent.state(1))
            follower = master.follow()
            await follower.steer(steering(1, stop_reason="Stopped"))
            await agent.stopped()
            await agent.bye()
            report, _ = await master.finish()
            assert json.loads(report.outcome.results_json)["requests"] == 15
            assert not agent.refused.code

    scenario(run())


def test_prometheus_sees_the_final_values_before_the_master_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path, metrics_port=port) as master:
            await master.direct()
            agent = await master.join(0)
            await agent.running()
            agent.request(3, latency_ms=7)
            agent.request(2, latency_ms=700, failed=True)
            await agent.load(seconds=1, users=1, requests=0)
            follower = master.follow()
            await follower.steer(steering(1, stop_reason="Stopped"))
            await agent.stopped()
            await agent.bye()
            report = await master.outcome(follower)
            await follower.stored(report.outcome.report_sha256)
            page = await scrape(port)
            assert await asyncio.wait_for(master.process.wait(), 4) == 0
            labels = 'loadtest="checkout",method="GET",name="front",run="1"'
            samples = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
            assert samples[f"loadstone_requests_total{{{labels}}}"] == "5.0"
            assert samples[f"loadstone_request_failures_total{{{labels}}}"] == "2.0"
            buckets = {key: value for key, value in samples.items() if "duration_seconds_bucket" in key}
            assert sorted(buckets.values()) == ["0.0"] + ["3.0"] * 6 + ["5.0"] * 5
            assert any("loadstone_run_info{" in key and 'verdict="Aborted"' in key for key in samples)

    scenario(run())


async def scrape(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/plain;version=0.0.4\r\n\r\n")
    content = await reader.read()
    writer.close()
    head, _, body = content.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    return body.decode()


def test_a_master_that_is_taken_away_ends_the_load_and_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            agent = await master.join(0)
            await agent.running()
            await agent.load(seconds=1, users=1, requests=10)
            master.process.send_signal(signal.SIGTERM)
            await agent.stopped()
            await agent.bye()
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "MasterLost")
            assert json.loads(report.outcome.results_json)["requests"] == 10
            assert master.last_word["reason"] == "MasterLost"

    scenario(run())


def test_a_master_that_is_killed_and_started_again_collects_everything_and_never_reuses_a_version(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 60)), tmp_path) as master:
            await master.direct()
            agents = [await master.join(worker) for worker in range(2)]
            await asyncio.gather(*(agent.running() for agent in agents))
            await asyncio.gather(*(agent.load(seconds=1, users=1, requests=10) for agent in agents))
            early, late = agents
            await early.send(early.final())
            await early.say_bye(early.end())
            assert late.revisions == [1, 2, 3]  # the loss of one of two ends the run
            master.process.kill()
            await master.process.wait()
            await late.close()
            master.director.close()
            await master.start()
            late.address = master.address
            await late.connect()
            await until(lambda: late.revisions[-1] == 4)
            await late.bye()
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "MasterLost")
            assert json.loads(report.outcome.results_json)["requests"] == 20

    scenario(run())
