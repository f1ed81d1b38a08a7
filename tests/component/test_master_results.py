"""A real master process and what it makes of its agents' reports: totals, thresholds, outcome, metrics."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING

from tests.component.master_process import iterations, master_of, plan_of, scenario, steering, threshold, users

from loadstone_core.units import SECOND
from loadstone_protocol.v1 import control_pb2, coordination_pb2, engine_pb2
from loadstone_runner.master.remarks import CLOSED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.component.master_process import Master
    from tests.component.scripted_agent import Agent


def test_a_run_passes_with_exact_totals_and_its_parts_of_the_status(tmp_path: Path) -> None:
    async def run() -> None:
        fast = threshold('latency{name="front"}:p95 < 300ms', name="fast")
        async with master_of(plan_of(users(10, 2), thresholds=(fast,)), tmp_path) as master:
            director = await master.direct()
            agents = [await master.join(worker) for worker in range(2)]

            async def work(agent: Agent) -> None:
                await agent.running()
                await agent.load(seconds=2, users=5, requests=7)
                await agent.stopped()
                await agent.bye()

            await asyncio.gather(*map(work, agents))
            report, document = await master.finish()

            outcome = report.outcome
            assert (outcome.verdict, outcome.reason, outcome.exit_code) == ("Passed", "Passed", 0)
            assert report.stage == control_pb2.FINISHED
            results = json.loads(outcome.results_json)
            assert (results["requests"], results["started"], results["unaccounted"]) == (28, 28, 0)
            assert results["outside"] == {"setup": 3, "teardown": 2}
            assert results["endpoints"][0]["requests"] == 28
            assert json.loads(outcome.load_json) == {
                "model": "users",
                "planned": 20,
                "achieved": 20,
                "unit": "user-seconds",
                "dropped": 0,
                "late": 0,
                "remarks": [CLOSED],
            }
            [judged] = json.loads(outcome.thresholds_json)
            assert (judged["name"], judged["verdict"], judged["actual"]) == ("fast", "Passed", "10.0ms")
            assert json.loads(outcome.summary_json)["elapsed"] == "2s"
            assert director.asked == [False, True]
            assert [agent.revisions for agent in agents] == [[1, 2, 3], [1, 2, 3]]
            assert all(agent.body.setup_json == b'{"token": 1}' for agent in agents)
            assert {(each.slot, each.slots) for agent in agents for each in agent.assignments} == {(0, 2), (1, 2)}
            assert sum(row[2] for row in document["timeline"]["rows"]) == 28
            assert master.last_word == {
                "verdict": "Passed",
                "reason": "Passed",
                "message": outcome.message,
                "exitCode": 0,
                "requests": 28,
            }

    scenario(run())


def test_totals_are_exact_with_states_lost_repeated_and_out_of_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 30), workers=2), tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)
            for agent in agents:
                agent.users = 1
                frames = []
                for number in range(6):
                    agent.request(11, name=f"page {number % 3}")
                    agent.recorder.whole()
                    frames.append(agent.state(0))
                shuffled = [frames[at] for at in (3, 0, 0, 5, 1, 3)]
                await agent.send(*shuffled)
            follower = master.follow()
            await follower.steer(steering(1, stop_reason="Stopped"))
            await asyncio.gather(*(agent.stopped() for agent in agents))
            await asyncio.gather(*(agent.bye() for agent in agents))
            report, document = await master.finish()
            results = json.loads(report.outcome.results_json)
            assert (results["requests"], results["unaccounted"]) == (132, 0)
            assert {each["name"]: each["requests"] for each in results["endpoints"]} == {
                "page 0": 44,
                "page 1": 44,
                "page 2": 44,
            }
            latencies = [each for each in document["series"] if each["metric"] == "latency"]
            assert sum(sum(each["histogram"]["counts"]) for each in latencies) == 132

    scenario(run())


def test_iterations_are_granted_exactly_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(iterations(1000), workers=3), tmp_path) as master:
            await master.direct()
            agents = [await master.join(worker) for worker in range(3)]
            taken: list[int] = []

            async def work(agent: Agent) -> None:
                await agent.running()
                agent.users = 3
                while agent.body.run_state != engine_pb2.STOPPED_STATE:
                    numbers: list[int] = []
                    for assignment in list(agent.assignments):
                        for grant in assignment.grants:
                            for place, each in enumerate(grant.ranges):
                                if grant.first_range + place >= agent.known:
                                    numbers += range(each.start, each.start + each.count)
                                    agent.known = grant.first_range + place + 1
                    agent.iterate(len(numbers))
                    taken.extend(numbers)
                    agent.left, agent.rate = 0, 100
                    await agent.heartbeat()
                    await agent.send(agent.state(0))
                    await asyncio.sleep(0.05)
                await agent.bye()

            await asyncio.gather(*map(work, agents))
            report, _ = await master.finish()
            assert sorted(taken) == list(range(1000))
            assert (report.outcome.verdict, report.outcome.reason) == ("Passed", "Passed")
            load = json.loads(report.outcome.load_json)
            assert (load["model"], load["planned"], load["achieved"]) == ("iterations", 1000, 1000)

    scenario(run())


def test_a_threshold_ends_the_run_after_its_delay(tmp_path: Path) -> None:
    async def run() -> None:
        reliable = threshold("failures:rate < 10%", abort_on_fail=True, delay_abort_ns=SECOND)
        async with master_of(plan_of(users(1, 60), workers=1, thresholds=(reliable,)), tmp_path) as master:
            await master.direct()
            [agent] = await master.crew(1)
            agent.users, second = 1, 0
            while agent.body.run_state != engine_pb2.STOPPED_STATE:
                agent.request(4, failed=True)
                agent.iterate(4)
                end_ns = agent.body.start_at_ns + (second + 1) * SECOND
                await asyncio.sleep(max(0, (end_ns - time.monotonic_ns()) / SECOND))
                await agent.send(agent.state(second))
                second += 1
                assert second < 10
            assert second >= 2
            await agent.bye()
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Failed", "ThresholdsFailed")
            assert report.outcome.exit_code == 99
            [judged] = json.loads(report.outcome.thresholds_json)
            assert (judged["verdict"], judged["actual"]) == ("Failed", "100%")
            assert judged["firstBreachAt"].endswith("Z")

    scenario(run())


def test_the_outcome_is_pushed_within_tens_of_milliseconds_of_the_last_bye(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            [agent] = await master.crew(1)
            await agent.load(seconds=1, users=1, requests=50)
            follower = master.follow()
            waiting = asyncio.create_task(master.outcome(follower))
            assert await follower.steer(steering(1, stop_reason="Stopped")) == 1
            await agent.stopped()
            await agent.send(agent.final())
            said = time.monotonic()
            bye = coordination_pb2.Bye(engines=[agent.end()])
            await agent.say(bye=bye)
            report = await waiting
            passed = time.monotonic() - said
            print(f"bye to outcome: {passed * 1000:.1f} ms")
            assert passed < 0.2  # a wait for the next tick, or for half a second, would mostly show
            assert (report.outcome.verdict, report.outcome.exit_code) == ("Aborted", 130)
            assert json.loads(report.outcome.results_json)["requests"] == 50

    scenario(run())


def test_a_follower_that_comes_back_sees_everything_at_once_and_steering_is_idempotent(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(3, 30), workers=1), tmp_path) as master:
            await master.direct()
            follower = master.follow()
            async for report in follower.watch():
                assert report.stage == control_pb2.GATHERING
                assert report.waiting_for == "worker 0 of 1 to connect"
                break
            [agent] = await master.crew(1)
            await agent.load(seconds=2, users=3, requests=30)
            again = master.follow()
            async with asyncio.timeout(5):
                async for report in again.watch():
                    if report.progress.requests == 60 and report.progress.requests_per_second == 30:
                        assert report.stage == control_pb2.RUNNING_LOAD
                        assert (report.progress.users, report.workers[0].users) == (3, 3)
                        assert report.progress.iterations == 60
                        break
            assert await again.steer(steering(5, stop_reason="Suspended")) == 5
            assert await again.steer(steering(4, stop_reason="Killed", immediate=True)) == 5
            await agent.stopped()
            assert agent.body.stop_reason == "Suspended"
            assert agent.body.graceful_stop_ns == 2 * SECOND
            await agent.bye()
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Aborted", "Suspended")

    scenario(run())


def test_prometheus_sees_the_final_values_before_the_master_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path, metrics_port=port) as master:
            await master.direct()
            [agent] = await master.crew(1)
            agent.request(3, latency_ms=7)
            agent.request(2, latency_ms=700, failed=True)
            await agent.load(seconds=1, users=1, requests=0)
            follower = master.follow()
            await follower.steer(steering(1, stop_reason="Stopped"))
            await agent.stopped()
            await agent.bye()
            report = await master.outcome(follower)
            await follower.stored(report.outcome.report_sha256)
            page = await scrape(port)
            assert await asyncio.wait_for(master.process.wait(), 4) == 0
            labels = 'loadtest="checkout",method="GET",name="front",run="1"'
            samples = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
            assert samples[f"loadstone_requests_total{{{labels}}}"] == "5.0"
            assert samples[f"loadstone_request_failures_total{{{labels}}}"] == "2.0"
            buckets = {key: value for key, value in samples.items() if "duration_seconds_bucket" in key}
            assert sorted(buckets.values()) == ["0.0"] + ["3.0"] * 6 + ["5.0"] * 5
            assert any("loadstone_run_info{" in key and 'verdict="Aborted"' in key for key in samples)

    scenario(run())


async def scrape(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/plain;version=0.0.4\r\n\r\n")
    content = await reader.read()
    writer.close()
    head, _, body = content.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    return body.decode()


def test_a_follower_that_wants_figures_seldom_hears_every_stage_and_few_figures(tmp_path: Path) -> None:
    async def watch(master: Master, seconds: float) -> list[int]:
        follower = master.follow()
        heard = []
        async for report in follower.watch(figures_every_seconds=seconds):
            heard.append(report.stage)
            if report.HasField("outcome"):
                break
        await follower.close()
        return heard

    async def run() -> None:
        async with master_of(plan_of(users(5, 4)), tmp_path) as master:
            watchers = [asyncio.create_task(watch(master, seconds)) for seconds in (0, 60)]
            await master.direct()
            agents = await master.crew(2)
            await asyncio.gather(*(agent.load(seconds=4, users=5, requests=7) for agent in agents))
            for agent in agents:
                await agent.stopped()
                await agent.bye()
            every, seldom = await asyncio.gather(*watchers)

            assert set(seldom) == set(every)
            assert seldom.count(control_pb2.RUNNING_LOAD) < every.count(control_pb2.RUNNING_LOAD)

    scenario(run())
