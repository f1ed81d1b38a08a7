"""Tell a script's listeners what happens, each in a greenlet of its own behind a bounded queue. Nobody waits for them.

What happens is known to `host` and `director`. An error of a listener is counted and harms nobody else.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections import deque
from time import monotonic_ns, time
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.event import Event as Signal

from loadstone.listening import Summary, events
from loadstone_core.stats.metrics import LISTENER_ERROR
from loadstone_runner.engine.tracebacks import Tracebacks, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from loadstone.listening import Environment, Watch

    CountError = Callable[[str, str, str], None]

log = logging.getLogger("loadstone.engine")

QUEUE_MAX: Final = 10_000
BLOCKED_NS: Final = 5_000_000_000
DRAIN_SECONDS: Final = 2.0
_NOT_HEARD: Final = "the run has ended before it was heard: dropped"
_CUT_OFF: Final = "it was cut off, as it took longer than there is time at the end"
_TURN_NS: Final = 1_000_000
_MILLI: Final = 1_000_000
_MICROS: Final = 1_000
_SECOND: Final = 1_000_000_000


class Lane:
    """One listener and what it has not heard yet. It hears one thing after another, in order.

    Attributes:
        dropped: how many happenings found the queue full, or were not heard at the end.
    """

    def __init__(self, function: Callable[..., object], name: str, *, count: CountError, queue_max: int) -> None:
        self.dropped = 0
        self._function = function
        self._name = name
        self._count = count
        self._wanted = _wanted(function)
        self._queue_max = queue_max
        self._queue: deque[Mapping[str, Any]] = deque()
        self._signal = Signal()
        self._busy_since_ns = 0
        self._is_told_blocked = False
        self._is_over = False
        self._tracebacks = Tracebacks()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def put(self, told: Mapping[str, Any]) -> None:
        """Let the listener hear this when it comes to it; a full queue drops it, and so does a lane that has ended."""
        if self._is_over:
            self._drop(_NOT_HEARD)
            return
        if len(self._queue) >= self._queue_max:
            self._drop("the queue is full, as it is too slow: dropped")
            return
        self._queue.append(told)
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        self._signal.set()

    def look(self, now_ns: int) -> None:
        """Count a listener that does not come back."""
        if self._busy_since_ns and not self._is_told_blocked and now_ns - self._busy_since_ns > BLOCKED_NS:
            self._is_told_blocked = True
            self._count(LISTENER_ERROR, f"took longer than {BLOCKED_NS // _SECOND} s", self._name)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing more that could be heard."""
        return self._is_over or not (self._queue or self._busy_since_ns)

    def end(self) -> None:
        """Let it hear nothing more; what it has not heard counts as dropped, and that it is cut off is told."""
        if self._busy_since_ns and not self._is_over:
            self._count(LISTENER_ERROR, _CUT_OFF, self._name)
        self._is_over = True
        for _ in range(len(self._queue)):
            self._drop(_NOT_HEARD)
        self._queue.clear()
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self._count(LISTENER_ERROR, why, self._name)

    def _run(self) -> None:
        turn_ns = monotonic_ns()
        while True:
            if not self._queue:
                self._signal.clear()
                self._signal.wait()
                turn_ns = monotonic_ns()
            self._call(self._queue.popleft())
            if monotonic_ns() - turn_ns > _TURN_NS:
                # A long queue must not keep users and reports from their turn.
                gevent.sleep(0)
                turn_ns = monotonic_ns()

    def _call(self, told: Mapping[str, Any]) -> None:
        wanted = self._wanted
        arguments = told if wanted is None else {name: told[name] for name in wanted if name in told}
        self._busy_since_ns = monotonic_ns()
        try:
            self._function(**arguments)
        except gevent.GreenletExit:
            raise
        except BaseException as error:
            self._count(LISTENER_ERROR, text_of(error), self._name)
            if self._tracebacks.is_first(error):
                log.exception("A listener raised, and more of the kind are only counted: listener=%s", self._name)
        self.look(monotonic_ns())
        self._busy_since_ns = 0
        self._is_told_blocked = False


class Audience:
    """All listeners of a script, by event."""

    def __init__(self, count: CountError, *, queue_max: int = QUEUE_MAX) -> None:
        """Take who listens now; `count` counts an error by kind, message and name."""
        self.environment: Environment | None = None
        self._lanes = {
            event.name: [
                Lane(each, f"events.{event.name}: {_name_of(each)}", count=count, queue_max=queue_max)
                for each in event.listeners
            ]
            for event in vars(events).values()
        }

    def lanes(self) -> Iterable[Lane]:
        """Return everybody who listens."""
        return (lane for lanes in self._lanes.values() for lane in lanes)

    def tell(self, event: str, **told: Any) -> None:
        """Tell an event to who listens to it; one that is not known here is told to nobody."""
        for lane in self._lanes.get(event, ()):
            lane.put({"environment": self.environment, **told})

    def request_listener(self) -> Callable[..., None] | None:
        """Return what instruments tell a request to; None if nobody listens."""
        return self.tell_request if self._lanes["request"] else None

    def tell_request(  # noqa: PLR0913, PLR0917 called for each request that somebody listens to
        self,
        method: str,
        name: str,
        latency_ns: int,
        received: int,
        error: str | None,
        status: int,
        url: str,
        context: Mapping[str, Any],
    ) -> None:
        """Tell that a request was recorded, in Locust's words."""
        self.tell(
            "request",
            request_type=method,
            name=name,
            response_time=latency_ns / _MILLI,
            response_length=received,
            exception=error,
            context=context,
            start_time=time() - latency_ns / _SECOND,
            url=url,
            status=status,
        )

    def look(self) -> None:
        """Count listeners that do not come back; called each second."""
        now_ns = monotonic_ns()
        for lane in self.lanes():
            lane.look(now_ns)

    def wait(self, seconds: float = DRAIN_SECONDS) -> None:
        """Wait until everything is heard, but not longer than that."""
        end_ns = monotonic_ns() + round(seconds * _SECOND)
        while not all(lane.is_idle for lane in self.lanes()) and monotonic_ns() < end_ns:
            gevent.sleep(0.01)

    def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Wait so; who is not done then hears nothing more."""
        self.wait(seconds)
        for lane in self.lanes():
            if not lane.is_idle:
                lane.end()

    def end(self) -> None:
        """Tell nobody anything more."""
        for lane in self.lanes():
            lane.end()


class Watching:
    """A function that hears of the whole run every so often.

    Attributes:
        lane: on which it hears.
    """

    def __init__(self, watch: Watch, count: CountError) -> None:
        name = f"every({watch.seconds:g}): {_name_of(watch.function)}"
        self.lane = Lane(self._call, name, count=count, queue_max=1)
        self._function = watch.function
        self._seconds = watch.seconds
        self._next = watch.seconds

    def hear(self, summary: Summary) -> None:
        """Take the newest summary; it is passed on when it is time."""
        if summary.seconds >= self._next:
            self._next = summary.seconds - summary.seconds % self._seconds + self._seconds
            if self.lane.is_idle:
                self.lane.put({"summary": summary})

    def _call(self, summary: Summary) -> None:
        # By position, as the script may call its parameter what it likes.
        self._function(summary)


def summary_of(content: bytes) -> Summary:
    """Return the summary that the master has sent, see engine.proto; what is not known here is left out."""
    told = json.loads(content)
    told["rate"] = told.get("requestsPerSecond", 0)
    for name in ("p50", "p95", "p99"):
        told[name] = told.get(f"{name}Micros", 0) / _MICROS
    return Summary(**{name: told[name] for name in Summary._fields if name in told})


def _wanted(function: Callable[..., object]) -> tuple[str, ...] | None:
    """Return which keyword arguments a listener takes; None: all."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return tuple(each.name for each in parameters if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY})


def _name_of(function: object) -> str:
    name: str = getattr(function, "__qualname__", type(function).__name__)
    return name
