"""Hold the merged result of a run at one moment, and find in it what a threshold or a report asks for.

How it came about is `merge`; what it means is `loadstone_core.verdict`; how it is shown is `summary`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from loadstone_core.stats.metrics import LATENCY, Outcome
from loadstone_core.stats.series import merged_histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.stats.histogram import Histogram
    from loadstone_core.stats.metrics import SeriesKey
    from loadstone_core.stats.series import Series
    from loadstone_core.stats.stream import ErrorCount

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Totals:
    """The sum over all streams; a copy that later states do not change.

    Attributes:
        series: every merged series.
        errors: the most frequent first.
        requests: completed, by the counters: `unaccounted` of them are in no series.
        started: requests begun.
        unsent: completed without having reached the target.
        ambiguous: completed, and the target may or may not have counted them.
        measured: completed, and measured by hand: no client of ours sent them.
        iterations: completed ones, by the counters.
        unaccounted: requests known to have completed that no series holds.
        unaccounted_at_least: some stream ended without its counters, so there may be more of them.
        iterations_unaccounted: the same of iterations.
        counters_behind: requests that series hold and counters lacked after a kill; the series were believed.
        warm_up: requests completed in the warm-up, in no other number.
        users: alive now.
        series_complete: no series was counted in an overflow series.
    """

    series: Mapping[SeriesKey, Series] = field(default_factory=dict)
    errors: tuple[ErrorCount, ...] = ()
    requests: int = 0
    started: int = 0
    unsent: int = 0
    ambiguous: int = 0
    measured: int = 0
    iterations: int = 0
    unaccounted: int = 0
    unaccounted_at_least: bool = False
    iterations_unaccounted: int = 0
    counters_behind: int = 0
    warm_up: int = 0
    users: int = 0
    series_complete: bool = True

    def select(self, metric: str, labels: Mapping[str, str] = _NO_LABELS) -> tuple[Series, ...]:
        """Return the series of a metric that hold every given label (`name`, `method`, `scenario` or the user's)."""
        return tuple(series for key, series in self.series.items() if key.metric == metric and key.matches(labels))

    def histogram(self, metric: str, labels: Mapping[str, str] = _NO_LABELS) -> Histogram:
        """Return one histogram of the selected series; empty if there are none."""
        return merged_histogram(self.select(metric, labels))

    def outcome(self, outcome: Outcome, labels: Mapping[str, str] = _NO_LABELS) -> int:
        """Return how many requests had an outcome, or how many bytes they moved."""
        return sum(series.outcomes.get(outcome, 0) for series in self.select(LATENCY, labels))

    @property
    def failures(self) -> int:
        """Return how many of the requests that the series hold have failed."""
        return self.outcome(Outcome.FAILED)
