"""Say the status once more in the form that tools wait for: conditions, with the time of their last change.

`Ready`, `Reconciling` and `Stalled` follow kstatus; `Reconciling` and `Stalled` are left out when they do not hold, and
`EditsInEffect` when it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.verdict.outcome import Verdict
from loadstone_core.verdict.reasons import Reason
from loadstone_operator.observation import Rejected, ReportState
from loadstone_operator.status.edits import for_the_next_run
from loadstone_operator.status.held import RESULTS_SAVED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loadstone_operator.observation import SpecView

_LONGEST_MESSAGE: Final = 1024
_LOAD_PHASES: Final = frozenset({Phase.RUNNING, Phase.PAUSED, Phase.STOPPING})

_RESULTS: Final = {
    ReportState.NONE: ("False", "No report of this run exists."),
    ReportState.SAVED: ("True", "The report is in the ConfigMap that status.report names."),
    ReportState.WITHOUT_LOG: (
        "True",
        "The report is in the ConfigMap that status.report names, and its log did not come: see kubectl logs.",
    ),
    ReportState.FAILED: ("False", "The report could not be saved; the operator tries again while the master lives."),
    ReportState.TAKEN: (
        "False",
        (
            "The report was not saved: the ConfigMap of its name (the LoadTest's, with -report) belongs to somebody "
            "else. Delete it, or give the LoadTest another name; the operator tries again while the master lives."
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition without its times."""

    type: str
    status: str
    reason: str
    message: str


def conditions(
    status: Mapping[str, Any], spec: SpecView, report: ReportState, *, old: Mapping[str, Any], now: str
) -> list[dict[str, Any]]:
    """Return the conditions of a status; `lastTransitionTime` stays while a condition's status does."""
    known = {condition.get("type"): condition for condition in old.get("conditions") or ()}
    written: list[dict[str, Any]] = []
    for condition in _all(status, spec, report):
        before = known.get(condition.type)
        is_same = before is not None and before.get("status") == condition.status
        written.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                # A condition is a sentence; the traceback below it stands in status.message.
                "message": condition.message.partition("\n")[0][:_LONGEST_MESSAGE],
                "observedGeneration": status["observedGeneration"],
                "lastTransitionTime": before["lastTransitionTime"] if before is not None and is_same else now,
            }
        )
    return written


def _all(status: Mapping[str, Any], spec: SpecView, report: ReportState) -> Iterator[Condition]:
    phase, reason = Phase(status["phase"]), str(status.get("reason") or status["phase"])
    message, finished = str(status.get("message", "")), bool(status.get("finished"))
    verdict = str(status.get("verdict", ""))
    waits = phase is Phase.SUSPENDED
    passed = "Unknown" if not finished else "True" if verdict == Verdict.PASSED else "False"
    yield Condition("Ready", "False" if waits else passed, reason, message)
    if not finished and not waits:
        yield Condition("Reconciling", "True", str(phase), message)
    if finished and verdict != Verdict.PASSED:
        yield Condition("Stalled", "True", reason, message)
    elif isinstance(spec, Rejected):
        yield Condition("Stalled", "True", "SpecInvalid", _listed(spec))
    yield Condition("Finished", "True" if finished else "False", reason if finished else str(phase), message)
    yield Condition("Passed", passed, reason, message)
    yield _spec_valid(spec)
    if not finished and (waiting := _waiting(status, spec)):
        yield Condition("EditsInEffect", "False", "NextRun", waiting)
    if status.get("run"):
        yield from _stations(status, phase)
        if finished:
            state, sentence = _RESULTS[report]
            yield Condition(RESULTS_SAVED, state, str(report), sentence)


def _spec_valid(spec: SpecView) -> Condition:
    if isinstance(spec, Rejected):
        return Condition("SpecValid", "False", "SpecInvalid", _listed(spec))
    return Condition("SpecValid", "True", "Accepted", "The spec can be run.")


def _waiting(status: Mapping[str, Any], spec: SpecView) -> str:
    run, workers = status.get("run") or {}, status.get("workers") or {}
    can_resize, desired = run.get("resizable") is True, int(workers.get("desired") or 0)
    return for_the_next_run(run.get("specParts") or {}, spec, can_resize=can_resize, workers=desired)


def _listed(spec: Rejected) -> str:
    return "; ".join(str(problem) for problem in spec.problems)


def _stations(status: Mapping[str, Any], phase: Phase) -> Iterator[Condition]:
    run = status["run"]
    ratio = (status.get("workers") or {}).get("ratio", "0/0")
    yield _preflight(status)
    if run.get("workersReadyAt"):
        yield Condition("WorkersReady", "True", "AllConnected", "All workers were connected and ready.")
    else:
        yield Condition("WorkersReady", "False", "NotReady", f"{ratio} workers are connected; not all are ready.")
    if phase in _LOAD_PHASES and run.get("loadStartedAt") and not run.get("loadStoppedAt"):
        yield Condition("LoadRunning", "True", str(phase), "Load is being made.")
    elif run.get("loadStartedAt"):
        yield Condition("LoadRunning", "False", "LoadEnded", "The load has ended.")
    else:
        yield Condition("LoadRunning", "False", "NotStarted", "The load has not begun.")


def _preflight(status: Mapping[str, Any]) -> Condition:
    """Return whether the workers have what their load needs; they look before they say that they are ready."""
    if status.get("reason") == Reason.PREFLIGHT_FAILED:
        return Condition("PreflightPassed", "False", str(Reason.PREFLIGHT_FAILED), str(status.get("message", "")))
    if status["run"].get("workersReadyAt"):
        return Condition("PreflightPassed", "True", "Enough", "Each worker has what its part of the load needs.")
    return Condition("PreflightPassed", "Unknown", "NotReady", "Not all workers have compared what they need and have.")
