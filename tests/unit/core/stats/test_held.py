"""A newer state of a series adds exactly what it holds more, whatever the two states are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.stats.held import Held
from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.stats.stream import SeriesState

KEY = SeriesKey("latency")
BUCKETS = st.dictionaries(st.integers(0, 40), st.integers(1, 2**62), max_size=12)


def state_of(buckets: dict[int, int], *, zeros: int = 0, failed: int = 0) -> SeriesState:
    indexes = tuple(sorted(buckets))
    return SeriesState(
        KEY,
        Kind.TREND,
        count=zeros + sum(buckets.values()),
        total=sum(index * count for index, count in buckets.items()),
        zeros=zeros,
        indexes=indexes,
        counts=tuple(buckets[index] for index in indexes),
        outcomes=(("failed", failed),) if failed else (),
    )


@given(st.lists(BUCKETS, min_size=1, max_size=5))
def test_growths_add_up_to_the_newest_state(states: list[dict[int, int]]) -> None:
    held = Held(Series(KEY, Kind.TREND))
    buckets: dict[int, int] = {}
    samples = total = zeros = 0
    for sequence, state in enumerate(states, start=1):
        growth = held.replace(state_of(state, zeros=sequence), sequence=sequence)
        assert all(count for _, count in growth.buckets)
        for index, count in growth.buckets:
            buckets[index] = buckets.get(index, 0) + count
        samples += growth.samples
        total += growth.total
        zeros += growth.zeros

    newest = state_of(states[-1], zeros=len(states))
    assert {index: count for index, count in buckets.items() if count} == states[-1]
    assert (samples, total, zeros) == (newest.count, newest.total, newest.zeros)
    assert held.sequence == len(states)


@given(BUCKETS)
def test_the_same_state_adds_nothing(buckets: dict[int, int]) -> None:
    held = Held(Series(KEY, Kind.TREND))
    held.replace(state_of(buckets, failed=3), sequence=1)

    assert held.replace(state_of(buckets, failed=3), sequence=2) == (0, 0, 0, [], {})


def test_outcomes_grow_by_name() -> None:
    held = Held(Series(KEY, Kind.TREND))

    assert held.replace(state_of({}, failed=3), sequence=1).outcomes == {"failed": 3}
    assert held.replace(state_of({}, failed=5), sequence=2).outcomes == {"failed": 2}
