"""A real master process whose workers, connections or own life end before the run does."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING

from tests.component.master_process import IN_TIME, iterations, master_of, plan_of, scenario, steering, users
from tests.component.scripted_agent import Agent, until

from loadstone_core.spec.model import MasterOnLoss
from loadstone_core.units import SECOND
from loadstone_protocol.codec import stream_id_to_message, stream_state_from_bytes, stream_state_from_message
from loadstone_protocol.v1 import control_pb2, coordination_pb2
from loadstone_runner.master.store import Register, Store

if TYPE_CHECKING:
    from pathlib import Path


def test_iterations_that_were_granted_to_a_lost_worker_are_not_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(iterations(600), workers=6), tmp_path) as master:
            await master.direct()
            agents = await master.crew(6)
            killed, *others = agents
            killed.iterate(40)
            end = killed.end(clean=False, signal=9)
            await killed.say(engine_end=end)
            for agent in others:
                agent.iterate(100)
                await agent.send(agent.state(0))
            await asyncio.gather(*(agent.stopped() for agent in others))
            await asyncio.gather(killed.say_bye(end), *(agent.bye() for agent in others))
            report, _ = await master.finish()
            load = json.loads(report.outcome.load_json)
            assert (load["planned"], load["achieved"]) == (600, 540)
            assert (report.outcome.verdict, report.outcome.reason) == ("Inconclusive", "LoadNotReached")
            assert "lost 1 of 6 workers" in report.outcome.message

    scenario(run())


def test_a_lost_worker_is_named_and_what_it_did_is_bounded_by_its_counters(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 30), workers=2, max_lost_percent=0), tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)
            await asyncio.gather(*(agent.load(seconds=1, users=1, requests=20) for agent in agents))
            killed, other = agents
            killed.count(started=5, completed=4)
            end = killed.end(clean=False, signal=9, tail="compiling\nKilled", out_of_memory=True)
            await killed.say(engine_end=end)
            await other.stopped()
            await asyncio.gather(killed.say_bye(end), other.bye())
            report, _ = await master.finish()
            outcome = report.outcome
            assert (outcome.verdict, outcome.reason, outcome.exit_code) == ("Error", "WorkerOOM", 1)
            assert "memory" in outcome.message
            assert any(each.startswith("WorkersLost: lost 1 of 2") for each in report.findings)
            worker = report.workers[0]
            assert (worker.state, worker.reason) == (control_pb2.WorkerReport.LOST, "OOMKilled")
            assert "signal 9: Killed" in worker.message
            results = json.loads(outcome.results_json)
            assert (results["requests"], results["started"], results["unaccounted"]) == (44, 45, 4)

    scenario(run())


def test_a_worker_that_tells_how_engines_of_another_ended_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 2), workers=2), tmp_path) as master:
            await master.direct()
            liar, other = await master.crew(2)
            foreign = coordination_pb2.EngineEnd(
                stream=stream_id_to_message(other.stream),
                counters_known=True,
                counters={"started": 2**40, "completed": 2**40},
            )
            await liar.say(engine_end=foreign)
            await liar.say(bye=coordination_pb2.Bye(engines=[foreign]))
            await asyncio.gather(*(agent.load(seconds=2, users=1, requests=10) for agent in (liar, other)))
            await asyncio.gather(*(agent.stopped() for agent in (liar, other)))
            await asyncio.gather(liar.bye(), other.bye())
            report, _ = await master.finish()
            results = json.loads(report.outcome.results_json)
            assert (results["requests"], results["unaccounted"]) == (40, 0)
            assert report.outcome.verdict == "Passed"

    scenario(run())


def test_a_worker_whose_container_ended_is_lost_at_once_and_a_small_loss_does_not_end_the_run(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(6, 2), workers=6), tmp_path) as master:
            await master.direct()
            agents = await master.crew(6)
            gone, *others = agents
            follower = master.follow()
            ended = control_pb2.WorkerEnd(worker=0, attempt=1, reason="Evicted", message="node pressure", exit_code=137)
            await gone.close()
            await follower.steer(steering(1, ended=[ended]))

            async def work(agent: Agent) -> None:
                await agent.load(seconds=2, users=1, requests=5)
                await agent.stopped()
                await agent.bye()

            await asyncio.gather(*map(work, others))
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Inconclusive", "LoadNotReached")
            results = json.loads(report.outcome.results_json)
            assert (results["requests"], results["unaccountedAtLeast"]) == (50, True)
            assert (report.workers[0].reason, report.workers[0].exit_code) == ("Evicted", 137)
            load = json.loads(report.outcome.load_json)
            assert (load["planned"], load["achieved"]) == (12, 10)

    scenario(run())


def test_a_lost_worker_that_says_its_last_word_just_before_the_end_does_not_bring_the_end_on(tmp_path: Path) -> None:
    async def run() -> None:
        seconds = 4
        async with master_of(plan_of(users(2, seconds), workers=2), tmp_path) as master:
            await master.direct()
            lost, other = await master.crew(2)
            end = lost.end(clean=False, signal=9)
            await lost.say(engine_end=end)
            end_ns = other.body.start_at_ns + seconds * SECOND
            await asyncio.sleep((end_ns - time.monotonic_ns()) / SECOND - 0.5)
            await lost.say_bye(end)
            await other.stopped()
            assert time.monotonic_ns() >= end_ns
            await other.bye()
            await master.finish()

    scenario(run())


def test_an_agent_that_reconnects_goes_on_where_it_was(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            [agent] = await master.crew(1)
            await agent.load(seconds=1, users=1, requests=10)
            await agent.close()
            agent.request(5)
            await agent.connect()
            await agent.send(agent.state(1))
            follower = master.follow()
            await follower.steer(steering(1, stop_reason="Stopped"))
            await agent.stopped()
            await agent.bye()
            report, _ = await master.finish()
            assert json.loads(report.outcome.results_json)["requests"] == 15
            assert not agent.refused.code

    scenario(run())


def test_a_version_is_on_disk_before_it_arrives_and_a_final_state_before_the_leave(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            store = Store(tmp_path / "state")
            [agent] = await master.crew(1)
            held = registered(store)
            assert (held.epoch, held.revision) == (1, 2)
            assert held.start_at_ns > 0, (
                "that there is a start is known before it is sent, and which one once it is reached"
            )
            await until(lambda: registered(store).start_at_ns == agent.body.start_at_ns)
            await agent.load(seconds=1, users=1, requests=9)
            await master.follow().steer(steering(1, stop_reason="Stopped"))
            await agent.stopped()
            assert registered(store).revision == 3
            frame = agent.final()
            await agent.send(frame)
            assert agent.acks[agent.sequence].durable == 0
            assert store.read_ended() == []
            await agent.say(bye=coordination_pb2.Bye(engines=[agent.end()]))
            await until(lambda: agent.left_with is not None)
            [kept] = store.read_ended()
            assert stream_state_from_bytes(kept) == stream_state_from_message(frame.state)
            await until(lambda: agent.acks[agent.sequence].durable == agent.sequence)

    scenario(run())


def registered(store: Store) -> Register:
    register = store.read_register()
    assert register is not None
    return register


def test_a_master_that_is_taken_away_ends_the_load_and_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            [agent] = await master.crew(1)
            await agent.load(seconds=1, users=1, requests=10)
            master.process.send_signal(signal.SIGTERM)
            await agent.stopped()
            await agent.bye()
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "MasterLost")
            assert json.loads(report.outcome.results_json)["requests"] == 10
            assert master.last_word["reason"] == "MasterLost"

    scenario(run())


def test_a_master_that_is_killed_and_started_again_collects_everything_and_never_reuses_a_version(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        plan = plan_of(users(2, 60), max_lost_percent=0, master_on_loss=MasterOnLoss.ABORT)
        async with master_of(plan, tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)
            await asyncio.gather(*(agent.load(seconds=1, users=1, requests=10) for agent in agents))
            early, late = agents
            await early.send(early.final())
            await early.say_bye(early.end())
            assert late.revisions == [1, 2, 3]  # the loss of one of two ends the run
            master.process.kill()
            await master.process.wait()
            await late.close()
            master.director.close()
            await master.start()
            await master.direct()
            late.address = master.address
            await late.connect()
            await until(lambda: late.revisions[-1] == 4)
            await late.bye()
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "MasterLost")
            assert json.loads(report.outcome.results_json)["requests"] == 20

    scenario(run())


def test_a_worker_that_was_added_and_ended_while_nobody_told_the_master_is_lost(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(4, 60), workers=2), tmp_path) as master:
            await master.direct()
            await master.crew(2)
            follower = master.follow()
            # Worker 3 was added and has ended, worker 7 came and went with a number of workers of which it never heard.
            ended = [control_pb2.WorkerEnd(worker=worker, attempt=1, reason="Evicted") for worker in (3, 7)]
            await follower.steer(steering(1, workers=4, ended=ended, stop_reason="Stopped"))
            async with asyncio.timeout(IN_TIME):
                async for report in follower.watch():
                    if report.stage == control_pb2.STOPPING_LOAD:
                        break
            told = [each.reason for each in report.workers]
            assert told == ["", "", "", "Evicted"]

    scenario(run())
