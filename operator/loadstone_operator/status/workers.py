"""Count the workers of a run for its status, and list what is wrong with pods. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loadstone_operator import naming
from loadstone_operator.observation import Accepted, Observation, PodView, Stage
from loadstone_operator.replacing import attempts

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


def project_workers(status: Mapping[str, Any], seen: Observation) -> dict[str, Any]:
    """Return `status.workers`; figures that nobody can tell any more stay as they were."""
    old = status.get("workers") or {}
    number = int((status.get("run") or {}).get("number", 0))
    desired = int(old.get("desired") or (seen.spec.workers if isinstance(seen.spec, Accepted) else 0))
    told = seen.master.workers if seen.master and seen.master.stage else None
    counts = {key: int(old.get(key, 0)) for key in ("connected", "running", "lost", "replaced")}
    if told is not None:
        counts = {
            "connected": sum(worker.state in _TAKING_PART for worker in told),
            "running": sum(worker.state == "Running" for worker in told),
            "lost": sum(worker.state == "Lost" for worker in told),
            "replaced": sum(worker.state in _TAKING_PART and worker.attempt > 1 for worker in told),
        }
    block: dict[str, Any] = {
        "desired": desired,
        "ready": sum(pod.phase == "Running" for pod in seen.worker_pods()),
        **counts,
        "ratio": f"{counts['connected']}/{desired}",
        "selector": naming.worker_selector(seen.test.uid, number),
    }
    newest = attempts(seen)
    if newest:
        block["attempts"] = [{"worker": worker, "attempt": attempt} for worker, attempt in sorted(newest.items())]
    problems = _merge(list(_problems(seen)), list(old.get("problems") or ()))
    if problems:
        block["problems"] = problems
    return block


def _problems(seen: Observation) -> Iterator[dict[str, Any]]:
    master = seen.master_pod()
    is_ending = seen.master is not None and seen.master.stage in _ENDING
    for pod in (*((master,) if master else ()), *seen.worker_pods()):
        if pod.problem is not None:
            yield _problem(pod, pod.problem.reason, pod.problem.message)
        elif pod.role == naming.ROLE_WORKER and pod.end is not None and pod.end.exit_code:
            if is_ending and pod.end.exit_code == _ENDED_ON_REQUEST:
                continue
            yield _problem(
                pod, pod.end.reason, pod.end.message or f"The engine ended with exit code {pod.end.exit_code}."
            )
    for worker in seen.master.workers if seen.master else ():
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
    return list(merged.values())[:PROBLEMS_MOST]
