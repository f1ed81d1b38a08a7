"""What scripts can do and measure, on a real engine process."""

import subprocess
import sys
import time

import pytest
from tests.component import engine_process

from loadstone_protocol.v1 import engine_pb2 as pb

# pytest finds a fixture by its name in the module of the test.
engines = engine_process.engines
target = engine_process.target
SECOND = 1_000_000_000


def errors(final) -> dict[tuple[str, str], int]:
    return {(each.kind, each.message): each.count for each in final.errors}


def counts(final, metric: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in final.series:
        if each.key.metric == metric:
            found[each.key.name] = found.get(each.key.name, 0) + each.count
    return found


@pytest.mark.promise("script-tasks")
def test_sets_sequences_and_their_starts_and_stops_make_the_requests_that_they_say(engines, target) -> None:
    engine = engines("""
        from loadstone import SequentialTaskSet, TaskSet, User, constant, task

        class Pay(SequentialTaskSet):
            def on_start(self):
                self.http.get("/", name="pay: start")

            @task
            def card(self):
                self.http.get("/", name="pay: card")

            @task(2)
            def twice(self):
                self.http.get("/", name="pay: twice")

            @task
            def leave(self):
                self.interrupt()

            def on_stop(self):
                self.client.get("/", name="pay: stop")

        class Shop(User):
            wait_time = constant(0.001)

            @task
            class Tour(TaskSet):
                tasks = {Pay: 1}

                def on_stop(self):
                    self.user.http.get("/", name="tour: stop")
    """)

    engine.start(engine_process.users(3, 1.0, target.url))
    final = engine.agent.final()

    got = counts(final, "latency")
    assert got["pay: start"] == got["pay: stop"] > 10
    assert 0 <= 2 * got["pay: card"] - got["pay: twice"] <= 6
    assert got["tour: stop"] == 3, "whoever ends within a set leaves all sets that it is in"
    assert set(counts(final, "iterations")) == {f"Shop.Tour.Pay.{name}" for name in ("card", "twice", "leave")}
    assert sum(got.values()) == final.counters.completed == target.count()["requests"]
    assert not final.errors


@pytest.mark.promise("script-stop-user")
def test_a_user_that_stops_is_completed_and_nobody_takes_its_place(engines, target) -> None:
    engine = engines("""
        from loadstone import StopUser, User, task

        class Once(User):
            def on_start(self):
                if self.number == 2:
                    raise StopUser

            @task
            def one(self):
                self.http.get("/", name="one")
                raise StopUser("done")
    """)

    engine.start(engine_process.users(4, 1.5, target.url))
    final = engine.agent.final()

    assert final.counters.completed == final.counters.iterations_completed == 3
    assert not final.errors
    assert engine.agent.states()[0].users == 0


@pytest.mark.promise("script-metrics")
def test_metrics_of_a_scripts_own_take_anything_and_end_nobody(engines, target) -> None:
    engine = engines("""
        from loadstone import Counter, Gauge, Rate, StopUser, Trend, User, task

        orders, queue, hits, sizes = Counter("orders"), Gauge("queue"), Rate("hits"), Trend("sizes", unit="cent")

        class Visitor(User):
            @task
            def one(self):
                for value in (float("nan"), float("inf"), 10**400, -5, "text", None, object()):
                    orders.add(value, tier="x" * 1_000_000)
                    sizes.add(value)
                    queue.set(value)
                hits.add(True, **{"a" * 1_000_000: "\\ud800"})
                for number in range(250_000):
                    orders.add(1, user=number)
                raise StopUser
    """)

    engine.start(engine_process.users(1, 60.0, target.url))
    before = engine.agent.wait(lambda each: each.status.stage == engine_process.Stage.RUNNING).status.memory_bytes
    engine.agent.wait(lambda each: each.state.counters.iterations_completed == 1, 60)
    engine.stop()
    final = engine.agent.final()

    orders = [each for each in final.series if each.key.metric == "orders"]
    assert sum(each.total for each in orders) == 250_000
    assert len(orders) <= 2_001
    assert {each.key.metric: each.total for each in final.series}["sizes"] == -5
    assert sum(each.count for each in final.errors if each.kind == "metric") == 7 + 6 + 6
    assert {each.kind for each in final.errors} == {"metric"}
    assert final.counters.iterations_completed == 1
    after = max(each.status.memory_bytes for each in engine.agent.received if each.HasField("status"))
    assert after - before < 40 * 1024 * 1024


MEASURED = """
    import socket
    from loadstone import User, constant, events, measure, task

    class Custom(User):
        wait = constant(0.01)

        @task
        def calls(self):
            self.http.get("/", name="ours")
            with measure("PING", protocol="redis") as call:
                call.size = 7
                if self.iteration % 2:
                    call.failure("no pong")
            events.request.fire(request_type="own", name="timed", response_time=12.5, response_length=2)
            with measure("broken", protocol="own"):
                raise ConnectionError("gone")
"""


@pytest.mark.promise("script-measure")
def test_measured_calls_are_requests_that_are_told_apart_from_those_that_we_sent(engines, target) -> None:
    engine = engines(MEASURED)

    engine.start(engine_process.users(2, 1.0, target.url))
    final = engine.agent.final()

    counters, got = final.counters, counts(final, "latency")
    assert got["PING"] == got["timed"] == got["broken"] == got["ours"] == target.count()["requests"] > 10
    assert counters.completed == counters.started == 4 * got["ours"]
    assert counters.completed - counters.measured == target.count()["requests"]
    ping = engine_process.series(final, "latency", "PING")
    assert ping.key.method == "redis"
    assert {each.name: each.count for each in ping.outcomes}["bytes_received"] == 7 * ping.count
    assert engine_process.series(final, "latency", "timed").total == ping.count * 12_500_000
    said = errors(final)
    assert said[("ConnectionError", "gone")] == got["broken"]
    assert said[("no pong", "")] == sum(each.count for each in ping.outcomes if each.name == "failed")


@pytest.mark.promise("script-measure", "kill-bounds")
def test_after_sigkill_measured_calls_stay_told_apart(engines, target) -> None:
    engine = engines(MEASURED.replace("wait = constant(0.01)", ""))
    engine.start(engine_process.users(20, 60.0, target.url))
    time.sleep(0.8)

    engine.process.kill()
    engine.process.wait()

    time.sleep(0.2)
    counters, counted = engine.counters(), target.count()["requests"]
    ours = counters.completed - counters.unsent - counters.ambiguous - counters.measured
    assert ours <= counted <= counters.started - counters.unsent - counters.measured
    assert counters.measured > 100


@pytest.mark.promise("script-measure")
def test_the_first_measured_call_of_a_late_iteration_carries_its_delay(engines, target) -> None:
    engine = engines("""
        import time
        from loadstone import User, measure, task

        class Visitor(User):
            @task
            def one(self):
                if self.iteration == 3:
                    end = time.monotonic() + 0.3
                    while time.monotonic() < end:
                        pass
                for name in ("first", "second"):
                    with measure(name):
                        pass
    """)

    engine.start(engine_process.rate(100, 1.0, target.url))
    final = engine.agent.final()

    slip = engine_process.series(final, "schedule_slip").total
    first = (
        engine_process.series(final, "latency", "first").total
        - engine_process.series(final, "service_time", "first").total
    )
    second = (
        engine_process.series(final, "latency", "second").total
        - engine_process.series(final, "service_time", "second").total
    )
    assert (first, second) == (slip, 0)
    assert slip > SECOND


@pytest.mark.promise("script-feeders")
def test_unique_rows_go_to_one_user_of_one_engine_and_when_they_are_used_up_users_end(engines, target) -> None:
    script = """
        from pathlib import Path
        Path(__file__).with_name("rows.csv").write_text("code\\n" + "".join(f"{each}\\n" for each in range(200, 250)))

        from loadstone import User, csv_feeder, task

        rows = csv_feeder("rows.csv", order="unique")

        class Visitor(User):
            @task
            def one(self):
                self.http.get(f"/status/{rows.next()['code']}", name="row")
    """
    pair = [engines(script), engines(script)]
    for slot, engine in enumerate(pair):
        engine.arm(engine_process.users(4, 1.5, target.url), slot=slot, slots=2)
    at = time.monotonic_ns() + 100_000_000
    blocks = (((0, 25), (50, 10)), ((25, 25), (60, 10)))
    ranges = [[pb.IterationRange(start=start, count=count) for start, count in each] for each in blocks]
    for slot, engine in enumerate(pair):
        engine.agent.configure(
            revision=2,
            scenarios=[engine_process.users(4, 1.5, target.url)],
            grants=[pb.Grant(name="feeder/rows.csv", ranges=ranges[slot])],
            run_state=pb.RUNNING_STATE,
            start_at_ns=at,
            slot=slot,
            slots=2,
        )
    finals = [engine.agent.final() for engine in pair]

    assert target.count()["by_path"] == {f"/status/{code}": 1 for code in range(200, 250)}
    for final in finals:
        assert errors(final) == {("feeder", "all 50 rows are used up"): 2}
        assert not any(each.name == "failed" for each in engine_process.series(final, "iteration_duration").outcomes)
    assert [engine.agent.states()[-1].users for engine in pair] == [0, 0]


@pytest.mark.promise("script-config")
def test_config_reaches_running_users(engines, target) -> None:
    engine = engines("""
        from loadstone import User, config, constant, seat, task

        class Visitor(User):
            wait = constant(0.01)

            @task
            def one(self):
                self.http.get("/", name=config.get("name", "unset"))
                seat.set_config({"name": "set"})
    """)

    engine.start(engine_process.users(1, 0.5, target.url))
    got = counts(engine.agent.final(), "latency")

    assert got["unset"] == 1
    assert got["set"] > 3


@pytest.mark.promise("script-import")
def test_importing_the_package_patches_and_loads_nothing_of_an_engine() -> None:
    code = """
import asyncio, json, select, socket, ssl, sys, threading, time

before = {name: id(value) for module in (socket, ssl, threading, time, select) for name, value in vars(module).items()}
modules = set(sys.modules)

async def serve(reader, writer):
    writer.write(await reader.readline())
    writer.close()

async def main():
    import loadstone
    from loadstone import Counter, User, csv_feeder, events, every, measure, task

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    with measure("echo"):
        writer.write(b"alive\\n")
        print((await reader.readline()).decode(), end="")
    server.close()

asyncio.run(main())
after = {name: id(value) for module in (socket, ssl, threading, time, select) for name, value in vars(module).items()}
assert before == after
assert threading.current_thread() is threading.main_thread()
new = sorted({name.split(".")[0] for name in set(sys.modules) - modules})
assert not set(new) & {"gevent", "greenlet", "grpc", "google", "loadstone_runner", "loadstone_protocol"}, new
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
