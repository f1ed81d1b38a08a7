"""Run this engine's part of one scenario: wait for its start, follow its plan, end its users as asked.

What users do belongs to `native` and the models; when all parts begin, and what is reported, to `host`.
"""

from __future__ import annotations

import logging
from enum import Enum, auto
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import gevent

from loadstone_core.load.pacing import spawned
from loadstone_core.load.profile import Model
from loadstone_runner.engine.moments import sleep_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_core.load.scenario import Scenario
    from loadstone_runner.engine.load import LoadModel

log = logging.getLogger("loadstone.engine")

ON_STOP_SECONDS: Final = 2.0
LAST_KILL_SECONDS: Final = 0.5
_SECOND_NS: Final = 1_000_000_000
_LOOK_SECONDS: Final = 0.1
# An engine that has not begun by then what was due before the end does not keep up.
_SETTLE_NS: Final = 200_000_000


class PartStage(Enum):
    """How far a part is."""

    WAITING = auto()
    RUNNING = auto()
    STOPPING = auto()
    OVER = auto()


class Part:
    """One scenario on this engine.

    Attributes:
        scenario: as it was configured last.
        model: that drives its users.
        stage: how far it is.
    """

    def __init__(
        self,
        scenario: Scenario,
        model: LoadModel,
        *,
        spawn: Callable[[Callable[[], None]], gevent.Greenlet[..., None]],
        before_end: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        """Begin without a start.

        Args:
            scenario: as it is configured.
            model: that drives its users.
            spawn: runs a loop of the engine's own.
            before_end: is called while all users still live.
            on_change: hears of each new stage.
        """
        self.scenario = scenario
        self.model = model
        self.stage = PartStage.WAITING
        self._spawn = spawn
        self._before_end = before_end
        self._on_change = on_change
        self._begin_ns: int | None = None
        self._player: gevent.Greenlet[..., None] | None = None
        self._stop_by_ns = 0

    @property
    def stop_by_ns(self) -> int:
        """Until when running iterations may take; 0 before it is stopped."""
        return self._stop_by_ns

    @property
    def is_stopping(self) -> bool:
        """Whether no further iteration begins."""
        return self._stop_by_ns > 0

    @property
    def has_nothing_left(self) -> bool:
        """Whether this engine will begin no further iteration of the scenario."""
        return self.is_stopping or self.model.is_done

    def follow(self, scenario: Scenario, start_at_ns: int) -> None:
        """Do as configured, in a run whose load starts at a moment of the monotonic clock; 0: not known yet."""
        before, self.scenario = self.scenario, scenario
        if scenario.is_over:
            self.stop(scenario.graceful_stop_ns)
        if self.is_stopping or not start_at_ns or scenario.start_ns is None:
            return
        begin_ns = start_at_ns + scenario.start_ns
        if self._begin_ns is None:
            self.model.start(begin_ns)
        elif (before.start_ns, before.load) != (scenario.start_ns, scenario.load):
            self.model.follow(scenario, begin_ns)
        else:
            return
        self._begin_ns = begin_ns
        if self._player is not None:
            self._player.kill(block=False)
        self._player = self._spawn(lambda: self._play(begin_ns, scenario))

    def await_users(self) -> None:
        """Return when its users have become as many as ever, but for those that ended at once."""
        while self.stage is PartStage.WAITING or (self.stage is PartStage.RUNNING and self._is_empty):
            gevent.sleep(_LOOK_SECONDS)
        load = self.scenario.load
        if load.model is Model.RATE or self._begin_ns is None:
            return
        peaks = [spawned(load.profile, *lot) for lot in self.model.lots]
        users = sum(peak for _, peak in peaks)
        at_ns = self._begin_ns + max((full_ns for full_ns, _ in peaks), default=0)
        sleep_until(at_ns)
        while len(self.model.population) < users and monotonic_ns() < at_ns + _SECOND_NS:
            gevent.sleep(_LOOK_SECONDS / 10)

    @property
    def _is_empty(self) -> bool:
        """Whether nobody is asked for yet, by a shape in code or because of a pause."""
        return self.scenario.load.model is not Model.RATE and not self.scenario.load.profile.peak

    def stop(self, grace_ns: int) -> None:
        """Begin no further iteration; running ones may take so long. Asked again, the earlier end counts."""
        stop_by_ns = monotonic_ns() + grace_ns
        if self._stop_by_ns:
            self._stop_by_ns = min(self._stop_by_ns, stop_by_ns)
            return
        self._stop_by_ns = stop_by_ns
        self._before_end()
        self.model.stop()
        self._become(PartStage.STOPPING)
        self._spawn(self._drain)

    def _play(self, begin_ns: int, scenario: Scenario) -> None:
        """Say when it begins, and stop it by itself when its profile ends."""
        sleep_until(begin_ns)
        if self.stage is PartStage.WAITING:
            self._become(PartStage.RUNNING)
        end_ns = scenario.load.profile.end_ns
        if end_ns is not None:
            sleep_until(begin_ns + end_ns)
            self.model.settle(begin_ns + end_ns + min(scenario.graceful_stop_ns, _SETTLE_NS))
            self.stop(scenario.graceful_stop_ns)

    def _drain(self) -> None:
        """Wait for the users, and end those that do not end."""
        population = self.model.population
        while len(population) and (left_ns := self._stop_by_ns - monotonic_ns()) > 0:
            population.is_empty.wait(timeout=min(left_ns / _SECOND_NS, _LOOK_SECONDS))
        for seconds in (ON_STOP_SECONDS, LAST_KILL_SECONDS):
            if len(population):
                population.kill_all()
                population.is_empty.wait(timeout=seconds)
        if len(population):
            log.warning("Left %d users behind that do not end", len(population))
        self._become(PartStage.OVER)

    def _become(self, stage: PartStage) -> None:
        self.stage = stage
        self._on_change()
