"""Record what one engine does, sample by sample, and hand out what has changed. One recorder a stream.

This is the hot path of the engine: called once per request, from greenlets that never switch inside. No I/O and no
clock live here; what is built from the states is `merge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.errors import InternalError, UserError
from loadstone_core.stats.metrics import (
    BUILT_IN,
    CHECKS,
    DERIVED,
    DROPPED_ITERATIONS,
    ITERATION_DURATION,
    ITERATIONS,
    LATENCY,
    MESSAGE_LATENCY,
    SCHEDULE_SLIP,
    SERVICE_TIME,
    Kind,
    Outcome,
    Phase,
    SeriesKey,
    named,
    sorted_labels,
)
from loadstone_core.stats.pairs import Endpoint, Task
from loadstone_core.stats.series import SERIES_CAP, SeriesTable, cell_of
from loadstone_core.stats.stream import LARGEST_SUM, ErrorTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_core.stats.dropping import Dropping
    from loadstone_core.stats.histogram import Histogram
    from loadstone_core.stats.series import Series, Tally
    from loadstone_core.stats.stream import ErrorCount, SeriesState

    Labels = tuple[tuple[str, str], ...]

SCENARIO = "default"

_FAILED = Outcome.FAILED.value
_INTERRUPTED = Outcome.INTERRUPTED.value


class Recorder:
    """Record the samples of one engine. Memory is bounded by the cap of series, whatever a script names.

    Labels are pairs of strings, best sorted by name: unsorted ones are sorted, which costs a microsecond each time.
    """

    __slots__ = (
        "_crowd",
        "_endpoints",
        "_errors",
        "_find",
        "_hide",
        "_make_endpoint",
        "_second",
        "_table",
        "_taken",
        "_tasks",
    )

    def __init__(
        self,
        cap: int = SERIES_CAP,
        *,
        make_cell: Callable[[Kind], Histogram | Tally] = cell_of,
        make_endpoint: Callable[[Series, Series], Endpoint] = Endpoint,
    ) -> None:
        """Make a recorder of at most `cap` series; an engine brings cells and endpoints that record faster."""
        self._table = SeriesTable(cap, make_cell)
        self._make_endpoint = make_endpoint
        self._find = self._table.find
        self._endpoints: dict[tuple[str, str, str, Labels], Endpoint] = {}
        self._crowd: Endpoint | None = None
        self._tasks: dict[tuple[str, str], Task] = {}
        self._errors = ErrorTable()
        self._hide: Callable[[str], str] | None = None
        self._taken: list[int] = []
        self._second = -1

    def request(  # noqa: PLR0913  # one request is one call: an object in between would cost as much as recording it
        self,
        *,
        method: str,
        name: str,
        latency_ns: int,
        service_ns: int,
        failed: bool,
        unsent: bool,
        ambiguous: bool,
        interrupted: bool,
        sent: int,
        received: int,
        scenario: str = SCENARIO,
        labels: Labels = (),
    ) -> None:
        """Record one completed request.

        Args:
            method: of the request.
            name: what the user calls it.
            latency_ns: first byte sent to last byte read, in an open model with the delay of a late start.
            service_ns: the same without that delay.
            failed: it counts as a failure.
            unsent: it never reached the target.
            ambiguous: the target may or may not have counted it.
            interrupted: the end of the run cut it off.
            sent: bytes.
            received: bytes.
            scenario: it belongs to.
            labels: the user's.
        """
        endpoint = self._endpoints.get((method, name, scenario, labels))
        if endpoint is None:
            endpoint = self.endpoint(method, name, scenario=scenario, labels=labels)
        endpoint.record(
            latency_ns,
            service_ns,
            failed=failed,
            unsent=unsent,
            ambiguous=ambiguous,
            interrupted=interrupted,
            sent=sent,
            received=received,
        )

    def phase(
        self, phase: Phase, value_ns: int, *, method: str, name: str, scenario: str = SCENARIO, labels: Labels = ()
    ) -> None:
        """Record how long a part of an exchange took: DNS, connect, TLS, or until the first byte came."""
        # `value` is a call in Python.
        series = self._find((phase._value_, scenario, method, name, labels))
        if series is None:
            series = self._series(SeriesKey(phase.value, scenario, method, name, labels), Kind.TREND)
        series.cell.record(value_ns)

    def iteration(
        self,
        name: str,
        duration_ns: int,
        *,
        failed: bool = False,
        interrupted: bool = False,
        scenario: str = SCENARIO,
    ) -> None:
        """Record one ended iteration.

        Args:
            name: of the task.
            duration_ns: from its start, in an open model from when it was due, to its end.
            failed: the script raised.
            interrupted: the end of the run cut it off.
            scenario: it belongs to.
        """
        task = self._tasks.get((name, scenario))
        if task is None:
            task = self.task(name, scenario)
        task.duration.cell.record(duration_ns)
        task.iterations.cell.record(1)
        if failed:
            task.count(_FAILED)
        if interrupted:
            task.count(_INTERRUPTED)

    def slip(self, slip_ns: int, *, scenario: str = SCENARIO) -> None:
        """Record, at its start, how much later than due an iteration of an open model began."""
        self.cell_of_slip(scenario=scenario).record(slip_ns)

    def dropped(self, count: int = 1, *, scenario: str = SCENARIO) -> None:
        """Record iterations that were due and could not be started in time."""
        self._series(SeriesKey(DROPPED_ITERATIONS, scenario), Kind.COUNTER).cell.record(count)

    def message_latency(self, value_ns: int, *, method: str, name: str, scenario: str = SCENARIO) -> None:
        """Record how long a message of an open connection waited for the one that answers it."""
        self._series(SeriesKey(MESSAGE_LATENCY, scenario, method, name), Kind.TREND).cell.record(value_ns)

    def messages(self, metric: str, count: int = 1, *, method: str, name: str, scenario: str = SCENARIO) -> None:
        """Count messages of an open connection: `metric` is MESSAGES_SENT or MESSAGES_RECEIVED."""
        self._series(SeriesKey(metric, scenario, method, name), Kind.COUNTER).cell.record(count)

    def check(self, name: str, ok: bool, labels: Labels = (), *, scenario: str = SCENARIO) -> None:  # noqa: FBT001  # as the script says it: check("name", held)
        """Record whether a check held."""
        series = self._find((CHECKS, scenario, "", name, labels))
        if series is None:
            series = self._series(SeriesKey(CHECKS, scenario, "", name, labels), Kind.RATE)
        series.cell.record(1 if ok else 0)

    def trend(self, name: str, value: float, labels: Labels = (), *, scenario: str = SCENARIO) -> None:
        """Record a sample of the user's own trend, rounded to a whole number of its unit.

        Raises:
            UserError: the name is taken, or the value or the sum with it is no number up to 2^62.
        """
        whole = _whole(name, value)
        cell = self._own(name, Kind.TREND, labels=labels, scenario=scenario).cell
        _whole(name, cell.total + whole)
        cell.record(whole)

    def counter(self, name: str, amount: int = 1, labels: Labels = (), *, scenario: str = SCENARIO) -> None:
        """Add to the user's own counter.

        Raises:
            UserError: the name is taken, the amount is negative, or the sum with it is no number up to 2^62.
        """
        whole = _whole(name, amount)
        if whole < 0:
            raise UserError(f"metric {name}: a counter only grows, so {amount} cannot be added; use a gauge")
        cell = self._own(name, Kind.COUNTER, labels=labels, scenario=scenario).cell
        _whole(name, cell.total + whole)
        cell.record(whole)

    def rate(self, name: str, ok: bool, labels: Labels = (), *, scenario: str = SCENARIO) -> None:  # noqa: FBT001  # as for a check
        """Record whether something that the user counts was so.

        Raises:
            UserError: the name is taken.
        """
        self._own(name, Kind.RATE, labels=labels, scenario=scenario).cell.record(1 if ok else 0)

    def gauge(self, name: str, value: float, labels: Labels = (), *, scenario: str = SCENARIO) -> None:
        """Set the user's own gauge, rounded to a whole number; the gauges of all engines add up.

        Raises:
            UserError: the name is taken, or the value is no number up to 2^62.
        """
        whole = _whole(name, value)
        cell = self._own(name, Kind.GAUGE, labels=labels, scenario=scenario).cell
        cell.count += 1
        cell.total = whole

    def error(self, kind: str, message: str, name: str) -> None:
        """Count an error of a request or an iteration, by its class, its text and the name of what failed."""
        self._errors.add(kind, message if self._hide is None else self._hide(message), name=name)

    def errors(self) -> tuple[ErrorCount, ...]:
        """Return all errors since the start, the most frequent first."""
        return self._errors.counts()

    def take(self, second: int) -> tuple[SeriesState, ...]:
        """Return the series that changed since the last take, each whole, and close a second.

        Args:
            second: of the master's clock, the one that ends with this take.

        Raises:
            InternalError: a later second was closed before.
        """
        if second < self._second:
            raise InternalError(f"second {second} cannot close after second {self._second}")
        self._second = second
        taken = self._taken
        taken.extend([0] * (len(self._table) - len(taken)))
        changed = []
        for position, series in enumerate(self._table):
            # Every record counts, so a series has changed exactly if its count has.
            count = series.count
            if count != taken[position]:
                taken[position] = count
                changed.append(series.snapshot())
        return tuple(changed)

    def whole(self) -> tuple[SeriesState, ...]:
        """Return every series that holds something, for who knows nothing yet; the next take does not change."""
        return tuple(series.snapshot() for series in self._table if series.count)

    def leave_out(self, dropping: Dropping) -> None:
        """Record nothing of some metrics and labels, from now on; to be called before anything is recorded."""
        self._table.dropping = dropping

    def hide(self, hide: Callable[[str], str]) -> None:
        """Count errors by what is left of their texts, from now on."""
        self._hide = hide

    def clear(self) -> None:
        """Forget everything that was recorded; the series keep their places."""
        for series in self._table:
            series.clear()
        self._errors.clear()
        self._taken = [0] * len(self._table)

    def __len__(self) -> int:
        """Return how many series there are."""
        return len(self._table)

    @property
    def refused(self) -> int:
        """Return how many series keys had no place of their own, or at least this many."""
        return self._table.refused

    def endpoint(self, method: str, name: str, *, scenario: str = SCENARIO, labels: Labels = ()) -> Endpoint:
        """Return what a kind of request is recorded in; those without a place share one. It stays the same."""
        method, name = named(method), named(name)
        ordered = sorted_labels(labels)
        known = self._endpoints.get((method, name, scenario, ordered))
        if known is not None:
            return known
        latency = self._table.get(SeriesKey(LATENCY, scenario, method, name, ordered), Kind.TREND)
        service = self._table.get(SeriesKey(SERVICE_TIME, scenario, method, name, ordered), Kind.TREND)
        if not latency.key.is_overflow:
            made = self._endpoints[(method, name, scenario, ordered)] = self._make_endpoint(latency, service)
            return made
        if self._crowd is None:
            self._crowd = self._make_endpoint(latency, service)
        return self._crowd

    def cell_of_phase(
        self, phase: Phase, *, method: str, name: str, scenario: str = SCENARIO, labels: Labels = ()
    ) -> Histogram | Tally:
        """Return what a part of a kind of exchange is recorded in. It stays the same."""
        return self._series(SeriesKey(phase.value, scenario, method, name, labels), Kind.TREND).cell

    def cell_of_slip(self, *, scenario: str = SCENARIO) -> Histogram | Tally:
        """Return what the lateness of a scenario's iterations is recorded in. It stays the same."""
        return self._series(SeriesKey(SCHEDULE_SLIP, scenario), Kind.TREND).cell

    def cell_of_check(self, name: str, labels: Labels = (), *, scenario: str = SCENARIO) -> Histogram | Tally:
        """Return what a check is recorded in, 1 for held and 0 for not. It stays the same."""
        return self._series(SeriesKey(CHECKS, scenario, "", name, labels), Kind.RATE).cell

    def task(self, name: str, scenario: str = SCENARIO) -> Task:
        """Return what a kind of iteration is recorded in; it is remembered if its series have places."""
        name = named(name)
        duration = self._table.get(SeriesKey(ITERATION_DURATION, scenario, "", name), Kind.TREND)
        made = Task(duration, self._table.get(SeriesKey(ITERATIONS, scenario, "", name), Kind.COUNTER))
        if not duration.key.is_overflow:
            self._tasks[(name, scenario)] = made
        return made

    def _series(self, key: SeriesKey, kind: Kind) -> Series:
        """Return the series of a key, or the overflow series."""
        found = self._find(key)
        if found is not None:
            return found
        clean = key._replace(method=named(key.method), name=named(key.name), labels=sorted_labels(key.labels))
        return self._table.get(clean, kind)

    def _own(self, name: str, kind: Kind, *, labels: Labels, scenario: str) -> Series:
        """Return a series of the user's own metric."""
        held = self._table.kind_of(name)
        if name in BUILT_IN or name in DERIVED:
            raise UserError(f"metric {name}: the name is one of Loadstone's own; choose another")
        if held not in (None, kind):
            raise UserError(f"metric {name} is a {held} already; a {kind} needs another name")
        return self._series(SeriesKey(name, scenario, "", "", labels), kind)


def _whole(name: str, value: float) -> int:
    """Return a user's number as a whole one, or refuse what 64 bits with a sign cannot carry."""
    # Also false for what is no number at all.
    if not -LARGEST_SUM <= value <= LARGEST_SUM:
        raise UserError(f"metric {name}: a value or its sum is not between -2^62 and 2^62; choose a larger unit")
    return round(value)
