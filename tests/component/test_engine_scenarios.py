"""A real engine process with several scenarios, and users that wait for rows of a feeder."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.component import engine_process
from tests.component.engine_process import SECOND, VISITOR, Make, Target, scenario, users

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_protocol.v1 import engine_pb2 as pb

if TYPE_CHECKING:
    from loadstone_protocol.v1 import statistics_pb2

# pytest finds a fixture by its name in the module of the test.
engines = engine_process.engines
target = engine_process.target

SHOP = """
    import gevent
    from loadstone import User, check, seat, task

    class Visitor(User):
        @task
        def browse(self):
            self.http.get(f"/visitor/{self.number}", name="browse")
            gevent.spawn(check, "in a greenlet of its own", True).join()
            gevent.sleep(0.05)

    class Buyer(User):
        @task
        def buy(self):
            row = seat.taken.next_row("accounts")
            self.http.get(f"/row/{row}", name="buy")
            check("bought", True)
"""


def of(state: statistics_pb2.StreamState, scenario: str) -> dict[str, int]:
    return {each.key.metric: each.count for each in state.series if each.key.scenario == scenario}


def test_scenarios_have_their_own_class_users_and_series_and_an_end_of_their_own(engines: Make, target: Target) -> None:
    engine = engines(SHOP)
    browse = LoadProfile(Model.USERS, Profile((Segment(0, 3 * SECOND, 3, 3),), 3 * SECOND), None)
    once = LoadProfile(Model.ITERATIONS, Profile((Segment(0, FOREVER_NS, 2, 2),), None), 8, iterations_per_user=4)
    both = [
        scenario(browse, target.url, name="browse", user="Visitor"),
        scenario(once, target.url, name="buy", user="Buyer", start_ns=3 * SECOND // 2),
    ]
    rows = [pb.Grant(name="feeder/accounts", ranges=[pb.IterationRange(start=20, count=5)])]

    engine.agent.wait(lambda each: each.script.ok)
    engine.agent.configure(revision=1, scenarios=both, run_state=pb.READY_STATE)
    at = time.monotonic_ns() + SECOND // 10
    engine.agent.configure(revision=2, scenarios=both, run_state=pb.RUNNING_STATE, start_at_ns=at)
    asking = engine.agent.wait(lambda each: any(grant.waiting for grant in each.status.grants)).status
    assert [(each.name, each.waiting, each.left) for each in asking.grants] == [("feeder/accounts", 2, 0)]
    assert list(asking.over) == []
    for revision in (3, 4):
        engine.agent.configure(revision=revision, scenarios=both, run_state=pb.RUNNING_STATE, grants=rows)
    engine.agent.wait(lambda each: any(grant.known == 1 and grant.waiting for grant in each.status.grants))
    more = [pb.Grant(name="feeder/accounts", ranges=[pb.IterationRange(start=40, count=3)], first_range=1)]
    engine.agent.configure(revision=5, scenarios=both, run_state=pb.RUNNING_STATE, grants=more)
    engine.agent.wait(lambda each: list(each.status.over) == [0, 1])
    both[1].over = True
    engine.agent.configure(revision=6, scenarios=both, run_state=pb.RUNNING_STATE)
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    assert [(each.started, each.completed) for each in final.counters.scenarios][1] == (8, 8)
    bought = of(final, "buy")
    assert {bought[metric] for metric in ("latency", "service_time", "iteration_duration", "iterations", "checks")} == {
        8
    }
    visits = of(final, "browse")
    assert visits["checks"] == visits["latency"] == visits["iterations"] == final.counters.scenarios[0].completed > 60
    paths = target.count()["by_path"]
    assert {path: count for path, count in paths.items() if path.startswith("/row/")} == {
        f"/row/{row}": 1 for row in (*range(20, 25), *range(40, 43))
    }
    # Of two scenarios the first has the even numbers.
    assert {path for path in paths if path.startswith("/visitor/")} == {"/visitor/0", "/visitor/2", "/visitor/4"}
    assert [list(each.scenario_users) for each in engine.agent.states() if each.second == 0] == [[3, 0]]


def test_a_scenario_begins_when_its_start_is_known_and_ends_with_the_run(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)
    endless = LoadProfile(Model.USERS, Profile((Segment(0, FOREVER_NS, 2, 2),), None), None)
    both = [scenario(endless, target.url, name="a"), scenario(endless, target.url, name="b", start_ns=None)]

    engine.agent.wait(lambda each: each.script.ok)
    engine.agent.configure(revision=1, scenarios=both, run_state=pb.READY_STATE)
    at = time.monotonic_ns()
    engine.agent.configure(revision=2, scenarios=both, run_state=pb.RUNNING_STATE, start_at_ns=at)
    engine.agent.wait(lambda each: list(each.state.scenario_users) == [2, 0])
    both[0].over = True
    both[1].start_ns = time.monotonic_ns() - at
    engine.agent.configure(revision=3, scenarios=both, run_state=pb.RUNNING_STATE, start_at_ns=at)
    engine.agent.wait(lambda each: list(each.state.scenario_users) == [0, 2])
    engine.stop()
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    assert all(each.completed > 0 for each in final.counters.scenarios)
    assert target.count()["requests"] == final.counters.completed == final.counters.started


def test_a_scenario_for_a_class_that_is_not_there_is_refused_with_those_that_are(engines: Make) -> None:
    engine = engines(SHOP)
    load = users(1, 1.0, "http://127.0.0.1:1")
    load.user = "Byer"

    engine.agent.wait(lambda each: each.script.ok)
    engine.agent.configure(revision=1, scenarios=[load], run_state=pb.READY_STATE)
    refused = engine.agent.wait(lambda each: each.HasField("script") and not each.script.ok).script

    assert "asks for the class Byer" in refused.problem
    assert "it has Visitor, Buyer" in refused.problem
