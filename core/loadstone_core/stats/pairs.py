"""Hold together the two series that one sample of an engine feeds, so that recording it costs one look-up.

When they are made and who may have one is decided in `recorder`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.stats.metrics import Outcome

if TYPE_CHECKING:
    from loadstone_core.stats.series import Series

# Plain strings: the hash of a StrEnum's member is computed in Python at every look-up, that of a string is kept.
_FAILED = Outcome.FAILED.value
_UNSENT = Outcome.UNSENT.value
_AMBIGUOUS = Outcome.AMBIGUOUS.value
_INTERRUPTED = Outcome.INTERRUPTED.value
_BYTES_SENT = Outcome.BYTES_SENT.value
_BYTES_RECEIVED = Outcome.BYTES_RECEIVED.value
_NOTHING_YET = {outcome.value: 0 for outcome in Outcome}


class Endpoint:
    """Join latency and service time of one kind of request.

    While they never differed (always, in a closed model) both share one histogram and a request is recorded once.

    Attributes:
        latency: histogram of the latency series.
        service: histogram of the service_time series.
        shared: whether the two are one object.
        outcomes: of the latency series, none missing.
    """

    __slots__ = ("_service_series", "latency", "outcomes", "service", "shared")

    def __init__(self, latency: Series, service: Series) -> None:
        # An overflow series takes samples of many endpoints: what is true of one of them is not true of all.
        self.shared = not latency.key.is_overflow and not service.key.is_overflow
        if self.shared:
            service.cell = latency.cell
        self.latency = latency.cell
        self.service = service.cell
        self._service_series = service
        latency.outcomes = {**_NOTHING_YET, **latency.outcomes}
        self.outcomes = latency.outcomes

    def record(  # noqa: PLR0913  # the fields of one sample
        self,
        latency_ns: int,
        service_ns: int,
        *,
        failed: bool,
        unsent: bool,
        ambiguous: bool,
        interrupted: bool,
        sent: int,
        received: int,
    ) -> None:
        """Record one request; the arguments are those of `Recorder.request`."""
        if service_ns != latency_ns and self.shared:
            self.part()
        self.latency.record(latency_ns)
        if not self.shared:
            self.service.record(service_ns)
        outcomes = self.outcomes
        outcomes[_BYTES_SENT] += sent
        outcomes[_BYTES_RECEIVED] += received
        if failed:
            outcomes[_FAILED] += 1
        if unsent:
            outcomes[_UNSENT] += 1
        if ambiguous:
            outcomes[_AMBIGUOUS] += 1
        if interrupted:
            outcomes[_INTERRUPTED] += 1

    def part(self) -> None:
        """Give service time a histogram of its own, from the first request on that was started late."""
        self.shared = False
        self.service = self._service_series.cell = self.latency.copy()


class Task:
    """Join duration and number of one kind of iteration.

    Attributes:
        duration: the iteration_duration series.
        iterations: the iterations series.
    """

    __slots__ = ("duration", "iterations")

    def __init__(self, duration: Series, iterations: Series) -> None:
        self.duration = duration
        self.iterations = iterations

    def count(self, outcome: str) -> None:
        """Count an outcome of an iteration."""
        outcomes = self.duration.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
