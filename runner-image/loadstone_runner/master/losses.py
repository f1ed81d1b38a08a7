"""Remember which workers were lost, whether others took their load over, and whether they were replaced. Pure.

What a loss means for the run is said here, too; who is lost is known to `roster`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.plan.model import ATTEMPTS_MOST
from loadstone_core.spec.model import OnLoss
from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Reason
from loadstone_protocol.messages import RunOrder
from loadstone_runner.master import run
from loadstone_runner.master.member import OUT_OF_MEMORY, Departure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loadstone_core.plan.model import RunPlan
    from loadstone_runner.master.member import Member

# So an agent, a kubelet or a local run calls the end of a process. Whatever else is said befell a pod or its node.
_OWN_ENDS: Final = frozenset(
    {"EngineDied", "AgentDied", "Error", "Completed", "StartError", "ContainerCannotRun", "RunContainerError"}
)
# SIGHUP, SIGINT, SIGKILL, SIGTERM: somebody else has sent it. A crash of native code has another number. -1: its
# launcher went with it, so that nobody has seen how it ended.
_FROM_OUTSIDE: Final = frozenset({-1, 128 + 1, 128 + 2, 128 + 9, 128 + 15})


@dataclass(slots=True)
class Loss:
    """One worker that was lost.

    Attributes:
        since_ns: when that was known, or when it was last heard if it fell silent.
        is_early: the load had not been ordered to begin.
        taken_over_ns: how long its load was not done by anybody; None: it still is not.
        is_replaced: a new attempt of the worker has come.
    """

    worker: int
    attempt: int
    departure: Departure
    since_ns: int
    pod: str = ""
    is_early: bool = False
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
    """The losses of one run, oldest first.

    Attributes:
        most: how many workers were lost, and not replaced, at a time while there was load, when these were the most
            beyond, or the nearest to, what is allowed.
        allowed: how many could be, of those that were wanted then.
    """

    def __init__(self) -> None:
        self.most = self.allowed = 0
        self._all: list[Loss] = []
        self._newest: dict[int, Loss] = {}  # by worker

    def __iter__(self) -> Iterator[Loss]:
        return iter(self._all)

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        return {"most": self.most, "allowed": self.allowed, "all": list(map(asdict, self._all))}

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another master of the run was."""
        self.most, self.allowed = held["most"], held["allowed"]
        self._all = [Loss(**{**each, "departure": Departure(**each["departure"])}) for each in held["all"]]
        self._newest = {each.worker: each for each in self._all}

    @property
    def of_load(self) -> tuple[Loss, ...]:
        """Those by which load was lost."""
        return tuple(each for each in self._all if not each.is_early)

    def note(
        self, member: Member, departure: Departure, since_ns: int, *, lost: int, allowed: int, is_early: bool = False
    ) -> None:
        """Remember that an attempt of a worker was lost, and that so many workers are lost now, and may be."""
        loss = Loss(member.worker, member.attempt, departure, since_ns, member.pod, is_early)
        self._all.append(loss)
        self._newest[member.worker] = loss
        if not is_early and lost - allowed >= self.most - self.allowed:
            self.most, self.allowed = lost, allowed

    def settle(self, now_ns: int, holds: Callable[[int, int], bool]) -> bool:
        """Note that somebody does everything now; return whether that was news.

        What an attempt of a worker still `holds` is done by nobody else: it may live on until its lease is over.
        """
        untold = [each for each in self.of_load if each.taken_over_ns is None]
        open_ones = [each for each in untold if not holds(each.worker, each.attempt)]
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
        return self._newest.get(worker)

    def describe(self) -> str:
        """Return what became of the load of all, for people; empty if there was no loss or nothing to say."""
        losses = self.of_load
        if not losses:
            return ""
        if len(losses) == 1:
            return losses[0].describe()
        longest = [each.taken_over_ns for each in losses]
        told = [each for each in longest if each is not None]
        replaced = sum(each.is_replaced for each in losses)
        said = []
        if len(told) == len(longest):
            said.append(f"their load was taken over after {_seconds(max(told))} at most")
        elif told:
            said.append(f"the load of {len(told)} of them was taken over")
        if replaced:
            said.append(f"{replaced} of them were replaced" if replaced < len(longest) else "all were replaced")
        return " and ".join(said)

    def describe_early(self) -> str:
        """Return who was lost before the load began, for people; empty if nobody was."""
        losses = [each for each in self._all if each.is_early]
        if not losses:
            return ""
        first, replaced = losses[0], sum(each.is_replaced for each in losses)
        who, why = f"worker {first.worker}", first.departure.message or first.departure.reason
        if len(losses) == 1:
            return f"{who} was lost before the load began{' and was replaced' if replaced else ''}: {why}"
        return f"workers were lost {len(losses)} times before the load began, {replaced} replaced; first {who}: {why}"


def event_of_loss(
    member: Member, departure: Departure, plan: RunPlan, state: run.RunState, *, lost: int, wanted: int
) -> run.Broke | run.TooManyLost | None:
    """Return what the loss of a worker does to the run; of `wanted` workers so many are lost. None: it goes on."""
    worker, why = member.worker, departure.message or departure.reason
    is_memory = departure.reason == OUT_OF_MEMORY
    is_gathering = state.stage is run.Stage.GATHERING
    if is_gathering and not is_memory:
        return _event_before_load(member, departure, plan)
    if plan.on_loss is OnLoss.ABORT and state.order is not RunOrder.STOPPED:
        return run.Broke(Reason.WORKERS_LOST, f"worker {worker} was lost, and workers.onLoss is Abort: {why}")
    # What was too much memory for one is no less for whoever takes it over, and an error whatever comes.
    is_hopeless = is_memory and (is_gathering or plan.moves_load)
    return run.TooManyLost() if is_hopeless or lost > plan.most_lost(wanted) else None


def is_own_fault(departure: Departure) -> bool:
    """Say whether a worker ended by what the run itself is made of, so that another of the same would end like it."""
    return departure.reason in _OWN_ENDS and departure.exit_code not in _FROM_OUTSIDE


def _event_before_load(member: Member, departure: Departure, plan: RunPlan) -> run.Broke | None:
    """Return None where the run waits for another attempt of a worker: the barrier and startupTimeout bound that."""
    text = f"worker {member.worker} was lost before the load began: {departure.message or departure.reason}"
    # With Abort a loss ends the run. With Continue nobody does what a lost worker was to do and nobody comes for it, so
    # a load that began without it would fall short from its first second on.
    if not (plan.moves_load and plan.has_replacements) or is_own_fault(departure):
        return run.Broke(Reason.WORKERS_LOST, text)
    # With a quorum the load may begin without it all the same.
    if member.attempt >= ATTEMPTS_MOST and plan.min_available is None:
        return run.Broke(Reason.WORKERS_LOST, f"{text}; it was made {member.attempt} times, and is not made again")
    return None


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / SECOND:.1f} s"
