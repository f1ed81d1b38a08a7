"""A real engine process against a scripted agent on its Unix socket and a target that counts exactly."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.stats.merge import Merge
from loadstone_core.stats.stream import read_counters
from loadstone_protocol.codec import LoadOrder, load_plan_to_message, stream_state_from_message
from loadstone_protocol.framing import Decoder, encode
from loadstone_protocol.v1 import engine_pb2 as pb
from loadstone_protocol.v1 import statistics_pb2
from loadstone_runner.launcher.cgroup import processor_ns

SECOND = 1_000_000_000
SERVER = Path(__file__).resolve().parents[2] / "examples" / "target" / "server.py"
Stage = pb.EngineStatus.Stage

VISITOR = """
    from loadstone import User, check, task

    class Visitor(User):
        @task
        def front_page(self):
            reply = self.http.get("/", name="front page")
            check("front page answers", reply.status == 200)
"""


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


class Target:
    """The example server, as a process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, str(SERVER), "--port", "0"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://{self.process.stdout.readline().split()[-1]}"

    def count(self) -> dict:
        with urllib.request.urlopen(f"{self.url}/count") as reply:
            return json.load(reply)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.end()


class Agent:
    """What the engine talks to: takes everything down, acknowledges states unless told not to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received: list[pb.EngineMessage] = []
        self.acknowledges = True
        self.connections = 0
        self.connection: socket.socket | None = None
        self.changed = threading.Condition()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "agent.sock"))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with self.changed:
                    self.connection = connection
                    self.connections += 1
                with connection, contextlib.suppress(OSError):
                    self.read(connection)

    def read(self, connection: socket.socket) -> None:
        decoder = Decoder()
        while received := connection.recv(65536):
            for payload in decoder.feed(received):
                message = pb.EngineMessage.FromString(payload)
                if message.WhichOneof("kind") == "state" and self.acknowledges:
                    self.send(pb.ToEngine(ack=pb.StateAck(received=message.state.sequence)))
                with self.changed:
                    self.received.append(message)
                    self.changed.notify_all()

    def send(self, message: pb.ToEngine) -> None:
        assert self.connection is not None
        self.connection.sendall(encode(message.SerializeToString()))

    def configure(self, **fields) -> None:
        fields.setdefault("slots", 1)
        self.send(pb.ToEngine(config=pb.EngineConfig(worker=0, attempt=1, **fields)))

    def hang_up(self) -> None:
        assert self.connection is not None
        self.connection.shutdown(socket.SHUT_RDWR)

    def wait(self, wanted: Callable[[pb.EngineMessage], bool], within: float = 20.0) -> pb.EngineMessage:
        """Return the first message that is wanted, those before this call included."""
        end, seen = time.monotonic() + within, 0
        with self.changed:
            while True:
                for message in self.received[seen:]:
                    if wanted(message):
                        return message
                seen = len(self.received)
                left = end - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    raise AssertionError(f"not within {within} s; the last was {self.received[-1:]}")

    def wait_stage(self, stage: "pb.EngineStatus.Stage", within: float = 20.0) -> pb.EngineStatus:
        return self.wait(lambda each: each.status.stage == stage, within).status

    def states(self) -> list[statistics_pb2.StreamState]:
        with self.changed:
            return [each.state for each in self.received if each.WhichOneof("kind") == "state"]

    def final(self, within: float = 20.0) -> statistics_pb2.StreamState:
        return self.wait(lambda each: each.state.final, within).state


class Engine:
    """One engine process and its agent."""

    def __init__(self, script: str, role: str = "engine", target: str = "", command: tuple[str, ...] = ()) -> None:
        self.scratch = tempfile.TemporaryDirectory(prefix="ls-")
        self.folder = Path(self.scratch.name)
        (self.folder / "scripts").mkdir()
        (self.folder / "scripts" / "test.py").write_text(textwrap.dedent(script))
        self.agent = Agent(self.folder)
        self.log = (self.folder / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "loadstone_runner", role))],
            env={
                **os.environ,
                "LOADSTONE_SOCKET_DIR": str(self.folder),
                "LOADSTONE_SCRIPT_DIR": str(self.folder / "scripts"),
                "LOADSTONE_ENTRYPOINT": "test.py",
                "LOADSTONE_ENGINE": "0",
                "LOADSTONE_START": "1",
                "LOADSTONE_ENGINE_ROLE": role,
                "LOADSTONE_TARGET": target,
            },
            stdout=self.log,
            stderr=self.log,
        )

    def arm(self, load: pb.LoadPlan, revision: int = 1, **fields) -> None:
        """Bring the engine to READY."""
        self.agent.wait(lambda each: each.script.ok)
        self.agent.configure(revision=revision, load=load, run_state=pb.READY_STATE, **fields)
        self.agent.wait(lambda each: each.status.stage == Stage.READY and each.status.applied_revision == revision)

    def start(self, load: pb.LoadPlan, lead_ns: int = 100_000_000, **fields) -> int:
        """Bring the engine from its start to RUNNING; return when its load starts."""
        self.arm(load, **fields)
        at = time.monotonic_ns() + lead_ns
        self.agent.configure(revision=2, load=load, run_state=pb.RUNNING_STATE, start_at_ns=at, **fields)
        self.agent.wait_stage(Stage.RUNNING)
        return at

    def stop(self, graceful_ns: int = 5 * SECOND, revision: int = 9) -> None:
        self.agent.configure(revision=revision, run_state=pb.STOPPED_STATE, graceful_stop_ns=graceful_ns)

    def counters(self):
        return read_counters((self.folder / "engine-0-1.counters").read_bytes())

    def output(self) -> str:
        return (self.folder / "log").read_text()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()
        self.agent.listener.close()
        with contextlib.suppress(OSError, AssertionError):
            self.agent.hang_up()
        self.scratch.cleanup()


@pytest.fixture
def engines() -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(*arguments, **options) -> Engine:
        made.append(Engine(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.end()


def users(count: int, seconds: float, target: str, graceful_ns: int = 5 * SECOND) -> pb.LoadPlan:
    duration = int(seconds * SECOND)
    profile = Profile((Segment(0, duration, count, count),), duration)
    return load_plan_to_message(LoadOrder(LoadProfile(Model.USERS, profile, None), target, graceful_ns))


def rate(per_second: int, seconds: float, target: str) -> pb.LoadPlan:
    duration = int(seconds * SECOND)
    profile = Profile((Segment(0, duration, per_second, per_second),), duration)
    return load_plan_to_message(LoadOrder(LoadProfile(Model.RATE, profile, None), target, 5 * SECOND))


def iterations(count: int, by_users: int, target: str) -> pb.LoadPlan:
    profile = Profile((Segment(0, FOREVER_NS, by_users, by_users),), None)
    return load_plan_to_message(LoadOrder(LoadProfile(Model.ITERATIONS, profile, count), target, 5 * SECOND))


def totals_of(state: statistics_pb2.StreamState):
    merge = Merge()
    merge.apply(stream_state_from_message(state))
    return merge.totals()


def series(state: statistics_pb2.StreamState, metric: str, name: str = "") -> statistics_pb2.SeriesState:
    return next(each for each in state.series if each.key.metric == metric and (not name or each.key.name == name))


def test_a_closed_load_ends_by_itself_and_every_request_is_counted_once(engines, target) -> None:
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


def test_an_arrival_rate_starts_exactly_what_is_due(engines, target) -> None:
    engine = engines(VISITOR)

    engine.start(rate(200, 2.0, target.url))
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    dropped = sum(each.total for each in final.series if each.key.metric == "dropped_iterations")
    assert final.counters.iterations_started + dropped == 400
    assert target.count()["requests"] == final.counters.completed == final.counters.iterations_completed
    assert series(final, "schedule_slip").count == final.counters.iterations_started


def test_two_slots_of_a_rate_share_it_without_overlap(engines, target) -> None:
    pair = [engines(VISITOR), engines(VISITOR)]
    load = rate(101, 1.0, target.url)

    for slot, engine in enumerate(pair):
        engine.arm(load, slot=slot, slots=2)
    at = time.monotonic_ns() + 200_000_000
    for slot, engine in enumerate(pair):
        engine.agent.configure(revision=2, load=load, run_state=pb.RUNNING_STATE, start_at_ns=at, slot=slot, slots=2)
    started = [engine.agent.final().counters.iterations_started for engine in pair]

    assert started == [51, 50]
    assert target.count()["requests"] == 101


def test_a_late_start_in_an_open_model_is_in_latency_and_not_in_service_time(engines, target) -> None:
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

    assert final.counters.completed == 100
    slip = series(final, "schedule_slip")
    assert series(final, "latency").total - series(final, "service_time").total == slip.total > 2 * SECOND
    assert series(final, "iteration_duration").maximum > 200_000_000
    assert slip.maximum > 200_000_000
    lag = max(each.status.loop_lag_ns for each in engine.agent.received if each.HasField("status"))
    assert lag > 200_000_000


def test_granted_iterations_are_done_exactly_once_whatever_is_repeated(engines, target) -> None:
    engine = engines("""
        from loadstone import User, task

        class Visitor(User):
            @task
            def one(self):
                self.http.get(f"/status/2{self.iteration:02d}", name="numbered")
    """)
    load = iterations(30, 3, target.url)
    granted = [pb.IterationRange(start=0, count=7), pb.IterationRange(start=20, count=3)]

    engine.arm(load, ranges=granted)
    at = time.monotonic_ns()
    for revision in (2, 3, 4):
        engine.agent.configure(revision=revision, load=load, run_state=pb.RUNNING_STATE, start_at_ns=at, ranges=granted)
    engine.agent.wait(lambda each: each.status.ranges_taken == 2)
    engine.agent.configure(
        revision=5,
        load=load,
        run_state=pb.RUNNING_STATE,
        start_at_ns=at,
        ranges=[granted[1], pb.IterationRange(start=40, count=1)],
        first_range=1,
    )
    engine.agent.wait(lambda each: each.status.ranges_taken == 3 and each.status.iterations_left == 0)
    engine.stop()
    final = engine.agent.final()

    assert final.counters.iterations_completed == 11
    numbers = [*range(7), *range(20, 23), 40]
    assert target.count()["by_path"] == {f"/status/2{number:02d}": 1 for number in numbers}


def test_users_come_and_go_with_the_profile_and_finish_their_iteration(engines, target) -> None:
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
    load = load_plan_to_message(
        LoadOrder(LoadProfile(Model.USERS, Profile(segments, 2 * SECOND), None), target.url, 5 * SECOND)
    )

    engine.start(load)
    final = engine.agent.final()

    assert [state.users for state in engine.agent.states() if state.second in {0, 1}][:2] == [6, 2]
    assert series(final, "latency", "bye").count == 6
    assert not any(outcome.name == "failed" for outcome in series(final, "latency", "slow").outcomes)
    assert target.count()["requests"] == final.counters.completed


def test_a_stop_lets_iterations_finish_and_cuts_off_what_takes_too_long(engines, target) -> None:
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


def test_a_stop_ends_pauses_at_once(engines, target) -> None:
    engine = engines(VISITOR.replace("@task", "wait = lambda self: 3600\n\n        @task", 1))
    engine.start(users(3, 60.0, target.url))
    time.sleep(0.3)

    begin = time.monotonic()
    engine.stop(graceful_ns=30 * SECOND)
    final = engine.agent.final()

    assert time.monotonic() - begin < 1
    assert final.counters.completed == 3


def test_a_stop_before_the_start_ends_with_an_empty_final_state(engines, target) -> None:
    engine = engines(VISITOR)
    engine.arm(users(3, 60.0, target.url))

    engine.stop()
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 0
    assert (final.second, final.counters.started, len(final.series)) == (-1, 0, 0)


def test_sigterm_ends_the_load_within_its_grace_reports_everything_and_exits_143(engines, target) -> None:
    engine = engines(VISITOR)
    engine.start(users(4, 60.0, target.url))
    time.sleep(0.5)

    engine.process.send_signal(signal.SIGTERM)
    final = engine.agent.final()

    assert engine.process.wait(timeout=10) == 143
    assert final.counters.completed == target.count()["requests"] > 0


def test_after_sigkill_the_target_counted_between_the_two_bounds_of_the_counter_file(engines, target) -> None:
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


def test_a_refused_target_is_counted_and_never_raises(engines) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    engine = engines(VISITOR.replace("@task", "wait = lambda self: 0.05\n\n        @task", 1))

    engine.start(users(2, 1.0, url))
    final = engine.agent.final()

    assert final.counters.completed == final.counters.unsent > 10
    assert [(each.kind, each.name) for each in final.errors] == [("refused", "front page")]
    assert series(final, "checks").total == 0


def test_what_tasks_raise_fails_the_iteration_and_not_the_user(engines, target) -> None:
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


def test_a_task_without_any_request_lets_the_loop_live(engines, target) -> None:
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
def test_a_script_that_cannot_be_used_is_told_with_its_last_lines(engines, script, problem, trace) -> None:
    engine = engines(script)

    report = engine.agent.wait(lambda each: each.HasField("script")).script

    assert not report.ok
    assert problem in report.problem
    assert trace in report.traceback
    assert "loadstone_runner" not in report.traceback


def test_an_engine_without_a_script_still_ends_when_told_to(engines) -> None:
    engine = engines("raise ValueError('no')\n")
    engine.agent.wait(lambda each: each.HasField("script"))

    engine.stop()

    assert engine.agent.final().counters.started == 0
    assert engine.process.wait(timeout=10) == 0


def test_a_configuration_that_is_older_than_the_one_applied_changes_nothing(engines, target) -> None:
    engine = engines(f"import time\ntime.sleep(1.0)\n{textwrap.dedent(VISITOR)}")
    load = users(1, 1.0, target.url)
    engine.agent.wait(lambda each: each.HasField("hello"))
    engine.agent.configure(revision=3, load=load, run_state=pb.READY_STATE)
    engine.agent.wait(lambda each: each.status.applied_revision == 3)
    engine.agent.configure(revision=7, load=load, run_state=pb.READY_STATE)
    engine.agent.configure(revision=5, run_state=pb.STOPPED_STATE)
    engine.agent.configure(revision=8, load=load, run_state=pb.READY_STATE)
    status = engine.agent.wait(lambda each: each.status.applied_revision == 8).status

    assert status.stage == Stage.READY
    applied = [each.status.applied_revision for each in engine.agent.received if each.HasField("status")]
    assert applied == sorted(applied)


def test_an_engine_that_is_held_up_at_its_start_becomes_ready_all_the_same(engines, target) -> None:
    engine = engines(VISITOR, command=("-c", HELD_UP))

    engine.arm(users(1, 1.0, target.url))


def test_an_engine_that_waits_leaves_the_processor_to_others(engines, target) -> None:
    engine = engines(VISITOR)
    engine.arm(users(1, 1.0, target.url))

    before = processor_ns(engine.process.pid)
    time.sleep(1.0)

    assert processor_ns(engine.process.pid) - before < SECOND // 5


def test_a_broken_connection_is_no_order_to_die_and_the_whole_state_comes_again(engines, target) -> None:
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


def test_a_series_is_sent_again_until_it_is_acknowledged(engines, target) -> None:
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


def test_states_merge_to_what_the_final_state_says(engines, target) -> None:
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


def test_classes_share_the_users_by_weight_and_fixed_count_over_all_slots(engines, target) -> None:
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


def test_what_setup_returned_reaches_every_user(engines, target) -> None:
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


DIRECTED = """
    from loadstone import User, setup, task, teardown

    class Visitor(User):
        @task
        def one(self): ...

    @setup
    def prepare(run):
        return {"status": run.http.post("/orders", json={"item": 1}).status, "pair": (1, 2)}

    @teardown
    def clean(run):
        assert run.setup_data == {"status": 201, "pair": [1, 2]}
        run.http.get("/", name="a")
        run.http.get("/", name="b")
"""


def test_the_director_runs_setup_and_teardown_once_and_counts_their_requests_apart(engines, target) -> None:
    director = engines(DIRECTED, role="director", target=target.url)
    hello = director.agent.wait(lambda each: each.HasField("hello")).hello
    assert director.agent.wait(lambda each: each.HasField("script")).script.user_classes == ["Visitor"]

    for _ in range(2):
        director.agent.send(pb.ToEngine(setup=pb.SetupRequest(teardown=False)))
    prepared = director.agent.wait(lambda each: each.HasField("setup")).setup
    director.agent.send(pb.ToEngine(setup=pb.SetupRequest(teardown=True)))
    cleaned = director.agent.wait(lambda each: each.setup.teardown).setup

    assert hello.role == pb.ENGINE_ROLE_DIRECTOR
    assert (prepared.ok, json.loads(prepared.result_json), prepared.requests) == (
        True,
        {"status": 201, "pair": [1, 2]},
        1,
    )
    assert (cleaned.ok, cleaned.problem, cleaned.requests) == (True, "", 2)
    assert target.count()["requests"] == 3
    director.process.send_signal(signal.SIGTERM)
    assert director.process.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("raise RuntimeError('no database')", "setup prepare() raised RuntimeError: no database"),
        ("import sys; sys.exit(1)", "setup prepare() raised SystemExit: 1"),
        ("return object()", "is not JSON serializable"),
        ("return 'x' * 300000", "at most 262144 travel"),
    ],
)
def test_a_setup_that_fails_is_told_and_the_director_lives_on(engines, target, body, problem) -> None:
    script = textwrap.dedent(VISITOR) + f"\nfrom loadstone import setup\n\n@setup\ndef prepare(run):\n    {body}\n"
    director = engines(script, role="director", target=target.url)
    director.agent.wait(lambda each: each.HasField("script"))

    director.agent.send(pb.ToEngine(setup=pb.SetupRequest()))
    report = director.agent.wait(lambda each: each.HasField("setup")).setup

    assert not report.ok
    assert problem in report.problem
    assert director.process.poll() is None


def test_an_engine_dies_with_its_parent(target) -> None:
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
    while time.monotonic() < deadline and _is_alive(child):
        time.sleep(0.02)
    assert not _is_alive(child)


def _is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}
