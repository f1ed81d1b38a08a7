"""The closed models: so many users at each moment, each doing one iteration after another.

In the users model for as long as the load lasts, in the iterations model for as long as numbers are granted, or until
each user has done its own.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

import gevent

from loadstone_core.load.lots import Lot
from loadstone_core.load.pacing import targets
from loadstone_core.stats.histogram import Histogram
from loadstone_runner.engine.moments import sleep_until
from loadstone_runner.engine.population import Population

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.load.profile import LoadProfile, Profile
    from loadstone_core.load.scenario import Scenario
    from loadstone_runner.engine.cast import Cast
    from loadstone_runner.engine.native import Scene, Seat
    from loadstone_runner.engine.numbers import Numbers
    from loadstone_runner.engine.population import Portion


class ClosedModel:
    """Follow a users profile; with `numbers`, each iteration has a granted one, and users without one wait for it."""

    has_pauses = True
    gives_way = False

    def __init__(
        self, scene: Scene, cast: Cast, *, load: LoadProfile, portion: Portion, numbers: Numbers | None
    ) -> None:
        self.population = Population(scene, cast, turns=self, portion=portion)
        self.first_late_ns = -1
        self._first_due_ns = 0
        self.is_free = numbers is None and load.iterations_per_user is None
        self.lots: dict[Lot, int] = {Lot(portion.slot, portion.slots): 0}
        self._profile = load.profile
        self._iterations_each = load.iterations_per_user
        self._numbers = numbers
        self._start_at_ns: int | None = None
        self._drivers: dict[Lot, gevent.Greenlet[..., None]] = {}
        self._change: gevent.Greenlet[..., None] | None = None  # waits for the moment of another profile
        self._is_over = False

    def start(self, start_at_ns: int) -> None:
        """Have users from a moment of the monotonic clock on; one that has passed means: as far as they should be."""
        self._start_at_ns = start_at_ns
        for lot in self.lots:
            self._drive(lot)

    def follow(self, scenario: Scenario, start_at_ns: int) -> None:
        """Follow another profile from a moment of the monotonic clock on, and the present one until then."""
        self._change = gevent.spawn(self._take_over, self._change, scenario.load.profile, start_at_ns)

    def hold(self, lots: Mapping[Lot, int]) -> None:
        """Have the users of these lots, each from a moment of the monotonic clock on, and no others.

        Those of a lot that was cut go on where they are.

        Users that do a number of iterations each stay where they have begun: elsewhere they would do all of them again.
        """
        if self._is_over or (self._start_at_ns is not None and self._iterations_each is not None):
            return
        before, self.lots = self.lots, dict(lots)
        for lot in before.keys() - self.lots.keys():
            if lot in self._drivers:
                self._drivers.pop(lot).kill(block=False)
            self.population.give_up(lot, but=[each for each in self.lots.keys() - before.keys() if lot.has(each)])
        if self._start_at_ns is not None:
            for lot in self.lots.keys() - before.keys():
                self._drive(lot)

    def stop(self) -> None:
        """Begin no further iteration."""
        self._is_over = True
        self._halt()
        if self._change is not None:
            self._change.kill(block=False)
        self.population.retire_all()

    def rouse(self) -> None:
        """Let users look for granted iterations."""
        self.population.rouse_all()

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be begun: everybody has come, and has gone by itself."""
        is_asked = self._profile.peak > 0 and self._start_at_ns is not None
        drivers = (*self._drivers.values(), *((self._change,) if self._change is not None else ()))
        return is_asked and all(each.dead for each in drivers) and not len(self.population)

    @property
    def leaving(self) -> int:
        """How many users of lots that were given up have not ended yet."""
        return len(self.population.leaving)

    def recent_slips(self) -> Histogram:
        """Return how late iterations were started: in a closed model none is."""
        return Histogram()

    def next_turn(self, seat: Seat) -> bool:
        """Set a user's next iteration, once there is a number for it."""
        if seat.is_retired:
            return False
        number: int | None = seat.count
        if self._numbers is not None:
            number = self._numbers.take(lambda: self._await_number(seat))
        elif number == self._iterations_each:
            seat.has_quit = True
            return False
        if number is None:
            return False
        seat.work_number = number
        return True

    @staticmethod
    def _await_number(seat: Seat) -> bool:
        seat.rest(None)
        return not seat.is_retired

    def settle(self, until_ns: int) -> None:
        """Do nothing: nothing is due by the end."""

    def started(self, begin_ns: int, due_ns: int) -> None:  # noqa: ARG002 in a closed model nothing is due
        """Remember how long after its user was due the first iteration began."""
        if self.first_late_ns < 0:
            self.first_late_ns = max(0, begin_ns - self._first_due_ns)

    def abandoned(self) -> None:
        """Do nothing: nothing is handed out before it is begun."""

    def _take_over(self, older: gevent.Greenlet[..., None] | None, profile: Profile, start_at_ns: int) -> None:
        try:
            sleep_until(start_at_ns)
        finally:
            if older is not None:
                older.kill(block=False)
        self._halt()
        self._profile, self._start_at_ns = profile, start_at_ns
        if self._is_over:
            return
        for lot in self.lots:
            if not profile.value_at(0):
                self.population.resize(lot, 0)
            self._drive(lot)

    def _drive(self, lot: Lot) -> None:
        self._drivers[lot] = gevent.spawn(self._follow, lot)

    def _halt(self) -> None:
        """Let the numbers of users stay as they are."""
        for driver in self._drivers.values():
            driver.kill(block=False)
        self._drivers.clear()

    def _follow(self, lot: Lot) -> None:
        start_at_ns, begin_ns = self._start_at_ns or 0, self.lots[lot]
        reached = 0
        for after_ns, users in targets(self._profile, *lot):
            at_ns = start_at_ns + after_ns
            if max(at_ns, begin_ns) > monotonic_ns():
                # Whoever comes late has as many as there should be, and not all that there were meanwhile.
                self._resize(lot, reached)
                sleep_until(max(at_ns, begin_ns))
                if not self._is_present(lot):
                    return
            if users and not self._first_due_ns:
                self._first_due_ns = max(at_ns, begin_ns)
            reached = users
        self._resize(lot, reached)

    def _resize(self, lot: Lot, users: int) -> None:
        if self._is_present(lot):
            self.population.resize(lot, users)

    def _is_present(self, lot: Lot) -> bool:
        """Say whether the greenlet that asks still decides: one that was killed may come to its turn once more."""
        return self._drivers.get(lot) is gevent.getcurrent()
