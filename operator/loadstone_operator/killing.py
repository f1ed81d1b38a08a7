"""Decide what becomes of a run whose class has its kill switch on: it ends at once, whoever answers. Pure.

The master is told, and its agents have their engines killed and say what these have done. Pods are deleted of workers
that it does not reach, and of all of them when nobody hears it or it does not obey: their load must not go on until a
lease has run out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.verdict.outcome import Reason
from loadstone_operator.ending import abort, delete, is_killed

if TYPE_CHECKING:
    from loadstone_operator.actions import Decision, DeletePods
    from loadstone_operator.observation import Observation, WorkerView

# Within this time a master that lives is heard again when a connection was lost, and so are its workers by one that
# was started again.
UNHEARD_SECONDS: Final = 2.0
# By then the engines of all whom it reaches have ended, unless it hangs, on its disk perhaps; and an operator that has
# come back is connected to the masters of all runs.
OBEYED_SECONDS: Final = 5.0
# For what the workers have counted, and for the verdict.
ANSWER_SECONDS: Final = 30.0
_UNREACHED: Final = frozenset({"Expected", "Suspect"})
_OVER: Final = frozenset({"Ended", "Lost", "Retired"})


def end_killed(seen: Observation) -> Decision | None:
    """Return the end of a killed run that its master will not end: it is gone, or has had the time to."""
    if not is_killed(seen):
        return None
    master = seen.master_pod()
    if master is not None and (not master.is_terminal or master.last_outcome is not None):
        if master.is_terminal or seen.seconds_killed < ANSWER_SECONDS:
            return None
        return abort(seen, Reason.KILLED, "and its master did not answer in time, so its results are lost")
    return abort(seen, Reason.KILLED, "and its master had gone, so its results are lost")


def killed_pods(seen: Observation) -> tuple[DeletePods, ...]:
    """Return the deletion of the workers' pods of a killed run that nobody can tell to end."""
    if not is_killed(seen) or _may_be_heard_yet(seen):
        return ()
    master = seen.master
    heard = master.workers if master is not None and master.connected else ()
    told = {(each.worker, each.attempt): each for each in heard}
    pods = [
        pod
        for pod in seen.worker_pods()
        if not (pod.is_terminal or pod.deleting) and not _is_reached(seen, told.get((pod.worker, pod.attempt)))
    ]
    return (delete(seen, pods),) if pods else ()


def _may_be_heard_yet(seen: Observation) -> bool:
    """Say whether a master that is not heard has not had the time to be."""
    is_heard = seen.master is not None and seen.master.connected
    is_soon = min(seen.seconds_unheard, seen.seconds_killed) < UNHEARD_SECONDS
    return not is_heard and (is_soon or seen.seconds_watched < OBEYED_SECONDS)


def _is_reached(seen: Observation, told: WorkerView | None) -> bool:
    """Say whether the master has an agent there that does what it is told; `told` is what it says of that one."""
    if told is None or told.state in _UNREACHED:
        # Of one that was just started again this says nothing yet.
        return bool(seen.seconds_heard) and seen.seconds_heard < UNHEARD_SECONDS
    if told.state == "Lost":
        return told.reason != "Silent"
    return told.state in _OVER or seen.seconds_killed < OBEYED_SECONDS
