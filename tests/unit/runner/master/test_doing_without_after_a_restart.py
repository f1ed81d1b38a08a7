"""A worker that a load began without (minAvailable) is not lost because another master goes on with that load."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, turns

from loadstone_core.spec.model import OnLoss
from loadstone_core.units import SECOND
from loadstone_protocol.messages import EngineStage, Steering, WorkerEnd
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.master import run, takeover
from loadstone_runner.master.member import WorkerState
from loadstone_runner.master.run import Stage

if TYPE_CHECKING:
    from pathlib import Path

promise = pytest.mark.promise
PLAN = plan_of(3, min_available=2, max_lost_percent=0, on_loss=OnLoss.REDISTRIBUTE)
LEASE_SECONDS = 40  # and its slack, and a little more


async def begun_without_one(folder: Path, clock: Clock, *, has_come: bool = False) -> tuple[Master, list[Agent]]:
    """Return a master whose load is about to begin without worker 2, and the others; their store has it."""
    master = Master(folder, PLAN, clock)
    agents = [Agent(master, worker) for worker in range(2)]
    master.bring_director()
    master.director_says(script=engine_pb2.ScriptReport(ok=True))
    for agent in (*agents, *([Agent(master, 2)] if has_come else [])):
        agent.join()
    master.director_says(setup=engine_pb2.SetupReport(ok=True))
    if has_come:
        # Its node was drained, and nothing has room for another pod.
        ended = (WorkerEnd(2, 1, "Evicted", "its node was drained", 137),)
        master.desk.steer(Steering(revision=1, stop_reason=None, is_immediate=False, ended=ended))
    while master.conductor.state.stage is Stage.GATHERING:
        clock.advance(1)
        for agent in agents:
            agent.beat(EngineStage.READY)
        master.conductor.tick()
    assert master.conductor.roster.members[2].is_excused
    return master, agents


async def outlast_a_lease(master: Master, agents: list[Agent]) -> None:
    for second in range(LEASE_SECONDS):
        master.clock.advance(1)
        for agent in agents:
            agent.beat()
            agent.report(100 + second, second, requests=10 * second)
        master.conductor.tick()
        await asyncio.sleep(0)
    await turns()


@promise("master-restart", "quorum")
@pytest.mark.parametrize("has_come", [False, True], ids=["never came", "lost before the load"])
def test_a_load_goes_on_without_a_worker_when_its_master_is_started_again_before_it_has_counted_anything(
    tmp_path: Path, *, has_come: bool
) -> None:
    async def story() -> None:
        clock = Clock()
        _, agents = await begun_without_one(tmp_path, clock, has_come=has_come)
        again = Master(tmp_path, PLAN, clock)
        for agent in agents:
            agent.move_to(again)
        await outlast_a_lease(again, agents)

        assert again.conductor.state.stage is Stage.RUNNING_LOAD
        assert again.conductor.roster.lost() == ()
        assert not list(again.conductor.relief.losses.of_load)

    asyncio.run(story())


@promise("master-restart", "quorum")
@pytest.mark.parametrize("has_come", [False, True], ids=["never came", "lost before the load"])
def test_a_load_goes_on_without_a_worker_when_the_pod_of_its_master_is_lost(tmp_path: Path, *, has_come: bool) -> None:
    async def story() -> None:
        clock = Clock()
        first, agents = await begun_without_one(tmp_path / "first", clock, has_come=has_come)
        clock.advance(1)
        first.conductor.handle(run.StartReached())
        for agent in agents:
            agent.beat()
        second = Master(tmp_path / "second", PLAN, clock, epoch=2)
        for agent in agents:
            agent.move_to(second)
            agent.bequeath(SECOND)
        await outlast_a_lease(second, agents)

        assert second.conductor.state.stage is Stage.RUNNING_LOAD
        assert second.conductor.roster.lost() == ()

    asyncio.run(story())


@promise("master-restart", "quorum")
def test_a_worker_that_came_after_all_is_missed_when_it_does_not_come_to_the_next_master(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        first, agents = await begun_without_one(tmp_path, clock)
        clock.advance(1)
        first.conductor.handle(run.StartReached())
        late = Agent(first, 2)
        late.join()
        late.beat(EngineStage.READY)
        for agent in agents:
            agent.beat()
        first.conductor.tick()
        await turns()
        again = Master(tmp_path, PLAN, clock)
        for agent in agents:
            agent.move_to(again)
        await outlast_a_lease(again, agents)

        assert again.conductor.roster.members[2].state is WorkerState.LOST

    asyncio.run(story())


@promise("master-restart", "quorum", "load-moves")
def test_what_a_worker_does_that_came_after_all_is_given_to_nobody_before_its_lease_is_over(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        first, agents = await begun_without_one(tmp_path / "first", clock)
        clock.advance(1)
        first.conductor.handle(run.StartReached())
        for agent in agents:
            agent.beat()
        second = Master(tmp_path / "second", PLAN, clock, epoch=2)
        for agent in agents:
            agent.move_to(second)
            agent.bequeath(SECOND)
        await outlast_a_lease(second, agents)
        late = Agent(second, 2)
        late.join()
        for second_of_load in range(20):
            clock.advance(1)
            late.beat(EngineStage.READY)
            for agent in agents:
                agent.beat()
                agent.report(200 + second_of_load, 50 + second_of_load)
            second.conductor.tick()
            await turns(2)
        assert second.conductor.workload.shares.holds(2, 1)

        # The process is started again, and worker 2 is cut off from it.
        third = Master(tmp_path / "second", PLAN, clock, epoch=2)
        for agent in agents:
            agent.move_to(third)
        for _ in range(5):
            clock.advance(1)
            for agent in agents:
                agent.beat()
            third.conductor.tick()
        assert third.conductor.workload.shares.holds(2, 1)
        await outlast_a_lease(third, agents)
        assert third.conductor.roster.members[2].state is WorkerState.LOST

    asyncio.run(story())


@promise("master-restart")
def test_what_a_master_of_an_earlier_release_has_kept_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = takeover.decided

    def kept_then(conductor: Any) -> dict[str, Any]:
        return {name: value for name, value in kept(conductor).items() if name != "excused"}

    async def story() -> None:
        clock = Clock()
        monkeypatch.setattr(takeover, "decided", kept_then)
        _, agents = await begun_without_one(tmp_path, clock)
        again = Master(tmp_path, PLAN, clock)
        for agent in agents:
            agent.move_to(again)
            agent.beat()
        await turns()

        assert again.conductor.state.stage is Stage.RUNNING_LOAD

    asyncio.run(story())


@promise("master-restart", "early-loss")
def test_a_worker_that_is_slow_to_come_is_not_taken_for_silent_by_the_next_start_of_its_master(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        first = Master(tmp_path, plan_of(2), clock)
        (agent,) = agents = [Agent(first, 0)]
        first.bring_director()
        first.director_says(script=engine_pb2.ScriptReport(ok=True))
        agent.join()
        first.director_says(setup=engine_pb2.SetupReport(ok=True))
        second = Master(tmp_path, plan_of(2), clock)
        agent.move_to(second)
        for _ in range(LEASE_SECONDS):
            clock.advance(1)
            agent.beat(EngineStage.READY)
            second.conductor.tick()
        assert second.conductor.roster.members[1].state is WorkerState.EXPECTED

        agents.append(Agent(second, 1))
        agents[1].join()
        agents[1].beat(EngineStage.READY)
        assert second.conductor.state.stage is Stage.ARMED
        await turns()

    asyncio.run(story())
