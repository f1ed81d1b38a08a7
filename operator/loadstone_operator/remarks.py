"""Say of a run that goes on what people should know who look at it: the first thing that is wrong with it. Pure.

What is done about it is decided elsewhere; findings and problems of single pods have their own places in the status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.verdict.outcome import Reason
from loadstone_operator.ending import is_killed, switch_of
from loadstone_operator.replacing import attempts
from loadstone_operator.resizing import pods_of_run, wanted_workers
from loadstone_operator.status.edits import for_the_next_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_operator.observation import CreationProblem, Observation


def remark(seen: Observation, *, refusal: CreationProblem | None) -> tuple[str, str]:
    """Return reason and message of a run that goes on; `refusal` is why pods that it needs were not made."""
    return next(_remarks(seen, refusal), ("", ""))


def _remarks(seen: Observation, refusal: CreationProblem | None) -> Iterator[tuple[str, str]]:
    """Yield reasons and messages, the gravest first."""
    held, master = seen.held, seen.master
    if seen.wanted_stop:
        yield seen.wanted_stop, f"The run is being {f'killed by {switch_of(seen)}' if is_killed(seen) else 'stopped'}."
    for pod in pods_of_run(seen):
        if pod.problem:
            yield pod.problem.reason, pod.problem.message
    if refusal is not None:
        yield refusal.shown or refusal.reason, refusal.message
    yield from _losses(seen)
    if short := seen.capacity.refused or seen.capacity.waiting:
        yield "", short
    if master is not None and master.waiting_for:
        yield "", master.waiting_for
    yield "", for_the_next_run(held.parts, seen.spec, can_resize=held.can_resize, workers=wanted_workers(seen))


def _losses(seen: Observation) -> Iterator[tuple[str, str]]:
    newest, wanted = attempts(seen), wanted_workers(seen)
    for worker in seen.master.workers if seen.master else ():
        attempt = newest.get(worker.worker, 1)
        again = f" It is being replaced (attempt {attempt})." if attempt > max(1, worker.attempt) else ""
        if worker.worker >= wanted:
            continue
        if worker.state == "Lost":
            why = worker.message or worker.reason or "it fell silent"
            yield Reason.WORKERS_LOST, f"Worker {worker.worker} was lost: {why}.{again}"
        elif again and worker.state == "Expected":
            yield Reason.WORKERS_LOST, f"Worker {worker.worker} was lost before it had come.{again}"
