"""Hold the newest state of one series of one stream, packed, and tell what a newer state adds to it.

This is the master's hot path: every changed series of every engine comes through here each second. Which state is
newer, and where the difference goes, is decided in `merge`.
"""

from __future__ import annotations

from array import array
from itertools import compress
from operator import sub
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from loadstone_core.stats.series import Series
    from loadstone_core.stats.stream import SeriesState

_Name = TypeVar("_Name", int, str)


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

    __slots__ = ("_count", "_counts", "_indexes", "_outcomes", "_total", "_zeros", "sequence", "target")

    def __init__(self, target: Series) -> None:
        self.sequence = 0
        self.target = target
        self._count = 0
        self._total = 0
        self._zeros = 0
        self._indexes = array("H")
        self._counts = array("q")
        self._outcomes: dict[str, int] = {}

    def replace(self, state: SeriesState, *, sequence: int) -> Growth:
        """Hold a newer state instead, and return what it adds."""
        outcomes = dict(state.outcomes)
        growth = Growth(
            state.count - self._count,
            state.total - self._total,
            state.zeros - self._zeros,
            self._replace_buckets(array("H", state.indexes), array("q", state.counts)),
            {} if outcomes == self._outcomes else _difference(outcomes, self._outcomes),
        )
        self.sequence = sequence
        self._count = state.count
        self._total = state.total
        self._zeros = state.zeros
        self._outcomes = outcomes
        return growth

    def _replace_buckets(self, indexes: array[int], counts: array[int]) -> list[tuple[int, int]]:
        """Hold newer buckets, and return those that changed, with the difference of their counts."""
        if indexes == self._indexes:
            # The usual case after some seconds: no new bucket, so C compares and only changes reach Python.
            changes = list(map(sub, counts, self._counts))
            grown = list(zip(compress(indexes, changes), filter(None, changes), strict=True))
        else:
            older = dict(zip(self._indexes, self._counts, strict=True))
            grown = list(_difference(dict(zip(indexes, counts, strict=True)), older).items())
        self._indexes = indexes
        self._counts = counts
        return grown


def _difference(newer: dict[_Name, int], older: dict[_Name, int]) -> dict[_Name, int]:
    """Return newer - older by name, without zeros."""
    changed = {name: count - older.get(name, 0) for name, count in newer.items() if count != older.get(name, 0)}
    return changed | {name: -count for name, count in older.items() if name not in newer}
