"""Name what can be counted: the built-in metrics, the four kinds, and the key of a series.

What is recorded under a key lives in `series`; what a threshold may ask of a metric lives in `loadstone_core.verdict`.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

OVERFLOW_NAME = "__overflow__"
NAME_CAP: Final = 256


class Kind(StrEnum):
    """What a series does with its samples."""

    TREND = "trend"
    COUNTER = "counter"
    RATE = "rate"
    GAUGE = "gauge"


LATENCY = "latency"
SERVICE_TIME = "service_time"
ITERATION_DURATION = "iteration_duration"
SCHEDULE_SLIP = "schedule_slip"
ITERATIONS = "iterations"
DROPPED_ITERATIONS = "dropped_iterations"
MESSAGE_LATENCY = "message_latency"
MESSAGES_SENT = "messages_sent"
MESSAGES_RECEIVED = "messages_received"
CHECKS = "checks"
USERS = "users"

# Kinds of errors that are no failures of requests.
EXCEPTION_ERROR: Final = "exception"  # a task raised
FEEDER_ERROR: Final = "feeder"  # a user asked for a row when all were used
GREENLETS_ERROR: Final = "greenlets"  # the script leaves too many behind
HANDLER_ERROR: Final = "handler"  # a handler of custom messages raised, or took longer than its timeout
HANDLER_SLOW: Final = "slow handler"  # it takes longer than a handler should, and goes on
LISTENER_ERROR: Final = "listener"  # a listener raised, was too slow or did not come back
METRIC_ERROR: Final = "metric"  # a sample cannot be recorded


class Phase(StrEnum):
    """The parts of an exchange that are timed apart from its latency.

    `tls` counts full handshakes and `tls_resumed` those that took up a session of before, so their counts tell them
    apart; `body` runs from the first byte of an answer to its last.
    """

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TLS_RESUMED = "tls_resumed"
    FIRST_BYTE = "first_byte"
    BODY = "body"


BUILT_IN: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        LATENCY: Kind.TREND,
        SERVICE_TIME: Kind.TREND,
        ITERATION_DURATION: Kind.TREND,
        SCHEDULE_SLIP: Kind.TREND,
        **dict.fromkeys(Phase, Kind.TREND),
        ITERATIONS: Kind.COUNTER,
        DROPPED_ITERATIONS: Kind.COUNTER,
        MESSAGE_LATENCY: Kind.TREND,
        MESSAGES_SENT: Kind.COUNTER,
        MESSAGES_RECEIVED: Kind.COUNTER,
        CHECKS: Kind.RATE,
        USERS: Kind.GAUGE,
    }
)
"""The metrics that every run may have. Times are nanoseconds."""

DERIVED: Final = frozenset({"requests", "failures", "bytes_sent", "bytes_received"})
"""Metrics that a threshold may name although no series has them: they are read from latency and its outcomes."""


class Outcome(StrEnum):
    """The counters beside a latency or an iteration series."""

    FAILED = "failed"
    UNSENT = "unsent"
    AMBIGUOUS = "ambiguous"
    INTERRUPTED = "interrupted"
    BYTES_SENT = "bytes_sent"
    BYTES_RECEIVED = "bytes_received"


class SeriesKey(NamedTuple):
    """Identify a series. A named tuple, so that the hot path finds a series by a plain tuple, hashed in C.

    Attributes:
        metric: a name of `BUILT_IN`, or the user's.
        scenario: the scenario that the sample belongs to.
        method: of a request; else empty.
        name: of the request, the task or the check; empty for the user's own metrics.
        labels: the user's, sorted by name, no name twice.
    """

    metric: str
    scenario: str = ""
    method: str = ""
    name: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def is_overflow(self) -> bool:
        """Say whether the series stands for those that had no place of their own."""
        return OVERFLOW_NAME in (self.name, self.metric)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether every label asked for is held; `name`, `method` and `scenario` are fields, others the user's."""
        held = {**dict(self.labels), "scenario": self.scenario, "method": self.method, "name": self.name}
        return all(held.get(label) == value for label, value in labels.items())


def storable(text: str) -> str:
    """Return a text that can be stored and sent: halves of surrogate pairs, which UTF-8 cannot carry, become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def named(text: str) -> str:
    """Return what a script calls something as a series has it: storable, and cut so that a message can carry it."""
    return storable(text[:NAME_CAP])


def sorted_labels(labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return labels as a key holds them: sorted by name, the last value of a name that comes twice, all storable."""
    if not labels:
        return labels
    return tuple(sorted({storable(name): storable(value) for name, value in labels}.items()))
