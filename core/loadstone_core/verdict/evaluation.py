"""Answer threshold expressions from merged statistics: held, broken, or no data.

What an answer does to the verdict belongs to `outcome`; windows of time are kept by `windows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from loadstone_core.stats.metrics import BUILT_IN, DERIVED, LATENCY, Kind, Outcome, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.units import SECOND, format_duration, format_latency, format_rate, format_share
from loadstone_core.verdict.vocabulary import COUNTER_METRICS, Op, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loadstone_core.spec.model import ThresholdSpec
    from loadstone_core.stats.histogram import Histogram
    from loadstone_core.verdict.expression import Expression


class Answer(StrEnum):
    """The three answers to a threshold."""

    HELD = "held"
    BROKEN = "broken"
    NO_DATA = "no data"


class Measured(Protocol):
    """Merged statistics, as `Totals` has them."""

    def select(self, metric: str, labels: Mapping[str, str]) -> Sequence[Series]:
        """Return the series of a metric that hold every given label."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one expression.

    Attributes:
        answer: held, broken or no data.
        actual: what was measured, for people: `212ms`, `0.42%`, `512/s`, `no data`.
        actual_value: the same, exact, in the expression's base unit; None for no data.
    """

    answer: Answer
    actual: str
    actual_value: Fraction | None


NO_DATA: Final = Finding(Answer.NO_DATA, "no data", None)


def evaluate(expression: Expression, measured: Measured, *, elapsed_ns: int) -> Finding:
    """Return the answer over everything measured so far, whatever window the expression asks for.

    Args:
        expression: what is asked.
        measured: the merged statistics of the run.
        elapsed_ns: how long the load has run, for what is counted per second.
    """
    return judge(expression, read(expression, measured), elapsed_ns=elapsed_ns)


def read(expression: Expression, measured: Measured) -> Series | None:
    """Return the series that an expression selects, folded into one of their own; None if there is none.

    A built-in counter without labels always exists: that nothing was counted is a measurement. With labels, or of the
    script's own metrics, nothing selected may be a misspelling and is no measurement.
    """
    source = LATENCY if expression.metric in DERIVED else expression.metric
    kind, labels = _kind_of(expression), dict(expression.labels)
    selected = [series for series in measured.select(source, labels) if series.kind is kind]
    if not selected and (labels or expression.metric not in COUNTER_METRICS):
        return None
    folded = Series(SeriesKey(source), kind)
    for series in selected:
        folded.add(series)
    return folded


def judge(expression: Expression, reading: Series | None, *, elapsed_ns: int) -> Finding:
    """Return the answer from what `read` gave, or from the difference of two such readings `elapsed_ns` apart."""
    value = None if reading is None else _measure(expression, reading, elapsed_ns)
    if value is None:
        return NO_DATA
    answer = Answer.HELD if expression.op.holds(value, expression.value) else Answer.BROKEN
    return Finding(answer, _show(expression, value), value)


def worst(expression: Expression, findings: Iterable[Finding]) -> Finding:
    """Return the finding furthest on the wrong side: broken if any is, no data if none has data."""
    return max(findings, key=lambda each: _badness(expression, each), default=NO_DATA)


def should_abort(
    threshold: ThresholdSpec, finding: Finding, *, since_start_ns: int, broken_since_ns: int | None
) -> bool:
    """Return whether a threshold ends the run now: it asks for that, and has been broken for its delay.

    Args:
        threshold: with `abort_on_fail` and `delay_abort_ns`.
        finding: the answer now.
        since_start_ns: now, counted from the start of load.
        broken_since_ns: since when it has been broken without a break, counted alike; None if it was not before.
    """
    if not threshold.abort_on_fail or finding.answer is not Answer.BROKEN:
        return False
    broken_ns = 0 if broken_since_ns is None else since_start_ns - broken_since_ns
    return broken_ns >= threshold.delay_abort_ns


def _kind_of(expression: Expression) -> Kind:
    """Return the kind of series that has the statistic; of the script's own metrics the name says nothing."""
    if expression.metric in DERIVED:
        return Kind.TREND
    if expression.metric in BUILT_IN:
        return BUILT_IN[expression.metric]
    match expression.stat, expression.unit:
        case "rate", Unit.PERCENT:
            return Kind.RATE
        case "rate" | "count", _:
            return Kind.COUNTER
        case "value", _:
            return Kind.GAUGE
        case _:
            return Kind.TREND


def _measure(expression: Expression, reading: Series, elapsed_ns: int) -> Fraction | None:
    """Return the statistic, exact, in the base unit; None where it is undefined."""
    # Failures are a part of the requests: without a request there is nothing that could have failed.
    needs_samples = expression.metric not in COUNTER_METRICS and expression.unit is not Unit.PER_SECOND
    if needs_samples and not reading.count:
        return None
    counted = _counted(expression.metric, reading)
    match expression.stat, expression.unit:
        case "rate", Unit.PER_SECOND:
            return Fraction(counted * SECOND, elapsed_ns) if elapsed_ns > 0 else None
        case "rate", _:
            return Fraction(counted, reading.count)
        case "count" | "value", _:
            return Fraction(counted)
        case _:
            return None if reading.histogram is None else _trend_statistic(expression, reading.histogram)


def _counted(metric: str, reading: Series) -> int:
    if metric == "requests":
        return reading.count
    if metric == "failures":
        return reading.outcomes.get(Outcome.FAILED, 0)
    if metric in DERIVED:
        return reading.outcomes.get(metric, 0)
    return reading.total


def _trend_statistic(expression: Expression, histogram: Histogram) -> Fraction | None:
    if expression.quantile is not None:
        return Fraction(histogram.quantile(expression.quantile))
    match expression.stat:
        case "avg":
            return histogram.mean()
        case "min":
            return Fraction(histogram.minimum)
        case _:
            return Fraction(histogram.maximum)


def _badness(expression: Expression, finding: Finding) -> tuple[bool, Fraction]:
    """Return how far a finding is on the wrong side of the wanted value; no data is better than anything."""
    if finding.actual_value is None:
        return False, Fraction(0)
    above = finding.actual_value - expression.value
    match expression.op:
        case Op.LESS | Op.LESS_OR_EQUAL:
            return True, above
        case Op.GREATER | Op.GREATER_OR_EQUAL:
            return True, -above
        case Op.EQUAL:
            return True, abs(above)
    assert_never(expression.op)


def _show(expression: Expression, value: Fraction) -> str:
    """Return a value for people, with more digits where it would else read like the wanted value that it is not."""
    short = _short(expression.unit, value)
    if value == expression.value or short != _short(expression.unit, expression.value):
        return short
    if expression.unit.is_time:
        return format_duration(round(value))
    return f"{float(value / expression.unit.scale):.12g}{expression.unit}"


def _short(unit: Unit, value: Fraction) -> str:
    if unit.is_time:
        return format_latency(round(value / 1_000))
    if unit is Unit.PERCENT:
        return format_share(value.numerator, value.denominator)
    if unit is Unit.PER_SECOND:
        return format_rate(value.numerator, value.denominator * SECOND)
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.3f}"
