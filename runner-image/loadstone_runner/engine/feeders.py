"""Number the rows of unique feeders so that no two engines of a run share one: each takes those of its slot. Pure."""

from __future__ import annotations

from collections import defaultdict


class StridedRows:
    """Rows slot, slot + slots, slot + 2 x slots, ... of each feeder, as users are numbered: nobody has to be asked."""

    __slots__ = ("_given", "_slot", "_slots")

    def __init__(self, slot: int, slots: int) -> None:
        self._slot = slot
        self._slots = slots
        self._given: defaultdict[str, int] = defaultdict(int)

    def next_row(self, feeder: str) -> int:
        """Return the next row's number of a feeder; there is always one more."""
        given = self._given[feeder]
        self._given[feeder] = given + 1
        return self._slot + given * self._slots
