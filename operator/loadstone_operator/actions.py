"""Say what one decision may consist of: things to do, and what becomes of the status. Values only, nothing is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from loadstone_operator.wishes import Steer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.lifecycle.phases import Phase
    from loadstone_operator.observation import Cause, Outcome, ReportState


@dataclass(frozen=True, slots=True)
class FetchSource:
    """Read the script from where the spec says, so that it can travel in the run's Secret."""


@dataclass(frozen=True, slots=True)
class CreateChildren:
    """Make Secret, Service, master and workers of a run, all at once; what exists already is left as it is."""

    run: int
    epoch: int
    workers: int


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a run when another master of it is made.

    Attributes:
        is_sole: every master of the run before it is known to have ended.
        has_begun: one of them had ordered the load to begin.
        attempts: of workers whose pods were, or were to be, made more than once.
        workers: how many are wanted; 0: as many as were planned.
        workers_made: how many there can have been at most; 0: as many as were planned.
    """

    is_sole: bool = True
    has_begun: bool = False
    attempts: Mapping[int, int] = field(default_factory=dict)
    workers: int = 0
    workers_made: int = 0


NOTHING_PAST: Final = Past()  # of the first master


@dataclass(frozen=True, slots=True)
class CreateMaster:
    """Make another master of a run, with an epoch that the status holds, and lead the workers to it."""

    run: int
    epoch: int
    past: Past


@dataclass(frozen=True, slots=True)
class CreateWorkers:
    """Make pods for workers that were lost or are new, by (worker, attempt); what exists already is left as it is."""

    run: int
    epoch: int
    workers: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class DeletePods:
    """Delete these pods, by name and UID; None gives them the time that they were made with to end."""

    pods: tuple[tuple[str, str], ...]
    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class SaveReport:
    """Fetch the report from the master and keep it in the LoadTest's ConfigMap."""

    run: int


@dataclass(frozen=True, slots=True)
class TellStored:
    """Tell the master that verdict and report are kept: it may leave."""

    run: int


@dataclass(frozen=True, slots=True)
class MarkRun:
    """Write the last run into the LoadTest's annotation, which survives a backup that loses the status."""

    value: str


Action: TypeAlias = (
    FetchSource | CreateChildren | CreateMaster | CreateWorkers | DeletePods | Steer | SaveReport | TellStored | MarkRun
)


def is_tidying(action: Action) -> bool:
    """Say whether neither load nor status wait for an action: for the mark, and for deletions that kill nothing."""
    return isinstance(action, MarkRun) or (isinstance(action, DeletePods) and action.grace_seconds is None)


@dataclass(frozen=True, slots=True)
class Begin:
    """The status is about a new run from now on."""

    run: int
    cause: Cause
    phase: Phase
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """The run that the status is about goes on; `epoch` is that of its next master, 0 if there is none to come."""

    phase: Phase
    reason: str = ""
    message: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """A run has ended. The status may not know of it yet when the operator was away."""

    run: int
    cause: Cause
    outcome: Outcome
    report: ReportState


@dataclass(frozen=True, slots=True)
class Refuse:
    """The test cannot be started; nothing has run, so no run gets a number."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Wait:
    """The test waits for its user before its first run."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Keep:
    """The verdict stands; only what is said beside it may change."""

    report: ReportState


Update: TypeAlias = Begin | Progress | End | Refuse | Wait | Keep


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, oldest first, and then what to write; None writes nothing.

    Attributes:
        recheck_seconds: when to look again though nothing was heard; None: only when something is heard.
    """

    update: Update | None = None
    actions: tuple[Action, ...] = ()
    recheck_seconds: float | None = None
