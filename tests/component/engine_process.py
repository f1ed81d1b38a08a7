"""A real engine process, a scripted agent on its Unix socket, and a target that counts exactly. No test is here."""

from __future__ import annotations

import contextlib
import json
import os
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
from typing import TYPE_CHECKING, Any

import pytest

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.merge import Merge
from loadstone_core.stats.stream import Counters, read_counters
from loadstone_protocol.codec import scenario_to_message, stream_state_from_message
from loadstone_protocol.framing import Decoder, encode
from loadstone_protocol.v1 import engine_pb2 as pb
from loadstone_protocol.v1 import statistics_pb2

if TYPE_CHECKING:
    from loadstone_core.stats.totals import Totals

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


class Target:
    """The example server, as a process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, str(SERVER), "--port", "0"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://{self.process.stdout.readline().split()[-1]}"

    def count(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/count") as reply:
            counted: dict[str, Any] = json.load(reply)
        return counted

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.end()


class Agent:
    """What the engine talks to: takes everything down, acknowledges states unless told not to.

    Attributes:
        takes: while it is clear nothing is read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received: list[pb.EngineMessage] = []
        self.acknowledges = True
        self.takes = threading.Event()
        self.takes.set()
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
        while self.takes.wait() and (received := connection.recv(65536)):
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

    def configure(self, **fields: Any) -> None:
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

    def wait_stage(self, stage: pb.EngineStatus.Stage, within: float = 20.0) -> pb.EngineStatus:
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

    def arm(self, load: pb.LoadPlan, revision: int = 1, **fields: Any) -> None:
        """Bring the engine to READY."""
        self.agent.wait(lambda each: each.script.ok)
        self.agent.configure(revision=revision, scenarios=[load], run_state=pb.READY_STATE, **fields)
        self.agent.wait(lambda each: each.status.stage == Stage.READY and each.status.applied_revision == revision)

    def start(self, load: pb.LoadPlan, lead_ns: int = 100_000_000, **fields: Any) -> int:
        """Bring the engine from its start to RUNNING; return when its load starts."""
        self.arm(load, **fields)
        at = time.monotonic_ns() + lead_ns
        self.agent.configure(revision=2, scenarios=[load], run_state=pb.RUNNING_STATE, start_at_ns=at, **fields)
        self.agent.wait_stage(Stage.RUNNING)
        return at

    def stop(self, graceful_ns: int = 5 * SECOND, revision: int = 9) -> None:
        self.agent.configure(revision=revision, run_state=pb.STOPPED_STATE, graceful_stop_ns=graceful_ns)

    def counters(self) -> Counters:
        return read_counters((self.folder / "engine-0-1.counters").read_bytes())

    def output(self) -> str:
        return (self.folder / "log").read_text()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()
        self.agent.takes.set()
        self.agent.listener.close()
        with contextlib.suppress(OSError, AssertionError):
            self.agent.hang_up()
        self.scratch.cleanup()


Make = Callable[..., Engine]


@pytest.fixture
def engines() -> Iterator[Make]:
    made: list[Engine] = []

    def make(*arguments: Any, **options: Any) -> Engine:
        made.append(Engine(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.end()


def scenario(load: LoadProfile, target: str, graceful_ns: int = 5 * SECOND, **fields: Any) -> pb.LoadPlan:
    told = {"name": "default", "graceful_stop_ns": graceful_ns} | fields
    return scenario_to_message(Scenario(load=load, target=target, **told))


def users(count: int, seconds: float, target: str, graceful_ns: int = 5 * SECOND) -> pb.LoadPlan:
    duration = int(seconds * SECOND)
    profile = Profile((Segment(0, duration, count, count),), duration)
    return scenario(LoadProfile(Model.USERS, profile, None), target, graceful_ns)


def rate(per_second: int, seconds: float, target: str) -> pb.LoadPlan:
    duration = int(seconds * SECOND)
    profile = Profile((Segment(0, duration, per_second, per_second),), duration)
    return scenario(LoadProfile(Model.RATE, profile, None), target)


def iterations(count: int, by_users: int, target: str) -> pb.LoadPlan:
    profile = Profile((Segment(0, FOREVER_NS, by_users, by_users),), None)
    return scenario(LoadProfile(Model.ITERATIONS, profile, count), target)


def totals_of(state: statistics_pb2.StreamState) -> Totals:
    merge = Merge()
    merge.apply(stream_state_from_message(state))
    return merge.totals()


def series(state: statistics_pb2.StreamState, metric: str, name: str = "") -> statistics_pb2.SeriesState:
    return next(each for each in state.series if each.key.metric == metric and (not name or each.key.name == name))
