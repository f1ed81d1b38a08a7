"""Real masters in one process: Conductor, Desk, Director and DirectorDesk as `service` joins them; a clock by hand.

Only the wires are cut: an agent is a real AgentLink of which the queue is read, and its words are the values that
`coordination.word_from_message` gives.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.register import Version
from loadstone_core.spec.model import Tls
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_protocol.inheritance import inheritance_from_message
from loadstone_protocol.messages import (
    Bye,
    EngineEnd,
    EngineNews,
    EngineStage,
    Heartbeat,
    Hello,
    Peer,
)
from loadstone_protocol.v1 import coordination_pb2, engine_pb2
from loadstone_protocol.version import PROTOCOL_MAJOR, PROTOCOL_MINOR
from loadstone_runner.master import run
from loadstone_runner.master.conductor import Conductor
from loadstone_runner.master.desk import Desk
from loadstone_runner.master.director import Director
from loadstone_runner.master.director_desk import DirectorDesk
from loadstone_runner.master.run import Stage
from loadstone_runner.master.service import _kept, _take_over
from loadstone_runner.master.store import Store
from loadstone_runner.settings import Address, MasterSettings
from loadstone_runner.transport.grpc.links import AgentLink, StatisticsLink
from loadstone_runner.transport.local.engines import EngineLink

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
UID = "uid-1/1"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def monotonic_ns(self) -> int:
        return self.now

    boottime_ns = monotonic_ns

    def wall_ns(self) -> int:
        return 1_700_000_000 * SECOND + self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


def plan_of(workers: int = 2, seconds: int = 600, **more: Any) -> RunPlan:
    load = LoadProfile(Model.USERS, Profile((Segment(0, seconds * SECOND, 10, 10),), seconds * SECOND), None)
    scenario = Scenario(name="default", load=load, graceful_stop_ns=3 * SECOND, target="http://target")
    given = {
        "run": RunIdentity(uid=UID, loadtest="test", namespace="default", number=1, epoch=1),
        "spec_digest": "sha256:00",
        "workers": workers,
        "engines_per_worker": 1,
        "scenarios": (scenario,),
        "tolerance_ppm": 10_000,
        "target": "http://target",
        "percentiles": ("50", "99"),
        "thresholds": (),
        "warm_up_ns": 0,
        "startup_timeout_ns": 60 * SECOND,
        "script": ScriptRef(digest=None, directory="/s", entrypoint="t.py"),
        "tls": Tls.DISABLED,
        "max_lost_percent": 50,
    } | more
    return RunPlan(**given)


class Transport:
    """What a link to the director writes to."""

    def __init__(self) -> None:
        self.sent: list[engine_pb2.ToEngine] = []

    def write(self, content: bytes) -> None:
        self.sent.append(engine_pb2.ToEngine.FromString(content[4:]))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...
    def abort(self) -> None: ...


class Master:
    """One start of a master's process in a folder."""

    def __init__(self, folder: Path, plan: RunPlan, clock: Clock, *, epoch: int = 1, **settings: Any) -> None:
        self.clock, self.store = clock, Store(folder)
        plan = replace(plan, run=replace(plan.run, epoch=epoch))
        given = {
            "run_file": "",
            "script_dir": "",
            "listen": Address("127.0.0.1", 0),
            "metrics": None,
            "socket_dir": "",
            "state_dir": str(folder),
            "termination_file": "",
            "linger_seconds": 0,
            "hold_seconds": 0,
            "epoch": epoch,
            "has_successor": False,
            "is_sole": True,
            "has_begun": epoch > 1,
            "attempts": {},
            "workers": 0,
            "workers_made": 0,
            "tls_dir": "",
            "log_dir": "",
            "control": None,
        } | settings
        self.director = Director()
        self.conductor = Conductor(plan, clock=clock, store=self.store, director=self.director)
        DirectorDesk(self.conductor, self.director)
        _take_over(self.conductor, _kept(self.store), MasterSettings(**given), granted=self.store.read_grants())
        self.desk = Desk(self.conductor, clock, logs=None)
        self.to_director = Transport()

    def bring_director(self) -> Any:
        hello = engine_pb2.EngineHello(role=engine_pb2.ENGINE_ROLE_DIRECTOR, engine=0, start=1)
        self.link = EngineLink(self.to_director, hello)
        self.director.on_hello(self.link)
        return self.link

    def director_says(self, **kind: Any) -> None:
        self.director.on_message(self.link, engine_pb2.EngineMessage(**kind))


class Agent:
    """One agent of one attempt of a worker, as a master hears it."""

    def __init__(self, master: Master, worker: int, attempt: int = 1, boot: str = "") -> None:
        self.master, self.worker, self.attempt = master, worker, attempt
        self.peer = Peer(UID, worker, attempt, boot or f"boot-{worker}-{attempt}", f"pod-{worker}-{attempt}")
        self.link = AgentLink(self.peer, asyncio.current_task())
        self.number = 0
        self.config: coordination_pb2.Config | None = None
        self.assignment: coordination_pb2.Assignment | None = None
        self.told: list[coordination_pb2.MasterMessage] = []

    def join(self) -> Any:
        hello = Hello(
            peer=self.peer,
            protocol_major=PROTOCOL_MAJOR,
            protocol_minor=PROTOCOL_MINOR,
            script_digest="sha256:1",
            engines=1,
            highest_epoch=1,
        )
        refusal = self.master.desk.join(hello, self.link)
        self.read()
        return refusal

    def read(self) -> None:
        queue = self.link._queue
        while not queue.empty():
            message = queue.get_nowait()
            self.told.append(message)
            kind = message.WhichOneof("kind")
            if kind == "config":
                self.config = message.config
            elif kind == "assignment":
                self.assignment = message.assignment

    def move_to(self, master: Master) -> None:
        self.master = master
        self.link = AgentLink(self.peer, asyncio.current_task())
        self.join()

    def news(self, stage: EngineStage, **more: Any) -> EngineNews:
        holding = self.assignment.holding if self.assignment is not None else 0
        given = {
            "engine": 0,
            "start": 1,
            "stage": stage,
            "users": 5,
            "loop_lag_ns": 0,
            "schedule_slip_ns": 0,
            "grants": (),
            "over": frozenset(),
            "script": None,
            "started_at_ns": 0,
            "holding": holding,
        } | more
        return EngineNews(**given)

    def beat(self, stage: EngineStage = EngineStage.RUNNING, **more: Any) -> None:
        self.read()
        self.number += 1
        version, digest = None, ""
        if self.config is not None:
            version = Version(self.config.version.epoch, self.config.version.revision)
            digest = self.config.sha256.hex()
        beat = Heartbeat(
            number=self.number,
            sent_ns=0,
            applied=version,
            applied_digest=digest,
            assignment=0,
            engines=(self.news(stage, **more),),
            cpu_permille=0,
            memory_bytes=0,
            memory_limit_bytes=0,
            round_trip_ns=1_000_000,
            conflict=None,
            is_draining=False,
        )
        self.master.desk.hear(self.link, beat)
        self.read()

    def state(
        self, sequence: int, second: int, *, final: bool = False, requests: int = 0, users: int = 5
    ) -> StreamState:
        return StreamState(
            stream=StreamId(self.worker, self.attempt, 0, 1),
            sequence=sequence,
            second=second,
            full=True,
            counters=Counters(started=requests, completed=requests),
            users=users,
            final=final,
            scenario_users=(users,),
        )

    def report(self, sequence: int, second: int, **more: Any) -> None:
        self.master.desk.report(StatisticsLink(self.peer), self.state(sequence, second, **more))

    def end(self, *, clean: bool, sequence: int = 0, **more: Any) -> EngineEnd:
        given = {"exit_code": 0 if clean else 1, "signal": 0, "tail": "", "is_out_of_memory": False} | more
        return EngineEnd(
            stream=StreamId(self.worker, self.attempt, 0, 1),
            is_clean=clean,
            counters=Counters(),
            final_sequence=sequence,
            **given,
        )

    def bye(self, **more: Any) -> None:
        self.master.desk.hear(self.link, Bye((self.end(clean=True, **more),), "terminated"))

    def bequeath(self, since_start_ns: int) -> None:
        """Say what is held of the master before, as an agent does when it is welcomed by another."""
        assignment = self.assignment
        message = coordination_pb2.Inheritance(
            config=self.config,
            since_start_ns=since_start_ns,
            shares=assignment.shares if assignment else (),
        )
        self.master.desk.hear(self.link, inheritance_from_message(message))
        self.read()


async def start_load(master: Master, agents: list[Agent], *, handles_messages: bool = False) -> None:
    """Bring a run to its load, with a director that has no setup."""
    master.bring_director()
    master.director_says(script=engine_pb2.ScriptReport(ok=True, handles_messages=handles_messages))
    for agent in agents:
        agent.join()
    master.director_says(setup=engine_pb2.SetupReport(ok=True))
    for agent in agents:
        agent.beat(EngineStage.READY)
    assert master.conductor.state.stage is Stage.ARMED, master.conductor.state
    master.clock.advance(1)
    master.conductor.handle(run.StartReached())
    master.conductor.commander.keep()
    for agent in agents:
        agent.beat(EngineStage.RUNNING)
    assert master.conductor.state.stage is Stage.RUNNING_LOAD


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0.005)
