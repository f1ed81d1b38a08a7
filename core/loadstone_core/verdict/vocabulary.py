"""Say which statistics a metric has, and in which units and with which comparisons a threshold may ask for them.

The text that asks belongs to `expression`; the series that answer belong to `evaluation`.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Final, assert_never

from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping


class Op(StrEnum):
    """How the measured value is compared with the wanted one."""

    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    EQUAL = "=="

    def holds(self, actual: Fraction, wanted: Fraction) -> bool:
        """Return whether `actual op wanted` is true, exactly."""
        match self:
            case Op.LESS:
                return actual < wanted
            case Op.LESS_OR_EQUAL:
                return actual <= wanted
            case Op.GREATER:
                return actual > wanted
            case Op.GREATER_OR_EQUAL:
                return actual >= wanted
            case Op.EQUAL:
                return actual == wanted
        assert_never(self)


class Unit(StrEnum):
    """The unit that a value is written in; `NONE` for counts, gauges and custom Trends."""

    NONE = ""
    MICROSECONDS = "us"
    MILLISECONDS = "ms"
    SECONDS = "s"
    MINUTES = "m"
    PERCENT = "%"
    PER_SECOND = "/s"

    @property
    def is_time(self) -> bool:
        """Whether values in this unit are times; they are nanoseconds inside."""
        return self in _TIME_UNITS

    @property
    def scale(self) -> Fraction:
        """How many base units one of this unit is: nanoseconds, shares of one, or ones."""
        return _SCALES[self]


_TIME_UNITS: Final = frozenset({Unit.MICROSECONDS, Unit.MILLISECONDS, Unit.SECONDS, Unit.MINUTES})
_PLAIN: Final = frozenset({Unit.NONE})
_SHARE: Final = frozenset({Unit.PERCENT})
_SPEED: Final = frozenset({Unit.PER_SECOND})
_SCALES: Final[Mapping[Unit, Fraction]] = {
    Unit.NONE: Fraction(1),
    Unit.MICROSECONDS: Fraction(1_000),
    Unit.MILLISECONDS: Fraction(1_000_000),
    Unit.SECONDS: Fraction(SECOND),
    Unit.MINUTES: Fraction(60 * SECOND),
    Unit.PERCENT: Fraction(1, 100),
    Unit.PER_SECOND: Fraction(1),
}

TIME_METRICS: Final = frozenset(
    {
        "latency",
        "service_time",
        "iteration_duration",
        "schedule_slip",
        "dns",
        "connect",
        "tls",
        "tls_resumed",
        "first_byte",
        "body",
        "message_latency",
    }
)
COUNTER_METRICS: Final = frozenset(
    {
        "requests",
        "iterations",
        "dropped_iterations",
        "bytes_sent",
        "bytes_received",
        "messages_sent",
        "messages_received",
    }
)

# Families of statistics: every percentile is of the family of avg, min and max.
TREND: Final = "p1 to p99.999, avg, min, max"
_UNITS_OF_TIMES: Final[Mapping[str, frozenset[Unit]]] = {TREND: _TIME_UNITS}
_UNITS_OF_COUNTERS: Final[Mapping[str, frozenset[Unit]]] = {"count": _PLAIN, "rate": _SPEED}
# A metric of the script may be of any kind; its unit tells a Rate (%) from a Counter (/s).
_UNITS_OF_CUSTOM: Final[Mapping[str, frozenset[Unit]]] = {
    TREND: _PLAIN,
    "count": _PLAIN,
    "rate": _SHARE | _SPEED,
    "value": _PLAIN,
}
_UNITS: Final[Mapping[str, Mapping[str, frozenset[Unit]]]] = {
    **dict.fromkeys(TIME_METRICS, _UNITS_OF_TIMES),
    **dict.fromkeys(COUNTER_METRICS, _UNITS_OF_COUNTERS),
    "failures": {"count": _PLAIN, "rate": _SHARE},
    "checks": {"rate": _SHARE},
    "users": {"value": _PLAIN},
}


def is_built_in(metric: str) -> bool:
    """Return whether the metric is one of ours, and so of a known kind."""
    return metric in _UNITS


def units_of(metric: str) -> Mapping[str, frozenset[Unit]]:
    """Return the families of statistics that a metric has, with the units that each may be asked for in."""
    return _UNITS.get(metric, _UNITS_OF_CUSTOM)
