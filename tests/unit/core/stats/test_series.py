"""Series of four kinds, and a table of them that never grows without bound and never loses a count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.stats.metrics import BUILT_IN, LATENCY, OVERFLOW_NAME, Kind, SeriesKey, sorted_labels
from loadstone_core.stats.series import (
    KEYS_CAP_BYTES,
    OVERFLOW_METRICS,
    REFUSALS_REMEMBERED,
    Series,
    SeriesTable,
    merged_histogram,
)

FRONT = SeriesKey(LATENCY, "default", "GET", "front page", (("region", "eu"), ("tier", "gold")))
KINDS = st.sampled_from(list(Kind))


def series_of(kind: Kind, samples: list[int], *, outcomes: dict[str, int] | None = None) -> Series:
    series = Series(FRONT, kind)
    for sample in samples:
        series.cell.record(sample)
    series.outcomes = dict(outcomes or {})
    return series


def test_a_key_is_found_by_the_plain_tuple_of_its_fields() -> None:
    table = SeriesTable()
    held = table.get(FRONT, Kind.TREND)

    assert table.find((LATENCY, "default", "GET", "front page", (("region", "eu"), ("tier", "gold")))) is held
    assert table.find((LATENCY, "default", "GET", "back page", ())) is None


@pytest.mark.parametrize(
    ("labels", "held"),
    [
        ({}, True),
        ({"name": "front page"}, True),
        ({"method": "GET", "scenario": "default", "tier": "gold"}, True),
        ({"name": "back page"}, False),
        ({"tier": "silver"}, False),
        ({"absent": ""}, False),
    ],
)
def test_a_key_matches_only_if_it_holds_every_label(labels: dict[str, str], *, held: bool) -> None:
    assert FRONT.matches(labels) is held


def test_labels_are_sorted_and_no_name_comes_twice() -> None:
    assert sorted_labels((("b", "1"), ("a", "2"), ("b", "3"))) == (("a", "2"), ("b", "3"))
    assert sorted_labels(()) == ()


def test_only_overflow_keys_are_overflow() -> None:
    assert not FRONT.is_overflow
    assert SeriesKey(LATENCY, name=OVERFLOW_NAME).is_overflow
    assert SeriesKey(OVERFLOW_NAME, name="trend").is_overflow


@given(
    KINDS, st.lists(st.integers(0, 10**10)), st.dictionaries(st.sampled_from(["failed", "unsent"]), st.integers(1, 9))
)
def test_restoring_a_snapshot_gives_the_same_series(kind: Kind, samples: list[int], outcomes: dict[str, int]) -> None:
    series = series_of(kind, samples, outcomes=outcomes)
    state = series.snapshot()

    restored = Series.restore(state)

    assert restored.snapshot() == state
    assert (restored.count, restored.total) == (len(samples), sum(samples))
    assert (restored.histogram is not None) == (kind is Kind.TREND)
    assert restored.outcomes == outcomes


def test_a_snapshot_leaves_out_outcomes_that_never_came() -> None:
    state = series_of(Kind.TREND, [5], outcomes={"unsent": 2, "failed": 0, "ambiguous": 1}).snapshot()

    assert state.outcomes == (("ambiguous", 1), ("unsent", 2))


@given(KINDS, st.lists(st.integers(0, 10**10)), st.lists(st.integers(0, 10**10)))
def test_adding_equals_recording_everything_in_one(kind: Kind, left: list[int], right: list[int]) -> None:
    added = series_of(kind, left, outcomes={"failed": 1})
    added.add(series_of(kind, right, outcomes={"failed": 2, "unsent": 1}))

    assert added.snapshot() == series_of(kind, left + right, outcomes={"failed": 3, "unsent": 1}).snapshot()


@given(
    st.sampled_from([Kind.TREND, Kind.COUNTER, Kind.RATE]),
    st.lists(st.integers(0, 9_000)),
    st.lists(st.integers(0, 9_000)),
)
def test_minus_gives_what_came_since(kind: Kind, older: list[int], newer: list[int]) -> None:
    before = series_of(kind, older, outcomes={"failed": 1})
    after = series_of(kind, older + newer, outcomes={"failed": 4})

    since = after.minus(before)

    assert (since.count, since.total, since.outcomes) == (len(newer), sum(newer), {"failed": 3})
    before.add(since)
    assert before.snapshot() == after.snapshot()


def test_a_gauge_has_the_value_of_now_in_every_window() -> None:
    older, newer = Series(FRONT, Kind.GAUGE), Series(FRONT, Kind.GAUGE)
    older.count, older.total, newer.count, newer.total = 2, 70, 5, 40

    since = newer.minus(older)

    assert (since.count, since.total) == (3, 40)


def test_series_of_two_kinds_have_neither_sum_nor_difference() -> None:
    with pytest.raises(ValueError, match="no sum"):
        Series(FRONT, Kind.RATE).add(Series(FRONT, Kind.TREND))
    with pytest.raises(ValueError, match="no older state"):
        Series(FRONT, Kind.RATE).minus(Series(FRONT, Kind.TREND))
    with pytest.raises(ValueError, match="no older state"):
        series_of(Kind.COUNTER, [1]).minus(series_of(Kind.COUNTER, [1, 1]))


@pytest.mark.parametrize("kind", Kind)
def test_a_copy_of_a_series_is_independent(kind: Kind) -> None:
    series = series_of(kind, [3], outcomes={"failed": 1})
    twin = series.copy()

    series.cell.record(4)
    series.outcomes["failed"] = 2

    assert twin.snapshot() == series_of(kind, [3], outcomes={"failed": 1}).snapshot()


def test_merged_histogram_takes_trends_only() -> None:
    merged = merged_histogram([series_of(Kind.TREND, [1, 2]), series_of(Kind.COUNTER, [9]), series_of(Kind.TREND, [3])])

    assert (merged.count, merged.total, merged.maximum) == (3, 6, 3)


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["latency", "mine", "yours"]))))
def test_a_table_never_exceeds_its_cap_and_never_loses_a_count(cap: int, samples: list[tuple[int, str]]) -> None:
    table = SeriesTable(cap)
    for name, metric in samples:
        table.get(SeriesKey(metric, name=str(name)), Kind.TREND).cell.record(name)

    ordinary = [series for series in table if not series.key.is_overflow]
    distinct = {(metric, name) for name, metric in samples}
    assert len(ordinary) == min(cap, len(distinct))
    assert table.refused == len(distinct) - len(ordinary)
    assert table.is_complete == (table.refused == 0)
    assert len(table) <= cap + 3
    for metric in ("latency", "mine", "yours"):
        held = [series for series in table if series.key.metric == metric]
        assert sum(series.count for series in held) == sum(found == metric for _, found in samples)
        assert sum(series.total for series in held) == sum(name for name, found in samples if found == metric)


def test_keys_that_are_long_take_no_more_room_than_there_is_and_are_counted_all_the_same() -> None:
    table = SeriesTable()
    for number in range(2_000):
        labels = tuple((f"label {each:02}", f"{number:05}{'☃' * 250}") for each in range(32))
        table.get(SeriesKey("mine", labels=labels), Kind.COUNTER).cell.record(1)

    keys = [series.key for series in table if not series.key.is_overflow]
    assert sum(len(text.encode()) for key in keys for pair in key.labels for text in pair) >= KEYS_CAP_BYTES
    assert sum(len(text.encode()) for key in keys[1:] for pair in key.labels for text in pair) < KEYS_CAP_BYTES
    assert sum(series.count for series in table) == 2_000
    assert not table.is_complete


def test_many_metrics_beyond_the_cap_share_one_series_a_kind_but_built_in_ones_never_do() -> None:
    table = SeriesTable(0)
    for number in range(OVERFLOW_METRICS + 500):
        table.get(SeriesKey(f"metric {number}"), Kind.COUNTER).cell.record(1)
    for metric, kind in BUILT_IN.items():
        table.get(SeriesKey(metric), kind).cell.record(1)

    assert len(table) == OVERFLOW_METRICS + 1 + len(BUILT_IN)
    shared = table.find((OVERFLOW_NAME, "", "", "counter", ()))
    assert shared is not None
    assert shared.count == 500
    assert all(
        table.get(SeriesKey(metric, name="another"), kind).key.metric == metric for metric, kind in BUILT_IN.items()
    )


def test_a_series_of_another_kind_than_its_metric_has_no_place_of_its_own() -> None:
    table = SeriesTable()
    table.get(SeriesKey("mine"), Kind.COUNTER).cell.record(1)

    other = table.get(SeriesKey("mine", name="x"), Kind.TREND)
    same_key = table.get(SeriesKey("mine"), Kind.TREND)

    assert other is same_key
    assert other.key == SeriesKey(OVERFLOW_NAME, name="trend")
    assert table.kind_of("mine") is Kind.COUNTER
    assert table.kind_of("yours") is None
    assert not table.is_complete


def test_overflow_series_of_engines_meet_in_those_of_the_master() -> None:
    table = SeriesTable(0)
    own = table.get(SeriesKey(LATENCY, name="refused"), Kind.TREND)

    assert table.get(SeriesKey(LATENCY, name=OVERFLOW_NAME), Kind.TREND) is own
    assert table.get(SeriesKey(OVERFLOW_NAME, name="rate"), Kind.RATE).key == SeriesKey(OVERFLOW_NAME, name="rate")
    assert table.refused == 1


def test_refused_keys_are_remembered_up_to_a_bound() -> None:
    table = SeriesTable(0)
    for number in range(REFUSALS_REMEMBERED + 50):
        table.get(SeriesKey(LATENCY, name=str(number)), Kind.TREND)

    assert table.refused == REFUSALS_REMEMBERED
