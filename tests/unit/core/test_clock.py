from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.clock import Clock, ManualClock, rfc3339


def test_a_manual_clock_is_a_clock_that_stands_still_until_it_is_moved() -> None:
    clock: Clock = ManualClock(monotonic=10, boottime=20, wall=30)

    assert (clock.monotonic_ns(), clock.boottime_ns(), clock.wall_ns()) == (10, 20, 30)
    assert (clock.monotonic_ns(), clock.boottime_ns(), clock.wall_ns()) == (10, 20, 30)


def test_a_manual_clock_moves_all_readings_alike() -> None:
    clock = ManualClock(monotonic=10, boottime=20, wall=30)

    clock.advance(5)

    assert (clock.monotonic_ns(), clock.boottime_ns(), clock.wall_ns()) == (15, 25, 35)


def test_an_instant_has_six_digits_and_ends_in_z() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339(1_795_219_200_123_456_789) == "2026-11-21T00:00:00.123456Z"


@given(st.lists(st.integers(0, 2**62), min_size=2, max_size=2))
def test_the_order_of_texts_is_the_order_of_instants(instants: list[int]) -> None:
    earlier, later = sorted(instants)

    assert rfc3339(earlier) <= rfc3339(later)
