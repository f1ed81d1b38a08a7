"""Say in sentences what people have to know to read the figures of a run. Pure; nothing of it decides the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.load.profile import Model
from loadstone_core.stats.metrics import HANDLER_ERROR, HANDLER_SLOW, LISTENER_ERROR, METRIC_ERROR
from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_runner.flavour import PURE
from loadstone_runner.master.grants import NAMES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadstone_core.plan.model import RunPlan
    from loadstone_core.stats.stream import ErrorCount
    from loadstone_runner.master.member import Member

CLOSED: Final = (
    "users wait while the target stalls, so latency is that of the requests they sent, without those they would have "
    "sent meanwhile (closed model); use rate to have the waiting in it"
)
TOO_MANY_NAMES: Final = (
    f"there are more than {NAMES_MAX} feeders of rows that nobody else has, and users wait for rows of the others; "
    "let engines share them"
)
TEARDOWN_CUT_OFF: Final = Cause(Reason.HANDLER_ERRORS, "teardown did not end within 30 s and was cut off")
UNUSED_SHAPE: Final = "the script has a shape, and the load is that of spec.load; set load.shape to let the shape lead"


def remarks_on(plan: RunPlan, *, has_shape: bool, shape_asked: int, has_left_out: bool = False) -> tuple[str, ...]:
    """Return what is to be said of the load.

    Args:
        plan: of the run.
        has_shape: the script has a shape.
        shape_asked: the most users that it has asked for, if it leads the load.
        has_left_out: there were more names of rows than a run may have.
    """
    remarks = []
    closed = [each.name for each in plan.scenarios if each.load.model is not Model.RATE]
    if len(closed) == len(plan.scenarios):
        remarks.append(CLOSED)
    elif closed:
        remarks.append(f"in {', '.join(closed)} {CLOSED}")
    if has_shape and not plan.is_shaped:
        remarks.append(UNUSED_SHAPE)
    most = max((each.load.most_users for each in plan.scenarios if each.load.is_shaped), default=shape_asked)
    if shape_asked > most:
        remarks.append(f"the script's shape asked for {shape_asked} users, and load.shape.maxUsers allows {most}")
    if has_left_out:
        remarks.append(TOO_MANY_NAMES)
    return tuple(remarks)


def handler_errors(errors: Iterable[ErrorCount], where: str) -> tuple[Cause, ...]:
    """Return a finding for each way in which listeners, handlers of messages and samples went wrong.

    Args:
        errors: of all kinds.
        where: "engines" or "the director".
    """
    sorts = {
        LISTENER_ERROR: "errors of listeners",
        HANDLER_ERROR: "errors of message handlers",
        HANDLER_SLOW: "message handlers that were slow",
        METRIC_ERROR: "samples that were not recorded",
    }
    errors = tuple(errors)
    texts = (_most(errors, kind, f"{sort} in {where}") for kind, sort in sorts.items())
    return tuple(Cause(Reason.HANDLER_ERRORS, text) for text in texts if text)


def failed_handlers(errors: Iterable[ErrorCount]) -> tuple[Cause, ...]:
    """Return what makes a run an Error if handlers of messages must not fail."""
    text = _most(tuple(errors), HANDLER_ERROR, "errors of message handlers")
    advice = "correct the handler, or set onHandlerError: Continue"
    return (Cause(Reason.HANDLER_FAILED, f"{text}; {advice}"),) if text else ()


def _most(errors: tuple[ErrorCount, ...], kind: str, what: str) -> str:
    found = sorted((each for each in errors if each.kind == kind), key=lambda each: -each.count)
    if not found:
        return ""
    return f"{sum(each.count for each in found)} {what}, mostly {found[0].name}: {found[0].message}"


def slow_workers(members: Iterable[Member]) -> tuple[Cause, ...]:
    """Return a finding if engines had to do without the compiled request path."""
    slow = [str(each.worker) for each in members if any(engine.flavour == PURE for engine in each.engines)]
    if not slow:
        return ()
    text = (
        f"the request path of workers {', '.join(slow)} is pure Python, several times slower than the compiled one; "
        "install Loadstone where a C compiler is, or unset LOADSTONE_PURE_PYTHON"
    )
    return (Cause(Reason.WORKER_DEGRADED, text),)
