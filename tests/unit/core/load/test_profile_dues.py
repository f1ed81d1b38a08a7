"""When the iterations of a rate profile are due: exactly, fast, once each, and none beyond the plan."""

from itertools import islice, pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from loadstone_core.load.profile import Profile, Segment, due_ns, dues, next_number, planned_iterations

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND


def profile_through(pieces, cut=0):
    """Make a profile of (duration, from, to) pieces that ends `cut` before its last segment does."""
    segments, reached = [], 0
    for duration, first, last in pieces:
        segments.append(Segment(reached, duration, first, last))
        reached += duration
    return Profile(tuple(segments), max(0, reached - cut))


def profiles(longest, highest):
    value = st.integers(0, highest)
    piece = st.tuples(st.integers(1, longest), value, value)
    return st.builds(profile_through, st.lists(piece, max_size=4), st.one_of(st.just(0), st.integers(0, longest)))


# Short ones with a nanosecond's detail, and long ones as they are run.
any_profile = st.one_of(profiles(50, 5), profiles(4 * HOUR, 100_000))
few_iterations = st.one_of(profiles(3 * SECOND, 30), profiles(50, 10**9))


@given(any_profile, st.integers(0, 10**6), st.data())
def test_an_iteration_is_due_just_before_the_integral_exceeds_its_number(profile, number, data):
    planned = planned_iterations(profile)
    assume(planned)
    number = data.draw(st.sampled_from([0, planned - 1, number % planned]))

    due = due_ns(profile, number)

    assert due is not None
    assert profile.integral(due) <= number * SECOND < profile.integral(due + 1)


def test_a_due_is_exact_where_the_rounded_root_is_not():
    profile = profile_through([(1, 2 * SECOND - 1, 0), (8, 0, 1)])

    # Half a value-nanosecond remains for the ramp, whose integral is t^2 / 16: t is the root of 8, rounded down.
    assert due_ns(profile, 1) == 1 + 2


@given(any_profile, st.integers(0, 3))
def test_nothing_is_due_beyond_what_is_planned(profile, beyond):
    assert due_ns(profile, planned_iterations(profile) + beyond) is None


@given(few_iterations)
def test_as_many_iterations_are_due_as_are_planned(profile):
    assert len(list(dues(profile, 0, 1))) == planned_iterations(profile)


@given(any_profile, st.integers(1, 50), st.data())
def test_the_fast_dues_are_the_exact_ones_within_a_nanosecond(profile, step, data):
    planned = planned_iterations(profile)
    first = data.draw(st.integers(0, planned))

    for number, due in zip(range(first, planned, step), islice(dues(profile, first, step), 50), strict=False):
        exact = due_ns(profile, number)
        assert exact is not None
        assert abs(due - exact) <= 1


@given(few_iterations, st.integers(1, 7))
def test_the_slots_together_do_every_iteration_once_and_in_order(profile, slots):
    by_slot = [list(dues(profile, slot, slots)) for slot in range(slots)]

    assert sorted(due for each in by_slot for due in each) == list(dues(profile, 0, 1))
    assert all(earlier <= later for each in by_slot for earlier, later in pairwise(each))


@given(few_iterations, st.integers(0, 100), st.integers(1, 5))
def test_a_limit_ends_the_dues_at_its_number(profile, limit, slots):
    limited = [due for slot in range(slots) for due in dues(profile, slot, slots, limit=limit)]

    assert sorted(limited) == list(islice(dues(profile, 0, 1), limit))


@given(few_iterations, st.integers(0, 10 * SECOND), st.integers(1, 5), st.data())
def test_a_late_engine_goes_on_with_its_first_iteration_that_is_not_over(profile, late, slots, data):
    slot = data.draw(st.integers(0, slots - 1))

    first = next_number(profile, late, slot, slots)

    done = [
        number for number in range(slot, planned_iterations(profile), slots) if (due_ns(profile, number) or 0) < late
    ]
    assert first == slot + slots * len(done)


def test_dues_stay_exact_to_a_microsecond_at_the_end_of_a_day_of_ramps():
    day = 24 * HOUR
    profile = profile_through([(day, 0, 100_000), (day, 100_000, 100_000), (day, 100_000, 0)])
    planned = planned_iterations(profile)

    for first in (0, planned // 3, planned // 2, planned - 1_000):
        numbers = range(first, first + 1_000)
        for number, due in zip(numbers, islice(dues(profile, first, 1), 1_000), strict=True):
            assert abs(due - (due_ns(profile, number) or 0)) <= 1


def test_a_due_a_hair_before_the_end_is_not_rounded_beyond_it():
    # Twice the area is a multiple of 2 * 10^9 and one more, so the last iteration is due 5 * 10^-6 ns before the end.
    duration = pow(100_001, -1, 2 * SECOND) + 2 * SECOND * 10**4
    profile = profile_through([(duration, 1, 100_000)])
    last = planned_iterations(profile) - 1

    assert list(dues(profile, last, 1)) == [due_ns(profile, last)] == [duration - 1]
