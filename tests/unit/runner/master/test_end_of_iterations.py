"""The end of a load of iterations is looked for a few times a second, and not with each of thousands of reports."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, start_load

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.stream import Counters, StreamId
from loadstone_protocol.v1 import coordination_pb2
from loadstone_runner.master.account import Account, Iterations
from loadstone_runner.master.run import Stage
from loadstone_runner.master.workload import Workload
from loadstone_runner.transport.grpc.links import StatisticsLink

if TYPE_CHECKING:
    from pathlib import Path

FOREVER = Profile((Segment(0, FOREVER_NS, 10, 10),), None)
WORKERS = 3


def scenario_of(model: Model) -> Scenario:
    return Scenario(name="default", load=LoadProfile(model, FOREVER, 30), graceful_stop_ns=0)


async def running(folder: Path, model: Model = Model.ITERATIONS) -> tuple[Master, list[Agent]]:
    master = Master(folder, plan_of(WORKERS, scenarios=(scenario_of(model),)), Clock())
    agents = [Agent(master, worker) for worker in range(WORKERS)]
    await start_load(master, agents)
    master.clock.advance(1)
    return master, agents


class Unseen(dict):
    """What is there, and is not to be looked through."""

    def items(self):
        raise AssertionError("these may be thousands")

    __iter__ = keys = values = items


def report(agent: Agent, sequence: int, completed: int) -> None:
    counters = Counters(started=completed, completed=completed, scenarios=((completed, completed),))
    state = replace(agent.state(sequence, 0), counters=counters)
    agent.master.desk.report(StatisticsLink(agent.peer), state)


def test_reports_are_taken_in_and_the_next_tick_finds_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, look = [], Workload.look
    monkeypatch.setattr(Workload, "look", lambda *args, **more: looks.append(1) or look(*args, **more))

    async def check() -> None:
        master, agents = await running(tmp_path)
        looks.clear()
        for sequence in range(1, 10):
            for agent in agents:
                report(agent, sequence, sequence)
        assert not looks
        master.conductor.tick()
        assert (len(looks), master.conductor.state.stage) == (1, Stage.RUNNING_LOAD)
        for agent in agents:
            report(agent, 10, 10)
        master.conductor.tick()
        assert (len(looks), master.conductor.state.stage) == (2, Stage.STOPPING_LOAD)

    asyncio.run(check())


def test_an_engine_that_fails_after_the_last_iteration_takes_no_load_with_it(tmp_path: Path) -> None:
    async def check() -> None:
        master, agents = await running(tmp_path)
        for agent in agents:
            report(agent, 1, 10)
        for agent in agents[:2]:
            master.desk.hear(agent.link, agent.end(clean=False))
        agents[2].read()
        assert coordination_pb2.CommonBody.FromString(agents[2].config.body).stop_reason == "the load is done"

    asyncio.run(check())


@pytest.mark.parametrize("model", [Model.USERS, Model.RATE])
def test_what_lost_workers_left_undone_is_asked_of_iterations_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    def refuse(*_: object) -> int:
        raise AssertionError("nobody has to know")

    monkeypatch.setattr(Workload, "_abandoned", refuse)

    async def check() -> None:
        master, _ = await running(tmp_path, model)
        master.conductor.tick()

    asyncio.run(check())


def test_what_a_worker_has_completed_is_known_without_a_look_at_the_streams_of_others() -> None:
    account = Account(scenario_of(Model.ITERATIONS), place=0)
    for agent in range(WORKERS):
        for start in (1, 2):
            stream = StreamId(agent, 1, 0, start)
            account.end(stream, Counters(scenarios=((9, 4),)))
            account.end(stream, Counters(scenarios=((9, 3),)))
    account.iterations._completed = Unseen(account.iterations._completed)

    assert [account.iterations.completed_by(worker, 1) for worker in range(WORKERS)] == [8] * WORKERS
    assert (account.iterations.completed_by(0, 2), Iterations().completed_by(0, 1)) == (0, 0)
