"""Keep what is wanted of a local run from now on: the whole of it, each change a new revision. No I/O.

In a cluster this is what the LoadTest says; how it gets to the master is the affair of `run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.errors import UserError
from loadstone_core.load.change import Aim, can_aim
from loadstone_core.load.profile import Model
from loadstone_protocol.v1 import control_pb2 as pb

if TYPE_CHECKING:
    from loadstone_core.plan.model import RunPlan


class WishRefused(UserError):  # noqa: N818 said to whoever asked, and nothing has changed
    """This cannot be asked of this run; the message says why."""


class Wishes:
    """The desired state of one run.

    Attributes:
        revision: of the newest wish; 0 before the first.
    """

    def __init__(self, plan: RunPlan) -> None:
        self.revision = 0
        self._plan = plan
        self._is_stopped = False
        self._is_immediate = False
        self._is_paused = False
        self._aims: dict[str, Aim] = {}
        self._ended: list[pb.WorkerEnd] = []

    def stop(self, *, is_immediate: bool) -> None:
        """End the run: iterations may finish within gracefulStop, or within ten seconds. It is never taken back."""
        self._is_immediate = self._is_immediate or is_immediate
        self._is_stopped = True
        self.revision += 1

    def note_end(self, end: pb.WorkerEnd) -> None:
        """Note that a worker has ended, which the master may not see by itself."""
        self._ended.append(end)
        self.revision += 1

    def pause(self, *, is_paused: bool) -> None:
        """Ask nothing of the target until the pause is over."""
        self._is_paused = is_paused
        self.revision += 1

    def aim(self, aim: Aim) -> None:
        """Let a scenario with a constant load reach another one.

        Without a name it is the only scenario, without a spawn rate that of the load stays.

        Raises:
            WishRefused: there is no such scenario, or its load cannot be changed like that.
        """
        scenarios = {each.name: each for each in self._plan.scenarios}
        name = aim.scenario or (next(iter(scenarios)) if len(scenarios) == 1 else "")
        if name not in scenarios:
            raise WishRefused(f"there is no scenario {name!r}; say one of {', '.join(scenarios)}")
        load = scenarios[name].load
        if load.is_shaped:
            raise WishRefused(f"the load of {name} is led by the script's shape and cannot be set")
        if not can_aim(load):
            raise WishRefused(f"the load of {name} has stages or iterationsPerUser and cannot be set")
        if aim.is_rate is not (load.model is Model.RATE):
            raise WishRefused(f"the load of {name} is of {'users' if aim.is_rate else 'a rate'}; set that")
        spawn_rate = aim.spawn_rate or load.spawn_rate
        self._aims[name] = Aim(name, aim.value, spawn_rate, is_rate=aim.is_rate)
        self.revision += 1

    def steering(self) -> pb.Steering:
        """Return the wish as the master is told it."""
        return pb.Steering(
            run_uid=self._plan.run.uid,
            epoch=self._plan.run.epoch,
            revision=self.revision,
            stop=self._is_stopped,
            stop_reason="Stopped" if self._is_stopped else "",
            immediate=self._is_immediate,
            paused=self._is_paused,
            ended=self._ended,
            aims=[
                pb.Aim(scenario=each.scenario, value=each.value, spawn_rate=each.spawn_rate or 0, rate=each.is_rate)
                for each in self._aims.values()
            ],
        )
