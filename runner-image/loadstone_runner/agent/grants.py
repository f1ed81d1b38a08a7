"""Divide the iterations granted to a worker among its engines. Pure: the parts of a range are never dealt out again.

Ranges are numbered from 0 on both sides, so that a lost or repeated assignment neither loses nor doubles work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def split(granted: range, parts: int) -> tuple[range, ...]:
    """Return `parts` ranges that together are `granted`, in its order; lengths differ by one at most."""
    stops = [granted.start + len(granted) * (part + 1) // parts for part in range(parts)]
    return tuple(range(start, stop) for start, stop in zip((granted.start, *stops), stops, strict=False))


class Grants:
    """What has been granted to each engine and not been taken up."""

    __slots__ = ("_dealt", "_held", "_taken")

    def __init__(self, engines: int) -> None:
        self._dealt = 0
        self._taken = [0] * engines
        self._held: list[list[range]] = [[] for _ in range(engines)]

    def deal(self, ranges: Sequence[range], *, first: int, living: Sequence[int]) -> bool:
        """Deal out those ranges, `first` being the number of the first, that are new; return whether there were any.

        Engines that have ended get nothing; without a living engine the ranges wait.
        """
        if not living or first > self._dealt:
            return False
        fresh = ranges[self._dealt - first :]
        for granted in fresh:
            # Turns, else the last engine would always have the remainder.
            turned = [living[(self._dealt + place) % len(living)] for place in range(len(living))]
            for engine, part in zip(turned, split(granted, len(living)), strict=True):
                if part:
                    self._held[engine].append(part)
            self._dealt += 1
        return bool(fresh)

    def take(self, engine: int, taken: int) -> None:
        """Forget what an engine has used up; `taken` counts all of its ranges so far."""
        used = min(taken - self._taken[engine], len(self._held[engine]))
        if used > 0:
            del self._held[engine][:used]
            self._taken[engine] += used

    def of(self, engine: int) -> tuple[int, tuple[range, ...]]:
        """Return the number of an engine's first held range, and its held ranges."""
        return self._taken[engine], tuple(self._held[engine])
