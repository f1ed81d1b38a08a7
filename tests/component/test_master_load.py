"""A real master process while the load runs: it is steered, and its director is told how it goes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.component.master_process import master_of, plan_of, scenario, steering, users
from tests.component.scripted_agent import until

from loadstone_core.units import SECOND
from loadstone_protocol.v1 import control_pb2, engine_pb2

if TYPE_CHECKING:
    from pathlib import Path


def test_a_load_is_paused_resumed_and_aimed_anew_for_everybody_at_one_moment(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(4, 30), workers=2), tmp_path) as master:
            await master.direct()
            agents = [await master.join(worker) for worker in range(2)]
            await asyncio.gather(*(agent.running() for agent in agents))
            follower = master.follow()

            async def steered(revision: int, holds: Any, **wish: Any) -> engine_pb2.LoadPlan:
                await follower.steer(steering(revision, **wish))
                await until(lambda: all(holds(agent.body.scenarios[0]) for agent in agents))
                assert agents[0].body == agents[1].body
                plan: engine_pb2.LoadPlan = agents[0].body.scenarios[0]
                began_ns = agents[0].body.start_at_ns + plan.start_ns
                assert abs(time.monotonic_ns() - began_ns) < 5 * SECOND
                return plan

            await until(lambda: agents[0].body.run_state == engine_pb2.RUNNING_STATE)
            aims = [control_pb2.Aim(scenario="default", value=10, spawn_rate=2)]
            aimed = await steered(1, lambda plan: plan.segments[-1].to_value == 10, aims=aims)
            assert [(each.from_value, each.to_value) for each in aimed.segments] == [(4, 10), (10, 10)]
            assert aimed.start_ns + aimed.end_ns == 30 * SECOND
            paused = await steered(2, lambda plan: plan.segments[-1].to_value == 0, aims=aims, paused=True)
            assert paused.end_ns == 0
            async for report in follower.watch():
                if report.paused:
                    break
            resumed = await steered(3, lambda plan: plan.end_ns > 0, aims=aims)
            assert resumed.segments[-1].to_value == 10
            assert resumed.start_ns + resumed.end_ns - 30 * SECOND == resumed.start_ns - paused.start_ns
            await follower.steer(steering(4, stop_reason="Stopped", aims=aims))
            await asyncio.gather(*(agent.stopped() for agent in agents))
            await asyncio.gather(*(agent.bye() for agent in agents))
            await master.finish()

    scenario(run())


def test_values_of_the_script_reach_everybody_and_it_is_said_when_they_have(tmp_path: Path) -> None:
    async def run() -> None:
        plan = replace(plan_of(users(4, 30), workers=2), config={"size": "3"})
        async with master_of(plan, tmp_path) as master:
            director = await master.direct()
            agents = [await master.join(worker) for worker in range(2)]
            await asyncio.gather(*(agent.running() for agent in agents))
            assert [dict(agent.body.config) for agent in agents] == [{"size": "3"}] * 2
            assert dict(director.configs[0].config) == {"size": "3"}
            follower = master.follow()
            await until(lambda: agents[0].body.run_state == engine_pb2.RUNNING_STATE)

            values = control_pb2.Values(values={"size": "4", "new": "x"})
            await follower.steer(steering(1, config=values))
            await until(lambda: all(agent.body.config["size"] == "4" for agent in agents))
            assert dict(director.configs[-1].config) == {"size": "4", "new": "x"}
            async for report in follower.watch():
                if report.config_revision > 1:
                    break
            await follower.steer(steering(2))
            await until(lambda: all(dict(agent.body.config) == {"size": "3"} for agent in agents))
            await follower.steer(steering(3, stop_reason="Stopped"))
            await asyncio.gather(*(agent.stopped() for agent in agents))
            await asyncio.gather(*(agent.bye() for agent in agents))
            await master.finish()

    scenario(run())


def test_a_director_hears_each_second_how_its_run_is_and_what_happens_to_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(6, 4), workers=6), tmp_path) as master:
            director = await master.direct()
            agents = [await master.join(worker) for worker in range(6)]
            await asyncio.gather(*(agent.running() for agent in agents))
            await asyncio.gather(*(agent.load(seconds=1, users=1, requests=5) for agent in agents))
            await until(lambda: len(director.events) == 2)
            lost, *others = agents
            end = lost.end(clean=False, signal=9)
            await lost.say(engine_end=end)
            await asyncio.gather(*(agent.stopped() for agent in others))
            await asyncio.gather(lost.say_bye(end), *(agent.bye() for agent in others))
            await master.finish()

            kinds = [event.kind for event in director.events]
            event = engine_pb2.RunEvent
            assert kinds == [event.TEST_START, event.SPAWNING_COMPLETE, event.WORKER_LOST, event.TEST_STOP]
            assert director.events[2].worker == 0
            assert "signal 9" in director.events[2].message
            seconds = [each["seconds"] for each in director.summaries]
            assert seconds == sorted(set(seconds))
            assert {1, 2} <= set(seconds)
            full = [each for each in director.summaries if each["requests"] == 30]
            assert full[0]["p95Micros"] == pytest.approx(10_000, rel=0.01)
            assert full[0]["scenarios"]["default"]["users"] in {5, 6}
            assert full[-1]["scenarios"]["default"]["users"] == 5

    scenario(run())
