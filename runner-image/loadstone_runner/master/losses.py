"""Remember which workers were lost, whether others took their load over, and whether they were replaced. Pure.

What a loss means for the run is said here, too; who is lost is known to `roster`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadstone_core.spec.model import OnLoss
from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Reason
from loadstone_protocol.messages import RunOrder
from loadstone_runner.master import run
from loadstone_runner.master.member import OUT_OF_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadstone_core.plan.model import RunPlan
    from loadstone_runner.master.member import Departure, Member


@dataclass(slots=True)
class Loss:
    """One worker that was lost.

    Attributes:
        since_ns: when that was known, or when it was last heard if it fell silent.
        taken_over_ns: how long its load was not done by anybody; None: it still is not.
        is_replaced: a new attempt of the worker has come.
    """

    worker: int
    attempt: int
    departure: Departure
    since_ns: int
    pod: str = ""
    taken_over_ns: int | None = None
    is_replaced: bool = False

    def describe(self) -> str:
        """Return what became of its load and of the worker, for people; empty if nothing did."""
        said = []
        if self.taken_over_ns is not None:
            said.append(f"its load was taken over after {_seconds(self.taken_over_ns)}")
        if self.is_replaced:
            said.append("it was replaced")
        return " and ".join(said)


class Losses:
    """The losses of one run, oldest first."""

    def __init__(self) -> None:
        self._all: list[Loss] = []

    def __iter__(self) -> Iterator[Loss]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def note(self, member: Member, departure: Departure, since_ns: int) -> None:
        """Remember that an attempt of a worker was lost."""
        self._all.append(Loss(member.worker, member.attempt, departure, since_ns, member.pod))

    def settle(self, now_ns: int, holds: Callable[[int, int], bool]) -> bool:
        """Note that somebody does everything now; return whether that was news.

        What an attempt of a worker still `holds` is done by nobody else: it may live on until its lease is over.
        """
        open_ones = [each for each in self._all if each.taken_over_ns is None and not holds(each.worker, each.attempt)]
        for each in open_ones:
            each.taken_over_ns = max(0, now_ns - each.since_ns)
        return bool(open_ones)

    def replace(self, worker: int) -> None:
        """Note that a new attempt of a worker has come."""
        for each in self._all:
            if each.worker == worker:
                each.is_replaced = True

    def newest(self, worker: int) -> Loss | None:
        """Return the last loss of a worker, None if it was never lost."""
        for each in reversed(self._all):
            if each.worker == worker:
                return each
        return None

    def describe(self) -> str:
        """Return what became of the load of all, for people; empty if there was no loss or nothing to say."""
        if not self._all:
            return ""
        if len(self._all) == 1:
            return self._all[0].describe()
        longest = [each.taken_over_ns for each in self._all]
        told = [each for each in longest if each is not None]
        replaced = sum(each.is_replaced for each in self._all)
        said = []
        if len(told) == len(longest):
            said.append(f"their load was taken over after {_seconds(max(told))} at most")
        elif told:
            said.append(f"the load of {len(told)} of them was taken over")
        if replaced:
            said.append(f"{replaced} of them were replaced" if replaced < len(longest) else "all were replaced")
        return " and ".join(said)


def event_of_loss(
    worker: int, departure: Departure, plan: RunPlan, state: run.RunState, *, lost: int
) -> run.Broke | run.TooManyLost | None:
    """Return what the loss of a worker does to the run; `lost` workers are lost now. None: it goes on."""
    why = departure.message or departure.reason
    is_memory = departure.reason == OUT_OF_MEMORY
    is_gathering = state.stage is run.Stage.GATHERING
    if is_gathering and not is_memory:
        return run.Broke(Reason.WORKERS_LOST, f"worker {worker} was lost before the load began: {why}")
    if plan.on_loss is OnLoss.ABORT and state.order is not RunOrder.STOPPED:
        return run.Broke(Reason.WORKERS_LOST, f"worker {worker} was lost, and workers.onLoss is Abort: {why}")
    # What was too much memory for one is no less for whoever takes it over, and an error whatever comes.
    is_hopeless = is_memory and (is_gathering or plan.moves_load)
    return run.TooManyLost() if is_hopeless or lost > plan.most_lost else None


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / SECOND:.1f} s"
