from collections import Counter
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone_runner.engine.cast import Cast

weights = some.lists(some.integers(0, 20), min_size=1, max_size=6).filter(any)


@given(weights, some.integers(0, 300))
def test_among_any_number_of_users_every_class_has_its_share_within_one_for_each_class(weights, count) -> None:
    cast = Cast(weights, [0] * len(weights))

    counted = Counter(cast.class_of(number) for number in range(count))

    for index, weight in enumerate(weights):
        assert abs(counted[index] - count * weight / sum(weights)) < len(weights)


@given(weights, some.integers(1, 4))
def test_after_whole_periods_the_shares_are_exact(weights, periods) -> None:
    divisor = gcd(*weights)
    cast = Cast(weights, [0] * len(weights))

    counted = Counter(cast.class_of(number) for number in range(periods * sum(weights) // divisor))

    assert [counted[index] for index in range(len(weights))] == [periods * weight // divisor for weight in weights]


@given(some.lists(some.integers(0, 10), min_size=2, max_size=5), some.integers(0, 100))
def test_fixed_counts_come_first_and_weights_divide_the_rest(fixed, more) -> None:
    fixed[0] = 0
    cast = Cast([1] * len(fixed), fixed)

    counted = Counter(cast.class_of(number) for number in range(sum(fixed) + more))

    for index, count in enumerate(fixed):
        assert counted[index] >= count
        if count:
            assert counted[index] == count


def test_with_fixed_counts_only_the_load_is_still_done_in_full() -> None:
    cast = Cast([1, 3], [1, 1])

    assert Counter(cast.class_of(number) for number in range(2 + 8)) == {0: 1 + 2, 1: 1 + 6}


def test_weights_without_a_common_ratio_are_refused() -> None:
    with pytest.raises(ValueError, match="give smaller numbers"):
        Cast([1, 1_000_003], [0, 0])
