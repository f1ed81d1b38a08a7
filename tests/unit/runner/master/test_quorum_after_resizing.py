"""A worker that was scaled away and back before the load, and has not come again, is one that a load begins without."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, turns

from loadstone_protocol.messages import EngineStage, Steering, WorkerEnd
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.master.run import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

promise = pytest.mark.promise
GONE = (WorkerEnd(3, 1, "Deleted", "", 143),)


async def scaled_away_and_back(folder: Path) -> tuple[Master, list[Agent]]:
    """Return a master that wants four workers, of which one has never come and another is gone, and the other two."""
    master = Master(folder, plan_of(4, min_available=2), Clock())
    first, second, last = (Agent(master, worker) for worker in (0, 1, 3))
    master.bring_director()
    master.director_says(script=engine_pb2.ScriptReport(ok=True))
    for agent in (first, second, last):
        agent.join()
    master.director_says(setup=engine_pb2.SetupReport(ok=True))
    await be_ready(master, (first, second, last), seconds=2)
    steer(master, revision=1, workers=3)
    await be_ready(master, (first, second, last), seconds=3)
    assert master.conductor.roster.members[3].has_retired
    master.desk.part(last.link)
    steer(master, revision=2, workers=3, ended=GONE)
    steer(master, revision=3, workers=4, ended=GONE)
    return master, [first, second]


def steer(master: Master, *, revision: int, workers: int, ended: tuple[WorkerEnd, ...] = ()) -> None:
    master.desk.steer(
        Steering(revision=revision, stop_reason=None, is_immediate=False, ended=ended, workers=workers),
    )


async def be_ready(master: Master, agents: Iterable[Agent], *, seconds: int) -> None:
    for _ in range(seconds):
        master.clock.advance(1)
        for agent in agents:
            agent.beat(EngineStage.READY, users=0)
        master.conductor.tick()
        await turns(2)


@promise("quorum", "live-replicas")
def test_a_load_that_begins_without_a_worker_that_was_wanted_again_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        master, agents = await scaled_away_and_back(tmp_path)
        await be_ready(master, agents, seconds=57)

        assert master.conductor.state.stage is not Stage.GATHERING
        assert [each.message for each in master.conductor.notes] == [
            "the load began without 2 of 4 workers, which were not there in time"
        ]
        assert [each.worker for each in master.conductor.roster.members if each.is_excused] == [2, 3]

    asyncio.run(story())


@promise("quorum", "live-replicas")
def test_a_run_waits_for_a_worker_that_was_wanted_again_to_connect(tmp_path: Path) -> None:
    async def story() -> None:
        master, _ = await scaled_away_and_back(tmp_path)

        master.conductor.board.show()
        view = await master.desk.changed(0)
        assert view.waiting_for == "workers 2, 3 of 4 to connect"

    asyncio.run(story())
