"""Measure what other libraries do, so that their calls count as requests. Recording belongs to the engine.

with measure("SELECT orders", protocol="postgres") as call:
    rows = cursor.execute(QUERY).fetchall()
    call.size = len(rows)
    if not rows:
        call.failure("no orders")

@measure("charge", protocol="grpc")
def charge(stub, amount): ...
"""

from __future__ import annotations

from functools import wraps
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from loadstone import seat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from loadstone.seat import Engine

# So that a call whose size or duration cannot be meant, as of a moment in the place of a duration, hides no others.
_SIZE_MAX = 1 << 40
_DURATION_MAX_NS = 24 * 3_600 * 1_000_000_000

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Measured:
    """One call to be measured, or a decorator that measures every call of a function; see `measure`.

    Attributes:
        name: of the series.
        protocol: in the place of a request's method.
        size: bytes that were received, as far as the script knows.
        error: None, or why the call counts as failed.
    """

    __slots__ = ("_begin_ns", "_context", "_delay_ns", "_engine", "_is_open", "error", "name", "protocol", "size")

    def __init__(self, name: str, *, protocol: str, size: int, context: Mapping[str, Any]) -> None:
        self.name = name
        self.protocol = protocol
        self.size = size
        self.error: str | None = None
        self._context = context
        self._begin_ns = 0
        self._delay_ns = 0
        self._engine: Engine | None = None
        self._is_open = False

    def failure(self, why: str) -> None:
        """Count this call as failed: a few words, the same for the same cause. Only within the block.

        Raises:
            RuntimeError: the block is over, or has not begun.
        """
        if not self._is_open:
            raise RuntimeError(f"failure(): {self.name} is not being measured; say it inside of `with measure(...)`")
        self.error = str(why)

    def __enter__(self) -> Self:
        if self._is_open:
            raise RuntimeError(f"measure({self.name!r}) is being measured already; make one for each block")
        self._is_open = True
        self.error = None
        engine = self._engine = seat.taken
        self._delay_ns = 0 if engine is None else engine.begin_measured()
        self._begin_ns = monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        service_ns = monotonic_ns() - self._begin_ns
        self._is_open = False
        if self._engine is None:
            return
        # What the engine throws into a user to end it is no exception of the script's.
        is_interrupted = kind is not None and kind.__name__ == "GreenletExit"
        message = ""
        if is_interrupted:
            self.error = "interrupted"
        elif kind is not None:
            self.error, message = kind.__name__, _text(error)
        self._engine.end_measured(
            # The script may have set these to anything within the block.
            protocol=str(self.protocol),
            name=str(self.name),
            service_ns=service_ns,
            delay_ns=self._delay_ns,
            error=None if self.error is None else str(self.error),
            message=message,
            interrupted=is_interrupted,
            size=_whole(self.size, _SIZE_MAX),
            context=self._context,
        )

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Return the function, each call of which is measured by itself."""

        @wraps(function)
        def measured(*arguments: _P.args, **options: _P.kwargs) -> _R:
            with Measured(self.name, protocol=self.protocol, size=self.size, context=self._context):
                return function(*arguments, **options)

        return measured


def measure(name: str, *, protocol: str = "custom", size: int = 0, **context: Any) -> Measured:
    """Measure a block or a function as one request of a series of its own.

    Its time counts as latency, in the open model with the delay of a late start if it is the iteration's first request.
    An exception counts as a failure of its class's name and goes on. Nested calls are requests each.

    Args:
        name: of the series: the same few words each time.
        protocol: in the place of a request's method: "postgres", "redis", "grpc".
        size: bytes that come back, counted up to 1 TiB a call; can be set within the block.
        context: given to listeners of `events.request`, not recorded.
    """
    return Measured(str(name), protocol=str(protocol), size=size, context=context)


def report(
    *,
    protocol: str,
    name: str,
    milliseconds: float,
    size: int,
    exception: BaseException | str | None,
    context: Mapping[str, Any],
) -> None:
    """Record a call that the script has timed by itself; `events.request.fire` says it in Locust's words."""
    engine = seat.taken
    if engine is None:
        return
    error: str | None
    if isinstance(exception, BaseException):
        error, message = type(exception).__name__, _text(exception)
    else:
        error, message = (str(exception) if exception else None), ""
    delay_ns = engine.begin_measured()
    engine.end_measured(
        protocol=str(protocol),
        name=str(name),
        service_ns=_whole(milliseconds, _DURATION_MAX_NS, unit=1_000_000),
        delay_ns=delay_ns,
        error=error,
        message=message,
        interrupted=False,
        size=_whole(size, _SIZE_MAX),
        context=context,
    )


def _text(error: BaseException | None) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 also of an exception whose own text cannot be had
        return ""


def _whole(number: Any, most: int, unit: int = 1) -> int:
    """Return a size or a duration as the engine counts them: up to `most`; what is no such number counts as nothing."""
    try:
        whole = int(number * unit)
    except (TypeError, ValueError, OverflowError):
        return 0
    return min(max(whole, 0), most)
