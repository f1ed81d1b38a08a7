"""A real engine process that is stopped, ended, frozen or killed: what it did is known all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.component import engine_process
from tests.component.engine_process import SECOND, VISITOR, Engine, Make, Target, rate, series, totals_of, users
from tests.component.processes import is_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_protocol.v1 import engine_pb2 as pb

# pytest finds a fixture by its name in the module of the test.
engines = engine_process.engines
target = engine_process.target


def test_a_stop_lets_iterations_finish_and_cuts_off_what_takes_too_long(engines: Make, target: Target) -> None:
    engine = engines("""
        from loadstone import User, between, task

        class Visitor(User):
            wait = between(1000, 2000)

            @task
            def slow(self):
                self.http.get("/slow?ms=30000", name="slow")

            def on_stop(self):
                self.http.get("/", name="bye")
    """)
    engine.start(users(4, 60.0, target.url))
    time.sleep(0.3)

    begin = time.monotonic()
    engine.stop(graceful_ns=SECOND)
    final = engine.agent.final()

    assert 0.9 < time.monotonic() - begin < 3
    assert engine.process.wait(timeout=10) == 0
    slow = {each.name: each.count for each in series(final, "latency", "slow").outcomes}
    assert (slow["failed"], slow["ambiguous"], slow["interrupted"]) == (4, 4, 4)
    assert series(final, "latency", "bye").count == 4
    assert {(each.kind, each.count) for each in final.errors} == {("interrupted", 4)}
    counted = target.count()["requests"]
    counters = final.counters
    assert counters.completed == counters.started == 8
    assert counters.completed - counters.unsent - counters.ambiguous <= counted <= counters.started - counters.unsent


def test_a_stop_ends_pauses_at_once(engines: Make, target: Target) -> None:
    engine = engines(VISITOR.replace("@task", "wait = lambda self: 3600\n\n        @task", 1))
    engine.start(users(3, 60.0, target.url))
    time.sleep(0.3)

    begin = time.monotonic()
    engine.stop(graceful_ns=30 * SECOND)
    final = engine.agent.final()

    assert time.monotonic() - begin < 1
    assert final.counters.completed == 3


def test_a_stop_before_the_start_ends_with_an_empty_final_state(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)
    engine.arm(users(3, 60.0, target.url))

    engine.stop()
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    assert (final.second, final.counters.started, len(final.series)) == (-1, 0, 0)


def test_sigterm_ends_the_load_within_its_grace_reports_everything_and_exits_143(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)
    engine.start(users(4, 60.0, target.url))
    time.sleep(0.5)

    engine.process.send_signal(signal.SIGTERM)
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 143
    assert final.counters.completed == target.count()["requests"] > 0


def test_after_sigkill_the_target_counted_between_the_two_bounds_of_the_counter_file(
    engines: Make, target: Target
) -> None:
    engine = engines(VISITOR)
    engine.start(users(20, 60.0, target.url))
    time.sleep(1.3)

    engine.process.kill()
    engine.process.wait()

    time.sleep(0.2)
    counters, counted = engine.counters(), target.count()["requests"]
    assert counters.completed - counters.unsent - counters.ambiguous <= counted <= counters.started - counters.unsent
    assert counters.started - counters.completed <= 20
    assert 0 < counters.reported <= counters.completed


PATIENT_VISITOR = VISITOR.replace("check,", "check, constant,").replace(
    "@task", "wait = constant(0.1)\n\n        @task"
)


@pytest.mark.promise("no-orphans")
@pytest.mark.parametrize("model", [users, rate])
def test_an_engine_that_wakes_after_its_lease_makes_no_more_load(
    engines: Make, target: Target, model: Callable[..., pb.LoadPlan]
) -> None:
    engine = engines(PATIENT_VISITOR)
    engine.start(model(40, 60.0, target.url))
    before, after = stand_still(engine, target, lease_seconds=1)

    # Who had its turn when the process was frozen may end it: a request each at most, of the 400 that a second has.
    assert before <= after <= before + 40
    assert engine.process.wait(timeout=10) == 128 + signal.SIGTERM
    totals = totals_of(engine.agent.final())
    assert totals.requests - totals.ambiguous - totals.unsent <= after <= totals.started - totals.unsent


def test_an_engine_that_wakes_within_its_lease_goes_on(engines: Make, target: Target) -> None:
    engine = engines(PATIENT_VISITOR)
    engine.start(users(40, 60.0, target.url))
    before, after = stand_still(engine, target, lease_seconds=60)

    assert after > before + 100
    assert engine.process.poll() is None


@pytest.mark.promise("no-orphans")
def test_an_engine_whose_lease_has_run_out_ends_by_itself_when_nobody_tells_it(engines: Make, target: Target) -> None:
    """Its launcher may be what stands still."""
    engine = engines(PATIENT_VISITOR)
    engine.start(users(40, 60.0, target.url))
    while target.count()["requests"] < 20:
        time.sleep(0.02)

    grant(engine, lease_seconds=1)

    assert engine.process.wait(timeout=20) == 128 + signal.SIGTERM
    totals = totals_of(engine.agent.final())
    sent = target.count()["requests"]
    assert totals.requests - totals.ambiguous - totals.unsent <= sent <= totals.started - totals.unsent


def grant(engine: Engine, lease_seconds: int) -> None:
    """Write down, as a launcher does, until when this engine may make load."""
    until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + lease_seconds * SECOND
    (engine.folder / "lease").write_text(f"{until_ns:020d}\n")


def stand_still(engine: Engine, target: Target, lease_seconds: int) -> tuple[int, int]:
    """Freeze an engine for two seconds; return what the target had counted before, and a second after."""
    while target.count()["requests"] < 20:
        time.sleep(0.02)
    grant(engine, lease_seconds)
    os.kill(engine.process.pid, signal.SIGSTOP)
    time.sleep(2.0)
    before = target.count()["requests"]
    os.kill(engine.process.pid, signal.SIGCONT)
    time.sleep(1.0)
    return before, target.count()["requests"]


def test_an_engine_without_a_script_still_ends_when_told_to(engines: Make) -> None:
    engine = engines("raise ValueError('no')\n")
    engine.agent.wait(lambda each: each.HasField("script"))

    engine.stop()

    assert engine.agent.final().counters.started == 0
    assert engine.process.wait(timeout=10) == 0


def test_an_engine_dies_with_its_parent() -> None:
    code = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'from loadstone_runner.engine.process import prepare;"
        " import time; prepare(); print(1, flush=True); time.sleep(60)'], stdout=subprocess.PIPE);"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and is_alive(child):
        time.sleep(0.02)
    assert not is_alive(child)
