from __future__ import annotations

import asyncio

import pytest

from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.agent.relay import Relay
from loadstone_runner.agent.session import Session
from loadstone_runner.agent.usage import Usage
from loadstone_runner.transport.local.engines import EngineLink

MILLISECOND = 1_000_000


class Engine:
    """One engine as its agent sees it: a connection over which it says things."""

    def __init__(self) -> None:
        self.session = Session(worker=0, attempt=1, engines=1, epoch=1, script_digest="d", first_revision=1)
        self.relay = Relay(self.session, worker=0, attempt=1, socket_dir="", report=lambda _: None, react=lambda: None)
        hello = engine_pb2.EngineHello(engine=0, start=1, role=engine_pb2.ENGINE_ROLE_ENGINE)
        self._link = EngineLink(asyncio.Transport(), hello)
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
def engine() -> Engine:
    return Engine()


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
