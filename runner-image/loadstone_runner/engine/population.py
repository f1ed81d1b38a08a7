"""Hold the users of one engine: make them, let them go, end them. When that is to happen belongs to the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gevent.event import Event

from loadstone_runner.engine.native import Seat

if TYPE_CHECKING:
    from loadstone_runner.engine.cast import Cast
    from loadstone_runner.engine.native import Scene, Turns


class Portion(NamedTuple):
    """Which part of which scenario an engine has: slot `slot` of `slots`, place `scenario` of `scenarios`."""

    slot: int
    slots: int
    scenario: int = 0
    scenarios: int = 1


class Population:
    """Users by seat. User `index` of slot s among n is the user `s + index * n` of the scenario, of its numbers.

    Numbers are unique in the run: of m scenarios, the one at place p has the numbers p, p + m, p + 2 m, and so on.

    Attributes:
        seats: of living users, those included that finish an iteration.
        is_empty: an event that is set while there are none.
        scene: that they share.
        cast: which class each is of.
    """

    def __init__(self, scene: Scene, cast: Cast, *, turns: Turns, portion: Portion) -> None:
        self.seats: dict[int, Seat] = {}
        self.is_empty = Event()
        self.is_empty.set()
        self.scene = scene
        self.cast = cast
        self._turns = turns
        self._portion = portion
        self._wanted = 0

    def __len__(self) -> int:
        return len(self.seats)

    def resize(self, wanted: int) -> None:
        """Have users in the seats below `wanted` and let the others go after their iteration.

        A user that is still finishing when its seat is wanted again goes on, so there are never more than wanted
        beside those that finish.
        """
        before, self._wanted = self._wanted, wanted
        for index in range(wanted, before):
            if index in self.seats:
                self.seats[index].retire()
        for index in range(before, wanted):
            seat = self.seats.get(index)
            if seat is None:
                self.seat(index)
            else:
                seat.is_retired = False

    def seat(self, index: int, *, hold: bool = False) -> Seat:
        """Make a user for a free seat; with `hold` it does nothing until its greenlet is started."""
        portion = self._portion
        place = portion.slot + index * portion.slots
        role = self.scene.roles[self.cast.class_of(place)]
        number = place * portion.scenarios + portion.scenario
        seat = self.seats[index] = Seat(index, number, role=role, scene=self.scene, turns=self._turns, hold=hold)
        # So that what belongs to no user, such as `check`, finds out for which scenario it is called.
        self.is_empty.clear()
        seat.greenlet.rawlink(lambda _greenlet: self._left(seat))
        return seat

    def retire_all(self) -> None:
        """Let everybody go after the running iteration."""
        self._wanted = 0
        for seat in self.seats.values():
            seat.retire()

    def kill_all(self) -> None:
        """End everybody now; a second time also those that are in on_stop."""
        self._wanted = 0
        for seat in list(self.seats.values()):
            seat.kill()

    def rouse_all(self) -> None:
        """End everybody's rest: there may be something to do."""
        for seat in self.seats.values():
            seat.rouse()

    def _left(self, seat: Seat) -> None:
        """Run in the hub when a user has ended."""
        del self.seats[seat.index]
        if seat.has_work:
            self._turns.abandoned()
        # A user that was on its way out when its seat was wanted again; nobody takes the place of one that has quit.
        if seat.index < self._wanted and not seat.has_quit:
            self.seat(seat.index)
        if not self.seats:
            self.is_empty.set()
