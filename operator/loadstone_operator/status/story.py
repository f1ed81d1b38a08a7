"""Tell the story of a run as Kubernetes Events: one for each station and each problem. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.verdict.outcome import Verdict
from loadstone_operator.status.attempts import read_attempts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LONGEST_NOTE: Final = 1000
# What is said of a run that goes from one of these phases to another.
_UNDER_WAY: Final[Mapping[str, tuple[str, str]]] = {
    Phase.RUNNING: ("Resumed", "The load goes on."),
    Phase.PAUSED: ("Paused", "The load is paused; set spec.load.paused to false to go on."),
}


@dataclass(frozen=True, slots=True)
class Tale:
    """One Event: `detail` tells two of the same reason apart (a pod's name)."""

    run: int
    reason: str
    message: str
    is_warning: bool = False
    detail: str = ""


def tales(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Tale, ...]:
    """Return what a status says that its predecessor did not."""
    return tuple(_tales(old, new))


def _tales(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Tale]:
    run: Mapping[str, Any] = new.get("run") or {}
    number = int(run.get("number", 0))
    known: Mapping[str, Any] = old.get("run") or {}
    is_new = known.get("number") != run.get("number")
    if is_new:
        known = {}
        if number:
            workers = (new.get("workers") or {}).get("desired", 0)
            crew = "1 worker" if workers == 1 else f"{workers} workers"
            yield Tale(number, "RunStarted", f"Run {number} ({run.get('cause')}) with {crew}.")
    if new.get("phase") == Phase.QUEUED and (not known or old.get("phase") != Phase.QUEUED):
        yield Tale(number, "Queued", _note(new.get("message")))
    if run.get("workersReadyAt") and not known.get("workersReadyAt"):
        yield Tale(number, "WorkersReady", "All workers are connected and ready.")
    if run.get("loadStartedAt") and not known.get("loadStartedAt"):
        skew = f" within {run['startSkewMicros'] / 1000:.1f} ms" if run.get("startSkewMicros") else ""
        yield Tale(number, "LoadStarted", f"All workers began the load{skew}.")
    if not is_new and old.get("phase") in _UNDER_WAY and old.get("phase") != new.get("phase") in _UNDER_WAY:
        yield Tale(number, *_UNDER_WAY[new["phase"]])
    if not is_new:
        yield from _scaling(old, new, number)
    yield from _problems(old, new, number)
    yield from _replacements({} if is_new else old, new, number)
    if new.get("finished") and (is_new or not old.get("finished") or old.get("verdict") != new.get("verdict")):
        is_warning = new.get("verdict") != Verdict.PASSED
        yield Tale(number, str(new.get("reason")), _note(f"{new.get('verdict')}: {new.get('message', '')}"), is_warning)


def _scaling(old: Mapping[str, Any], new: Mapping[str, Any], run: int) -> Iterator[Tale]:
    """Yield that a run that has begun is to have more workers, or fewer."""
    before, after = ((each.get("workers") or {}).get("desired", 0) for each in (old, new))
    if before == after or Phase(old.get("phase", Phase.PENDING)).order < Phase.PROVISIONING.order:
        return
    crew = "1 worker" if after == 1 else f"{after} workers"
    # The same two numbers may follow each other again.
    yield Tale(run, "Scaled", f"From {before} to {crew}.", detail=f"{new['observedGeneration']}/{before}/{after}")


def _replacements(old: Mapping[str, Any], new: Mapping[str, Any], run: int) -> Iterator[Tale]:
    """Yield that the pod of a lost worker is made again."""
    known = read_attempts(old.get("workers") or {})
    before = (old.get("workers") or {}).get("desired")
    for worker, attempt in read_attempts(new.get("workers") or {}).items():
        # One beyond the old number was not lost: it is wanted again.
        if known.get(worker, 1) < attempt and (before is None or worker < before):
            text = f"Worker {worker} was lost and gets a new pod (attempt {attempt})."
            yield Tale(run, "WorkerReplaced", text, detail=f"{worker}/{attempt}")


def _problems(old: Mapping[str, Any], new: Mapping[str, Any], run: int) -> Iterator[Tale]:
    if new.get("reason") and not new.get("finished") and old.get("reason") != new.get("reason"):
        yield Tale(run, str(new["reason"]), _note(new.get("message")), is_warning=True)
    before = {(each.get("pod"), each.get("reason")) for each in (old.get("workers") or {}).get("problems") or ()}
    for problem in (new.get("workers") or {}).get("problems") or ():
        pod, reason = problem.get("pod"), problem.get("reason")
        if (pod, reason) not in before and reason != new.get("reason"):
            yield Tale(
                run, str(reason), _note(f"{pod}: {problem.get('message', '')}"), is_warning=True, detail=str(pod)
            )


def _note(text: object) -> str:
    return str(text or "")[:_LONGEST_NOTE]
