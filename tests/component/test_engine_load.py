"""A real engine process under each model of load: what is due is done once and counted once."""

from __future__ import annotations

import json
import socket
import time

from tests.component import engine_process
from tests.component.engine_process import SECOND, VISITOR, Make, Target, iterations, rate, scenario, series, users

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_protocol.v1 import engine_pb2 as pb

# pytest finds a fixture by its name in the module of the test.
engines = engine_process.engines
target = engine_process.target


def test_a_closed_load_ends_by_itself_and_every_request_is_counted_once(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)

    engine.start(users(5, 2.0, target.url))
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    counted = target.count()
    assert counted["requests"] == final.counters.completed == final.counters.started > 100
    assert final.counters.unsent == final.counters.ambiguous == 0
    assert final.full
    assert series(final, "latency", "front page").count == counted["requests"]
    assert series(final, "checks", "front page answers").count == counted["requests"]
    assert series(final, "iterations").total == final.counters.iterations_completed == counted["requests"]


def test_an_arrival_rate_starts_exactly_what_is_due(engines: Make, target: Target) -> None:
    engine = engines(VISITOR)

    engine.start(rate(200, 2.0, target.url))
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    dropped = sum(each.total for each in final.series if each.key.metric == "dropped_iterations")
    assert final.counters.iterations_started + dropped == 400
    assert target.count()["requests"] == final.counters.completed == final.counters.iterations_completed
    assert series(final, "schedule_slip").count == final.counters.iterations_started


def test_two_slots_of_a_rate_share_it_without_overlap(engines: Make, target: Target) -> None:
    pair = [engines(VISITOR), engines(VISITOR)]
    load = rate(101, 1.0, target.url)

    for slot, engine in enumerate(pair):
        engine.arm(load, slot=slot, slots=2)
    at = time.monotonic_ns() + 200_000_000
    for slot, engine in enumerate(pair):
        engine.agent.configure(
            revision=2, scenarios=[load], run_state=pb.RUNNING_STATE, start_at_ns=at, slot=slot, slots=2
        )
    finals = [engine.agent.final() for engine in pair]

    # What an engine without a processor could not start before the end is dropped, and still its own.
    started = [final.counters.iterations_started for final in finals]
    dropped = [sum(each.total for each in final.series if each.key.metric == "dropped_iterations") for final in finals]
    assert [sum(each) for each in zip(started, dropped, strict=True)] == [51, 50]
    assert target.count()["requests"] == sum(started)


def test_a_late_start_in_an_open_model_is_in_latency_and_not_in_service_time(engines: Make, target: Target) -> None:
    engine = engines("""
        import time
        from loadstone import User, task

        class Visitor(User):
            @task
            def front_page(self):
                self.http.get("/")
                if self.iteration == 3:
                    end = time.monotonic() + 0.3
                    while time.monotonic() < end:
                        pass
    """)

    engine.start(rate(100, 1.0, target.url))
    final = engine.agent.final()

    # What was due at the very end is not handed out any more where the machine is busy beside the script.
    assert 50 < final.counters.completed == series(final, "latency").count <= 100
    slip = series(final, "schedule_slip")
    assert series(final, "latency").total - series(final, "service_time").total == slip.total > 2 * SECOND
    assert series(final, "iteration_duration").maximum > 200_000_000
    assert slip.maximum > 200_000_000
    lag = max(each.status.loop_lag_ns for each in engine.agent.received if each.HasField("status"))
    assert lag > 200_000_000


def grants(ranges: list[pb.IterationRange], first_range: int = 0) -> list[pb.Grant]:
    return [pb.Grant(name="iterations/default", ranges=ranges, first_range=first_range)]


def done(message: pb.EngineMessage, ranges: int) -> bool:
    """Say whether an engine has used up as many ranges, and no more."""
    return any(each.known == ranges and not each.left for each in message.status.grants)


def test_granted_iterations_are_done_exactly_once_whatever_is_repeated(engines: Make, target: Target) -> None:
    engine = engines("""
        from loadstone import User, task

        class Visitor(User):
            @task
            def one(self):
                self.http.get(f"/status/2{self.iteration:02d}", name="numbered")
    """)
    load = iterations(30, 3, target.url)
    granted = [pb.IterationRange(start=0, count=7), pb.IterationRange(start=20, count=3)]

    engine.arm(load, grants=grants(granted))
    at = time.monotonic_ns()
    for revision in (2, 3, 4):
        engine.agent.configure(
            revision=revision, scenarios=[load], run_state=pb.RUNNING_STATE, start_at_ns=at, grants=grants(granted)
        )
    engine.agent.wait(lambda each: done(each, 2))
    engine.agent.configure(
        revision=5,
        scenarios=[load],
        run_state=pb.RUNNING_STATE,
        start_at_ns=at,
        grants=grants([granted[1], pb.IterationRange(start=40, count=1)], first_range=1),
    )
    engine.agent.wait(lambda each: done(each, 3))
    engine.stop()
    final = engine.agent.final()

    assert final.counters.iterations_completed == 11
    numbers = [*range(7), *range(20, 23), 40]
    assert target.count()["by_path"] == {f"/status/2{number:02d}": 1 for number in numbers}


def test_users_come_and_go_with_the_profile_and_finish_their_iteration(engines: Make, target: Target) -> None:
    engine = engines("""
        from loadstone import User, task

        class Visitor(User):
            @task
            def slow(self):
                self.http.get("/slow?ms=200", name="slow")

            def on_stop(self):
                self.http.get("/", name="bye")
    """)
    segments = (Segment(0, SECOND, 6, 6), Segment(SECOND, SECOND, 2, 2))
    load = scenario(LoadProfile(Model.USERS, Profile(segments, 2 * SECOND), None), target.url)

    engine.start(load)
    final = engine.agent.final()

    assert [state.users for state in engine.agent.states() if state.second in {0, 1}][:2] == [6, 2]
    assert series(final, "latency", "bye").count == 6
    assert not any(outcome.name == "failed" for outcome in series(final, "latency", "slow").outcomes)
    assert target.count()["requests"] == final.counters.completed


def test_a_refused_target_is_counted_and_never_raises(engines: Make) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    engine = engines(VISITOR.replace("@task", "wait = lambda self: 0.05\n\n        @task", 1))

    engine.start(users(2, 1.0, url))
    final = engine.agent.final()

    assert final.counters.completed == final.counters.unsent > 10
    assert [(each.kind, each.name) for each in final.errors] == [("refused", "front page")]
    assert series(final, "checks").total == 0


def test_what_tasks_raise_fails_the_iteration_and_not_the_user(engines: Make, target: Target) -> None:
    engine = engines("""
        import sys
        import gevent
        from loadstone import User, constant, task

        class Visitor(User):
            wait = constant(0.01)

            @task
            def broken(self):
                if self.iteration % 3 == 0:
                    raise KeyError("missing")
                if self.iteration % 3 == 1:
                    gevent.spawn(sys.exit, 3)
                    sys.exit(2)
                with gevent.Timeout(0.001):
                    gevent.sleep(1)
    """)

    engine.start(users(1, 1.0, target.url))
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    assert {each.message.split(":")[0].split(".")[-1] for each in final.errors} == {"KeyError", "SystemExit", "Timeout"}
    assert {each.kind for each in final.errors} == {"exception"}
    failed = {each.name: each.count for each in series(final, "iteration_duration").outcomes}["failed"]
    assert failed == sum(each.count for each in final.errors) == final.counters.iterations_completed > 9
    assert engine.output().count("KeyError: 'missing'") == 1


def test_a_task_without_any_request_lets_the_loop_live(engines: Make, target: Target) -> None:
    engine = engines("""
        from loadstone import User, task

        class Idle(User):
            @task
            def nothing(self):
                pass
    """)

    at = engine.start(users(2, 1.0, target.url))
    final = engine.agent.final()

    assert time.monotonic_ns() - at < 3 * SECOND
    assert final.counters.iterations_completed > 1000


def test_classes_share_the_users_by_weight_and_fixed_count_over_all_slots(engines: Make, target: Target) -> None:
    script = """
        from loadstone import User, task

        class Base(User):
            abstract = True

            def on_start(self):
                self.http.get("/", name=type(self).__name__)

            @task
            def rest(self):
                self.http.get("/slow?ms=60000", name="rest")

        class Often(Base):
            weight = 3

        class Seldom(Base):
            weight = 1

        class Single(Base):
            fixed_count = 1
    """
    pair = [engines(script), engines(script)]
    for slot, engine in enumerate(pair):
        engine.start(users(9, 60.0, target.url), slot=slot, slots=2)
    time.sleep(0.5)
    for engine in pair:
        engine.stop(graceful_ns=0)
    finals = [engine.agent.final() for engine in pair]

    counts = {"Often": 0, "Seldom": 0, "Single": 0}
    for final in finals:
        for each in final.series:
            if each.key.metric == "latency" and each.key.name in counts:
                counts[each.key.name] += each.count
    assert counts == {"Often": 6, "Seldom": 2, "Single": 1}


def test_what_setup_returned_reaches_every_user(engines: Make, target: Target) -> None:
    engine = engines("""
        from loadstone import User, task

        class Visitor(User):
            @task
            def front_page(self):
                self.http.get("/", name=self.setup_data["names"][self.number])
                self.stop()
    """)

    engine.start(users(2, 1.0, target.url), setup_json=json.dumps({"names": ["anna", "ben"]}).encode())
    final = engine.agent.final()

    assert sorted(each.key.name for each in final.series if each.key.metric == "latency") == ["anna", "ben"]
    assert final.counters.completed == 2
