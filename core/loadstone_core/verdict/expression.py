"""Parse threshold expressions such as `latency{name="front page"}:p95 < 300ms over 60s`, and print them again.

What an expression is measured against belongs to `evaluation`; no series is read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from loadstone_core.errors import UserError
from loadstone_core.units import SECOND, format_duration, parse_duration
from loadstone_core.verdict.vocabulary import TREND, Op, Unit, is_built_in, units_of

_SPACE: Final = re.compile(r"\s*")
_METRIC: Final = re.compile(r"[a-z_][a-z0-9_]*")
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPE: Final = re.compile(r'\\(["\\])')
_WORD: Final = re.compile(r"[a-z][a-z0-9.]*")
_PERCENTILE: Final = re.compile(r"p([1-9][0-9]?(?:\.[0-9]{1,3})?)")
_OP: Final = re.compile(r"<=|>=|==|<|>")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_UNIT: Final = re.compile(r"(?:[a-z]+|%|/[a-z]+)?")
_OVER: Final = re.compile(r"over(?![a-z0-9_])")
_DURATION: Final = re.compile(r"[^\s]+")


class ExpressionError(UserError):
    """A threshold expression that cannot be read.

    Attributes:
        position: the character, counted from 1, at which something else was expected.
        expected: what was expected there, for people.
    """

    def __init__(self, text: str, *, position: int, expected: str) -> None:
        self.position = position
        self.expected = expected
        found = text[position - 1 : position + 19]
        super().__init__(f"character {position}: expected {expected}, found {_quote(found) if found else 'the end'}")


@dataclass(frozen=True, slots=True)
class Expression:
    """One comparison of a statistic of a metric with a value.

    Attributes:
        metric: a built-in metric's name, or the script's own.
        labels: what a series must carry to be selected, sorted by name; empty selects every series of the metric.
        stat: `p1` to `p99.999`, `avg`, `min`, `max`, `count`, `rate` or `value`.
        op: the comparison that must hold.
        value: what is wanted, exact, in the base unit: nanoseconds, a share of one, per second, or plain.
        unit: the unit that the value was written in.
        over_ns: the width of the windows that must all hold, whole seconds; None for the whole run.
        text: the expression as it was written.
    """

    metric: str
    labels: tuple[tuple[str, str], ...]
    stat: str
    op: Op
    value: Fraction
    unit: Unit
    over_ns: int | None
    text: str = field(compare=False)

    @property
    def quantile(self) -> Fraction | None:
        """Which quantile the statistic is, 0 to 1; None if it is none."""
        match = _PERCENTILE.fullmatch(self.stat)
        return Fraction(match[1]) / 100 if match else None

    def __str__(self) -> str:
        """Return the canonical text: parsing it gives an equal expression."""
        labels = ", ".join(f"{name}={_quote(value)}" for name, value in self.labels)
        selector = f"{self.metric}{{{labels}}}" if labels else self.metric
        wanted = f"{_decimal(self.value / self.unit.scale)}{self.unit}"
        over = "" if self.over_ns is None else f" over {format_duration(self.over_ns)}"
        return f"{selector}:{self.stat} {self.op} {wanted}{over}"


def parse_expression(text: str) -> Expression:
    """Return the meaning of `metric{label="value", ...}:stat op value [over DURATION]`.

    Blanks may stand between the parts, but not between a value and its unit. In a label's value, a backslash makes
    the quote or the backslash behind it a part of the value.

    Raises:
        ExpressionError: the text is not in the grammar, or metric, statistic and unit do not fit together.
    """
    cursor = _Cursor(text)
    metric = cursor.take(_METRIC, "the name of a metric, such as latency or failures")
    labels = _parse_labels(cursor) if cursor.skip("{") else ()
    if not cursor.skip(":"):
        raise cursor.error("':' and a statistic, such as :p95" if labels else "'{' with labels, or ':' and a statistic")
    stat, units = _parse_stat(cursor, metric)
    op = Op(cursor.take(_OP, "one of < <= > >= =="))
    hint = "" if is_built_in(metric) else f" ({metric} is not built in, and a custom metric has a unit of its own)"
    value, unit = _parse_value(cursor, units, may_be_negative=stat not in {"count", "rate"}, hint=hint)
    over_ns = _parse_window(cursor) if cursor.matches(_OVER) else None
    if not cursor.is_at_end:
        raise cursor.error("the end" if over_ns else "'over' and a duration, or the end")
    return Expression(metric, labels, stat, op=op, value=value, unit=unit, over_ns=over_ns, text=text)


class _Cursor:
    """A place in the text that only moves forwards."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.skip_blanks()

    @property
    def is_at_end(self) -> bool:
        return self.at == len(self.text)

    def skip_blanks(self) -> None:
        blanks = _SPACE.match(self.text, self.at)
        self.at = blanks.end() if blanks else self.at

    def take(self, pattern: re.Pattern[str], expected: str, *, glued: bool = False) -> str:
        """Return what the pattern matches here and move behind it, and behind the blanks unless glued."""
        match = pattern.match(self.text, self.at)
        if match is None:
            raise self.error(expected)
        self.at = match.end()
        if not glued:
            self.skip_blanks()
        return match[0]

    def matches(self, pattern: re.Pattern[str]) -> bool:
        return pattern.match(self.text, self.at) is not None

    def skip(self, word: str) -> bool:
        if not self.text.startswith(word, self.at):
            return False
        self.at += len(word)
        self.skip_blanks()
        return True

    def error(self, expected: str, at: int | None = None) -> ExpressionError:
        return ExpressionError(self.text, position=(self.at if at is None else at) + 1, expected=expected)


def _parse_labels(cursor: _Cursor) -> tuple[tuple[str, str], ...]:
    labels: dict[str, str] = {}
    while True:
        start = cursor.at
        name = cursor.take(_LABEL, 'a label, such as name="front page"')
        if name in labels:
            raise cursor.error(f"each label once; {name} is there already", start)
        if not cursor.skip("="):
            raise cursor.error(f"'=' after {name}")
        quoted = cursor.take(_QUOTED, f"the value of {name} in double quotes")
        labels[name] = _ESCAPE.sub(r"\1", quoted[1:-1])
        if cursor.skip("}"):
            return tuple(sorted(labels.items()))
        if not cursor.skip(","):
            raise cursor.error("',' or '}'")


def _parse_stat(cursor: _Cursor, metric: str) -> tuple[str, frozenset[Unit]]:
    by_family = units_of(metric)
    expected = f"a statistic of {metric}: {', '.join(by_family)}"
    start = cursor.at
    stat = cursor.take(_WORD, expected)
    is_trend = stat in {"avg", "min", "max"} or _PERCENTILE.fullmatch(stat) is not None
    units = by_family.get(TREND if is_trend else stat)
    if units is None:
        raise cursor.error(expected, start)
    return stat, units


def _parse_value(cursor: _Cursor, units: frozenset[Unit], *, may_be_negative: bool, hint: str) -> tuple[Fraction, Unit]:
    start = cursor.at
    number = Fraction(cursor.take(_NUMBER, "a number", glued=True))
    unit_at = cursor.at
    written = cursor.take(_UNIT, "a unit")
    fitting = [unit for unit in Unit if unit in units]
    if written not in fitting:
        raise cursor.error(_expected_units(fitting, hint), unit_at)
    unit = Unit(written)
    if number < 0 and not (may_be_negative and unit is Unit.NONE):
        raise cursor.error("a value that is not negative", start)
    if unit is Unit.PERCENT and number > 100:  # noqa: PLR2004 a share of a whole ends at 100 %
        raise cursor.error("at most 100%", start)
    return number * unit.scale, unit


def _expected_units(fitting: list[Unit], hint: str) -> str:
    if fitting == [Unit.NONE]:
        return f"a number without a unit{hint}"
    return f"the unit right behind the number: {', '.join(fitting)}"


def _parse_window(cursor: _Cursor) -> int:
    cursor.take(_OVER, "over")
    start = cursor.at
    written = cursor.take(_DURATION, "a duration, such as 60s")
    try:
        over_ns = parse_duration(written)
    except ValueError as error:
        raise cursor.error("a duration, such as 60s or 5m", start) from error
    if over_ns == 0 or over_ns % SECOND:
        raise cursor.error("whole seconds, at least 1s", start)
    return over_ns


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _decimal(value: Fraction) -> str:
    """Return the exact decimal text of a value that was once written as one."""
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    sign, scaled = "-" if value < 0 else "", str(abs(int(value * 10**digits))).rjust(digits + 1, "0")
    return f"{sign}{scaled[:-digits]}.{scaled[-digits:]}" if digits else f"{sign}{scaled}"
