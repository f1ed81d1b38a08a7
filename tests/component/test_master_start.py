"""A real master process before the load: who is waited for, what keeps it from starting, who is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.component.master_process import master_of, plan_of, scenario, users
from tests.component.scripted_agent import DIGEST, Agent, until

from loadstone_core.units import SECOND
from loadstone_protocol.follower import Follower, MasterRefused
from loadstone_protocol.v1 import coordination_pb2, engine_pb2

if TYPE_CHECKING:
    from pathlib import Path


def test_nobody_starts_before_every_worker_has_acknowledged(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct()
            first = await master.join(0)
            await until(lambda: first.body.run_state == engine_pb2.READY_STATE)
            await asyncio.sleep(0.5)
            assert first.body.run_state == engine_pb2.READY_STATE
            second = await master.join(1)
            await asyncio.gather(first.running(), second.running())
            assert first.body.start_at_ns == second.body.start_at_ns
            assert first.applied.sha256 == second.applied.sha256

    scenario(run())


def test_a_master_takes_more_workers_than_a_container_may_have_open_files_to_begin_with(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(40, 600), workers=40), tmp_path, open_files=48) as master:
            await master.direct()
            agents = await master.crew(40)
            assert all(agent.acknowledged for agent in agents)

    scenario(run())


def test_the_startup_timeout_names_who_is_missing(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1), workers=3, startup_timeout_ns=2 * SECOND), tmp_path) as master:
            await master.direct()
            agent = await master.join(1)
            report = await master.outcome(master.follow())
            await agent.stopped()
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "StartupTimeout")
            assert "workers 0, 2 of 3 to connect" in report.outcome.message

    scenario(run())


def test_different_script_files_end_the_run_with_worker_and_digests(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct()
            await master.join(0)
            other = await master.join(1, digest="sha256:" + "cd" * 32)
            report = await master.outcome(master.follow())
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "ConfigConflict")
            assert "worker 1 (pod-1)" in report.outcome.message
            assert other.digest in report.outcome.message
            assert DIGEST in report.outcome.message
            await other.stopped()

    scenario(run())


@pytest.mark.parametrize("who", ["director", "engine"])
def test_a_script_that_cannot_be_imported_ends_the_run_with_the_traceback(tmp_path: Path, who: str) -> None:
    async def run() -> None:
        problem: dict[str, Any] = {
            "ok": False,
            "problem": "test.py line 3: SyntaxError",
            "traceback": "    users =\n          ^",
        }
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct(script=problem if who == "director" else None)
            if who == "engine":
                summary = coordination_pb2.EngineSummary(
                    engine=0,
                    start=1,
                    script=engine_pb2.ScriptReport(**problem),
                    status=engine_pb2.EngineStatus(),
                )
                await master.join(0, engines=[summary])
            report = await master.outcome(master.follow())
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "ScriptInvalid")
            assert "SyntaxError" in report.outcome.message
            assert "users =" in report.outcome.message

    scenario(run())


def test_a_worker_that_ends_after_the_verdict_is_let_go_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        problem = engine_pb2.ScriptReport(problem="no such module")
        broken = coordination_pb2.EngineSummary(engine=0, start=1, script=problem, status=engine_pb2.EngineStatus())
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct()
            late = await master.join(0)
            await until(lambda: late.applied is not None)
            await master.join(1, engines=[broken])
            report = await master.outcome(master.follow())
            assert report.outcome.reason == "ScriptInvalid"
            await late.stopped()
            await asyncio.wait_for(late.bye(), 2)
            assert late.left_with is True

    scenario(run())


def test_a_setup_that_fails_ends_the_run_before_any_load(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            await master.direct(setup={"ok": False, "problem": "KeyError: 'token'", "requests": 1})
            report = await master.outcome(master.follow())
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "SetupFailed")
            assert "KeyError" in report.outcome.message

    scenario(run())


def test_strangers_are_refused_with_a_sentence_and_bad_frames_harm_nobody_else(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            agent = await master.join(0, attempt=2)
            older = await master.join(0, attempt=1)
            assert older.refused.code == coordination_pb2.Refused.FENCED
            stranger = await master.join(7)
            assert stranger.refused.code == coordination_pb2.Refused.UNEXPECTED
            foreign = Agent(master.address, 0, attempt=3)
            master.agents.append(foreign)
            await foreign.connect(major=9)
            assert foreign.refused.code == coordination_pb2.Refused.PROTOCOL
            with pytest.raises(MasterRefused, match="uid-1/1"):
                await anext(aiter(Follower(master.address, "uid-1/2", 1).watch()))
            await agent.running()
            bad = agent.state(0)
            bad.state.stream.worker = 5
            await agent.statistics.write(bad)
            await agent.say()
            newer = await master.join(0, attempt=3)
            await until(lambda: agent.refused.code)
            assert agent.refused.code == coordination_pb2.Refused.FENCED
            await until(lambda: newer.body.run_state == engine_pb2.RUNNING_STATE)

    scenario(run())
