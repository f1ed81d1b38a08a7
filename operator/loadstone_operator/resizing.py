"""Decide how many workers a run is to have now, which pods that takes, and which it takes no more. Pure.

The master is asked first: it lists whom it expects before a pod is made, and who has given up its load before one goes.
A number is in the status before pods beyond it are made. Pods for those that were lost belong to `replacing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.spec.digest import edited
from loadstone_operator.actions import Past
from loadstone_operator.naming import ROLE_WORKER
from loadstone_operator.observation import Accepted, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_operator.observation import Observation, PodView, WorkerView

# Of these a new pod would be made by what the spec says now, and the others of the run were not.
_OF_A_POD: Final = ("source", "image", "engine", "env", "workers.template")
_ENDING: Final = frozenset({Stage.STOPPING, Stage.FINISHED})
# For good: whatever is wanted since, an attempt that has retired gets no load again, and its end is no loss.
_RETIRED: Final = "Retired"
_GIVEN_UP: Final = frozenset({"Ended", "Lost", _RETIRED})


def asked_workers(seen: Observation) -> int:
    """Return how many workers the spec asks a run for, which may be more than the installation allows."""
    spec, now = seen.spec, _now(seen)
    if not isinstance(spec, Accepted) or not _is_resized(seen):
        return now
    return now if spec.workers > now and not are_pods_alike(seen.held.parts, spec) else spec.workers


def wanted_workers(seen: Observation) -> int:
    """Return how many workers a run is to have now: what its spec asks for, as far as that is allowed and of use."""
    is_short = seen.capacity.refused or seen.capacity.waiting
    return _now(seen) if is_short else asked_workers(seen)


def steered_workers(seen: Observation, steered: int) -> int:
    """Return the number for the master that was told `steered`: 0 as long as it cannot ever have been another.

    Of a spec that became invalid in mid-run it is what the master was told before, which it keeps.
    """
    wanted, held = wanted_workers(seen), seen.held
    if not isinstance(seen.spec, Accepted):
        return steered
    return wanted if held.can_resize and (steered or seen.is_edited or wanted != held.planned) else 0


def are_pods_alike(parts: Mapping[str, str], spec: Accepted) -> bool:
    """Say whether a new pod of a run that was planned with `parts` would be like its others."""
    return not any(path.startswith(_OF_A_POD) for path in edited(parts, spec.parts))


def may_make_pods(seen: Observation) -> bool:
    """Say whether the number of a run's workers may change and more of them would still be of use."""
    spec, master = seen.spec, seen.master
    is_heard = master is not None and master.stage in {Stage.GATHERING, Stage.RUNNING}
    return is_heard and isinstance(spec, Accepted) and _is_resized(seen) and are_pods_alike(seen.held.parts, spec)


def most_pods(seen: Observation) -> int:
    """Return below which number workers may get pods: they are wanted, and both the status and the master say so."""
    return min(seen.held.workers, wanted_workers(seen), _taken(seen))


def added_pods(seen: Observation) -> tuple[tuple[int, int], ...]:
    """Return (worker, attempt) of first pods that a run needs beyond those it began with: the master expects them."""
    if not may_make_pods(seen) or seen.master is None:
        return ()
    held = seen.held
    there = {pod.worker for pod in seen.worker_pods()} | {end.worker for end in seen.ended} | held.attempts.keys()
    return tuple(
        (each.worker, 1)
        for each in seen.master.workers
        if held.planned <= each.worker < most_pods(seen)
        and (each.worker not in there and each.attempt == 0 and each.state == "Expected")
    )


def pods_of_run(seen: Observation) -> tuple[PodView, ...]:
    """Return a run's newest pods: its master's, and those of the workers that it is to have now, if that is known."""
    wanted, master = wanted_workers(seen), seen.master_pod()
    workers = (pod for pod in seen.worker_pods() if pod.worker < wanted or not wanted)
    return (*((master,) if master else ()), *workers)


def surplus_pods(seen: Observation) -> tuple[PodView, ...]:
    """Return the pods that do nothing any more: of attempts that have retired, and of workers that are not wanted.

    Who has retired gets no load again, whatever is wanted by now. Of others the master must have taken the wish before
    what it says is its last word.
    """
    master = seen.master
    if master is None or not master.connected or not _is_resized(seen):
        return ()
    kept = max(_taken(seen), seen.held.workers, wanted_workers(seen))
    states = {each.worker: each.state for each in master.workers}
    retired = {(each.worker, each.attempt) for each in master.workers if each.state == _RETIRED}

    def is_surplus(pod: PodView) -> bool:
        is_unwanted = pod.worker >= kept and seen.steered is not None
        is_over = is_unwanted and states.get(pod.worker, "Ended") in _GIVEN_UP
        return is_over or (pod.worker, pod.attempt) in retired

    there = (pod for pod in seen.pods if pod.role == ROLE_WORKER and pod.run == seen.run)
    return tuple(pod for pod in there if not (pod.deleting or pod.is_terminal) and is_surplus(pod))


def wanted_again(seen: Observation) -> dict[int, int]:
    """Return the next attempt of workers that had to go and are wanted again, unless they can stay as they are."""
    held = seen.held
    told = {each.worker: each for each in seen.master.workers} if seen.master else {}
    pods = {pod.worker: pod for pod in seen.worker_pods()}
    wanted = wanted_workers(seen)
    again = range(held.workers, min(wanted, held.made)) if held.workers else range(0)
    gone = {worker for worker in again if not _stays(pods.get(worker), told.get(worker))}
    gone |= {worker for worker, each in told.items() if worker < min(held.workers, wanted) and _has_left(seen, each)}
    return {worker: _next_attempt(seen, worker, told) for worker in gone}


def past(seen: Observation) -> Past:
    """Return what another master of the run has to know of it."""
    held = seen.held
    pods = [pod.worker + 1 for pod in seen.worker_pods()]
    made = max(held.planned, held.workers, held.made, *pods, *(worker + 1 for worker in held.attempts), 0)
    return Past(
        is_sole=seen.masters_ended >= held.epoch - 1,
        has_begun=held.has_ordered_load,
        attempts=held.attempts,
        workers=held.workers if held.workers != held.planned else 0,
        workers_made=made if made != held.planned else 0,
    )


def _now(seen: Observation) -> int:
    """Return how many workers the run is to have by its status, and before it has begun, by its spec."""
    is_due = not seen.held.workers or seen.held.phase is Phase.QUEUED
    return seen.spec.workers if is_due and isinstance(seen.spec, Accepted) else seen.held.workers


def _taken(seen: Observation) -> int:
    """Return how many workers the master has been told to have, as far as it is known to have heard it."""
    steered = seen.steered
    return (steered.workers if steered is not None and steered.run == seen.run else 0) or seen.held.planned


def _is_resized(seen: Observation) -> bool:
    """Say whether an edit of the number takes effect: in a run that goes on, and is not about to end."""
    held, master = seen.held, seen.master
    if held.run != seen.run or not held.can_resize or held.finished or held.phase is None:
        return False
    is_ending = master is not None and (master.stage in _ENDING or master.outcome is not None)
    if is_ending or seen.wanted_stop:
        return False
    return Phase.PROVISIONING.order <= held.phase.order < Phase.STOPPING.order


def _stays(pod: PodView | None, told: WorkerView | None) -> bool:
    """Say whether a worker that is wanted again can go on as it is: its master takes it back."""
    if pod is None or pod.deleting or pod.is_terminal:
        return False
    # Of a newer attempt, which is about to come, this says nothing.
    return told is None or told.state not in _GIVEN_UP or told.attempt < pod.attempt


def _has_left(seen: Observation, told: WorkerView) -> bool:
    """Say whether the newest attempt of a wanted worker leaves a run that goes on, or has: it was not wanted once.

    One that a master which took over expects, and that has no pod, may have been there: it does not come any more.
    """
    is_newest = told.attempt >= seen.held.attempts.get(told.worker, 1)
    has_pod = any(pod.worker == told.worker and pod.attempt >= told.attempt for pod in seen.worker_pods())
    is_absent = told.state == "Expected" and told.attempt > 0 and not has_pod
    if not (is_absent or told.state in {"Ended", _RETIRED}) or not is_newest or not may_make_pods(seen):
        return False
    # A master that takes over may speak of an end that was everybody's, until it has learnt how far the run is.
    is_running = seen.master is not None and seen.master.stage is Stage.RUNNING
    return is_running or not seen.held.has_ordered_load


def _next_attempt(seen: Observation, worker: int, told: Mapping[int, WorkerView]) -> int:
    heard = told[worker].attempt if worker in told else 0
    made = [pod.attempt for pod in seen.worker_pods() if pod.worker == worker]
    return max(seen.held.attempts.get(worker, 1), heard, *made) + 1
