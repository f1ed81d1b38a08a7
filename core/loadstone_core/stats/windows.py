"""Keep what each series gained in each ten seconds, for the rows of that width, while somebody looks at them.

A run whose rows nobody watches pays nothing for it. In which second a difference is counted is decided in `seconds`,
so what the series of a row hold adds up to the row.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import Kind, Outcome
from loadstone_core.stats.series import cell_of
from loadstone_core.stats.timeline import MIDDLE_WIDTH, QUANTILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadstone_core.stats.held import Growth
    from loadstone_core.stats.metrics import SeriesKey
    from loadstone_core.stats.series import Series, Tally

# A watcher that was cut off for a minute misses nothing; 2,000 series of a usual spread take 40 MB in so many windows.
WINDOWS_KEPT: Final = 6


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """What one series of samples gained in the seconds of one row.

    Attributes:
        key: of the series.
        count: samples.
        total: their sum, in the unit of the metric.
        failures: requests that have failed; 0 where the samples are no requests.
        p50: in the unit of the metric, of these samples alone.
        p95: likewise.
        p99: likewise.
    """

    key: SeriesKey
    count: int
    total: int
    failures: int
    p50: int
    p95: int
    p99: int


@dataclass(slots=True)
class _Gain:
    """What a series gained; its outcomes by name; its row, once somebody has read it."""

    cell: Histogram
    outcomes: Counter[str] = field(default_factory=Counter)
    row: SeriesRow | None = None


class Windows:
    """What each series of kind TREND gained in the newest windows of ten seconds, from the first whole one on."""

    __slots__ = ("_first", "_gains", "_make_cell")

    def __init__(self, make_cell: Callable[[Kind], Histogram | Tally] = cell_of) -> None:
        """Keep nothing until `begin`."""
        self._make_cell = make_cell
        self._first: int | None = None
        self._gains: dict[int, dict[SeriesKey, _Gain]] = {}

    @property
    def is_kept(self) -> bool:
        """Whether somebody looks at them."""
        return self._first is not None

    def begin(self, second: int) -> None:
        """Keep windows from a second on of which nothing was counted yet; the first one begins with a full ten."""
        if self._first is None:
            self._first = -(-second // MIDDLE_WIDTH) * MIDDLE_WIDTH

    def begin_anew(self, second: int) -> None:
        """Forget everything, and go on as if only now somebody had begun to look."""
        self._gains.clear()
        if self._first is not None:
            self._first = None
            self.begin(second)

    def add(self, second: int, series: Series, growth: Growth) -> None:
        """Count what a merged series gained in a second."""
        if self._first is None or second < self._first or series.kind is not Kind.TREND:
            return
        window = self._gains.get(second // MIDDLE_WIDTH)
        if window is None:
            window = self._gains[second // MIDDLE_WIDTH] = {}
        gain = window.get(series.key)
        if gain is None:
            gain = window[series.key] = _Gain(cast("Histogram", self._make_cell(Kind.TREND)))
        gain.row = None
        gain.cell.grow(growth.buckets, count=growth.samples, total=growth.total, zeros=growth.zeros)
        gain.outcomes.update(growth.outcomes)

    def drop(self, taken: int) -> None:
        """Forget windows that ended long before the last second that was taken."""
        oldest = (taken + 1) // MIDDLE_WIDTH - WINDOWS_KEPT
        for window in [window for window in self._gains if window < oldest]:
            del self._gains[window]

    def rows(self, second: int) -> Iterator[SeriesRow]:
        """Yield what each series gained in the window that begins with a second; nothing if it is not kept.

        Read it when all its seconds were taken. A row takes some 0.2 ms: whoever reads many lets others run in between,
        and all who read share what the first of them has made.
        """
        for key, gain in tuple(self._gains.get(second // MIDDLE_WIDTH, {}).items()):
            if gain.cell.count > 0:
                gain.row = gain.row or _row_of(key, gain)
                yield gain.row


def _row_of(key: SeriesKey, gain: _Gain) -> SeriesRow:
    grown = gain.cell
    latency = Histogram.of_buckets(grown.buckets, total=grown.total, zeros=grown.zeros)
    failures = gain.outcomes[Outcome.FAILED]
    return SeriesRow(key, latency.count, latency.total, failures, *map(latency.quantile, QUANTILES))
