"""The open model: iterations begin when they are due, whatever the target does, on whichever user is free.

Users are made when none is free, up to a limit; what comes due beyond it is dropped and counted.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final
from typing import cast as cast_type

import gevent

from loadstone_core.load.profile import FOREVER_NS, dues, next_number, planned_iterations
from loadstone_core.load.share import share
from loadstone_core.stats.histogram import Histogram
from loadstone_runner.engine.path import Usher
from loadstone_runner.engine.population import Population, Portion

if TYPE_CHECKING:
    from loadstone_core.load.profile import LoadProfile
    from loadstone_core.load.scenario import Scenario
    from loadstone_runner.engine.cast import Cast
    from loadstone_runner.engine.native import Scene

USERS_LEAST: Final = 100
USERS_MOST: Final = 10_000
SECONDS_OF_RATE: Final = 10
BATCH_MOST: Final = 100
# An engine that comes later than this does not make up for what was due before it.
LATE_NS: Final = 1_000_000_000
# The loop wakes an engine that keeps up within this.
PUNCTUAL_NS: Final = 10_000_000

_SECOND_NS: Final = 1_000_000_000
_LOOK_SECONDS: Final = 0.001


def users_limit(load: LoadProfile, portion: Portion) -> int:
    """Return how many users an engine may make: its share of what is asked, else enough for iterations of 10 s."""
    if load.max_users is not None:
        return share(load.max_users, portion.slot, portion.slots)
    enough = min(USERS_MOST, max(USERS_LEAST, -(-SECONDS_OF_RATE * load.profile.peak // portion.slots)))
    return max(enough, share(load.preallocated_users, portion.slot, portion.slots))


class ArrivalModel(Usher):
    """Follow a rate profile: this slot's part of the iterations, evenly interleaved with those of the others."""

    has_pauses = False
    is_free = False
    gives_way = True

    def __init__(self, scene: Scene, cast: Cast, *, load: LoadProfile, portion: Portion) -> None:
        recorder, scenario = scene.instruments.recorder, scene.instruments.scenario
        super().__init__(cast_type("Histogram", recorder.cell_of_slip(scenario=scenario)))
        self.population = Population(scene, cast, turns=self, portion=portion)
        self.users_limit = users_limit(load, portion)
        self._recorder = recorder
        self._scenario = scenario
        self._load = load
        self._slot = portion.slot
        self._slots = portion.slots
        self._next_index = 0
        self._first_iteration = 0
        self._began_at_ns = 0
        self._until_ns = FOREVER_NS
        self._handed = 0  # of those that are due, however they end
        self._present = 0  # the load that is followed, counted
        self._driver: gevent.Greenlet[..., None] | None = None
        self._is_over = False

    def start(self, start_at_ns: int) -> None:
        """Begin iterations as they are due, counted from a moment of the monotonic clock."""
        self._driver = gevent.spawn(self._dispatch, start_at_ns)

    def follow(self, scenario: Scenario, start_at_ns: int) -> None:
        """Follow another profile from a moment of the monotonic clock on, and the present one until then."""
        self._until_ns = start_at_ns
        self._driver = gevent.spawn(self._take_over, self._driver, scenario, start_at_ns)

    def settle(self, until_ns: int) -> None:
        """Wait until everything has begun, or was dropped, that was due in the profile, which is over."""
        while monotonic_ns() < until_ns and not self._is_over:
            if self._driver is None or (self._driver.dead and not self.unbegun):
                return
            gevent.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """Begin no further iteration; what should have begun before, and did not, is dropped."""
        if not self._is_over:
            self._drop_what_is_late(monotonic_ns() - PUNCTUAL_NS)
        self._is_over = True
        if self._driver is not None:
            self._driver.kill(block=False)
        for seat in list(self.population.seats.values()):
            # Made before the load, and maybe never started.
            if not seat.greenlet.started:
                seat.kill()
        self.population.retire_all()

    def rouse(self) -> None:
        """Do nothing: which iterations are this slot's follows from the profile."""

    is_done = False

    def recent_slips(self) -> Histogram:
        """Return by how many nanoseconds the iterations since the last call began late."""
        taken = self.take_slips()
        indexes, counts = taken.pack()
        return Histogram.unpack(
            indexes, counts, zeros=taken.zeros, total=taken.total, minimum=taken.minimum, maximum=taken.maximum
        )

    def abandoned(self) -> None:
        """Count an iteration that a user was given and never began."""
        super().abandoned()
        self._drop(1)

    def _drop(self, count: int) -> None:
        self._recorder.dropped(count, scenario=self._scenario)

    def _drop_what_is_late(self, until_ns: int) -> None:
        """Drop what was due before a moment and has not come to its turn."""
        if not self._began_at_ns:
            return
        due = planned_iterations(self._load.profile, until_ns - self._began_at_ns)
        if self._load.iterations is not None:
            due = min(due, self._load.iterations)
        behind = len(range(self._slot, due, self._slots)) - self._handed
        if behind > 0:
            self._handed += behind
            self._drop(behind)

    def _take_over(self, older: gevent.Greenlet[..., None] | None, scenario: Scenario, start_at_ns: int) -> None:
        try:
            while (left_ns := start_at_ns - monotonic_ns()) > 0:
                gevent.sleep(left_ns / _SECOND_NS)
        finally:
            if older is not None:
                older.kill(block=False)
        if self._is_over:
            return
        self._drop_what_is_late(start_at_ns)
        self._load, self._first_iteration = scenario.load, scenario.first_iteration
        self._until_ns = FOREVER_NS
        # One that was killed may come to its turn once more.
        self._present += 1
        self.users_limit = users_limit(scenario.load, Portion(self._slot, self._slots))
        self._follow(start_at_ns)

    def _preallocate(self, start_at_ns: int) -> None:
        """Make users before the load begins; they begin with it."""
        wanted = share(self._load.preallocated_users, self._slot, self._slots)
        seats = [self.population.seat(index, hold=True) for index in range(wanted)]
        for seat in seats:
            self.admit(seat)
        self._next_index = wanted
        _rest_until(start_at_ns)
        for seat in seats:
            seat.greenlet.start()

    def _dispatch(self, start_at_ns: int) -> None:
        self._preallocate(start_at_ns)
        self._follow(start_at_ns)

    def _follow(self, start_at_ns: int) -> None:
        if self._is_over:
            return
        profile, present = self._load.profile, self._present
        self._began_at_ns = start_at_ns
        now_ns = monotonic_ns()
        first = self._first_number(now_ns - start_at_ns)
        number, in_a_row = first + self._first_iteration, 0
        self._handed = len(range(self._slot, first, self._slots))
        for after_ns in dues(profile, first, self._slots, limit=self._load.iterations):
            due_ns = start_at_ns + after_ns
            # Of what has come due meanwhile, one look at the clock serves all.
            if due_ns > now_ns:
                now_ns = monotonic_ns()
            # Behind the plan, and still everybody else must come to their turn.
            if due_ns > now_ns or in_a_row >= BATCH_MOST:
                now_ns, in_a_row = _rest_until(due_ns), 0
                if self._is_superseded(present):
                    return
            if due_ns >= self._until_ns:
                return
            self._handed += 1
            if not self.hand(number, due_ns):
                self._make_user(number, due_ns)
            number += self._slots
            in_a_row += 1

    def _is_superseded(self, present: int) -> bool:
        return self._is_over or present != self._present

    def _first_number(self, late_ns: int) -> int:
        """Return where to begin; what was due long before is dropped."""
        if late_ns <= LATE_NS:
            return self._slot
        first = next_number(self._load.profile, late_ns, self._slot, self._slots)
        missed = (first - self._slot) // self._slots
        if missed:
            self._drop(missed)
        return first

    def _make_user(self, number: int, due_ns: int) -> None:
        """Make a user for an iteration that is due while nobody is free, or drop it."""
        if len(self.population) >= self.users_limit:
            self._drop(1)
            return
        seat = self.population.seat(self._next_index)
        self._next_index += 1
        self.give(seat, number, due_ns)


def _rest_until(at_ns: int) -> int:
    """Let others run, until a moment of the monotonic clock if it is to come; return what the clock says."""
    while True:
        gevent.sleep(max(at_ns - monotonic_ns(), 0) / _SECOND_NS)
        now_ns = monotonic_ns()
        if now_ns >= at_ns:
            return now_ns
