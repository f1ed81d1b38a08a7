"""The merge is exact whatever is lost, repeated, late or out of order."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.stats.merge import Merge, Totals
from loadstone_core.stats.metrics import OVERFLOW_NAME, Kind, SeriesKey
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.series import Series
from loadstone_core.stats.stream import Counters, ErrorCount, SeriesState, StreamId, StreamState, unsound

if TYPE_CHECKING:
    from collections.abc import Callable

FRONT = StreamId(worker=0, attempt=1, engine=0, start=1)
BACK = StreamId(worker=1, attempt=1, engine=0, start=1)


@dataclass
class Engine:
    """A recorder with the counters and the sequence that an engine process keeps; `acknowledged` as its agent would."""

    stream: StreamId
    cap: int = 2_000
    recorder: Recorder = field(init=False)
    counters: Counters = field(default_factory=Counters)
    sequence: int = 0
    states: list[StreamState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.cap)

    def work(self, source: random.Random, requests: int) -> None:
        for _ in range(requests):
            fate = source.random()
            self.recorder.request(
                method="GET",
                name=source.choice(["front page", "cart", "orders"]),
                latency_ns=int(source.lognormvariate(16, 2)),
                service_ns=1_000,
                failed=fate < 0.3,
                unsent=fate < 0.1,
                ambiguous=0.1 <= fate < 0.2,
                interrupted=False,
                sent=100,
                received=1_000,
            )
            if fate < 0.3:
                self.recorder.error("Failed", str(int(fate * 10)), "front page")
            self.recorder.iteration("buy", 5_000)
            self.recorder.gauge("depth", int(fate * 100))
            self.recorder.check("answers", fate >= 0.3)
            if fate < 0.05:
                self.recorder.dropped()
            self.counters = Counters(
                started=self.counters.started + 1,
                completed=self.counters.completed + 1,
                unsent=self.counters.unsent + (fate < 0.1),
                ambiguous=self.counters.ambiguous + (0.1 <= fate < 0.2),
                iterations_started=self.counters.iterations_started + 1,
                iterations_completed=self.counters.iterations_completed + 1,
            )

    def report(self, second: int, *, full: bool = True, final: bool = False, users: int = 0) -> StreamState:
        self.sequence += 1
        changed = self.recorder.take(second)
        state = StreamState(
            stream=self.stream,
            sequence=self.sequence,
            second=second,
            full=full,
            series=self.recorder.whole() if full else changed,
            counters=self.counters,
            errors=self.recorder.errors(),
            users=users,
            final=final,
        )
        assert unsound(state) == ""
        self.states.append(state)
        return state


def engines_after(seed: int, *, engines: int = 3, seconds: int = 4, cap: int = 2_000) -> list[Engine]:
    source = random.Random(seed)  # noqa: S311  # samples, not secrets
    made = [Engine(StreamId(number, 1, 0, 1), cap) for number in range(engines)]
    for second in range(seconds):
        for engine in made:
            engine.work(source, source.randrange(6))
            engine.report(second, final=second == seconds - 1, users=source.randrange(5))
    return made


def merged(states: list[StreamState]) -> Merge:
    merge = Merge()
    for state in states:
        merge.apply(state)
    return merge


def seen(totals: Totals) -> tuple[Totals, dict[SeriesKey, SeriesState]]:
    """The same totals, comparable: the series as their snapshots."""
    return replace(totals, series={}), {key: series.snapshot() for key, series in totals.series.items()}


def sum_of_newest(states: list[StreamState]) -> dict[SeriesKey, SeriesState]:
    """What the law says: for each stream and series, the state with the highest sequence; then the sum."""
    newest: dict[tuple[StreamId, SeriesKey], SeriesState] = {}
    for state in sorted(states, key=lambda state: state.sequence):
        newest |= {(state.stream, series.key): series for series in state.series}
    total: dict[SeriesKey, Series] = {}
    for one in newest.values():
        total.setdefault(one.key, Series(one.key, one.kind)).add(Series.restore(one))
    return {key: series.snapshot() for key, series in total.items()}


def without_users(totals: Totals) -> dict[SeriesKey, SeriesState]:
    return {key: series.snapshot() for key, series in totals.series.items() if key.metric != "users"}


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_give_the_same_totals(seed: int, source: random.Random) -> None:
    states = [state for engine in engines_after(seed) for state in engine.states]
    delivered = states + source.choices(states, k=5)
    source.shuffle(delivered)

    assert seen(merged(delivered).totals()) == seen(merged(states).totals())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.data())
def test_losing_states_changes_nothing_once_a_later_one_arrives(seed: int, data: st.DataObject) -> None:
    engines = engines_after(seed)
    states = [state for engine in engines for state in engine.states]
    kept = [state for state in states if state.final or data.draw(st.booleans())]

    assert seen(merged(kept).totals()) == seen(merged(states).totals())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.data())
def test_merged_series_are_the_sum_of_the_newest_states_that_arrived(seed: int, data: st.DataObject) -> None:
    states = [state for engine in engines_after(seed) for state in engine.states]
    arrived = data.draw(st.permutations([state for state in states if data.draw(st.booleans())]))

    merge = merged(arrived)

    assert without_users(merge.totals()) == sum_of_newest(arrived)
    assert {key: series.snapshot() for key, series in merge.series.items() if key.metric != "users"} == sum_of_newest(
        arrived
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.data())
def test_states_with_changes_only_are_exact_when_each_reaches_back_to_an_acknowledged_one(
    seed: int, data: st.DataObject
) -> None:
    """The transport's promise in small: what is sent holds every series changed since the last acknowledged state."""
    source = random.Random(seed)  # noqa: S311  # samples, not secrets
    engine, merge = Engine(FRONT), Merge()
    waiting: dict[SeriesKey, tuple[int, SeriesState]] = {}
    delayed: list[StreamState] = []
    for second in range(6):
        engine.work(source, source.randrange(4))
        state = engine.report(second, full=False)
        waiting |= {series.key: (state.sequence, series) for series in state.series}
        state = replace(state, series=tuple(series for _, series in waiting.values()))
        match data.draw(st.sampled_from(["acknowledged", "ack lost", "delayed", "lost"])):
            case "acknowledged":
                merge.apply(state)
                waiting.clear()
            case "ack lost":
                merge.apply(state)
            case "delayed":
                delayed.append(state)
    last = replace(engine.report(6, full=False), series=tuple(series for _, series in waiting.values()), final=True)
    for state in data.draw(st.permutations([*delayed, last])):
        merge.apply(state)

    expected = merged([replace(last, full=True, series=engine.recorder.whole())])
    assert seen(merge.totals()) == seen(expected.totals())


def test_an_old_or_repeated_state_says_so_and_one_with_news_says_so() -> None:
    engine = Engine(FRONT)
    engine.work(random.Random(1), 3)  # noqa: S311
    first, second = engine.report(0), engine.report(1)
    merge = Merge()

    assert merge.apply(second)
    assert not merge.apply(second)
    assert not merge.apply(first)


def test_a_late_state_still_brings_a_series_that_no_newer_one_held() -> None:
    early = StreamState(
        FRONT, sequence=1, second=0, full=False, series=(SeriesState(SeriesKey("sold"), Kind.COUNTER, 2, 9),)
    )
    merge = Merge()
    merge.apply(StreamState(FRONT, sequence=2, second=1, full=False))

    assert merge.apply(early)
    assert merge.totals().series[SeriesKey("sold")].total == 9


@given(st.integers(0, 10**6))
def test_totals_do_not_change_with_later_states(seed: int) -> None:
    engine = Engine(FRONT)
    engine.work(random.Random(seed), 5)  # noqa: S311
    merge = merged([engine.report(0)])
    totals = merge.totals()
    before = seen(totals)

    engine.work(random.Random(seed), 5)  # noqa: S311
    merge.apply(engine.report(1))

    assert seen(totals) == before


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6))
def test_latency_of_the_run_holds_every_request(seed: int) -> None:
    merge = merged([state for engine in engines_after(seed) for state in engine.states])

    assert merge.run_latency() == merge.totals().histogram("latency")
    assert merge.run_latency().count == merge.totals().requests


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(0, 6), st.integers(0, 6))
def test_caps_of_engines_and_master_lose_no_count(seed: int, engine_cap: int, master_cap: int) -> None:
    engines = engines_after(seed, cap=engine_cap)
    limited = Merge(master_cap + 1)
    for engine in engines:
        for state in engine.states:
            limited.apply(state)
    free = merged([state for engine in engines_after(seed) for state in engine.states])

    assert limited.run_latency() == free.run_latency()
    assert limited.totals().failures == free.totals().failures
    assert limited.totals().requests == free.totals().requests
    assert free.totals().series_complete
    overflow = any(key.is_overflow for key in limited.totals().series)
    assert limited.totals().series_complete != overflow
    assert sum(not key.is_overflow for key in limited.totals().series) <= master_cap + 1


def test_errors_of_all_streams_add_up() -> None:
    merge = Merge()
    reset = ErrorCount("Reset", "", "cart", 2)
    merge.apply(
        StreamState(FRONT, sequence=1, second=0, full=True, errors=(ErrorCount("Timeout", "5s", "cart", 1), reset))
    )
    merge.apply(
        StreamState(FRONT, sequence=2, second=1, full=True, errors=(ErrorCount("Timeout", "5s", "cart", 4), reset))
    )
    merge.apply(StreamState(BACK, sequence=1, second=0, full=True, errors=(ErrorCount("Timeout", "5s", "cart", 3),)))

    assert merge.totals().errors == (ErrorCount("Timeout", "5s", "cart", 7), reset)


def test_gauges_of_all_streams_add_up_and_change_with_their_streams() -> None:
    def state(stream: StreamId, sequence: int, value: int) -> StreamState:
        depth = SeriesState(SeriesKey("depth"), Kind.GAUGE, count=sequence, total=value)
        return StreamState(stream, sequence=sequence, second=sequence, full=True, series=(depth,))

    merge = merged([state(FRONT, 1, 7), state(BACK, 1, 5), state(FRONT, 2, 4)])

    assert merge.totals().series[SeriesKey("depth")].total == 9


def test_users_are_those_of_streams_that_have_not_ended() -> None:
    merge = merged(
        [
            StreamState(FRONT, sequence=1, second=0, full=True, users=5),
            StreamState(BACK, sequence=1, second=0, full=True, users=7),
        ]
    )
    before = merge.totals()
    merge.close(FRONT, None)
    merge.apply(StreamState(FRONT, sequence=2, second=1, full=True, users=4))

    assert before.users == before.series[SeriesKey("users")].total == 12
    assert merge.users == merge.totals().users == 7


def test_a_stream_cannot_speak_for_the_users_or_change_the_kind_of_a_series() -> None:
    users = SeriesState(SeriesKey("users"), Kind.GAUGE, count=1, total=99)
    sold = SeriesState(SeriesKey("sold"), Kind.COUNTER, count=1, total=2)
    merge = merged(
        [
            StreamState(FRONT, sequence=1, second=0, full=True, series=(users, sold), users=5),
            StreamState(
                FRONT, sequence=2, second=1, full=True, series=(replace(sold, kind=Kind.RATE, count=50),), users=5
            ),
        ]
    )

    assert merge.totals().users == 5
    assert (merge.totals().series[SeriesKey("sold")].count, merge.totals().series[SeriesKey("sold")].total) == (1, 2)


def test_a_metric_of_two_kinds_in_two_streams_is_counted_apart_and_said() -> None:
    merge = merged(
        [
            StreamState(
                FRONT, sequence=1, second=0, full=True, series=(SeriesState(SeriesKey("sold"), Kind.COUNTER, 1, 2),)
            ),
            StreamState(
                BACK, sequence=1, second=0, full=True, series=(SeriesState(SeriesKey("sold"), Kind.RATE, 3, 1),)
            ),
        ]
    )

    totals = merge.totals()
    assert totals.series[SeriesKey("sold")].total == 2
    assert totals.series[SeriesKey(OVERFLOW_NAME, name="rate")].count == 3
    assert not totals.series_complete


# The end of a stream


def lost(counters: Counters | None, *, requests: int = 6) -> Totals:
    engine = Engine(FRONT)
    engine.work(random.Random(1), requests)  # noqa: S311
    merge = merged([engine.report(0)])
    merge.close(FRONT, counters)
    return merge.totals()


def test_what_a_killed_engine_did_and_did_not_report_is_unaccounted() -> None:
    totals = lost(Counters(started=12, completed=10, unsent=3, ambiguous=1, iterations_completed=9))

    assert (totals.requests, totals.started, totals.unaccounted) == (10, 12, 4)
    assert (totals.iterations, totals.iterations_unaccounted) == (9, 3)
    assert not totals.unaccounted_at_least
    assert totals.counters_behind == 0


def test_without_counters_the_unaccounted_are_at_least() -> None:
    totals = lost(None)

    assert (totals.requests, totals.unaccounted, totals.unaccounted_at_least) == (6, 0, True)


def test_histograms_that_hold_more_than_the_counters_are_believed_and_it_is_said() -> None:
    merge = Merge()
    latency = SeriesState(SeriesKey("latency"), Kind.TREND, 6, 6, minimum=1, maximum=1, indexes=(0,), counts=(6,))
    merge.apply(StreamState(FRONT, sequence=1, second=0, full=True, series=(latency,)))
    merge.close(FRONT, Counters(started=5, completed=4))

    totals = merge.totals()
    assert (totals.requests, totals.started, totals.unaccounted, totals.counters_behind) == (6, 6, 0, 2)


def test_a_stream_that_never_reported_is_unaccounted_altogether() -> None:
    merge = Merge()
    merge.close(FRONT, Counters(started=5, completed=4, iterations_completed=2))

    totals = merge.totals()
    assert (totals.requests, totals.unaccounted, totals.iterations_unaccounted) == (4, 4, 2)


def test_before_its_end_nothing_of_a_stream_is_unaccounted() -> None:
    merge = merged([StreamState(FRONT, sequence=1, second=0, full=True, counters=Counters(started=9, completed=8))])

    assert (merge.totals().requests, merge.totals().unaccounted) == (8, 0)


def test_a_stream_closed_as_lost_may_still_report_what_was_missing() -> None:
    engine = Engine(FRONT)
    engine.work(random.Random(1), 6)  # noqa: S311
    merge = merged([engine.report(0)])
    engine.work(random.Random(2), 4)  # noqa: S311
    merge.close(FRONT, engine.counters)
    assert merge.totals().unaccounted == 4

    assert merge.apply(engine.report(1, final=True))
    assert merge.totals().unaccounted == 0
    assert merge.totals().requests == 10


@given(st.permutations(range(4)))
def test_closing_again_adds_knowledge_and_takes_nothing_back(order: list[int]) -> None:
    engine = Engine(FRONT)
    engine.work(random.Random(1), 6)  # noqa: S311
    state = engine.report(0)
    merge = Merge()
    steps: list[Callable[[], object]] = [
        lambda: merge.apply(state),
        lambda: merge.close(FRONT, None),
        lambda: merge.close(FRONT, Counters(started=9, completed=8, iterations_completed=6)),
        lambda: merge.close(FRONT, Counters(started=7, completed=7)),
    ]
    for step in order:
        steps[step]()

    totals = merge.totals()
    assert (totals.requests, totals.started, totals.unaccounted, totals.unaccounted_at_least) == (8, 9, 2, False)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.data())
def test_folding_streams_that_ended_clean_changes_no_total(seed: int, data: st.DataObject) -> None:
    engines = engines_after(seed)
    states = [state for engine in engines for state in engine.states]
    plain = merged(states).totals()
    merge = merged(states)
    for engine in data.draw(st.permutations(engines)):
        merge.close(engine.stream, engine.counters, clean=True)
    folded = merge.totals()

    assert without_users(folded) == without_users(plain)
    assert replace(folded, series={}, users=0) == replace(plain, series={}, users=0)
    assert folded.users == 0
    assert merge._streams == {}
    for state in states:
        assert not merge.apply(state)
        merge.close(state.stream, Counters(started=99, completed=99))
        merge.open(state.stream)
    assert seen(merge.totals()) == seen(folded)


@pytest.mark.parametrize("counters", [Counters(completed=9), Counters(iterations_completed=9)])
def test_a_clean_end_with_something_missing_waits_for_it(counters: Counters) -> None:
    engine = Engine(FRONT)
    engine.work(random.Random(1), 6)  # noqa: S311
    merge = merged([engine.report(0, final=True)])
    merge.close(FRONT, counters, clean=True)
    missing = merge.totals().unaccounted + merge.totals().iterations_unaccounted
    engine.work(random.Random(2), 3)  # noqa: S311

    assert missing == 3
    assert merge.apply(engine.report(1, final=True))
    assert merge.totals().unaccounted + merge.totals().iterations_unaccounted == 0
    assert merge._streams == {}


def test_a_bye_without_counters_leaves_nothing_open() -> None:
    merge = merged([StreamState(FRONT, sequence=1, second=0, full=True, final=True)])
    merge.close(FRONT, None, clean=True)

    assert not merge.totals().unaccounted_at_least
