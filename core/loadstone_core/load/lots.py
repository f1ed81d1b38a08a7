"""Cut a load into lots and deal them to whoever is there, so that the lots of all always make the whole. Pure.

A lot is every `parts`-th number of a load, from `first` on: users of a closed one, iterations of a rate. What has to be
divided is cut into lots of the same kind, so a rate stays interleaved and nobody else's numbers move. When a lot may
change hands belongs to the master.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import lcm
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from loadstone_core.load.share import share

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

# Into more pieces the lot of one slot is not cut: of three hundred workers 64 then have a sixty-fourth more of a share.
PIECES_MAX: Final = 64
# So many pieces for each holder, and so many in all, leave room for the next changes of their number.
PIECES_AHEAD: Final = 8
LOTS_LEAST: Final = 64
# More lots than these are more than a master can look through at once. So of a thousand slots each is cut into 20.
LOTS_MOST: Final = 20_000

Holder = TypeVar("Holder")


class Lot(NamedTuple):
    """The numbers `first`, `first + parts`, `first + 2 * parts`, and so on."""

    first: int
    parts: int

    def share(self, whole: int) -> int:
        """Return how many of the numbers below `whole` are in the lot."""
        return share(whole, self.first, self.parts)

    def has(self, other: Lot) -> bool:
        """Say whether another lot is this one, or a piece of it."""
        return other.parts % self.parts == 0 and other.first % self.parts == self.first

    def cut(self, pieces: int) -> tuple[Lot, ...]:
        """Return lots that have the same numbers together, dealt out in turn."""
        return tuple(Lot(self.first + turn * self.parts, self.parts * pieces) for turn in range(pieces))


class Share(NamedTuple):
    """A lot that one engine of a worker does from a moment of the load on, in nanoseconds since its start."""

    engine: int
    lot: Lot
    from_ns: int = 0


def deal(
    free: Iterable[Lot], held: Mapping[Holder, Collection[Lot]], *, whole: int, slots: int, most: int = PIECES_MAX
) -> list[tuple[Lot, Holder]]:
    """Return who gets which of the lots that nobody has: those who have the least come first.

    The lot of a whole slot is cut into as many pieces as there are holders, and as a master can look through if that
    happens to every slot. What is a piece already stays one, so that workers that come and go do not grind a load to
    dust.

    Args:
        free: the lots.
        held: what those who may get some have; the order decides between equals.
        whole: how much there is of the load at most, to weigh lots by.
        slots: how many lots there were in the beginning.
        most: pieces of a slot.
    """
    if not held:
        return []
    loads = {holder: (sum(lot.share(whole) for lot in lots), turn) for turn, (holder, lots) in enumerate(held.items())}
    most, given = _pieces_most(slots, most), []
    for lot in sorted(free, key=lambda each: (-each.share(whole), each)):
        ways = min(len(held), most) if lot.parts < 2 * slots else 1
        poorest = sorted(loads, key=loads.__getitem__)[:ways]
        for piece, holder in zip(lot.cut(ways), poorest, strict=True):
            given.append((piece, holder))
            amount, turn = loads[holder]
            loads[holder] = (amount + piece.share(whole), turn)
    return given


def pieces_for(slots: int, holders: int, *, most: int = PIECES_MAX) -> int:
    """Return into how many pieces, at `most`, each of so many slots is cut so that holders can have about the same."""
    most = _pieces_most(slots, most)
    even = lcm(slots, holders) // slots
    if even >= most:
        return most
    wanted = -(-max(LOTS_LEAST, PIECES_AHEAD * holders) // slots)
    return even * max(1, min(most, wanted) // even)


def _pieces_most(slots: int, most: int) -> int:
    return max(1, min(most, PIECES_MAX, LOTS_MOST // slots))


def spread(homes: Mapping[Lot, Holder], holders: Sequence[Holder], *, whole: int) -> dict[Lot, Holder]:
    """Return to whom each lot belongs from now on: to those who are left, about the same to each.

    As few as possible change hands: what belonged to nobody who is left goes to those who have the least, and then the
    richest gives to the poorest for as long as that brings the two closer together. Lots of which the load has nothing
    are spread likewise, as it may grow.

    Args:
        homes: to whom each lot belongs now.
        holders: who is left, at least one; the order decides between equals.
        whole: how much there is of the load at most, to weigh lots by.
    """
    level = _level(homes, holders, lambda lot: lot.share(whole), of=homes)
    empty = [lot for lot in homes if not lot.share(whole)]
    fine = 4 * max(lot.parts for lot in homes)
    return _level(level, holders, lambda lot: lot.share(fine), of=empty) if empty else level


def _level(
    homes: Mapping[Lot, Holder], holders: Sequence[Holder], weigh: Callable[[Lot], int], *, of: Iterable[Lot]
) -> dict[Lot, Holder]:
    """Return to whom lots belong when of some of them as many have moved as makes all have about the same weight."""
    fortunes = _Fortunes(holders, weigh)
    movable = set(of)
    orphans = []
    for lot in sorted(homes):
        if homes[lot] in fortunes.lots:
            fortunes.give(lot, homes[lot])
        else:
            orphans.append(lot)
    for lot in sorted(orphans, key=lambda each: (-weigh(each), each)):
        fortunes.give(lot, fortunes.poorest())
    while True:
        poor, rich = fortunes.poorest(), fortunes.richest()
        gap = fortunes.loads[rich] - fortunes.loads[poor]
        closing = [lot for lot in fortunes.lots[rich] if lot in movable and 0 < weigh(lot) < gap]
        if not closing:
            return {lot: holder for holder, lots in fortunes.lots.items() for lot in lots}
        # What is nearest to half of the gap closes it best.
        lot = min(closing, key=lambda each: (abs(gap - 2 * weigh(each)), each))
        fortunes.take(lot, rich)
        fortunes.give(lot, poor)


class _Fortunes(Generic[Holder]):
    """Who has which lots, and who has the least and the most."""

    def __init__(self, holders: Sequence[Holder], weigh: Callable[[Lot], int]) -> None:
        self.lots: dict[Holder, set[Lot]] = {holder: set() for holder in holders}
        self.loads = dict.fromkeys(holders, 0)
        self._holders = holders
        self._places = {holder: turn for turn, holder in enumerate(holders)}
        self._weigh = weigh
        # What was noted of somebody counts for as long as it still holds.
        self._poor = [(0, turn) for turn in range(len(holders))]
        self._rich = [(0, turn) for turn in range(len(holders))]

    def give(self, lot: Lot, holder: Holder) -> None:
        self.lots[holder].add(lot)
        self._note(holder, self._weigh(lot))

    def take(self, lot: Lot, holder: Holder) -> None:
        self.lots[holder].discard(lot)
        self._note(holder, -self._weigh(lot))

    def poorest(self) -> Holder:
        while self._poor[0][0] != self.loads[self._holders[self._poor[0][1]]]:
            heappop(self._poor)
        return self._holders[self._poor[0][1]]

    def richest(self) -> Holder:
        while -self._rich[0][0] != self.loads[self._holders[self._rich[0][1]]]:
            heappop(self._rich)
        return self._holders[self._rich[0][1]]

    def _note(self, holder: Holder, more: int) -> None:
        self.loads[holder] += more
        turn = self._places[holder]
        heappush(self._poor, (self.loads[holder], turn))
        heappush(self._rich, (-self.loads[holder], turn))
