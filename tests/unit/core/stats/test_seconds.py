"""Every sample is in exactly one second, and what is not where it belongs is a gap."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.merge import Merge
from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.stream import SeriesState, StreamId, StreamState
from loadstone_core.stats.timeline import Second

FRONT = StreamId(0, 1, 0, 1)
BACK = StreamId(1, 1, 0, 1)


def state_of(stream: StreamId, second: int, requests: int, *, users: int = 1, final: bool = False) -> StreamState:
    """A state whose stream has done `requests` requests of 4 ns so far, each in an iteration; one in two failed."""
    latency = SeriesState(
        SeriesKey("latency"),
        Kind.TREND,
        count=requests,
        total=4 * requests,
        minimum=4,
        maximum=4,
        indexes=(128,) if requests else (),
        counts=(requests,) if requests else (),
        outcomes=(("failed", requests // 2),),
    )
    iterations = SeriesState(SeriesKey("iterations"), Kind.COUNTER, count=requests, total=requests)
    dropped = SeriesState(SeriesKey("dropped_iterations"), Kind.COUNTER, count=1, total=3 * requests)
    return StreamState(
        stream,
        sequence=second + 2,
        second=second,
        full=True,
        series=(latency, iterations, dropped),
        users=users,
        final=final,
    )


def merged(*states: StreamState) -> Merge:
    merge = Merge()
    for state in states:
        merge.apply(state)
    return merge


def shown(seconds: tuple[Second, ...]) -> list[tuple[int, int, bool]]:
    return [(second.second, second.requests, second.gap) for second in seconds]


def test_a_second_holds_what_every_stream_did_in_it() -> None:
    merge = merged(
        state_of(FRONT, -1, 0, users=0),
        state_of(BACK, -1, 0, users=0),
        state_of(FRONT, 0, 10, users=2),
        state_of(BACK, 0, 4, users=3),
        state_of(FRONT, 1, 16, users=2),
        state_of(BACK, 1, 4, users=1),
    )

    first, second = merge.take_seconds()
    latency = Histogram()
    for _ in range(14):
        latency.record(4)
    assert first == Second(second=0, requests=14, failures=7, iterations=14, dropped=42, users=5, latency=latency)
    assert (second.requests, second.failures, second.iterations, second.dropped, second.users) == (6, 3, 6, 18, 3)
    assert merge.take_seconds() == ()


def test_a_second_waits_for_every_live_stream_and_no_stream_runs_ahead_in_it() -> None:
    merge = merged(state_of(FRONT, 0, 10), state_of(BACK, 0, 10), state_of(FRONT, 1, 15), state_of(FRONT, 2, 21))

    assert merge.second_closed() == 0
    assert shown(merge.take_seconds()) == [(0, 20, False)]
    merge.apply(state_of(BACK, 1, 11))
    assert shown(merge.take_seconds()) == [(1, 6, False)]


def test_an_expected_stream_holds_the_first_second_back() -> None:
    merge = Merge()
    merge.open(BACK)
    merge.apply(state_of(FRONT, 0, 10))

    assert merge.second_closed() == -1
    assert merge.take_seconds() == ()


def test_ended_and_final_streams_hold_no_second_back() -> None:
    merge = merged(state_of(FRONT, 0, 10, final=True), state_of(BACK, 0, 1), state_of(BACK, 3, 2))

    assert merge.second_closed() == 3
    merge.close(BACK, None)
    assert merge.second_closed() == 3
    assert Merge().second_closed() == -1


def test_a_lost_state_is_a_gap_and_its_samples_are_in_the_next() -> None:
    merge = merged(state_of(FRONT, 0, 10), state_of(FRONT, 3, 40), state_of(FRONT, 4, 41))

    assert shown(merge.take_seconds()) == [(0, 10, False), (1, 0, True), (2, 0, True), (3, 30, True), (4, 1, False)]


def test_a_stream_that_starts_late_is_no_gap_unless_its_first_state_was_lost() -> None:
    started = merged(state_of(FRONT, 0, 10), state_of(FRONT, 1, 11))
    first = state_of(BACK, 1, 5)
    started.apply(StreamState(first.stream, sequence=1, second=1, full=True, series=first.series))
    heard_late = merged(state_of(FRONT, 0, 10), state_of(FRONT, 1, 11))
    heard_late.apply(StreamState(first.stream, sequence=7, second=1, full=True, series=first.series))

    assert shown(started.take_seconds()) == [(0, 10, False), (1, 6, False)]
    assert shown(heard_late.take_seconds()) == [(0, 10, False), (1, 6, True)]


def test_a_silent_stream_is_waited_for_only_as_long_as_asked() -> None:
    merge = merged(state_of(FRONT, 0, 10), state_of(BACK, 0, 10), *(state_of(FRONT, n, 10 + n) for n in range(1, 6)))

    assert shown(merge.take_seconds(lag=9)) == [(0, 20, False)]
    assert shown(merge.take_seconds(lag=3)) == [(1, 1, True), (2, 1, True)]
    merge.apply(state_of(BACK, 1, 17))
    merge.apply(state_of(BACK, 5, 18))
    assert shown(merge.take_seconds()) == [(3, 8, True), (4, 1, True), (5, 2, True)]


def test_what_comes_too_late_for_its_second_makes_a_gap_of_the_one_that_takes_it() -> None:
    merge = merged(state_of(FRONT, 0, 10), state_of(BACK, 0, 10), *(state_of(FRONT, n, 10 + n) for n in range(1, 6)))
    merge.take_seconds(lag=3)
    for second in range(1, 6):
        merge.apply(state_of(BACK, second, 10 + second))

    assert shown(merge.take_seconds()) == [(3, 4, True), (4, 2, False), (5, 2, False)]


def test_seconds_of_a_lost_stream_are_gaps_from_its_last_state_on() -> None:
    merge = merged(state_of(FRONT, 0, 10), state_of(BACK, 0, 10), state_of(FRONT, 1, 11), state_of(FRONT, 2, 12))
    merge.close(BACK, None)
    merge.apply(state_of(FRONT, 3, 13))

    seconds = merge.take_seconds()
    assert shown(seconds) == [(0, 20, False), (1, 1, True), (2, 1, True), (3, 1, False)]
    assert [second.users for second in seconds] == [2, 1, 1, 1]


def test_a_clean_end_is_no_gap() -> None:
    merge = merged(state_of(FRONT, 0, 10), state_of(BACK, 0, 10, users=0, final=True))
    merge.close(BACK, None, clean=True)
    merge.apply(state_of(FRONT, 1, 11))

    assert shown(merge.take_seconds()) == [(0, 20, False), (1, 1, False)]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_seconds_join_without_a_hole_and_add_up_to_the_totals_in_any_order_of_arrival(
    seed: int, source: random.Random
) -> None:
    numbers = random.Random(seed)  # noqa: S311  # samples, not secrets
    states = []
    for stream in (FRONT, BACK):
        done = 0
        for second in range(6):
            done += numbers.randrange(5)
            if second == 5 or numbers.random() < 0.8:
                states.append(state_of(stream, second, done, users=numbers.randrange(4), final=second == 5))
    source.shuffle(states)

    merge = Merge()
    taken: list[Second] = []
    for state in states:
        merge.apply(state)
        taken.extend(merge.take_seconds(lag=source.choice([None, 0, 2])))
    for stream in (FRONT, BACK):
        merge.close(stream, None, clean=True)
    taken.extend(merge.take_seconds())

    totals = merge.totals()
    assert [second.second for second in taken] == list(range(len(taken)))
    assert sum(second.requests for second in taken) == totals.histogram("latency").count
    assert sum(second.failures for second in taken) == totals.failures
    assert sum(second.latency.total for second in taken) == totals.histogram("latency").total
    assert sum(second.iterations for second in taken) == totals.select("iterations")[0].total
    assert sum(second.dropped for second in taken) == totals.select("dropped_iterations")[0].total
