"""A real engine process: values that change while it runs, tasks chosen by tags, what is not recorded, standstills."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.component import engine_process
from tests.component.engine_process import SECOND, VISITOR, Make, Target, rate, series, totals_of, users

from loadstone_core.stats.metrics import LATENCY, SERVICE_TIME
from loadstone_protocol.v1 import engine_pb2 as pb

if TYPE_CHECKING:
    from tests.component.engine_process import Engine

# pytest finds a fixture by its name in the module of the test.
engines = engine_process.engines
target = engine_process.target

TAGGED = """
    from loadstone import User, config, constant, tag, task

    class Visitor(User):
        wait = constant(0.05)

        @tag("smoke")
        @task
        def look(self):
            self.http.get("/look", name=config.get("name", "none"))

        @tag("smoke", "slow")
        @task
        def wander(self):
            self.http.get("/wander")

        @task
        def buy(self):
            self.http.get("/buy")
"""


def test_values_of_the_script_change_while_it_runs(engines: Make, target: Target) -> None:
    engine = engines(TAGGED)
    load = users(2, 60.0, target.url)
    load.tags[:], load.exclude_tags[:] = ["smoke"], ["slow"]
    engine.start(load, config={"name": "before"})
    engine.agent.wait(lambda each: any(one.key.name == "before" for one in each.state.series))

    engine.agent.configure(
        revision=3, scenarios=[load], run_state=pb.RUNNING_STATE, start_at_ns=1, config={"name": "after"}
    )
    engine.agent.wait(lambda each: any(one.key.name == "after" for one in each.state.series))
    engine.stop()
    final = engine.agent.final()

    assert {each.key.name for each in final.series if each.key.metric == "latency"} == {"before", "after"}


def test_only_tasks_with_the_tags_that_are_asked_for_are_done(engines: Make, target: Target) -> None:
    engine = engines(TAGGED)
    load = users(2, 1.0, target.url)
    load.tags[:], load.exclude_tags[:] = ["smoke"], ["slow"]
    engine.start(load)
    engine.agent.final()

    assert set(target.count()["by_path"]) == {"/look"}


@pytest.mark.parametrize(
    ("tags", "excluded", "problem"),
    [
        (["smok"], [], "scenario default names the tag smok, which no task of the script has; there are slow, smoke"),
        ([], ["fast"], "names the tag fast"),
        (["slow"], ["smoke"], "leave no task to do"),
    ],
)
def test_tags_that_leave_nothing_to_do_are_told_before_the_load(
    engines: Make, target: Target, tags: list[str], excluded: list[str], problem: str
) -> None:
    engine = engines(TAGGED)
    load = users(1, 1.0, target.url)
    load.tags[:], load.exclude_tags[:] = tags, excluded
    engine.agent.wait(lambda each: each.script.ok)
    engine.agent.configure(revision=1, scenarios=[load], run_state=pb.READY_STATE)

    assert problem in engine.agent.wait(lambda each: bool(each.script.problem)).script.problem


def test_what_is_left_out_is_neither_recorded_nor_sent(engines: Make, target: Target) -> None:
    engine = engines(
        """
        from loadstone import Counter, Trend, User, check, task

        orders, basket = Counter("orders"), Trend("basket")

        class Visitor(User):
            @task
            def front_page(self):
                reply = self.http.get("/", name="front page")
                check("answers", reply.status == 200, tier=str(self.iteration % 7))
                orders.add(1, tier=str(self.iteration % 7))
                basket.add(7)
        """
    )
    engine.start(users(3, 1.5, target.url), dropped=["service_time", "first_byte", "connect", "checks{tier}", "basket"])
    final = engine.agent.final()

    kept = {"latency", "iterations", "iteration_duration", "checks", "orders"}
    assert {each.key.metric for each in final.series} - {"body", "dns"} == kept
    assert len([each for each in final.series if each.key.metric == "checks"]) == 1
    assert len([each for each in final.series if each.key.metric == "orders"]) == 7
    done = final.counters.completed
    assert series(final, "latency").count == series(final, "checks").count == done == target.count()["requests"] > 20
    assert final.errors == []


def stand_still(engine: Engine, at_ns: int, *, begin: float, end: float, process: int) -> None:
    """Freeze a process between two moments of a load, in seconds."""
    for seconds, number in ((begin, signal.SIGSTOP), (end, signal.SIGCONT)):
        time.sleep(max(0.0, (at_ns + seconds * SECOND - time.monotonic_ns()) / SECOND))
        os.kill(process, number)
    assert engine.process.poll() is None


@pytest.mark.parametrize(("begin", "end"), [(0.3, 0.8), (0.6, 1.2)])
def test_what_was_due_in_a_standstill_was_started_or_dropped(
    engines: Make, target: Target, begin: float, end: float
) -> None:
    engine = engines(VISITOR)
    at_ns = engine.start(rate(1000, 1.0, target.url))
    stand_still(engine, at_ns, begin=begin, end=end, process=engine.process.pid)
    final = engine.agent.final()

    dropped = sum(each.total for each in final.series if each.key.metric == "dropped_iterations")
    assert final.counters.iterations_started + dropped == 1000
    assert final.counters.completed == target.count()["requests"]


def test_an_open_model_reports_a_target_that_stalls_and_its_own_standstill(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)
    at_ns = engine.start(rate(30, 6.0, target.url))
    stand_still(engine, at_ns, begin=1.0, end=3.0, process=target.process.pid)
    stand_still(engine, at_ns, begin=4.0, end=4.8, process=engine.process.pid)
    totals = totals_of(engine.agent.final())

    corrected, served = totals.histogram(LATENCY), totals.histogram(SERVICE_TIME)
    assert corrected.quantile(0.99) > 3 * SECOND // 2
    # Of 180 iterations 60 came due while the target stood still, and 24 while the engine itself did.
    assert corrected.count - corrected.below(SECOND // 10) > 60
    assert corrected.total > served.total + 24 * SECOND // 5


def test_a_closed_model_does_not_see_the_stall_in_its_percentiles(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)
    at_ns = engine.start(users(2, 4.0, target.url))
    stand_still(engine, at_ns, begin=1.0, end=3.0, process=target.process.pid)
    latency = totals_of(engine.agent.final()).histogram(LATENCY)

    assert latency.quantile(0.99) < SECOND // 2
    assert latency.maximum > 3 * SECOND // 2


@pytest.mark.promise("log-durable")
def test_whoever_waits_for_a_durable_line_waits_alone(engines: Make) -> None:
    engine = engines("""
        import time
        from loadstone import User, constant, log, measure, task

        turns = []

        class Waiter(User):
            wait = constant(0.01)

            @task
            def turn(self):
                if self.number:
                    turns.append(time.monotonic())
                    return
                begun = time.monotonic()
                answer = log("kept by nobody yet", durable=True, timeout=20)
                ended = time.monotonic()
                during = sum(begun < turn < ended for turn in turns)
                for name, value in (("waited", ended - begun), ("turns", during), ("answer", answer)):
                    with measure(f"{name} {value}"):
                        pass
                self.wait = constant(60)
    """)
    engine.start(users(2, 60.0, "http://127.0.0.1:1"))
    deadline = time.monotonic() + 20
    while not (mark := re.search(r"loadstone-mark (\d+) ", engine.output())):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(1)
    engine.agent.send(pb.ToEngine(log_kept=pb.LogKept(number=int(mark[1]))))

    state = engine.agent.wait(lambda each: any("answer" in one.key.name for one in each.state.series)).state
    said = dict(each.key.name.split() for each in state.series if " " in each.key.name)
    assert said["answer"] == "True"
    assert 0.5 < float(said["waited"]) < 20
    assert int(said["turns"]) > 30 * float(said["waited"])
