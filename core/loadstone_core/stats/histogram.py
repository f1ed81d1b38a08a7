"""Keep any number of whole-number samples in bounded memory: a base-2 exponential histogram of scale 6.

No labels, no names and no time live here; those are `series` and `timeline`.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from itertools import accumulate
from math import ceil, exp2, isqrt, log2
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LARGEST = 1 << 63
_SCALE = 6
_PER_OCTAVE = 1 << _SCALE


def _upper_bounds() -> list[int]:
    """Return the largest whole number of every bucket: floor(2^(index / 64)), exact up to `LARGEST`.

    floor(x^(1/64)) is six nested integer square roots, so no float takes part; 64 roots of 64 extra bits give the
    fractions of one octave, and every other octave is a shift of them.
    """
    octave = []
    for step in range(_PER_OCTAVE):
        root = 1 << (64 * _PER_OCTAVE + step)
        for _ in range(_SCALE):
            root = isqrt(root)
        octave.append(root)
    return [octave[index % _PER_OCTAVE] >> (64 - index // _PER_OCTAVE) for index in range(63 * _PER_OCTAVE + 1)]


_UPPER = _upper_bounds()
LARGEST_INDEX = len(_UPPER) - 1


def bucket_index(value: int) -> int:
    """Return ceil(log2(value) * 64), exact for every whole number, powers of two included.

    This is Prometheus' index of a native histogram with schema 6; OpenTelemetry's is one lower.

    Args:
        value: 1 up to `LARGEST` (2^63).

    Raises:
        ValueError: the value is outside.
    """
    try:
        # The float is at most a hair above the true logarithm, so its floor is never beyond the bucket.
        index = int(log2(value) * 64.0)
        while value > _UPPER[index]:
            index += 1
    except (IndexError, ValueError) as error:
        raise ValueError(f"a bucket holds values from 1 to 2^63, not {value}") from error
    return index


def bucket_bounds(index: int) -> tuple[int, int]:
    """Return the smallest and the largest whole number that belong to a bucket (the first may be above the second)."""
    return (_UPPER[index - 1] + 1 if index else 1), _UPPER[index]


class Histogram:
    """Count whole-number samples in buckets `(2^((i-1)/64), 2^(i/64)]`, at most 0.54 % wide to either side.

    Count, total, minimum and maximum beside the buckets are exact. Merging is exact, commutative and associative, and
    the empty histogram is neutral. Memory follows the spread of the values (64 buckets an octave), not their number.

    Attributes:
        buckets: count by bucket index; never holds a zero.
        count: all samples.
        total: their sum.
        minimum: the smallest; 0 while empty.
        maximum: the largest; 0 while empty.
        zeros: samples at or below zero, which have no bucket.
    """

    __slots__ = ("buckets", "count", "maximum", "minimum", "total", "zeros")

    SCALE = _SCALE

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.minimum = 0
        self.maximum = 0
        self.zeros = 0

    @classmethod
    def unpack(
        cls, indexes: Sequence[int], counts: Sequence[int], *, total: int, minimum: int, maximum: int, zeros: int
    ) -> Self:
        """Return the histogram whose `pack()` gave these indexes and counts; the count follows from them.

        Raises:
            ValueError: there are not as many indexes as counts.
        """
        made = cls()
        made.buckets = dict(zip(indexes, counts, strict=True))
        made.zeros = zeros
        made.count = zeros + sum(counts)
        made.total = total
        made.minimum = minimum
        made.maximum = maximum
        return made

    @classmethod
    def of_buckets(cls, buckets: Mapping[int, int], *, total: int, zeros: int) -> Self:
        """Return a histogram of which only the buckets are known: the outer ones bound its minimum and maximum."""
        made = cls()
        made.buckets = {index: count for index, count in buckets.items() if count}
        made.zeros = zeros
        made.count = zeros + sum(made.buckets.values())
        made.total = total
        if made.buckets:
            made.minimum = 0 if zeros else bucket_bounds(min(made.buckets))[0]
            made.maximum = bucket_bounds(max(made.buckets))[1]
        return made

    def clear(self) -> None:
        """Forget everything."""
        self.buckets.clear()
        self.count = self.total = self.minimum = self.maximum = self.zeros = 0

    def record(self, value: int) -> None:
        """Count one sample, a whole number of any unit up to 2^63.

        Raises:
            ValueError: the value is above 2^63; nothing is recorded.
        """
        if value > 0:
            # The body of bucket_index once more: this is the hot path of an engine, and a call costs a quarter of it.
            try:
                index = int(log2(value) * 64.0)
                while value > _UPPER[index]:
                    index += 1
            except IndexError as error:
                raise ValueError(f"a histogram holds values up to 2^63, not {value}") from error
            buckets = self.buckets
            buckets[index] = buckets.get(index, 0) + 1
        else:
            self.zeros += 1
        count = self.count
        if not count:
            self.minimum = self.maximum = value
        elif value < self.minimum:
            self.minimum = value
        elif value > self.maximum:
            self.maximum = value
        self.count = count + 1
        self.total += value

    def merge(self, other: Histogram) -> None:
        """Add every sample of another histogram."""
        if not other.count:
            return
        self.grow(other.buckets.items(), count=other.count, total=other.total, zeros=other.zeros)
        self.reach(other.minimum, other.maximum, first=self.count == other.count)

    def grow(self, buckets: Iterable[tuple[int, int]], *, count: int, total: int, zeros: int) -> None:
        """Add counts to buckets and totals; whoever calls it states the extremes with `reach`."""
        mine = self.buckets
        for index, added in buckets:
            mine[index] = mine.get(index, 0) + added
        self.count += count
        self.total += total
        self.zeros += zeros

    def reach(self, minimum: int, maximum: int, *, first: bool) -> None:
        """Widen minimum and maximum; the first samples of all set them."""
        if first or minimum < self.minimum:
            self.minimum = minimum
        if first or maximum > self.maximum:
            self.maximum = maximum

    def minus(self, older: Histogram) -> Histogram:
        """Return what was recorded here since an older state of this histogram.

        The result's minimum and maximum are bounds, not samples: those of its outer buckets, within this histogram's.
        `older` merged with the result is this histogram again.

        Raises:
            ValueError: the other holds samples that this one does not, so it is no older state of it.
        """
        buckets = dict(self.buckets)
        for index, count in older.buckets.items():
            buckets[index] = buckets.get(index, 0) - count
        zeros = self.zeros - older.zeros
        if zeros < 0 or any(count < 0 for count in buckets.values()):
            raise ValueError("the other histogram is no older state of this one: it holds samples that this one lacks")
        rest = Histogram.of_buckets(buckets, total=self.total - older.total, zeros=zeros)
        if rest.count:
            rest.minimum = self.minimum if zeros else max(self.minimum, rest.minimum)
            rest.maximum = min(self.maximum, rest.maximum)
        return rest

    def copy(self) -> Histogram:
        """Return an equal histogram that does not change with this one."""
        twin = Histogram()
        twin.buckets = self.buckets.copy()
        twin.count = self.count
        twin.total = self.total
        twin.minimum = self.minimum
        twin.maximum = self.maximum
        twin.zeros = self.zeros
        return twin

    def quantile(self, share: Fraction | float) -> int:
        """Return the estimate of the smallest value that at least `share` of the samples do not exceed (nearest rank).

        The estimate is 2lu/(l+u) of the bucket with bounds l and u, within minimum and maximum: off by at most 0.54 %
        of the value plus half a unit of rounding. Samples at or below zero count as zero.

        Args:
            share: 0 up to 1. A float means its shortest decimal, so 0.07 of 100 samples is the seventh.

        Raises:
            ValueError: there are no samples, or the share is outside 0 to 1.
        """
        if not self.count:
            raise ValueError("an empty histogram has no quantiles: look at its count first")
        exact = share if isinstance(share, Fraction) else Fraction(str(share))
        if not 0 <= exact <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, not at {share}")
        rank = max(1, ceil(exact * self.count))
        estimate = 0
        if rank > self.zeros:
            indexes, counts = self.pack()
            estimate = _middle(indexes[bisect_left(list(accumulate(counts)), rank - self.zeros)])
        return max(self.minimum, min(self.maximum, estimate))

    def mean(self) -> Fraction | None:
        """Return the exact arithmetic mean, or None while there are no samples."""
        return Fraction(self.total, self.count) if self.count else None

    def below(self, bound: int) -> int:
        """Return how many samples are at or below a bound, for cumulative buckets of a classic Prometheus histogram.

        Exact where the bound is the edge of a bucket (every power of two is) or not below the maximum; else samples
        in the bound's own bucket, at most 1.09 % below it, are left out.
        """
        if self.count and bound >= self.maximum:
            return self.count
        if bound < 0:
            return 0
        return self.zeros + sum(count for index, count in self.buckets.items() if _UPPER[index] <= bound)

    def pack(self) -> tuple[list[int], list[int]]:
        """Return bucket indexes, ascending, and their counts, in two lists of one length."""
        indexes = sorted(self.buckets)
        return indexes, [self.buckets[index] for index in indexes]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in Histogram.__slots__)

    __hash__ = None  # type: ignore[assignment]  # it changes with every sample

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, total={self.total}, minimum={self.minimum}, maximum={self.maximum})"


def _middle(index: int) -> int:
    """Return 2lu/(l+u) of a bucket, rounded: the point with the same relative distance to both bounds."""
    lower = exp2((index - 1) / _PER_OCTAVE)
    upper = exp2(index / _PER_OCTAVE)
    return round(2.0 * lower * upper / (lower + upper))
