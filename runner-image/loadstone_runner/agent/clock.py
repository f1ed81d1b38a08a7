"""Know the master's clock from round trips. Pure: every reading is an argument, in nanoseconds.

When to ping is the session's matter.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# Clocks of two machines drift apart by less than this; an old round trip is trusted less by as much.
DRIFT_PPM: Final = 100
TRIPS_KEPT: Final = 16
# What is known once one is so short, or there are so many, or the first is so long ago, is not known better soon.
SHORT_NS: Final = 50_000_000
TRIPS_ENOUGH: Final = 5
SETTLED_NS: Final = 1_000_000_000
_MILLION: Final = 1_000_000


class RoundTrip(NamedTuple):
    """A ping and its answer: sent and received on this clock, answered on the master's in between."""

    sent_ns: int
    master_ns: int
    received_ns: int

    @property
    def duration_ns(self) -> int:
        """How long it took."""
        return self.received_ns - self.sent_ns

    @property
    def offset_ns(self) -> int:
        """The master's clock minus this one, as if both ways took equally long; off by half the duration at most."""
        return self.master_ns - (self.sent_ns + self.received_ns) // 2

    def error_ns(self, now_ns: int) -> int:
        """Return how far off the offset may be by now: half the duration, and what both clocks drifted since."""
        return (self.duration_ns + 1) // 2 + max(0, now_ns - self.received_ns) * DRIFT_PPM // _MILLION


class ClockOffset:
    """The offset of the master's clock, from that one of some round trips that can be least wrong.

    The shortest round trip bounds the error best (Cristian, 1989); age counts against it.
    """

    __slots__ = ("_trips",)

    def __init__(self) -> None:
        self._trips: list[RoundTrip] = []

    def add(self, trip: RoundTrip) -> None:
        """Take note of a round trip; one that ended before it began is none.

        One that cannot be of the same two clocks as those before is believed, and they are forgotten.
        """
        if trip.duration_ns < 0:
            return
        best, now_ns = self.best(trip.received_ns), trip.received_ns
        if best is not None and abs(best.offset_ns - trip.offset_ns) > best.error_ns(now_ns) + trip.error_ns(now_ns):
            self._trips.clear()
        self._trips.append(trip)
        if len(self._trips) > TRIPS_KEPT:
            # Not the oldest: a way that was slow for a while brings many bad ones at once.
            self._trips.remove(max(self._trips, key=lambda each: each.error_ns(now_ns)))

    def forget(self) -> None:
        """Drop everything: another master process on another machine may have another clock."""
        self._trips.clear()

    def is_settled(self, now_ns: int) -> bool:
        """Return whether a start may be fixed by what is known: a better round trip is not to be expected soon.

        The first one of a worker that came while its master stood still may be off by seconds, and the next, a moment
        later, by none.
        """
        best = self.best(now_ns)
        if best is None:
            return False
        is_short = best.duration_ns <= SHORT_NS
        return is_short or len(self._trips) >= TRIPS_ENOUGH or now_ns - self._trips[0].received_ns >= SETTLED_NS

    def best(self, now_ns: int) -> RoundTrip | None:
        """Return the round trip to trust now, None before the first."""
        return min(self._trips, key=lambda trip: trip.error_ns(now_ns), default=None)
