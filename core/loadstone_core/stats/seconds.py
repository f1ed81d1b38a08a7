"""Collect what the streams report for each second until the second is closed.

When that is, `merge` decides; what becomes of closed seconds is `timeline`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import DROPPED_ITERATIONS, ITERATIONS, LATENCY, Outcome
from loadstone_core.stats.timeline import Second

if TYPE_CHECKING:
    from loadstone_core.stats.held import Growth


@dataclass(slots=True)
class _Pending:
    """The sum of the differences that belong to one second."""

    failures: int = 0
    iterations: int = 0
    dropped: int = 0
    users_gained: int = 0
    latency_total: int = 0
    latency_zeros: int = 0
    latency_buckets: dict[int, int] = field(default_factory=dict)


class Seconds:
    """The seconds that are still open. What comes late for a closed one is counted in the first open one, as a gap.

    Attributes:
        newest: the newest second that has something in it, or that a stream has closed.
    """

    __slots__ = ("_gaps", "_pending", "_taken", "_users", "newest")

    def __init__(self) -> None:
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
            pending.latency_total += growth.total
            pending.latency_zeros += growth.zeros
            buckets = pending.latency_buckets
            for index, count in growth.buckets:
                buckets[index] = buckets.get(index, 0) + count
        elif metric == ITERATIONS:
            self._open(second).iterations += growth.total
        elif metric == DROPPED_ITERATIONS:
            self._open(second).dropped += growth.total

    def change_users(self, second: int, gained: int) -> None:
        """Count users that a stream gained, or lost if negative, until the end of a second."""
        if gained:
            self._pending.setdefault(max(second, self._taken + 1), _Pending()).users_gained += gained

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
        return self._pending.setdefault(place, _Pending())

    def _close(self, second: int) -> Second:
        pending = self._pending.pop(second, None) or _Pending()
        self._users += pending.users_gained
        latency = Histogram.of_buckets(
            pending.latency_buckets, total=pending.latency_total, zeros=pending.latency_zeros
        )
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
