"""Thresholds and reports find their series in the totals."""

from __future__ import annotations

from loadstone_core.stats.metrics import Kind, Outcome, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.stats.totals import Totals


def latency(name: str, samples: list[int], *, failed: int = 0, labels: tuple[tuple[str, str], ...] = ()) -> Series:
    series = Series(SeriesKey("latency", "default", "GET", name, labels), Kind.TREND)
    for sample in samples:
        series.cell.record(sample)
    series.outcomes = {"failed": failed}
    return series


FRONT = latency("front page", [10, 20], failed=1)
GOLD = latency("front page", [30], labels=(("tier", "gold"),))
CART = latency("cart", [40], failed=1)
CHECK = Series(SeriesKey("checks", "default", "", "front page"), Kind.RATE)
TOTALS = Totals(series={series.key: series for series in (FRONT, GOLD, CART, CHECK)})


def test_selection_is_by_metric_and_every_label() -> None:
    assert TOTALS.select("latency") == (FRONT, GOLD, CART)
    assert TOTALS.select("latency", {"name": "front page"}) == (FRONT, GOLD)
    assert TOTALS.select("latency", {"name": "front page", "tier": "gold"}) == (GOLD,)
    assert TOTALS.select("checks") == (CHECK,)
    assert TOTALS.select("dns") == ()


def test_selected_series_merge_into_one_histogram() -> None:
    assert TOTALS.histogram("latency", {"name": "front page"}).total == 60
    assert TOTALS.histogram("dns").count == 0


def test_failures_are_an_outcome_of_latency() -> None:
    assert TOTALS.failures == 2
    assert TOTALS.outcome(Outcome.FAILED, {"name": "cart"}) == 1
    assert TOTALS.outcome(Outcome.UNSENT) == 0
