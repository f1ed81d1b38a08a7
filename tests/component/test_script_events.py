"""What scripts hear, how they end things, and what they leave behind, on real processes."""

import json
import signal
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


@pytest.mark.promise("script-events")
def test_listeners_hear_everything_beside_the_load_and_their_errors_are_counted(engines, target) -> None:
    engine = engines(LISTENING)

    begin = engine.start(engine_process.users(3, 1.0, target.url), setup_json=b'"data"')
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
        ("listener", "blocked", "it was cut off, as it took longer than there is time at the end"): 1,
    }
    assert [state.second for state in engine.agent.states()][:2] == [0, 1]
    assert target.count()["requests"] == requests


@pytest.mark.promise("script-events")
def test_a_director_hears_what_the_master_says_and_watches_the_run(engines, target) -> None:
    director = engines(
        """
        from loadstone import User, events, every, stop_run, task

        class Visitor(User):
            @task
            def one(self): ...

        @events.worker_lost.add_listener
        def lost(worker, message, environment):
            print("LOST", worker, message, environment.is_director, flush=True)

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

    told = pb.RunEvent(kind=pb.RunEvent.WORKER_LOST, worker=3, message="node full")
    director.agent.send(pb.ToEngine(event=told))
    for second in range(1, 5):
        summary = json.dumps({"seconds": second, "failures": second * 2}).encode()
        director.agent.send(pb.ToEngine(summary=pb.Summary(json=summary)))
        time.sleep(0.05)
    status = director.agent.wait(lambda each: each.status.errors and each.status.errors[0].count == 2).status
    director.process.send_signal(signal.SIGTERM)

    assert director.process.wait(timeout=10) == 0
    assert status.stop_asked == "8 failures"
    assert (status.errors[0].kind, status.errors[0].message) == ("listener", "KeyError: 'watch'")
    assert status.errors[0].name.endswith("every(2): watch")
    assert "LOST 3 node full True\n" in director.output()
    assert director.output().rstrip().endswith("QUIT")


@pytest.mark.promise("script-stop-run")
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
        engine.start(engine_process.users(1, 60.0, target.url))
    else:
        engine.agent.wait(lambda each: each.HasField("script"))
        engine.agent.send(pb.ToEngine(setup=pb.SetupRequest()))
    engine.agent.wait(lambda each: each.status.stop_asked == "enough seen")
    engine.agent.hang_up()
    with engine.agent.changed:
        engine.agent.received.clear()
    engine.agent.wait(lambda each: each.status.stop_asked == "enough seen")

    assert engine.process.poll() is None, "the run ends when the master says so"


@pytest.mark.promise("script-raises")
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

    engine.start(engine_process.users(2, 1.0, target.url))
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    kinds = {each.message.split(":")[0].split(".")[-1] for each in final.errors}
    assert kinds == {"SystemExit", "KeyboardInterrupt", "GreenletExit"}
    failed = {each.name: each.count for each in engine_process.series(final, "iteration_duration").outcomes}["failed"]
    assert failed == final.counters.iterations_completed == target.count()["requests"] > 10


@pytest.mark.promise("script-greenlets")
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

    engine.start(engine_process.users(1, 1.0, target.url))
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    assert errors(final) == {
        ("greenlets", "more than 1000 greenlets of the script live"): 1,
        ("greenlets", "more than 2000 greenlets of the script live"): 1,
    }
    assert engine_process.series(final, "checks").count == 3000
    assert "Ended 3000 greenlets that the script had started and left" in engine.output()


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
            if summary.requests > 60 and "spawning_complete" in seen:
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


@pytest.mark.promise("script-feeders", "script-metrics", "script-stop-run", "exact-totals")
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
    assert not any("teardown" in each for each in status["findings"]), status["findings"]
    assert results["requests"] - results["measured"] == counted["requests"]
    assert set(counted["by_path"].values()) == {1}, "no row was given twice"
    assert {each["name"] for each in results["endpoints"]} == {"PING", "row"}
