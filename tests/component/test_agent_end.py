"""A real agent process at the end of its engines, however they end: nothing is lost, and it says what was."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from tests.component.agent_process import SECOND, Pod, run, series_of

from loadstone_protocol.v1 import coordination_pb2 as cpb
from loadstone_protocol.v1 import engine_pb2 as epb
from loadstone_protocol.v1 import statistics_pb2 as spb

if TYPE_CHECKING:
    from pathlib import Path


def test_a_clean_end_is_told_with_counts_and_the_launcher_exits_as_the_master_says(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            pod.configure(connection, epb.STOPPED_STATE, stop_reason="done", graceful_stop_ns=3 * SECOND)
            config = await engine.hear("config", lambda config: config.run_state == epb.STOPPED_STATE)
            assert (config.stop_reason, config.graceful_stop_ns) == ("done", 3 * SECOND)
            assert (await launcher.order("deadline"))["seconds"] == 8.0

            engine.counters(started=11, completed=10, iterations_started=4, iterations_completed=4, reported=10)
            engine.state(9, [series_of("a", 10)], second=4, final=True, full=True)
            engine.status(epb.EngineStatus.ENDED, config.revision)
            await engine.hear("ack", lambda ack: ack.received == 9)
            engine.close()
            launcher.exited(code=0, tail="bye")

            end = await connection.wait_for("engine_end")
            assert (end.clean, end.final_sequence, end.exit_code, end.signal) == (True, 9, 0, 0)
            assert (end.counters_known, end.counters.started, end.counters.completed) == (True, 11, 10)
            assert end.stream == spb.StreamId(worker=3, attempt=2, engine=0, start=1)
            bye = await connection.wait_for("bye")
            assert list(bye.engines) == [end]

            connection.say(leave=cpb.Leave(run_over=True))
            assert (await launcher.order("exit"))["code"] == 0
            launcher.close()
            assert await pod.wait() == 0
            assert pod.last_word() == {"worker": 3, "attempt": 2, "durable": True, "started": 11, "completed": 10}

    run(scenario())


def test_bye_waits_until_the_master_has_the_last_state_even_of_another_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            pod.master.receives = False
            engine.state(2, [series_of("a", 1)], second=0, final=True)
            await engine.hear("ack")
            engine.close()
            launcher.exited()
            await connection.wait_for("engine_end")
            await asyncio.sleep(1.5)
            assert not connection.all("bye")

            pod.master.receives = True
            connection.end()
            connection = await pod.master.connection()
            bye = await connection.wait_for("bye")
            assert bye.engines[0].final_sequence == 2
            assert connection.all("engine_end") == list(bye.engines)

    run(scenario())


def test_an_engine_that_was_killed_is_told_with_its_counters_signal_and_last_lines(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path, engines=2) as pod:
            connection, launcher, engines = await pod.running()
            engines[0].state(1, [series_of("a", 3)], second=0)
            await engines[0].hear("ack")
            engines[0].counters(started=8, completed=6, ambiguous=1, reported=3)
            engines[0].close()
            launcher.exited(0, code=None, signal=signal.SIGKILL, tail="allocating\nmore", oom=True)

            end = await connection.wait_for("engine_end")
            assert (end.clean, end.counters_known, end.signal, end.out_of_memory) == (False, True, 9, True)
            assert (end.counters.started, end.counters.completed, end.counters.ambiguous) == (8, 6, 1)
            assert (end.tail, end.final_sequence) == ("allocating\nmore", 1)
            # The other engine lives, so there is more to come.
            await asyncio.sleep(0.5)
            assert not connection.all("bye")
            engines[1].close()
            launcher.exited(1, code=1, tail="crash")
            bye = await connection.wait_for("bye")
            assert [(each.stream.engine, each.clean, each.exit_code) for each in bye.engines] == [
                (0, False, 0),
                (1, False, 1),
            ]
            assert not bye.engines[1].counters_known  # it has connected, and its file is not there
            connection.say(leave=cpb.Leave(run_over=False))
            assert (await launcher.order("exit"))["code"] == 143

    run(scenario())


def test_an_engine_that_never_came_up_has_sent_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            launcher = await pod.launcher()
            connection = await pod.master.connection()
            launcher.exited(code=127, tail="launcher: cannot start python")
            bye = await connection.wait_for("bye")
            end = bye.engines[0]
            assert (end.clean, end.exit_code, end.counters_known, end.counters.started) == (False, 127, True, 0)
            assert end.tail == "launcher: cannot start python"

    run(scenario())


def test_a_launcher_that_is_gone_takes_its_engines_along(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            engine.counters(started=4, completed=2)
            engine.close()
            launcher.close()
            gone = time.monotonic()

            end = await connection.wait_for("engine_end")
            assert 1.5 < time.monotonic() - gone < 6.0
            assert (end.clean, end.exit_code, end.signal, end.counters.started) == (False, -1, 0, 4)
            assert await connection.wait_for("bye")

    run(scenario())


def test_sigterm_drains_and_says_bye_as_terminated(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            pod.process.terminate()
            config = await engine.hear("config", lambda config: config.run_state == epb.STOPPED_STATE)
            assert config.stop_reason == "terminated"
            await connection.wait_for("heartbeat", lambda beat: beat.draining)

            engine.counters(started=2, completed=2)
            engine.state(1, [series_of("a", 2)], second=0, final=True)
            await engine.hear("ack")
            engine.close()
            launcher.exited(code=143)
            bye = await connection.wait_for("bye")
            assert (bye.reason, bye.engines[0].clean) == ("terminated", True)
            connection.say(leave=cpb.Leave(run_over=False))
            launcher.close()
            assert await pod.wait() == 0
            assert pod.last_word()["durable"] is True

    run(scenario())


def test_sigterm_after_the_engines_container_has_ended_flushes_what_is_held(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            connection, launcher, (engine,) = await pod.running()
            engine.state(1, [series_of("a", 2)], second=0)
            await engine.hear("ack")
            engine.counters(started=3, completed=3, reported=2)
            # The whole container at once: the launcher had no time to say anything.
            engine.close()
            launcher.close()
            await asyncio.sleep(0.2)
            terminated = time.monotonic()
            pod.process.terminate()
            bye = await connection.wait_for("bye")
            assert time.monotonic() - terminated < 1.5
            assert (bye.reason, bye.engines[0].clean, bye.engines[0].counters.completed) == ("terminated", False, 3)
            connection.say(leave=cpb.Leave(run_over=False))
            assert await pod.wait() == 0

    run(scenario())


def test_without_leave_the_agent_gives_up_and_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Pod(tmp_path) as pod:
            _, launcher, (engine,) = await pod.running()
            engine.counters(started=5, completed=5)
            engine.state(1, [series_of("a", 5)], second=0, final=True)
            await engine.hear("ack")
            await pod.master.stop()
            engine.close()
            launcher.exited(code=0)
            await asyncio.sleep(0.2)
            terminated = time.monotonic()
            pod.process.terminate()
            order = await launcher.order("exit")
            launcher.close()
            assert await pod.wait() == 1
            assert 9.0 < time.monotonic() - terminated < 13.0
            assert order["code"] == 143
            assert pod.last_word() == {"worker": 3, "attempt": 2, "durable": False, "started": 5, "completed": 5}
            await pod.master.start()

    run(scenario())
