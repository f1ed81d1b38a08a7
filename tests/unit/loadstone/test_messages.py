from collections.abc import Iterator
from typing import Any

import pytest

from loadstone import Place, Receipt, messages, on_message, seat, send_message
from loadstone.messages import Answer, Status


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    messages.forget()
    yield
    messages.forget()
    seat.take(None)


def handle(_message: object) -> None: ...


def test_a_handler_stays_what_it_is_and_a_plain_lane_is_one_of_one() -> None:
    assert on_message("plain", pool=9)(handle) is handle
    on_message("wide", concurrent=True, pool=9, key=len)(handle)

    plain, wide = messages.handlings()
    assert (plain.name, plain.pool, plain.queue, plain.timeout, plain.overflow) == ("plain", 1, 1_000, None, "reject")
    assert (wide.pool, wide.key) == (9, len)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": ""}, "a name has 1 to 128"),
        ({"name": 3}, "a name has 1 to 128"),
        ({"pool": 0}, "pool=0"),
        ({"pool": 257}, "pool=257"),
        ({"queue": 0}, "queue=0"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": float("inf")}, "timeout=inf"),
        ({"overflow": "drop"}, "overflow='drop'"),
        ({"where": "thread"}, "where='thread'"),
        ({"key": len}, "key= is for concurrent=True"),
        ({"where": "process", "concurrent": True}, "one message after another"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        on_message(**{"name": "a", **options})


def test_a_name_has_one_handler_and_a_script_at_most_64() -> None:
    on_message("a")(handle)
    with pytest.raises(ValueError, match="handle handles it already"):
        on_message("a")(handle)
    for number in range(messages.LANES_MAX - 1):
        on_message(str(number))(handle)
    with pytest.raises(ValueError, match="at most 64 kinds of messages"):
        on_message("b")(handle)


def test_nothing_is_sent_without_a_run() -> None:
    with pytest.raises(RuntimeError, match="send_message works in a run"):
        send_message("a")


def test_a_receipt_says_it_in_a_word() -> None:
    fine = Receipt(Status.PROCESSED, "", (Answer(Place(0), Status.PROCESSED, result=3),))
    assert fine.is_processed
    assert fine.result == 3
    gone = Receipt(Status.REJECTED, "full", ())
    assert not gone.is_processed
    assert gone.result is None
    assert str(Place(2, 1)) == "worker 2 engine 1"
