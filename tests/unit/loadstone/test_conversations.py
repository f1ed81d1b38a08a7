from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone.conversations import EventParser, ServerEvent

STREAM = (
    "\ufeff: comment\r\ndata: one\r\n\r\n"
    "event: add\rdata:two\rdata: three\rid: 7\r\r"
    "data\n\nid\nretry: 5\n\ndata: ü\n\n"
).encode()
EVENTS = [
    ServerEvent("message", "one", ""),
    ServerEvent("add", "two\nthree", "7"),
    ServerEvent("message", "", "7"),
    ServerEvent("message", "ü", ""),
]


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM))))
def test_events_are_the_same_wherever_the_stream_is_split(cuts: list[int]) -> None:
    parser = EventParser()
    places = [0, *sorted(cuts), len(STREAM)]

    found = [each for begin, end in pairwise(places) for each in parser.feed(STREAM[begin:end])]

    assert found == EVENTS


@given(st.binary(max_size=200))
def test_no_stream_however_broken_raises(received: bytes) -> None:
    assert all(isinstance(each, ServerEvent) for each in EventParser().feed(received))


def test_an_event_without_an_end_is_refused_and_one_after_the_other_is_not() -> None:
    parser, line = EventParser(), b"data: " + b"x" * 1024 * 1024 + b"\n"

    for _ in range(5):
        assert [len(each.data) for each in parser.feed(line * 20 + b"\n")] == [20 * 1024 * 1024 + 19]
    parser.feed(line * 60)
    with pytest.raises(ValueError, match="an event is longer than 64 MiB"):
        parser.feed(line * 10)
