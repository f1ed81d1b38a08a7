"""Describe a planned load over time: users or iterations per second, linear in pieces, in exact integers.

What a slot does of it belongs to `pacing`; what was achieved belongs to the statistics.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import islice
from math import ceil, floor, isqrt, sqrt
from typing import TYPE_CHECKING, Final, assert_never

from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_core.spec.model import Load

# A load without an end is planned for as long as an int64 of nanoseconds lasts, 292 years.
FOREVER_NS: Final = 2**63 - 1


class Model(StrEnum):
    """What the load is counted in, and so what planned and achieved mean."""

    USERS = "users"
    RATE = "rate"
    ITERATIONS = "iterations"


@dataclass(frozen=True, slots=True)
class Segment:
    """A straight line from one value to another; the values are users or iterations per second.

    Attributes:
        start_ns: since the start of load.
        duration_ns: above zero.
        from_value: at the start.
        to_value: reached at the end.
    """

    start_ns: int
    duration_ns: int
    from_value: int
    to_value: int

    @property
    def end_ns(self) -> int:
        """The moment at which `to_value` is reached."""
        return self.start_ns + self.duration_ns

    @property
    def doubled_area(self) -> int:
        """Twice the integral of the whole segment in value-nanoseconds: a whole number, unlike the integral."""
        return (self.from_value + self.to_value) * self.duration_ns


@dataclass(frozen=True, slots=True)
class Profile:
    """The load from the start to `end_ns` (None: without end): segments without gaps that reach at least that far."""

    segments: tuple[Segment, ...]
    end_ns: int | None

    def __post_init__(self) -> None:
        """Refuse segments that leave a gap, or end before the profile does."""
        reached = 0
        for segment in self.segments:
            if segment.start_ns != reached or segment.duration_ns <= 0 or min(segment.from_value, segment.to_value) < 0:
                raise ValueError(f"segment {segment} does not continue the profile at {reached} ns")
            reached = segment.end_ns
        if reached < self.bound_ns:
            raise ValueError(f"the segments end at {reached} ns, before the profile at {self.bound_ns} ns")

    @property
    def bound_ns(self) -> int:
        """The end as a number: 292 years for a profile without end."""
        return FOREVER_NS if self.end_ns is None else self.end_ns

    @property
    def peak(self) -> int:
        """The highest value of any segment."""
        return max((max(each.from_value, each.to_value) for each in self.segments), default=0)

    def value_at(self, at_ns: int) -> int:
        """Return the value at a moment, rounded down: zero before the start and after the end.

        Where one segment ends and another starts, the later one counts; at the end of the profile, the last one.
        """
        if not 0 <= at_ns <= self.bound_ns or not self.segments:
            return 0
        segment = self.segments[bisect_right(self.segments, at_ns, key=_start) - 1]
        rise = segment.to_value - segment.from_value
        return segment.from_value + rise * (at_ns - segment.start_ns) // segment.duration_ns

    def integral(self, until_ns: int) -> Fraction:
        """Return the area under the line up to a moment, exactly, in value-nanoseconds.

        Of a rate profile this is 10^9 times the iterations; it stands still after the end.
        """
        return sum((_area(segment, until) for segment, until in self._parts(until_ns)), Fraction(0))

    def whole_integral(self, until_ns: int, *, since_ns: int = 0) -> Fraction:
        """Return the area under `value_at`, the line rounded down, between two moments, exactly, in value-nanoseconds.

        Of a users profile this is 10^9 times the planned user-seconds: there are no fractions of users.
        """
        until_ns, area = min(until_ns, self.bound_ns), Fraction(0)
        since_ns = min(since_ns, until_ns)
        first = max(0, bisect_right(self.segments, since_ns, key=_start) - 1)
        for segment in islice(self.segments, first, None):
            if segment.start_ns >= until_ns:
                break
            area += _whole_area(segment, min(until_ns - segment.start_ns, segment.duration_ns))
            if segment.start_ns < since_ns:
                area -= _whole_area(segment, min(since_ns - segment.start_ns, segment.duration_ns))
        return area

    def steady_until(self, at_ns: int) -> int:
        """Return until when `value_at` stays what it is just after a moment that is not before the start."""
        if at_ns >= self.bound_ns:
            return FOREVER_NS
        segment = self.segments[bisect_right(self.segments, at_ns, key=_start) - 1]
        return min(segment.start_ns + _steady_until(segment, at_ns - segment.start_ns), self.bound_ns)

    def _parts(self, until_ns: int) -> Iterator[tuple[Segment, int]]:
        """Yield each segment that has begun, and how much of it has passed."""
        until_ns = min(until_ns, self.bound_ns)
        for segment in self.segments:
            if segment.start_ns >= until_ns:
                return
            yield segment, min(until_ns - segment.start_ns, segment.duration_ns)


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """A profile, what it counts, and what ends it beside its time.

    Attributes:
        iterations: ends the load when so many have been started (rate) or done, in all.
        iterations_per_user: the iterations are not shared: each user does so many.
        preallocated_users: of a rate, made before the load begins.
        max_users: of a rate, or of a shape; None for a default by the rate.
        spawn_rate: of users, started a second; None for all at once.
        is_shaped: a shape in the script says during the run how many users there are; until then none.
    """

    model: Model
    profile: Profile
    iterations: int | None
    iterations_per_user: int | None = None
    preallocated_users: int = 0
    max_users: int | None = None
    spawn_rate: int | None = None
    is_shaped: bool = False

    @property
    def most_users(self) -> int:
        """The most users that a closed load may have, whoever says how many there are."""
        return self.max_users or 0 if self.is_shaped else self.profile.peak

    @property
    def shared_iterations(self) -> int:
        """How many iterations have to be granted, because any user may do any of them."""
        is_shared = self.model is Model.ITERATIONS and self.iterations_per_user is None
        return self.iterations or 0 if is_shared else 0

    def planned(self, until_ns: int | None = None) -> Fraction:
        """Return what is planned up to a moment (default: in all): user-seconds, or whole iterations.

        In the iterations model everything is planned from the start.
        """
        until_ns = self.profile.bound_ns if until_ns is None else until_ns
        match self.model:
            case Model.USERS:
                return self.profile.whole_integral(until_ns) / SECOND
            case Model.RATE:
                due = planned_iterations(self.profile, until_ns)
                return Fraction(due if self.iterations is None else min(due, self.iterations))
            case Model.ITERATIONS:
                return Fraction(self.iterations or 0)
        assert_never(self.model)


def profile_of(load: Load) -> LoadProfile:
    """Return the profile of a valid load.

    Users come linearly from none within users / spawnRate seconds, or all at once; the ramp belongs to the duration.
    Stages start from nothing, and each starts where the one before it ended.
    """
    if load.rate is not None or (load.stages and load.stages[0].rate is not None):
        return LoadProfile(
            model=Model.RATE,
            profile=_staged(load) if load.rate is None else _constant_rate(load.rate, load),
            iterations=load.iterations,
            preallocated_users=load.preallocated_users,
            max_users=load.max_users,
        )
    if load.shape_users is not None:
        end_ns = load.duration_ns
        nobody = Profile((Segment(0, FOREVER_NS if end_ns is None else end_ns, 0, 0),), end_ns)
        return LoadProfile(
            model=Model.USERS, profile=nobody, iterations=None, max_users=load.shape_users, is_shaped=True
        )
    users = 1 if load.users is None else load.users
    iterations = load.iterations if load.iterations_per_user is None else users * load.iterations_per_user
    return LoadProfile(
        model=Model.USERS if iterations is None else Model.ITERATIONS,
        profile=_staged(load) if load.stages else _ramped(users, load),
        iterations=iterations,
        iterations_per_user=load.iterations_per_user,
        spawn_rate=load.spawn_rate,
    )


def planned_iterations(profile: Profile, until_ns: int | None = None) -> int:
    """Return how many iterations of a rate profile are due before a moment (default: in all)."""
    return ceil(profile.integral(profile.bound_ns if until_ns is None else until_ns) / SECOND)


def due_ns(profile: Profile, number: int) -> int | None:
    """Return when iteration `number` (0-based) of a rate profile is due; None if the profile ends before.

    It is due where the integral begins to exceed `number` iterations, rounded down to the nanosecond: so nothing is
    due while the rate is zero, and iteration 0 is due when it first is not.
    """
    rest = 2 * SECOND * number
    for segment in profile.segments:
        if rest < segment.doubled_area:
            due = segment.start_ns + _solve(segment, rest)
            return due if due < profile.bound_ns else None
        rest -= segment.doubled_area
    return None


def dues(profile: Profile, first: int, step: int, *, limit: int | None = None) -> Iterator[int]:
    """Yield when the iterations first, first + step, ... below `limit` of a rate profile are due, in order.

    The same as `due_ns` within a nanosecond, at a fraction of a microsecond each: a slot asks for its own iterations
    with `dues(profile, slot, slots)`.
    """
    # Everything is doubled, as the area of a segment may end in a half.
    position, stride, done = 2 * SECOND * first, 2 * SECOND * step, 0
    due_in_all = planned_iterations(profile)
    end = 2 * SECOND * (due_in_all if limit is None else min(limit, due_in_all))
    for segment in profile.segments:
        within = range(position - done, min(segment.doubled_area, end - done), stride)
        yield from _dues_within(segment, within)
        position += stride * len(within)
        done += segment.doubled_area


def next_number(profile: Profile, at_ns: int, slot: int, slots: int) -> int:
    """Return the first iteration of a slot that is not due before a moment, for an engine that starts late."""
    number = planned_iterations(profile, at_ns)
    return number + (slot - number) % slots


def _start(segment: Segment) -> int:
    return segment.start_ns


def _area(segment: Segment, passed_ns: int) -> Fraction:
    rise = Fraction((segment.to_value - segment.from_value) * passed_ns, 2 * segment.duration_ns)
    return (segment.from_value + rise) * passed_ns


def _whole_area(segment: Segment, passed_ns: int) -> Fraction:
    rise = segment.to_value - segment.from_value
    if not rise:
        return Fraction(segment.from_value * passed_ns)
    reached = segment.from_value + Fraction(rise * passed_ns, segment.duration_ns)
    return (_staircase(reached) - _staircase(Fraction(segment.from_value))) * segment.duration_ns / rise


def _steady_until(segment: Segment, passed_ns: int) -> int:
    """Return how much of a segment has passed when its line comes to the next whole number, rounded down."""
    rise, duration = abs(segment.to_value - segment.from_value), segment.duration_ns
    return (rise * passed_ns // duration + 1) * duration // rise if rise else duration


def _staircase(value: Fraction) -> Fraction:
    """Return the integral of the floor function from 0 to a value."""
    whole = floor(value)
    return Fraction(whole * (whole - 1), 2) + whole * (value - whole)


def _solve(segment: Segment, doubled: int) -> int:
    """Return the last whole nanosecond of a segment at which twice its integral is not above `doubled`, exactly."""
    duration, rise = segment.duration_ns, segment.to_value - segment.from_value
    base, wanted = segment.from_value * duration, doubled * duration
    # Of 2 a t + (b - a) t^2 / D = n, in the form that neither divides by b - a nor cancels when the line falls.
    root = isqrt(base * base + rise * wanted)
    passed = min(wanted // (root + base), duration - 1) if root + base else 0
    # The root is rounded down, so the quotient may be too large, by two at most.
    while (2 * base + rise * passed) * passed > wanted:
        passed -= 1
    return passed


def _dues_within(segment: Segment, doubled: range) -> Iterator[int]:
    """Yield the moments at which twice the segment's integral reaches each of `doubled`; the hot loop of an engine."""
    start, duration = segment.start_ns, segment.duration_ns
    base, rise = segment.from_value * duration, segment.to_value - segment.from_value
    if not rise:
        slope = 2 * segment.from_value
        for each in doubled:
            yield start + each // slope
        return
    # The integers are exact; only the last step is not, and its error is far below a nanosecond.
    last = start + duration - 1
    wanted, wanted_step = doubled.start * duration, doubled.step * duration
    square, square_step = base * base + rise * wanted, rise * wanted_step
    for _ in doubled:
        due = start + int(wanted / (sqrt(square) + base)) if square else start
        yield min(due, last)
        wanted += wanted_step
        square += square_step


def _constant_rate(rate: int, load: Load) -> Profile:
    end_ns = load.duration_ns
    if end_ns is None and load.iterations is not None and rate:
        end_ns = load.iterations * SECOND // rate
    return Profile((Segment(0, FOREVER_NS if end_ns is None else end_ns, rate, rate),), end_ns)


def _staged(load: Load) -> Profile:
    # Only who plans needs the spec; an engine that follows a profile starts 10 ms earlier without it.
    from loadstone_core.spec.model import Ramp

    segments: list[Segment] = []
    reached_ns, value = 0, 0
    for stage in load.stages:
        target = (stage.users if stage.rate is None else stage.rate) or 0
        before = target if stage.ramp is Ramp.STEP else value
        value = target
        if stage.duration_ns:
            segments.append(Segment(reached_ns, stage.duration_ns, before, target))
            reached_ns += stage.duration_ns
    return Profile(tuple(segments), reached_ns)


def _ramped(users: int, load: Load) -> Profile:
    ramp_ns = -(-users * SECOND // load.spawn_rate) if load.spawn_rate else 0
    bound_ns = FOREVER_NS if load.duration_ns is None else load.duration_ns
    segments = [Segment(0, ramp_ns, 0, users)] if ramp_ns else []
    if ramp_ns < bound_ns:
        segments.append(Segment(ramp_ns, bound_ns - ramp_ns, users, users))
    return Profile(tuple(segments), load.duration_ns)
