"""A real master process whose workers come and go in mid-run: who is told to do what, and when."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from tests.component.master_process import Master, iterations, master_of, plan_of, scenario, steering, users
from tests.component.scripted_agent import Agent, until

from loadstone_core.spec.model import OnLoss
from loadstone_core.units import SECOND
from loadstone_protocol.v1 import control_pb2, coordination_pb2

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = 600


def users_of(*agents: Agent) -> list[int]:
    """Return the numbers of the users that agents are to have, each as often as it is had."""
    return sorted(number for agent in agents for first, parts in agent.lots for number in range(first, WHOLE, parts))


def end_of(worker: int, attempt: int = 1) -> control_pb2.WorkerEnd:
    return control_pb2.WorkerEnd(worker=worker, attempt=attempt, reason="Evicted", message="node pressure")


async def finish_all(master: Master, *agents: Agent) -> control_pb2.RunReport:
    await asyncio.gather(*(agent.stopped() for agent in agents))
    await asyncio.gather(*(agent.bye() for agent in agents))
    report, _ = await master.finish()
    return report


async def come_again(master: Master, worker: int, others: list[Agent], before: list[set[int]]) -> Agent:
    """Let the next attempt of a worker come, and have its share again once the users that others gave up have ended."""
    # Users that still finish keep the newcomer waiting for its share.
    for each in others:
        each.leaving = 7
    newcomer = await master.join(worker, attempt=2)
    await until(lambda: all(set(users_of(each)) == held for held, each in zip(before, others, strict=True)))
    await newcomer.heartbeat()
    await asyncio.sleep(0.5)
    assert users_of(newcomer) == []
    others[0].leaving = 0
    await until(lambda: len(users_of(newcomer)) == WHOLE // 6)
    others[1].leaving = 0
    await until(lambda: users_of(newcomer, *others) == list(range(WHOLE)))

    return newcomer


@pytest.mark.promise("load-moves")
def test_a_lost_workers_load_moves_to_the_others_and_back_to_its_next_attempt(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(WHOLE, 60), workers=3, max_lost_percent=50), tmp_path) as master:
            await master.direct()
            agents = await master.crew(3)
            gone, *others = agents
            before = [set(users_of(each)) for each in others]
            assert users_of(*agents) == list(range(WHOLE))
            follower = master.follow()
            await gone.close()
            await follower.steer(steering(1, ended=[end_of(0)]))
            await until(lambda: users_of(*others) == list(range(WHOLE)))
            # Nobody else's users have moved.
            assert all(held <= set(users_of(each)) for held, each in zip(before, others, strict=True))
            assert len(users_of(others[0])) == len(users_of(others[1])) == WHOLE // 2

            newcomer = await come_again(master, 0, others, before)
            await asyncio.gather(*(each.load(seconds=1, users=WHOLE // 3, requests=5) for each in (newcomer, *others)))
            await follower.steer(steering(2, stop_reason="Stopped", ended=[end_of(0)]))
            report = await finish_all(master, newcomer, *others)
            assert report.outcome.reason == "Stopped"
            [loss] = [each for each in report.findings if each.startswith("WorkerDegraded")]
            assert "lost 1 of 3 workers: node pressure; its load was taken over after" in loss
            assert loss.endswith(" s and it was replaced")
            assert report.workers[0].attempt == 2

    scenario(run())


@pytest.mark.promise("load-moves")
def test_a_worker_that_was_told_to_end_hands_its_share_over_and_nothing_of_it_is_missing(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(6, 4), workers=2, on_loss=OnLoss.REDISTRIBUTE), tmp_path) as master:
            await master.direct()
            leaver, stayer = await master.crew(2)
            await asyncio.gather(*(each.load(seconds=1, users=3, requests=10) for each in (leaver, stayer)))
            leaver.beat_fields["draining"] = True
            await leaver.heartbeat()
            assert len(stayer.lots) == 1  # it has not ended yet
            await leaver.send(leaver.final())
            await leaver.say(engine_end=leaver.end())
            await until(lambda: users_of(stayer) == list(range(WHOLE)))
            await leaver.say_bye(leaver.end())
            stayer.users = 6
            for second in (1, 2, 3):
                stayer.request(20)
                stayer.iterate(20)
                await stayer.send(stayer.state(second))
            report = await finish_all(master, stayer)
            results = json.loads(report.outcome.results_json)
            assert (results["requests"], results["unaccounted"]) == (80, 0)
            assert (report.outcome.verdict, report.outcome.reason) == ("Passed", "Passed")
            assert any("WorkerDegraded: lost 1 of 2 workers" in each for each in report.findings)

    scenario(run())


@pytest.mark.promise("load-moves")
def test_a_silent_workers_load_moves_after_its_lease_and_a_newer_attempt_waits_for_that_too(tmp_path: Path) -> None:
    async def run() -> None:
        plan = plan_of(users(WHOLE, 60), workers=3, max_lost_percent=50, lease_ns=2 * SECOND)
        async with master_of(plan, tmp_path) as master:
            await master.direct()
            frozen, *others = await master.crew(3)
            await frozen.close()
            newcomer = await master.join(0, attempt=2)
            await newcomer.running()
            await asyncio.sleep(3)
            # The frozen one may still have all of its users: that its pod was replaced proves nothing.
            assert users_of(newcomer) == []
            assert users_of(*others) == [number for number in range(WHOLE) if number % 3]
            await until(lambda: users_of(newcomer, *others) == list(range(WHOLE)))

            back = await master.join(0, attempt=1)
            assert back.refused.code == coordination_pb2.Refused.FENCED
            await master.follow().steer(steering(1, stop_reason="Stopped"))
            await finish_all(master, newcomer, *others)

    scenario(run())


@pytest.mark.parametrize(
    ("on_loss", "reason", "says"),
    [
        (OnLoss.CONTINUE, "LoadNotReached", "lost 1 of 3 workers"),
        (OnLoss.ABORT, "WorkersLost", "workers.onLoss is Abort: node pressure"),
    ],
)
def test_where_load_does_not_move_the_run_goes_on_with_less_or_ends(
    tmp_path: Path, on_loss: OnLoss, reason: str, says: str
) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(WHOLE, 2), workers=3, on_loss=on_loss), tmp_path) as master:
            await master.direct()
            gone, *others = await master.crew(3)
            await gone.close()
            await master.follow().steer(steering(1, ended=[end_of(0)]))
            await asyncio.gather(*(each.load(seconds=2, users=WHOLE // 3, requests=5) for each in others))
            assert users_of(*others) == [number for number in range(WHOLE) if number % 3]
            report = await finish_all(master, *others)
            assert report.outcome.reason == reason
            assert says in report.outcome.message

    scenario(run())


def test_more_losses_than_are_allowed_end_the_run(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(WHOLE, 60), workers=3, max_lost_percent=0), tmp_path) as master:
            await master.direct()
            gone, *others = await master.crew(3)
            await gone.close()
            await master.follow().steer(steering(1, ended=[end_of(0)]))
            report = await finish_all(master, *others)
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "WorkersLost")

    scenario(run())


@pytest.mark.promise("quorum")
def test_with_enough_workers_the_load_begins_when_the_start_has_timed_out_and_who_is_late_gets_its_share(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        plan = plan_of(iterations(WHOLE), workers=3, min_available=2, startup_timeout_ns=3 * SECOND)
        async with master_of(plan, tmp_path) as master:
            await master.direct()
            agents = [await master.join(worker) for worker in (0, 1)]
            await asyncio.gather(*(agent.running() for agent in agents))
            await until(lambda: users_of(*agents) == list(range(WHOLE)))
            # What was meant for the third is given to the others, so all iterations can be done.
            for agent in agents:
                agent.known, agent.rate = 2, 1_000
            late = await master.join(2)
            await late.running()
            await until(lambda: users_of(late) == list(range(2, WHOLE, 3)))
            assert users_of(late, *agents) == list(range(WHOLE))
            for agent in (late, *agents):
                agent.iterate(WHOLE // 3)
                await agent.send(agent.state(0))
            report = await finish_all(master, late, *agents)
            assert any("the load began without 1 of 3 workers" in each for each in report.findings)
            load = json.loads(report.outcome.load_json)
            assert (load["planned"], load["achieved"]) == (WHOLE, WHOLE)

    scenario(run())
