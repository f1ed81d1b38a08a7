"""Laws of changing a load that is under way."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.change import Aim, aimed_at, aims_of, at_rest, can_aim, come_back, over, rest_of
from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.spec.model import Load, Ramp, ScenarioSpec, Stage

SECOND = 1_000_000_000


def lines(pieces, end_ns):
    segments, reached = [], 0
    for duration, first, last in pieces:
        segments.append(Segment(reached, duration, first, last))
        reached += duration
    if end_ns is None:
        segments.append(Segment(reached, FOREVER_NS - reached, pieces[-1][2], pieces[-1][2]))
    return Profile(tuple(segments), reached if end_ns is not None else None)


values = st.integers(0, 500)
pieces = st.lists(st.tuples(st.integers(1, 90 * SECOND), values, values), min_size=1, max_size=4)
profiles = st.builds(lines, pieces, st.sampled_from([None, 0]))
loads = st.builds(LoadProfile, st.sampled_from([Model.USERS, Model.RATE]), profiles, st.none())
moments = st.integers(0, 400 * SECOND)
speeds = st.none() | st.integers(1, 50)


@given(loads, moments, st.integers(1, 500), speeds, moments)
def test_an_aim_is_reached_from_where_the_load_is_and_the_end_stays(load, passed, value, speed, later):
    end = load.profile.end_ns
    changed = aimed_at(load, passed, Aim("a", value, speed))

    assert changed.profile.end_ns == (None if end is None else max(0, end - passed))
    if changed.profile.bound_ns == 0:
        return
    before = load.profile.value_at(passed)
    ramps = load.model is Model.USERS and speed is not None and value > before
    assert changed.profile.value_at(0) == (before if ramps else value)
    at = min(later, changed.profile.bound_ns)
    seen = changed.profile.value_at(at)
    # Never more than the old or the new asks for, and never faster than asked.
    assert min(before, value) <= seen <= max(before, value)
    assert not ramps or seen <= before + speed * at / SECOND


@given(loads, moments, moments)
def test_what_is_left_of_a_load_is_what_would_have_come_but_for_a_part_of_a_user(load, passed, later):
    if passed >= load.profile.bound_ns:
        return
    left = rest_of(load, passed)

    assert left.profile.end_ns == (None if load.profile.end_ns is None else load.profile.end_ns - passed)
    at = min(later, left.profile.bound_ns - 1)
    assert -1 <= left.profile.value_at(at) - load.profile.value_at(passed + at) <= 1
    assert left.profile.peak <= load.profile.peak


def test_of_a_load_at_rest_nothing_is_asked_for_ever():
    load = LoadProfile(Model.RATE, lines([(SECOND, 5, 5)], 0), None, max_users=7)
    rest = at_rest(load)

    assert (rest.profile.peak, rest.profile.end_ns, rest.max_users, rest.planned(10**18)) == (0, None, 7, 0)


def test_what_has_not_begun_begins_from_nothing():
    load = LoadProfile(Model.USERS, lines([(10 * SECOND, 9, 9)], 0), None)

    assert aimed_at(load, None, Aim("a", 6, 2)).profile.segments == (
        Segment(0, 3 * SECOND, 0, 6),
        Segment(3 * SECOND, 7 * SECOND, 6, 6),
    )


def test_users_and_rates_may_change_and_stages_and_iterations_of_each_user_may_not():
    load = Load(
        target=None,
        users=None,
        spawn_rate=None,
        rate=None,
        stages=(),
        duration_ns=SECOND,
        iterations=None,
        graceful_stop_ns=0,
        tolerance_ppm=0,
    )
    specs = [
        ScenarioSpec(name=name, user=None, start_ns=0, start_after=None, load=replace(load, **fields))
        for name, fields in (
            ("users", {"users": 5, "spawn_rate": 2}),
            ("rate", {"rate": 9}),
            ("stages", {"stages": (Stage(SECOND, 5, rate=None, ramp=Ramp.STEP),)}),
            ("each", {"users": 5, "iterations_per_user": 2}),
        )
    ]

    assert aims_of(specs) == (Aim("users", 5, 2), Aim("rate", 9, None, is_rate=True))
    ramp = LoadProfile(Model.USERS, Profile((Segment(0, 5, 0, 9),), 5), None)
    assert not can_aim(ramp)
    assert not can_aim(replace(at_rest(ramp), iterations_per_user=3))
    assert can_aim(at_rest(ramp))
    assert can_aim(replace(ramp, spawn_rate=5))


def test_users_come_back_at_the_rate_at_which_they_start_and_other_loads_as_they_are() -> None:
    left = LoadProfile(Model.USERS, Profile((Segment(0, 20 * SECOND, 10, 10),), 20 * SECOND), None, spawn_rate=5)

    back = come_back(left)
    assert [back.profile.value_at(seconds * SECOND) for seconds in (0, 1, 2, 20)] == [0, 5, 10, 10]
    assert back.profile.end_ns == 20 * SECOND
    for same in (
        replace(left, spawn_rate=None),
        replace(left, model=Model.RATE),
        replace(left, profile=Profile((Segment(0, 5, 9, 1),), 5), spawn_rate=None),
    ):
        assert come_back(same) == same


def test_a_load_that_is_over_ends_as_it_begins_with_nobody() -> None:
    left = LoadProfile(Model.USERS, Profile((Segment(0, 20 * SECOND, 10, 10),), 20 * SECOND), None)

    assert (over(left).profile.peak, over(left).profile.end_ns) == (0, 1)
