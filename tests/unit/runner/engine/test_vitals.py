from hypothesis import given
from hypothesis import strategies as some

from loadstone_runner.engine.vitals import percentile_99, resident_bytes


@given(some.lists(some.integers(0, 10**9), min_size=1))
def test_at_least_99_percent_are_at_or_below_the_percentile_and_it_is_one_of_them(values) -> None:
    found = percentile_99(values)

    assert found in values
    assert sum(value <= found for value in values) >= 0.99 * len(values)
    assert sum(value < found for value in values) < 0.99 * len(values)


def test_nothing_has_no_lateness() -> None:
    assert percentile_99([]) == 0


def test_a_process_has_memory() -> None:
    assert 1_000_000 < resident_bytes() < 10**11
