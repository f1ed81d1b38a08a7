"""Decide when engines are asked to end and when they are killed. Pure: every moment is an argument, in nanoseconds.

Moments are of CLOCK_BOOTTIME, which goes on while a machine is suspended. Who sends the signals is known elsewhere.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

SECOND_NS: Final = 1_000_000_000
LEASE_GRACE_NS: Final = 2 * SECOND_NS
# An engine takes up to 10 s for running iterations after SIGTERM, then has 5 s for its last report.
TERMINATE_GRACE_NS: Final = 15 * SECOND_NS


class Due(Enum):
    """What is to be done to the engines now."""

    NOTHING = 0
    TERMINATE = 1
    KILL = 2


class Switch:
    """What was ordered so far. An order to kill is never taken back and never moved to a later moment."""

    __slots__ = ("_kill_ns", "_lease_ns", "_lease_spent", "_terminate")

    def __init__(self) -> None:
        self._lease_ns: int | None = None
        self._lease_spent = False
        self._kill_ns: int | None = None
        self._terminate = False

    @property
    def lease_ns(self) -> int | None:
        """Until when the engines may live without another word; None while no lease runs."""
        return self._lease_ns

    def renew(self, now_ns: int, *, seconds: float) -> None:
        """Let the engines live for `seconds` without another word; a lease that has run out is not renewed."""
        self._expire(now_ns)
        if not self._lease_spent:
            self._lease_ns = now_ns + int(seconds * SECOND_NS)

    def limit(self, now_ns: int, *, seconds: float) -> None:
        """Kill what still lives in `seconds`."""
        self._kill_at(now_ns + int(seconds * SECOND_NS))

    def terminate(self, now_ns: int, *, grace_ns: int = TERMINATE_GRACE_NS) -> None:
        """Ask the engines to end, and kill them when they take longer than they may."""
        self._terminate = True
        self._kill_at(now_ns + grace_ns)

    def take(self, now_ns: int) -> Due:
        """Return what is due; TERMINATE comes once for each cause, KILL again and again."""
        self._expire(now_ns)
        if self._kill_ns is not None and now_ns >= self._kill_ns:
            return Due.KILL
        if self._terminate:
            self._terminate = False
            return Due.TERMINATE
        return Due.NOTHING

    def next_ns(self) -> int | None:
        """Return the next moment at which something may be due; None if only an order can change that."""
        moments = [moment for moment in (self._lease_ns, self._kill_ns) if moment is not None]
        return min(moments, default=None)

    def _expire(self, now_ns: int) -> None:
        if self._lease_ns is None or now_ns < self._lease_ns:
            return
        # The agent may be dead, so the engines are asked from here, too.
        self._terminate = True
        self._kill_at(self._lease_ns + LEASE_GRACE_NS)
        self._lease_ns = None
        self._lease_spent = True

    def _kill_at(self, moment_ns: int) -> None:
        self._kill_ns = moment_ns if self._kill_ns is None else min(self._kill_ns, moment_ns)
