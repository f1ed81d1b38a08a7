"""Laws of a slot's part of a profile of users."""

from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.pacing import spawn_due_ns, spawned, targets
from loadstone_core.load.profile import Profile, Segment
from loadstone_core.load.share import share

SECOND = 1_000_000_000


def profile_through(pieces, cut):
    segments, reached = [], 0
    for duration, first, last in pieces:
        segments.append(Segment(reached, duration, first, last))
        reached += duration
    return Profile(tuple(segments), max(0, reached - cut))


pieces = st.lists(st.tuples(st.integers(1, 25), st.integers(0, 12), st.integers(0, 12)), max_size=4)
profiles = st.builds(profile_through, pieces, st.integers(0, 20))
slots = st.integers(1, 5).flatmap(lambda parts: st.tuples(st.integers(0, parts - 1), st.just(parts)))


def replay(profile, index, parts):
    """Return the slot's users at every nanosecond before the end."""
    changes = dict(targets(profile, index, parts))
    users, seen = 0, []
    for at in range(profile.bound_ns):
        users = changes.get(at, users)
        seen.append(users)
    return seen


@given(profiles, slots)
def test_a_slot_has_its_share_of_the_profile_at_every_moment(profile, slot):
    index, parts = slot

    expected = [share(profile.value_at(at), index, parts) for at in range(profile.bound_ns)]

    assert replay(profile, index, parts) == expected


@given(profiles, st.integers(1, 5))
def test_all_slots_together_follow_the_profile_exactly(profile, parts):
    together = [sum(users) for users in zip(*(replay(profile, index, parts) for index in range(parts)), strict=True)]

    assert together == [profile.value_at(at) for at in range(profile.bound_ns)]


@given(profiles, slots)
def test_changes_come_in_order_and_change_something(profile, slot):
    changes = list(targets(profile, *slot))

    assert [at for at, _ in changes] == sorted(at for at, _ in changes)
    assert all(0 <= at < profile.bound_ns for at, _ in changes)
    assert all(users != before for (_, users), (_, before) in zip(changes, [(0, 0), *changes], strict=False))


@given(profiles, slots, st.integers(0, 12))
def test_a_user_is_due_when_the_share_first_exceeds_its_number(profile, slot, user):
    index, parts = slot
    reached = [at for at in range(profile.bound_ns) if share(profile.value_at(at), index, parts) > user]

    assert spawn_due_ns(profile, index, parts, user) == (reached[0] if reached else None)


def test_a_ramp_starts_the_users_of_two_slots_in_turns():
    profile = Profile((Segment(0, 2 * SECOND, 0, 4), Segment(2 * SECOND, SECOND, 4, 4)), 3 * SECOND)

    assert list(targets(profile, 0, 2)) == [(SECOND // 2, 1), (3 * SECOND // 2, 2)]
    assert list(targets(profile, 1, 2)) == [(SECOND, 1), (2 * SECOND, 2)]
    assert [spawn_due_ns(profile, 1, 2, user) for user in range(3)] == [SECOND, 2 * SECOND, None]


@given(profiles, slots)
def test_all_users_are_there_when_a_slot_has_the_most_for_the_first_time(profile, slot):
    seen = replay(profile, *slot)
    most = max(seen, default=0)

    assert spawned(profile, *slot) == ((seen.index(most), most) if most else (0, 0))
