"""One of the loads of a run: who does it, how much of it there is, and when it begins beside the others.

Times of a profile run from its scenario's start; a scenario's start runs from the start of the run's load. What was
achieved belongs to the statistics, and when a scenario that waits may begin is decided with `begun_after`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, profile_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadstone_core.spec.model import ScenarioSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One load of a run.

    Attributes:
        name: unique in the run; the label of its series.
        load: how much, from its own start.
        graceful_stop_ns: how long running iterations may take to finish after its end.
        user: name of the class whose users do it; None for all classes by their weights.
        target: base URL, or None.
        start_ns: since the start of the run's load; None while the end of `start_after` is not known.
        start_after: name of the scenario at whose end it begins.
        first_iteration: how many of a rate were due before `start_ns`, by an earlier load of the scenario.
        is_over: nothing of it is to be begun any more, before its profile says so.
        tags: only tasks with one of these are done; none: all.
        exclude_tags: tasks with one of these are not done.
    """

    name: str
    load: LoadProfile
    graceful_stop_ns: int
    user: str | None = None
    target: str | None = None
    start_ns: int | None = 0
    start_after: str | None = None
    first_iteration: int = 0
    is_over: bool = False
    tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()

    @property
    def end_ns(self) -> int | None:
        """When its time is over, since the start of the run's load; None if that is not known."""
        end_ns = self.load.profile.end_ns
        return None if end_ns is None or self.start_ns is None else self.start_ns + end_ns

    @property
    def foreseen_end_ns(self) -> int | None:
        """When it will be over, if time alone decides that."""
        return None if self.load.model is Model.ITERATIONS else self.end_ns

    def planned_user_ns(self, until_ns: int, *, since_ns: int = 0) -> Fraction:
        """Return the planned user-nanoseconds of a users profile between two moments of the run."""
        if self.start_ns is None or until_ns <= self.start_ns:
            return Fraction(0)
        since_ns = max(0, since_ns - self.start_ns)
        return self.load.profile.whole_integral(until_ns - self.start_ns, since_ns=since_ns)

    def steady_until(self, at_ns: int) -> int:
        """Return until when as many users are planned as just after a moment of the run."""
        if self.start_ns is None:
            return FOREVER_NS
        return self.start_ns + (self.load.profile.steady_until(at_ns - self.start_ns) if at_ns >= self.start_ns else 0)

    def planned(self, until_ns: int | None = None) -> Fraction:
        """Return what is planned up to a moment of the run (default: in all), in the unit of its model."""
        if until_ns is None:
            return self.load.planned()
        if self.start_ns is None or until_ns <= self.start_ns:
            return Fraction(0)
        return self.load.planned(until_ns - self.start_ns)


def scenarios_of(specs: Sequence[ScenarioSpec]) -> tuple[Scenario, ...]:
    """Return the scenarios of a valid spec, with their starts as far as time alone decides them."""
    made = (
        Scenario(
            name=each.name,
            load=profile_of(each.load),
            graceful_stop_ns=each.load.graceful_stop_ns,
            user=each.user,
            target=each.load.target,
            start_ns=each.start_ns if each.start_after is None else None,
            start_after=each.start_after,
            tags=each.tags,
            exclude_tags=each.exclude_tags,
        )
        for each in specs
    )
    return begun_after(tuple(made), {})


def begun_after(scenarios: tuple[Scenario, ...], ended_ns: Mapping[str, int]) -> tuple[Scenario, ...]:
    """Return the scenarios with a start for each that waits for one whose end is known.

    Args:
        scenarios: of one run.
        ended_ns: when scenarios were over that no time ends, by name, since the start of the run's load.
    """
    ends = dict(ended_ns)
    known = {each.name: each for each in scenarios}
    # As often as there are scenarios: a chain of them is resolved link by link.
    for _ in scenarios:
        for name, each in known.items():
            if each.foreseen_end_ns is not None:
                ends.setdefault(name, each.foreseen_end_ns)
            if each.start_ns is None and each.start_after in ends:
                known[name] = replace(each, start_ns=ends[each.start_after])
    return tuple(known.values())


def end_of(scenarios: tuple[Scenario, ...]) -> int | None:
    """Return when the time of all scenarios is over, since the start of the run's load; None if that is not known."""
    ends = [each.end_ns for each in scenarios]
    return None if None in ends else max((end for end in ends if end is not None), default=0)
