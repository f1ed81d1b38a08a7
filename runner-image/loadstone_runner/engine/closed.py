"""The closed models: so many users at each moment, each doing one iteration after another.

In the users model for as long as the load lasts, in the iterations model for as long as numbers are granted.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import gevent

from loadstone_core.load.pacing import targets
from loadstone_runner.engine.native import Turn
from loadstone_runner.engine.population import Population

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadstone_core.load.profile import Profile
    from loadstone_runner.engine.cast import Cast
    from loadstone_runner.engine.grants import Grants
    from loadstone_runner.engine.native import Scene, Seat

_SECOND_NS: Final = 1_000_000_000


class ClosedModel:
    """Follow a users profile; with grants, every iteration has a granted number, and users without one wait for it."""

    has_pauses = True

    def __init__(
        self, scene: Scene, cast: Cast, *, profile: Profile, slot: int, slots: int, grants: Grants | None
    ) -> None:
        self.population = Population(scene, cast, turns=self, slot=slot, slots=slots)
        self.first_start_ns = 0
        self.is_free = grants is None
        self._profile = profile
        self._slot = slot
        self._slots = slots
        self._grants = grants
        self._driver: gevent.Greenlet[..., None] | None = None
        self._is_over = False

    def start(self, start_at_ns: int) -> None:
        """Have users from a moment of the monotonic clock on; one that has passed means: as far as they should be."""
        self._driver = gevent.spawn(self._follow, start_at_ns)

    def stop(self) -> None:
        """Begin no further iteration."""
        self._is_over = True
        if self._driver is not None:
            self._driver.kill(block=False)
        self.population.retire_all()

    def grant(self, first: int, ranges: Sequence[range]) -> None:
        """Take granted ranges of iterations; in the users model there are none."""
        if self._grants is not None and self._grants.extend(first, ranges):
            self.population.rouse_all()

    @property
    def iterations_left(self) -> int:
        """How many iterations are granted and not begun."""
        return 0 if self._grants is None else self._grants.left

    @property
    def ranges_taken(self) -> int:
        """How many granted ranges are used up."""
        return 0 if self._grants is None else self._grants.ranges_taken

    def take_slips(self) -> list[int]:
        """Return how late iterations were started: in a closed model none is."""
        return []

    def next_turn(self, seat: Seat) -> Turn | None:
        """Return a user's next iteration, once there is a number for it."""
        if seat.is_retired:
            return None
        if self._grants is None:
            return Turn(seat.count, 0)
        while (number := self._grants.take()) is None:
            seat.rest(None)
            if seat.is_retired:
                return None
        return Turn(number, 0)

    def started(self, begin_ns: int, due_ns: int) -> None:  # noqa: ARG002 in a closed model nothing is due
        """Remember when the first iteration began."""
        if not self.first_start_ns:
            self.first_start_ns = begin_ns

    def abandoned(self, turn: Turn) -> None:
        """Do nothing: nothing is handed out before it is begun."""

    def _follow(self, start_at_ns: int) -> None:
        for after_ns, users in targets(self._profile, self._slot, self._slots):
            while (left_ns := start_at_ns + after_ns - monotonic_ns()) > 0:
                gevent.sleep(left_ns / _SECOND_NS)
            if self._is_over:
                return
            self.population.resize(users)
