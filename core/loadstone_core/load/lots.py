"""Cut a load into lots and deal them to whoever is there, so that the lots of all always make the whole. Pure.

A lot is every `parts`-th number of a load, from `first` on: users of a closed one, iterations of a rate. What has to be
divided is cut into lots of the same kind, so a rate stays interleaved and nobody else's numbers move. When a lot may
change hands belongs to the master.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from loadstone_core.load.share import share

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

# Into more pieces the lot of one slot is not cut: of a thousand workers 64 then have a sixty-fourth more of a share.
PIECES_MAX: Final = 64

Holder = TypeVar("Holder")


class Lot(NamedTuple):
    """The numbers `first`, `first + parts`, `first + 2 * parts`, and so on."""

    first: int
    parts: int

    def share(self, whole: int) -> int:
        """Return how many of the numbers below `whole` are in the lot."""
        return share(whole, self.first, self.parts)

    def cut(self, pieces: int) -> tuple[Lot, ...]:
        """Return lots that have the same numbers together, dealt out in turn."""
        return tuple(Lot(self.first + turn * self.parts, self.parts * pieces) for turn in range(pieces))


class Share(NamedTuple):
    """A lot that one engine of a worker does from a moment of the load on, in nanoseconds since its start."""

    engine: int
    lot: Lot
    from_ns: int = 0


def deal(
    free: Iterable[Lot], held: Mapping[Holder, Collection[Lot]], *, whole: int, slots: int
) -> list[tuple[Lot, Holder]]:
    """Return who gets which of the lots that nobody has: those who have the least come first.

    The lot of a whole slot is cut into as many pieces as there are holders. What is a piece already stays one, so that
    workers that come and go do not grind a load to dust.

    Args:
        free: the lots.
        held: what those who may get some have; the order decides between equals.
        whole: how much there is of the load at most, to weigh lots by.
        slots: how many lots there were in the beginning.
    """
    if not held:
        return []
    loads = {holder: (sum(lot.share(whole) for lot in lots), turn) for turn, (holder, lots) in enumerate(held.items())}
    given = []
    for lot in sorted(free, key=lambda each: (-each.share(whole), each)):
        ways = min(len(held), PIECES_MAX) if lot.parts < 2 * slots else 1
        poorest = sorted(loads, key=loads.__getitem__)[:ways]
        for piece, holder in zip(lot.cut(ways), poorest, strict=True):
            given.append((piece, holder))
            amount, turn = loads[holder]
            loads[holder] = (amount + piece.share(whole), turn)
    return given
