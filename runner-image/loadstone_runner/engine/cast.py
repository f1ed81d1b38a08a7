"""Say which class each user of the whole load is of. Pure: all engines agree without talking to each other."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PERIOD_MAX = 100_000


class Cast:
    """Classes by number of the user: first those with a fixed count, then the others in the ratio of their weights.

    Among any n users after the fixed ones a class has its share of n, off by less than one for each class; after
    each whole period its share is exact. As the users with the highest numbers leave first, that holds on the way
    down, too.
    """

    __slots__ = ("_fixed", "_period")

    def __init__(self, weights: Sequence[int], fixed_counts: Sequence[int]) -> None:
        """Take weight and fixed count of each class; a class with a fixed count has no part in the rest.

        Raises:
            ValueError: the weights are so large and different that their ratio has no period below PERIOD_MAX.
        """
        self._fixed = [index for index, count in enumerate(fixed_counts) for _ in range(count)]
        free = [0 if count else weight for weight, count in zip(weights, fixed_counts, strict=True)]
        # With fixed counts only, users beyond them are of these classes again, by weight: a load is never left undone.
        self._period = _period(free if any(free) else list(weights))

    def class_of(self, number: int) -> int:
        """Return the index of the class of the user with a number, from 0."""
        fixed = self._fixed
        if number < len(fixed):
            return fixed[number]
        return self._period[(number - len(fixed)) % len(self._period)]


def _period(weights: list[int]) -> list[int]:
    """Return who comes when within one period, spread as evenly as whole users allow."""
    divisor = gcd(*weights) or 1
    parts = [weight // divisor for weight in weights]
    whole = sum(parts)
    if whole > PERIOD_MAX:
        raise ValueError(f"the weights {weights} have no common ratio below {PERIOD_MAX}: give smaller numbers")
    # The next one is always the one that is furthest behind its share (smooth weighted round robin).
    behind = [0] * len(parts)
    order: list[int] = []
    for _ in range(whole):
        behind = [left + part for left, part in zip(behind, parts, strict=True)]
        chosen = max(range(len(parts)), key=behind.__getitem__)
        behind[chosen] -= whole
        order.append(chosen)
    return order or [0]
