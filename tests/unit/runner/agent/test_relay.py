from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from loadstone_core.clock import ManualClock
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.agent.health import Health
from loadstone_runner.agent.relay import Relay
from loadstone_runner.agent.session import Session
from loadstone_runner.agent.usage import Usage
from loadstone_runner.export.agent_metrics import exposition
from loadstone_runner.settings import read_agent
from loadstone_runner.transport.local.engines import EngineLink

if TYPE_CHECKING:
    from pathlib import Path

MILLISECOND = 1_000_000
SETTINGS = {"RUN_UID": "run", "EPOCH": "1", "WORKER": "0", "MASTER": "master:1"}


class Link(EngineLink):
    """A connection that keeps what is sent down."""

    told: list[engine_pb2.ToEngine]

    def send(self, message: engine_pb2.ToEngine) -> None:
        self.told.append(message)


class Engine:
    """One engine as its agent sees it: a connection over which it says things."""

    def __init__(self, folder: Path) -> None:
        self.session = Session(worker=0, attempt=1, engines=1, epoch=1, script_digest="d", first_revision=1)
        self.clock = ManualClock()
        environment = {**SETTINGS, "SOCKET_DIR": str(folder)}
        settings = read_agent({f"LOADSTONE_{name}": value for name, value in environment.items()})
        self.relay = Relay(self.session, settings, clock=self.clock, report=lambda _: None, react=lambda: None)
        hello = engine_pb2.EngineHello(engine=0, start=1, role=engine_pb2.ENGINE_ROLE_ENGINE)
        self.sent: list[engine_pb2.ToEngine] = []
        self._link = Link(asyncio.Transport(), hello)
        self._link.told = self.sent
        self.relay.on_hello(self._link)

    def say(self, *, lag_ms: int, slip_ms: int = 0, users: int = 0, exhausted: int = 0) -> None:
        status = engine_pb2.EngineStatus(
            stage=engine_pb2.EngineStatus.RUNNING,
            users=users,
            loop_lag_ns=lag_ms * MILLISECOND,
            schedule_slip_ns=slip_ms * MILLISECOND,
            exhausted=exhausted,
        )
        self.relay.on_message(self._link, engine_pb2.EngineMessage(status=status))

    def beat(self) -> tuple[int, int, int]:
        """Return what a heartbeat says now: users, and how late, in milliseconds."""
        (said,) = self.relay.summaries(self.session.summary(0), Usage())
        status = said.status
        return status.users, status.loop_lag_ns // MILLISECOND, status.schedule_slip_ns // MILLISECOND


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def test_how_late_an_engine_was_is_not_hidden_by_its_next_status(engine: Engine) -> None:
    engine.say(lag_ms=8000, slip_ms=3, users=4)
    engine.say(lag_ms=2, slip_ms=700, users=5)

    assert engine.beat() == (5, 8000, 700)


def test_what_a_heartbeat_has_said_is_not_said_of_the_next_second(engine: Engine) -> None:
    engine.say(lag_ms=8000)
    engine.beat()
    assert engine.beat() == (0, 8000, 0)  # nothing newer is known

    engine.say(lag_ms=2)

    assert engine.beat() == (0, 2, 0)


def test_what_an_engine_lacked_adds_up_until_a_heartbeat_has_said_it(engine: Engine) -> None:
    engine.say(lag_ms=0, exhausted=3)
    engine.say(lag_ms=0, exhausted=4)
    (said,) = engine.relay.summaries(engine.session.summary(0), Usage())
    assert said.status.exhausted == 7

    engine.say(lag_ms=0)

    (said,) = engine.relay.summaries(engine.session.summary(0), Usage())
    assert said.status.exhausted == 0


def test_an_engine_that_stops_saying_anything_stands_still_for_that_long(engine: Engine) -> None:
    engine.say(lag_ms=5, users=4)

    engine.clock.advance(1_900 * MILLISECOND)
    assert engine.beat() == (4, 5, 0), "a little late is no standstill"
    engine.clock.advance(29_100 * MILLISECOND)
    assert engine.beat() == (4, 30_000, 0)
    assert engine.relay.largest_lag_ns() == 30_000 * MILLISECOND


def test_what_waits_of_the_log_counts_for_the_spool_and_what_is_no_file_does_not(engine: Engine, tmp_path) -> None:
    assert engine.relay.spool_bytes() == 0
    (tmp_path / "engine-0-1.counters").write_bytes(b"x" * 40)
    assert engine.relay.spool_bytes() == 40
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "boot-1").write_bytes(b"x" * 700)
    (tmp_path / "log" / "boot-2").symlink_to(tmp_path / "nowhere")

    assert engine.relay.spool_bytes() == 740


def test_frames_of_messages_go_up_with_whose_they_are_and_down_to_whom_they_are_for(engine: Engine) -> None:
    up: list[engine_pb2.MessageFrame] = []
    engine.relay.pass_on = up.append

    frame = engine_pb2.MessageFrame(hub="h", engine=9, start=9, received=4)
    engine.relay.on_message(engine._link, engine_pb2.EngineMessage(messages=frame))
    for each in (engine_pb2.MessageFrame(engine=0, start=1, hub="down"), engine_pb2.MessageFrame(engine=5, start=1)):
        engine.relay.on_frame(each)
    engine.relay.on_begin()

    assert [(each.engine, each.start, each.hub, each.received) for each in up] == [(0, 1, "h", 4)]
    assert [each.messages.hub for each in engine.sent] == ["down", ""]
    assert engine.sent[1].messages.rewind


def test_lanes_are_shown_by_engine_and_name(engine: Engine) -> None:
    lane = engine_pb2.LaneState(name='a"b\\', depth=3, running=2, oldest_ns=1_500 * MILLISECOND, processed=7)
    status = engine_pb2.EngineStatus(stage=engine_pb2.EngineStatus.RUNNING, lanes=[lane])
    engine.relay.on_message(engine._link, engine_pb2.EngineMessage(status=status))

    lines = exposition(Health().metrics(engine.relay)).splitlines()

    labels = '{engine="0",lane="a\\"b\\\\"}'
    assert f"loadstone_agent_message_queue_depth{labels} 3" in lines
    assert f"loadstone_agent_message_oldest_seconds{labels} 1.5" in lines
    assert f"loadstone_agent_messages_processed_total{labels} 7" in lines
    assert lines.count("# TYPE loadstone_agent_message_queue_depth gauge") == 1


def test_the_engines_of_an_agent_before_are_known_by_their_counters_files(engine: Engine, tmp_path: Path) -> None:
    assert engine.relay.left_behind() == []
    for name in ("engine-10-1", "engine-2-1", "engine-x-1", "director-0-1"):
        (tmp_path / f"{name}.counters").write_bytes(b"")

    assert engine.relay.left_behind() == [(2, 1), (10, 1)]
