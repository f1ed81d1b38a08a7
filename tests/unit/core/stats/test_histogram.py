"""Laws of the histogram: exact buckets, exact merge, bounded error."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.stats.histogram import LARGEST, LARGEST_INDEX, Histogram, bucket_bounds, bucket_index

if TYPE_CHECKING:
    from collections.abc import Callable

NANOSECONDS = st.integers(min_value=1, max_value=LARGEST)
SAMPLES = st.lists(st.one_of(st.integers(-5, 300), st.integers(1_000, 10**11), NANOSECONDS), max_size=60)

# 0.54 % is tanh(ln(2) / 128), the half width of a bucket; rounding to a whole unit adds at most a half.
HALF_WIDTH = Fraction("0.005416")


def histogram_of(samples: list[int]) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)
    return histogram


def exact_index(value: int) -> int:
    """ceil(log2(value) * 64) without floats: the smallest i with value^64 <= 2^i."""
    return (value**64 - 1).bit_length()


@given(NANOSECONDS)
def test_index_is_the_ceiling_of_the_scaled_logarithm(value: int) -> None:
    assert bucket_index(value) == exact_index(value)


@pytest.mark.parametrize("power", range(64))
def test_a_power_of_two_is_the_upper_bound_of_its_bucket(power: int) -> None:
    assert bucket_index(1 << power) == 64 * power
    if power < 63:
        assert bucket_index((1 << power) + 1) > 64 * power


@given(st.integers(0, LARGEST_INDEX))
def test_bounds_of_a_bucket_are_its_outermost_whole_numbers(index: int) -> None:
    smallest, largest = bucket_bounds(index)

    assert exact_index(largest) <= index
    assert exact_index(largest + 1) > index
    if smallest <= largest:
        assert bucket_index(smallest) == bucket_index(largest) == index
    if index:
        assert smallest == bucket_bounds(index - 1)[1] + 1


@given(st.lists(NANOSECONDS, min_size=1, max_size=20))
def test_recording_uses_the_same_index(samples: list[int]) -> None:
    recorded = histogram_of(samples)

    assert set(recorded.buckets) == {bucket_index(sample) for sample in samples}


@pytest.mark.parametrize("value", [LARGEST + 1, 1 << 64, 1 << 2_000])
def test_values_beyond_the_largest_are_refused_and_leave_no_trace(value: int) -> None:
    histogram = Histogram()

    with pytest.raises(ValueError, match=r"2\^63"):
        histogram.record(value)
    with pytest.raises(ValueError, match=r"2\^63"):
        bucket_index(value)
    assert histogram == Histogram()


def test_nothing_below_one_has_a_bucket() -> None:
    with pytest.raises(ValueError, match="from 1 to"):
        bucket_index(0)


@given(SAMPLES)
def test_count_total_minimum_and_maximum_are_exact(samples: list[int]) -> None:
    histogram = histogram_of(samples)

    assert histogram.count == len(samples)
    assert histogram.total == sum(samples)
    assert histogram.minimum == min(samples, default=0)
    assert histogram.maximum == max(samples, default=0)
    assert histogram.zeros == sum(sample <= 0 for sample in samples)
    assert histogram.mean() == (Fraction(sum(samples), len(samples)) if samples else None)


@given(SAMPLES, SAMPLES)
def test_merging_equals_recording_everything_in_one(left: list[int], right: list[int]) -> None:
    merged = histogram_of(left)
    merged.merge(histogram_of(right))

    assert merged == histogram_of(left + right) == histogram_of(right + left)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_merging_fifty_workers_in_any_order_and_grouping_gives_the_identical_histogram(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311  # samples, not secrets
    samples = [[int(source.lognormvariate(16, 2)) - 5 for _ in range(source.randrange(20))] for _ in range(50)]
    workers = [histogram_of(each) for each in samples]
    source.shuffle(workers)
    split = source.randrange(50)

    halves = [Histogram(), Histogram()]
    for place, worker in enumerate(workers):
        halves[place < split].merge(worker)
    halves[0].merge(halves[1])

    assert halves[0] == histogram_of([sample for each in samples for sample in each])


@given(SAMPLES, SAMPLES)
def test_minus_undoes_merge(older: list[int], newer: list[int]) -> None:
    before, after = histogram_of(older), histogram_of(older + newer)

    difference = after.minus(before)

    added = histogram_of(newer)
    assert (difference.buckets, difference.count, difference.total, difference.zeros) == (
        added.buckets,
        added.count,
        added.total,
        added.zeros,
    )
    assert difference.minimum <= added.minimum
    assert added.maximum <= difference.maximum
    before.merge(difference)
    assert before == after


@given(st.lists(NANOSECONDS, min_size=1), st.lists(NANOSECONDS, min_size=1))
def test_extremes_of_a_difference_are_off_by_one_bucket_at_most(older: list[int], newer: list[int]) -> None:
    difference = histogram_of(older + newer).minus(histogram_of(older))

    assert bucket_index(difference.minimum) == bucket_index(min(newer))
    assert bucket_index(difference.maximum) == bucket_index(max(newer))


@pytest.mark.parametrize("extra", [0, 7])
def test_a_state_with_other_samples_is_no_older_state(extra: int) -> None:
    with pytest.raises(ValueError, match="no older state"):
        histogram_of([5]).minus(histogram_of([extra]))


@given(SAMPLES)
def test_packing_keeps_everything(samples: list[int]) -> None:
    histogram = histogram_of(samples)
    indexes, counts = histogram.pack()

    restored = Histogram.unpack(
        indexes,
        counts,
        total=histogram.total,
        minimum=histogram.minimum,
        maximum=histogram.maximum,
        zeros=histogram.zeros,
    )

    assert restored == histogram
    assert indexes == sorted(indexes)


def test_unequal_lists_are_no_histogram() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Histogram.unpack([1, 2], [1], total=0, minimum=0, maximum=0, zeros=0)


@given(SAMPLES)
def test_a_copy_is_equal_and_independent(samples: list[int]) -> None:
    histogram = histogram_of(samples)
    twin = histogram.copy()

    assert twin == histogram
    twin.record(3)
    assert twin != histogram == histogram_of(samples)


def test_a_histogram_equals_no_other_thing_and_shows_its_totals() -> None:
    assert Histogram() != {}
    assert repr(histogram_of([4, 6])) == "Histogram(count=2, total=10, minimum=4, maximum=6)"


def constant(_: random.Random) -> int:
    return 20_000_000


def lognormal(source: random.Random) -> int:
    return max(1, int(source.lognormvariate(16.8, 1.0)))


def pareto(source: random.Random) -> int:
    return int(1_000_000 * source.paretovariate(1.1))


def bimodal(source: random.Random) -> int:
    return int(source.gauss(2_000_000, 1_000) if source.random() < 0.97 else source.gauss(900_000_000, 5_000_000))


def sub_millisecond(source: random.Random) -> int:
    return int(min(source.lognormvariate(10.5, 0.8), 999_999.0))


@pytest.mark.parametrize("shape", [constant, lognormal, pareto, bimodal, sub_millisecond])
@given(seed=st.integers(0, 2**32), share=st.sampled_from(["0", "0.01", "0.5", "0.9", "0.97", "0.99", "0.999", "1"]))
def test_quantiles_are_within_half_a_bucket_of_the_exact_ones(
    shape: Callable[[random.Random], int], seed: int, share: str
) -> None:
    source = random.Random(seed)  # noqa: S311  # samples, not secrets
    samples = sorted(shape(source) for _ in range(300))
    rank = max(1, -(-Fraction(share) * len(samples) // 1))
    exact = samples[int(rank) - 1]

    estimate = histogram_of(samples).quantile(Fraction(share))

    assert abs(estimate - exact) <= HALF_WIDTH * exact + Fraction(1, 2)


@given(st.lists(st.integers(1, 2_000), min_size=1, max_size=40), st.fractions(0, 1))
def test_quantiles_of_small_numbers_are_off_by_rounding_at_most(samples: list[int], share: Fraction) -> None:
    exact = sorted(samples)[max(1, -(-share * len(samples) // 1)) - 1]

    assert abs(histogram_of(samples).quantile(share) - exact) <= HALF_WIDTH * exact + Fraction(1, 2)


@given(st.lists(NANOSECONDS, min_size=1), st.fractions(0, 1), st.fractions(0, 1))
def test_quantiles_rise_with_the_share_and_stay_within_the_extremes(
    samples: list[int], one: Fraction, other: Fraction
) -> None:
    histogram = histogram_of(samples)
    lower, upper = sorted((one, other))

    assert histogram.minimum <= histogram.quantile(lower) <= histogram.quantile(upper) <= histogram.maximum


def test_a_float_share_means_its_decimal() -> None:
    # In binary 0.07 * 100 is a hair above 7, which would make it the eighth sample.
    histogram = histogram_of([2**power for power in range(40)] + [2**40] * 60)

    assert histogram.quantile(0.07) == histogram.quantile(Fraction(7, 100)) == 2**6


def test_samples_at_or_below_zero_count_as_zero_within_the_extremes() -> None:
    assert histogram_of([-8, -3, 0, 1_000]).quantile(0.5) == 0
    assert histogram_of([-8, -3]).quantile(0.5) == -3


@pytest.mark.parametrize("share", [-0.1, 1.1, Fraction(3, 2)])
def test_a_share_outside_zero_to_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        histogram_of([1]).quantile(share)


def test_an_empty_histogram_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="empty"):
        Histogram().quantile(0.5)


@given(SAMPLES, st.integers(-10, LARGEST), st.integers(-10, LARGEST))
def test_below_rises_with_its_bound(samples: list[int], one: int, other: int) -> None:
    histogram = histogram_of(samples)

    assert 0 <= histogram.below(min(one, other)) <= histogram.below(max(one, other)) <= histogram.count


@given(SAMPLES, st.integers(0, 63))
def test_below_is_exact_at_powers_of_two(samples: list[int], power: int) -> None:
    assert histogram_of(samples).below(1 << power) == sum(sample <= 1 << power for sample in samples)


@given(st.lists(NANOSECONDS, min_size=1), NANOSECONDS)
def test_below_leaves_out_less_than_a_bucket(samples: list[int], bound: int) -> None:
    below = histogram_of(samples).below(bound)

    assert below <= sum(sample <= bound for sample in samples)
    assert below >= sum(bucket_index(sample) < bucket_index(bound) for sample in samples)


@given(SAMPLES)
def test_everything_is_at_or_below_the_maximum(samples: list[int]) -> None:
    histogram = histogram_of(samples)

    assert histogram.below(histogram.maximum) == histogram.count
    assert Histogram().below(5) == 0


def test_memory_follows_the_spread_of_the_samples_not_their_number() -> None:
    histogram = histogram_of([1_000 + step for step in range(100_000)])

    # Seven octaves of 64 buckets each.
    assert len(histogram.buckets) <= 64 * 7


def test_nothing_is_below_zero() -> None:
    histogram = Histogram()
    histogram.record(5)

    assert histogram.below(-1) == 0
