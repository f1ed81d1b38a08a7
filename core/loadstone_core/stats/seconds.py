"""Collect what the streams report for each second until the second is closed.

When that is, `merge` decides; what becomes of closed seconds is `timeline`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import DROPPED_ITERATIONS, ITERATIONS, LATENCY, Outcome
from loadstone_core.stats.timeline import Second

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.stats.held import Growth


_WHOLE = ("failures", "iterations", "dropped", "latency_total", "latency_zeros")


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

    def add(self, other: Self, sign: int = 1) -> None:
        """Add what another second holds, but for its users; or take it away, with a sign of -1."""
        self.failures += sign * other.failures
        self.iterations += sign * other.iterations
        self.dropped += sign * other.dropped
        self.latency_total += sign * other.latency_total
        self.latency_zeros += sign * other.latency_zeros
        for index, count in other.latency_buckets.items():
            self.latency_buckets[index] = self.latency_buckets.get(index, 0) + sign * count

    @property
    def is_short(self) -> bool:
        """Whether less was counted than was taken away."""
        counts = (self.failures, self.iterations, self.dropped, self.latency_zeros, *self.latency_buckets.values())
        return min(counts) < 0


class Seconds:
    """The seconds that are still open. What comes late for a closed one is counted in the first open one, as a gap.

    Who takes over from another (`recall`) knows what all seconds up to one held together. The streams say everything
    that they have counted since they began, so the rest of that belongs to the gap: its first second, `reunion`.

    Attributes:
        newest: the newest second that has something in it, or that a stream has closed.
        reunion: the second in which the first word of every stream is counted, as long as it is open; None without one.
    """

    __slots__ = ("_gaps", "_pending", "_sum", "_taken", "_users", "newest", "reunion")

    def __init__(self) -> None:
        self.newest = -1
        self.reunion: int | None = None
        self._taken = -1
        self._users = 0
        self._pending: dict[int, _Pending] = {}
        self._gaps: list[tuple[int, int]] = []
        self._sum = _Pending()  # of all seconds that were taken

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        whole = {name: getattr(self._sum, name) for name in _WHOLE}
        return {"taken": self._taken, **whole, "buckets": sorted(self._sum.latency_buckets.items())}

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on behind the seconds that another has taken, before anything is counted here."""
        self._taken = self.newest = held["taken"]
        self._sum = _Pending(**{name: held[name] for name in _WHOLE}, latency_buckets=dict(held["buckets"]))
        self.reunion = self._taken + 1
        self._pending[self.reunion] = _Pending()
        self._pending[self.reunion].add(self._sum, -1)

    def begin_at(self, second: int) -> None:
        """Leave out what is before a second."""
        self._taken = self.newest = second - 1

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
        if self.reunion is not None and self.reunion <= self._taken:
            self.reunion = None
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
        if second == self.reunion and pending.is_short:
            # A stream that was counted has not come back, so nobody knows how much of the rest is new.
            pending = _Pending()
        self._sum.add(pending)
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
