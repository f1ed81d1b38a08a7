"""Decide what becomes of a run whose class has its kill switch on: it ends at once, whoever answers. Pure.

The master is told, and its agents have their engines killed and say what these have done. Pods are deleted of workers
that it does not reach, and of all of them when nobody hears it or it does not obey: their load must not go on until a
lease has run out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.verdict.outcome import Reason
from loadstone_operator.ending import abort, delete
from loadstone_operator.observation import Stage

if TYPE_CHECKING:
    from loadstone_operator.actions import Decision, DeletePods
    from loadstone_operator.observation import Observation, PodView, WorkerView

# A master that lives is heard again within this time when a connection was lost.
UNHEARD_SECONDS: Final = 2.0
# One that has heard of the kill and does not obey it hangs, on its disk perhaps.
OBEYED_SECONDS: Final = 5.0
# For what the workers have counted, and for the verdict.
ANSWER_SECONDS: Final = 30.0
_UNREACHED: Final = frozenset({"Expected", "Suspect"})


def end_killed(seen: Observation) -> Decision | None:
    """Return the end of a killed run that its master will not end: it is gone, or has had the time to."""
    if seen.wanted_stop != Reason.KILLED:
        return None
    master = seen.master_pod()
    if master is not None and (not master.is_terminal or master.last_outcome is not None):
        if master.is_terminal or seen.seconds_stopping < ANSWER_SECONDS:
            return None
        return abort(seen, Reason.KILLED, "and its master did not answer in time, so its results are lost")
    return abort(seen, Reason.KILLED, "and its master had gone, so its results are lost")


def killed_pods(seen: Observation) -> tuple[DeletePods, ...]:
    """Return the deletion of the workers' pods of a killed run that nobody can tell to end."""
    if seen.wanted_stop != Reason.KILLED:
        return ()
    master = seen.master
    is_heard = master is not None and master.connected
    if not is_heard and min(seen.seconds_unheard, seen.seconds_stopping) < UNHEARD_SECONDS:
        return ()
    has_obeyed = master is not None and master.stage in {Stage.STOPPING, Stage.FINISHED}
    is_trusted = is_heard and (has_obeyed or seen.seconds_stopping < OBEYED_SECONDS)
    told = {each.worker: each for each in master.workers} if master is not None and is_trusted else {}
    pods = [
        pod
        for pod in seen.worker_pods()
        if not (pod.is_terminal or pod.deleting) and not _is_reached(pod, told.get(pod.worker))
    ]
    return (delete(seen, pods),) if pods else ()


def _is_reached(pod: PodView, told: WorkerView | None) -> bool:
    """Say whether the master has an agent there that does what it is told."""
    if told is None or told.attempt != pod.attempt:
        return False
    return told.state not in _UNREACHED and not (told.state == "Lost" and told.reason == "Silent")
