"""What scripts can say, on a real engine process: the harness is that of test_engine."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType

import pytest

from loadstone_protocol.v1 import engine_pb2 as pb

SECOND = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]


def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("engine_harness", Path(__file__).with_name("test_engine.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lab = harness()
engines, target = lab.engines, lab.target


def errors(final) -> dict[tuple[str, str], int]:
    return {(each.kind, each.message): each.count for each in final.errors}


def counts(final, metric: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in final.series:
        if each.key.metric == metric:
            found[each.key.name] = found.get(each.key.name, 0) + each.count
    return found


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

    engine.start(lab.users(3, 1.0, target.url))
    final = engine.agent.final()

    got = counts(final, "latency")
    assert got["pay: start"] == got["pay: stop"] > 10
    assert 0 <= 2 * got["pay: card"] - got["pay: twice"] <= 6
    assert got["tour: stop"] == 3, "whoever ends within a set leaves all sets that it is in"
    assert set(counts(final, "iterations")) == {f"Shop.Tour.Pay.{name}" for name in ("card", "twice", "leave")}
    assert sum(got.values()) == final.counters.completed == target.count()["requests"]
    assert not final.errors


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

    engine.start(lab.users(4, 1.5, target.url))
    final = engine.agent.final()

    assert final.counters.completed == final.counters.iterations_completed == 3
    assert not final.errors
    assert engine.agent.states()[0].users == 0


@pytest.mark.parametrize("role", ["engine", "director"])
def test_the_wish_to_end_the_run_is_said_until_it_ends(engines, target, role) -> None:
    engine = engines(
        """
        from loadstone import User, constant, events, setup, stop_run, task

        class Visitor(User):
            wait = constant(0.01)

            @task
            def one(self):
                if self.iteration == 5:
                    stop_run("enough seen")
                    stop_run("a second reason")

        @setup
        def prepare(run):
            stop_run("enough seen")
        """,
        role=role,
        target=target.url,
    )

    if role == "engine":
        engine.start(lab.users(1, 60.0, target.url))
    else:
        engine.agent.wait(lambda each: each.HasField("script"))
        engine.agent.send(pb.ToEngine(setup=pb.SetupRequest()))
    engine.agent.wait(lambda each: each.status.stop_asked == "enough seen")
    engine.agent.hang_up()
    with engine.agent.changed:
        engine.agent.received.clear()
    engine.agent.wait(lambda each: each.status.stop_asked == "enough seen")

    assert engine.process.poll() is None, "the run ends when the master says so"


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
                for number in range(1_000_000):
                    orders.add(1, user=number)
                raise StopUser
    """)

    engine.start(lab.users(1, 60.0, target.url))
    before = engine.agent.wait(lambda each: each.status.stage == lab.Stage.RUNNING).status.memory_bytes
    engine.agent.wait(lambda each: each.state.counters.iterations_completed == 1, 60)
    engine.stop()
    final = engine.agent.final()

    orders = [each for each in final.series if each.key.metric == "orders"]
    assert sum(each.total for each in orders) == 1_000_000
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


def test_measured_calls_are_requests_that_are_told_apart_from_those_that_we_sent(engines, target) -> None:
    engine = engines(MEASURED)

    engine.start(lab.users(2, 1.0, target.url))
    final = engine.agent.final()

    counters, got = final.counters, counts(final, "latency")
    assert got["PING"] == got["timed"] == got["broken"] == got["ours"] == target.count()["requests"] > 10
    assert counters.completed == counters.started == 4 * got["ours"]
    assert counters.completed - counters.measured == target.count()["requests"]
    ping = lab.series(final, "latency", "PING")
    assert ping.key.method == "redis"
    assert {each.name: each.count for each in ping.outcomes}["bytes_received"] == 7 * ping.count
    assert lab.series(final, "latency", "timed").total == ping.count * 12_500_000
    said = errors(final)
    assert said[("ConnectionError", "gone")] == got["broken"]
    assert said[("no pong", "")] == sum(each.count for each in ping.outcomes if each.name == "failed")


def test_after_sigkill_measured_calls_stay_told_apart(engines, target) -> None:
    engine = engines(MEASURED.replace("wait = constant(0.01)", ""))
    engine.start(lab.users(20, 60.0, target.url))
    time.sleep(0.8)

    engine.process.kill()
    engine.process.wait()

    time.sleep(0.2)
    counters, counted = engine.counters(), target.count()["requests"]
    ours = counters.completed - counters.unsent - counters.ambiguous - counters.measured
    assert ours <= counted <= counters.started - counters.unsent - counters.measured
    assert counters.measured > 100


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

    engine.start(lab.rate(100, 1.0, target.url))
    final = engine.agent.final()

    slip = lab.series(final, "schedule_slip").total
    first = lab.series(final, "latency", "first").total - lab.series(final, "service_time", "first").total
    second = lab.series(final, "latency", "second").total - lab.series(final, "service_time", "second").total
    assert (first, second) == (slip, 0)
    assert slip > SECOND


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
        engine.arm(lab.users(4, 1.5, target.url), slot=slot, slots=2)
    at = time.monotonic_ns() + 100_000_000
    for slot, engine in enumerate(pair):
        engine.agent.configure(
            revision=2,
            load=lab.users(4, 1.5, target.url),
            run_state=pb.RUNNING_STATE,
            start_at_ns=at,
            slot=slot,
            slots=2,
        )
    finals = [engine.agent.final() for engine in pair]

    assert target.count()["by_path"] == {f"/status/{code}": 1 for code in range(200, 250)}
    for final in finals:
        assert errors(final) == {("feeder", "all 50 rows are used up"): 2}
        assert not any(each.name == "failed" for each in lab.series(final, "iteration_duration").outcomes)
    assert [engine.agent.states()[-1].users for engine in pair] == [0, 0]


LISTENING = """
    import time
    import gevent
    from loadstone import User, constant, events, task

    heard = []

    @events.test_start.add_listener
    def begin(environment):
        heard.append(f"start {environment.is_director} {environment.setup_data}")

    @events.spawning_complete.add_listener
    def spawned(user_count):
        heard.append(f"spawned {user_count}")

    requests = []

    @events.request.add_listener
    def note(request_type, name, status, response_time, url, context, exception, **others):
        requests.append((request_type, name, status, url, context.get("kind"), exception))

    @events.request.add_listener
    def broken(name):
        raise ValueError("listener")

    @events.request.add_listener
    def blocked(name):
        gevent.sleep(3600)

    @events.test_stop.add_listener
    def end():
        heard.append("stop")

    @events.quitting.add_listener
    def quit():
        print("HEARD", heard, len(requests), sorted(set(requests), key=str), flush=True)

    class Visitor(User):
        wait = constant(0.02)

        @task
        def one(self):
            self.http.get("/status/404", name="missing", context={"kind": "a"})
            with self.http.get("/", catch_response=True) as reply:
                reply.rename("by hand")
"""


def test_listeners_hear_everything_beside_the_load_and_their_errors_are_counted(engines, target) -> None:
    engine = engines(LISTENING)

    begin = engine.start(lab.users(3, 1.0, target.url), setup_json=b'"data"')
    final = engine.agent.final()

    assert time.monotonic_ns() - begin < 12 * SECOND, "a blocked listener holds up the end by its drains only"
    requests = final.counters.completed
    heard = engine.output().split("HEARD ")[1].splitlines()[0]
    assert heard.startswith(f"['start False data', 'spawned 3', 'stop'] {requests} ")
    assert heard.endswith(
        f"[('GET', 'by hand', 200, '{target.url}/', None, None),"
        f" ('GET', 'missing', 404, '{target.url}/status/404', 'a', 'status 404')]"
    )
    said = {(each.kind, each.name.split(": ")[-1], each.message.split(":")[0]): each.count for each in final.errors}
    assert said.pop(("status 404", "missing", "")) == requests // 2
    assert said == {
        ("listener", "broken", "ValueError"): requests,
        ("listener", "blocked", "the run has ended before it was heard"): requests - 1,
    }
    assert [state.second for state in engine.agent.states()][:2] == [0, 1]
    assert target.count()["requests"] == requests


def test_a_director_hears_what_the_master_says_and_watches_the_run(engines, target) -> None:
    director = engines(
        """
        from loadstone import User, events, every, stop_run, task

        class Visitor(User):
            @task
            def one(self): ...

        @events.worker_lost.add_listener
        def lost(worker, reason, message, environment):
            print("LOST", worker, reason, message, environment.is_director, flush=True)

        @every(2)
        def watch(summary):
            if summary.failures > 5:
                stop_run(f"{summary.failures} failures")
            raise KeyError("watch")

        @events.quitting.add_listener
        def quit():
            print("QUIT", flush=True)
        """,
        role="director",
        target=target.url,
    )
    director.agent.wait(lambda each: each.HasField("script"))

    told = json.dumps({"worker": 3, "reason": "Evicted", "message": "node full"}).encode()
    director.agent.send(pb.ToEngine(happening=pb.Happening(event="worker_lost", told_json=told)))
    for second in range(1, 5):
        summary = json.dumps({"seconds": second, "failures": second * 2}).encode()
        director.agent.send(pb.ToEngine(summary=pb.Summary(summary_json=summary)))
        time.sleep(0.05)
    status = director.agent.wait(lambda each: each.status.errors and each.status.errors[0].count == 2).status
    director.process.send_signal(signal.SIGTERM)

    assert director.process.wait(timeout=10) == 0
    assert status.stop_asked == "8 failures"
    assert (status.errors[0].kind, status.errors[0].message) == ("listener", "KeyError: 'watch'")
    assert status.errors[0].name.endswith("every(2): watch")
    assert "LOST 3 Evicted node full True\n" in director.output()
    assert director.output().rstrip().endswith("QUIT")


def test_what_a_script_raises_to_end_its_process_ends_one_iteration(engines, target) -> None:
    engine = engines("""
        import os, sys
        import gevent
        from loadstone import User, constant, task

        class Visitor(User):
            wait = constant(0.01)

            @task
            def rude(self):
                self.http.get("/", name="one")
                gevent.spawn(self.raises, KeyboardInterrupt).join()
                gevent.spawn(self.raises, SystemExit).join()
                raise (SystemExit, KeyboardInterrupt, gevent.GreenletExit)[self.iteration % 3]

            def raises(self, error):
                raise error

            def on_stop(self):
                sys.exit("in on_stop")
    """)

    engine.start(lab.users(2, 1.0, target.url))
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    kinds = {each.message.split(":")[0].split(".")[-1] for each in final.errors}
    assert kinds == {"SystemExit", "KeyboardInterrupt", "GreenletExit"}
    failed = {each.name: each.count for each in lab.series(final, "iteration_duration").outcomes}["failed"]
    assert failed == final.counters.iterations_completed == target.count()["requests"] > 10


def test_greenlets_that_a_script_leaves_are_counted_and_ended_with_the_run(engines, target) -> None:
    engine = engines("""
        import gevent
        from gevent.event import Event
        from loadstone import StopUser, User, check, task

        for_ever = Event()

        class Leaky(User):
            def linger(self):
                check("in a greenlet of its own", True)
                for_ever.wait()

            @task
            def leak(self):
                for _ in range(3000):
                    gevent.spawn(self.linger)
                raise StopUser
    """)

    engine.start(lab.users(1, 1.0, target.url))
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    assert errors(final) == {
        ("greenlets", "more than 1000 greenlets of the script live"): 1,
        ("greenlets", "more than 2000 greenlets of the script live"): 1,
    }
    assert lab.series(final, "checks").count == 3000
    assert "Ended 3000 greenlets that the script had started and left" in engine.output()


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

    engine.start(lab.users(1, 0.5, target.url))
    got = counts(engine.agent.final(), "latency")

    assert got["unset"] == 1
    assert got["set"] > 3


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


DEBUGGED = """
import sys
from loadstone import *

orders = Counter("orders", unit="1")

@setup
def prepare(run):
    return {"pair": (1, 2), "front": run.http.get("/").status}

@teardown
def clean(run):
    print("torn down with", run.setup_data)

class Shop(User):
    wait = constant(5)

    def on_start(self):
        print("begins with", self.setup_data)

    @task
    def front(self):
        reply = self.http.get("/", name="front page")
        check("it answers", reply.status == 200)
        orders.add(2, tier="gold")
        with measure("PING", protocol="redis"):
            pass

    @task(0)
    def off(self): ...

class Bad(User):
    @task
    class Set(SequentialTaskSet):
        @task
        def fails(self):
            with self.http.rename("all of them"):
                self.http.get("/status/503")
            check("never", False)

        @task
        def raises(self):
            raise KeyError("deep")

class Stepped(User):
    @task
    def step(self):
        secret = 41
        breakpoint()
        print("went on")

if __name__ == "__main__":
    sys.exit(not debug(Shop, target=sys.argv[1]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "shop.py"
    path.write_text(DEBUGGED)
    return path


def debug(script: Path, *options: str, given: str = "") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "loadstone_cli", "debug", str(script), *options],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONBREAKPOINT": ""},
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def test_debugging_shows_each_thing_that_a_user_does_and_leaves_pauses_out(script, target) -> None:
    begin = time.monotonic()
    code, shown = debug(script, "--target", target.url, "-n", "2")

    assert time.monotonic() - begin < 5
    assert code == 0
    lines = [line.split(" ms")[0].rsplit(" ", 1)[0] if " ms" in line else line for line in shown.splitlines()]
    once = [
        f"  GET front page ({target.url}/) 200",
        "  check holds: it answers",
        "  counter orders = 2 {tier=gold}",
        "  redis PING",
    ]
    assert lines == [
        "setup: prepare()",
        "  GET / 200",
        "begins with {'pair': [1, 2], 'front': 200}",
        "Shop.front (iteration 0)",
        *once,
        "  (a pause of 5 s is left out)",
        "Shop.front (iteration 1)",
        *once,
        "teardown: clean()",
        "torn down with {'pair': [1, 2], 'front': 200}",
        "all went well",
    ]
    assert target.count()["requests"] == 3


def test_debugging_exits_1_when_something_fails_and_shows_the_traceback_of_the_script(script, target) -> None:
    code, shown = debug(script, "--target", target.url, "--user", "Bad", "-n", "2")

    assert code == 1
    assert f"  GET all of them ({target.url}/status/503) 503" in shown
    assert "FAILED: status 503" in shown
    assert "  check FAILED: never" in shown
    assert f'File "{script}", line' in shown
    assert "KeyError: 'deep'" in shown
    assert "loadstone_runner" not in shown
    assert shown.rstrip().endswith("3 things went wrong")


def test_debugging_takes_one_task_wherever_it_is(script, target) -> None:
    code, shown = debug(script, "--target", target.url, "--task", "raises")

    assert code == 1
    assert "Bad.Set.raises (iteration 0)" in shown


def test_a_breakpoint_stops_in_the_script_and_its_values_can_be_seen(script, target) -> None:
    code, shown = debug(script, "--target", target.url, "--task", "step", given="p secret + 1\ncontinue\n")

    assert code == 0, shown
    assert "(Pdb) 42" in shown
    assert "went on" in shown


def test_a_script_can_debug_itself_as_a_plain_program(script, target) -> None:
    done = subprocess.run([sys.executable, str(script), target.url], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Shop.front (iteration 0)" in done.stdout
    assert done.stdout.rstrip().endswith("all went well")


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (DEBUGGED, ("--task", "nowhere"), "there is no task nowhere; there are Shop.front"),
        (DEBUGGED, ("--user", "Nobody"), "there is no User class Nobody; there are Shop, Bad, Stepped"),
        ("import nowhere_at_all\n", (), "shop.py cannot be imported: ModuleNotFoundError"),
        ("x = 1\n", (), "has nothing to run"),
    ],
)
def test_what_cannot_be_debugged_is_said_in_a_sentence(script, content, options, said) -> None:
    script.write_text(content)
    code, shown = debug(script, *options)

    assert code == 2
    assert said in shown


def test_setup_that_raises_ends_the_debugging(script) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script.write_text(
        textwrap.dedent("""
        from loadstone import User, setup, task

        @setup
        def prepare(run):
            run.http.get("/")
            raise ValueError("no database")

        class Shop(User):
            @task
            def never(self): ...
    """)
    )
    code, shown = debug(script, "--target", f"http://127.0.0.1:{port}")

    assert code == 1
    assert "FAILED: refused" in shown
    assert "ValueError: no database" in shown
    assert "never" not in shown.split("all", 1)[0].replace("def never", "")


WHOLE = """
apiVersion: loadstone.dev/v1alpha1
kind: LoadTest
metadata: {name: whole}
spec:
  engine: native
  source:
    inline:
      content: |
        from loadstone import *

        rows = csv_feeder("rows.csv", order="unique")
        orders, sizes = Counter("orders"), Trend("sizes", unit="byte")

        class Visitor(User):
            wait_time = constant(0.02)

            @task
            def one(self):
                row = rows.next()
                with self.http.get(f"/status/{row['code']}", catch_response=True) as reply:
                    reply.rename("row")
                    reply.success()
                orders.add(1, tier=row["tier"])
                with measure("PING", protocol="redis"):
                    sizes.add(len(reply.body))

        @setup
        def prepare(run):
            return "prepared"

        @every(1)
        def watch(summary):
            if summary.requests > 60:
                stop_run("more than 60 requests")
            raise KeyError("watch")

        seen = []
        for name in ("test_start", "spawning_complete", "test_stop", "quitting"):
            getattr(events, name).add_listener(lambda name=name: seen.append(name))

        @teardown
        def clean(run):
            assert seen == ["test_start", "spawning_complete", "test_stop"], seen
      files:
        rows.csv: |
          code,tier
ROWS
  load: {target: http://shop, users: 4, duration: 60s}
  workers: {replicas: 2}
  thresholds:
  - {name: ordered, expr: 'orders:count > 10'}
  - {name: gold, expr: 'orders{tier="gold"}:count > 10'}
  - {name: sizes, expr: 'sizes:p95 < 1000'}
"""


def test_a_whole_run_keeps_what_its_script_says_and_quotes_why_it_was_stopped(target, tmp_path) -> None:
    rows = "\n".join(f"          {code},{'gold' if code % 2 else 'free'}" for code in range(200, 600))
    (tmp_path / "whole.yaml").write_text(WHOLE.replace("ROWS", rows))
    status_file = tmp_path / "status.json"
    command = ["run", str(tmp_path / "whole.yaml"), "--quiet", "--set", f"load.target={target.url}"]
    done = subprocess.run(
        [sys.executable, "-m", "loadstone_cli", *command, "--status", str(status_file), "--results", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    status = json.loads(status_file.read_text())
    results, counted = status["results"], target.count()

    assert done.returncode == 130, done.stderr
    assert (status["verdict"], status["reason"]) == ("Aborted", "Stopped")
    assert status["message"] == "the script stopped the run: more than 60 requests"
    assert {each["name"]: each["verdict"] for each in status["thresholds"]} == dict.fromkeys(
        ("ordered", "gold", "sizes"), "Passed"
    )
    assert any("errors of listeners in the director" in each and "KeyError" in each for each in status["findings"])
    assert not any("teardown" in each for each in status["findings"])
    assert results["requests"] - results["measured"] == counted["requests"]
    assert set(counted["by_path"].values()) == {1}, "no row was given twice"
    assert {each["name"] for each in results["endpoints"]} == {"PING", "row"}
