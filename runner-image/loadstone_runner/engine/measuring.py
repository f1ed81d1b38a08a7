"""Give plain functions of a script what they need of their engine: checks, metrics, measured calls, rows, a stop.

In which order a request's counters are written belongs to `instruments`.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gevent import getcurrent

from loadstone.metrics import MetricKind
from loadstone_core.errors import UserError
from loadstone_core.stats.metrics import METRIC_ERROR
from loadstone_core.stats.stream import LARGEST_SUM
from loadstone_runner.engine.counters import MEASURED
from loadstone_runner.engine.instruments import label_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadstone.messages import Delivery, To
    from loadstone_runner.engine.instruments import Instruments
    from loadstone_runner.engine.marks import LogMarks

log = logging.getLogger("loadstone.engine")

_PROTOCOL_MAX: Final = 64
_SHOWN_MAX: Final = 100
_IN_DIRECTOR: Final = "what is measured in the director is in no result; measure it in a task, or print it"


class Services:
    """What the script of one process finds at its seat; a `loadstone.seat.Engine`.

    What is recorded is recorded by the instruments of the running user, so that it belongs to its scenario.

    Attributes:
        rows: returns the next row's number of a unique feeder, waiting for it; None: the load is over.
        on_stop: hears why the script wants the run to end.
        on_send: sends a custom message.
        marks: of lines for which somebody waits; None: nobody would say what became of them.
    """

    __slots__ = ("_instruments", "_rounded", "marks", "on_send", "on_stop", "rows")

    def __init__(self, instruments: Instruments) -> None:
        """Serve a script; `instruments` record what belongs to no user."""
        self._instruments = instruments
        self._rounded: set[str] = set()
        self.rows: Callable[[str, int], int | None] = _no_rows
        self.on_stop: Callable[[str], None] = _ignore
        self.on_send: Callable[[str, Any, To | None], Delivery] = _no_way
        self.marks: LogMarks | None = None

    def check(self, name: str, *, ok: bool, labels: Mapping[str, str]) -> None:
        """Record a check."""
        try:
            instruments = getcurrent().seat.instruments  # type: ignore[attr-defined]  # who is no user has none
        except AttributeError:
            instruments = self._instruments
        instruments.check(name, ok=ok, labels=labels)

    def record(self, kind: MetricKind, name: str, value: object, labels: Mapping[str, object]) -> None:
        """Record a sample of the script's own metric; count an error if it cannot be."""
        recorder, scenario = self._instruments.recorder, self._here().scenario
        try:
            pairs = label_pairs(labels) if labels else ()
            match kind:
                case MetricKind.COUNTER:
                    recorder.counter(name, self._number(name, value, least=0), pairs, scenario=scenario)  # type: ignore[arg-type]
                case MetricKind.GAUGE:
                    recorder.gauge(name, self._number(name, value), pairs, scenario=scenario)
                case MetricKind.TREND:
                    recorder.trend(name, self._number(name, value), pairs, scenario=scenario)
                case MetricKind.RATE:
                    recorder.rate(name, bool(value), pairs, scenario=scenario)
        except UserError as error:
            recorder.error(METRIC_ERROR, str(error), name)
        except Exception as error:  # noqa: BLE001 values and labels are objects of the script
            recorder.error(METRIC_ERROR, f"the sample raised {type(error).__name__}", name)

    def begin_measured(self) -> int:
        """Count a measured call as started; return how late its iteration began if it is the first of that."""
        seat = getattr(getcurrent(), "seat", None)
        if seat is None:
            self._instruments.begin_request()
            return 0
        seat.instruments.begin_request()
        delay_ns: int = seat.client.start_delay_ns
        seat.client.start_delay_ns = 0
        return delay_ns

    def end_measured(  # noqa: PLR0913 the fields of one sample
        self,
        *,
        protocol: str,
        name: str,
        service_ns: int,
        delay_ns: int,
        error: str | None,
        message: str,
        interrupted: bool,
        size: int,
        context: Mapping[str, Any],
    ) -> None:
        """Record a measured call that was begun."""
        instruments = self._here()
        # Before it is completed, as unsent and ambiguous are: what is completed and not measured was our clients'.
        instruments.slots[MEASURED] += 1
        instruments.end_request(
            method=protocol[:_PROTOCOL_MAX],
            name=name,
            latency_ns=service_ns + delay_ns,
            service_ns=service_ns,
            error=error,
            message=message,
            unsent=False,
            ambiguous=False,
            interrupted=interrupted,
            sent=0,
            received=size,
        )
        if instruments.on_request is not None:
            instruments.on_request(protocol, name, service_ns + delay_ns, size, error, 0, "", context)

    def next_row(self, feeder: str, count: int = 0) -> int | None:
        """Return the next row's number of a unique feeder of `count` rows; 0: it begins again after the last."""
        return self.rows(feeder, count)

    def count_error(self, kind: str, message: str, name: str) -> None:
        """Count something that went wrong and raised nothing."""
        self._instruments.recorder.error(kind, message, name)

    def log_durably(self, text: str, timeout: float) -> bool:
        """Write a line and wait until the master holds it; return whether it does."""
        if self.marks is not None:
            return self.marks.write(text, timeout)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        return True

    def stop_run(self, why: str) -> None:
        """Ask for the end of the run."""
        self.on_stop(why)

    def send_message(self, name: str, data: Any, to: To | None) -> Delivery:
        """Send a custom message."""
        return self.on_send(name, data, to)

    def _here(self) -> Instruments:
        seat = getattr(getcurrent(), "seat", None)
        found: Instruments = self._instruments if seat is None else seat.instruments
        return found

    def _number(self, name: str, value: Any, least: int = -LARGEST_SUM) -> float:
        """Return a sample as a number.

        Raises:
            UserError: it is none, or none that can be recorded.
        """
        try:
            is_whole = value == int(value)
        except (TypeError, ValueError, OverflowError):
            shown = repr(value)[:_SHOWN_MAX] if isinstance(value, float) else type(value).__name__
            raise UserError(f"metric {name}: {shown} is no number that can be recorded") from None
        if value < least:
            raise UserError(f"metric {name}: a counter only grows, so nothing negative can be added; use a gauge")
        if not is_whole and -1 < value < 1 and name not in self._rounded:
            self._rounded.add(name)
            log.warning("Rounded a sample of metric %s from %r to a whole number; choose a smaller unit", name, value)
        number: float = value
        return number


class DirectorServices(Services):
    """What a script finds in the director: checks and samples are in no result, and are counted as left out."""

    __slots__ = ()

    def check(self, name: str, *, ok: bool, labels: Mapping[str, str]) -> None:  # noqa: ARG002 as in a worker
        """Count a check that is recorded nowhere."""
        self.count_error(METRIC_ERROR, _IN_DIRECTOR, name)

    def record(self, kind: MetricKind, name: str, value: object, labels: Mapping[str, object]) -> None:  # noqa: ARG002
        """Count a sample that is recorded nowhere."""
        self.count_error(METRIC_ERROR, _IN_DIRECTOR, name)


def _no_rows(_feeder: str, _count: int) -> None:
    return None


def _ignore(_why: str) -> None:
    return None


def _no_way(name: str, _data: Any, _to: To | None) -> NoReturn:
    raise RuntimeError(
        f"send_message({name!r}): the script is not loaded yet; send from a function that is called later"
    )
