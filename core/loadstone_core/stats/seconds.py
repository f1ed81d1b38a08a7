"""Collect what the streams report for each second until the second is closed.

When that is, `merge` decides; what becomes of closed seconds is `timeline`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import DROPPED_ITERATIONS, ITERATIONS, LATENCY, Kind, Outcome
from loadstone_core.stats.series import cell_of
from loadstone_core.stats.timeline import Second

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadstone_core.stats.held import Growth
    from loadstone_core.stats.series import Tally


SECONDS_SHOW = frozenset({LATENCY, ITERATIONS, DROPPED_ITERATIONS})
_WHOLE = ("failures", "iterations", "dropped")


@dataclass(slots=True)
class _Pending:
    """The sum of the differences that belong to one second."""

    latency: Histogram
    failures: int = 0
    iterations: int = 0
    dropped: int = 0
    users_gained: int = 0

    def count(self, metric: str, growth: Growth) -> None:
        """Count what a series of a metric gained."""
        if metric == LATENCY:
            samples, total, zeros, buckets, outcomes = growth
            if outcomes:
                self.failures += outcomes.get(Outcome.FAILED, 0)
            self.latency.grow(buckets, count=samples, total=total, zeros=zeros)
        elif metric == ITERATIONS:
            self.iterations += growth.total
        else:
            self.dropped += growth.total

    def add(self, other: Self, sign: int = 1) -> None:
        """Add what another second holds, but for its users; or take it away, with a sign of -1."""
        self.failures += sign * other.failures
        self.iterations += sign * other.iterations
        self.dropped += sign * other.dropped
        held = other.latency
        buckets = [(index, sign * count) for index, count in held.buckets.items()]
        self.latency.grow(buckets, count=sign * held.count, total=sign * held.total, zeros=sign * held.zeros)

    @property
    def is_short(self) -> bool:
        """Whether less was counted than was taken away."""
        counts = (self.failures, self.iterations, self.dropped, self.latency.zeros, *self.latency.buckets.values())
        return min(counts) < 0


class Seconds:
    """The seconds that are still open. What comes late for a closed one is counted in the first open one, as a gap.

    Who takes over from another (`recall`) knows what all seconds up to one held together. The streams say everything
    that they have counted since they began, so the rest of that belongs to the gap: its first second, `reunion`.

    Attributes:
        newest: the newest second that has something in it, or that a stream has closed.
        reunion: the second in which the first word of every stream is counted, as long as it is open; None without one.
    """

    __slots__ = ("_gaps", "_make_cell", "_pending", "_sum", "_taken", "_users", "newest", "reunion")

    def __init__(self, make_cell: Callable[[Kind], Histogram | Tally] = cell_of) -> None:
        self._make_cell = make_cell
        self.newest = -1
        self.reunion: int | None = None
        self._taken = -1
        self._users = 0
        self._pending: dict[int, _Pending] = {}
        self._gaps: list[tuple[int, int]] = []
        self._sum = _Pending(Histogram())  # of all seconds that were taken, and what is in none

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        whole, latency = self._sum, self._sum.latency
        counts = {name: getattr(whole, name) for name in _WHOLE}
        buckets = sorted(latency.buckets.items())
        return {"taken": self._taken, **counts, "total": latency.total, "zeros": latency.zeros, "buckets": buckets}

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on behind the seconds that another has taken, before anything is counted here."""
        self._taken = self.newest = held["taken"]
        latency = Histogram.of_buckets(dict(held["buckets"]), total=held["total"], zeros=held["zeros"])
        self._sum = _Pending(latency, **{name: held[name] for name in _WHOLE})
        self.reunion = self._taken + 1
        self._collected(self.reunion).add(self._sum, -1)

    @property
    def untouched(self) -> int:
        """The first second in which nothing was counted yet, and no first word of a stream will be."""
        return max(self.newest, -1 if self.reunion is None else self.reunion) + 1

    def begin_at(self, second: int) -> None:
        """Leave out what is before a second."""
        self._taken = self.newest = second - 1

    def reach(self, second: int) -> None:
        """Note that a stream has closed a second."""
        self.newest = max(self.newest, second)

    def mark_gap(self, first: int, last: int) -> None:
        """Note that something is missing, or stands in the last one, of these seconds."""
        self._gaps.append((first, last))

    def place(self, second: int) -> int:
        """Return the second in which is counted what comes now for a second."""
        return max(second, self._taken + 1)

    def add(self, second: int, metric: str, growth: Growth) -> None:
        """Count what a series gained with the state that closed a second; of metrics that `SECONDS_SHOW`."""
        self._open(second).count(metric, growth)

    def leave_out(self, metric: str, growth: Growth) -> None:
        """Count in no second what a series gained before the first one; whoever takes over leaves it out, too."""
        self._sum.count(metric, growth)

    def change_users(self, second: int, gained: int) -> None:
        """Count users that a stream gained, or lost if negative, until the end of a second."""
        if gained:
            self._collected(max(second, self._taken + 1)).users_gained += gained

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
        place = self.place(second)
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
        if second == self.reunion and pending.is_short:
            # A stream that was counted has not come back, so nobody knows how much of the rest is new.
            pending = _Pending(Histogram())
        self._sum.add(pending)
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
