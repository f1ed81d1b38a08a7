"""A disk that takes nothing for a while delays what a master orders, and loses nothing of it; the run ends anyway."""

from __future__ import annotations

import asyncio
import errno
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest
from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, start_load, turns

from loadstone_protocol.messages import EngineStage, Steering
from loadstone_protocol.v1 import coordination_pb2, engine_pb2
from loadstone_runner.master import checkpoints, crew, keeper
from loadstone_runner.master.member import Departure
from loadstone_runner.master.run import Stage
from loadstone_runner.master.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

promise = pytest.mark.promise


def refuse(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@contextmanager
def full_disk() -> Iterator[None]:
    """Let nothing come to be on disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_replace", refuse)
        patch.setattr(Store, "_append", refuse)
        yield


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (checkpoints, crew, keeper):
        monkeypatch.setattr(room, "RETRY_SECONDS", 0.01)


async def running(folder: Path) -> tuple[Clock, Master, list[Agent]]:
    """Return a run whose load began ten seconds ago."""
    clock = Clock()
    master = Master(folder, plan_of(2), clock)
    agents = [Agent(master, 0), Agent(master, 1)]
    await start_load(master, agents)
    clock.advance(10)
    for agent in agents:
        agent.beat()
        agent.report(10, 9)
    return clock, master, agents


def steer(master: Master, revision: int, stop_reason: str | None = None, *, is_paused: bool = False) -> None:
    said = Steering(revision=revision, stop_reason=stop_reason, is_immediate=False, ended=(), is_paused=is_paused)
    master.desk.steer(said)


def let_pass(clock: Clock, master: Master, agents: list[Agent], seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1)
        for agent in agents:
            agent.beat()
        master.conductor.tick()


def orders(agent: Agent) -> list[coordination_pb2.CommonBody]:
    """Return every configuration that an agent was sent."""
    agent.read()
    bodies = [told.config.body for told in agent.told if told.WhichOneof("kind") == "config"]
    return [coordination_pb2.CommonBody.FromString(each) for each in bodies]


@promise("stop-keeps-results")
def test_a_stop_reaches_the_workers_when_the_disk_takes_it_and_they_have_their_whole_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        clock, master, agents = await running(tmp_path)
        with full_disk(), caplog.at_level(logging.INFO):
            steer(master, 1, "Stopped")
            let_pass(clock, master, agents, 15)
        assert {each.run_state for each in orders(agents[0])} == {engine_pb2.READY_STATE, engine_pb2.RUNNING_STATE}
        said = [each.message for each in caplog.records if "register" in each.message]
        assert said == ["The disk takes no register: what is ordered is said when it does"]

        let_pass(clock, master, agents, 1)
        assert [orders(agent)[-1].run_state for agent in agents] == [engine_pb2.STOPPED_STATE] * 2
        assert master.store.read_register().run["state"]["stage"] == Stage.STOPPING_LOAD
        count = len(orders(agents[0]))
        let_pass(clock, master, agents, 10)
        assert len(orders(agents[0])) == count
        assert not master.conductor.roster.lost()

    asyncio.run(check())


def test_whatever_is_wrong_with_what_is_kept_ticks_go_on_and_a_kill_reaches_everybody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> NoReturn:
        raise ValueError("Exceeds the limit (4300 digits) for integer string conversion")

    async def check() -> None:
        clock, master, agents = await running(tmp_path)
        commander = master.conductor.commander
        remember, commander.remember, commander.bequeath = commander.remember, fail, fail
        with caplog.at_level(logging.INFO):
            steer(master, 1, "Stopped")
            let_pass(clock, master, agents, 5)
            assert {each.run_state for each in orders(agents[0])} == {engine_pb2.READY_STATE, engine_pb2.RUNNING_STATE}
            steer(master, 2, "Killed")
            commander.remember = remember
            let_pass(clock, master, agents, 1)
        assert [(told.run_state, told.kill) for each in agents for told in orders(each)[-1:]] == [
            (engine_pb2.STOPPED_STATE, True)
        ] * 2
        said = [each.message for each in caplog.records if each.levelno >= logging.ERROR]
        assert said == [
            "What was decided cannot be kept: nothing but a kill is said until it can",
            "No master in another pod could go on from here: what was decided cannot be told",
        ]

    asyncio.run(check())


@promise("live-load")
def test_a_pause_reaches_the_workers_when_the_disk_takes_it(tmp_path: Path) -> None:
    async def check() -> None:
        clock, master, agents = await running(tmp_path)
        before = len(orders(agents[0]))
        with full_disk():
            steer(master, 1, is_paused=True)
            let_pass(clock, master, agents, 2)
        assert len(orders(agents[0])) == before
        let_pass(clock, master, agents, 1)
        assert len(orders(agents[0])) == before + 1

    asyncio.run(check())


def test_only_the_newest_of_several_orders_is_sent(tmp_path: Path) -> None:
    async def check() -> None:
        clock, master, agents = await running(tmp_path)
        before = orders(agents[0])
        with full_disk():
            steer(master, 1, is_paused=True)
            let_pass(clock, master, agents, 1)
            steer(master, 2, "Stopped")
        let_pass(clock, master, agents, 2)
        sent = orders(agents[0])[len(before) :]
        assert [each.run_state for each in sent] == [engine_pb2.STOPPED_STATE]

    asyncio.run(check())


async def ready(master: Master, agents: list[Agent]) -> None:
    """Bring a run so far that its load may begin."""
    master.bring_director()
    master.director_says(script=engine_pb2.ScriptReport(ok=True))
    for agent in agents:
        agent.join()
    master.director_says(setup=engine_pb2.SetupReport(ok=True))


def test_the_load_begins_when_the_disk_takes_its_start_and_is_not_late(tmp_path: Path) -> None:
    async def check() -> None:
        clock = Clock()
        master = Master(tmp_path, plan_of(2), clock)
        agents = [Agent(master, 0), Agent(master, 1)]
        await ready(master, agents)
        with full_disk():
            for agent in agents:
                agent.beat(EngineStage.READY)
            clock.advance(5)
            master.conductor.tick()
            await turns(2)
            assert (master.conductor.state.stage, orders(agents[0])[-1].run_state) == (
                Stage.ARMED,
                engine_pb2.READY_STATE,
            )
            assert master.conductor.commander.since_start_ns() < 0
        master.conductor.tick()
        assert orders(agents[0])[-1].start_at_ns > clock.now
        clock.advance(1)
        await turns(40)
        assert master.conductor.state.stage is Stage.RUNNING_LOAD
        let_pass(clock, master, agents, 70)
        assert master.conductor.state.stage is Stage.RUNNING_LOAD, "startupTimeout is over with the start"

    asyncio.run(check())


@pytest.mark.parametrize("is_full_before_ready", [True, False])
@pytest.mark.parametrize("quorum", [None, 1])
def test_a_load_whose_start_the_disk_never_takes_is_not_waited_for_without_an_end(
    tmp_path: Path, *, is_full_before_ready: bool, quorum: int | None
) -> None:
    async def check() -> None:
        clock = Clock()
        master = Master(tmp_path, plan_of(2, min_available=quorum), clock)
        agents = [Agent(master, worker) for worker in range(quorum or 2)]
        if not is_full_before_ready:
            await ready(master, agents)
        with full_disk():
            if is_full_before_ready:
                await ready(master, agents)
            for agent in agents:
                agent.beat(EngineStage.READY)
            for _ in range(200):
                clock.advance(1)
                for agent in agents:
                    agent.beat(EngineStage.READY)
                master.conductor.tick()
        assert master.conductor.ending.finished.is_set()
        outcome = master.conductor.ending.outcome
        assert (outcome.verdict, outcome.reason) == ("Error", "StartupTimeout")
        assert "the disk of the master" in outcome.message

    asyncio.run(check())


def test_a_run_whose_disk_is_full_at_its_end_is_finished_and_that_is_kept_later(tmp_path: Path) -> None:
    async def check() -> None:
        _, master, agents = await running(tmp_path)
        steer(master, 1, "Stopped")
        for agent in agents:
            agent.report(11, 10, final=True, users=0)
            agent.bye(sequence=11)
        await turns()
        with full_disk():
            master.director_says(setup=engine_pb2.SetupReport(teardown=True, ok=True))
            assert master.conductor.ending.finished.is_set()
            assert master.conductor.ending.outcome.verdict == "Aborted"
        assert not master.store.read_register().is_finished
        await turns()
        assert master.store.read_register().is_finished
        assert master.store.read_last_word()["verdict"] == "Aborted"

    asyncio.run(check())


def test_a_run_whose_disk_stays_full_ends_when_its_workers_should_have(tmp_path: Path) -> None:
    async def check() -> None:
        clock, master, agents = await running(tmp_path)
        with full_disk():
            steer(master, 1, "Stopped")
            let_pass(clock, master, agents, 60)
        assert master.conductor.ending.finished.is_set()
        assert master.conductor.ending.outcome.verdict == "Aborted"

    asyncio.run(check())


@promise("master-restart", "exact-totals")
def test_lost_streams_are_kept_when_the_disk_takes_them(tmp_path: Path) -> None:
    async def check() -> None:
        clock, master, agents = await running(tmp_path)
        agents[1].report(11, 10, requests=1_000)
        with full_disk():
            master.desk.hear(agents[1].link, agents[1].end(clean=False, signal=9))
            master.conductor.lose(1, 1, Departure("Error", "gone", 137))
            master.conductor.tick()
            await master.conductor.checkpoints.finish()
        assert master.store.read_lost() == []
        master.conductor.checkpoints.hurry()
        let_pass(clock, master, agents[:1], 1)
        await master.conductor.checkpoints.finish()

        again = Master(tmp_path, plan_of(2), clock)
        assert again.conductor.measurement.merge.totals().requests == 1_000

    asyncio.run(check())


@promise("master-restart")
def test_workers_that_have_ended_are_let_go_when_the_disk_takes_what_they_ended_with(tmp_path: Path) -> None:
    async def check() -> None:
        _, master, agents = await running(tmp_path)
        steer(master, 1, "Stopped")
        with full_disk():
            agents[0].report(11, 10, final=True, users=0)
            agents[0].bye(sequence=11)
            await turns()
            assert not master.conductor.crew.has_left(0, 1)
        agents[1].report(11, 10, final=True, users=0)
        agents[1].bye(sequence=11)
        await turns()
        assert all(master.conductor.crew.has_left(worker, 1) for worker in (0, 1))
        assert len(master.store.read_ended()) == 2

    asyncio.run(check())


@promise("master-lost")
def test_a_run_is_taken_over_though_the_disk_was_full_and_who_has_what_is_kept_first(tmp_path: Path) -> None:
    async def check() -> None:
        clock, _, agents = await running(tmp_path / "first")
        (tmp_path / "second").mkdir()
        master = Master(tmp_path / "second", plan_of(2), clock, epoch=2)
        with full_disk():
            for agent in agents:
                agent.move_to(master)
                agent.bequeath(10_000_000_000)
            steer(master, 1, "Stopped")
            assert not master.conductor.inheritance.is_awaited
            let_pass(clock, master, agents, 1)
        assert (master.store.read_grants(), master.store.read_register()) == (None, None)
        master.conductor.tick()
        assert master.store.read_register() is None, "who has what is not on disk yet"
        await turns()
        assert master.store.read_grants()
        master.conductor.tick()
        assert master.store.read_register().run["state"]["stop"] == "Stopped"
        assert [orders(agent)[-1].run_state for agent in agents] == [engine_pb2.STOPPED_STATE] * 2

    asyncio.run(check())


@promise("kill-switch")
def test_a_kill_waits_for_no_disk(tmp_path: Path) -> None:
    async def story() -> None:
        clock, master, agents = await running(tmp_path)
        with full_disk():
            steer(master, 2, "Killed")
            assert [orders(agent)[-1].kill for agent in agents] == [True, True]
            let_pass(clock, master, agents, 2)
            assert [sum(each.kill for each in orders(agent)) for agent in agents] == [1, 1]
        assert master.conductor.commander.unsent is None
        while not (register := master.store.read_register()) or register.run["state"]["stop"] != "Killed":
            await turns(1)

    asyncio.run(story())
