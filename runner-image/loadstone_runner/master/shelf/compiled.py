"""The compiled flavour of the master's hot path: what is in C, joined with the Python that both flavours share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import Kind
from loadstone_core.stats.series import Tally
from loadstone_protocol.codec import KINDS, WireError, canonical_series, key_from_bytes, series_to_bytes
from loadstone_runner.master.shelf._packed import Buckets, PackedSeries, Reader
from loadstone_runner.master.shelf._packed import Held as PackedHeld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadstone_core.stats.held import Growth
    from loadstone_core.stats.stream import SeriesState

__all__ = ["Held", "cell_of", "read_series"]

# More than a run may have; who sends ever new ones is read more slowly, and no more is remembered.
KEYS_REMEMBERED: Final = 65_536

read_series: Final[Callable[[bytes], SeriesState]] = Reader(
    KINDS, decode_key=key_from_bytes, canonical=canonical_series, refuse=WireError, most_keys=KEYS_REMEMBERED
).read


class Held(PackedHeld):
    """The newest known state of one series of one stream."""

    __slots__ = ()

    def replace(self, state: SeriesState, *, sequence: int) -> Growth:
        """Hold a newer state instead, and return what it adds; one that did not come over the wire is packed first."""
        if not isinstance(state, PackedSeries):
            state = read_series(series_to_bytes(state))
        growth: Growth = PackedHeld.replace(self, state, sequence=sequence)
        return growth


class Trend(Histogram):
    """A histogram that others are added to, with its buckets in C. What it counts is read much more seldom."""

    __slots__ = ("_counted",)

    def __init__(self) -> None:
        self._counted = Buckets()
        super().__init__()

    @property
    def buckets(self) -> dict[int, int]:
        """Count by bucket index, as it is now; not to be changed."""
        shown: dict[int, int] = self._counted.shown()
        return shown

    @buckets.setter
    def buckets(self, counts: dict[int, int]) -> None:
        self._counted.clear()
        self._counted.add(counts.items())

    def clear(self) -> None:
        """Forget everything."""
        self._counted.clear()
        self.count = self.total = self.minimum = self.maximum = self.zeros = 0

    def record(self, value: int) -> None:
        """Count one sample; see `Histogram.record`."""
        one = Histogram()
        one.record(value)
        self.merge(one)

    def grow(self, buckets: Iterable[tuple[int, int]], *, count: int, total: int, zeros: int) -> None:
        """Add counts to buckets and totals; whoever calls it states the extremes with `reach`."""
        self._counted.add(buckets)
        self.count += count
        self.total += total
        self.zeros += zeros


def cell_of(kind: Kind) -> Histogram | Tally:
    """Return an empty cell for a kind of series."""
    return Trend() if kind is Kind.TREND else Tally()
