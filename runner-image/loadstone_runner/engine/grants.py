"""Hand out the numbers of one name that were granted to this engine: each once, in order. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Grants:
    """Ranges of numbers, themselves numbered from 0 so that a repeated grant is known as such.

    Attributes:
        known: how many ranges have been granted so far.
        taken: how many numbers have been taken.
        waiting: how many users wait for a number.
    """

    __slots__ = ("_left", "_ranges", "known", "taken", "waiting")

    def __init__(self) -> None:
        self._ranges: deque[range] = deque()
        self._left = 0
        self.known = 0
        self.taken = 0
        self.waiting = 0

    @property
    def left(self) -> int:
        """How many numbers are granted and not taken."""
        return self._left

    def extend(self, first: int, ranges: Sequence[range]) -> bool:
        """Take ranges of which the first has the number `first`; return whether any of them is new.

        Raises:
            ValueError: ranges between those that are known and the first one are missing.
        """
        if first > self.known and ranges:
            raise ValueError(f"ranges {self.known} to {first - 1} were never granted")
        fresh = ranges[self.known - first :] if self.known > first else ranges
        self._ranges.extend(each for each in fresh if each)
        self._left += sum(map(len, fresh))
        self.known += len(fresh)
        return bool(fresh)

    def take(self) -> int | None:
        """Return the next number; None if there is none yet."""
        ranges = self._ranges
        if not ranges:
            return None
        number = ranges[0].start
        rest = ranges[0][1:]
        if rest:
            ranges[0] = rest
        else:
            ranges.popleft()
        self._left -= 1
        self.taken += 1
        return number
