"""Know where each scenario of a run is: when it begins, what it aims at, whether it is over. Pure.

Times count from the start of load. What was achieved is counted in `account`; telling engines is `commander`'s affair.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from loadstone_core.load.change import aimed_at, at_rest, can_aim, come_back, over, rest_of
from loadstone_core.load.profile import FOREVER_NS, Model, planned_iterations
from loadstone_core.load.scenario import begun_after, end_of
from loadstone_core.plan.model import load_from, scenario_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from loadstone_core.load.change import Aim
    from loadstone_core.load.profile import LoadProfile
    from loadstone_core.load.scenario import Scenario


class Course:
    """The scenarios of one run.

    Attributes:
        scenarios: as they are now, each at its place in the plan: a load that was changed begins at its change.
    """

    def __init__(self, scenarios: tuple[Scenario, ...]) -> None:
        self.scenarios = scenarios
        self._ended_ns: dict[str, int] = {}
        self._paused_at_ns: int | None = None
        self._idle_ns = 0
        # What is left of each scenario while the run is paused; of those that have not begun, how long before it.
        self._left: dict[str, LoadProfile] = {}
        self._delays: dict[str, int] = {}

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        return {
            "scenarios": [asdict(each) for each in self.scenarios],
            "ended_ns": dict(self._ended_ns),
            "paused_at_ns": self._paused_at_ns,
            "idle_ns": self._idle_ns,
            "left": {name: asdict(load) for name, load in self._left.items()},
            "delays": dict(self._delays),
        }

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another course of the same run was."""
        self.scenarios = tuple(map(scenario_from, held["scenarios"]))
        self._ended_ns = dict(held["ended_ns"])
        self._paused_at_ns, self._idle_ns = held["paused_at_ns"], held["idle_ns"]
        self._left = {name: load_from(load) for name, load in held["left"].items()}
        self._delays = dict(held["delays"])

    @property
    def bound_ns(self) -> int:
        """When the time of all scenarios is over; 292 years if that is not known."""
        end_ns = end_of(self.scenarios)
        return FOREVER_NS if end_ns is None else end_ns

    @property
    def is_over(self) -> bool:
        """Whether every scenario is over."""
        return len(self._ended_ns) == len(self.scenarios)

    @property
    def is_paused(self) -> bool:
        """Whether nothing is asked until somebody says otherwise."""
        return self._paused_at_ns is not None

    def idle_ns(self, until_ns: int) -> int:
        """Return how long the run was paused up to a moment."""
        running = 0 if self._paused_at_ns is None else max(0, until_ns - self._paused_at_ns)
        return self._idle_ns + running

    def advance(self, since_start_ns: int, *, is_done: Callable[[int], bool], lead_ns: int) -> bool:
        """Note which scenarios are over by now; return whether engines have to hear of it.

        Args:
            since_start_ns: now.
            is_done: whether nothing more will be done of the scenario at a place, before its time is over.
            lead_ns: how much later a scenario begins that has waited for an end nobody foresaw, so that all hear of it.
        """
        before = self.scenarios
        for place, scenario in enumerate(self.scenarios):
            if not self._is_under_way(scenario, since_start_ns):
                continue
            end_ns = scenario.end_ns
            if end_ns is not None and since_start_ns >= end_ns:
                # Its engines have stopped by themselves.
                self._ended_ns[scenario.name] = end_ns if scenario.foreseen_end_ns else since_start_ns + lead_ns
            elif is_done(place):
                self._ended_ns[scenario.name] = since_start_ns + lead_ns
                self._set(place, replace(scenario, is_over=True))
        if not self.is_paused:
            self.scenarios = begun_after(self.scenarios, self._ended_ns)
        return self.scenarios != before

    def steer(self, aims: Iterable[Aim], *, is_paused: bool, at_ns: int) -> bool:
        """Ask for other loads from a moment on; return whether anything changes. Asked again, nothing does."""
        before = self.scenarios
        if is_paused and not self.is_paused:
            self._pause(at_ns)
        places = {scenario.name: place for place, scenario in enumerate(self.scenarios)}
        for aim in aims:
            if aim.scenario in places:
                self._aim(places[aim.scenario], aim, at_ns)
        if not is_paused and self._paused_at_ns is not None:
            self._resume(at_ns)
        return self.scenarios != before

    def conclude(self, at_ns: int) -> bool:
        """End what a shape has led, as it says; return whether that is news."""
        before = self.scenarios
        for place, scenario in enumerate(self.scenarios):
            is_running = scenario.end_ns is None or at_ns < scenario.end_ns
            if scenario.load.is_shaped and is_running and self._is_under_way(scenario, at_ns):
                self._turn(place, over(scenario.load), at_ns)
        return self.scenarios != before

    def _aim(self, place: int, aim: Aim, at_ns: int) -> None:
        scenario = self.scenarios[place]
        name = scenario.name
        left = self._left.get(name)
        load = left or scenario.load
        is_other = aim.is_rate is not (load.model is Model.RATE)
        asked = (load.profile.segments[-1].to_value, load.spawn_rate)
        if name in self._ended_ns or is_other or not can_aim(load) or asked == (aim.value, aim.spawn_rate):
            return
        if left is not None:
            self._left[name] = aimed_at(left, 0, aim)
        elif self._is_under_way(scenario, at_ns):
            if scenario.end_ns is None or at_ns < scenario.end_ns:
                self._turn(place, aimed_at(load, at_ns - (scenario.start_ns or 0), aim), at_ns)
        else:
            self._set(place, replace(scenario, load=aimed_at(load, None, aim)))

    def _pause(self, at_ns: int) -> None:
        self._paused_at_ns = at_ns
        for place, scenario in enumerate(self.scenarios):
            if scenario.name in self._ended_ns:
                continue
            if self._is_under_way(scenario, at_ns):
                if scenario.end_ns is None or at_ns < scenario.end_ns:
                    self._left[scenario.name] = rest_of(scenario.load, at_ns - (scenario.start_ns or 0))
                    self._turn(place, at_rest(scenario.load), at_ns)
            elif scenario.start_ns is not None:
                if scenario.start_after is None or scenario.start_after in self._ended_ns:
                    self._delays[scenario.name] = scenario.start_ns - at_ns
                self._set(place, replace(scenario, start_ns=None))

    def _resume(self, at_ns: int) -> None:
        self._idle_ns = self.idle_ns(at_ns)
        self._paused_at_ns = None
        for place, scenario in enumerate(self.scenarios):
            if scenario.name in self._ended_ns:
                continue
            if scenario.name in self._left:
                self._turn(place, come_back(self._left[scenario.name]), at_ns)
            elif scenario.name in self._delays:
                self._set(place, replace(scenario, start_ns=at_ns + self._delays[scenario.name]))
        self._left.clear()
        self._delays.clear()
        self.scenarios = begun_after(self.scenarios, self._ended_ns)

    def _turn(self, place: int, load: LoadProfile, at_ns: int) -> None:
        """Let another load take the place of the one that is under way."""
        scenario = self.scenarios[place]
        done = 0
        if scenario.load.model is Model.RATE:
            done = planned_iterations(scenario.load.profile, at_ns - (scenario.start_ns or 0))
        first = scenario.first_iteration + done
        self._set(place, replace(scenario, load=load, start_ns=at_ns, first_iteration=first))

    def _is_under_way(self, scenario: Scenario, at_ns: int) -> bool:
        return scenario.name not in self._ended_ns and scenario.start_ns is not None and at_ns > scenario.start_ns

    def _set(self, place: int, scenario: Scenario) -> None:
        self.scenarios = (*self.scenarios[:place], scenario, *self.scenarios[place + 1 :])
