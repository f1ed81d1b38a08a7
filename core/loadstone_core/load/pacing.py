"""Say when one slot's number of users changes under a profile, so that all slots together follow it exactly.

When iterations are due belongs to `profile`; starting and stopping users belongs to the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.load.share import share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_core.load.profile import Profile, Segment


def spawn_due_ns(profile: Profile, index: int, parts: int, user: int) -> int | None:
    """Return the earliest moment at which part `index` of `parts` has more than `user` users; None if it never has.

    User `user` (0-based) of the part is the user `index + user * parts` of the whole load.
    """
    level = index + user * parts + 1
    for segment in profile.segments:
        passed = _passed_when_reached(segment, level)
        if passed < segment.duration_ns:
            due = segment.start_ns + passed
            return due if due < profile.bound_ns else None
    return None


def targets(profile: Profile, index: int, parts: int) -> Iterator[tuple[int, int]]:
    """Yield (moment in ns, users of the part from then on) at each change, in order, up to the end of the profile.

    At any moment before the end the users of all parts sum to `profile.value_at`. The end itself is no change: how
    users stop has rules of its own.
    """
    held = 0
    for segment in profile.segments:
        for at_ns, users in _changes(segment, index, parts):
            if at_ns >= profile.bound_ns:
                return
            if users != held:
                held = users
                yield at_ns, users


def spawned(profile: Profile, index: int, parts: int) -> tuple[int, int]:
    """Return the first moment at which a part has as many users as ever, and how many these are."""
    # Of equal ones, `max` returns the first.
    return max(targets(profile, index, parts), key=lambda change: change[1], default=(0, 0))


def _changes(segment: Segment, index: int, parts: int) -> Iterator[tuple[int, int]]:
    users = share(segment.from_value, index, parts)
    yield segment.start_ns, users
    last = share(segment.to_value, index, parts)
    # What is reached at the very end of a segment is where the next one starts, and said by it.
    for grown in range(users + 1, last + 1):
        passed = _passed_when_reached(segment, index + (grown - 1) * parts + 1)
        if passed < segment.duration_ns:
            yield segment.start_ns + passed, grown
    for left in range(users - 1, last - 1, -1):
        passed = _passed_when_left(segment, index + left * parts + 1)
        if passed < segment.duration_ns:
            yield segment.start_ns + passed, left


def _passed_when_reached(segment: Segment, level: int) -> int:
    """Return after how many nanoseconds a segment's value is at least `level`; its whole duration if it never is."""
    missing, rise = level - segment.from_value, segment.to_value - segment.from_value
    if missing <= 0:
        return 0
    return segment.duration_ns if missing > rise else -(-missing * segment.duration_ns // rise)


def _passed_when_left(segment: Segment, level: int) -> int:
    """Return after how many nanoseconds a falling segment, at or above `level` at its start, is below it."""
    above, fall = segment.from_value - level, segment.from_value - segment.to_value
    return above * segment.duration_ns // fall + 1
