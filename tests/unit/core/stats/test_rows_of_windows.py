"""From the recorders of engines to the rows of a run: each row is made of the samples of exactly its window."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.merge import Merge
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import StreamId, StreamState
from loadstone_core.stats.timeline import Row, Timeline

WORKED = 80
# Ten minutes stay as seconds, so what is before them is shown by ten.
LAST = 669
SHARES = (0.5, 0.95, 0.99)


class Window:
    """What was really done in some seconds."""

    def __init__(self) -> None:
        self.latencies: list[int] = []
        self.failures = 0

    def shown(self) -> tuple[int, ...]:
        """Requests, failures, iterations and percentiles, the latter within the bounds of their outer buckets."""
        exact = Histogram()
        for each in self.latencies:
            exact.record(each)
        known = Histogram.of_buckets(exact.buckets, total=exact.total, zeros=exact.zeros)
        quantiles = [known.quantile(share) if known.count else 0 for share in SHARES]
        return (len(self.latencies), self.failures, len(self.latencies), *quantiles)


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
            for window in windows:
                window.latencies.append(latency)
                window.failures += failed
            self.recorder.request(
                method="GET",
                name=chance.choice(["front page", "cart"]),
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
    fine: defaultdict[int, Window] = defaultdict(Window)
    wide: defaultdict[int, Window] = defaultdict(Window)
    for second in [*range(WORKED), LAST]:
        for engine in engines:
            engine.work(chance, (fine[second], wide[second // 10]))
            state = engine.state(second)
            if chance.random() >= lost_share or second >= WORKED - 1:
                merge.apply(state)
        for closed in merge.take_seconds(5):
            timeline.observe(closed)

    rows = [row for row in timeline.rows() if row.second < WORKED]
    whole = [row for row in rows if not row.gaps]
    assert [row.width for row in rows] == [10] * 7 + [1] * 10
    assert len(whole) == len(rows) or lost_share
    assert len(whole) > len(rows) // 4
    for row in whole:
        window = fine[row.second] if row.width == 1 else wide[row.second // 10]
        assert shown(row) == window.shown(), row
