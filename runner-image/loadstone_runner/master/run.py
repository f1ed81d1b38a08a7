"""Decide what a run does next: a table of stage x event -> (state, effects). Pure.

Who is there is known to `roster`, what was measured to the statistics; doing the effects is the affair of `service`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from loadstone_core.verdict.reasons import Reason
from loadstone_protocol.messages import RunOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Stage(StrEnum):
    """How far a run is; it never goes back."""

    GATHERING = "gathering"
    ARMED = "armed"
    RUNNING_LOAD = "running"
    STOPPING_LOAD = "stopping"
    FINISHED = "finished"


# --- Events: what has happened.


@dataclass(frozen=True, slots=True)
class ScriptImported:
    """The director could import the script."""


@dataclass(frozen=True, slots=True)
class SetupDone:
    """The director has run setup, which may be nothing."""


@dataclass(frozen=True, slots=True)
class Applied:
    """Every expected worker has acknowledged the current configuration, to the byte."""


@dataclass(frozen=True, slots=True)
class StartReached:
    """The moment of the start has come."""


@dataclass(frozen=True, slots=True)
class LoadChanged:
    """The load goes on, and engines have to hear something new about it."""


@dataclass(frozen=True, slots=True)
class LoadDone:
    """Every scenario is over."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody wants the run to end, as `reason` says, at once if `is_immediate`; `message` tells more, if anything."""

    reason: str
    is_immediate: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class KillAsked:
    """Somebody wants that nothing of the run goes on: what lives is killed, and nobody is asked to end."""


@dataclass(frozen=True, slots=True)
class ThresholdBroke:
    """A threshold that ends the run was broken for its delay."""

    name: str


@dataclass(frozen=True, slots=True)
class Broke:
    """The run cannot go on, or cannot begin; `is_immediate` if there is no time to drain."""

    reason: str
    message: str
    is_immediate: bool = False


@dataclass(frozen=True, slots=True)
class TooManyLost:
    """So many workers are lost that the verdict is certain; that they are is known to the roster."""


@dataclass(frozen=True, slots=True)
class WorkersOver:
    """Every worker has said everything, or is lost."""


@dataclass(frozen=True, slots=True)
class TeardownDone:
    """The director has run teardown, could not, or is gone."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The time for draining, or for teardown, is over."""


Event = (
    ScriptImported
    | SetupDone
    | Applied
    | StartReached
    | LoadChanged
    | LoadDone
    | StopAsked
    | KillAsked
    | ThresholdBroke
    | Broke
    | TooManyLost
    | WorkersOver
    | TeardownDone
    | Overdue
)


# --- Effects: what is to be done about it, in order.


@dataclass(frozen=True, slots=True)
class AskSetup:
    """Let the director run setup."""


@dataclass(frozen=True, slots=True)
class AskTeardown:
    """Let the director run teardown."""


@dataclass(frozen=True, slots=True)
class Configure:
    """Make the next revision of the common configuration, keep it, send it to everybody."""

    order: RunOrder
    stop_reason: str = ""
    is_immediate: bool = False

    @property
    def is_kill(self) -> bool:
        """Whether engines and director are killed at once."""
        return self.stop_reason == Reason.KILLED


@dataclass(frozen=True, slots=True)
class Conclude:
    """Say what the run means."""


Effect = AskSetup | AskTeardown | Configure | Conclude


# --- State.


@dataclass(frozen=True, slots=True)
class RunState:
    """Where the run is.

    Attributes:
        stage: how far.
        is_set_up: whether setup has run, so that teardown is owed.
        order: what the newest configuration asks for; None before the first.
        stop: why somebody stopped it, or None.
        stop_message: what that somebody said of it, which may be nothing.
        broke: what could not go on, oldest first.
        is_immediate: whether the stop leaves running iterations little time.
        is_torn_down: whether teardown was asked for.
    """

    stage: Stage = Stage.GATHERING
    is_set_up: bool = False
    order: RunOrder | None = None
    stop: str | None = None
    stop_message: str = ""
    broke: tuple[Broke, ...] = ()
    is_immediate: bool = False
    is_torn_down: bool = False

    @property
    def is_killed(self) -> bool:
        """Whether the run was killed: what happens then is no news, and nobody is asked for anything."""
        return self.stop == Reason.KILLED


Step = tuple[RunState, tuple[Effect, ...]]


def step(state: RunState, event: Event) -> Step:
    """Return the state after an event, and what is to be done. What a stage does not know changes nothing."""
    known = _TABLE.get((state.stage, type(event)))
    return known(state, event) if known else (state, ())


def remember(state: RunState) -> dict[str, Any]:
    """Return what `recall` needs, as JSON has it."""
    return asdict(state)


def recall(held: Mapping[str, Any]) -> RunState:
    """Return the state in which a former start of the master has left its run."""
    words = {
        "stage": Stage(held["stage"]),
        "order": RunOrder(held["order"]) if held["order"] else None,
        "broke": tuple(Broke(**each) for each in held["broke"]),
    }
    return RunState(**{**held, **words})


def _ask_setup(state: RunState, _event: Event) -> Step:
    return state, () if state.is_set_up else (AskSetup(),)


def _set_up(state: RunState, _event: Event) -> Step:
    if state.is_set_up:
        return state, ()
    return replace(state, is_set_up=True, order=RunOrder.READY), (Configure(RunOrder.READY),)


def _arm(state: RunState, _event: Event) -> Step:
    if state.order is not RunOrder.READY:
        return state, ()
    return replace(state, stage=Stage.ARMED, order=RunOrder.RUNNING), (Configure(RunOrder.RUNNING),)


def _start(state: RunState, _event: Event) -> Step:
    return replace(state, stage=Stage.RUNNING_LOAD), ()


def _change(state: RunState, _event: Event) -> Step:
    return state, (Configure(RunOrder.RUNNING),)


def _stop(state: RunState, event: Event) -> Step:
    """Leave the load: everybody is told to stop, and has the time to drain."""
    noted = _note(state, event)
    stopping = replace(noted, stage=Stage.STOPPING_LOAD, order=RunOrder.STOPPED)
    return stopping, (Configure(RunOrder.STOPPED, _words(event), noted.is_immediate),)


def _give_up(state: RunState, event: Event) -> Step:
    """End before any load: nothing is to be drained, and whoever waits for the verdict learns it at once."""
    noted = replace(_note(state, event), order=RunOrder.STOPPED)
    stop = Configure(RunOrder.STOPPED, _words(event), is_immediate=True)
    if noted.is_set_up:
        tearing = replace(noted, stage=Stage.STOPPING_LOAD, is_torn_down=True)
        return tearing, (stop, AskTeardown())
    return replace(noted, stage=Stage.FINISHED), (stop, Conclude())


def _kill(state: RunState, _event: Event) -> Step:
    """Have everything killed. It is waited only for what workers say of a load; a teardown dies with the director.

    It replaces the reason of an earlier stop: what became of the run, and what its results lack, is due to this one.
    """
    if state.is_killed:
        return state, ()
    killed = replace(state, stop=Reason.KILLED.value, stop_message="", is_immediate=True, order=RunOrder.STOPPED)
    kill = Configure(RunOrder.STOPPED, Reason.KILLED.value, is_immediate=True)
    if state.stage is Stage.GATHERING or state.is_torn_down:
        return replace(killed, stage=Stage.FINISHED), (kill, Conclude())
    return replace(killed, stage=Stage.STOPPING_LOAD), (kill,)


def _hasten(state: RunState, event: Event) -> Step:
    """Stop once more: only a stop that has become immediate is news to the workers."""
    if state.is_killed:
        return state, ()
    noted = _note(state, event)
    if noted.is_immediate and not state.is_immediate:
        return noted, (Configure(RunOrder.STOPPED, _words(event), is_immediate=True),)
    return noted, ()


def _leave_load(state: RunState, event: Event) -> Step:
    """All workers are over without having been told to stop."""
    stopping, effects = _stop(state, event)
    torn, more = _tear_down(stopping, event)
    return torn, (*effects, *more)


def _tear_down(state: RunState, _event: Event) -> Step:
    if state.is_torn_down:
        return state, ()
    if state.is_set_up and not state.is_killed:
        return replace(state, is_torn_down=True), (AskTeardown(),)
    return replace(state, stage=Stage.FINISHED), (Conclude(),)


def _finish(state: RunState, _event: Event) -> Step:
    if not state.is_torn_down and state.is_set_up:
        return _tear_down(state, _event)
    return replace(state, stage=Stage.FINISHED), (Conclude(),)


def _note(state: RunState, event: Event) -> RunState:
    match event:
        case StopAsked(reason, is_immediate, message):
            noted = replace(state, is_immediate=state.is_immediate or is_immediate)
            return replace(noted, stop=reason, stop_message=message) if state.stop is None else noted
        case Broke():
            return replace(state, broke=(*state.broke, event), is_immediate=state.is_immediate or event.is_immediate)
        case _:
            return state


def _words(event: Event) -> str:
    match event:
        case StopAsked(reason=reason) | Broke(reason=reason):
            return reason
        case ThresholdBroke(name):
            return f"threshold {name}"
        case TooManyLost():
            return "workers lost"
        case _:
            return "the load is done"


_TABLE: dict[tuple[Stage, type[Event]], Callable[[RunState, Event], Step]] = {
    (Stage.GATHERING, ScriptImported): _ask_setup,
    (Stage.GATHERING, SetupDone): _set_up,
    (Stage.GATHERING, Applied): _arm,
    (Stage.GATHERING, StopAsked): _give_up,
    (Stage.GATHERING, KillAsked): _kill,
    (Stage.GATHERING, Broke): _give_up,
    (Stage.GATHERING, TooManyLost): _give_up,
    (Stage.ARMED, StartReached): _start,
    (Stage.ARMED, StopAsked): _stop,
    (Stage.ARMED, KillAsked): _kill,
    (Stage.ARMED, Broke): _stop,
    (Stage.ARMED, TooManyLost): _stop,
    (Stage.ARMED, WorkersOver): _leave_load,
    (Stage.RUNNING_LOAD, LoadChanged): _change,
    (Stage.RUNNING_LOAD, LoadDone): _stop,
    (Stage.RUNNING_LOAD, StopAsked): _stop,
    (Stage.RUNNING_LOAD, KillAsked): _kill,
    (Stage.RUNNING_LOAD, ThresholdBroke): _stop,
    (Stage.RUNNING_LOAD, Broke): _stop,
    (Stage.RUNNING_LOAD, TooManyLost): _stop,
    (Stage.RUNNING_LOAD, WorkersOver): _leave_load,
    (Stage.STOPPING_LOAD, StopAsked): _hasten,
    (Stage.STOPPING_LOAD, KillAsked): _kill,
    (Stage.STOPPING_LOAD, Broke): _hasten,
    (Stage.STOPPING_LOAD, WorkersOver): _tear_down,
    (Stage.STOPPING_LOAD, TeardownDone): _finish,
    (Stage.STOPPING_LOAD, Overdue): _finish,
}
