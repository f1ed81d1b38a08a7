"""Decide which workers of a run get another pod, because theirs was lost in mid-run. Pure.

An attempt is in the status before its pod is made, so that no two pods ever have the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.spec.digest import edited
from loadstone_core.spec.model import OnLoss
from loadstone_operator.observation import Accepted, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_operator.observation import Observation

# A worker that was lost so often is not a matter of a node any more.
ATTEMPTS_MOST: Final = 5
# Of these a new pod would be made by what the spec says now, and the others of the run were not.
_OF_A_POD: Final = ("source", "image", "engine", "env", "workers.template")


def attempts(seen: Observation) -> Mapping[int, int]:
    """Return the newest attempt of each worker whose pod was, or is to be, made more than once."""
    wanted = dict(seen.held.attempts)
    if not _may_replace(seen) or seen.master is None:
        return wanted
    over = {(pod.worker, pod.attempt) for pod in seen.worker_pods() if pod.is_terminal}
    over |= {(end.worker, end.attempt) for end in seen.ended}
    over |= {(worker.worker, worker.attempt) for worker in seen.master.workers if worker.state == "Lost"}
    for worker in seen.master.workers:
        newest = seen.held.attempts.get(worker.worker, 1)
        is_lost = worker.state == "Lost" or worker.attempt < newest
        if is_lost and (worker.worker, newest) in over and newest < ATTEMPTS_MOST:
            wanted[worker.worker] = newest + 1
    return wanted


def missing_pods(seen: Observation) -> tuple[tuple[int, int], ...]:
    """Return (worker, attempt) of the pods that the status speaks of and that were never there."""
    if not _may_replace(seen) or seen.master is None:
        return ()
    there = {(pod.worker, pod.attempt) for pod in seen.worker_pods()}
    there |= {(end.worker, end.attempt) for end in seen.ended}
    heard = {worker.worker: worker.attempt for worker in seen.master.workers}
    return tuple(
        (worker, attempt)
        for worker, attempt in sorted(seen.held.attempts.items())
        if (worker, attempt) not in there and heard.get(worker, 0) < attempt
    )


def _may_replace(seen: Observation) -> bool:
    """Say whether the run is one whose workers are replaced, and makes load."""
    spec, master = seen.spec, seen.master
    if not isinstance(spec, Accepted) or spec.on_loss is not OnLoss.REPLACE or seen.held.run != seen.run:
        return False
    if master is None or master.stage is not Stage.RUNNING or seen.test.suspend or seen.test.stop_run == seen.run:
        return False
    return not any(path.startswith(_OF_A_POD) for path in edited(seen.held.parts, spec.parts))
