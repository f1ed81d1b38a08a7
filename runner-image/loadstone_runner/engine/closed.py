"""The closed models: so many users at each moment, each doing one iteration after another.

In the users model for as long as the load lasts, in the iterations model for as long as numbers are granted, or until
each user has done its own.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import gevent

from loadstone_core.load.pacing import targets
from loadstone_core.stats.histogram import Histogram
from loadstone_runner.engine.population import Population

if TYPE_CHECKING:
    from loadstone_core.load.profile import LoadProfile, Profile
    from loadstone_core.load.scenario import Scenario
    from loadstone_runner.engine.cast import Cast
    from loadstone_runner.engine.native import Scene, Seat
    from loadstone_runner.engine.numbers import Numbers
    from loadstone_runner.engine.population import Portion

_SECOND_NS: Final = 1_000_000_000


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
        self._profile = load.profile
        self._iterations_each = load.iterations_per_user
        self._portion = portion
        self._numbers = numbers
        self._driver: gevent.Greenlet[..., None] | None = None
        self._is_over = False
        self._present = 0  # the profile that is followed, counted

    def start(self, start_at_ns: int) -> None:
        """Have users from a moment of the monotonic clock on; one that has passed means: as far as they should be."""
        self._driver = gevent.spawn(self._follow, start_at_ns)

    def follow(self, scenario: Scenario, start_at_ns: int) -> None:
        """Follow another profile from a moment of the monotonic clock on, and the present one until then."""
        self._driver = gevent.spawn(self._take_over, self._driver, scenario.load.profile, start_at_ns)

    def stop(self) -> None:
        """Begin no further iteration."""
        self._is_over = True
        if self._driver is not None:
            self._driver.kill(block=False)
        self.population.retire_all()

    def rouse(self) -> None:
        """Let users look for granted iterations."""
        self.population.rouse_all()

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be begun: everybody has come, and has gone by itself."""
        is_asked = self._profile.peak > 0
        return is_asked and self._driver is not None and self._driver.dead and not len(self.population)

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
            while (left_ns := start_at_ns - monotonic_ns()) > 0:
                gevent.sleep(left_ns / _SECOND_NS)
        finally:
            if older is not None:
                older.kill(block=False)
        self._profile = profile
        # One that was killed may come to its turn once more.
        self._present += 1
        if not self._is_over and not profile.value_at(0):
            self.population.resize(0)
        self._follow(start_at_ns)

    def _follow(self, start_at_ns: int) -> None:
        present = self._present
        for after_ns, users in targets(self._profile, self._portion.slot, self._portion.slots):
            while (left_ns := start_at_ns + after_ns - monotonic_ns()) > 0:
                gevent.sleep(left_ns / _SECOND_NS)
            if self._is_over or present != self._present:
                return
            if users and not self._first_due_ns:
                self._first_due_ns = start_at_ns + after_ns
            self.population.resize(users)
