"""What does not come in time at the end of a run is not waited for, and everything has a time of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, start_load, turns

from loadstone_core.units import SECOND
from loadstone_protocol.messages import Steering
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.master import run
from loadstone_runner.master.run import Stage

if TYPE_CHECKING:
    from pathlib import Path

promise = pytest.mark.promise
DRAINED_SECONDS = 3 + 15  # gracefulStop of the plan, and the time for last states
TORN_DOWN_SECONDS = 30


async def stopping(
    folder: Path, *, is_immediate: bool = False, graceful_seconds: int = 3
) -> tuple[Clock, Master, list[Agent]]:
    """Return a run that was stopped, of which worker 0 has ended and worker 1 says nothing but that it is there."""
    clock, plan = Clock(), plan_of(2)
    scenarios = tuple(replace(each, graceful_stop_ns=graceful_seconds * SECOND) for each in plan.scenarios)
    master = Master(folder, replace(plan, scenarios=scenarios), clock)
    agents = [Agent(master, 0), Agent(master, 1)]
    await start_load(master, agents)
    clock.advance(10)
    for agent in agents:
        agent.beat()
        agent.report(10, 9)
    master.desk.steer(Steering(revision=1, stop_reason="Stopped", is_immediate=is_immediate, ended=()))
    agents[0].report(11, 10, final=True, users=0)
    agents[0].bye(sequence=11)
    return clock, master, agents


def let_pass(clock: Clock, master: Master, agents: list[Agent], seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1)
        for agent in agents:
            agent.beat()
        master.conductor.tick()


def was_teardown_asked(master: Master) -> bool:
    return any(sent.setup.teardown for sent in master.to_director.sent if sent.WhichOneof("kind") == "setup")


@promise("script-setup")
def test_teardown_is_awaited_though_a_worker_did_not_report_its_end_in_time(tmp_path: Path) -> None:
    async def check() -> None:
        clock, master, agents = await stopping(tmp_path)
        let_pass(clock, master, agents[1:], DRAINED_SECONDS - 1)
        assert not was_teardown_asked(master)
        let_pass(clock, master, agents[1:], 2)
        await turns()
        assert (was_teardown_asked(master), master.conductor.ending.outcome) == (True, None)

        report = engine_pb2.SetupReport(teardown=True, ok=False, problem="clean() raised KeyError", requests=7)
        master.director_says(setup=report)
        assert master.conductor.state.stage is Stage.FINISHED
        assert master.conductor.outside["teardown"] == 7
        assert any("teardown failed: clean() raised KeyError" in each for each in master.conductor.ending.findings)

    asyncio.run(check())


@promise("script-setup")
def test_a_teardown_that_does_not_end_is_not_waited_for_longer_than_its_time(tmp_path: Path) -> None:
    async def check() -> None:
        clock, master, agents = await stopping(tmp_path)
        let_pass(clock, master, agents[1:], DRAINED_SECONDS + TORN_DOWN_SECONDS - 1)
        assert master.conductor.ending.outcome is None
        let_pass(clock, master, agents[1:], 2)
        assert master.conductor.ending.finished.is_set()

    asyncio.run(check())


@promise("stop-keeps-results")
def test_a_worker_has_the_time_at_an_immediate_stop_that_it_was_told_of(tmp_path: Path) -> None:
    async def check() -> None:
        clock, master, agents = await stopping(tmp_path, is_immediate=True, graceful_seconds=300)
        # Ten seconds for its iterations, and then for its last states.
        let_pass(clock, master, agents[1:], 10 + 15 - 1)
        assert not was_teardown_asked(master)
        agents[1].report(11, 10, final=True, users=0)
        agents[1].bye(sequence=11)
        await turns()

        assert was_teardown_asked(master)
        assert not list(master.conductor.relief.losses)

    asyncio.run(check())


@promise("script-setup")
def test_a_teardown_that_is_cut_off_is_told_and_another_stop_gives_it_no_more_time(tmp_path: Path) -> None:
    async def check() -> None:
        clock, master, agents = await stopping(tmp_path)
        agents[1].report(11, 10, final=True, users=0)
        agents[1].bye(sequence=11)
        await turns()
        assert was_teardown_asked(master)
        let_pass(clock, master, [], TORN_DOWN_SECONDS - 1)
        master.desk.steer(Steering(revision=2, stop_reason="Stopped", is_immediate=True, ended=()))
        assert master.conductor.ending.outcome is None
        let_pass(clock, master, [], 2)
        await turns()

        assert master.conductor.ending.outcome is not None
        assert any("teardown did not end within 30 s" in each.message for each in master.conductor.notes)

    asyncio.run(check())


@promise("script-setup")
def test_a_start_that_is_hopeless_ends_with_its_teardown_and_a_load_that_has_begun_goes_on(tmp_path: Path) -> None:
    async def check() -> None:
        why = {"hopeless": "no such image", "hopeless_reason": "ImagePull"}
        said = Steering(revision=1, stop_reason=None, is_immediate=False, ended=(), **why)
        early = Master(tmp_path / "early", plan_of(2), Clock())
        early.bring_director()
        early.director_says(script=engine_pb2.ScriptReport(ok=True))
        Agent(early, 0).join()
        early.director_says(setup=engine_pb2.SetupReport(ok=True))
        early.desk.steer(said)
        assert (was_teardown_asked(early), early.conductor.ending.outcome) == (True, None)
        early.director_says(setup=engine_pb2.SetupReport(teardown=True, ok=True))
        early.desk.steer(replace(said, revision=2))
        outcome = early.conductor.ending.outcome
        assert outcome is not None
        assert (outcome.verdict, outcome.reason, outcome.message) == ("Error", "ImagePull", "no such image")

        loaded = Master(tmp_path / "loaded", plan_of(1), Clock())
        await start_load(loaded, [Agent(loaded, 0)])
        loaded.desk.steer(said)
        assert loaded.conductor.state.stage is Stage.RUNNING_LOAD

    asyncio.run(check())


@promise("exact-totals")
def test_how_long_a_load_ran_is_known_though_its_workers_end_by_themselves(tmp_path: Path) -> None:
    async def check() -> None:
        clock = Clock()
        master = Master(tmp_path, plan_of(2, max_lost_percent=100), clock)
        agents = [Agent(master, 0), Agent(master, 1)]
        await start_load(master, agents)
        clock.advance(10)
        master.conductor.handle(run.WorkersOver())

        assert was_teardown_asked(master)
        assert master.conductor.load_ns is not None

    asyncio.run(check())
