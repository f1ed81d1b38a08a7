"""A master that is killed in mid-run and started again, as a kubelet would: the load goes on, and no sample is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.component.master_process import Master, iterations, master_of, plan_of, scenario, steering, threshold, users
from tests.component.ports import free_port
from tests.component.scripted_agent import Agent, until

from loadstone_core.units import SECOND
from loadstone_protocol.v1 import control_pb2
from loadstone_runner.export.results import ROW_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_core.load.profile import LoadProfile

ROOT = Path(__file__).resolve().parents[2]
promise = pytest.mark.promise


async def kill(master: Master) -> None:
    """End the master's process without a word; its agents keep their engines, and lose their connection."""
    assert master.process is not None
    master.process.kill()
    await master.process.wait()
    for agent in master.agents:
        await agent.close()
    assert master.director is not None
    master.director.close()


async def come_back(master: Master, **director: Any) -> None:
    """Start the master again; director and agents look for it by themselves."""
    await master.start()
    await master.direct(**director)
    for agent in master.agents:
        if agent.left_with is None:
            agent.address = master.address
            await agent.connect()


def second_of(agent: Agent) -> int:
    """Return the second of the load that was closed last."""
    return (time.monotonic_ns() - agent.body.start_at_ns) // SECOND - 1


@promise("master-restart", "exact-totals")
def test_a_restarted_master_goes_on_to_the_verdict_with_exact_totals(tmp_path: Path) -> None:
    async def run() -> None:
        thresholds = (threshold("failures:rate < 1%"), threshold("requests:rate > 1/s over 2s", name="pace"))
        plan = plan_of(users(2, 7), thresholds=thresholds)
        async with master_of(plan, tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)
            await asyncio.gather(*(agent.load(seconds=3, users=1, requests=10) for agent in agents))
            await kill(master)
            for agent in agents:
                agent.request(50)
            await come_back(master)
            await until(lambda: [agent.revisions[-1] for agent in agents] == [3, 3])
            await until(lambda: all(agent.assignments[-1].version > agent.assignments[0].version for agent in agents))
            for agent in agents:
                await agent.retell(second_of(agent))
            await asyncio.gather(
                *(agent.load(first=agent.second + 1, seconds=7, users=1, requests=10) for agent in agents)
            )
            await asyncio.gather(*(agent.stopped() for agent in agents))
            await asyncio.gather(*(agent.bye() for agent in agents))
            report, document = await master.finish()
            results = json.loads(report.outcome.results_json)
            assert (report.outcome.verdict, report.outcome.reason) == ("Passed", "Passed"), report.outcome.message
            done = sum(agent.counters.completed for agent in agents)
            assert (results["requests"], results["unaccounted"]) == (done, 0)
            assert sum(row[ROW_FIELDS.index("requests")] for row in document["timeline"]["rows"]) == done
            assert any(each.startswith("MasterRestarted: ") for each in report.findings)

    scenario(run())


@promise("master-restart")
def test_workers_that_ended_or_were_lost_before_the_restart_stay_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(iterations(600), workers=6), tmp_path) as master:
            await master.direct()
            killed, *others = await master.crew(6)
            killed.iterate(40)
            killed.request(40)
            await killed.send(killed.state(0))
            await killed.say(engine_end=killed.end(clean=False, signal=9))
            await until((tmp_path / "state" / "lost").exists)
            await kill(master)
            killed.left_with = True  # its pod is gone, too
            await come_back(master)
            await master.follow().steer(steering(1, ended=[control_pb2.WorkerEnd(worker=0, attempt=1)]))
            for agent in others:
                agent.iterate(100)
                await agent.retell(0)
            await asyncio.gather(*(agent.stopped() for agent in others))
            await asyncio.gather(*(agent.bye() for agent in others))
            report, _ = await master.finish()
            load, results = json.loads(report.outcome.load_json), json.loads(report.outcome.results_json)
            assert (load["planned"], load["achieved"], results["requests"]) == (600, 540, 40)
            assert "lost 1 of 6 workers" in report.outcome.message
            assert not results.get("unaccountedAtLeast")

    scenario(run())


@promise("master-restart")
def test_numbers_that_were_granted_before_the_restart_are_granted_to_nobody_else(tmp_path: Path) -> None:
    given: dict[tuple[int, int], range] = {}

    def note(agent: Agent) -> None:
        for grant in (grant for assignment in agent.assignments for grant in assignment.grants):
            for place, each in enumerate(grant.ranges, start=grant.first_range):
                fresh = range(each.start, each.start + each.count)
                assert given.setdefault((agent.worker, place), fresh) == fresh

    async def run() -> None:
        async with master_of(plan_of(iterations(10**6)), tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)

            async def ask() -> None:
                for agent in agents:
                    note(agent)
                    agent.known = 1 + max(place for worker, place in given if worker == agent.worker)
                    agent.rate, agent.left = 500, 1
                    await agent.heartbeat()
                await asyncio.sleep(0.3)

            await until(lambda: all(agent.assignments and agent.assignments[-1].grants for agent in agents))
            for _ in range(3):
                await ask()
            await kill(master)
            await come_back(master)
            for _ in range(3):
                await ask()
            for agent in agents:
                note(agent)
            ranges = sorted(given.values(), key=lambda each: each.start)
            assert len(ranges) >= 10
            assert all(one.stop <= two.start for one, two in pairwise(ranges)), ranges

    scenario(run())


@promise("master-restart", "live-load")
def test_a_pause_and_a_stop_outlive_the_master_that_was_told_of_them(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 60)), tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)
            await master.follow().steer(steering(1, paused=True))
            await until(lambda: agents[0].revisions[-1] == 3)
            await kill(master)
            await come_back(master)
            await until(lambda: agents[0].revisions[-1] == 4)
            paused = await anext(aiter(master.follow().watch()))
            assert paused.paused
            assert agents[0].body.scenarios[0].segments[-1].to_value == 0
            await master.follow().steer(steering(2, stop_reason="Stopped", paused=True))
            await agents[0].stopped()
            await kill(master)
            await come_back(master)
            await asyncio.gather(*(agent.stopped() for agent in agents))
            await asyncio.gather(*(agent.bye() for agent in agents))
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Aborted", "Stopped")

    scenario(run())


async def lose_pod(master: Master) -> None:
    """End the master and take its volume away."""
    await kill(master)
    shutil.rmtree(master.folder / "state")
    master.epoch += 1


@promise("master-restart", "exact-totals")
def test_a_master_in_another_pod_goes_on_from_what_its_workers_hold(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 8)), tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)
            await asyncio.gather(*(agent.load(seconds=2, users=1, requests=10) for agent in agents))
            await lose_pod(master)
            for agent in agents:
                agent.request(50)
            await come_back(master)
            assert master.director is not None
            for agent in agents:
                await agent.retell(second_of(agent))
            await until(lambda: all(agent.applied.version.epoch == 2 for agent in agents))
            assert master.director.asked == [], "setup has run once, and what it returned is known"
            assert all(agent.body.setup_json == b'{"token": 1}' for agent in agents)
            for agent in agents:
                first = agent.second + 1
                await agent.load(first=first, seconds=first + 1, users=1, requests=10)
            await asyncio.gather(
                *(agent.load(first=agent.second + 1, seconds=8, users=1, requests=10) for agent in agents)
            )
            await asyncio.gather(*(agent.stopped() for agent in agents))
            await asyncio.gather(*(agent.bye() for agent in agents))
            report, document = await master.finish()
            results = json.loads(report.outcome.results_json)
            done = sum(agent.counters.completed for agent in agents)
            assert (report.outcome.verdict, results["requests"]) == ("Passed", done), report.outcome.message
            assert (results["unaccounted"], results.get("unaccountedAtLeast")) == (0, None)
            assert any(each.startswith("MasterRestarted: the master's pod was lost") for each in report.findings)
            rows = [row[ROW_FIELDS.index("requests")] for row in document["timeline"]["rows"]]
            assert max(rows) <= 30, "what was done before is in no second"

    scenario(run())


@promise("master-restart")
def test_a_worker_that_does_not_come_to_the_new_master_is_lost_and_its_samples_are_said_to_be(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(iterations(10**6), max_lost_percent=0), tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)
            await until(lambda: all(agent.assignments and agent.assignments[-1].grants for agent in agents))
            gone, left = agents
            await lose_pod(master)
            gone.left_with = True
            await come_back(master)
            await until(lambda: left.applied.version.epoch == 2, seconds=20)
            granted = left.assignments[-1].grants
            left.known, left.rate, left.left = 1, 500, 0
            await left.heartbeat()
            ended = [control_pb2.WorkerEnd(worker=0, attempt=1, reason="Deleted", message="its node is gone")]
            await master.follow().steer(steering(1, ended=ended, epoch=2))
            await left.stopped()
            await left.bye()
            report, _ = await master.finish()
            results = json.loads(report.outcome.results_json)
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "WorkersLost")
            assert results["unaccountedAtLeast"]
            assert not any(grant.ranges for grant in left.assignments[-1].grants), "it may be granted to the other"
            assert granted is not None

    scenario(run())


@promise("master-restart", "run-iterations")
def test_a_late_worker_goes_on_and_nothing_is_granted_before_it_tells_what_it_holds(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(iterations(10**6)), tmp_path) as master:
            await master.direct()
            late, early = agents = await master.crew(2)
            await until(lambda: all(agent.assignments and agent.assignments[-1].grants for agent in agents))
            held = [each.end for agent in agents for each in agent.inheritance().granted]
            await lose_pod(master)
            late.left_with = True
            await come_back(master)
            await until(lambda: early.applied.version.epoch == 2, seconds=20)
            early.known, early.rate, early.left = 1, 500, 0
            asked = early.acknowledged
            await until(lambda: early.acknowledged >= asked + 4)
            assert not any(grant.ranges for grant in early.assignments[-1].grants), "the other may hold them"
            late.address = master.address
            [share], told = late.inheritance().shares, len(late.assignments)
            await late.connect()
            await until(lambda: len(late.assignments) > told)
            assert late.assignments[told].shares == [share], "it goes on with what it says to do"
            await until(lambda: any(grant.ranges for grant in early.assignments[-1].grants))
            [grant] = early.assignments[-1].grants
            assert grant.first_range == 1
            assert grant.ranges[0].start >= max(held)

    scenario(run())


@promise("master-restart", "director-lost")
@pytest.mark.parametrize(
    ("load", "has", "what"),
    [
        (replace(users(0, 60), is_shaped=True, max_users=9), "has_shape", "the shape of the load"),
        (users(4, 60), "handles_messages", "what handlers of custom messages knew"),
    ],
    ids=["shape", "handlers"],
)
def test_what_a_director_knows_is_lost_with_its_pod(tmp_path: Path, load: LoadProfile, has: str, what: str) -> None:
    async def run() -> None:
        async with master_of(plan_of(load), tmp_path) as master:
            await master.direct(script={"ok": True, has: True})
            agents = await master.crew(2)
            agents[0].request(3)
            await agents[0].send(agents[0].state(0))
            await lose_pod(master)
            await come_back(master, script={"ok": True, has: True})
            await asyncio.gather(*(agent.stopped() for agent in agents))
            await agents[0].retell(0)
            await asyncio.gather(*(agent.bye() for agent in agents))
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "DirectorLost")
            assert what in report.outcome.message
            assert json.loads(report.outcome.results_json)["requests"] == 3

    scenario(run())


SCRIPT = """
from loadstone import User, constant, task

class Visitor(User):
    wait = constant(0.02)

    @task
    def front(self):
        self.http.get("/")
"""
SHAPED = """

from loadstone import Shape

class Steady(Shape):
    def tick(self):
        return (4, 4) if self.get_run_time() < 8 else None
"""


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Any]:
    """Start the target of the examples; give its address and a reader of its count."""
    from tests.component.test_local import fetch

    port = free_port()
    server = subprocess.Popen([sys.executable, str(ROOT / "examples" / "target" / "server.py"), "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                fetch(f"{url}/count")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield url, lambda: fetch(f"{url}/count")["requests"]
    finally:
        server.terminate()
        server.wait()


def master_of_run(mark: str) -> int:
    """Return the process of the master of the run whose command has a mark in its environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if words[2:4] == [b"loadstone_runner", b"master"]:
                    return int(folder.name)
        except OSError:
            continue
    return 0


@promise("master-restart", "exact-totals", "local-same")
@pytest.mark.parametrize("load", ["{users: 4, duration: 8s}", "{shape: {maxUsers: 4}, duration: 1m}"])
def test_a_local_run_whose_master_is_killed_twice_loses_no_sample_and_no_second_of_load(
    target: Any, tmp_path: Path, load: str
) -> None:
    url, count = target
    manifest = tmp_path / "test.yaml"
    script = SCRIPT + (SHAPED if "shape" in load else "")
    document = {
        "apiVersion": "loadstone.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {"name": "taken-over"},
        "spec": {"source": {"inline": {"content": script}}, "workers": {"replicas": 2}},
    }
    manifest.write_text(json.dumps(document))
    settings = ["--set", f"load={load}", "--set", f"load.target={url}"]
    command = [sys.executable, "-m", "loadstone_cli", "run", str(manifest), "--quiet", *settings]
    process = subprocess.Popen(
        [*command, "--status", str(tmp_path / "status.json"), "--results", str(tmp_path / "results")],
        env={**os.environ, "LOADSTONE_TEST_MARK": str(tmp_path)},
    )
    still = []
    for at_least in (150, 500):
        while count() < at_least:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(master_of_run(f"LOADSTONE_TEST_MARK={tmp_path}"), signal.SIGKILL)
        # Longer than a master is away: the load must not wait for it.
        for _ in range(4):
            before = count()
            time.sleep(0.5)
            still.append(count() - before)
    process.wait(timeout=60)

    status = json.loads((tmp_path / "status.json").read_text())
    results = status["results"]
    # A machine that others use may be late; that it is told so is not what this is about.
    assert status["reason"] in {"Passed", "GeneratorSaturated"}, status
    assert results["requests"] == count()
    assert results["unaccounted"] == results["unsent"] == results["ambiguous"] == 0
    assert min(still) > 0, still
    assert [" started again 2 times; " in each for each in status["findings"] if "MasterRestarted: " in each] == [True]
