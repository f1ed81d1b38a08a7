"""Decide what one LoadTest needs next. Pure: same observation, same decision.

A LoadTest at rest is decided here: whether a run is due, and what is left to do for the last one. A run that has begun
is followed in `following`.
"""

from __future__ import annotations

from typing import Final

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.verdict.outcome import Reason
from loadstone_operator import naming
from loadstone_operator.actions import (
    Action,
    Begin,
    Decision,
    DeletePods,
    Keep,
    SaveReport,
    TellStored,
    Wait,
)
from loadstone_operator.ending import refuse
from loadstone_operator.following import follow, mark_run, start
from loadstone_operator.observation import (
    Cause,
    Observation,
    PodView,
    Rejected,
    ReportState,
)
from loadstone_operator.status.held import KEPT

RESTORED: Final = "Restored"

_SWITCHED: Final = (
    "The kill switch of LoadTestClass {name} is on, so none of its tests runs; once spec.killSwitch of the class is "
    "false, set spec.trigger to a new value to run this one."
)
# Within this time a stored run's pods leave by themselves; the master's own patience ends after 15 minutes.
_LINGER_SECONDS: Final = 60.0
_HOLD_SECONDS: Final = 960.0


def decide(seen: Observation) -> Decision:
    """Return what brings the LoadTest one step on; nothing while it is deleted: owner references do the rest."""
    if seen.test.deleting:
        return Decision()
    if seen.is_active:
        return follow(seen)
    cause = wanted_cause(seen)
    if cause is None:
        return _rest(seen)
    return _refusal(seen) or _begin(seen, cause)


def wanted_cause(seen: Observation) -> Cause | None:
    """Return why a run is due, or None: an edit alone never starts load, and neither does a restored backup."""
    test, held = seen.test, seen.held
    if test.suspend:
        return None
    is_new_trigger = test.trigger is not None and test.trigger != held.trigger
    if held.last_run == 0 and not held.finished:
        if test.last_run:
            return (
                Cause.TRIGGER
                if test.trigger and naming.trigger_mark(test.trigger) != test.last_run.split("/")[-1]
                else None
            )
        return Cause.UNSUSPEND if held.phase is Phase.SUSPENDED else Cause.CREATED
    if is_new_trigger:
        return Cause.TRIGGER
    if held.reason == Reason.SUSPENDED:
        return Cause.UNSUSPEND
    # A refused test has run nothing, so its repair is a first start and no second one. An edit repairs no switch.
    is_repairable = held.run == 0 and held.reason != Reason.CLASS_DENIED
    if is_repairable and held.observed_generation != test.generation:
        return Cause.TRIGGER if held.last_run else Cause.CREATED
    return None


def _refusal(seen: Observation) -> Decision | None:
    """Return why a run that is due cannot be; None if it can."""
    if isinstance(seen.spec, Rejected):
        return refuse(Reason.SPEC_INVALID, "; ".join(str(problem) for problem in seen.spec.problems))
    if seen.governing.is_killed:
        outcome = seen.master.outcome if seen.master and seen.held.run else None
        if seen.master and outcome and not seen.master.stored:
            # What the run before has to say is stored first.
            return _after_the_end(seen)
        return refuse(Reason.CLASS_DENIED, _SWITCHED.format(name=seen.governing.name))
    if seen.capacity.refused:
        return refuse(Reason.QUOTA_EXCEEDED, seen.capacity.refused)
    return None


def _begin(seen: Observation, cause: Cause) -> Decision:
    run = seen.held.last_run + 1
    if seen.capacity.waiting:
        return Decision(Begin(run, cause, Phase.QUEUED, message=seen.capacity.waiting))
    if run == 1:
        # The first run is implicit: its pods need not wait for a write, because no other run can be meant.
        return start(seen, run, cause)
    return Decision(Begin(run, cause, Phase.PENDING))


def _rest(seen: Observation) -> Decision:
    held, test = seen.held, seen.test
    if held.finished:
        return _after_the_end(seen)
    if test.suspend:
        return Decision(Wait(Reason.SUSPENDED, "Nothing runs while spec.suspend is true; set it to false to start."))
    return Decision(
        Wait(
            RESTORED,
            "This LoadTest has run before and lost its status, as after a restore; it does not run again by itself. "
            "Set spec.trigger to a new value to run it.",
        )
    )


def _after_the_end(seen: Observation) -> Decision:
    held = seen.held
    report = seen.report if held.run and seen.report is not ReportState.NONE else held.report
    actions: list[Action] = []
    outcome = seen.master.outcome if seen.master and held.run else None
    if seen.master and outcome and not seen.master.stored:
        if held.report in KEPT or not outcome.has_report:
            # Only after the status holds it: the master's own copy is the last one until then.
            actions.append(TellStored(held.run))
        elif seen.report is ReportState.NONE:
            actions.append(SaveReport(held.run))
    actions += mark_run(seen)
    leftovers = _leftovers(seen)
    if leftovers:
        actions.append(DeletePods(tuple((pod.name, pod.uid) for pod in leftovers)))
    lives = any(not pod.is_terminal for pod in seen.pods)
    return Decision(Keep(report), tuple(actions), recheck_seconds=10.0 if lives else None)


def _leftovers(seen: Observation) -> tuple[PodView, ...]:
    """Return the pods of a finished test that should be gone by now; those that have ended stay for their logs."""
    master = seen.master_pod()
    master_works = master is not None and not master.is_terminal and seen.held.report is not ReportState.NONE
    patience = _HOLD_SECONDS if master_works and not seen.seconds_stored else _LINGER_SECONDS
    waited = seen.seconds_stored or seen.seconds_finished
    is_due = seen.held.report is ReportState.NONE or waited >= patience
    return tuple(
        pod for pod in seen.pods if not pod.deleting and (pod.run < seen.run or (is_due and not pod.is_terminal))
    )
