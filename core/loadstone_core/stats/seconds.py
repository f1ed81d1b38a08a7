"""Collect what the streams report for each second until the second is closed.

When that is, `merge` decides; what becomes of closed seconds is `timeline`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import DROPPED_ITERATIONS, ITERATIONS, LATENCY, Kind, Outcome
from loadstone_core.stats.series import cell_of
from loadstone_core.stats.timeline import Second

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_core.stats.held import Growth
    from loadstone_core.stats.series import Tally


@dataclass(slots=True)
class _Pending:
    """The sum of the differences that belong to one second."""

    latency: Histogram
    failures: int = 0
    iterations: int = 0
    dropped: int = 0
    users_gained: int = 0


class Seconds:
    """The seconds that are still open. What comes late for a closed one is counted in the first open one, as a gap.

    Attributes:
        newest: the newest second that has something in it, or that a stream has closed.
    """

    __slots__ = ("_gaps", "_make_cell", "_pending", "_taken", "_users", "newest")

    def __init__(self, make_cell: Callable[[Kind], Histogram | Tally] = cell_of) -> None:
        self._make_cell = make_cell
        self.newest = -1
        self._taken = -1
        self._users = 0
        self._pending: dict[int, _Pending] = {}
        self._gaps: list[tuple[int, int]] = []

    def reach(self, second: int) -> None:
        """Note that a stream has closed a second."""
        self.newest = max(self.newest, second)

    def mark_gap(self, first: int, last: int) -> None:
        """Note that something is missing, or stands in the last one, of these seconds."""
        self._gaps.append((first, last))

    def add(self, second: int, metric: str, growth: Growth) -> None:
        """Count what a series gained with the state that closed a second."""
        if metric == LATENCY:
            pending = self._open(second)
            pending.failures += growth.outcomes.get(Outcome.FAILED, 0)
            pending.latency.grow(growth.buckets, count=growth.samples, total=growth.total, zeros=growth.zeros)
        elif metric == ITERATIONS:
            self._open(second).iterations += growth.total
        elif metric == DROPPED_ITERATIONS:
            self._open(second).dropped += growth.total

    def change_users(self, second: int, gained: int) -> None:
        """Count users that a stream gained, or lost if negative, until the end of a second."""
        if gained:
            self._collected(max(second, self._taken + 1)).users_gained += gained

    def take(self, closed: int) -> tuple[Second, ...]:
        """Return the seconds up to a closed one, and forget them."""
        seconds = tuple(self._close(second) for second in range(self._taken + 1, closed + 1))
        self._taken = max(self._taken, closed)
        self._gaps = [(first, last) for first, last in self._gaps if last > self._taken]
        return seconds

    def _open(self, second: int) -> _Pending:
        """Return where a second is collected."""
        place = max(second, self._taken + 1)
        if 0 <= second < place:
            self.mark_gap(place, place)
        self.reach(place)
        return self._collected(place)

    def _collected(self, second: int) -> _Pending:
        """Return what belongs to a second."""
        pending = self._pending.get(second)
        if pending is None:
            pending = self._pending[second] = _Pending(cast("Histogram", self._make_cell(Kind.TREND)))
        return pending

    def _close(self, second: int) -> Second:
        pending = self._pending.pop(second, None) or _Pending(Histogram())
        self._users += pending.users_gained
        grown = pending.latency
        latency = Histogram.of_buckets(grown.buckets, total=grown.total, zeros=grown.zeros)
        return Second(
            second=second,
            requests=latency.count,
            failures=pending.failures,
            iterations=pending.iterations,
            dropped=pending.dropped,
            users=self._users,
            latency=latency,
            gap=any(first <= second <= last for first, last in self._gaps),
        )
