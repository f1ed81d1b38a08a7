"""Workers that end in mid-run, all processes real: nobody's load is done twice, and everything is done again soon."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.component import engine_process
from tests.component.local_plan import local_plan
from tests.component.processes import descendants, is_alive

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.units import SECOND
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.local.run import LocalResult, LocalRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.component.engine_process import Target

# pytest finds a fixture by its name in the module of the test.
target = engine_process.target

PAUSE = 0.1
SCRIPT = f"""
from loadstone import User, constant, task

class Visitor(User):
    wait = constant({PAUSE})

    @task
    def visit(self):
        self.http.get(f"/user/{{self.number}}", name="visit")

class Worker(User):
    @task
    def work(self):
        self.http.get(f"/iteration/{{self.iteration}}", name="work")
"""
# Each engine has a process beside it that computes, for longer than the run lasts.
COMPUTER = f"""{SCRIPT}
from loadstone import events, on_message, send_message

@on_message("compute", where="process")
def compute(message):
    while True:
        pass

@events.test_start.add_listener
def begin(environment):
    if environment.is_director:
        send_message("compute", to=1)
"""
SECONDS = 9
USERS = 30
KILLED_SECOND = 3
ENDED_SECONDS = 10  # by the kernel, at once


def flat(value: int, model: Model, **fields: Any) -> LoadProfile:
    return LoadProfile(model, Profile((Segment(0, SECONDS * SECOND, value, value),), SECONDS * SECOND), None, **fields)


def run(
    target: Target, user: str, load: LoadProfile, do: Callable[[int], None], *, script: str = SCRIPT, **changes: Any
) -> LocalResult:
    """Run a load with three workers, and do something when it has run for so many seconds as `do` is called with."""
    files = {"test.py": script.encode()}
    alone = Scenario(name="default", user=user, load=load, graceful_stop_ns=5 * SECOND, target=target.url)
    plan = local_plan("losses", files, alone, workers=3, tolerance_ppm=200_000, **changes)
    done: set[int] = set()

    def follow(report: pb.RunReport) -> None:
        second = report.progress.elapsed_ns // SECOND
        if report.stage == pb.RUNNING_LOAD and second >= 2 and second not in done:
            done.add(second)
            do(second)

    local = LocalRun(plan=plan, files=files, environment={}, on_report=follow)
    return asyncio.run(asyncio.wait_for(local.run(), 90))


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], int]:
    """Return the process of a run of this test by its role, and by a part of its environment."""
    monkeypatch.setenv("LOADSTONE_TEST_MARK", str(tmp_path))

    def find(role: str, has: str) -> int:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            is_ours = f"LOADSTONE_TEST_MARK={tmp_path}".encode() in environment
            if is_ours and role.encode() in words and any(has.encode() in each for each in environment):
                return int(folder.name)
        raise AssertionError(f"no {role} with {has}")

    return find


def lost_once(result: LocalResult) -> str:
    [finding] = [each for each in result.report.findings if each.startswith("WorkerDegraded: lost 1 of 3 workers")]
    assert "its load was taken over after" in finding
    return finding


def visits(target: Target) -> dict[int, int]:
    by_path = target.count()["by_path"]
    return {int(path.rsplit("/", 1)[1]): count for path, count in by_path.items() if path.startswith("/user/")}


@pytest.mark.promise("load-moves", "kill-bounds")
def test_the_users_of_a_killed_worker_go_on_elsewhere_and_none_lives_twice(
    target: Target, process: Callable[[str, str], int]
) -> None:
    seen: dict[int, dict[int, int]] = {}

    def kill(second: int) -> None:
        seen[second] = visits(target)
        if second == 2:
            os.kill(process("agent", "LOADSTONE_WORKER=1"), signal.SIGKILL)

    result = run(target, "Visitor", flat(USERS, Model.USERS), kill)

    assert "signal 9" in lost_once(result)
    counted = visits(target)
    assert set(counted) == set(range(USERS))
    # A user pauses after each visit, so one that lived twice would have visited more often than that allows.
    assert max(counted.values()) <= SECONDS / PAUSE + 2
    middle = seen[max(second for second in seen if second <= 6)]
    assert all(counted[user] > middle.get(user, 0) for user in range(USERS))
    load = json.loads(result.outcome.load_json)
    assert load["planned"] == USERS * SECONDS >= load["achieved"] > 0.8 * load["planned"]
    results = json.loads(result.outcome.results_json)
    assert results["unaccountedAtLeast"]


@pytest.mark.promise("load-moves", "no-orphans")
def test_an_engine_whose_agent_and_launcher_are_killed_at_once_ends_by_itself_with_all_that_is_its_own(
    target: Target, process: Callable[[str, str], int]
) -> None:
    family: set[int] = set()

    def kill(second: int) -> None:
        if second != KILLED_SECOND:
            return
        agent = process("agent", "LOADSTONE_WORKER=1")
        launcher = launcher_of(agent, process)
        family.update(descendants(launcher))
        # Nobody is left who could tell the engine anything, or end it.
        os.kill(launcher, signal.SIGSTOP)
        for each in (agent, launcher):
            os.kill(each, signal.SIGKILL)
        deadline = time.monotonic() + ENDED_SECONDS
        while any(map(is_alive, family)) and time.monotonic() < deadline:
            time.sleep(0.01)
        survivors = [each for each in family if is_alive(each)]
        for each in survivors:
            os.kill(each, signal.SIGKILL)
        assert not survivors, "an engine or its lane goes on though nobody sees to it"

    result = run(target, "Visitor", flat(USERS, Model.USERS), kill, script=COMPUTER)

    assert len(family) == len(("engine", "lane"))
    assert "signal 9" in lost_once(result)
    counted = visits(target)
    assert set(counted) == set(range(USERS))
    assert max(counted.values()) <= SECONDS / PAUSE + 2
    assert json.loads(result.outcome.results_json)["unaccountedAtLeast"]


def launcher_of(agent: int, process: Callable[[str, str], int]) -> int:
    """Return the launcher of a worker by the agent's sockets, which are the launcher's, too."""
    environment = Path(f"/proc/{agent}/environ").read_bytes().split(b"\0")
    sockets = next(each for each in environment if each.startswith(b"LOADSTONE_SOCKET_DIR=")).decode()
    return process("launcher", sockets)


@pytest.mark.promise("load-moves", "exact-totals")
def test_iterations_of_a_rate_are_done_once_each_when_a_worker_is_told_to_end(
    target: Target, process: Callable[[str, str], int]
) -> None:
    def end_worker(second: int) -> None:
        if second == 2:
            os.kill(launcher_of(process("agent", "LOADSTONE_WORKER=1"), process), signal.SIGTERM)

    result = run(target, "Worker", flat(90, Model.RATE), end_worker)

    lost_once(result)
    counted = target.count()
    by_path = {path: count for path, count in counted["by_path"].items() if path.startswith("/iteration/")}
    results, load = json.loads(result.outcome.results_json), json.loads(result.outcome.load_json)
    assert set(by_path.values()) == {1}
    assert results["requests"] == results["started"] == counted["requests"] == len(by_path)
    assert (results["unaccounted"], results["unsent"], results["ambiguous"]) == (0, 0, 0)
    assert load["planned"] == 90 * SECONDS
    assert load["achieved"] == len(by_path) > 0.8 * load["planned"]
    # Every third one is the lost worker's; of those in the last seconds all are done by the others.
    late = {number for number in range(90 * (SECONDS - 3), 90 * (SECONDS - 1)) if number % 3 == 1}
    assert result.outcome.verdict == "Passed", result.outcome
    assert len(late & {int(path.rsplit("/", 1)[1]) for path in by_path}) > 0.9 * len(late)
