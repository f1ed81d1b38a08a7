"""However often a master is started again, one finding says so, with how often."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, start_load

from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Reason
from loadstone_protocol.messages import EngineStage
from loadstone_runner.master.restarts import Restarts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("away_ns", "says"),
    [
        ((), []),
        ((None,), ["started again; the load went on, and the totals are whole: the timeline has a gap there."]),
        ((SECOND, 3 * SECOND, None), ["started again 3 times; ", "has gaps there. It was away for at most 3.0 s each"]),
    ],
)
def test_restarts_are_told_with_their_number_and_the_longest(away_ns: tuple[int | None, ...], says: list[str]) -> None:
    restarts = Restarts()
    for each in away_ns:
        restarts.note(each)

    told = [cause.message for cause in restarts.causes()]
    assert len(told) == min(1, len(says))
    assert all(each in told[0] for each in says)


@pytest.mark.promise("master-restart")
def test_a_run_whose_master_is_started_again_many_times_has_one_finding_of_it(tmp_path: Path) -> None:
    async def check() -> None:
        clock = Clock()
        master = Master(tmp_path, plan_of(1), clock)
        agents = [Agent(master, 0)]
        await start_load(master, agents)
        for _ in range(5):
            clock.advance(4)
            master = Master(tmp_path, plan_of(1), clock)
            agents[0].move_to(master)
            agents[0].beat(EngineStage.RUNNING)
        notes = [each for each in master.conductor._sum_up().notes if each.reason is Reason.MASTER_RESTARTED]
        assert len(notes) == 1
        assert "started again 5 times; " in notes[0].message

    asyncio.run(check())
