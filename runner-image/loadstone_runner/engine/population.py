"""Hold the users of one engine: make them, let them go, end them. When that is to happen belongs to the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gevent.event import Event

from loadstone_runner.engine.native import Seat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from loadstone_core.load.lots import Lot
    from loadstone_runner.engine.cast import Cast
    from loadstone_runner.engine.native import Scene, Turns


class Portion(NamedTuple):
    """Where an engine begins in which scenario: slot `slot` of `slots`, place `scenario` of `scenarios`."""

    slot: int
    slots: int
    scenario: int = 0
    scenarios: int = 1


class Population:
    """Users by seat: the place that each has among all users of the scenario, whatever engine it is on.

    Numbers are unique in the run: of m scenarios, the one at place p has the numbers p, p + m, p + 2 m, and so on.

    Attributes:
        seats: of living users, those included that finish an iteration.
        is_empty: an event that is set while there are none.
        scene: that they share.
        cast: which class each is of.
        leaving: seats of lots that were given up, whose users have not ended yet.
        on_left: called when the last of them has.
    """

    def __init__(self, scene: Scene, cast: Cast, *, turns: Turns, portion: Portion) -> None:
        self.seats: dict[int, Seat] = {}
        self.is_empty = Event()
        self.is_empty.set()
        self.scene = scene
        self.cast = cast
        self._turns = turns
        self._portion = portion
        self.leaving: set[int] = set()
        self.on_left: Callable[[], None] = lambda: None
        self._wanted: dict[Lot, int] = {}

    def __len__(self) -> int:
        return len(self.seats)

    def resize(self, lot: Lot, wanted: int) -> None:
        """Have users in the first seats of a lot and let its others go after their iteration.

        A user that is still finishing when its seat is wanted again goes on, so there are never more than wanted
        beside those that finish.
        """
        before, self._wanted[lot] = self._wanted.get(lot, 0), wanted
        for turn in range(wanted, before):
            place = lot.first + turn * lot.parts
            if place in self.seats:
                self.seats[place].retire()
        for turn in range(before, wanted):
            place = lot.first + turn * lot.parts
            seat = self.seats.get(place)
            if seat is None:
                self.seat(place)
            else:
                seat.is_retired = False
                self.leaving.discard(place)

    def give_up(self, lot: Lot, *, but: Collection[Lot] = ()) -> None:
        """Let the users of a lot go after their iteration: somebody else will have them, `but` those of some pieces."""
        wanted = self._wanted.pop(lot, 0)
        for piece in but:
            self._wanted[piece] = piece.share(lot.first + wanted * lot.parts)
        for place, seat in self.seats.items():
            # Those too that were not wanted any more, and still finish their iteration.
            if place % lot.parts == lot.first and not any(place % piece.parts == piece.first for piece in but):
                self.leaving.add(place)
                seat.retire()

    def seat(self, place: int, *, hold: bool = False) -> Seat:
        """Make a user for a free seat; with `hold` it does nothing until its greenlet is started."""
        portion = self._portion
        role = self.scene.roles[self.cast.class_of(place)]
        number = place * portion.scenarios + portion.scenario
        seat = self.seats[place] = Seat(place, number, role=role, scene=self.scene, turns=self._turns, hold=hold)
        # So that what belongs to no user, such as `check`, finds out for which scenario it is called.
        self.is_empty.clear()
        seat.greenlet.rawlink(lambda _greenlet: self._left(seat))
        return seat

    def retire_all(self) -> None:
        """Let everybody go after the running iteration."""
        self._wanted.clear()
        for seat in self.seats.values():
            seat.retire()

    def kill_all(self) -> None:
        """End everybody now; a second time also those that are in on_stop."""
        self._wanted.clear()
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
        if self._wanted and not seat.is_retired and not seat.has_quit:
            self.seat(seat.index)
        if seat.index in self.leaving:
            self.leaving.discard(seat.index)
            if not self.leaving:
                self.on_left()
        if not self.seats:
            self.is_empty.set()
