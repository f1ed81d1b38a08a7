"""Nothing that is said to a master before it knows what the one before has decided is taken for news of a new run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, turns
from tests.unit.runner.master.second_master import LOADED_NS, REQUESTS, another, begun, come, waiting

from loadstone_core.verdict.reasons import Reason
from loadstone_protocol.messages import EngineStage, Hello, Refusal, RefusalCode, ScriptNews
from loadstone_protocol.v1 import engine_pb2
from loadstone_protocol.version import PROTOCOL_MAJOR
from loadstone_runner.master.member import WorkerState
from loadstone_runner.master.run import Stage
from loadstone_runner.transport.grpc.links import AgentLink

if TYPE_CHECKING:
    from pathlib import Path

promise = pytest.mark.promise
OUT_OF_MEMORY = {"event": "exited", "engine": 0, "start": 1, "code": None, "signal": 9, "tail": "", "oom": True}


def refused_for_its_release(agent: Agent) -> Refusal | None:
    """Let an agent come that speaks another major version of the protocol."""
    hello = Hello(
        peer=agent.peer,
        protocol_major=PROTOCOL_MAJOR + 1,
        protocol_minor=0,
        script_digest="sha256:1",
        engines=1,
        highest_epoch=1,
    )
    return agent.master.desk.join(hello, AgentLink(agent.peer, asyncio.current_task()))


@promise("master-restart", "stop-keeps-results")
def test_a_script_that_stops_the_run_while_a_master_takes_over_stops_the_load_that_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        master, agents = await waiting(tmp_path)
        for agent in agents:
            come(agent, master, stop_asked="the basket is empty")
        assert master.conductor.state.stop is None
        for agent in agents:
            agent.bequeath(LOADED_NS)

        assert master.conductor.state.stage is Stage.STOPPING_LOAD
        assert master.conductor.state.stop_message == "the script stopped the run: the basket is empty"

    asyncio.run(story())


@promise("master-restart", "stop-keeps-results")
def test_a_master_that_is_lost_while_a_run_ends_as_its_script_wants_costs_no_results(tmp_path: Path) -> None:
    async def story() -> None:
        first, agents = await begun(tmp_path / "first")
        for agent in agents:
            agent.beat(EngineStage.STOPPING, stop_asked="the basket is empty")
        master = another(first, tmp_path / "second")
        for agent in agents:
            come(agent, master, stage=EngineStage.STOPPING, stop_asked="the basket is empty")
        for agent in agents:
            agent.bequeath(LOADED_NS)
            agent.report(11, 10, requests=REQUESTS, final=True, users=0)
            agent.bye(sequence=11)
        await turns()

        assert master.conductor.state.is_torn_down
        assert master.conductor.measurement.merge.totals().requests == 2 * REQUESTS

    asyncio.run(story())


@promise("master-restart", "worker-replaced")
def test_a_worker_that_cannot_take_part_while_a_master_takes_over_is_done_without(tmp_path: Path) -> None:
    async def story() -> None:
        master, agents = await waiting(tmp_path)
        come(agents[0], master)
        late = Agent(master, 1, attempt=2)
        late.join()
        problem = ScriptNews(is_ok=False, problem="too few local ports", traceback="", is_preflight=True)
        late.beat(EngineStage.LOADING, users=0, script=problem)
        agents[0].bequeath(LOADED_NS)
        late.bequeath(0)
        await turns()
        late.beat(EngineStage.LOADING, users=0, script=problem)

        assert master.conductor.state.stage is Stage.RUNNING_LOAD
        assert master.conductor.roster.members[1].state is WorkerState.LOST

    asyncio.run(story())


@promise("master-restart")
def test_a_worker_of_another_release_ends_no_load_while_a_master_takes_over(tmp_path: Path) -> None:
    async def story() -> None:
        master, agents = await waiting(tmp_path)
        refusal = refused_for_its_release(Agent(master, 1, attempt=2))
        for agent in agents:
            come(agent, master)
            agent.bequeath(LOADED_NS)
        await turns()

        assert refusal is not None
        assert refusal.code is RefusalCode.PROTOCOL
        assert master.conductor.state.stage is Stage.RUNNING_LOAD

    asyncio.run(story())


@promise("config-conflict")
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_worker_of_another_release_ends_a_run_that_waits_for_it(tmp_path: Path, epoch: int) -> None:
    async def story() -> None:
        master = Master(tmp_path, plan_of(2), Clock(), epoch=epoch, has_begun=False)
        refused_for_its_release(Agent(master, 1))
        if epoch > 1:
            agent = Agent(master, 0)
            agent.join()
            agent.bequeath(0)
            master.clock.advance(60)
            master.conductor.tick()

        outcome = master.conductor.ending.outcome
        assert outcome is not None
        assert outcome.reason == Reason.CONFIG_CONFLICT

    asyncio.run(story())


@promise("master-restart")
def test_a_director_that_dies_while_a_master_takes_over_leaves_a_plain_load_alone(tmp_path: Path) -> None:
    async def story() -> None:
        master, agents = await waiting(tmp_path)
        master.director.on_event(OUT_OF_MEMORY)
        for agent in agents:
            come(agent, master)
            agent.bequeath(LOADED_NS)
        await turns()

        assert master.conductor.state.stage is Stage.RUNNING_LOAD
        assert any("teardown was not run" in each.message for each in master.conductor.notes)

    asyncio.run(story())


def lost_with_what_handlers_knew(master: Master) -> bool:
    """Say whether the one thing that has ended a run is the loss of its director, with that."""
    [broke] = master.conductor.state.broke
    return broke.reason is Reason.DIRECTOR_LOST and "what handlers of custom messages knew" in broke.message


@promise("director-lost", "master-restart")
def test_what_handlers_of_messages_knew_is_lost_with_the_pod_of_the_master(tmp_path: Path) -> None:
    async def story() -> None:
        first, agents = await begun(tmp_path / "first", handles_messages=True)
        assert first.conductor.state.stage is Stage.RUNNING_LOAD
        master = another(first, tmp_path / "second")
        master.bring_director()
        master.director_says(script=engine_pb2.ScriptReport(ok=True, handles_messages=True))
        for agent in agents:
            come(agent, master)
            agent.bequeath(LOADED_NS)
        await turns()

        assert lost_with_what_handlers_knew(master)

    asyncio.run(story())


@promise("director-lost", "master-restart")
def test_a_director_that_handles_messages_and_dies_while_its_master_is_started_again_ends_the_run(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        first, agents = await begun(tmp_path / "first", handles_messages=True)
        again = Master(tmp_path / "first", plan_of(2), first.clock)
        for agent in agents:
            come(agent, again)
        again.director.on_event(OUT_OF_MEMORY)
        await turns()

        assert lost_with_what_handlers_knew(again)

    asyncio.run(story())


@promise("master-restart", "stop-keeps-results")
def test_a_stop_that_the_director_asks_for_while_a_master_takes_over_stops_the_load_that_goes_on(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        master, agents = await waiting(tmp_path)
        master.bring_director()
        master.director_says(status=engine_pb2.EngineStatus(stop_asked="the queue is full"))
        for agent in agents:
            come(agent, master)
            agent.bequeath(LOADED_NS)

        assert master.conductor.state.stage is Stage.STOPPING_LOAD

    asyncio.run(story())
