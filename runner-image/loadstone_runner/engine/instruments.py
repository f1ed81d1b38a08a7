"""Count and record what users do, in the order that keeps the counters true at any instant. No waiting, no sockets.

After a SIGKILL only the counter file is left, and it must hold then that
`completed - unsent - ambiguous <= counted by the target <= started - unsent`. So a request is started before its first
byte, unsent and ambiguous are counted before completed, and completed comes after the sample is recorded.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Final

from loadstone_core.stats.metrics import EXCEPTION_ERROR
from loadstone_core.stats.recorder import SCENARIO, Recorder
from loadstone_runner.engine.counters import (
    AMBIGUOUS,
    COMPLETED,
    ITERATIONS_COMPLETED,
    ITERATIONS_STARTED,
    STARTED,
    UNSENT,
    CounterFile,
)
from loadstone_runner.engine.tracebacks import Tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from loadstone_core.stats.metrics import Phase

log = logging.getLogger("loadstone.engine")

_LABELS_MAX: Final = 32
_TEXT_MAX: Final = 256


class Instruments:
    """Everything that one scenario of one engine measures. The `Instruments` that a script's `check` finds.

    Attributes:
        scenario: its name.
        recorder: of the samples, the same for all scenarios.
        counters: that survive, the same for all scenarios.
        slots: the scenario's own of them.
        on_request: hears of each recorded request, see `events.Audience.tell_request`; None: nobody listens.
    """

    scenario: str
    counters: CounterFile
    on_request: Callable[..., None] | None
    recorder: Recorder
    slots: memoryview

    def __init__(self, counters: CounterFile, scenario: str = SCENARIO) -> None:
        self.scenario = scenario
        self.recorder = self._recorder()
        self.counters = counters
        self.slots = counters.block(0)
        self.on_request = None
        self._tracebacks = Tracebacks()

    def beside(self, scenario: str, place: int) -> Instruments:
        """Return the instruments of the scenario at a place of the plan, which record into the same."""
        made = type(self)(self.counters, scenario)
        made.recorder = self.recorder
        made.slots = self.counters.block(place)
        made.on_request = self.on_request
        made._tracebacks = self._tracebacks  # noqa: SLF001 its own class
        return made

    def _recorder(self) -> Recorder:
        """Return an empty recorder."""
        return Recorder()

    def begin_request(self) -> None:
        """Count a request as started; to be called before anything of it can leave."""
        self.slots[STARTED] += 1

    def end_request(  # noqa: PLR0913 the fields of one sample
        self,
        *,
        method: str,
        name: str,
        latency_ns: int,
        service_ns: int,
        error: str | None,
        message: str,
        unsent: bool,
        ambiguous: bool,
        interrupted: bool,
        sent: int,
        received: int,
        scenario: str | None = None,
        phases: Iterable[tuple[Phase, int]] = (),
    ) -> None:
        """Record a request that was begun, and how long its phases took in nanoseconds; count it as completed.

        `error` is None for a success, else its kind.
        """
        name = name if len(name) <= _TEXT_MAX else name[:_TEXT_MAX]
        for phase, took_ns in phases:
            self.recorder.phase(phase, took_ns, method=method, name=name, scenario=scenario or self.scenario)
        self.recorder.request(
            method=method,
            name=name,
            latency_ns=latency_ns,
            service_ns=service_ns,
            failed=error is not None,
            unsent=unsent,
            ambiguous=ambiguous,
            interrupted=interrupted,
            sent=sent,
            received=received,
            scenario=scenario or self.scenario,
        )
        slots = self.slots
        if error is not None:
            self.recorder.error(error[:_TEXT_MAX], message, name)
            if unsent:
                slots[UNSENT] += 1
            elif ambiguous:
                slots[AMBIGUOUS] += 1
        slots[COMPLETED] += 1

    def begin_iteration(self) -> None:
        """Count an iteration as started."""
        self.slots[ITERATIONS_STARTED] += 1

    def end_iteration(
        self, name: str, duration_ns: int, *, failed: bool, interrupted: bool, scenario: str | None = None
    ) -> None:
        """Record an iteration that was begun, and count it as completed, however it ended."""
        self.recorder.iteration(
            name, duration_ns, failed=failed, interrupted=interrupted, scenario=scenario or self.scenario
        )
        self.slots[ITERATIONS_COMPLETED] += 1

    def check(self, name: str, *, ok: bool, labels: Mapping[str, str]) -> None:
        """Record a check."""
        self.recorder.check(name[:_TEXT_MAX], ok, label_pairs(labels) if labels else (), scenario=self.scenario)

    def exception(self, error: BaseException, name: str) -> None:
        """Count an exception of user code in `name`; the first of each kind is logged with its traceback."""
        # Also of an exception whose own text cannot be had.
        text = traceback.format_exception_only(type(error), error)[-1].strip()
        self.recorder.error(EXCEPTION_ERROR, text, name)
        if self._tracebacks.is_first(error):
            log.error("User code raised in %s", name, exc_info=error)


def label_pairs(labels: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return labels as a series' key has them, cut to what may travel; a name that comes twice then counts once."""
    pairs = {str(name)[:_TEXT_MAX]: str(value)[:_TEXT_MAX] for name, value in labels.items()}
    return tuple(sorted(pairs.items())[:_LABELS_MAX])
