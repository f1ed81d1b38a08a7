"""A real master process that loses workers before its load begins: who is waited for, and what ends the run."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.component.master_process import Master, iterations, master_of, plan_of, scenario, steering, users
from tests.component.scripted_agent import Agent, until
from tests.component.test_preflight import run as run_locally

from loadstone_core.spec.model import OnLoss
from loadstone_core.units import SECOND
from loadstone_protocol.v1 import control_pb2, engine_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from loadstone_protocol.follower import Follower

pytestmark = pytest.mark.promise("early-loss")

WHOLE = 600
LOST = control_pb2.WorkerReport.LOST


def users_of(*agents: Agent) -> list[int]:
    """Return the numbers of the users that agents are to have, each as often as it is had."""
    return sorted(number for agent in agents for first, parts in agent.lots for number in range(first, WHOLE, parts))


def end_of(worker: int, attempt: int = 1, **fields: Any) -> control_pb2.WorkerEnd:
    told = {"reason": "Preempted", "message": "its node was taken away", "exit_code": 143, **fields}
    return control_pb2.WorkerEnd(worker=worker, attempt=attempt, **told)


async def until_told(follower: Follower, worker: int, *, attempt: int, is_lost: bool) -> control_pb2.RunReport:
    async with asyncio.timeout(20):
        async for report in follower.watch():
            told = report.workers[worker]
            assert not report.HasField("outcome"), report.outcome
            if (told.attempt, told.state == LOST) == (attempt, is_lost):
                return report
    raise AssertionError("the stream ended")


async def finish(master: Master, *agents: Agent) -> tuple[control_pb2.RunReport, dict[str, Any]]:
    await asyncio.gather(*(agent.stopped() for agent in agents))
    await asyncio.gather(*(agent.bye() for agent in agents))
    report, _ = await master.finish()
    return report, json.loads(report.outcome.results_json or b"{}")


@pytest.mark.parametrize("on_loss", [OnLoss.REPLACE, OnLoss.REDISTRIBUTE])
@pytest.mark.parametrize("has_come", [True, False], ids=["gone when it was ready", "gone before it came"])
def test_the_load_waits_for_the_next_attempt_and_is_whole_from_its_first_moment(
    tmp_path: Path, on_loss: OnLoss, *, has_come: bool
) -> None:
    async def run() -> None:
        # All of them may be lost at a time before the load, however few may be in mid-run.
        plan = plan_of(users(6, 3), workers=2, on_loss=on_loss, max_lost_percent=0)
        async with master_of(plan, tmp_path) as master:
            await master.direct()
            if has_come:
                gone = await master.join(1)
                await until(lambda: gone.applied is not None and gone.acknowledged >= gone.number)
                await gone.close()
            follower = master.follow()
            await follower.steer(steering(1, ended=[end_of(1)]))
            report = await until_told(follower, 1, attempt=1, is_lost=True)
            assert report.waiting_for == "worker 1 of 2 to come again after a loss (its node was taken away)"
            stayer = await master.join(0)
            await until(lambda: stayer.applied is not None and stayer.acknowledged >= stayer.number)
            await asyncio.sleep(0.5)
            assert stayer.body.run_state == engine_pb2.READY_STATE

            newcomer = await master.join(1, attempt=2)
            agents = (stayer, newcomer)
            await asyncio.gather(*(agent.running() for agent in agents))
            assert users_of(stayer, newcomer) == list(range(WHOLE))
            assert [share.from_ns for agent in agents for share in agent.assignments[-1].shares] == [0, 0]
            await asyncio.gather(*(agent.load(seconds=3, users=3, requests=10) for agent in agents))
            report, results = await finish(master, *agents)
            assert (report.outcome.verdict, report.outcome.reason) == ("Passed", "Passed"), report.outcome
            assert (results["requests"], results["started"], results["unaccounted"]) == (60, 60, 0)
            assert not results.get("unaccountedAtLeast")
            # What one that was there has written, but not sent, is in no log.
            lacks = ["LogsIncomplete: the log lacks whatever a worker that was lost had not sent yet"] * has_come
            told = "WorkerDegraded: worker 1 was lost before the load began and was replaced: its node was taken away"
            assert [each.split(";")[0] for each in report.findings if "lost" in each] == [*lacks, told]

    scenario(run())


def test_an_engine_that_is_killed_before_the_load_leaves_nothing_unknown_and_its_numbers_to_its_successor(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with master_of(plan_of(iterations(WHOLE), workers=2), tmp_path) as master:
            await master.direct()
            killed = await master.join(0)
            await until(lambda: any(each.grants for each in killed.assignments))
            # Nobody could read its counters, and its agent goes on for a while with what it has applied.
            end = killed.end(clean=False, signal=9)
            end.counters_known = False
            await killed.say(engine_end=end)
            await until_told(master.follow(), 0, attempt=1, is_lost=True)
            stayer = await master.join(1)
            await asyncio.gather(*(agent.heartbeat() for agent in (killed, stayer)))
            await asyncio.sleep(0.7)
            assert stayer.body.run_state == engine_pb2.READY_STATE, "one that is lost counts as ready"

            newcomer = await master.join(0, attempt=2)
            await until(lambda: killed.refused.detail != "")
            agents = (newcomer, stayer)
            await asyncio.gather(*(agent.running() for agent in agents))
            assert newcomer.assignments[-1].grants == killed.assignments[-1].grants
            assert users_of(*agents) == list(range(WHOLE))
            for agent in agents:
                agent.known, agent.rate = 1, 1_000
                await agent.heartbeat()
            for agent in agents:
                agent.iterate(WHOLE // 2)
                await agent.send(agent.state(0))
            report, results = await finish(master, *agents)
            load = json.loads(report.outcome.load_json)
            assert (load["planned"], load["achieved"]) == (WHOLE, WHOLE)
            assert report.outcome.verdict == "Passed", report.outcome
            assert not results.get("unaccountedAtLeast")

    scenario(run())


def test_a_worker_that_is_told_to_end_or_falls_silent_before_the_load_is_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(4, 2), workers=2, lease_ns=SECOND), tmp_path) as master:
            await master.direct()
            drained, silent = [await master.join(worker) for worker in (0, 1)]
            await silent.close()
            drained.beat_fields["draining"] = True
            await drained.bye()
            follower = master.follow()
            report = await until_told(follower, 0, attempt=1, is_lost=True)
            assert report.workers[0].reason == "Terminated"
            report = await until_told(follower, 1, attempt=1, is_lost=True)
            assert report.workers[1].reason == "Silent"
            agents = [await master.join(worker, attempt=2) for worker in (0, 1)]
            await asyncio.gather(*(agent.running() for agent in agents))
            assert users_of(*agents) == list(range(WHOLE))
            await asyncio.gather(*(agent.load(seconds=2, users=2, requests=10) for agent in agents))
            report, results = await finish(master, *agents)
            assert (report.outcome.verdict, results["requests"]) == ("Passed", 40), report.outcome
            assert any("lost 2 times before the load began, 2 replaced" in each for each in report.findings)

    scenario(run())


@pytest.mark.parametrize("has_come", [True, False], ids=["the first was there", "the first has never come"])
def test_a_next_attempt_that_comes_before_anybody_has_told_of_a_loss_has_its_share_at_once(
    tmp_path: Path, *, has_come: bool
) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(4, 2), workers=2), tmp_path) as master:
            await master.direct()
            stayer = await master.join(0)
            if has_come:
                await (await master.join(1)).close()
            else:
                await until(lambda: stayer.applied is not None)
            newcomer = await master.join(1, attempt=2)
            agents = (stayer, newcomer)
            await asyncio.gather(*(agent.running() for agent in agents))
            assert users_of(*agents) == list(range(WHOLE))
            assert len(users_of(newcomer)) == WHOLE // 2
            await asyncio.gather(*(agent.load(seconds=2, users=2, requests=10) for agent in agents))
            report, results = await finish(master, *agents)
            assert (report.outcome.verdict, results["requests"]) == ("Passed", 40), report.outcome

    scenario(run())


def test_a_next_attempt_that_never_comes_ends_the_run_when_the_start_has_timed_out(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(4, 2), workers=2, startup_timeout_ns=3 * SECOND), tmp_path) as master:
            await master.direct()
            stayer = await master.join(0)
            await master.follow().steer(steering(1, ended=[end_of(1)]))
            report, _ = await finish(master, stayer)
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "StartupTimeout"), report.outcome
            assert "worker 1 of 2 to come again after a loss (its node was taken away)" in report.outcome.message

    scenario(run())


@pytest.mark.promise("quorum")
def test_with_a_quorum_the_load_begins_without_one_that_does_not_come_again(tmp_path: Path) -> None:
    async def run() -> None:
        plan = plan_of(
            users(4, 3), workers=2, startup_timeout_ns=3 * SECOND, min_available=1, max_lost_percent=0,
            tolerance_ppm=500_000,
        )  # fmt: skip
        async with master_of(plan, tmp_path) as master:
            await master.direct()
            stayer, gone = [await master.join(worker) for worker in (0, 1)]
            await gone.close()
            await until(lambda: stayer.applied is not None)
            await master.follow().steer(steering(1, ended=[end_of(1)]))
            await stayer.running()
            await until(lambda: users_of(stayer) == list(range(WHOLE)))
            await stayer.load(seconds=3, users=4, requests=10)
            report, results = await finish(master, stayer)
            # It is no loss of the load, of which none is allowed here.
            assert (report.outcome.verdict, results["requests"]) == ("Passed", 30), report.outcome
            assert any("the load began without 1 of 2 workers" in each for each in report.findings)

    scenario(run())


@pytest.mark.parametrize(
    ("on_loss", "end", "reason", "says"),
    [
        (OnLoss.REPLACE, {"reason": "Error", "exit_code": 1}, "WorkersLost", "lost before the load began: its node"),
        (OnLoss.REPLACE, {"reason": "OOMKilled", "exit_code": 137}, "WorkerOOM", "more memory than its limit"),
        (OnLoss.REPLACE, {"attempt": 5}, "WorkersLost", "it was made 5 times"),
        (OnLoss.ABORT, {}, "WorkersLost", "worker 1 was lost before the load began: its node was taken away"),
        (OnLoss.CONTINUE, {}, "WorkersLost", "worker 1 was lost before the load began: its node was taken away"),
    ],
)
def test_what_would_happen_again_or_is_not_wanted_ends_the_run_at_once(
    tmp_path: Path, on_loss: OnLoss, end: dict[str, Any], reason: str, says: str
) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(4, 2), workers=2, on_loss=on_loss), tmp_path) as master:
            await master.direct()
            stayer = await master.join(0)
            await master.follow().steer(steering(1, ended=[end_of(1, **end)]))
            report, _ = await finish(master, stayer)
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", reason), report.outcome
            assert says in report.outcome.message

    scenario(run())


@pytest.mark.parametrize(("end", "how"), [("os.kill(os.getpid(), 9)", "signal 9"), ("os._exit(3)", "exit code 3")])
def test_on_one_machine_nobody_comes_again_so_the_run_ends_at_once(tmp_path: Path, end: str, how: str) -> None:
    script = f"""
        import os
        from loadstone import User, task

        if os.environ["LOADSTONE_ENGINE_ROLE"] == "engine":
            {end}

        class Visitor(User):
            @task
            def visit(self):
                self.http.get("/")
    """
    status = run_locally(tmp_path, script, 1, at="http://127.0.0.1:1")

    assert (status["verdict"], status["reason"]) == ("Error", "WorkersLost"), status
    said = f"worker 0 was lost before the load began: engine 0 of worker 0 died with {how}"
    assert status["message"].startswith(said), status["message"]
