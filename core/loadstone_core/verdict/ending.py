"""Hold everything that is known about a run when it ends; what it means is the table in `outcome`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadstone_core.verdict.evaluation import Answer

if TYPE_CHECKING:
    from fractions import Fraction

    from loadstone_core.load.profile import Model
    from loadstone_core.spec.model import OnNoData, Severity
    from loadstone_core.verdict.evaluation import Finding
    from loadstone_core.verdict.expression import Expression
    from loadstone_core.verdict.reasons import Cause, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdFinding:
    """A threshold and its final answer; `has_aborted` if it ended the run, which makes it broken for good."""

    name: str
    expression: Expression
    severity: Severity
    on_no_data: OnNoData
    finding: Finding
    has_aborted: bool = False

    @property
    def is_broken(self) -> bool:
        """Whether the expression did not hold, or did not hold when it ended the run."""
        return self.has_aborted or self.finding.answer is Answer.BROKEN

    @property
    def has_no_data(self) -> bool:
        """Whether nothing was measured that could have broken it."""
        return not self.has_aborted and self.finding.answer is Answer.NO_DATA


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What was planned of one scenario, and what became of it.

    Attributes:
        scenario: its name.
        model: what planned and achieved are counted in.
        planned: user-seconds or iterations of the whole profile.
        achieved: the same as it was; for rates the iterations started, for iterations those completed.
        dropped: iterations of a rate that could not be started in time.
    """

    scenario: str
    model: Model
    planned: Fraction | int
    achieved: Fraction | int
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Everything that is known about a run when it ends; what never applied is left at its default.

    Attributes:
        stopped: why somebody stopped it: Stopped, Suspended, Killed or Replaced.
        stop_message: what that somebody said of it; empty: what the reason says.
        errors: what kept it from being run or broke it, the weightiest first; reasons of row 2.
        thresholds: every threshold with its answer, in the order of the spec.
        regressions: what a baseline of severity Fail found; reason BaselineRegressed.
        notes: findings that decide nothing by themselves.
        load_ran: whether any load was started, and its results are known.
        efforts: what became of each scenario, at least one.
        tolerance_ppm: how much achieved may fall short, in parts per million; the iterations model has none.
        requests: completed requests, with those unaccounted for.
        failures: those of them that failed.
        unaccounted: requests known to have happened and in no series.
        unaccounted_at_least: whether there may be more of those.
        iterations: that ended, by returning or by raising.
        iterations_raised: those of them that raised.
        raised_most: what they raised most often, and where.
        seconds: of load.
        saturated_seconds: those of them in which the generator was late (`SATURATED_LAG_NS`) or lacked something.
        exhausted_seconds: those of them in which it could open no connection for want of ports, files or memory.
        workers: expected.
        workers_lost: how often one of them was lost.
        most_lost: how many were lost, and not replaced, at a time.
        most_lost_allowed: how many may be.
        relief: what became of the load of those that were lost, and of them; empty if nothing did.
        used_up: names of feeders whose rows were used up, which ended users.
        first_loss: what became of the first of them, if anybody knows.
    """

    stopped: Reason | None = None
    stop_message: str = ""
    errors: tuple[Cause, ...] = ()
    thresholds: tuple[ThresholdFinding, ...] = ()
    regressions: tuple[Cause, ...] = ()
    notes: tuple[Cause, ...] = ()
    load_ran: bool
    efforts: tuple[Effort, ...]
    tolerance_ppm: int
    requests: int
    failures: int
    unaccounted: int = 0
    unaccounted_at_least: bool = False
    iterations: int
    iterations_raised: int = 0
    raised_most: str = ""
    seconds: int
    saturated_seconds: int = 0
    exhausted_seconds: int = 0
    workers: int
    workers_lost: int = 0
    most_lost: int = 0
    most_lost_allowed: int = 0
    relief: str = ""
    used_up: tuple[str, ...] = ()
    first_loss: str = ""
