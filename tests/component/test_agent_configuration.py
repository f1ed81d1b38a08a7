"""A real agent process and what it is told: which configuration it holds, passes on, and refuses."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest
from tests.component.agent_process import LOAD, PATIENCE, SCRIPT, SECOND, Engine, Pod, run, series_of

from loadstone_core.spec.digest import files_digest
from loadstone_protocol.coordination import word_from_message
from loadstone_protocol.messages import Heartbeat
from loadstone_protocol.v1 import coordination_pb2 as cpb
from loadstone_protocol.v1 import engine_pb2 as epb

if TYPE_CHECKING:
    from pathlib import Path

promise = pytest.mark.promise

# What clocks may drift apart in ten seconds, at 100 ppm.
CLOCK_DRIFT_NS = 1_000_000


def test_agent_says_who_it_is_and_what_script_it_has_really_mounted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path, engines=2) as pod:
            connection = await pod.master.connection()
            hello = connection.heard[0].hello
            assert hello.peer.run_uid == "uid/1"
            assert (hello.peer.worker, hello.peer.attempt, hello.peer.pod) == (3, 2, "pod-3")
            assert hello.peer.boot
            assert (hello.protocol_major, hello.engines, hello.highest_epoch) == (1, 2, 1)
            assert hello.script_digest == files_digest(SCRIPT)

    run(scenario())


def test_configuration_is_acknowledged_when_every_engine_has_applied_it_and_not_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path, engines=2) as pod:
            engines = [await pod.engine(0), await pod.engine(1)]
            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=1, version=7, slot=1, slots=3))
            digest = pod.configure(connection, epb.READY_STATE, setup_json=b'{"token": 1}')

            configs = [await engine.hear("config", lambda config: config.slots) for engine in engines]
            assert [(config.slot, config.slots) for config in configs] == [(1, 6), (4, 6)]
            assert [(config.worker, config.attempt) for config in configs] == [(3, 2), (3, 2)]
            assert list(configs[0].scenarios) == [LOAD]
            assert configs[0].setup_json == b'{"token": 1}'

            engines[0].status(epb.EngineStatus.READY, configs[0].revision)
            beat = await connection.wait_for(
                "heartbeat", lambda beat: any(each.status.stage == epb.EngineStatus.READY for each in beat.engines)
            )
            assert not beat.applied.revision
            engines[1].status(epb.EngineStatus.READY, configs[1].revision)
            beat = await connection.wait_for("heartbeat", lambda beat: beat.applied.revision)
            assert (beat.applied.epoch, beat.applied.revision, beat.applied_sha256) == (1, 1, digest)
            assert beat.assignment == 7

    run(scenario())


def test_a_script_that_differs_from_the_run_s_is_a_conflict_and_is_not_applied(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            engine = await pod.engine()
            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1))
            pod.configure(connection, epb.READY_STATE, script_digest=files_digest({"test.py": b"other"}))

            beat = await connection.wait_for("heartbeat", lambda beat: beat.conflict)
            assert files_digest(SCRIPT) in beat.conflict_detail
            assert files_digest({"test.py": b"other"}) in beat.conflict_detail
            assert "worker 3" in beat.conflict_detail

            # A newer configuration that fits ends the conflict, so the refused one was never held.
            pod.configure(connection, epb.READY_STATE)
            config = await engine.hear("config")
            engine.status(epb.EngineStatus.READY, config.revision)
            beat = await connection.wait_for("heartbeat", lambda beat: beat.applied.revision)
            assert (beat.applied.revision, beat.conflict) == (2, False)

    run(scenario())


def test_one_version_with_two_contents_is_a_conflict(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            await pod.engine()
            connection = await pod.master.connection()
            pod.configure(connection, epb.READY_STATE, revision=4)
            # What it says when it begins is said.
            await connection.wait_for("heartbeat", lambda beat: beat.number >= 5)
            before = len(connection.all("heartbeat"))
            pod.configure(connection, epb.READY_STATE, revision=4, setup_json=b"[]")

            beat = await connection.wait_for("heartbeat", lambda beat: beat.conflict)
            assert "1.4" in beat.conflict_detail
            # The answer to it, and not one of the next seconds; another may have been on its way.
            heard = [each.number for each in connection.all("heartbeat")]
            assert heard.index(beat.number) <= before + 1

    run(scenario())


@pytest.mark.parametrize("offset_ns", [0, 7 * 3600 * SECOND, -123 * SECOND])
def test_the_start_is_moved_from_the_master_s_clock_to_this_one(tmp_path: Path, offset_ns: int) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path, clock_offset_ns=offset_ns) as pod:
            engine = await pod.engine()
            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1))
            # A round trip tells the other clock to half of its own length, which is the machine's affair.
            known = await connection.wait_for("heartbeat", lambda beat: beat.round_trip_ns)
            off_by_ns = known.round_trip_ns // 2 + CLOCK_DRIFT_NS
            start_ns = time.monotonic_ns() + SECOND
            pod.configure(connection, epb.RUNNING_STATE, start_at_ns=start_ns + offset_ns)

            config = await engine.hear("config")
            assert abs(config.start_at_ns - start_ns) <= off_by_ns

            engine.state(1, second=0, first_start_ns=start_ns + 5)
            beat = await connection.wait_for("heartbeat", lambda beat: beat.engines and beat.engines[0].started_at_ns)
            assert abs(beat.engines[0].started_at_ns - (start_ns + offset_ns)) <= off_by_ns
            assert abs(beat.clock_offset_ns - offset_ns) <= off_by_ns

    run(scenario())


@promise("master-restart")
def test_a_load_that_is_older_than_the_machine_of_its_new_master_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, _, (engine,) = await pod.running()
            began_ns = time.monotonic_ns() - 5 * SECOND
            engine.state(1, second=0, first_start_ns=began_ns)
            await connection.wait_for("heartbeat", lambda beat: beat.engines and beat.engines[0].started_at_ns)
            port = pod.master.port
            await pod.master.stop()
            # Its machine began four seconds after the load.
            start_ns = -4 * SECOND
            pod.master.epoch, pod.master.clock_offset_ns = 2, start_ns - began_ns
            await pod.master.start(port)

            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=2, version=1, slot=0, slots=1))
            pod.configure(connection, epb.RUNNING_STATE, epoch=2, start_at_ns=start_ns, setup_json=b"[2]")
            config = await engine.hear("config", lambda config: config.setup_json == b"[2]")
            engine.status(epb.EngineStatus.RUNNING, config.revision)
            beat = await connection.wait_for("heartbeat", lambda beat: beat.applied.epoch == 2)
            news = word_from_message(cpb.AgentMessage(heartbeat=beat))
            assert isinstance(news, Heartbeat)
            assert news.engines[0].started_at_ns < 0

    run(scenario())


def test_granted_iterations_reach_the_engines_once_each_number(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path, engines=3) as pod:
            engines = [await pod.engine(number) for number in range(3)]
            connection = await pod.master.connection()
            pod.configure(connection, epb.READY_STATE)
            ranges = [epb.IterationRange(start=10 * number, count=5) for number in range(4)]
            grants = [
                epb.Grant(name="iterations/default", engine=number, ranges=ranges[number : number + 1])
                for number in range(3)
            ]
            connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1, grants=grants))
            # Repeated with what is not acknowledged yet, as a master does.
            grants[2].ranges.append(ranges[3])
            connection.say(assignment=cpb.Assignment(epoch=1, version=2, slot=0, slots=1, grants=grants))

            numbers = []
            for engine in engines:
                config = await engine.hear("config")
                newest = await _newest_config(engine, config)
                for grant in newest.grants:
                    numbers += [n for each in grant.ranges for n in range(each.start, each.start + each.count)]
            assert sorted(numbers) == [n for each in ranges for n in range(each.start, each.start + 5)]

    run(scenario())


async def _newest_config(engine: Engine, config: epb.EngineConfig) -> epb.EngineConfig:
    with contextlib.suppress(TimeoutError):
        while True:
            config = await asyncio.wait_for(engine.hear("config"), 0.5)
    return config


def test_a_master_of_a_lower_epoch_is_not_obeyed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            engine = await pod.engine()
            connection = await pod.master.connection()
            connection.say(assignment=cpb.Assignment(epoch=5, version=1, slot=0, slots=1))
            pod.configure(connection, epb.READY_STATE, epoch=5)
            await engine.hear("config")
            connection.end()

            # The old master welcomes with its own epoch and is left at once, again and again.
            for _ in range(2):
                connection = await pod.master.connection()
                # Whatever it orders, some of it twice, and all of it before it can know that nobody listens.
                for revision in (1, 9, 2**31):
                    connection.say(assignment=cpb.Assignment(epoch=1, version=revision, slot=1, slots=2))
                    for state in (epb.READY_STATE, epb.RUNNING_STATE, epb.STOPPED_STATE):
                        pod.configure(connection, state, epoch=1, revision=revision, start_at_ns=1)
                assert connection.heard[0].hello.highest_epoch == 5
                await asyncio.wait_for(connection.ended.wait(), PATIENCE)
                assert not connection.all("heartbeat")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(engine.hear("config"), 1)

            # One that has taken over since is obeyed.
            pod.master.epoch = 6
            connection = await pod.master.connection()
            while connection.ended.is_set() or not connection.all("heartbeat"):
                await asyncio.sleep(0.1)
                connection = pod.master.connections.get_nowait() if pod.master.connections.qsize() else connection
            connection.say(assignment=cpb.Assignment(epoch=6, version=1, slot=0, slots=1))
            pod.configure(connection, epb.READY_STATE, epoch=6, setup_json=b"[6]")
            assert await engine.hear("config", lambda config: config.setup_json == b"[6]")

    run(scenario())


def test_the_lease_is_lent_to_the_launcher_from_the_moment_of_sending(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            launcher = await pod.launcher()
            await pod.master.connection()
            first = await launcher.order("lease")
            second = await launcher.order("lease")
            assert 29.0 < first["seconds"] <= 30.0
            assert 29.0 < second["seconds"] <= 30.0

    run(scenario())


def test_load_is_stopped_when_the_lease_has_run_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            launcher = await pod.launcher()
            engine = await pod.engine()
            connection = await pod.master.connection()
            connection.say(welcome=cpb.Welcome(epoch=1, lease_ns=2 * SECOND))
            connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1))
            pod.configure(connection, epb.RUNNING_STATE, start_at_ns=time.monotonic_ns(), graceful_stop_ns=30 * SECOND)
            await connection.wait_for("heartbeat", lambda beat: beat.number >= 2)
            connection.acknowledges = pod.master.welcomes = False
            silent = time.monotonic()

            config = await engine.hear("config", lambda config: config.run_state == epb.STOPPED_STATE)
            took = time.monotonic() - silent
            assert (config.graceful_stop_ns, config.stop_reason) == (0, "the lease has run out")
            assert 0.5 < took < 4.0
            assert (await launcher.order("deadline"))["seconds"] == 2.0

            # The agent keeps its state, and a master that comes back gets it.
            again = await pod.master.connection()
            again.say(welcome=cpb.Welcome(epoch=1, lease_ns=2 * SECOND))
            engine.state(1, [series_of("a", 4)], second=0, final=True)
            assert (await pod.master.state(lambda state: state.final)).series[0].count == 4

    run(scenario())


@promise("network-faults")
def test_a_master_that_answers_pings_and_no_heartbeat_is_looked_for_anew_before_the_lease_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, _, (engine,) = await pod.running()
            connection.say(welcome=cpb.Welcome(epoch=1, lease_ns=10 * SECOND))
            await connection.wait_for("heartbeat", lambda beat: beat.applied.revision == pod.version)
            connection.acknowledges = False
            last = connection.all("heartbeat")[-1].number

            again = await pod.master.connection()
            assert 4 <= connection.all("heartbeat")[-1].number - last <= 9
            await asyncio.wait_for(connection.ended.wait(), 5)
            hello = await again.wait_for("hello")
            assert hello.applied.revision == pod.version
            # The lease of what was acknowledged before has ended by then, and nobody was told to stop.
            await again.wait_for("heartbeat", lambda beat: beat.number > last + 12)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(engine.hear("config"), 0.1)
            engine.state(1, [series_of("a", 4)], second=0)
            assert (await pod.master.state()).series[0].count == 4

    run(scenario())


def test_a_refused_agent_stops_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            connection.say(refused=cpb.Refused(code=cpb.Refused.FENCED, detail="attempt 3 is here"))

            config = await engine.hear("config", lambda config: config.run_state == epb.STOPPED_STATE)
            assert config.graceful_stop_ns == 0
            assert (await launcher.order("deadline"))["seconds"] == 2.0
            engine.close()
            launcher.exited(code=0)
            assert (await launcher.order("exit"))["code"] == 143
            launcher.close()
            assert await pod.wait() == 1
            assert pod.last_word()["durable"] is False

    run(scenario())
