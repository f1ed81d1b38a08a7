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
    assert on_message("plain")(handle) is handle
    on_message("wide", concurrent=True, pool=9, key=len)(handle)
    on_message("as it is", concurrent=True)(handle)

    plain, wide, usual = messages.handlings()
    assert (plain.name, plain.pool, plain.queue, plain.timeout, plain.overflow) == ("plain", 1, 1_000, None, "reject")
    assert (wide.pool, wide.key) == (9, len)
    assert (usual.pool, usual.queue) == (32, 1_000)


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
        ({"name": len}, r'the name of the messages: @on_message\("order"\)'),
        ({"concurrent": "yes"}, "concurrent='yes': give True or False"),
        ({"concurrent": True, "key": "x"}, "key='x': give a function"),
        ({"pool": 3}, "pool= is for concurrent=True"),
        ({"pool": "3", "concurrent": True}, "pool='3': give 1 to 256"),
        ({"queue": 1.5}, "queue=1.5: give 1 to"),
        ({"timeout": "5s"}, "timeout='5s': give seconds above 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        on_message(**{"name": "a", **options})


async def soon(message):
    return message


def bit_by_bit(message):
    yield message


def two(message, more):
    return message, more


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (soon, r"soon\(\) is a coroutine or a generator"),
        (bit_by_bit, r"bit_by_bit\(\) is a coroutine or a generator"),
        (two, r"two\(\) is called with one argument, the message"),
        (lambda: None, "is called with one argument"),
        (lambda message, *, more: (message, more), "is called with one argument"),
        (dict, "give it a function of one parameter"),
        (3, "give it a function of one parameter"),
    ],
)
def test_what_cannot_handle_a_message_is_refused_when_it_is_registered(function: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        on_message("a")(function)


@pytest.mark.parametrize(
    "function", [len, print, lambda *all_of_it: all_of_it, lambda message, more=1: (message, more)]
)
def test_whatever_takes_a_message_may_handle_it(function: Any) -> None:
    on_message("a")(function)
    assert [each.function for each in messages.handlings()] == [function]


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
