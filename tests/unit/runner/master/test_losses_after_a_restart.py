"""Who was lost, and who had it hard, is told as it would have been by one master alone."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, start_load, turns
from tests.unit.runner.master.second_master import LOADED_NS, come, waiting

from loadstone_core.units import SECOND
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.master import takeover
from loadstone_runner.master.losses import Loss, Losses
from loadstone_runner.master.member import Departure, Member

if TYPE_CHECKING:
    from pathlib import Path

promise = pytest.mark.promise
EVICTED = Departure("Evicted", "its node was drained", 137)
LATE_NS = 300_000_000


async def kept(master: Master) -> None:
    """Let the newest checkpoint be on disk, with everything that has happened by now."""
    await turns(4)
    await master.conductor.checkpoints.finish()
    master.conductor.checkpoints.hurry()
    master.conductor.checkpoints.look()
    await master.conductor.checkpoints.finish()


async def in_load(folder: Path, workers: int) -> tuple[Master, list[Agent]]:
    master = Master(folder, plan_of(workers), Clock())
    agents = [Agent(master, worker) for worker in range(workers)]
    await start_load(master, agents)
    master.clock.advance(10)
    for agent in agents:
        agent.beat()
        agent.report(10, 9, requests=100)
    return master, agents


async def started_again(master: Master, folder: Path, agents: list[Agent]) -> Master:
    again = Master(folder, master.conductor.plan, master.clock)
    for agent in agents:
        agent.move_to(again)
        agent.beat()
    return again


def told(losses: Losses) -> list[tuple[Any, ...]]:
    return [(each.worker, each.attempt, each.departure, each.is_early, each.is_replaced) for each in losses]


@promise("master-restart", "worker-lost")
def test_a_loss_that_was_made_good_is_told_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        master, agents = await in_load(tmp_path, 3)
        for worker in (1, 2):
            master.conductor.lose(worker, 1, EVICTED)
        agents[2] = Agent(master, 2, attempt=2)
        agents[2].join()
        agents[2].beat()
        await kept(master)
        again = await started_again(master, tmp_path, [agents[0], agents[2]])

        losses, before = again.conductor.relief.losses, master.conductor.relief.losses
        assert told(losses) == told(before) == [(1, 1, EVICTED, False, False), (2, 1, EVICTED, False, True)]
        assert (losses.most, losses.allowed) == (before.most, before.allowed) == (2, 2)

    asyncio.run(story())


@promise("master-restart", "logs-complete")
@pytest.mark.parametrize(("restarts", "says"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_log_lacks_what_a_replaced_worker_wrote_of_which_nothing_came(
    tmp_path: Path, *, restarts: bool, says: bool
) -> None:
    async def story() -> None:
        master, agents = await in_load(tmp_path, 2)
        if says:
            agents[1].bye()
        master.conductor.lose(1, 1, EVICTED)
        agents[1] = Agent(master, 1, attempt=2)
        agents[1].join()
        agents[1].beat()
        await kept(master)
        if restarts:
            master = await started_again(master, tmp_path, agents)

        assert master.conductor.farewells.lacks_logs is not says

    asyncio.run(story())


@promise("master-restart", "logs-complete")
def test_who_came_to_a_master_before_this_one_and_is_lost_before_the_load_may_have_written(tmp_path: Path) -> None:
    async def story() -> None:
        master = Master(tmp_path, plan_of(2), Clock())
        master.bring_director()
        master.director_says(script=engine_pb2.ScriptReport(ok=True))
        master.director_says(setup=engine_pb2.SetupReport(ok=True))
        agents = [Agent(master, worker) for worker in range(2)]
        for agent in agents:
            agent.join()
        await kept(master)
        again = Master(tmp_path, master.conductor.plan, master.clock)
        agents[0].move_to(again)
        again.conductor.lose(1, 1, EVICTED)

        assert again.conductor.farewells.lacks_logs

    asyncio.run(story())


@promise("logs-complete")
def test_a_worker_that_never_came_has_written_nothing_that_could_be_missing(tmp_path: Path) -> None:
    async def story() -> None:
        master = Master(tmp_path, plan_of(2), Clock())
        master.conductor.lose(1, 1, EVICTED)

        assert not master.conductor.farewells.lacks_logs

    asyncio.run(story())


@promise("master-restart", "worker-lost")
def test_a_worker_that_is_still_lost_is_told_once_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        master, agents = await in_load(tmp_path, 3)
        master.conductor.lose(2, 1, EVICTED)
        await kept(master)
        again = await started_again(master, tmp_path, agents[:2])

        assert told(again.conductor.relief.losses) == [(2, 1, EVICTED, False, False)]

    asyncio.run(story())


@promise("master-restart", "early-loss")
def test_a_worker_that_was_lost_before_the_load_is_told_as_such_after_a_restart_in_the_load(tmp_path: Path) -> None:
    async def story() -> None:
        master = Master(tmp_path, plan_of(2), Clock())
        agents = [Agent(master, 0), Agent(master, 1)]
        agents[1].join()
        master.conductor.lose(1, 1, EVICTED)
        agents[1] = Agent(master, 1, attempt=2)
        await start_load(master, agents)
        await kept(master)
        again = await started_again(master, tmp_path, agents)

        assert told(again.conductor.relief.losses) == [(1, 1, EVICTED, True, True)]
        assert "was lost before the load began and was replaced" in again.conductor.relief.losses.describe_early()

    asyncio.run(story())


@promise("master-restart")
def test_who_came_again_while_nothing_could_be_kept_was_replaced(tmp_path: Path) -> None:
    """The checkpoint is older than what was kept of who holds which part of the load."""

    async def story() -> None:
        master, agents = await in_load(tmp_path, 2)
        master.conductor.lose(1, 1, EVICTED)
        await kept(master)
        agents[1] = Agent(master, 1, attempt=2)
        agents[1].join()
        master.conductor.crew.keep()
        again = await started_again(master, tmp_path, agents)

        assert told(again.conductor.relief.losses) == [(1, 1, EVICTED, False, True)]

    asyncio.run(story())


@promise("master-restart", "worker-replaced")
def test_who_was_replaced_while_a_master_takes_over_was_lost_in_the_load(tmp_path: Path) -> None:
    async def story() -> None:
        master, agents = await waiting(tmp_path)
        come(agents[1], master)
        agents[1].bequeath(LOADED_NS)
        assert Agent(master, 1, attempt=2).join() is None
        come(agents[0], master)
        agents[0].bequeath(LOADED_NS)
        await turns()

        [loss] = master.conductor.relief.losses
        assert (loss.worker, loss.attempt, loss.departure.reason) == (1, 1, "Replaced")
        assert (loss.is_early, loss.is_replaced) == (False, True)

    asyncio.run(story())


@promise("master-restart", "saturation-told")
def test_a_worker_that_had_it_hard_is_told_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        master, agents = await in_load(tmp_path, 1)
        for _ in range(20):
            master.clock.advance(1)
            agents[0].beat(loop_lag_ns=LATE_NS)
        await kept(master)
        before = master.conductor.measurement.strain.findings()
        again = Master(tmp_path, plan_of(1), master.clock)

        assert before
        assert again.conductor.measurement.strain.findings() == before

    asyncio.run(story())


@promise("master-restart")
def test_what_a_master_of_an_earlier_release_has_counted_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = takeover.counted

    def counted_then(conductor: Any) -> dict[str, Any]:
        held = counted(conductor)
        del held["losses"], held["measurement"]["strain"]
        return held

    async def story() -> None:
        monkeypatch.setattr(takeover, "counted", counted_then)
        master, agents = await in_load(tmp_path, 3)
        master.conductor.lose(2, 1, EVICTED)
        await kept(master)
        again = await started_again(master, tmp_path, agents[:2])

        assert told(again.conductor.relief.losses) == [(2, 1, EVICTED, False, False)]
        assert not again.conductor.measurement.strain.findings()

    asyncio.run(story())


def test_losses_go_on_where_they_were() -> None:
    losses = Losses()
    losses.note(Member(1, attempt=2, pod="pod-1"), EVICTED, SECOND, lost=1, allowed=0)
    losses.settle(3 * SECOND, lambda _worker, _attempt: False)
    losses.replace(1)
    later = Losses()
    later.recall(json.loads(json.dumps(losses.remember())))

    expected = Loss(1, 2, EVICTED, SECOND, pod="pod-1", taken_over_ns=2 * SECOND, is_replaced=True)
    assert (list(later), later.most, later.allowed) == ([expected], 1, 0)
