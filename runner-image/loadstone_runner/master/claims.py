"""Sort out who does what of a load by what workers say after their master was lost. Pure.

What becomes of a lot that nobody claims, or more than one, is decided in `shares`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loadstone_core.load.lots import PIECES_MAX, Lot, Share
from loadstone_runner.master.books import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Claim(NamedTuple):
    """A lot, who says to do it, and since which moment of the load."""

    lot: Lot
    place: Place
    from_ns: int


def sort_out(told: Mapping[int, Iterable[Share]], slots: int) -> tuple[list[Claim], list[Lot]]:
    """Return who does which lot for certain, and the lots of which that is not known; together they are the load.

    A lot that two claim is nobody's: one of the two has not heard yet that it is not its own any more.

    Args:
        told: by worker, what its engines do.
        slots: how many lots there were in the beginning.
    """
    claims: dict[int, list[Claim]] = {slot: [] for slot in range(slots)}
    for worker, shares in told.items():
        for each in shares:
            if each.lot.parts % slots == 0 and each.lot.parts <= slots * PIECES_MAX:
                claims[each.lot.first % slots].append(Claim(each.lot, Place(worker, each.engine), each.from_ns))
    known, unknown = [], []
    for slot, claimed in claims.items():
        held, rest = _sort_out_slot(Lot(slot, slots), claimed)
        known += held
        unknown += rest
    return known, unknown


def _sort_out_slot(whole: Lot, claimed: list[Claim]) -> tuple[list[Claim], list[Lot]]:
    if not claimed:
        return [], [whole]
    sizes = {each.lot.parts for each in claimed}
    if len(sizes) > 1:
        # A slot is cut once, so who claims all of it, or pieces of another cut, has missed that.
        return [], [whole]
    pieces = whole.cut(sizes.pop() // whole.parts)
    by_lot: dict[Lot, list[Claim]] = {piece: [] for piece in pieces}
    for each in claimed:
        by_lot[each.lot].append(each)
    known = [held[0] for held in by_lot.values() if len(held) == 1]
    return known, [piece for piece, held in by_lot.items() if len(held) != 1]
