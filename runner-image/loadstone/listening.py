"""Who listens to what happens in a run. Telling them, off the path of requests, belongs to the engine.

@events.request.add_listener
def log_slow(request_type, name, response_time, **others):
    if response_time > 1000:
        log.warning("slow: %s %s", request_type, name)

@every(10)
def watch(summary):
    if summary.failures > 1000:
        stop_run("more than 1,000 failures")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar

from loadstone.measuring import report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_F = TypeVar("_F", bound="Callable[..., object]")


class Event:
    """One kind of happening, and who listens to it.

    Attributes:
        name: as in `events`.
        listeners: in the order in which they were added.
    """

    __slots__ = ("listeners", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.listeners: list[Callable[..., object]] = []

    def add_listener(self, function: _F) -> _F:
        """Call a function whenever this happens; also as a decorator.

        It gets keyword arguments, of which it may take what it wants, by name or as `**kwargs`.
        """
        if not callable(function):
            raise ValueError(f"events.{self.name}: {function!r} cannot be called")  # noqa: TRY004 like the script's other mistakes
        self.listeners.append(function)
        return function

    def remove_listener(self, function: Callable[..., object]) -> None:
        """Call a function no more; before the load begins, as engines look once."""
        self.listeners.remove(function)


class RequestEvent(Event):
    """A request, of any of our clients or measured by hand, has been recorded."""

    __slots__ = ()

    def fire(
        self,
        *,
        request_type: str,
        name: str,
        response_time: float = 0.0,
        response_length: int = 0,
        exception: BaseException | str | None = None,
        context: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """Record a call that the script has timed by itself, as Locust scripts do; `measure` is the shorter way.

        Args:
            request_type: in the place of a request's method.
            name: of the series.
            response_time: milliseconds, counted up to a day; a late start of the iteration is added as for any request.
            response_length: bytes.
            exception: None for a success; an exception, or why the call failed.
            context: given to listeners.
            others: taken and left: what Locust's event carries beside.
        """
        del others
        report(
            protocol=request_type,
            name=name,
            milliseconds=response_time,
            size=response_length,
            exception=exception,
            context=context or {},
        )


class Events:
    """What a script can listen to; all listeners get `environment` beside what is said here.

    Attributes:
        test_start: the load begins; in every engine and in the director.
        spawning_complete: all users that were asked for live: `user_count`; in every engine and in the director.
        request: a request was recorded: `request_type`, `name`, `response_time` (ms), `response_length`, `exception`
            (None or text), `context`, `start_time` (seconds since 1970), `url`, `status`; in engines.
        worker_lost: `worker`, and why as `message`; in the director.
        test_stop: the load has ended: all users of this engine, or of the run; in every engine and in the director.
        quitting: the process ends, and nothing comes after it; in every engine and in the director.
    """

    def __init__(self) -> None:
        self.test_start = Event("test_start")
        self.spawning_complete = Event("spawning_complete")
        self.request = RequestEvent("request")
        self.worker_lost = Event("worker_lost")
        self.test_stop = Event("test_stop")
        self.quitting = Event("quitting")

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"there is no event {name!r}; there are {', '.join(vars(self))}")


class Environment(NamedTuple):
    """Where a listener is called.

    Attributes:
        is_director: in the director, of which a run has one; else in an engine, of which it has many.
        target: base URL of the load; empty if each class has its own.
        setup_data: what setup returned.
    """

    is_director: bool
    target: str
    setup_data: Any


class Summary(NamedTuple):
    """The whole run so far, merged over all workers, as `every` is told it. Latencies are milliseconds.

    Attributes:
        seconds: since the load began.
        users: living now.
        requests: completed.
        failures: of these.
        rate: requests a second, of the newest second.
        p50: median latency of the newest second.
        p95: 95th percentile of it.
        p99: 99th percentile of it.
        iterations: completed.
        dropped: iterations that were due and could not be started.
        scenarios: the same figures by scenario, as far as they are known.
    """

    seconds: float = 0.0
    users: int = 0
    requests: int = 0
    failures: int = 0
    rate: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    iterations: int = 0
    dropped: int = 0
    scenarios: Mapping[str, Any] = {}


class Watch(NamedTuple):
    """A function that wants to hear of the run every so often."""

    seconds: float
    function: Callable[[Summary], object]


events: Final = Events()
_WATCHES: list[Watch] = []


def every(seconds: float) -> Callable[[_F], _F]:
    """Call a function every so many seconds of the load with the merged `Summary`; once in a run: in the director.

    If it takes longer than that, the calls that are missed are left out.

    Raises:
        ValueError: the distance is below one second, as that is how often results are merged.
    """
    if not seconds >= 1:
        raise ValueError(f"every({seconds!r}): give a distance in seconds from 1 on")

    def mark(function: _F) -> _F:
        _WATCHES.append(Watch(seconds, function))
        return function

    return mark


def watches() -> tuple[Watch, ...]:
    """Return who wants to hear of the run every so often."""
    return tuple(_WATCHES)


def forget() -> None:
    """Drop all listeners, before another script is loaded into the same process."""
    _WATCHES.clear()
    for event in vars(events).values():
        event.listeners.clear()
