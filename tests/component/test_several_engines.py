"""Several engines behind each agent, all processes real: exact totals, numbers granted once, bounds after a kill."""

import asyncio
import json

import pytest
from tests.component.engine_process import Target
from tests.component.local_plan import local_plan

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_runner.local.run import LocalResult, LocalRun

SECOND = 1_000_000_000
promise = pytest.mark.promise

SCRIPT = """
import os, signal, time
from loadstone import User, seat, task

BEGIN = time.monotonic()


class Visitor(User):
    @task
    def browse(self):
        self.http.get(f"/visitor/{self.number}", name="browse")
        time.sleep(0.005)


class Worker(User):
    @task
    def work(self):
        row = seat.taken.next_row("accounts")
        self.http.get(f"/iteration/{self.iteration}", name="iteration")
        self.http.get(f"/row/{row}", name="row")


class Dying(User):
    @task
    def browse(self):
        self.http.get("/", name="browse")
        if self.number == 0 and self.iteration > 200:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def target():
    made = Target()
    yield made
    made.end()


def constant(users: int, seconds: int | None = None) -> Profile:
    end_ns = None if seconds is None else seconds * SECOND
    return Profile((Segment(0, end_ns or FOREVER_NS, users, users),), end_ns)


def run(*scenarios: Scenario, workers: int, engines: int) -> LocalResult:
    files = {"test.py": SCRIPT.encode()}
    plan = local_plan("several", files, *scenarios, workers=workers, engines_per_worker=engines)
    local = LocalRun(plan=plan, files=files, environment={}, on_report=lambda _report: None)
    return asyncio.run(asyncio.wait_for(local.run(), 90))


def scenario(target: Target, name: str, user: str, load: LoadProfile) -> Scenario:
    return Scenario(name=name, user=user, load=load, graceful_stop_ns=5 * SECOND, target=target.url)


@promise("exact-totals", "several-engines")
def test_all_engines_together_do_exactly_what_was_asked(target) -> None:
    browse = scenario(target, "browse", "Visitor", LoadProfile(Model.USERS, constant(7, 3), None))
    work = scenario(target, "work", "Worker", LoadProfile(Model.ITERATIONS, constant(6), 500))
    result = run(browse, work, workers=2, engines=2)

    results, load = json.loads(result.outcome.results_json), json.loads(result.outcome.load_json)
    counted = target.count()
    assert result.outcome.verdict == "Passed", result.outcome
    assert results["requests"] == results["started"] == counted["requests"]
    assert results["unaccounted"] == 0
    by_name = {each["name"]: each for each in load["scenarios"]}
    assert (by_name["work"]["achieved"], by_name["work"]["requests"]) == (500, 1000)
    assert by_name["browse"]["users"] == 7
    paths = counted["by_path"]
    assert {path: count for path, count in paths.items() if path.startswith("/iteration/")} == {
        f"/iteration/{number}": 1 for number in range(500)
    }
    rows = {path: count for path, count in paths.items() if path.startswith("/row/")}
    assert len(rows) == 500
    assert set(rows.values()) == {1}
    assert {path for path in paths if path.startswith("/visitor/")} == {f"/visitor/{2 * each}" for each in range(7)}


@promise("kill-bounds", "several-engines")
def test_the_kill_of_one_of_two_engines_leaves_exact_bounds_and_the_other_s_results(target) -> None:
    result = run(
        scenario(target, "default", "Dying", LoadProfile(Model.USERS, constant(6, 30), None)),
        workers=1,
        engines=2,
    )

    results = json.loads(result.outcome.results_json)
    counted = target.count()["requests"]
    assert (result.outcome.verdict, result.outcome.reason) == ("Error", "WorkersLost"), result.outcome
    assert "signal 9" in "".join(worker.message for worker in result.report.workers)
    assert results["requests"] > 200
    assert not results.get("unaccountedAtLeast")
    assert (
        results["requests"] - results["unsent"] - results["ambiguous"]
        <= counted
        <= results["started"] - results["unsent"]
    )
