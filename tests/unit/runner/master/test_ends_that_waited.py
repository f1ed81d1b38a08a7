"""What ended while a master waited for its inheritance is the end of the attempt that said so, and of no later one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.unit.runner.master.rig import Agent, Master, turns
from tests.unit.runner.master.second_master import LOADED_NS, REQUESTS, come, waiting

from loadstone_protocol.messages import EngineStage
from loadstone_runner.master.member import WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

promise = pytest.mark.promise


def die(agent: Agent) -> None:
    agent.master.desk.hear(agent.link, agent.end(clean=False, signal=11))


def be_evicted(agent: Agent) -> None:
    agent.report(11, 10, requests=REQUESTS, final=True, users=0)
    agent.bye(sequence=11)


def be_evicted_and_say_the_bye_first(agent: Agent) -> None:
    agent.bye(sequence=11)
    agent.report(11, 10, requests=REQUESTS, final=True, users=0)


async def replaced(folder: Path, end: Callable[[Agent], None]) -> tuple[Master, Agent]:
    """Return a master that knows everything, and the second attempt of a worker whose first ended while it waited."""
    master, (slow, first) = await waiting(folder)
    come(first, master)
    first.bequeath(LOADED_NS)
    end(first)
    master.clock.advance(3)
    second = Agent(master, 1, attempt=2)
    assert second.join() is None
    second.beat(EngineStage.READY, users=0)
    come(slow, master)
    slow.bequeath(LOADED_NS)
    await turns()
    second.beat(EngineStage.READY, users=0)
    master.conductor.tick()
    return master, second


@promise("master-restart", "worker-replaced")
@pytest.mark.parametrize("end", [die, be_evicted, be_evicted_and_say_the_bye_first])
def test_who_has_taken_the_place_of_a_worker_that_ended_while_a_master_took_over_lives_on(
    tmp_path: Path, end: Callable[[Agent], None]
) -> None:
    async def story() -> None:
        master, second = await replaced(tmp_path, end)

        member = master.conductor.roster.members[1]
        assert (member.attempt, member.state) == (2, WorkerState.READY)
        assert not member.has_said_bye
        assert not master.conductor.crew.has_left(1, 2)
        assert all(each.WhichOneof("kind") != "leave" for each in second.told)

    asyncio.run(story())


@promise("master-restart", "exact-totals")
@pytest.mark.parametrize("end", [be_evicted, be_evicted_and_say_the_bye_first])
def test_what_was_replaced_while_a_master_took_over_is_counted_as_its_bye_has_it(
    tmp_path: Path, end: Callable[[Agent], None]
) -> None:
    async def story() -> None:
        master, _ = await replaced(tmp_path, end)

        totals = master.conductor.measurement.merge.totals()
        assert (totals.requests, totals.unaccounted_at_least) == (REQUESTS, False)

    asyncio.run(story())
