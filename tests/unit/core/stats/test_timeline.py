"""Rows add up to the run, join without a hole, and stay few."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.stats import timeline
from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.timeline import QUANTILES, Row, Second, Timeline


def histogram_of(samples: list[int]) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)
    return histogram


def second_of(second: int, samples: list[int], *, users: int = 3, gap: bool = False) -> Second:
    return Second(
        second=second,
        requests=len(samples),
        failures=len(samples) // 2,
        iterations=2 * len(samples),
        dropped=1,
        users=users,
        latency=histogram_of(samples),
        gap=gap,
    )


def run_of(seconds: int) -> Timeline:
    timeline = Timeline()
    for second in range(seconds):
        timeline.observe(second_of(second, [1_000 * (second + 1)], users=second % 7))
    return timeline


def test_a_second_becomes_a_row_with_the_percentiles_of_its_samples() -> None:
    samples = list(range(1_000, 101_000, 1_000))
    latency = histogram_of(samples)

    row = Timeline().observe(second_of(0, samples))

    assert row == Row(
        second=0,
        width=1,
        requests=100,
        failures=50,
        users=3,
        p50=latency.quantile(0.5),
        p95=latency.quantile(0.95),
        p99=latency.quantile(0.99),
        iterations=200,
        dropped=1,
        gaps=0,
    )


def test_a_row_without_requests_has_no_percentiles() -> None:
    row = Timeline().observe(second_of(0, []))

    assert (row.requests, row.p50, row.p95, row.p99) == (0, 0, 0, 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 2_000))
def test_rows_join_without_a_hole_and_add_up(seconds: int) -> None:
    rows = run_of(seconds).rows()

    assert rows[0].second == 0
    assert all(row.second + row.width == after.second for row, after in pairwise(rows))
    assert rows[-1].second + rows[-1].width == seconds
    assert sum(row.requests for row in rows) == sum(row.dropped for row in rows) == seconds
    assert sum(row.iterations for row in rows) == 2 * seconds
    assert all(row.second % row.width == 0 for row in rows)


def test_ten_minutes_are_kept_by_the_second_and_the_rest_by_ten() -> None:
    widths = [row.width for row in run_of(1_000).rows()]

    assert widths == sorted(widths, reverse=True)
    assert 600 <= widths.count(1) < 610
    assert set(widths) == {1, 10}


def test_six_hours_are_kept_by_ten_seconds_and_the_rest_by_the_minute() -> None:
    timeline = run_of(8 * 3_600)
    rows = timeline.rows()
    widths = [row.width for row in rows]

    assert widths == sorted(widths, reverse=True)
    assert 2_100 <= widths.count(10) < 2_166
    assert widths.count(60) == 120 - widths.count(10) // 6 - 10 + 360
    assert sum(row.requests for row in rows) == 8 * 3_600


def test_a_day_is_kept_by_the_minute_and_what_is_older_by_ten() -> None:
    timeline = run_of(24 * 3_600)
    minutes = [row for row in timeline.rows() if row.width == 60]
    assert (len(minutes), minutes[0].second) == ((24 - 6) * 60, 0)

    for second in range(24 * 3_600, 24 * 3_600 + 900):
        timeline.observe(second_of(second, [1_000 * (second + 1)]))
    first, *rest = timeline.rows()
    latency = histogram_of([1_000 * (second + 1) for second in range(600)])
    assert (first.second, first.width, first.requests, first.users) == (0, 600, 600, 6)
    assert (first.p50, first.p95, first.p99) == tuple(latency.quantile(each) for each in QUANTILES)
    assert rest[0].width == 60


@pytest.fixture
def short_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if days were minutes, so that a test may take months."""
    for name, value in {
        "FINE_SECONDS": 20,
        "MIDDLE_SECONDS": 120,
        "COARSE_SECONDS": 600,
        "LONG_SECONDS": 3_000,
        "PAST_ROWS_MOST": 6,
    }.items():
        monkeypatch.setattr(timeline, name, value)


@pytest.mark.usefixtures("short_tiers")
def test_what_is_kept_does_not_grow_with_the_length_of_a_run_and_adds_up_to_it() -> None:
    timeline = Timeline()
    kept: dict[int, int] = {}
    widest: dict[int, int] = {}
    for second in range(80_000):
        timeline.observe(second_of(second, [1_000 * (second + 1)], users=second % 7, gap=second % 1_000 == 3))
        if second in (9_999, 19_999, 39_999, 79_999):
            rows = timeline.rows()
            kept[second], widest[second] = len(json.dumps(timeline.remember())), rows[0].width
            assert rows[0].second == 0
            assert all(row.second + row.width == after.second for row, after in pairwise(rows))
            assert sum(row.requests for row in rows) == second + 1 == rows[-1].second + rows[-1].width
            assert sum(row.iterations for row in rows) == 2 * sum(row.dropped for row in rows) == 2 * (second + 1)
            assert sum(row.gaps for row in rows) == (second + 1) // 1_000
            assert len(rows) < 110

    assert widest == {9_999: 1_200, 19_999: 4_800, 39_999: 9_600, 79_999: 19_200}
    assert kept[79_999] < 1.2 * kept[9_999]


@pytest.mark.usefixtures("short_tiers")
def test_joined_rows_have_the_largest_percentiles_and_the_most_users() -> None:
    rows = run_of(12_000).rows()
    tens = [histogram_of([1_000 * (each + 1) for each in range(start, start + 600)]) for start in range(0, 2_400, 600)]
    width = rows[0].width // 600

    assert width > 1
    assert (rows[0].users, rows[0].p50) == (6, max(each.quantile(0.5) for each in tens[:width]))
    assert rows[0].p99 == tens[width - 1].quantile(0.99)


@pytest.mark.usefixtures("short_tiers")
def test_a_long_timeline_that_was_written_down_goes_on_as_if_nothing_had_been() -> None:
    whole, second_half = run_of(17_000), Timeline()
    second_half.recall(json.loads(json.dumps(run_of(11_111).remember())))
    for second in range(11_111, 17_000):
        second_half.observe(second_of(second, [1_000 * (second + 1)], users=second % 7))

    assert second_half.rows() == whole.rows()
    assert second_half.remember() == whole.remember()


def test_a_folded_row_has_the_percentiles_of_all_its_samples_and_the_most_users() -> None:
    first = run_of(700).rows()[0]

    latency = histogram_of([1_000 * (second + 1) for second in range(10)])
    assert (first.width, first.requests, first.users) == (10, 10, 6)
    assert (first.p50, first.p99) == (latency.quantile(0.5), latency.quantile(0.99))


def test_seconds_that_never_came_are_rows_with_a_gap_and_nothing_in_them() -> None:
    timeline = Timeline()
    timeline.observe(second_of(0, [5]))
    timeline.observe(second_of(3, [6, 7]))

    rows = timeline.rows()
    assert [(row.second, row.requests, row.gaps) for row in rows] == [(0, 1, 0), (1, 0, 1), (2, 0, 1), (3, 2, 0)]


def test_gaps_are_counted_in_folded_rows() -> None:
    timeline = Timeline()
    for second in range(700):
        timeline.observe(second_of(second, [5], gap=second in (2, 7)))

    assert timeline.rows()[0].gaps == 2


def test_a_timeline_that_begins_late_begins_on_its_full_minute() -> None:
    timeline = Timeline()
    timeline.observe(second_of(130, [5]))

    rows = timeline.rows()
    assert (rows[0].second, rows[-1].second, sum(row.gaps for row in rows)) == (120, 130, 10)


@pytest.mark.parametrize("second", [4, 5])
def test_an_observed_second_is_not_observed_again(second: int) -> None:
    timeline = Timeline()
    timeline.observe(second_of(5, []))

    with pytest.raises(ValueError, match="the next one is 6"):
        timeline.observe(second_of(second, []))


def test_the_peak_is_the_fullest_second_without_a_gap() -> None:
    timeline = Timeline()
    timeline.observe(second_of(0, [1] * 5))
    timeline.observe(second_of(1, [1] * 50, gap=True))
    timeline.observe(second_of(2, [1] * 4))

    assert timeline.peak_requests == 5


@pytest.mark.parametrize(
    ("seconds", "stalled"),
    [
        ([[5], [], [], [2_100_000_000], [5]], 2),
        ([[], [1_000_000_000], [5], [], [], [], [3_000_000_000, 5]], 3),
        # Users had nothing to ask for.
        ([[5], [], [], [900_000_000, 5], [5]], 0),
        # Whether they had is not known.
        ([[5], [], None, [], [1_100_000_000]], 1),
        ([[5], []], 0),
    ],
)
def test_a_stall_is_a_silence_that_ends_with_a_request_as_long(seconds: list[list[int] | None], stalled: int) -> None:
    timeline = Timeline()
    for number, samples in enumerate(seconds):
        timeline.observe(second_of(number, samples or [], gap=samples is None))

    assert timeline.stalled_seconds == stalled


def test_a_timeline_without_seconds_has_no_rows() -> None:
    assert Timeline().rows() == ()


def test_rows_of_a_width_are_given_from_a_second_on() -> None:
    timeline = run_of(35)

    assert [row.second for row in timeline.since(1, 32)] == [32, 33, 34]
    assert [(row.second, row.width) for row in timeline.since(10, 0)] == [(0, 10), (10, 10), (20, 10)]
    assert [row.second for row in timeline.since(10, 11)] == [20]
    assert timeline.since(60, 0) == timeline.since(1, 35) == ()


def test_the_last_row_of_a_run_may_be_narrower_than_its_width() -> None:
    timeline = run_of(23)

    assert [(row.second, row.width) for row in timeline.since(10, 10, is_over=True)] == [(10, 10), (20, 3)]
    assert timeline.since(10, 21, is_over=True) == ()
    assert sum(row.requests for row in timeline.since(10, 0, is_over=True)) == 23
    assert [row.second for row in run_of(20).since(10, 0, is_over=True)] == [0, 10]


def test_rows_that_are_kept_no_more_are_not_given() -> None:
    rows = run_of(700).since(1, 0)

    assert rows[-1].second == 699
    assert 600 <= len(rows) < 700
