"""Decide which workers of a run get another pod, because theirs was lost. Pure.

An attempt is in the status before its pod is made, so that no two pods ever have the same one. Before the load begins
the master says what a loss means, and ends the run where another pod would end like the one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.plan.model import ATTEMPTS_MOST
from loadstone_core.spec.model import OnLoss
from loadstone_core.verdict.outcome import Reason
from loadstone_operator.observation import Accepted, Stage
from loadstone_operator.resizing import are_pods_alike, may_make_pods, most_pods, wanted_again, wanted_workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loadstone_operator.observation import Observation

# Until the load begins there are no others who could do what a lost worker was to do.
_EARLY: Final = frozenset({OnLoss.REPLACE, OnLoss.REDISTRIBUTE})
# While an attempt is one of these, the next one would be in its way: of one that has retired the master takes what it
# has counted until the next one comes.
_THERE: Final = frozenset({"Connected", "Ready", "Running", "Suspect", "Retired"})


def attempts(seen: Observation) -> Mapping[int, int]:
    """Return the newest attempt of each worker whose pod was, or is to be, made more than once."""
    again = wanted_again(seen)
    wanted = {**seen.held.attempts, **again}
    if not _may_replace(seen) or seen.master is None:
        return wanted
    # Who is not wanted any more needs no other pod, and who is wanted again is no lost one.
    wanted_now = wanted_workers(seen)
    kept = {*range(min(seen.held.workers or wanted_now, wanted_now))} - again.keys()
    if _is_early(seen):
        lost = {worker: attempt + 1 for worker, attempt in _lost_early(seen) if attempt < ATTEMPTS_MOST}
        return wanted | {worker: attempt for worker, attempt in lost.items() if worker in kept}
    over = {(pod.worker, pod.attempt) for pod in seen.worker_pods() if pod.is_terminal}
    over |= {(end.worker, end.attempt) for end in seen.ended}
    over |= {(worker.worker, worker.attempt) for worker in seen.master.workers if worker.state == "Lost"}
    for worker in seen.master.workers:
        newest = seen.held.attempts.get(worker.worker, 1)
        is_lost = worker.worker in kept and (worker.state == "Lost" or worker.attempt < newest)
        if is_lost and (worker.worker, newest) in over and newest < ATTEMPTS_MOST:
            wanted[worker.worker] = newest + 1
    return wanted


def missing_pods(seen: Observation) -> tuple[tuple[int, int], ...]:
    """Return (worker, attempt) of the pods that the status speaks of and that were never there."""
    # Who is wanted again gets a pod whatever happens when one is lost.
    if not (_may_replace(seen) or may_make_pods(seen)) or seen.master is None:
        return ()
    most = most_pods(seen)
    there = {(pod.worker, pod.attempt) for pod in seen.worker_pods()}
    there |= {(end.worker, end.attempt) for end in seen.ended}
    heard = {worker.worker: worker.attempt for worker in seen.master.workers}
    leaving = {worker.worker for worker in seen.master.workers if worker.state in _THERE}
    return tuple(
        (worker, attempt)
        for worker, attempt in sorted(seen.held.attempts.items())
        if worker < most
        and (worker in heard and worker not in leaving)
        and ((worker, attempt) not in there and heard[worker] < attempt)
    )


def _lost_early(seen: Observation) -> Iterator[tuple[int, int]]:
    """Yield (worker, attempt) of the newest attempts that are lost, of a run whose load has not begun.

    Those are the ones that the master says are lost, and those that it has never heard, and never will: they are told
    to end, or gone without an end that it could be told of.
    """
    # What was too much memory for one pod is no less for the next, whoever has told the master what of it.
    pods = seen.worker_pods()
    hungry = {pod.worker for pod in pods if pod.problem is not None and pod.problem.reason == Reason.WORKER_OOM}
    made = {(pod.worker, pod.attempt): pod for pod in pods}
    coming = {place for place, pod in made.items() if not (pod.deleting or pod.is_terminal)}
    # A master that takes over has heard nobody either, until it has learnt how far the run is.
    is_first_start = not seen.held.has_ordered_load
    told = {(end.worker, end.attempt) for end in seen.ended}
    for worker in seen.master.workers if seen.master else ():
        newest = seen.held.attempts.get(worker.worker, 1)
        place = (worker.worker, newest)
        if worker.attempt >= newest:
            is_lost = worker.state == "Lost"
        else:
            # Of a later one the status may speak before its pod is made; the first ones were made with the run.
            is_first = newest == 1 and worker.worker < seen.held.planned
            is_lost = is_first_start and (is_first or place in made) and place not in coming | told
        if is_lost and worker.worker not in hungry:
            yield place


def _is_early(seen: Observation) -> bool:
    """Say whether all pods were made, and the load has not begun for all that the master knows."""
    phase = seen.held.phase
    is_gathering = seen.master is not None and seen.master.stage is Stage.GATHERING
    return is_gathering and phase is not None and phase.order >= Phase.PROVISIONING.order


def _may_replace(seen: Observation) -> bool:
    """Say whether the run is one whose workers are replaced, and makes load or is about to."""
    spec, master = seen.spec, seen.master
    if not isinstance(spec, Accepted) or seen.held.run != seen.run:
        return False
    if _is_early(seen):
        is_wanted = spec.on_loss in _EARLY
    else:
        is_wanted = spec.on_loss is OnLoss.REPLACE and master is not None and master.stage is Stage.RUNNING
    if not is_wanted or seen.wanted_stop:
        return False
    return are_pods_alike(seen.held.parts, spec)
