"""A real master process, its director and its followers. Agents are in `scripted_agent`; no test is here."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.component.scripted_agent import DIGEST, IN_TIME, RUN_UID, Agent, until

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.model import OnNoData, Severity, ThresholdSpec, Tls
from loadstone_core.units import SECOND
from loadstone_protocol import framing
from loadstone_protocol.follower import Follower
from loadstone_protocol.v1 import control_pb2, engine_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from loadstone_protocol.identity import Pems


def users(count: int, seconds: float) -> LoadProfile:
    duration = int(seconds * SECOND)
    return LoadProfile(Model.USERS, Profile((Segment(0, duration, count, count),), duration), None)


def iterations(count: int) -> LoadProfile:
    return LoadProfile(Model.ITERATIONS, Profile((Segment(0, 2**63 - 1, 10, 10),), None), count)


def plan_of(load: LoadProfile, **changes: Any) -> RunPlan:
    graceful_stop_ns = changes.pop("graceful_stop_ns", 2 * SECOND)
    alone = Scenario(name="default", load=load, graceful_stop_ns=graceful_stop_ns, target="http://127.0.0.1:1")
    values: dict[str, Any] = {
        "run": RunIdentity(uid=RUN_UID, loadtest="checkout", namespace="default", number=1, epoch=1),
        "spec_digest": "sha256:00",
        "workers": 2,
        "engines_per_worker": 1,
        "scenarios": (alone,),
        "tolerance_ppm": 10_000,
        "target": "http://127.0.0.1:1",
        "percentiles": ("50", "90", "95", "99"),
        "thresholds": (),
        "warm_up_ns": 0,
        "startup_timeout_ns": 20 * SECOND,
        "script": ScriptRef(digest=DIGEST, directory="/scripts", entrypoint="test.py"),
        "tls": Tls.DISABLED,
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


def steering(revision: int, *, stop_reason: str = "", **fields: Any) -> control_pb2.Steering:
    fields.setdefault("epoch", 1)
    return control_pb2.Steering(
        run_uid=RUN_UID, revision=revision, stop=bool(stop_reason), stop_reason=stop_reason, **fields
    )


@dataclass
class Master:
    """The process under test and everything that is connected to it."""

    plan: RunPlan
    folder: Path
    metrics_port: int = 0
    epoch: int = 1
    tls_dir: str = ""
    more: dict[str, str] = field(default_factory=dict)
    open_files: int = 0  # the soft limit that it is started with; 0: that of the tests
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
            "LOADSTONE_EPOCH": str(self.epoch),
            "LOADSTONE_LINGER_SECONDS": "5" if metrics else "0",
            "LOADSTONE_TLS_DIR": self.tls_dir,
            **self.more,
        }
        (self.folder / "state" / "address").unlink(missing_ok=True)
        limited = ("sh", "-c", f'ulimit -Sn {self.open_files}; exec "$@"', "sh") if self.open_files else ()
        self.process = await asyncio.create_subprocess_exec(
            *limited, sys.executable, "-m", "loadstone_runner", "master", env=environment
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

    async def crew(self, workers: int) -> list[Agent]:
        """Let all workers join, and wait until each of them runs."""
        agents = [await self.join(worker) for worker in range(workers)]
        await asyncio.gather(*(agent.running() for agent in agents))
        return agents

    def follow(self, *, pems: Pems | None = None) -> Follower:
        follower = Follower(self.address, RUN_UID, self.epoch, pems=pems)
        self.followers.append(follower)
        return follower

    async def finish(self, *, pems: Pems | None = None) -> tuple[control_pb2.RunReport, dict[str, Any]]:
        """Follow the run to its outcome, fetch and store the report, see the process leave with 0."""
        follower = self.follow(pems=pems)
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
        self.summaries: list[dict[str, Any]] = []
        self.events: list[engine_pb2.RunEvent] = []
        self.configs: list[engine_pb2.EngineConfig] = []

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
                if message.WhichOneof("kind") == "summary":
                    self.summaries.append(json.loads(message.summary.json))
                elif message.WhichOneof("kind") == "config":
                    self.configs.append(message.config)
                elif message.WhichOneof("kind") == "event":
                    self.events.append(message.event)
                elif message.WhichOneof("kind") == "setup":
                    teardown = message.setup.teardown
                    self.asked.append(teardown)
                    reply = {"ok": True, "requests": 2} if teardown else self.setup
                    self.say(setup=engine_pb2.SetupReport(teardown=teardown, **reply))

    def close(self) -> None:
        self.task.cancel()
        self.writer.close()


def scenario(coroutine: Any, *, seconds: float = 60) -> Any:
    asyncio.run(asyncio.wait_for(coroutine, seconds))


@contextlib.asynccontextmanager
async def master_of(plan: RunPlan, folder: Path, **options: Any) -> Any:
    master = Master(plan, folder, **options)
    try:
        await master.start()
        yield master
    finally:
        await master.stop()
