"""Give out the run's iterations in blocks: each number to exactly one worker, and never twice. Pure.

How a worker splits its blocks over its engines is the agent's affair.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loadstone_core.load.share import share

if TYPE_CHECKING:
    from collections.abc import Collection

# A block lasts this long, so that a worker asks once in two heartbeats and a lost one takes little with it.
SECONDS_AHEAD: Final = 2
# Below this many for each worker nothing is worth a second round.
SMALL_BLOCK: Final = 100


@dataclass(frozen=True, slots=True)
class Grant:
    """What one worker is to know: the blocks that it has not acknowledged, and the number of the first of them."""

    version: int
    ranges: tuple[range, ...]
    first_range: int


@dataclass(slots=True)
class _Ledger:
    """What one worker was given; `versions` says with which version of its assignment each kept range came."""

    version: int = 0
    ranges: list[range] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    first_range: int = 0
    last_block: int = 0
    granted: int = 0


class Grants:
    """The iterations of one run, from 0 to `total`, and who has which.

    Before `open` nothing is given out. A run that is not counted in iterations has a total of 0: its assignments hold
    the slot only.
    """

    def __init__(self, total: int, workers: int) -> None:
        self._total = total
        self._workers = workers
        self._next = 0
        self._ledgers = [_Ledger(version=1) for _ in range(workers)]

    @property
    def left(self) -> int:
        """How many iterations nobody has been given yet."""
        return self._total - self._next

    def granted(self) -> int:
        """Return how many iterations have been given out."""
        return self._next

    def granted_to(self, worker: int) -> int:
        """Return how many iterations a worker has been given so far, done or not."""
        return self._ledgers[worker].granted

    def open(self) -> None:
        """Give every worker its first block."""
        each = max(1, self._total // (self._workers * 20), min(SMALL_BLOCK, self._total // self._workers))
        if self._total <= each * self._workers + self._workers:
            self._divide(range(self._workers))
            return
        for worker in range(self._workers):
            self._give(worker, each)

    def hear(self, worker: int, *, left: int, per_second: int, living: Collection[int]) -> tuple[int, ...]:
        """Take in what a worker has left and how fast it is; return the workers whose assignment has changed.

        When little remains, all of it is divided at once over the living workers: they end together.
        """
        if not self.left or left >= max(1, SECONDS_AHEAD * per_second):
            return ()
        ledger = self._ledgers[worker]
        # Who ran dry between two heartbeats is faster than the last figure says.
        wanted = max(SECONDS_AHEAD * per_second, ledger.last_block * (1 if left else 4), 1)
        sharers = sorted({*living, worker})
        if self.left <= wanted * len(sharers):
            return self._divide(sharers)
        self._give(worker, wanted)
        return (worker,)

    def acknowledge(self, worker: int, version: int) -> None:
        """Forget the blocks that a worker holds for sure: those up to a version of its assignment that it applied."""
        ledger = self._ledgers[worker]
        while ledger.versions and ledger.versions[0] <= version:
            del ledger.versions[0], ledger.ranges[0]
            ledger.first_range += 1

    def of(self, worker: int) -> Grant:
        """Return what a worker is to know now."""
        ledger = self._ledgers[worker]
        return Grant(ledger.version, tuple(ledger.ranges), ledger.first_range)

    def _divide(self, workers: Collection[int]) -> tuple[int, ...]:
        rest, changed = self.left, []
        for place, worker in enumerate(workers):
            if count := share(rest, place, len(workers)):
                self._give(worker, count)
                changed.append(worker)
        return tuple(changed)

    def _give(self, worker: int, count: int) -> None:
        ledger = self._ledgers[worker]
        given = range(self._next, min(self._next + count, self._total))
        self._next = given.stop
        ledger.version += 1
        ledger.ranges.append(given)
        ledger.versions.append(ledger.version)
        ledger.last_block = count
        ledger.granted += len(given)
