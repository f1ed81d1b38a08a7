"""Masters and workers that start in any order, some beside a twin that has another configuration of the same version.

Nobody ever executes anything but the run's own, and a conflict is told. More starts in `make soak`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.component.agent_process import SCRIPT, Engine, mount
from tests.component.agent_process import Master as Twin
from tests.component.master_process import Director, plan_of, users
from tests.component.nursery import Nursery
from tests.component.ports import free_port
from tests.component.scripted_agent import RUN_UID, until

from loadstone_core.plan.model import ScriptRef
from loadstone_core.spec.digest import files_digest
from loadstone_core.units import SECOND
from loadstone_protocol.follower import Follower, MasterUnreachable
from loadstone_protocol.v1 import control_pb2
from loadstone_protocol.v1 import coordination_pb2 as cpb
from loadstone_protocol.v1 import engine_pb2 as epb

if TYPE_CHECKING:
    from pathlib import Path

    from loadstone_core.plan.model import RunPlan

STARTS = int(os.environ.get("COLD_STARTS", "50"))
AT_ONCE = 25
WORKERS = 3
DELAY_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
OWN, FOREIGN = "http://127.0.0.1:1", "http://127.0.0.1:2"
PLAN = plan_of(
    users(3, 600),
    workers=WORKERS,
    startup_timeout_ns=50 * SECOND,
    script=ScriptRef(digest=files_digest(SCRIPT), directory="/scripts", entrypoint="test.py"),
)


@dataclass
class Start:
    """One cold start: what its engines were told, and how the run ended, if it did."""

    folder: Path
    nursery: Nursery
    chance: random.Random
    has_twin: bool = False
    misfit: int | None = None  # the worker that has mounted something else under the same names
    port: int = field(default_factory=free_port)
    told: list[epb.EngineConfig] = field(default_factory=list)
    spoken_to: int = 0  # workers that the twin has sent its configuration
    misled: int = 0  # those that have told it that they hold it
    processes: list[int] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def go(self, plan: RunPlan) -> control_pb2.RunReport:
        """Start everything at random moments; return the first report of running load or of the end."""
        mount(self.folder / "scripts")
        mount(self.folder / "other")
        (self.folder / "other" / "..data" / "test.py").write_bytes(b"from loadstone import User\nOTHER = 1\n")
        (self.folder / "run.json").write_text(plan.to_json())
        for worker in range(WORKERS):
            (self.folder / f"w{worker}").mkdir()
            self.tasks += [asyncio.create_task(self._worker(worker)), asyncio.create_task(self._engine(worker))]
        self.tasks.append(asyncio.create_task(self._direct()))
        if self.has_twin:
            await self._mislead()
        await asyncio.sleep(self.chance.random() * DELAY_SECONDS)
        await self._master()
        follower = Follower(f"127.0.0.1:{self.port}", RUN_UID, 1)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    with contextlib.suppress(MasterUnreachable):
                        async for report in follower.watch():
                            if report.stage == control_pb2.RUNNING_LOAD or report.HasField("outcome"):
                                await self._settle(report)
                                return report
                    await asyncio.sleep(0.05)
        finally:
            await follower.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _settle(self, report: control_pb2.RunReport) -> None:
        """Wait until all engines have heard of the start of load, which came before the report of it."""
        wanted = 0 if report.HasField("outcome") else WORKERS
        with contextlib.suppress(AssertionError):
            await until(lambda: self.running() >= wanted)

    def running(self) -> int:
        """Return how many engines were told to run."""
        return sum(each.run_state == epb.RUNNING_STATE for each in self.told)

    def logs(self) -> str:
        """Return what its processes have written, the last of it."""
        return "\n".join(f"{each.name}:\n{each.read_text()[-2_000:]}" for each in sorted(self.folder.glob("*.log")))

    async def _mislead(self) -> None:
        """Be the run's master for a moment, with another load under the version that the real one begins with."""
        twin = Twin()
        await twin.start(self.port)
        body = cpb.CommonBody(
            run_state=epb.READY_STATE,
            scenarios=[epb.LoadPlan(name="default", model=epb.USERS, target=FOREIGN)],
            script_digest=files_digest(SCRIPT),
        ).SerializeToString()
        # Of the same version, mostly; a later one that the real master has not sent yet must not do either.
        revision = self.chance.choice((1, 1, 1, 2, 5))
        version, digest = cpb.Version(epoch=1, revision=revision), hashlib.sha256(body).digest()
        # Until a little after the first worker has come, whenever that is.
        twin.connections.put_nowait(await twin.connection())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.chance.random() * DELAY_SECONDS / 2):
                while True:
                    connection = await twin.connections.get()
                    self.spoken_to += 1
                    connection.say(config=cpb.Config(version=version, sha256=digest, body=body))
                    connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=WORKERS))
                    await connection.wait_for("heartbeat", lambda beat: beat.applied.revision)
                    self.misled += 1
        await twin.stop()

    async def _master(self) -> None:
        await self._begin(
            "master",
            {
                "LOADSTONE_RUN_FILE": str(self.folder / "run.json"),
                "LOADSTONE_SCRIPT_DIR": str(self.folder / "scripts"),
                "LOADSTONE_LISTEN": f"127.0.0.1:{self.port}",
                "LOADSTONE_METRICS": "",
                "LOADSTONE_SOCKET_DIR": str(self.folder / "s"),
                "LOADSTONE_STATE_DIR": str(self.folder / "state"),
                "LOADSTONE_TERMINATION_FILE": str(self.folder / "last-word"),
                "LOADSTONE_EPOCH": "1",
                "LOADSTONE_LINGER_SECONDS": "0",
            },
            str(self.folder / "master.log"),
        )

    async def _worker(self, worker: int) -> None:
        await asyncio.sleep(self.chance.random() * DELAY_SECONDS)
        await self._begin(
            "agent",
            {
                "LOADSTONE_RUN_UID": RUN_UID,
                "LOADSTONE_EPOCH": "1",
                "LOADSTONE_WORKER": str(worker),
                "LOADSTONE_ATTEMPT": "1",
                "LOADSTONE_MASTER": f"127.0.0.1:{self.port}",
                "LOADSTONE_SCRIPT_DIR": str(self.folder / ("other" if worker == self.misfit else "scripts")),
                "LOADSTONE_METRICS": "",
                "LOADSTONE_SOCKET_DIR": str(self.folder / f"w{worker}"),
                "LOADSTONE_TERMINATION_FILE": str(self.folder / f"last-word-{worker}"),
                "LOADSTONE_ENGINES": "1",
            },
            str(self.folder / f"agent-{worker}.log"),
        )

    async def _begin(self, role: str, environment: dict[str, str], log: str) -> None:
        self.processes.append(await self.nursery.start(role, environment, log))

    async def _engine(self, worker: int) -> None:
        """Apply whatever the agent says, and note it."""
        engine = await Engine(self.folder / f"w{worker}").connect()
        engine.say(script=epb.ScriptReport(ok=True))
        stages = {epb.RUNNING_STATE: epb.EngineStatus.RUNNING, epb.READY_STATE: epb.EngineStatus.READY}
        try:
            while True:
                # The master may be long in coming where dozens of them begin on a few processors.
                with contextlib.suppress(TimeoutError):
                    config = await engine.hear("config")
                    self.told.append(config)
                    engine.status(stages.get(config.run_state, epb.EngineStatus.STOPPING), config.revision)
        finally:
            engine.close()

    async def _direct(self) -> None:
        director = Director(self.folder / "s" / "agent.sock")
        while True:
            with contextlib.suppress(OSError):
                await director.start()
                break
            await asyncio.sleep(0.05)
        try:
            await director.task
        finally:
            director.close()


def check(start: Start, report: control_pb2.RunReport) -> str:
    """Hold a start against what it may come to; return what it came to."""
    running = [each for each in start.told if each.run_state == epb.RUNNING_STATE]
    assert all(scenario.target == OWN for each in running for scenario in each.scenarios)
    is_refused = report.HasField("outcome")
    assert is_refused or len(running) == WORKERS, f"a worker has fallen silent\n{start.logs()}"
    # Who was only spoken to may hold nothing; who has said that he does, does.
    assert start.spoken_to if is_refused else not start.misled, report.outcome
    if is_refused:
        assert (report.outcome.verdict, report.outcome.reason) == ("Error", "ConfigConflict"), report.outcome
        assert re.search("with two contents|which another master", report.outcome.message), report.outcome
        assert not running, "nothing was started"
    else:
        assert report.stage == control_pb2.RUNNING_LOAD, report.outcome
    return "refused" if is_refused else "started"


@pytest.mark.once
@pytest.mark.promise("config-conflict")
@pytest.mark.timeout(60 + 4 * STARTS)
def test_no_worker_of_any_cold_start_executes_another_configuration_than_its_run_s(tmp_path: Path) -> None:
    """Half of the starts have a twin; how many workers it meets before it ends, is chance."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, nursery: Nursery) -> str:
        async with turns:
            folder = tmp_path / str(number)
            folder.mkdir()
            chance = random.Random(number)  # noqa: S311 no secret
            start = Start(folder, nursery, chance, has_twin=number % 2 == 0)
            try:
                return check(start, await start.go(PLAN))
            finally:
                for process in start.processes:
                    nursery.end(process)

    async def story() -> list[str]:
        async with Nursery() as nursery:
            return await asyncio.gather(*(one(number, nursery) for number in range(STARTS)))

    counted = Counter(asyncio.run(story()))
    print(f"cold_starts {STARTS} {dict(counted)}")
    assert min(counted["refused"], counted["started"]) >= STARTS // 10


@pytest.mark.promise("config-conflict")
@pytest.mark.parametrize("misfit", range(WORKERS))
def test_workers_with_other_content_under_the_same_names_never_start(tmp_path: Path, misfit: int) -> None:
    async def story() -> None:
        async with Nursery() as nursery:
            chance = random.Random(misfit)  # noqa: S311 no secret
            start = Start(tmp_path, nursery, chance, misfit=misfit)
            report = await start.go(PLAN)
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "ConfigConflict"), report
            assert f"worker {misfit} " in report.outcome.message
            assert files_digest(SCRIPT) in report.outcome.message
            assert not [each for each in start.told if each.run_state == epb.RUNNING_STATE]

    asyncio.run(story())
