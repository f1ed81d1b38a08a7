"""The open model: iterations begin when they are due, whatever the target does, on whichever user is free.

Users are made when none is free, up to a limit; what comes due beyond it is dropped and counted.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import gevent

from loadstone_core.load.profile import FOREVER_NS, dues, next_number, planned_iterations
from loadstone_core.load.share import share
from loadstone_runner.engine.native import Turn
from loadstone_runner.engine.population import Population, Portion

if TYPE_CHECKING:
    from loadstone_core.load.profile import LoadProfile
    from loadstone_core.load.scenario import Scenario
    from loadstone_runner.engine.cast import Cast
    from loadstone_runner.engine.native import Scene, Seat

USERS_LEAST: Final = 100
USERS_MOST: Final = 10_000
SECONDS_OF_RATE: Final = 10
BATCH_MOST: Final = 100
# An engine that comes later than this does not make up for what was due before it.
LATE_NS: Final = 1_000_000_000

_SECOND_NS: Final = 1_000_000_000


def users_limit(load: LoadProfile, portion: Portion) -> int:
    """Return how many users an engine may make: its share of what is asked, else enough for iterations of 10 s."""
    if load.max_users is not None:
        return share(load.max_users, portion.slot, portion.slots)
    enough = min(USERS_MOST, max(USERS_LEAST, -(-SECONDS_OF_RATE * load.profile.peak // portion.slots)))
    return max(enough, share(load.preallocated_users, portion.slot, portion.slots))


class ArrivalModel:
    """Follow a rate profile: this slot's part of the iterations, evenly interleaved with those of the others."""

    has_pauses = False
    is_free = False

    def __init__(self, scene: Scene, cast: Cast, *, load: LoadProfile, portion: Portion) -> None:
        self.population = Population(scene, cast, turns=self, portion=portion)
        self.first_start_ns = 0
        self.users_limit = users_limit(load, portion)
        self._recorder = scene.instruments.recorder
        self._scenario = scene.instruments.scenario
        self._load = load
        self._slot = portion.slot
        self._slots = portion.slots
        self._free: list[Seat] = []
        self._early: set[Seat] = set()  # free before they have come so far
        self._next_index = 0
        self._first_iteration = 0
        self._began_at_ns = 0
        self._until_ns = FOREVER_NS
        self._handed = 0
        self._present = 0  # the load that is followed, counted
        self._slips: list[int] = []
        self._driver: gevent.Greenlet[..., None] | None = None
        self._is_over = False

    def start(self, start_at_ns: int) -> None:
        """Begin iterations as they are due, counted from a moment of the monotonic clock."""
        self._driver = gevent.spawn(self._dispatch, start_at_ns)

    def follow(self, scenario: Scenario, start_at_ns: int) -> None:
        """Follow another profile from a moment of the monotonic clock on, and the present one until then."""
        self._until_ns = start_at_ns
        self._driver = gevent.spawn(self._take_over, self._driver, scenario, start_at_ns)

    def stop(self) -> None:
        """Begin no further iteration."""
        self._is_over = True
        if self._driver is not None:
            self._driver.kill(block=False)
        for seat in self._early:
            # Made before the load, and maybe never started.
            if not seat.greenlet.started:
                seat.kill()
        self.population.retire_all()

    def rouse(self) -> None:
        """Do nothing: which iterations are this slot's follows from the profile."""

    is_done = False

    def take_slips(self) -> list[int]:
        """Return by how many nanoseconds the iterations since the last call were started late."""
        slips, self._slips = self._slips, []
        return slips

    def next_turn(self, seat: Seat) -> Turn | None:
        """Return what was handed to a user, waiting for it."""
        if self._early and seat in self._early:
            self._early.discard(seat)
        elif seat.work is None:
            self._free.append(seat)
        if seat.work is None:
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
        self._recorder.slip(slip, scenario=self._scenario)
        self._slips.append(slip)

    def abandoned(self, turn: Turn) -> None:  # noqa: ARG002 they are only counted
        """Count an iteration that was handed out and never begun."""
        self._recorder.dropped(scenario=self._scenario)

    def _take_over(self, older: gevent.Greenlet[..., None] | None, scenario: Scenario, start_at_ns: int) -> None:
        try:
            while (left_ns := start_at_ns - monotonic_ns()) > 0:
                gevent.sleep(left_ns / _SECOND_NS)
        finally:
            if older is not None:
                older.kill(block=False)
        if self._is_over:
            return
        # What was due by then, and had not come to its turn.
        due = planned_iterations(self._load.profile, start_at_ns - self._began_at_ns)
        behind = len(range(self._slot, due, self._slots)) - self._handed
        if behind > 0:
            self._recorder.dropped(behind, scenario=self._scenario)
        self._load, self._first_iteration = scenario.load, scenario.first_iteration
        self._until_ns = FOREVER_NS
        # One that was killed may come to its turn once more.
        self._present += 1
        self.users_limit = users_limit(scenario.load, Portion(self._slot, self._slots))
        self._follow(start_at_ns)

    def _preallocate(self, start_at_ns: int) -> None:
        """Make users before the load begins; they begin with it."""
        wanted = share(self._load.preallocated_users, self._slot, self._slots)
        self._free = [self.population.seat(index, hold=True) for index in range(wanted)]
        self._early = set(self._free)
        self._next_index = wanted
        while (left_ns := start_at_ns - monotonic_ns()) > 0:
            gevent.sleep(left_ns / _SECOND_NS)
        for seat in self._free:
            seat.greenlet.start()

    def _dispatch(self, start_at_ns: int) -> None:
        self._preallocate(start_at_ns)
        self._follow(start_at_ns)

    def _follow(self, start_at_ns: int) -> None:
        profile, present = self._load.profile, self._present
        self._began_at_ns = start_at_ns
        first = self._first_number(monotonic_ns() - start_at_ns)
        number, in_a_row = first, 0
        self._handed = len(range(self._slot, first, self._slots))
        for after_ns in dues(profile, first, self._slots, limit=self._load.iterations):
            due_ns = start_at_ns + after_ns
            while (left_ns := due_ns - monotonic_ns()) > 0:
                in_a_row = 0
                gevent.sleep(left_ns / _SECOND_NS)
            if in_a_row >= BATCH_MOST:
                # Behind the plan, and still everybody else must come to their turn.
                in_a_row = 0
                gevent.sleep(0)
            if self._is_over or present != self._present or due_ns >= self._until_ns:
                return
            self._handed += 1
            self._hand_out(Turn(number + self._first_iteration, due_ns))
            number += self._slots
            in_a_row += 1

    def _first_number(self, late_ns: int) -> int:
        """Return where to begin; what was due long before is dropped."""
        if late_ns <= LATE_NS:
            return self._slot
        first = next_number(self._load.profile, late_ns, self._slot, self._slots)
        missed = (first - self._slot) // self._slots
        if missed:
            self._recorder.dropped(missed, scenario=self._scenario)
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
            self._recorder.dropped(scenario=self._scenario)
            return
        seat = self.population.seat(self._next_index)
        self._next_index += 1
        seat.work = turn
