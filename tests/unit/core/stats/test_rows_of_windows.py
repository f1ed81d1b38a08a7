"""From the recorders of engines to the rows of a run: each row is made of the samples of exactly its window."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.stats.held import Growth
from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.merge import Merge
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import StreamId, StreamState
from loadstone_core.stats.timeline import Row, Timeline
from loadstone_core.stats.windows import WINDOWS_KEPT, SeriesRow

WORKED = 80
# Ten minutes stay as seconds, so what is before them is shown by ten.
LAST = 669
SHARES = (0.5, 0.95, 0.99)


class Window:
    """What was really done in some seconds, by endpoint."""

    def __init__(self) -> None:
        self.by_name: defaultdict[str, Window] = defaultdict(Window)
        self.latencies: list[int] = []
        self.failures = 0

    def add(self, name: str, latency: int, *, failed: bool) -> None:
        for window in (self, self.by_name[name]):
            window.latencies.append(latency)
            window.failures += failed

    def shown(self) -> tuple[int, ...]:
        """Requests, failures, iterations and percentiles, the latter within the bounds of their outer buckets."""
        exact = Histogram()
        for each in self.latencies:
            exact.record(each)
        known = Histogram.of_buckets(exact.buckets, total=exact.total, zeros=exact.zeros)
        quantiles = [known.quantile(share) if known.count else 0 for share in SHARES]
        return (len(self.latencies), self.failures, len(self.latencies), *quantiles)


def shown_series(each: SeriesRow) -> tuple[int, ...]:
    return (each.count, each.failures, each.count, each.p50, each.p95, each.p99)


def check_series(rows: list[SeriesRow], window: Window) -> None:
    """Compare the series of a row of ten seconds with what was done in them."""
    latency = {each.key.name: shown_series(each) for each in rows if each.key.metric == "latency"}
    assert latency == {name: done.shown() for name, done in window.by_name.items()}
    (iterations,) = [each for each in rows if each.key.metric == "iteration_duration"] or [None]
    assert (iterations.count if iterations else 0) == len(window.latencies)
    service = {each.key.name: each.total for each in rows if each.key.metric == "service_time"}
    assert service == {name: sum(each // 2 for each in done.latencies) for name, done in window.by_name.items()}


def shown(row: Row) -> tuple[int, ...]:
    return (row.requests, row.failures, row.iterations, row.p50, row.p95, row.p99)


class Engine:
    """One stream: a cumulative state each second."""

    def __init__(self, number: int) -> None:
        self.stream = StreamId(number, 1, 0, 1)
        self.recorder = Recorder()

    def work(self, chance: random.Random, windows: tuple[Window, Window]) -> None:
        for _ in range(chance.choice([0, 1, 2, 9])):
            latency, failed = int(chance.lognormvariate(16, 2)), chance.random() < 0.2
            name = chance.choice(["front page", "cart"])
            for window in windows:
                window.add(name, latency, failed=failed)
            self.recorder.request(
                method="GET",
                name=name,
                latency_ns=latency,
                service_ns=latency // 2,
                failed=failed,
                unsent=False,
                ambiguous=False,
                interrupted=False,
                sent=1,
                received=1,
            )
            self.recorder.iteration("buy", latency)

    def state(self, second: int) -> StreamState:
        self.recorder.take(second)
        series = self.recorder.whole()
        return StreamState(self.stream, sequence=second + 1, second=second, full=True, series=series)


@pytest.mark.parametrize("lost_share", [0.0, 0.01])
@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 2**32))
def test_each_row_of_a_second_and_of_ten_is_the_histogram_of_exactly_that_window(lost_share: float, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # samples, not secrets
    engines = [Engine(number) for number in range(2)]
    merge, timeline = Merge(), Timeline()
    merge.keep_windows()
    fine: defaultdict[int, Window] = defaultdict(Window)
    wide: defaultdict[int, Window] = defaultdict(Window)
    compared = 0
    for second in [*range(WORKED), LAST]:
        for engine in engines:
            engine.work(chance, (fine[second], wide[second // 10]))
            state = engine.state(second)
            if chance.random() >= lost_share or second >= WORKED - 1:
                merge.apply(state)
        for closed in merge.take_seconds(5):
            timeline.observe(closed)
            newest = timeline.since(10, 0)[-1:]
            if newest and not newest[0].gaps and newest[0].second + 9 == closed.second:
                check_series(list(merge.windows.rows(newest[0].second)), wide[newest[0].second // 10])
                compared += 1

    rows = [row for row in timeline.rows() if row.second < WORKED]
    whole = [row for row in rows if not row.gaps]
    assert [row.width for row in rows] == [10] * 7 + [1] * 10
    assert len(whole) == len(rows) or lost_share
    assert len(whole) > len(rows) // 4
    assert compared >= (1 if lost_share else 8)
    for row in whole:
        window = fine[row.second] if row.width == 1 else wide[row.second // 10]
        assert shown(row) == window.shown(), row


def watched(seconds: int, *, since: int = 0) -> tuple[Merge, Timeline]:
    """Return a run of one engine with a request a second, whose series are kept from a second on."""
    engine, merge, timeline = Engine(0), Merge(), Timeline()
    for second in range(seconds):
        if second == since:
            merge.keep_windows()
        engine.recorder.request(
            method="GET",
            name="front page",
            latency_ns=1_000_000,
            service_ns=1_000_000,
            failed=second % 2 == 0,
            unsent=False,
            ambiguous=False,
            interrupted=False,
            sent=1,
            received=1,
        )
        engine.recorder.counter("baskets")
        merge.apply(engine.state(second))
        for closed in merge.take_seconds(5):
            timeline.observe(closed)
    return merge, timeline


def counts_at(merge: Merge, second: int) -> dict[str, tuple[int, int]]:
    return {each.key.metric: (each.count, each.failures) for each in merge.windows.rows(second)}


def test_series_are_kept_from_the_first_whole_ten_seconds_after_somebody_began_to_look() -> None:
    merge, _ = watched(40, since=13)

    assert [counts_at(merge, second) for second in (0, 10)] == [{}, {}]
    assert counts_at(merge, 20) == counts_at(merge, 30) == {"latency": (10, 5), "service_time": (10, 0)}


def test_nobody_who_looks_costs_nothing_and_looking_twice_is_looking_once() -> None:
    merge, _ = watched(40, since=99)
    assert list(merge.windows.rows(20)) == []
    merge.keep_windows()
    merge.keep_windows()
    assert list(merge.windows.rows(30)) == []


def test_the_last_row_of_a_run_has_its_series_too() -> None:
    merge, timeline = watched(34)
    (last,) = timeline.since(10, 30, is_over=True)

    assert (last.second, last.width) == (30, 4)
    assert counts_at(merge, last.second)["latency"] == (last.requests, last.failures) == (4, 2)


def test_a_series_without_a_sample_in_a_window_is_not_in_its_row() -> None:
    merge, timeline = watched(20)
    engine = Engine(1)
    for second in range(20, 34):
        merge.apply(engine.state(second))
        (held,) = merge.totals().select("latency")
        merge.windows.add(second, held, Growth(0, 0, 0, [], {}))
    assert [each.count for each in merge.windows.rows(20)] == []
    assert timeline.since(10, 20) == ()


def test_all_who_look_at_a_window_share_what_the_first_of_them_has_made() -> None:
    merge, _ = watched(40)
    first, second = list(merge.windows.rows(30)), list(merge.windows.rows(30))

    assert len(first) == 2
    assert all(ours is theirs for ours, theirs in zip(first, second, strict=True))


def test_whoever_looks_too_early_keeps_nobody_from_the_whole() -> None:
    merge, _ = watched(34)
    before = counts_at(merge, 30)["latency"]
    (held,) = merge.totals().select("latency")
    merge.windows.add(34, held, Growth(2, 2_000_000, 2, [], {}))

    assert (before, counts_at(merge, 30)["latency"]) == ((4, 2), (6, 2))


def test_only_the_newest_windows_are_kept() -> None:
    merge, _ = watched(120)
    kept = [second for second in range(0, 120, 10) if counts_at(merge, second)]

    assert kept == [120 - 10 * each for each in range(WINDOWS_KEPT, 0, -1)]


def test_what_a_gap_holds_is_in_no_window_of_a_series() -> None:
    chance = random.Random(1)  # noqa: S311  # samples, not secrets
    before, timeline = watched(25)
    held = before.remember()
    merge, engine = Merge(), Engine(0)
    merge.keep_windows()
    merge.recall(held)
    timeline_after = Timeline()
    timeline_after.recall(timeline.remember())
    for second in range(25, 45):
        engine.work(chance, (Window(), Window()))
        merge.apply(engine.state(second))
        for closed in merge.take_seconds(5):
            timeline_after.observe(closed)

    (whole,) = [row for row in timeline_after.since(10, 30) if not row.gaps]
    assert counts_at(merge, 20) == {}
    assert sum(each.count for each in merge.windows.rows(30) if each.key.metric == "latency") == whole.requests > 0
