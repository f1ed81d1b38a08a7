"""Hold the newest state of one series of one stream, packed, and tell what a newer state adds to it.

This is the master's hot path: every changed series of every engine comes through here each second. Which state is
newer, and where the difference goes, is decided in `merge`.
"""

from __future__ import annotations

from functools import cache
from itertools import compress, repeat
from operator import sub
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from loadstone_core.stats.stream import SeriesState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadstone_core.stats.metrics import SeriesKey
    from loadstone_core.stats.series import Series


class Growth(NamedTuple):
    """What a newer state of a series holds and the older one did not.

    Attributes:
        samples: their number.
        total: their sum; of a gauge, how much its value rose.
        zeros: samples at or below zero.
        buckets: index and count of the buckets that changed.
        outcomes: count by name of those that changed.
    """

    samples: int
    total: int
    zeros: int
    buckets: list[tuple[int, int]]
    outcomes: dict[str, int]


class Held:
    """The newest known state of one series of one stream. Indexes take 2 bytes and counts 8, so that many fit.

    Attributes:
        sequence: of the state.
        target: the merged series that its samples are counted in, for good.
    """

    __slots__ = ("_bounds", "_count", "_counts", "_indexes", "_outcomes", "_total", "_zeros", "sequence", "target")

    def __init__(self, target: Series) -> None:
        self.sequence = 0
        self.target = target
        self._count = 0
        self._total = 0
        self._zeros = 0
        self._bounds = (0, 0)
        self._indexes = b""
        self._counts = b""
        self._outcomes: dict[str, int] = {}

    def replace(self, state: SeriesState, *, sequence: int) -> Growth:
        """Hold a newer state instead, and return what it adds."""
        outcomes = dict(state.outcomes)
        growth = Growth(
            state.count - self._count,
            state.total - self._total,
            state.zeros - self._zeros,
            self._replace_buckets(state.indexes, state.counts),
            {} if outcomes == self._outcomes else _difference(outcomes, self._outcomes),
        )
        self.sequence = sequence
        self._count = state.count
        self._total = state.total
        self._zeros = state.zeros
        self._bounds = (state.minimum, state.maximum)
        self._outcomes = outcomes
        return growth

    def state(self, key: SeriesKey) -> SeriesState:
        """Return the state that is held of the series with a key."""
        as_indexes, as_counts = _layouts(len(self._indexes) // 2)
        return SeriesState(
            key=key,
            kind=self.target.kind,
            count=self._count,
            total=self._total,
            minimum=self._bounds[0],
            maximum=self._bounds[1],
            zeros=self._zeros,
            indexes=as_indexes.unpack(self._indexes),
            counts=as_counts.unpack(self._counts),
            outcomes=tuple(sorted((name, count) for name, count in self._outcomes.items() if count)),
        )

    def _replace_buckets(self, indexes: tuple[int, ...], counts: tuple[int, ...]) -> list[tuple[int, int]]:
        """Hold newer buckets, and return those that changed, with the difference of their counts."""
        as_indexes, as_counts = _layouts(len(indexes))
        packed = as_indexes.pack(*indexes)
        gone: dict[int, int] = {}
        if packed == self._indexes:
            # The usual case after some seconds: no new bucket.
            older: Iterable[int] = as_counts.unpack(self._counts)
        else:
            was_indexes, was_counts = _layouts(len(self._indexes) // 2)
            gone = dict(zip(was_indexes.unpack(self._indexes), was_counts.unpack(self._counts), strict=True))
            older = map(gone.pop, indexes, repeat(0))
        # All in C: only the buckets that changed become Python's.
        changes = list(map(sub, counts, older))
        grown = list(zip(compress(indexes, changes), filter(None, changes), strict=True))
        # A cumulative state drops no bucket; should one do so, the sum still follows it.
        grown.extend((index, -count) for index, count in gone.items())
        self._indexes = packed
        self._counts = as_counts.pack(*counts)
        return grown


@cache
def _layouts(size: int) -> tuple[Struct, Struct]:
    """Return how so many indexes and so many counts are packed: three times as fast as an array of them is made."""
    return Struct(f"{size}H"), Struct(f"{size}q")


def _difference(newer: dict[str, int], older: dict[str, int]) -> dict[str, int]:
    """Return newer - older by name, without zeros; a name is never dropped."""
    return {name: count - older.get(name, 0) for name, count in newer.items() if count != older.get(name, 0)}
