"""A real engine process and its agent: what it says of its script, what it obeys, which states it sends."""

from __future__ import annotations

import textwrap
import time

import pytest
from tests.component import engine_process
from tests.component.engine_process import SECOND, VISITOR, Make, Stage, Target, series, users

from loadstone_core.stats.merge import Merge
from loadstone_protocol.codec import stream_state_from_message
from loadstone_protocol.v1 import engine_pb2 as pb
from loadstone_runner.launcher.cgroup import processor_ns

# pytest finds a fixture by its name in the module of the test.
engines = engine_process.engines
target = engine_process.target


# An engine that the processor leaves alone between its making and its first turn, as a CPU quota may.
HELD_UP = """
import os, sys, time
from loadstone_runner.engine import host, process
from loadstone_runner.settings import read_engine

process.prepare()
engine = host.Engine(read_engine(os.environ))
time.sleep(0.3)
sys.exit(engine.run())
"""


@pytest.mark.promise("script-errors")
@pytest.mark.parametrize(
    ("script", "problem", "trace"),
    [
        ("from loadstone import User\nclass A(User:\n    pass\n", "test.py line 2: SyntaxError", "class A(User:"),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError: No module named 'nowhere", "import nowhere_to_be"),
        ("import sys\nsys.exit(4)\n", "calls sys.exit(4)", "sys.exit(4)"),
        ("from loadstone import User\nclass A(User):\n    pass\n", "has nothing to run", ""),
        ("from loadstone import setup\n@setup\ndef prepare(): ...\n", "must take one parameter", "@setup"),
    ],
)
def test_a_script_that_cannot_be_used_is_told_with_its_last_lines(
    engines: Make, script: str, problem: str, trace: str
) -> None:
    engine = engines(script)

    report = engine.agent.wait(lambda each: each.HasField("script")).script

    assert not report.ok
    assert problem in report.problem
    assert trace in report.traceback
    assert "loadstone_runner" not in report.traceback


def test_a_configuration_that_is_older_than_the_one_applied_changes_nothing(engines: Make, target: Target) -> None:
    engine = engines(f"import time\ntime.sleep(1.0)\n{textwrap.dedent(VISITOR)}")
    load = users(1, 1.0, target.url)
    engine.agent.wait(lambda each: each.HasField("hello"))
    engine.agent.configure(revision=3, scenarios=[load], run_state=pb.READY_STATE)
    engine.agent.wait(lambda each: each.status.applied_revision == 3)
    engine.agent.configure(revision=7, scenarios=[load], run_state=pb.READY_STATE)
    engine.agent.configure(revision=5, run_state=pb.STOPPED_STATE)
    engine.agent.configure(revision=8, scenarios=[load], run_state=pb.READY_STATE)
    status = engine.agent.wait(lambda each: each.status.applied_revision == 8).status

    assert status.stage == Stage.READY
    applied = [each.status.applied_revision for each in engine.agent.received if each.HasField("status")]
    assert applied == sorted(applied)


def test_an_engine_that_is_held_up_at_its_start_becomes_ready_all_the_same(engines: Make, target: Target) -> None:
    engine = engines(VISITOR, command=("-c", HELD_UP))

    engine.arm(users(1, 1.0, target.url))


def test_an_engine_keeps_the_start_that_it_is_told_first_and_says_which(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)
    load = users(1, 2.0, target.url)
    engine.arm(load)
    at = time.monotonic_ns() + SECOND // 5
    for revision, start_at_ns in ((2, at), (3, at + SECOND)):
        engine.agent.configure(revision=revision, scenarios=[load], run_state=pb.RUNNING_STATE, start_at_ns=start_at_ns)

    status = engine.agent.wait(lambda each: each.status.applied_revision == 3).status

    assert status.start_at_ns == at
    assert {each.status.start_at_ns for each in engine.agent.received if each.status.applied_revision == 1} == {0}


def test_an_engine_that_waits_leaves_the_processor_to_others(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)
    engine.arm(users(1, 1.0, target.url))

    before = processor_ns(engine.process.pid)
    time.sleep(1.0)

    assert processor_ns(engine.process.pid) - before < SECOND // 5


def test_a_broken_connection_is_no_order_to_die_and_the_whole_state_comes_again(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)
    engine.start(users(2, 2.5, target.url))
    engine.agent.wait(lambda each: each.state.second == 0)

    with engine.agent.changed:
        engine.agent.received.clear()
    engine.agent.hang_up()
    engine.agent.wait(lambda each: each.hello.counters_path.endswith("engine-0-1.counters"))
    state = engine.agent.wait(lambda each: each.state.full).state
    final = engine.agent.final()

    assert engine.agent.connections == 2
    assert series(state, "latency").count > 0
    assert final.counters.completed == target.count()["requests"]


def test_a_series_is_sent_again_until_it_is_acknowledged(engines: Make, target: Target) -> None:
    engine = engines("""
        from loadstone import User, constant, task

        class Visitor(User):
            wait = constant(0.2)

            def on_start(self):
                self.http.get("/", name="once")

            @task
            def front_page(self):
                self.http.get("/", name="often")
    """)
    engine.agent.acknowledges = False
    engine.start(users(1, 60.0, target.url))
    third = engine.agent.wait(lambda each: each.state.second == 2).state
    engine.agent.send(pb.ToEngine(ack=pb.StateAck(received=third.sequence)))
    fifth = engine.agent.wait(lambda each: each.state.second == 4).state

    assert not third.full
    assert {each.key.name for each in third.series if each.key.metric == "latency"} == {"once", "often"}
    assert {each.key.name for each in fifth.series if each.key.metric == "latency"} == {"often"}


def test_states_merge_to_what_the_final_state_says(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)
    engine.start(users(3, 2.2, target.url))
    final = engine.agent.final()

    merge = Merge()
    for state in reversed(engine.agent.states()):
        merge.apply(stream_state_from_message(state))
    totals = merge.totals()

    assert totals.requests == target.count()["requests"] == final.counters.completed
    assert totals.unaccounted == 0
    assert [state.second for state in engine.agent.states()] == [0, 1, 2]


def test_an_engine_says_how_many_series_it_has_and_what_its_agent_has_not_taken_yet(engines: Make) -> None:
    engine = engines("""
        from loadstone import User, constant, measure, task

        class Visitor(User):
            wait = constant(0.2)

            @task
            def turn(self):
                for number in range(1_000):
                    with measure(f"{number:0200}"):
                        pass
    """)
    engine.start(users(1, 60.0, "http://127.0.0.1:1"))
    told = engine.agent.wait(lambda each: each.status.series >= 1_000).status
    assert told.series < 3_000

    # What a socket holds is no more than one such state, and each second has another one.
    engine.agent.takes.clear()
    time.sleep(4)
    engine.agent.takes.set()
    stuck = engine.agent.wait(lambda each: each.status.queued_bytes > 1_000_000).status.queued_bytes
    with engine.agent.changed:
        engine.agent.received.clear()
    engine.agent.wait(lambda each: each.HasField("status") and each.status.queued_bytes < stuck)
    assert engine.agent.connections == 1
