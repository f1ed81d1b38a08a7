"""Count the workers of a run for its status, and list what is wrong with pods. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loadstone_operator import naming
from loadstone_operator.observation import Accepted, Observation, PodView, Stage, WorkerView
from loadstone_operator.replacing import attempts
from loadstone_operator.status.attempts import list_attempts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROBLEMS_MOST: Final = 10

# A worker that has said goodbye took part to the end, and counts.
_TAKING_PART: Final = frozenset({"Connected", "Ready", "Running", "Ended"})
_LONGEST_MESSAGE: Final = 512
_DEGRADED: Final = "Degraded"  # as a master says of a worker whose engine does not come to its loop
# An engine that is ended before it had any load says so; once the run ends, that is no problem.
_ENDED_ON_REQUEST: Final = 143
_ENDING: Final = frozenset({Stage.STOPPING, Stage.FINISHED})


def project_workers(status: Mapping[str, Any], seen: Observation, *, workers: int = 0) -> dict[str, Any]:
    """Return `status.workers` with so many wanted (0: as before); what nobody can tell any more stays as it was."""
    old, run = status.get("workers") or {}, status.get("run") or {}
    number = int(run.get("number", 0))
    desired = workers or int(old.get("desired") or (seen.spec.workers if isinstance(seen.spec, Accepted) else 0))
    # Those of another run end with it.
    newest = attempts(seen) if seen.held.run in {0, number} else {}
    told = None
    if seen.master and seen.master.stage:
        told = [worker for worker in seen.master.workers if worker.worker < desired]
    counts = {key: int(old.get(key, 0)) for key in ("connected", "running", "lost", "replaced")}
    if told is not None:
        counts = {
            "connected": sum(_takes_part(worker, newest) for worker in told),
            "running": sum(worker.state == "Running" for worker in told),
            "lost": sum(worker.state == "Lost" for worker in told),
            "replaced": sum(_takes_part(worker, newest) and worker.attempt > 1 for worker in told),
        }
    block: dict[str, Any] = {
        "desired": desired,
        "ready": sum(pod.phase == "Running" for pod in seen.worker_pods() if pod.worker < desired),
        **counts,
        "ratio": f"{counts['connected']}/{desired}",
        "selector": naming.worker_selector(seen.test.uid, number),
    }
    made = max(int(old.get("made") or 0), int(old.get("desired") or 0))
    if made > max(desired, int(run.get("workers") or 0)):
        block["made"] = made
    if newest:
        block["attempts"] = list_attempts(newest)
    problems = _merge(list(_problems(seen, desired)), list(old.get("problems") or ()))
    if problems:
        block["problems"] = problems[:PROBLEMS_MOST]
    if len(problems) > PROBLEMS_MOST:
        block["problemsOmitted"] = len(problems) - PROBLEMS_MOST
    return block


def _takes_part(worker: WorkerView, newest: Mapping[int, int]) -> bool:
    has_left = worker.state == "Ended" and worker.attempt < newest.get(worker.worker, 1)
    return worker.state in _TAKING_PART and not has_left


def _problems(seen: Observation, desired: int) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with the pods of a run; of one that has to go, nothing is."""
    master = seen.master_pod()
    is_ending = seen.master is not None and seen.master.stage in _ENDING
    workers = (pod for pod in seen.worker_pods() if pod.worker < desired)
    for pod in (*((master,) if master else ()), *workers):
        if pod.problem is not None:
            yield _problem(pod, pod.problem.reason, pod.problem.message)
        elif pod.role == naming.ROLE_WORKER and pod.end is not None and pod.end.exit_code:
            if is_ending and pod.end.exit_code == _ENDED_ON_REQUEST:
                continue
            yield _problem(
                pod, pod.end.reason, pod.end.message or f"The engine ended with exit code {pod.end.exit_code}."
            )
    for worker in seen.master.workers if seen.master else ():
        if worker.worker >= desired:
            continue
        if worker.state == "Lost":
            told = {"pod": worker.pod, "worker": worker.worker, "reason": worker.reason or "Lost"}
            yield {**told, "message": worker.message[:_LONGEST_MESSAGE], "exitCode": worker.exit_code}
        elif worker.reason == _DEGRADED:
            # It lives, and this is gone from the status when it has come to its loop again.
            told = {"pod": worker.pod, "worker": worker.worker, "reason": _DEGRADED}
            yield {**told, "message": worker.message[:_LONGEST_MESSAGE]}


def _problem(pod: PodView, reason: str, message: str) -> dict[str, Any]:
    told: dict[str, Any] = {"pod": pod.name, "reason": str(reason), "message": message[:_LONGEST_MESSAGE]}
    if pod.role == naming.ROLE_WORKER:
        told["worker"] = pod.worker
    if pod.node:
        told["node"] = pod.node
    if pod.end is not None:
        told["exitCode"] = pod.end.exit_code
    return told


def _merge(new: list[dict[str, Any]], old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one problem a pod, the newest words first; a pod that is gone keeps what was said of its end."""
    merged: dict[str, dict[str, Any]] = {}
    for problem in (*new, *(problem for problem in old if "exitCode" in problem)):
        merged.setdefault(str(problem.get("pod")), problem)
    return list(merged.values())
