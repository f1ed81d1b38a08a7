"""Teardown is asked for again by a master that was started again while it ran: it is done once, and told as often."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, start_load, turns

from loadstone_protocol.messages import Steering
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.master.run import Stage

if TYPE_CHECKING:
    from pathlib import Path

promise = pytest.mark.promise
FAILED = engine_pb2.SetupReport(teardown=True, ok=False, problem="teardown clean() raised KeyError: 'id'", requests=7)


def asked(master: Master) -> list[bool]:
    """Return what the director was asked for: True is teardown."""
    return [each.setup.teardown for each in master.to_director.sent if each.WhichOneof("kind") == "setup"]


async def torn_down(folder: Path, *, is_stopped: bool) -> tuple[Master, list[Agent]]:
    """Return a master that waits for teardown, after a load that was stopped or whose workers have all ended."""
    master = Master(folder, plan_of(2), Clock())
    agents = [Agent(master, 0), Agent(master, 1)]
    await start_load(master, agents)
    master.clock.advance(10)
    for agent in agents:
        agent.beat()
    if is_stopped:
        master.desk.steer(Steering(revision=1, stop_reason="Stopped", is_immediate=False, ended=()))
    for agent in agents:
        agent.report(11, 10, requests=100, final=True, users=0)
        agent.bye(sequence=11)
    await turns()
    assert asked(master) == [False, True]
    return master, agents


@promise("master-restart")
@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "by themselves"])
def test_how_a_teardown_went_is_told_though_the_master_was_started_again_meanwhile(
    tmp_path: Path, *, is_stopped: bool
) -> None:
    async def story() -> None:
        before, _ = await torn_down(tmp_path, is_stopped=is_stopped)
        before.conductor.checkpoints.look()
        await turns()
        master = Master(tmp_path, plan_of(2), before.clock)
        master.bring_director()
        master.director_says(script=engine_pb2.ScriptReport(ok=True))
        master.conductor.tick()
        assert asked(master)[-1:] == [True]
        master.clock.advance(1)
        master.director_says(setup=FAILED)
        master.conductor.tick()

        assert master.conductor.state.stage is Stage.FINISHED
        assert master.conductor.outside["teardown"] == FAILED.requests
        assert any("teardown failed" in each for each in master.conductor.ending.findings)

    asyncio.run(story())
