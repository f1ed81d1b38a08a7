"""Decide what a run needs that has begun: children, a stop, an end, or only time. Pure.

The rules are tried in order and the first that applies decides; what the load itself needs is the master's affair.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from loadstone_core.lifecycle.machine import advance
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.spec.digest import edited
from loadstone_core.spec.model import MasterOnLoss
from loadstone_core.units import SECOND, format_duration
from loadstone_core.verdict.outcome import EXIT_CODES, Reason, Verdict
from loadstone_operator import naming
from loadstone_operator.actions import (
    Action,
    Begin,
    CreateChildren,
    CreateMaster,
    CreateWorkers,
    Decision,
    FetchSource,
    MarkRun,
    Progress,
    SaveReport,
)
from loadstone_operator.ending import abort, delete, end, fail, is_killed, refuse, switch_of
from loadstone_operator.killing import end_killed, killed_pods
from loadstone_operator.observation import (
    Accepted,
    Cause,
    CreationProblem,
    Observation,
    Outcome,
    PodProblem,
    Rejected,
    ReportState,
    Stage,
)
from loadstone_operator.patience import (
    LAST_SECONDS,
    is_left_alone,
    is_master_given_up,
    is_masters_to_end,
    is_stop_overdue,
    most_seconds_of_start,
    seconds_of_start,
)
from loadstone_operator.permission import SourceState
from loadstone_operator.remarks import remark
from loadstone_operator.replacing import missing_pods
from loadstone_operator.resizing import added_pods, past, pods_of_run, steered_workers, surplus_pods
from loadstone_operator.wishes import Steer

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING_PATIENCE_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 2.0
# An operator that comes back may have missed everything; a master that lives is heard within this time: it may take
# 5 s to connect to it.
LISTEN_SECONDS: Final = 6.0
# The master names the workers that are missing, so it is given the first word on a late start.
_MASTER_FIRST_SECONDS: Final = 10.0
# That a master hangs is told by nothing.
_UNHEARD_RECHECK_SECONDS: Final = 10.0
MASTERS_MOST: Final = 5
_OF_PODS: Final = frozenset({"source", "image", "imagePullPolicy", "workers", "env", "envFrom"})
# Whatever it is now, a run is planned with what it was.
_OF_NO_POD: Final = "workers.replicas"

# What the master sees, and what the cluster may know to be behind it.
_EFFECTS: Final = frozenset(
    {
        (Reason.STARTUP_TIMEOUT, Reason.UNSCHEDULABLE),
        (Reason.STARTUP_TIMEOUT, Reason.IMAGE_PULL),
        (Reason.STARTUP_TIMEOUT, Reason.TEMPLATE_INVALID),
        (Reason.STARTUP_TIMEOUT, Reason.SOURCE_NOT_FOUND),
        (Reason.STARTUP_TIMEOUT, Reason.WORKER_OOM),
        (Reason.WORKERS_LOST, Reason.WORKER_OOM),
    }
)

_PHASES: Final = {
    Stage.GATHERING: Phase.PROVISIONING,
    Stage.ARMED: Phase.ARMED,
    Stage.RUNNING: Phase.RUNNING,
    Stage.STOPPING: Phase.STOPPING,
    Stage.FINISHED: Phase.STOPPING,
}


def follow(seen: Observation) -> Decision:
    """Return what the newest run needs now."""
    rules: tuple[Callable[[Observation], Decision | None], ...] = (
        _end_as_the_master_says,
        _stop_before_pods,
        _make_children,
        end_killed,
        _end_without_master,
        _end_unstoppable,
        _end_failed_start,
    )
    for rule in rules:
        decision = rule(seen)
        if decision is not None:
            return decision
    return _go_on(seen)


def start(seen: Observation, run: int, cause: Cause) -> Decision:
    """Return the decision that makes a run's children, or what it waits for. The spec must be accepted."""
    if isinstance(seen.spec, Rejected):
        problems = "; ".join(str(problem) for problem in seen.spec.problems)
        return _give_up(seen, Reason.SPEC_INVALID, problems, run=run, cause=cause)
    problem = seen.creation
    if problem is not None and (_ends_creation(seen, problem) or seen.creation_seconds < RETRY_SECONDS):
        return _after_failed_creation(seen, problem, run=run, cause=cause)
    source, governing = seen.source, seen.governing
    if governing.missing:
        lacking = (Reason.SPEC_INVALID, governing.missing, governing.seconds_missing)
        return _after_missing(seen, *lacking, run=run, cause=cause)
    if source.state is SourceState.UNKNOWN:
        return Decision(None, (FetchSource(),))
    if source.state is SourceState.MISSING:
        lacking = (Reason.SOURCE_NOT_FOUND, source.message, source.seconds_missing)
        return _after_missing(seen, *lacking, run=run, cause=cause)
    # Some of them may have been made already, with a plan for so many.
    is_tried = seen.held.run == run and seen.held.phase is Phase.PENDING
    workers = (seen.held.planned if is_tried else 0) or seen.spec.workers
    return Decision(
        _at(seen, Phase.PROVISIONING, run=run, cause=cause), (CreateChildren(run, seen.held.epoch, workers),)
    )


def wanted(seen: Observation, steered: Steer) -> Steer:
    """Return what the master should be told; of a spec that became invalid in mid-run, what it was told before.

    As long as nobody has edited the spec the plan says it all, and the start need not wait for one more word. Once
    somebody has, everything is said: the master may have heard of what was wanted meanwhile, and not of the way back.
    """
    spec, paused, aims, config = seen.spec, steered.paused, steered.aims, steered.config
    if isinstance(spec, Accepted):
        paused = spec.paused
        aims = spec.aims if aims or seen.is_edited else ()
        config = spec.config if config is not None or seen.is_edited else None
    workers = steered_workers(seen, steered.workers)
    problem = _hopeless(seen) if _is_starting(seen) else None
    return Steer(
        seen.run,
        seen.wanted_stop,
        seen.ended,
        paused=paused,
        aims=aims,
        config=config,
        workers=workers,
        hopeless=problem.message if problem else "",
        hopeless_reason=problem.reason if problem else "",
    )


def mark_run(seen: Observation) -> tuple[MarkRun, ...]:
    """Return the annotation that keeps a restored backup from running again, if it is not there yet."""
    held = seen.held
    mark = naming.last_run_mark(seen.test.uid, held.digest, held.trigger)
    return (MarkRun(mark),) if held.run and held.digest and seen.test.last_run != mark else ()


def _end_as_the_master_says(seen: Observation) -> Decision | None:
    outcome = seen.master.outcome if seen.master else None
    if outcome is None:
        return None
    if outcome.has_report and seen.report is ReportState.NONE:
        return Decision(None, (SaveReport(seen.run),))
    return end(seen, _explain(seen, outcome), report=seen.report)


def _explain(seen: Observation, outcome: Outcome) -> Outcome:
    """Return an outcome with the cause that only the cluster knows, where the master saw no more than its effect."""
    if outcome.reason == Reason.KILLED:
        return replace(outcome, message=f"The run was ended by {switch_of(seen)}. {outcome.message}")
    if outcome.reason == Reason.STARTUP_TIMEOUT and seen.creation is not None:
        return replace(outcome, reason=seen.creation.reason, message=seen.creation.message)
    for pod in pods_of_run(seen):
        problem = pod.problem
        if problem is not None and (outcome.reason, problem.reason) in _EFFECTS:
            return replace(outcome, reason=problem.reason, message=f"{problem.message} {outcome.message}")
    return outcome


def _stop_before_pods(seen: Observation) -> Decision | None:
    stop = seen.wanted_stop
    if not stop or _has_begun(seen):
        return None
    return abort(seen, stop, "before its pods were made")


def _make_children(seen: Observation) -> Decision | None:
    if _has_begun(seen):
        return None
    if seen.capacity.refused:
        return _give_up(seen, Reason.QUOTA_EXCEEDED, seen.capacity.refused, run=seen.run, cause=seen.held.cause)
    if seen.capacity.waiting:
        return Decision(_at(seen, Phase.QUEUED, message=seen.capacity.waiting))
    return start(seen, seen.run, seen.held.cause)


def _after_missing(
    seen: Observation, reason: Reason, message: str, seconds: float, *, run: int, cause: Cause
) -> Decision:
    """Wait for what was perhaps applied together with the test, and is about to come."""
    if seconds >= MISSING_PATIENCE_SECONDS:
        return _give_up(seen, reason, message, run=run, cause=cause)
    waiting = _at(seen, Phase.PENDING, reason=reason, message=message, run=run, cause=cause)
    return Decision(waiting, recheck_seconds=1.0)


def _give_up(seen: Observation, reason: Reason, message: str, *, run: int, cause: Cause) -> Decision:
    """Refuse a test of which nothing has run; but some of a run's pods may be there, and then they end with it."""
    if any(pod.run == run for pod in seen.pods):
        return _end_as_error(seen, reason, message, run=run, cause=cause)
    return refuse(reason, message)


def _end_as_error(seen: Observation, reason: Reason, message: str, *, run: int, cause: Cause) -> Decision:
    outcome = Outcome(Verdict.ERROR, reason, message, EXIT_CODES[Verdict.ERROR])
    return end(seen, outcome, report=ReportState.NONE, run=run, cause=cause)


def _after_failed_creation(seen: Observation, problem: CreationProblem, *, run: int, cause: Cause) -> Decision:
    if _ends_creation(seen, problem):
        return _end_as_error(seen, problem.reason, problem.message, run=run, cause=cause)
    shown = problem.shown or problem.reason
    waiting = _at(seen, Phase.PENDING, reason=shown, message=problem.message, run=run, cause=cause)
    return Decision(waiting, recheck_seconds=1.0)


def _ends_creation(seen: Observation, problem: CreationProblem) -> bool:
    """Say whether a run ends because its objects could not be made.

    With a quorum its master would begin the load, in a run that has not all of its pods, so it has no time beyond.
    """
    has_quorum = isinstance(seen.spec, Accepted) and seen.spec.min_available is not None
    most_seconds = seconds_of_start(seen) if has_quorum else most_seconds_of_start(seen)
    return problem.is_fatal or seen.seconds_in_run >= most_seconds


def _end_without_master(seen: Observation) -> Decision | None:
    master = seen.master_pod()
    if master is None:
        words = "The master's pod is gone, and with it the results; run the test again."
        return _replace_master(seen) or fail(seen, Reason.MASTER_LOST, words)
    is_restarted = master.trusted_restarts > 0 or master.epoch > 1
    if not master.is_terminal and not is_restarted and not is_left_alone(seen):
        return None
    if master.last_outcome is not None:
        return end(seen, master.last_outcome, report=ReportState.NONE)
    # One that was started again, or has taken over, goes on, or ends the run with all of its results.
    if not master.is_terminal and not is_master_given_up(seen):
        return None
    if master.is_terminal and (replaced := _replace_master(seen)):
        return replaced
    how = "ended before its run" if master.is_terminal else "is not heard any more, and no worker of it is left"
    last_words = f" It said: {master.last_words}" if master.last_words else ""
    words = f"The master (pod {master.name}) {how}; the numbers are the last that it reported.{last_words}"
    return fail(seen, Reason.MASTER_LOST, words)


def _replace_master(seen: Observation) -> Decision | None:
    """Return the decision that brings another master, or None if there is to be none.

    Its epoch is in the status before it is made. One that this process has not put there may have been used.
    """
    held, spec = seen.held, seen.spec
    if isinstance(spec, Rejected) or spec.master_on_loss is not MasterOnLoss.RESTART or held.epoch >= MASTERS_MOST:
        return None
    # It must be made of what its workers were made of.
    paths = set(edited(held.parts, spec.parts)) - {_OF_NO_POD}
    if any(path.partition(".")[0] in _OF_PODS for path in paths):
        return None
    if seen.source.state is SourceState.MISSING or is_master_given_up(seen):
        return None
    if seen.source.state is SourceState.UNKNOWN:
        # It was read when the pods were made: before the run had its number, or by another process.
        return Decision(None, (FetchSource(),))
    phase = held.phase or Phase.PROVISIONING
    message = "The master was lost; another one takes over while the workers keep their load."
    if seen.epoch_reserved != held.epoch:
        return Decision(Progress(phase, Reason.MASTER_RESTARTED, message, epoch=held.epoch + 1))
    made = CreateMaster(seen.run, held.epoch, past(seen))
    return Decision(Progress(phase, Reason.MASTER_RESTARTED, message), (made,))


def _end_unstoppable(seen: Observation) -> Decision | None:
    stop = seen.wanted_stop
    if not stop:
        return None
    if _is_starting(seen) and _is_silent(seen) and seen.seconds_watched >= LISTEN_SECONDS:
        return abort(seen, stop, "before its load began")
    if is_killed(seen) or not is_stop_overdue(seen):
        return None
    return abort(seen, stop, "and its master did not answer in time, so its results are lost")


def _end_failed_start(seen: Observation) -> Decision | None:
    if is_killed(seen) or not _is_starting(seen) or (_is_silent(seen) and seen.seconds_watched < LISTEN_SECONDS):
        return None
    problems = [pod for pod in pods_of_run(seen) if pod.problem]
    # A master that is heard is told, see `wanted`, and ends the run; one of an earlier release does not.
    more_seconds = LAST_SECONDS if is_masters_to_end(seen) else 0.0
    if (problem := _hopeless(seen, more_seconds)) is not None:
        return fail(seen, problem.reason, problem.message)
    if problems and problems[0].problem and seen.seconds_in_run >= most_seconds_of_start(seen):
        return fail(seen, problems[0].problem.reason, problems[0].problem.message)
    is_masters = is_masters_to_end(seen)
    if seen.seconds_in_run < most_seconds_of_start(seen) + (0.0 if is_masters else _MASTER_FIRST_SECONDS):
        return None
    master = "does not end the run" if is_masters else "is silent"
    late = ", ".join(pod.name for pod in pods_of_run(seen) if pod.phase == "Pending")
    return fail(
        seen,
        Reason.STARTUP_TIMEOUT,
        f"The load did not begin within {format_duration(int(seconds_of_start(seen) * SECOND))} "
        f"(not started: {late or f'all pods run, the master {master}'}). "
        "Look at the pods with kubectl describe, or raise spec.startupTimeout.",
    )


def _hopeless(seen: Observation, more_seconds: float = 0.0) -> PodProblem | None:
    """Return what keeps a pod from starting, for longer than that may take and some seconds."""
    for pod in pods_of_run(seen):
        problem = pod.problem
        if problem is None or problem.patience_seconds is None:
            continue
        if pod.problem_seconds >= problem.patience_seconds + more_seconds:
            return problem
    return None


def _go_on(seen: Observation) -> Decision:
    # Before anything is said to a master that may hang.
    actions: list[Action] = list(killed_pods(seen))
    steered = seen.steered or _unheard(seen)
    wish = wanted(seen, steered)
    if seen.master is not None and seen.master.connected and seen.master.stage is not None and wish != steered:
        actions.append(wish)
    if missing := (*missing_pods(seen), *added_pods(seen)):
        actions.append(CreateWorkers(seen.run, seen.held.epoch, tuple(sorted(missing))))
    stale = (*(pod for pod in seen.pods if pod.run < seen.run and not pod.deleting), *surplus_pods(seen))
    if stale:
        actions.append(delete(seen, list(stale)))
    actions += mark_run(seen)
    stage = seen.master.stage if seen.master else None
    phase = _PHASES[stage] if stage else Phase.PROVISIONING
    if phase is Phase.RUNNING and seen.master is not None and seen.master.paused:
        phase = Phase.PAUSED
    reason, message = remark(seen, refusal=seen.creation if missing else None)
    # What the cluster has refused to make is tried again.
    recheck = 1.0 if _is_starting(seen) or seen.wanted_stop or missing else None
    if seen.master is None or not seen.master.connected:
        recheck = recheck or _UNHEARD_RECHECK_SECONDS
    return Decision(_at(seen, phase, reason=reason, message=message), tuple(actions), recheck_seconds=recheck)


def _unheard(seen: Observation) -> Steer:
    """Return what a master does that was told nothing since it was connected to, as far as that is known."""
    is_paused = isinstance(seen.spec, Rejected) and seen.master is not None and seen.master.paused
    return Steer(seen.run, "", (), paused=is_paused)


def _has_begun(seen: Observation) -> bool:
    phase = seen.held.phase
    return seen.held.run == seen.run and phase is not None and phase.order >= Phase.PROVISIONING.order


def _is_starting(seen: Observation) -> bool:
    """Say whether, for all that is known, the load has not begun."""
    if seen.master is not None and seen.master.stage is not None:
        # A master that takes over does not know yet how far the run is; the status does.
        return seen.master.stage is Stage.GATHERING and not seen.held.has_ordered_load
    return not seen.held.has_ordered_load


def _is_silent(seen: Observation) -> bool:
    return seen.master is None or seen.master.stage is None


def _at(
    seen: Observation, phase: Phase, *, reason: str = "", message: str = "", run: int = 0, cause: Cause | None = None
) -> Begin | Progress:
    """Return the update for a phase that is seen; the status may not know of the run yet."""
    run = run or seen.run
    if seen.held.run == run and seen.held.phase is not None:
        return Progress(advance(seen.held.phase, phase), reason, message)
    return Begin(run, cause or seen.held.cause, phase, reason, message)
