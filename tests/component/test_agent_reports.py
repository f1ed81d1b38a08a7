"""A real agent process and what it says of its engines while they run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from tests.component.agent_process import PATIENCE, SECOND, Master, Pod, run, series_of
from tests.component.ports import free_port
from tests.component.processes import processor_seconds

from loadstone_protocol.v1 import coordination_pb2 as cpb
from loadstone_protocol.v1 import engine_pb2 as epb
from loadstone_protocol.v1 import statistics_pb2 as spb

if TYPE_CHECKING:
    from pathlib import Path


def test_states_reach_the_master_as_the_engine_sent_them_under_the_agent_s_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            _, _, (engine,) = await pod.running()
            engine.state(1, [series_of("a", 5)], second=0, users=3, counters=spb.Counters(started=6, completed=5))
            state = await pod.master.state()

            assert (await engine.hear("ack")).received == 1
            assert state.stream == spb.StreamId(worker=3, attempt=2, engine=0, start=1)
            assert (state.sequence, state.second, state.users, state.full) == (1, 0, 3, False)
            assert list(state.series) == [series_of("a", 5)]
            assert state.counters == spb.Counters(started=6, completed=5)
            assert pod.master.peers[0].worker == 3

    run(scenario())


@pytest.mark.promise("live-replicas", "worker-replaced")
def test_a_worker_whose_machine_is_younger_than_the_load_reports_what_it_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path, clock_offset_ns=7 * 3600 * SECOND) as pod:
            engine = await pod.engine()
            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1))
            # By this machine's clock the load began a minute before the machine.
            start_ns = pod.master.clock_offset_ns - 60 * SECOND
            pod.configure(connection, epb.RUNNING_STATE, start_at_ns=start_ns)
            config = await engine.hear("config")
            assert config.start_at_ns < 0
            engine.status(epb.EngineStatus.RUNNING, config.revision, start_at_ns=config.start_at_ns)
            engine.state(1, [series_of("a", 5)], second=0, first_start_ns=config.start_at_ns + 7)
            assert (await pod.master.state()).series[0].count == 5
            beat = await connection.wait_for("heartbeat", lambda beat: beat.engines and beat.engines[0].started_at_ns)
            assert abs(beat.engines[0].started_at_ns - start_ns) < SECOND
            assert beat.start_off_by_ns < SECOND

    run(scenario())


def test_a_new_master_is_told_the_newest_state_of_every_series(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, _, (engine,) = await pod.running()
            engine.state(1, [series_of("a", 1), series_of("b", 1)], second=0)
            engine.state(2, [series_of("b", 2), series_of("c", 2)], second=1, counters=spb.Counters(started=9))
            await pod.master.state(lambda state: state.sequence == 2)
            boot = connection.heard[0].hello.peer.boot

            await pod.master.stop()
            engine.state(3, [series_of("c", 3)], second=2, counters=spb.Counters(started=12))
            await engine.hear("ack", lambda ack: ack.received == 3)
            port = pod.master.port
            pod.master = Master()
            pod.master.epoch = 2
            await pod.master.start(port)

            connection = await pod.master.connection()
            state = await pod.master.state(lambda state: state.full)
            assert connection.heard[0].hello.peer.boot == boot
            assert connection.heard[0].hello.applied == cpb.Version(epoch=1, revision=2)
            assert (state.sequence, state.second, state.counters.started) == (3, 2, 12)
            assert {each.key.name: each.count for each in state.series} == {"a": 1, "b": 2, "c": 3}

    run(scenario())


def test_heartbeats_come_each_second_while_statistics_are_stuck(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, _, (engine,) = await pod.running()
            blob = [series_of("x" * 1000 + str(number), 1) for number in range(400)]
            for sequence in range(1, 60):
                engine.state(sequence, blob, second=sequence)
            began = time.monotonic()
            beats = len(connection.all("heartbeat"))
            await asyncio.sleep(4.0)
            gained = len(connection.all("heartbeat")) - beats

            assert gained >= 3 * (time.monotonic() - began) / 4
            await pod.master.state(lambda state: state.sequence == 59)

    run(scenario())


def test_a_master_that_is_slow_to_take_states_gets_fewer_and_not_less(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            pod.master.takes.clear()
            _, _, (engine,) = await pod.running()
            for sequence in range(1, 31):
                engine.state(sequence, [series_of(f"s{sequence % 7}", sequence)], second=sequence)
            await engine.hear("ack", lambda ack: ack.received == 30)
            await asyncio.sleep(0.5)
            assert len(pod.master.states) == 1

            pod.master.takes.set()
            newest = await pod.master.state(lambda state: state.sequence == 30)
            sequences = [state.sequence for state in pod.master.states]
            assert sequences == [1, 2, 3, 4, 5, 30]
            assert newest.full
            assert {each.key.name: each.count for each in newest.series} == {
                f"s{number % 7}": number for number in range(24, 31)
            }

            engine.state(31, [series_of("s3", 31)], second=31)
            assert not (await pod.master.state(lambda state: state.sequence == 31)).full

    run(scenario())


def test_the_last_state_does_not_overtake_one_that_waits_for_its_turn(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            _, _, (engine,) = await pod.running()
            for sequence in range(1, 6):
                engine.state(sequence, [series_of("a", sequence)], second=sequence)
            engine.state(6, [series_of("a", 6)], second=6, final=True, full=True)
            await pod.master.state(lambda state: state.final)
            assert [state.sequence for state in pod.master.states] == [1, 2, 3, 4, 5, 6]

    run(scenario())


def test_bad_frames_of_one_engine_harm_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path, engines=2) as pod:
            good = await pod.engine(0)
            bad = await pod.engine(1)
            connection = await pod.master.connection()
            bad.writer.write(b"\xff\xff\xff\xff not a frame")
            assert await asyncio.wait_for(bad.reader.read(), PATIENCE) is not None
            stranger = await pod.engine(9)
            assert await asyncio.wait_for(stranger.reader.read(), PATIENCE) == b""
            good.state(1, [series_of("a", 1)], second=0)
            assert (await good.hear("ack")).received == 1
            assert (await pod.master.state()).stream.engine == 0
            assert not connection.ended.is_set()

    run(scenario())


def test_a_script_problem_reaches_the_master_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection = await pod.master.connection()
            await connection.wait_for("heartbeat")
            engine = await pod.engine()
            told = time.monotonic()
            engine.say(script=epb.ScriptReport(ok=False, problem="no User class", traceback="line 1"))
            beat = await connection.wait_for(
                "heartbeat", lambda beat: any(each.script.problem for each in beat.engines)
            )
            assert time.monotonic() - told < 0.5
            assert beat.engines[0].script.traceback == "line 1"

    run(scenario())


def test_the_master_may_come_later_than_the_agent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            await pod.master.connection()
            pod.process.kill()
            await pod.process.wait()
            port = pod.master.port
            await pod.master.stop()
            await pod.start_agent()
            await asyncio.sleep(1.5)
            pod.master = Master()
            started = time.monotonic()
            await pod.master.start(port)
            await pod.master.connection()
            assert time.monotonic() - started < 1.5

    run(scenario())


def test_metrics_show_the_agent_s_health(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            pod.process.kill()
            await pod.process.wait()
            port = free_port()
            await pod.start_agent(LOADSTONE_METRICS=f"127.0.0.1:{port}")
            engine = await pod.engine()
            connection = await pod.master.connection()
            engine.status(epb.EngineStatus.RUNNING, users=17)
            await connection.wait_for("heartbeat", lambda beat: beat.engines and beat.engines[0].status.users == 17)
            text = await _get(port, "/metrics")
            assert text.startswith("HTTP/1.1 200 OK")
            assert "\nloadstone_agent_engine_users 17\n" in text
            assert (await _get(port, "/other")).startswith("HTTP/1.1 404")

    run(scenario())


@pytest.mark.alone
def test_the_way_to_hello_costs_little_processor_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            await pod.master.connection()
            seconds = processor_seconds(pod.process.pid)
            assert seconds <= 1.0

    run(scenario())


async def _get(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text
