"""Say how a run ends that its master does not end, and what becomes of its pods then. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.verdict.outcome import EXIT_CODES, Reason, Verdict
from loadstone_operator.actions import Action, Decision, DeletePods, End, Refuse
from loadstone_operator.observation import Cause, Observation, Outcome, ReportState

if TYPE_CHECKING:
    from loadstone_operator.observation import PodView

# The least that pods can be given without being deleted from the API server before they have ended.
KILLED_GRACE_SECONDS: Final = 1


def end(
    seen: Observation, outcome: Outcome, *, report: ReportState, run: int = 0, cause: Cause | None = None
) -> Decision:
    """Return the decision that ends the newest run, or one of another number and cause."""
    pods = [pod for pod in seen.pods if not pod.is_terminal and not pod.deleting]
    # With a report the pods leave by themselves once it is stored; without one nobody will tell them to.
    actions: tuple[Action, ...] = (delete(seen, pods),) if pods and not outcome.has_report else ()
    return Decision(End(run or seen.run, cause or seen.held.cause, outcome, report), actions)


def fail(seen: Observation, reason: str, message: str) -> Decision:
    """Return the decision that ends the newest run as an error."""
    return end(seen, Outcome(Verdict.ERROR, reason, message, EXIT_CODES[Verdict.ERROR]), report=ReportState.NONE)


def abort(seen: Observation, reason: str, how: str) -> Decision:
    """Return the decision that ends the newest run because somebody stopped it; `how` ends the sentence."""
    by = {Reason.STOPPED: "spec.stopRun", Reason.SUSPENDED: "spec.suspend", Reason.KILLED: switch_of(seen)}
    message = f"The run was stopped by {by[Reason(reason)]} {how}."
    return end(seen, Outcome(Verdict.ABORTED, reason, message, EXIT_CODES[Verdict.ABORTED]), report=ReportState.NONE)


def is_killed(seen: Observation) -> bool:
    """Say whether the newest run is to end by the kill switch of its class."""
    return seen.wanted_stop == Reason.KILLED


def switch_of(seen: Observation) -> str:
    """Return what the switch is called that kills the newest run; it may be off again."""
    named = f"LoadTestClass {seen.governing.name}" if seen.governing.is_killed else "its class"
    return f"the kill switch of {named}"


def refuse(reason: Reason, message: str) -> Decision:
    """Return the decision that a test cannot be started."""
    return Decision(Refuse(Outcome(Verdict.ERROR, reason, message, EXIT_CODES[Verdict.ERROR])))


def delete(seen: Observation, pods: list[PodView]) -> DeletePods:
    """Return the deletion of some pods: without time to end their work where the run is killed."""
    grace = KILLED_GRACE_SECONDS if is_killed(seen) else None
    return DeletePods(tuple((pod.name, pod.uid) for pod in pods), grace)
