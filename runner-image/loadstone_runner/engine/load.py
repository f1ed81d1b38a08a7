"""Make the model that a configuration asks for out of a script. Starting and stopping it belongs to `host`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from loadstone_core.load.grant import of_iterations
from loadstone_core.load.profile import Model
from loadstone_runner.engine.arrivals import ArrivalModel
from loadstone_runner.engine.cast import Cast
from loadstone_runner.engine.closed import ClosedModel
from loadstone_runner.engine.http.outfit import prepare
from loadstone_runner.engine.http.resolution import Resolver
from loadstone_runner.engine.native import Role, Scene
from loadstone_runner.engine.tasks import select, tags_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from loadstone import User
    from loadstone_core.load.lots import Lot
    from loadstone_core.load.scenario import Scenario
    from loadstone_core.stats.histogram import Histogram
    from loadstone_runner.engine.instruments import Instruments
    from loadstone_runner.engine.numbers import Allotment
    from loadstone_runner.engine.population import Population, Portion
    from loadstone_runner.engine.script import Script
    from loadstone_runner.engine.tasks import Repertoire

# Before an engine says that it is ready: a name server that is silent must not hold a whole run up.
_LOOK_UP_SECONDS: Final = 3.0


class LoadModel(Protocol):
    """What drives users.

    Attributes:
        population: that it drives.
        lots: of the load that it follows, and from which moment of the monotonic clock on.
        first_late_ns: how long after it was due the first iteration began; -1: none has.
    """

    population: Population
    lots: dict[Lot, int]
    first_late_ns: int

    def start(self, start_at_ns: int) -> None:
        """Follow the profile, whose start is that moment of the monotonic clock."""
        ...

    def follow(self, scenario: Scenario, start_at_ns: int) -> None:
        """Follow another load from a moment of the monotonic clock on, and the present one until then."""
        ...

    def hold(self, lots: Mapping[Lot, int]) -> None:
        """Follow these lots of the load, each from a moment of the monotonic clock on, and no others."""
        ...

    def stop(self) -> None:
        """Begin no further iteration."""
        ...

    @property
    def leaving(self) -> int:
        """How many users live that are somebody else's to have."""
        ...

    def rouse(self) -> None:
        """Let users look for granted iterations."""
        ...

    def settle(self, until_ns: int) -> None:
        """Wait, until a moment at most, for what was due in a profile that is over."""
        ...

    def recent_slips(self) -> Histogram:
        """Return by how many nanoseconds iterations were started late since the last call."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether no further iteration will begin, whatever is asked."""
        ...


def make_model(
    script: Script,
    scenario: Scenario,
    *,
    portion: Portion,
    setup_data: Any,
    instruments: Instruments,
    allotment: Allotment,
) -> LoadModel:
    """Return the model of this engine's part of a scenario.

    Raises:
        ValueError: the scenario's class or tags are not in the script, the weights of classes cannot be used together,
            or the options of their clients cannot be used.
    """
    chosen = choose(_users_of(script, scenario), scenario, known=tags_of(script.users))
    cast = Cast([each.weight for each in chosen], [each.fixed_count for each in chosen])
    roles = tuple(Role(each, repertoire) for each, repertoire in chosen.items())
    scene = Scene(roles, scenario.target or "", setup_data, instruments, Resolver(), outfits={})
    prepare([scene.outfit_of(role.made) for role in roles], scene.resolver, _LOOK_UP_SECONDS)
    load = scenario.load
    if load.model is Model.RATE:
        return ArrivalModel(scene, cast, load=load, portion=portion)
    numbers = allotment.of(of_iterations(scenario.name)) if load.shared_iterations else None
    return ClosedModel(scene, cast, load=load, portion=portion, numbers=numbers)


def choose(users: Sequence[type[User]], scenario: Scenario, *, known: Collection[str]) -> dict[type[User], Repertoire]:
    """Return what is left of each class by the tags of a scenario; a class that nothing is left of has no users.

    Args:
        users: classes that do the scenario.
        scenario: with its tags.
        known: every tag that the script has.

    Raises:
        ValueError: a tag is not known, or no task is left.
    """
    for tag in (*scenario.tags, *scenario.exclude_tags):
        if tag not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "no task has any"
            raise ValueError(f"scenario {scenario.name} names the tag {tag}, which no task of the script has; {there}")
    repertoires = {each.made: each for each in select(users, scenario.tags, scenario.exclude_tags)}
    chosen = {each: repertoires[each] for each in users if each in repertoires}
    if not any(each.weight or each.fixed_count for each in chosen):
        raise ValueError(f"the tags of scenario {scenario.name} leave no task to do; change tags or excludeTags")
    return chosen


def _users_of(script: Script, scenario: Scenario) -> tuple[type[User], ...]:
    if scenario.user is None:
        return script.users
    named = tuple(each for each in script.users if each.__name__ == scenario.user)
    if not named:
        known = ", ".join(each.__name__ for each in script.users)
        raise ValueError(
            f"scenario {scenario.name} asks for the class {scenario.user}, which the script does not define; "
            f"it has {known}"
        )
    return named
