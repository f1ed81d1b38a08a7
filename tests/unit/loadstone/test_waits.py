from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone import User, between, constant, constant_pacing, constant_throughput, waits

SECOND = 1_000_000_000


@given(some.floats(0, 1e6), some.floats(0, 1e6))
def test_between_stays_between(one, other) -> None:
    least, most = sorted((one, other))

    assert least <= between(least, most)(User()) <= most


@given(some.floats(0, 1e6))
def test_constant_is_constant(seconds) -> None:
    assert constant(seconds)(User()) == seconds


@given(some.lists(some.integers(0, 3 * SECOND), min_size=1, max_size=30), some.integers(1, 10**9))
def test_pacing_starts_iterations_on_a_grid_and_never_makes_up_for_missed_ones(durations, start) -> None:
    user, wait = User(), constant_pacing(1)
    clock = [start]
    starts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waits, "monotonic_ns", lambda: clock[0])
        for duration in durations:
            user.iteration_start_ns = clock[0]
            starts.append(clock[0])
            clock[0] += duration
            pause = wait(user)
            assert pause >= 0
            clock[0] += round(pause * SECOND)

    for (before, after), duration in zip(pairwise(starts), durations, strict=False):
        assert after == max(before + SECOND, before + duration)


def test_throughput_is_pacing_by_the_reciprocal() -> None:
    user = User()
    user.iteration_start_ns = waits.monotonic_ns()

    assert 0.2 < constant_throughput(4)(user) <= 0.25


@pytest.mark.parametrize(
    "make",
    [
        lambda: between(2, 1),
        lambda: between(-1, 1),
        lambda: between(float("nan"), 1),
        lambda: constant(-0.1),
        lambda: constant(float("nan")),
        lambda: constant_pacing(0),
        lambda: constant_throughput(0),
        lambda: constant_throughput(-1),
    ],
)
def test_a_wait_that_cannot_be_is_refused_with_what_to_give(make) -> None:
    with pytest.raises(ValueError, match="give"):
        make()


def test_a_wait_in_the_class_is_called_with_the_user() -> None:
    class Visitor(User):
        wait = constant(3)

    class Own(User):
        def wait(self) -> float:
            return 4.0

    assert (Visitor.wait(Visitor()), Own.wait(Own())) == (3, 4.0)
