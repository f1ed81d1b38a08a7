"""The process of one message handler answers whatever comes."""

from __future__ import annotations

from typing import Any

import pytest

from loadstone import messages, on_message
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine import lane_process
from loadstone_runner.engine.tracebacks import Tracebacks


@pytest.mark.promise("messages", "messages-process")
@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"[" * 100_000 + b"]" * 100_000, "ValueError: it is nested too deep"), (b"{", "JSONDecodeError: ")],
    ids=["too deep", "no JSON"],
)
def test_data_that_cannot_be_read_in_a_process_of_its_own_fails_the_message(data: bytes, reason: str) -> None:
    messages.forget()

    @on_message("step", where="process")
    def step(_message: Any) -> None:
        pass

    [handling] = messages.handlings()
    messages.forget()

    answer = lane_process._handle(handling, engine_pb2.CustomMessage(name="step", data=data), Tracebacks())

    assert answer.status == engine_pb2.MessageAnswer.FAILED
    assert answer.reason.startswith(reason)


@pytest.mark.promise("messages", "messages-process")
def test_what_fails_again_and_again_is_logged_with_its_traceback_once(caplog: pytest.LogCaptureFixture) -> None:
    messages.forget()

    @on_message("step", where="process")
    def step(message: Any) -> None:
        raise ValueError(message.data)

    [handling] = messages.handlings()
    messages.forget()
    tracebacks = Tracebacks()
    answers = [
        lane_process._handle(handling, engine_pb2.CustomMessage(name="step", data=b"%d" % number), tracebacks)
        for number in range(5)
    ]

    assert [answer.reason for answer in answers] == [f"ValueError: {number}" for number in range(5)]
    assert [record.exc_info is not None for record in caplog.records] == [True]
