from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.master.spans import SPANS_MAX, Spans


@given(
    seen=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=40),
    end=st.integers(0, 80),
    cut=st.integers(0, 40),
)
def test_each_second_counts_once_in_any_order_and_over_a_restart(
    seen: list[tuple[int, int]], end: int, cut: int
) -> None:
    spans, kept = Spans(), set()
    for index, (first, length) in enumerate(seen):
        if index == cut:
            held = json.loads(json.dumps(spans.remember()))
            spans = Spans()
            spans.recall(held)
        spans.add(first, first + length)
        kept.update(range(first, first + length))

    assert spans.count(end) == sum(second < end for second in kept)
    assert spans.count(1_000) == len(kept)


def test_what_is_kept_does_not_grow_with_how_long_it_lasts() -> None:
    spans = Spans()
    for second in range(100_000):
        spans.add(second, second + 1)

    assert spans.remember() == {"firsts": [0], "ends": [100_000], "settled": [0, 0]}


def test_the_oldest_of_too_many_are_a_number_and_what_is_said_of_them_again_changes_nothing() -> None:
    spans, count = Spans(), 3 * SPANS_MAX
    for second in range(0, 2 * count, 2):
        spans.add(second, second + 1)
    spans.add(0, 5)

    assert len(spans.remember()["firsts"]) <= SPANS_MAX
    assert spans.count(2 * count) == count
    spans.add(2 * count - 1_000, 2 * count)
    assert spans.count(2 * count) == count + 500
