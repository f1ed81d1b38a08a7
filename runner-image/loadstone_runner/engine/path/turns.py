"""Give iterations that are due to users that are free: who gets which, how they are woken, how late they begin.

The flavour that needs no compiler. When iterations are due, and how many users there are, belongs to `arrivals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent import get_hub

if TYPE_CHECKING:
    from loadstone_core.stats.histogram import Histogram
    from loadstone_runner.engine.path.laps import Runner


class Usher:
    """Give iterations that are due to users that are free.

    Attributes:
        unbegun: iterations that users were given and have not begun.
        first_late_ns: how late the first iteration began; -1: none has.
    """

    def __init__(self, slips: Histogram) -> None:
        """Record in `slips` by how many nanoseconds iterations began late."""
        self.unbegun = 0
        self.first_late_ns = -1
        self._free: list[Runner] = []
        self._given: list[Runner] = []
        self._slips = slips
        self._recent_slips = type(slips)()
        self._hub = get_hub()

    def admit(self, seat: Runner) -> None:
        """Count a user as free that has not come so far yet."""
        seat.is_listed = True
        self._free.append(seat)

    def hand(self, number: int, due_ns: int) -> bool:
        """Give an iteration to the user that became free last; False: nobody is free.

        So few users do most, and their memory is warm.
        """
        while self._free:
            seat = self._free.pop()
            seat.is_listed = False
            if not seat.is_gone:
                self.give(seat, number, due_ns)
                return True
        return False

    def give(self, seat: Runner, number: int, due_ns: int) -> None:
        """Give an iteration to a user that has none."""
        seat.work_number, seat.work_due_ns = number, due_ns
        seat.has_work = True
        self.unbegun += 1
        if seat.is_resting:
            if not self._given:
                self._hub.loop.run_callback(self._wake)
            self._given.append(seat)

    def _wake(self) -> None:
        """Run in the hub: one callback for all that were given something since the last one."""
        given, self._given = self._given, []
        for seat in given:
            seat.end_rest()

    def abandoned(self) -> None:
        """Hear that a user has ended with an iteration that it has not begun."""
        self.unbegun -= 1

    def take_slips(self) -> Histogram:
        """Return by how many nanoseconds the iterations since the last call began late."""
        taken, self._recent_slips = self._recent_slips, type(self._recent_slips)()
        return taken

    def next_turn(self, seat: Runner) -> bool:
        """Wait until a user is given an iteration; False: it is to do none any more."""
        if not seat.has_work:
            if not seat.is_listed:
                self.admit(seat)
            while not seat.has_work:
                if seat.is_retired:
                    return False
                seat.rest(None)
        if seat.is_retired:
            return False
        seat.has_work = False
        self.unbegun -= 1
        return True

    def started(self, begin_ns: int, due_ns: int) -> None:
        """Record how late an iteration began."""
        slip_ns = max(begin_ns - due_ns, 0)
        if self.first_late_ns < 0:
            self.first_late_ns = slip_ns
        self._slips.record(slip_ns)
        self._recent_slips.record(slip_ns)
