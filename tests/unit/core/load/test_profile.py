"""Laws and examples of planned load over time."""

from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.profile import (
    FOREVER_NS,
    LoadProfile,
    Model,
    Profile,
    Segment,
    dues,
    planned_iterations,
    profile_of,
)
from loadstone_core.spec.model import Load, Ramp, Stage

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND

NOTHING = Load(
    target=None,
    users=None,
    spawn_rate=None,
    rate=None,
    stages=(),
    duration_ns=None,
    iterations=None,
    graceful_stop_ns=0,
    tolerance_ppm=10_000,
)


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
moments = st.integers(-10, 20 * HOUR)


@given(any_profile, moments, moments)
def test_the_integral_never_falls(profile, one, other):
    earlier, later = sorted((one, other))

    assert 0 <= profile.integral(earlier) <= profile.integral(later)
    assert 0 <= profile.whole_integral(earlier) <= profile.whole_integral(later)


def whole_area(segment, passed):
    """Sum up (users x time) between the moments at which the line crosses a whole number."""
    rise = segment.to_value - segment.from_value
    levels = range(min(segment.from_value, segment.to_value), max(segment.from_value, segment.to_value) + 1)
    crossings = [Fraction((level - segment.from_value) * segment.duration_ns, rise) for level in levels if rise]
    cuts = sorted({Fraction(0), Fraction(passed), *(each for each in crossings if each < passed)})
    return sum(
        (end - start) * floor(segment.from_value + Fraction(rise, segment.duration_ns) * (start + end) / 2)
        for start, end in pairwise(cuts)
    )


@given(profiles(50, 8), st.integers(0, 250))
def test_the_integral_of_whole_users_is_the_time_they_are_there(profile, until):
    until = min(until, profile.bound_ns)
    begun = [each for each in profile.segments if each.start_ns < until]

    assert profile.whole_integral(until) == sum(
        whole_area(each, min(until - each.start_ns, each.duration_ns)) for each in begun
    )


@given(any_profile, moments, moments)
def test_the_integral_of_whole_users_between_two_moments_is_the_difference_of_both(profile, one, other):
    since, until = sorted((one, other))

    between = profile.whole_integral(until, since_ns=since)
    assert between == profile.whole_integral(until) - profile.whole_integral(since)
    assert profile.whole_integral(since, since_ns=until) == 0


@given(any_profile, st.integers(0, 20 * HOUR), st.floats(0, 1))
def test_as_long_as_the_value_stays_the_same_users_are_there_all_the_time(profile, at, part):
    until = min(profile.steady_until(at), max(at, profile.bound_ns) + 1)
    between = at + int((until - at) * part)

    assert at <= between <= until
    whole, begun = (profile.whole_integral(end, since_ns=at) for end in (until, between))
    users = whole / max(1, until - at)
    assert users.denominator == 1
    assert begun == users * (between - at)


def test_a_ramp_is_steady_between_two_whole_users_and_a_profile_for_ever_after_its_end():
    up, down = profile_through([(30, 0, 3), (30, 5, 2), (10, 2, 2)]), profile_through([(30, 3, 0)])

    assert [up.steady_until(at) for at in (0, 9, 10, 29, 30, 40, 60, 70)] == [10, 10, 20, 30, 40, 50, 70, FOREVER_NS]
    assert [down.steady_until(at) for at in (0, 9, 10, 29, 30)] == [10, 10, 20, 30, FOREVER_NS]


@given(any_profile, moments)
def test_the_value_is_the_line_rounded_down_and_nothing_outside(profile, at):
    if not 0 <= at <= profile.bound_ns or not profile.segments:
        assert profile.value_at(at) == 0
        return

    segment = [each for each in profile.segments if each.start_ns <= at][-1]
    passed = Fraction(at - segment.start_ns, segment.duration_ns)
    line = segment.from_value + passed * (segment.to_value - segment.from_value)
    assert profile.value_at(at) == floor(line)


@given(any_profile)
def test_no_value_is_above_the_peak(profile):
    ends = [moment for each in profile.segments for moment in (each.start_ns, each.end_ns - 1, each.end_ns)]

    assert all(profile.value_at(at) <= profile.peak for at in ends)


def test_a_segment_reaches_its_exact_end_value():
    profile = profile_through([(3, 0, 10)])

    assert [profile.value_at(at) for at in range(-1, 5)] == [0, 0, 3, 6, 10, 0]


@pytest.mark.parametrize(
    ("segments", "end_ns"),
    [
        ((Segment(1, 5, 1, 1),), 6),
        ((Segment(0, 5, 1, 1), Segment(6, 5, 1, 1)), 11),
        ((Segment(0, 0, 1, 1),), 0),
        ((Segment(0, 5, -1, 1),), 5),
        ((Segment(0, 5, 1, -1),), 5),
        ((Segment(0, 5, 1, 1),), 6),
        ((Segment(0, 5, 1, 1),), None),
    ],
)
def test_a_profile_with_a_gap_or_a_negative_value_is_refused(segments, end_ns):
    with pytest.raises(ValueError, match="profile"):
        Profile(segments, end_ns)


def test_users_come_at_once_without_a_spawn_rate():
    made = profile_of(replace(NOTHING, users=50, duration_ns=30 * SECOND))

    assert made == LoadProfile(Model.USERS, Profile((Segment(0, 30 * SECOND, 50, 50),), 30 * SECOND), None)
    assert made.planned() == 1_500


def test_users_come_linearly_and_the_ramp_belongs_to_the_duration():
    made = profile_of(replace(NOTHING, users=50, spawn_rate=25, duration_ns=30 * SECOND))

    assert made.profile.segments == (Segment(0, 2 * SECOND, 0, 50), Segment(2 * SECOND, 28 * SECOND, 50, 50))
    # Users are whole: the ramp of two seconds has 49 user-seconds, not 50.
    assert made.planned() == 49 + 28 * 50
    assert made.planned(2 * SECOND) == 49


def test_a_ramp_longer_than_the_duration_is_cut_off():
    made = profile_of(replace(NOTHING, users=100, spawn_rate=3, duration_ns=10 * SECOND))

    assert made.profile.end_ns == 10 * SECOND
    assert made.profile.value_at(10 * SECOND) == 29
    assert made.profile.value_at(10 * SECOND + 1) == 0


def test_stages_start_from_nothing_and_go_on_from_each_other():
    stages = (
        Stage(10 * SECOND, users=100, rate=None, ramp=Ramp.LINEAR),
        Stage(0, users=70, rate=None, ramp=Ramp.LINEAR),
        Stage(5 * SECOND, users=20, rate=None, ramp=Ramp.LINEAR),
        Stage(5 * SECOND, users=40, rate=None, ramp=Ramp.STEP),
    )

    made = profile_of(replace(NOTHING, stages=stages))

    assert made.model is Model.USERS
    assert made.profile == profile_through([(10 * SECOND, 0, 100), (5 * SECOND, 70, 20), (5 * SECOND, 40, 40)])


def test_stages_of_rates_make_an_open_model():
    stages = (Stage(10 * SECOND, users=None, rate=100, ramp=Ramp.LINEAR),)

    made = profile_of(replace(NOTHING, stages=stages))

    assert made.model is Model.RATE
    assert made.planned() == 500
    assert made.planned(5 * SECOND) == 125


def test_a_rate_is_planned_in_iterations():
    made = profile_of(replace(NOTHING, rate=200, duration_ns=30 * SECOND))

    assert made == LoadProfile(Model.RATE, Profile((Segment(0, 30 * SECOND, 200, 200),), 30 * SECOND), None)
    assert made.planned() == 6_000
    assert list(islice(dues(made.profile, 0, 1), 3)) == [0, 5_000_000, 10_000_000]


@given(st.integers(1, 10**8), st.integers(1, 10**9))
def test_a_rate_bounded_by_iterations_alone_ends_when_they_are_due(rate, iterations):
    made = profile_of(replace(NOTHING, rate=rate, iterations=iterations))

    assert made.planned() == iterations
    assert planned_iterations(made.profile) == iterations


def test_iterations_bound_a_rate_that_could_do_more():
    made = profile_of(replace(NOTHING, rate=100, duration_ns=10 * SECOND, iterations=300))

    assert made.model is Model.RATE
    assert made.planned() == 300
    assert made.planned(2 * SECOND) == 200


def test_a_rate_of_nothing_never_ends_for_its_iterations():
    made = profile_of(replace(NOTHING, rate=0, iterations=10))

    assert made.profile.end_ns is None
    assert made.planned() == 0


def test_iterations_are_done_by_one_user_unless_there_are_more():
    made = profile_of(replace(NOTHING, iterations=1_000))

    assert made == LoadProfile(Model.ITERATIONS, Profile((Segment(0, FOREVER_NS, 1, 1),), None), 1_000)
    assert made.planned() == made.planned(0) == 1_000


def test_iterations_without_an_end_keep_their_users_after_the_ramp():
    made = profile_of(replace(NOTHING, users=20, spawn_rate=10, iterations=1_000))

    assert made.profile.end_ns is None
    assert [made.profile.value_at(at) for at in (SECOND, 2 * SECOND, 1_000 * HOUR)] == [10, 20, 20]


def test_iterations_with_a_duration_end_with_it():
    made = profile_of(replace(NOTHING, users=2, iterations=1_000, duration_ns=5 * SECOND))

    assert (made.model, made.profile.end_ns, made.planned()) == (Model.ITERATIONS, 5 * SECOND, 1_000)


def test_no_users_are_a_load_of_nothing():
    made = profile_of(replace(NOTHING, users=0, spawn_rate=5, duration_ns=5 * SECOND))

    assert made.planned() == 0
    assert made.profile.peak == 0


def test_each_user_s_iterations_add_up_and_none_has_to_be_granted():
    made = profile_of(replace(NOTHING, users=7, iterations_per_user=5))

    assert (made.model, made.iterations, made.iterations_per_user, made.planned()) == (Model.ITERATIONS, 35, 5, 35)
    assert made.shared_iterations == 0
    assert profile_of(replace(NOTHING, users=7, iterations=35)).shared_iterations == 35
    assert profile_of(replace(NOTHING, users=7, duration_ns=SECOND)).shared_iterations == 0


def test_an_open_model_has_the_users_that_were_asked_for():
    for load in (
        replace(NOTHING, rate=5, duration_ns=SECOND),
        replace(NOTHING, stages=(Stage(SECOND, None, rate=5, ramp=Ramp.STEP),)),
    ):
        made = profile_of(replace(load, preallocated_users=3, max_users=9))
        assert (made.model, made.preallocated_users, made.max_users) == (Model.RATE, 3, 9)
        assert made.profile == profile_of(load).profile


def test_a_shape_begins_with_nobody_and_may_have_as_many_users_as_it_is_allowed():
    shaped = profile_of(replace(NOTHING, duration_ns=30 * SECOND, shape_users=9))

    assert (shaped.model, shaped.is_shaped, shaped.most_users) == (Model.USERS, True, 9)
    assert (shaped.profile.peak, shaped.profile.end_ns, shaped.planned()) == (0, 30 * SECOND, 0)
    assert profile_of(replace(NOTHING, shape_users=9)).profile.end_ns is None
    assert profile_of(replace(NOTHING, duration_ns=SECOND, users=4)).most_users == 4
