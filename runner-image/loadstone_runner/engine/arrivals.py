"""The open model: iterations begin when they are due, whatever the target does, on whichever user is free.

Users are made when none is free, up to a limit; what comes due beyond it is dropped and counted.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final
from typing import cast as cast_type

import gevent

from loadstone_core.load.lots import Lot
from loadstone_core.load.profile import FOREVER_NS, dues, next_number, planned_iterations
from loadstone_core.stats.histogram import Histogram
from loadstone_runner.engine.moments import sleep_until
from loadstone_runner.engine.path import Usher
from loadstone_runner.engine.population import Population

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadstone_core.load.profile import LoadProfile
    from loadstone_core.load.scenario import Scenario
    from loadstone_runner.engine.cast import Cast
    from loadstone_runner.engine.native import Scene, Seat
    from loadstone_runner.engine.population import Portion

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


def users_limit(load: LoadProfile, lots: Iterable[Lot]) -> int:
    """Return how many users an engine may make: its share of what is asked, else enough for iterations of 10 s."""
    if load.max_users is not None:
        return sum(lot.share(load.max_users) for lot in lots)
    lots = tuple(lots)
    enough = sum(-(-SECONDS_OF_RATE * load.profile.peak // lot.parts) for lot in lots)
    return max(min(USERS_MOST, max(USERS_LEAST, enough)), sum(lot.share(load.preallocated_users) for lot in lots))


class Strand:
    """The iterations of one lot, in the order in which they are due.

    Attributes:
        from_ns: what was due before this moment of the monotonic clock is for somebody else.
        until_ns: and what is due from this one on.
        first: number of the first that is due here, in the load that is followed.
        handed: how many of them were given to users or dropped.
        driver: that hands them out.
    """

    __slots__ = ("driver", "first", "from_ns", "handed", "lot", "until_ns")

    def __init__(self, lot: Lot, from_ns: int, until_ns: int) -> None:
        self.lot = lot
        self.from_ns = from_ns
        self.until_ns = until_ns
        self.first = lot.first
        self.handed = 0
        self.driver: gevent.Greenlet[..., None] | None = None


class ArrivalModel(Usher):
    """Follow a rate profile: this engine's lots of the iterations, evenly interleaved with those of the others."""

    has_pauses = False
    is_free = False
    gives_way = True

    def __init__(self, scene: Scene, cast: Cast, *, load: LoadProfile, portion: Portion) -> None:
        recorder, scenario = scene.instruments.recorder, scene.instruments.scenario
        super().__init__(cast_type("Histogram", recorder.cell_of_slip(scenario=scenario)))
        self.population = Population(scene, cast, turns=self, portion=portion)
        self.lots: dict[Lot, int] = {Lot(portion.slot, portion.slots): 0}
        self.users_limit = users_limit(load, self.lots)
        self._recorder = recorder
        self._scenario = scenario
        self._load = load
        self._portion = portion
        self._next_index = 0
        self._first_iteration = 0
        self._began_at_ns: int | None = None
        self._until_ns = FOREVER_NS  # when another load begins
        self._strands: dict[Lot, Strand] = {}
        self._given_up: list[Strand] = []  # that hand out what was due before
        self._change: gevent.Greenlet[..., None] | None = None  # waits for the moment of another load
        self._is_over = False

    def start(self, start_at_ns: int) -> None:
        """Begin iterations as they are due, counted from a moment of the monotonic clock."""
        self._change = gevent.spawn(self._dispatch, start_at_ns)

    def follow(self, scenario: Scenario, start_at_ns: int) -> None:
        """Follow another profile from a moment of the monotonic clock on, and the present one until then."""
        self._until_ns = start_at_ns
        for strand in self._strands.values():
            strand.until_ns = start_at_ns
        self._change = gevent.spawn(self._take_over, self._change, scenario, start_at_ns)

    def hold(self, lots: Mapping[Lot, int]) -> None:
        """Have the iterations of these lots, each from a moment of the monotonic clock on, and no others.

        The pieces of a lot that was cut begin where that one ends, which is now.
        """
        if self._is_over:
            return
        self.lots = dict(lots)
        self.users_limit = users_limit(self._load, self.lots)
        self._let_go()
        for lot in self._strands.keys() - self.lots.keys():
            strand = self._strands.pop(lot)
            strand.until_ns = min(strand.until_ns, monotonic_ns())
            self._given_up.append(strand)
            for piece in self.lots.keys() - self._strands.keys():
                if lot.has(piece):
                    self.lots[piece] = max(self.lots[piece], strand.until_ns)
        self._given_up = [each for each in self._given_up if each.driver is not None and not each.driver.dead]
        if self._began_at_ns is not None:
            for lot in self.lots.keys() - self._strands.keys():
                self._drive(lot)

    @property
    def leaving(self) -> int:
        """How many users there are beyond the share of the users that were asked for."""
        return 0 if self._load.max_users is None else max(0, len(self.population) - self.users_limit)

    def settle(self, until_ns: int) -> None:
        """Wait until everything has begun, or was dropped, that was due in the profile, which is over."""
        while monotonic_ns() < until_ns and not self._is_over:
            if self._change is None or (all(each.dead for each in self._drivers()) and not self.unbegun):
                return
            gevent.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """Begin no further iteration; what should have begun before, and did not, is dropped."""
        if not self._is_over:
            self._drop_what_is_late(monotonic_ns() - PUNCTUAL_NS)
        self._is_over = True
        for driver in self._drivers():
            driver.kill(block=False)
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

    def _drivers(self) -> list[gevent.Greenlet[..., None]]:
        change = [] if self._change is None else [self._change]
        strands = (*self._strands.values(), *self._given_up)
        return change + [each.driver for each in strands if each.driver is not None]

    def _drop_what_is_late(self, until_ns: int) -> None:
        """Drop what was due before a moment and has not come to its turn."""
        if self._began_at_ns is None:
            return
        for strand in (*self._strands.values(), *self._given_up):
            due = planned_iterations(self._load.profile, max(0, min(until_ns, strand.until_ns) - self._began_at_ns))
            if self._load.iterations is not None:
                due = min(due, self._load.iterations)
            behind = len(range(strand.first, due, strand.lot.parts)) - strand.handed
            if behind > 0:
                strand.handed += behind
                self._drop(behind)

    def _take_over(self, older: gevent.Greenlet[..., None] | None, scenario: Scenario, start_at_ns: int) -> None:
        try:
            sleep_until(start_at_ns)
        finally:
            if older is not None:
                older.kill(block=False)
        if self._is_over:
            return
        self._drop_what_is_late(start_at_ns)
        for strand in (*self._strands.values(), *self._given_up):
            if strand.driver is not None:
                strand.driver.kill(block=False)
        self._strands.clear()
        self._given_up.clear()
        self._until_ns = FOREVER_NS
        self._load, self._first_iteration = scenario.load, scenario.first_iteration
        self.users_limit = users_limit(scenario.load, self.lots)
        self._begin(start_at_ns)

    def _preallocate(self, start_at_ns: int) -> None:
        """Make users before the load begins; they begin with it."""
        wanted = sum(lot.share(self._load.preallocated_users) for lot in self.lots)
        seats = [self._seat(hold=True) for _ in range(wanted)]
        for seat in seats:
            self.admit(seat)
        _rest_until(start_at_ns)
        for seat in seats:
            seat.greenlet.start()

    def _seat(self, *, hold: bool = False) -> Seat:
        """Make a user, with a number that no other engine gives."""
        place = self._portion.slot + self._next_index * self._portion.slots
        self._next_index += 1
        return self.population.seat(place, hold=hold)

    def _dispatch(self, start_at_ns: int) -> None:
        self._preallocate(start_at_ns)
        if not self._is_over:
            self._begin(start_at_ns)

    def _begin(self, start_at_ns: int) -> None:
        self._began_at_ns = start_at_ns
        for lot in self.lots:
            self._drive(lot)

    def _drive(self, lot: Lot) -> None:
        strand = self._strands[lot] = Strand(lot, self.lots[lot], self._until_ns)
        strand.driver = gevent.spawn(self._follow, strand)

    def _follow(self, strand: Strand) -> None:
        start_at_ns, step = self._began_at_ns or 0, strand.lot.parts
        now_ns = monotonic_ns()
        first = self._first_number(strand, now_ns, start_at_ns)
        number, in_a_row = first + self._first_iteration, 0
        for after_ns in dues(self._load.profile, first, step, limit=self._load.iterations):
            due_ns = start_at_ns + after_ns
            # Of what has come due meanwhile, one look at the clock serves all.
            if due_ns > now_ns:
                now_ns = monotonic_ns()
            # Behind the plan, and still everybody else must come to their turn.
            if due_ns > now_ns or in_a_row >= BATCH_MOST:
                now_ns, in_a_row = _rest_until(due_ns), 0
                if self._is_over:
                    return
            if due_ns >= strand.until_ns:
                return
            strand.handed += 1
            if not self.hand(number, due_ns):
                self._make_user(number, due_ns)
            number += step
            in_a_row += 1

    def _first_number(self, strand: Strand, now_ns: int, start_at_ns: int) -> int:
        """Return where to begin; what was due long before is dropped."""
        profile, lot = self._load.profile, strand.lot
        from_ns = max(start_at_ns, strand.from_ns)
        strand.first = lot.first if from_ns == start_at_ns else next_number(profile, from_ns - start_at_ns, *lot)
        if now_ns - from_ns <= LATE_NS:
            return strand.first
        first = next_number(profile, now_ns - start_at_ns, *lot)
        missed = (first - strand.first) // lot.parts
        if missed:
            strand.handed += missed
            self._drop(missed)
        return first

    def _make_user(self, number: int, due_ns: int) -> None:
        """Make a user for an iteration that is due while nobody is free, or drop it."""
        if len(self.population) >= self.users_limit:
            self._drop(1)
            return
        self.give(self._seat(), number, due_ns)

    def _let_go(self) -> None:
        """Let users end that are more than the share of those that were asked for: first those without work."""
        seats = [seat for seat in self.population.seats.values() if not seat.is_retired]
        surplus = max(0, len(seats) - self.users_limit) if self._load.max_users is not None else 0
        for seat in sorted(seats, key=lambda each: each.has_work or not each.is_resting)[:surplus]:
            # Who rests is given nothing more; who works does its iteration to the end.
            seat.is_gone = seat.is_gone or (seat.is_resting and not seat.has_work)
            seat.retire()


def _rest_until(at_ns: int) -> int:
    """Let others run, until a moment of the monotonic clock if it is to come; return what the clock says."""
    while True:
        gevent.sleep(max(at_ns - monotonic_ns(), 0) / _SECOND_NS)
        now_ns = monotonic_ns()
        if now_ns >= at_ns:
            return now_ns
