"""Hold what is recorded under a key, and a table of such series that cannot grow without bound.

Names and keys live in `metrics`; which metrics a request or an iteration feeds is decided in `recorder`.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, cast

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import BUILT_IN, OVERFLOW_NAME, Kind, SeriesKey
from loadstone_core.stats.stream import SeriesState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from loadstone_core.stats.dropping import Dropping

    PlainKey = tuple[str, str, str, str, tuple[tuple[str, str], ...]]

__all__ = [
    "OVERFLOW_NAME", "SERIES_CAP", "Kind", "Series", "SeriesKey", "SeriesTable", "Tally", "cell_of", "merged_histogram",
]  # fmt: skip

SERIES_CAP: Final = 2_000
KEYS_CAP_BYTES: Final = 2 * 1024 * 1024
"""Of the text in all keys: names and labels that a script makes long must leave room in a message for the samples."""
OVERFLOW_METRICS: Final = 100
REFUSALS_REMEMBERED: Final = 10_000


class Tally:
    """Count samples and their sum, for the kinds of series that need no histogram."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0

    def record(self, amount: int) -> None:
        """Count one sample: what a counter grows by, or 1 for what held and 0 for what did not."""
        self.count += 1
        self.total += amount

    def clear(self) -> None:
        """Forget everything."""
        self.count = 0
        self.total = 0

    def copy(self) -> Tally:
        """Return an equal tally that does not change with this one."""
        twin = Tally()
        twin.count = self.count
        twin.total = self.total
        return twin


def cell_of(kind: Kind) -> Histogram | Tally:
    """Return an empty cell for a kind of series: a histogram for a TREND, a tally for the others."""
    return Histogram() if kind is Kind.TREND else Tally()


class Series:
    """One series: its key, its kind and everything that was recorded in it.

    | kind | count | total |
    |---|---|---|
    | TREND | samples | their sum; `histogram` has the rest |
    | COUNTER | additions | their sum |
    | RATE | samples | those that were true |
    | GAUGE | times it was set | the last value; merged, the sum of the engines' last values |

    Attributes:
        key: who it is.
        kind: what it does with samples.
        outcomes: counters beside the samples (`metrics.Outcome`); a missing one is zero.
        cell: what count and total are read from, for those who record.
    """

    __slots__ = ("cell", "key", "kind", "outcomes")

    def __init__(self, key: SeriesKey, kind: Kind, make_cell: Callable[[Kind], Histogram | Tally] = cell_of) -> None:
        self.key = key
        self.kind = kind
        self.outcomes: dict[str, int] = {}
        self.cell: Histogram | Tally = make_cell(kind)

    @classmethod
    def restore(cls, state: SeriesState) -> Series:
        """Return the series whose `snapshot()` this is."""
        made = cls(state.key, state.kind)
        made.outcomes = dict(state.outcomes)
        if state.kind is Kind.TREND:
            made.cell = Histogram.unpack(
                state.indexes,
                state.counts,
                total=state.total,
                minimum=state.minimum,
                maximum=state.maximum,
                zeros=state.zeros,
            )
        else:
            made.count = state.count
            made.total = state.total
        return made

    @property
    def histogram(self) -> Histogram | None:
        """Return the histogram of a TREND, None for other kinds."""
        return self.cell if isinstance(self.cell, Histogram) else None

    @property
    def count(self) -> int:
        """Return the number of samples."""
        return self.cell.count

    @count.setter
    def count(self, count: int) -> None:
        self.cell.count = count

    @property
    def total(self) -> int:
        """Return the sum of the samples; of a GAUGE the last value."""
        return self.cell.total

    @total.setter
    def total(self, total: int) -> None:
        self.cell.total = total

    def clear(self) -> None:
        """Forget what was recorded; whoever records into the cell goes on doing so."""
        self.cell.clear()
        for outcome in self.outcomes:
            self.outcomes[outcome] = 0

    def snapshot(self) -> SeriesState:
        """Return everything recorded so far as an immutable value."""
        outcomes = tuple(sorted((name, count) for name, count in self.outcomes.items() if count))
        cell = self.cell
        # The kind says what the cell is, as an engine records into cells of its own.
        if self.kind is not Kind.TREND:
            return SeriesState(key=self.key, kind=self.kind, count=cell.count, total=cell.total, outcomes=outcomes)
        trend = cast("Histogram", cell)
        indexes, counts = trend.pack()
        return SeriesState(
            key=self.key,
            kind=self.kind,
            count=trend.count,
            total=trend.total,
            minimum=trend.minimum,
            maximum=trend.maximum,
            zeros=trend.zeros,
            indexes=tuple(indexes),
            counts=tuple(counts),
            outcomes=outcomes,
        )

    def copy(self) -> Series:
        """Return an equal series that does not change with this one."""
        twin = Series(self.key, self.kind)
        twin.cell = self.cell.copy()
        twin.outcomes = self.outcomes.copy()
        return twin

    def add(self, other: Series) -> None:
        """Merge another series of the same kind into this one.

        Raises:
            ValueError: the kinds differ.
        """
        if self.kind is not other.kind:
            raise ValueError(f"a {self.kind} and a {other.kind} have no sum")
        if isinstance(self.cell, Histogram) and isinstance(other.cell, Histogram):
            self.cell.merge(other.cell)
        else:
            self.cell.count += other.cell.count
            self.cell.total += other.cell.total
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count

    def minus(self, older: Series) -> Series:
        """Return what was recorded since an older state of this series; of a GAUGE the value it has now.

        Raises:
            ValueError: the other is no older state of this series.
        """
        if self.kind is not older.kind or self.count < older.count:
            raise ValueError(
                f"the other series is no older state of {self.key.metric}: it is of another kind or holds more"
            )
        rest = Series(self.key, self.kind)
        if isinstance(self.cell, Histogram) and isinstance(older.cell, Histogram):
            rest.cell = self.cell.minus(older.cell)
        else:
            rest.count = self.count - older.count
            rest.total = self.total - (0 if self.kind is Kind.GAUGE else older.total)
        rest.outcomes = {name: count - older.outcomes.get(name, 0) for name, count in self.outcomes.items()}
        return rest


def merged_histogram(series: Iterable[Series]) -> Histogram:
    """Return one histogram with the samples of all TRENDs among the series."""
    merged = Histogram()
    for one in series:
        if isinstance(one.cell, Histogram):
            merged.merge(one.cell)
    return merged


class SeriesTable:
    """Hold at most `cap` series, of `KEYS_CAP_BYTES`; whoever comes later is counted, exactly, in an overflow series.

    There is one overflow series for each built-in metric and about `OVERFLOW_METRICS` others in need of one, named
    `__overflow__` and without labels, and then one for each kind. A metric has one kind, the built-in's or its first
    series'; a series of another kind has no place of its own either.

    Attributes:
        find: return the series of a key, or of the plain tuple of its fields; None if it has no place of its own.
        dropping: what is left out; None: nothing.
    """

    __slots__ = (
        "_cap",
        "_key_bytes",
        "_kinds",
        "_make_cell",
        "_overflows",
        "_refused",
        "_series",
        "_voids",
        "dropping",
        "find",
    )

    def __init__(self, cap: int = SERIES_CAP, make_cell: Callable[[Kind], Histogram | Tally] = cell_of) -> None:
        self._cap = cap
        self._make_cell = make_cell
        self._series: dict[SeriesKey, Series] = {}
        # A plain tuple equals the key with its fields, so the hot path looks up without making a key or a Python call.
        self.find: Callable[[PlainKey], Series | None] = self._series.get  # type: ignore[assignment]
        self._kinds = dict(BUILT_IN)
        self._overflows = 0
        self._key_bytes = 0
        self._refused: set[int] = set()
        self._voids: dict[Kind, Series] = {}
        self.dropping: Dropping | None = None

    def get(self, key: SeriesKey, kind: Kind) -> Series:
        """Return the series of a key, made if there is room; else the overflow series of its metric and kind.

        What is left out gets a series that belongs to no metric, and that nobody is ever shown.
        """
        if self.dropping is not None:
            if self.dropping.has_metric(key.metric):
                return self._void(kind)
            key = self.dropping.kept(key)
        held = self._series.get(key)
        if held is not None and held.kind is kind:
            return held
        if key.is_overflow:
            return self._overflow(key.metric, kind)
        if self.has_room and self._kinds.setdefault(key.metric, kind) is kind:
            return self._make(key, kind)
        if len(self._refused) < REFUSALS_REMEMBERED:
            self._refused.add(hash(key))
        return self._overflow(key.metric, kind)

    def kind_of(self, metric: str) -> Kind | None:
        """Return the kind that a metric has, or None while it has none."""
        return self._kinds.get(metric)

    @property
    def has_room(self) -> bool:
        """Say whether another series would get a place of its own."""
        return len(self._series) - self._overflows < self._cap and self._key_bytes < KEYS_CAP_BYTES

    @property
    def refused(self) -> int:
        """Return how many keys were refused; beyond `REFUSALS_REMEMBERED` it stays there and means at least."""
        return len(self._refused)

    @property
    def is_complete(self) -> bool:
        """Say whether every series has a place of its own."""
        return not self._overflows

    def __iter__(self) -> Iterator[Series]:
        return iter(self._series.values())

    def __len__(self) -> int:
        return len(self._series)

    def _overflow(self, metric: str, kind: Kind) -> Series:
        """Return the series in which those without a place are counted."""
        key = SeriesKey(metric, name=OVERFLOW_NAME)
        crowded = self._overflows >= OVERFLOW_METRICS and key not in self._series and metric not in BUILT_IN
        if crowded or metric == OVERFLOW_NAME or self._kinds.get(metric, kind) is not kind:
            key = SeriesKey(OVERFLOW_NAME, name=kind.value)
        if key not in self._series:
            self._overflows += 1
            self._kinds.setdefault(key.metric, kind)
            return self._make(key, kind)
        return self._series[key]

    def _void(self, kind: Kind) -> Series:
        """Return where samples of a kind go that are left out: one series, however many metrics these are."""
        void = self._voids.get(kind)
        if void is None:
            void = self._voids[kind] = Series(SeriesKey(OVERFLOW_NAME, name=OVERFLOW_NAME), kind, self._make_cell)
        # So that no sum of things that nobody asked for ever becomes too large.
        void.clear()
        return void

    def _make(self, key: SeriesKey, kind: Kind) -> Series:
        made = self._series[key] = Series(key, kind, self._make_cell)
        texts = (key.metric, key.scenario, key.method, key.name, *chain.from_iterable(key.labels))
        self._key_bytes += sum(len(text.encode(errors="replace")) for text in texts)
        return made
