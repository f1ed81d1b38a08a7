"""Change a load that is under way: what is asked from a moment on, as a load of its own that begins there.

The load until then stays what it was, so planned and achieved follow the history of what was asked. Where a line is cut
its value is rounded down: a part of a user is never asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loadstone_core.load.profile import FOREVER_NS, Model, Profile, Segment
from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadstone_core.load.profile import LoadProfile
    from loadstone_core.spec.model import ScenarioSpec


@dataclass(frozen=True, slots=True)
class Aim:
    """What a scenario with a constant load is to reach.

    Attributes:
        scenario: its name.
        value: users, or iterations a second.
        spawn_rate: users started a second; None for all at once. Fewer users are always there at once.
        is_rate: the value is a rate. An aim of the other kind than the scenario's load is not for this run.
    """

    scenario: str
    value: int
    spawn_rate: int | None = None
    is_rate: bool = False


def aims_of(specs: Sequence[ScenarioSpec]) -> tuple[Aim, ...]:
    """Return what may change in a run: users and rates; not stages, and not how many users do their own iterations."""
    return tuple(
        Aim(each.name, value, each.load.spawn_rate, is_rate=each.load.rate is not None)
        for each in specs
        if (value := each.load.users or each.load.rate) and each.load.iterations_per_user is None
    )


def can_resize(loads: Iterable[LoadProfile]) -> bool:
    """Say whether workers may be added to a run, or taken away, while it makes these loads.

    Iterations that are counted stay with the engine that they were granted to, so such a run keeps its workers.
    """
    return all(each.model is not Model.ITERATIONS for each in loads)


def can_aim(load: LoadProfile) -> bool:
    """Say whether a load has a value to be reached, and not stages or users with a number of iterations each."""
    last = load.profile.segments[-1]
    # Users that start by a rate may have no time to come to be as many as they should.
    is_one = last.from_value == last.to_value or load.spawn_rate is not None
    return is_one and load.iterations_per_user is None


def aimed_at(load: LoadProfile, passed_ns: int | None, aim: Aim) -> LoadProfile:
    """Return what is asked to reach an aim once `passed_ns` of a load have passed; None: it has not begun."""
    end_ns = _left_ns(load.profile, passed_ns or 0)
    bound_ns = FOREVER_NS if end_ns is None else end_ns
    value = 0 if passed_ns is None else load.profile.value_at(passed_ns)
    segments, ramp_ns = [], 0
    if load.model is not Model.RATE and aim.spawn_rate and aim.value > value:
        ramp_ns = -(-(aim.value - value) * SECOND // aim.spawn_rate)
        segments.append(Segment(0, ramp_ns, value, aim.value))
    if ramp_ns < bound_ns:
        segments.append(Segment(ramp_ns, bound_ns - ramp_ns, aim.value, aim.value))
    return replace(load, profile=Profile(tuple(segments), end_ns), spawn_rate=aim.spawn_rate)


def come_back(load: LoadProfile) -> LoadProfile:
    """Return a load that begins again after a pause: where users have a rate at which they start, they do so anew."""
    if load.model is Model.RATE or load.spawn_rate is None or not can_aim(load):
        return load
    return aimed_at(load, None, Aim("", load.profile.segments[-1].to_value, load.spawn_rate))


def over(load: LoadProfile) -> LoadProfile:
    """Return a load like this one that ends as soon as it begins."""
    return replace(load, profile=Profile((Segment(0, 1, 0, 0),), 1))


def rest_of(load: LoadProfile, passed_ns: int) -> LoadProfile:
    """Return what is left of a load once `passed_ns` have passed, and is to be done some time later."""
    segments = []
    for segment in load.profile.segments:
        if segment.end_ns > passed_ns:
            start_ns = max(segment.start_ns, passed_ns)
            value = load.profile.value_at(start_ns) if start_ns > segment.start_ns else segment.from_value
            segments.append(Segment(start_ns - passed_ns, segment.end_ns - start_ns, value, segment.to_value))
    end_ns = _left_ns(load.profile, passed_ns)
    if end_ns is None:
        # Without an end the last part is a constant, and lasts as long as it did.
        segments[-1] = replace(segments[-1], duration_ns=FOREVER_NS - segments[-1].start_ns)
    return replace(load, profile=Profile(tuple(segments), end_ns))


def at_rest(load: LoadProfile) -> LoadProfile:
    """Return a load like this one of which nothing is asked, without an end."""
    return replace(load, profile=Profile((Segment(0, FOREVER_NS, 0, 0),), None))


def _left_ns(profile: Profile, passed_ns: int) -> int | None:
    return None if profile.end_ns is None else max(0, profile.end_ns - passed_ns)
