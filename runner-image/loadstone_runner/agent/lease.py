"""Decide until when load may run without a word of the master. Pure: moments are of CLOCK_BOOTTIME, in nanoseconds.

It runs from the moment at which the last acknowledged heartbeat was *sent*: the master, which counts from when it
received that one, always gives the load away later than it ends here.
"""

from __future__ import annotations

from typing import Final

LEASE_NS: Final = 30_000_000_000
_PENDING_MAX: Final = 64


class Lease:
    """The right to make load. It does not run before the first acknowledgement."""

    __slots__ = ("_duration_ns", "_from_ns", "_sent")

    def __init__(self) -> None:
        self._duration_ns = LEASE_NS
        self._from_ns: int | None = None
        self._sent: dict[int, int] = {}

    @property
    def duration_ns(self) -> int:
        """For how long load may run after a heartbeat that was acknowledged."""
        return self._duration_ns

    def set_duration(self, duration_ns: int) -> None:
        """Obey the master's duration; one that is not positive leaves what is held."""
        if duration_ns > 0:
            self._duration_ns = duration_ns

    def beat(self, number: int, now_ns: int) -> None:
        """Take note that a heartbeat is sent now."""
        self._sent[number] = now_ns
        if len(self._sent) > _PENDING_MAX:
            del self._sent[min(self._sent)]

    def acknowledge(self, number: int) -> bool:
        """Extend the lease from a heartbeat's sending; return False for a number that is not awaited."""
        sent_ns = self._sent.get(number)
        if sent_ns is None:
            return False
        self._sent = {each: moment for each, moment in self._sent.items() if each > number}
        self._from_ns = sent_ns if self._from_ns is None else max(self._from_ns, sent_ns)
        return True

    def remaining_ns(self, now_ns: int) -> int | None:
        """Return for how long load may run, 0 or less when it may not; None while the lease does not run yet."""
        return None if self._from_ns is None else self._from_ns + self._duration_ns - now_ns
