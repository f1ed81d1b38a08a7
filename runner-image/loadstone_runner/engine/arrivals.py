"""The open model: iterations begin when they are due, whatever the target does, on whichever user is free.

Users are made when none is free, up to a limit; what comes due beyond it is dropped and counted.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import gevent

from loadstone_core.load.profile import dues, next_number
from loadstone_runner.engine.native import Turn
from loadstone_runner.engine.population import Population

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadstone_core.load.profile import LoadProfile
    from loadstone_runner.engine.cast import Cast
    from loadstone_runner.engine.native import Scene, Seat

USERS_LEAST: Final = 100
USERS_MOST: Final = 10_000
SECONDS_OF_RATE: Final = 10
BATCH_MOST: Final = 100
# An engine that comes later than this does not make up for what was due before it.
LATE_NS: Final = 1_000_000_000

_SECOND_NS: Final = 1_000_000_000


def users_limit(peak_rate: int, slots: int) -> int:
    """Return how many users one of `slots` engines may make: enough for iterations of 10 s at the highest rate."""
    return min(USERS_MOST, max(USERS_LEAST, -(-SECONDS_OF_RATE * peak_rate // slots)))


class ArrivalModel:
    """Follow a rate profile: this slot's part of the iterations, evenly interleaved with those of the others."""

    has_pauses = False
    is_free = False

    def __init__(self, scene: Scene, cast: Cast, *, load: LoadProfile, slot: int, slots: int) -> None:
        self.population = Population(scene, cast, turns=self, slot=slot, slots=slots)
        self.first_start_ns = 0
        self.users_limit = users_limit(load.profile.peak, slots)
        self._recorder = scene.instruments.recorder
        self._load = load
        self._slot = slot
        self._slots = slots
        self._free: list[Seat] = []
        self._next_index = 0
        self._slips: list[int] = []
        self._driver: gevent.Greenlet[..., None] | None = None
        self._is_over = False

    def start(self, start_at_ns: int) -> None:
        """Begin iterations as they are due, counted from a moment of the monotonic clock."""
        self._driver = gevent.spawn(self._dispatch, start_at_ns)

    def stop(self) -> None:
        """Begin no further iteration."""
        self._is_over = True
        if self._driver is not None:
            self._driver.kill(block=False)
        self.population.retire_all()

    def grant(self, first: int, ranges: Sequence[range]) -> None:
        """Ignore granted ranges: which iterations are this slot's follows from the profile."""

    iterations_left = 0
    ranges_taken = 0

    def take_slips(self) -> list[int]:
        """Return by how many nanoseconds the iterations since the last call were started late."""
        slips, self._slips = self._slips, []
        return slips

    def next_turn(self, seat: Seat) -> Turn | None:
        """Return what was handed to a user, waiting for it."""
        if seat.work is None:
            self._free.append(seat)
            while seat.work is None:
                if seat.is_retired:
                    return None
                seat.rest(None)
        if seat.is_retired:
            return None
        turn, seat.work = seat.work, None
        return turn

    def started(self, begin_ns: int, due_ns: int) -> None:
        """Record how late an iteration began."""
        if not self.first_start_ns:
            self.first_start_ns = begin_ns
        slip = max(begin_ns - due_ns, 0)
        self._recorder.slip(slip)
        self._slips.append(slip)

    def abandoned(self, turn: Turn) -> None:  # noqa: ARG002 they are only counted
        """Count an iteration that was handed out and never begun."""
        self._recorder.dropped()

    def _dispatch(self, start_at_ns: int) -> None:
        profile = self._load.profile
        first = self._first_number(monotonic_ns() - start_at_ns)
        number, in_a_row = first, 0
        for after_ns in dues(profile, first, self._slots, limit=self._load.iterations):
            due_ns = start_at_ns + after_ns
            while (left_ns := due_ns - monotonic_ns()) > 0:
                in_a_row = 0
                gevent.sleep(left_ns / _SECOND_NS)
            if in_a_row >= BATCH_MOST:
                # Behind the plan, and still everybody else must come to their turn.
                in_a_row = 0
                gevent.sleep(0)
            if self._is_over:
                return
            self._hand_out(Turn(number, due_ns))
            number += self._slots
            in_a_row += 1

    def _first_number(self, late_ns: int) -> int:
        """Return where to begin; what was due long before is dropped."""
        if late_ns <= LATE_NS:
            return self._slot
        first = next_number(self._load.profile, late_ns, self._slot, self._slots)
        missed = (first - self._slot) // self._slots
        if missed:
            self._recorder.dropped(missed)
        return first

    def _hand_out(self, turn: Turn) -> None:
        """Give an iteration to the user that became free last, so that few users do most and their memory is warm."""
        while self._free:
            seat = self._free.pop()
            if not seat.greenlet.dead:
                seat.work = turn
                seat.rouse()
                return
        if len(self.population) >= self.users_limit:
            self._recorder.dropped()
            return
        seat = self.population.seat(self._next_index)
        self._next_index += 1
        seat.work = turn
