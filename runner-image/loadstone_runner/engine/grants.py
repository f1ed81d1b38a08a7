"""Hand out the iteration numbers that were granted to this engine: each once, in order. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Grants:
    """Ranges of global iteration numbers, themselves numbered from 0 so that a repeated grant is known as such.

    Attributes:
        ranges_taken: how many ranges have been used up.
    """

    __slots__ = ("_ranges", "ranges_taken")

    def __init__(self) -> None:
        self._ranges: deque[range] = deque()
        self.ranges_taken = 0

    @property
    def left(self) -> int:
        """How many numbers are granted and not taken."""
        return sum(map(len, self._ranges))

    def extend(self, first: int, ranges: Sequence[range]) -> bool:
        """Take ranges of which the first has the number `first`; return whether any of them is new.

        Raises:
            ValueError: ranges between those that are known and the first one are missing.
        """
        known = self.ranges_taken + len(self._ranges)
        if first > known and ranges:
            raise ValueError(f"ranges {known} to {first - 1} were never granted")
        fresh = ranges[known - first :] if known > first else ranges
        self._ranges.extend(fresh)
        self._drop_used()
        return bool(fresh)

    def take(self) -> int | None:
        """Return the next number; None if there is none yet."""
        ranges = self._ranges
        if not ranges:
            return None
        number = ranges[0].start
        ranges[0] = ranges[0][1:]
        self._drop_used()
        return number

    def _drop_used(self) -> None:
        while self._ranges and not self._ranges[0]:
            self._ranges.popleft()
            self.ranges_taken += 1
