"""Read a status back into what decisions need. The reverse, writing one, belongs to `projection`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.units import MILLISECOND
from loadstone_operator.observation import Cause, Held, ReportState
from loadstone_operator.status.attempts import read_attempts

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULTS_SAVED = "ResultsSaved"
# Such a report is in the cluster, and the master's own copy is needed no more.
KEPT: Final = frozenset({ReportState.SAVED, ReportState.WITHOUT_LOG})


def read_held(status: Mapping[str, Any]) -> Held:
    """Return what a status holds; what is missing or unknown is read as if it had never been written."""
    run = status.get("run") or {}
    number = int(run.get("number") or 0)
    workers = status.get("workers") or {}
    desired = int(workers.get("desired") or 0)
    planned = int(run.get("workers") or desired)
    history = [int(past.get("run") or 0) for past in status.get("history") or ()]
    return Held(
        observed_generation=int(status.get("observedGeneration", -1)),
        phase=_word(Phase, status.get("phase")),
        finished=bool(status.get("finished", False)),
        verdict=str(status.get("verdict", "")),
        reason=str(status.get("reason", "")),
        run=number,
        last_run=max([number, *history]),
        epoch=int(run.get("epoch") or 1),
        cause=_word(Cause, run.get("cause")) or Cause.CREATED,
        workers=desired,
        attempts=read_attempts(workers),
        planned=planned,
        made=max(planned, desired, int(workers.get("made") or 0)),
        graceful_stop_ns=_planned_ns(run, "gracefulStopMillis"),
        startup_timeout_ns=_planned_ns(run, "startupTimeoutMillis"),
        can_resize=run.get("resizable") is True,
        generation=int(run.get("generation") or 0),
        trigger=status.get("lastHandledTrigger"),
        digest=str(run.get("specHash", "")),
        parts=dict(run.get("specParts") or {}),
        report=_report(status),
    )


def _planned_ns(run: Mapping[str, Any], field: str) -> int | None:
    """Return a duration that a run was planned with; None if an earlier release has not written it."""
    millis = run.get(field)
    return None if millis is None else int(millis) * MILLISECOND


def _report(status: Mapping[str, Any]) -> ReportState:
    for condition in status.get("conditions") or ():
        if condition.get("type") == RESULTS_SAVED:
            return _word(ReportState, condition.get("reason")) or ReportState.NONE
    return ReportState.NONE


def _word(words: type[Any], value: object) -> Any:
    """Return the member of a closed set, or None for a word that is not in it."""
    try:
        return words(value)
    except ValueError:
        return None
