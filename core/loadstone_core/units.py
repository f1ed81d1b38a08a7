"""Durations, shares and rates: exact text to integers, and integers to short text for people.

Only text and numbers are known here; no field of a LoadTest is.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

NANOSECOND: Final = 1
MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

DURATION_PATTERN: Final = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
DURATION_MAX_LENGTH: Final = 32
SHARE_PATTERN: Final = r"^(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?)%$"
LONGEST_DURATION: Final = 2**63 - 1

_ROUNDS_TO_A_SECOND: Final = 999_500
_FINEST_SHARE: Final = Fraction(1, 10_000)

_SIZES: Final = {"ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR}
_WHOLE: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+")
_SHARE: Final = re.compile(SHARE_PATTERN, re.ASCII)
_PPM_OF_A_PERCENT: Final = 10_000
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a duration such as `250ms`, `1.5s` or `1h30m`.

    The dialect is Go's without signs and without units below a millisecond. What is finer than a nanosecond is cut
    off. Zero is a duration; whether it makes sense is the field's affair.

    Raises:
        ValueError: the text is not in the dialect, or longer than an int64 of nanoseconds (292 years).
    """
    if len(text) > DURATION_MAX_LENGTH or not _WHOLE.fullmatch(text):
        raise ValueError("must look like 30s, 5m or 1h30m (units: ms, s, m, h)")
    exact = sum((Fraction(number) * _SIZES[unit] for number, unit in _PART.findall(text)), Fraction(0))
    if exact > LONGEST_DURATION:
        raise ValueError("must be shorter than 292 years")
    return int(exact)


def parse_share(text: str) -> int:
    """Return the parts per million of a share such as `1%` or `0.05%`, from none to all.

    Raises:
        ValueError: the text is no such share, or finer than one part in a million.
    """
    if not _SHARE.fullmatch(text):
        raise ValueError("must be a share such as 1% or 0.5%, at most 100%")
    return int(Fraction(text.removesuffix("%")) * _PPM_OF_A_PERCENT)


def format_duration(duration_ns: int) -> str:
    """Return a duration in the dialect of `parse_duration`: exact, without zero parts, `0s` for zero.

    A remainder below a second joins the seconds as a fraction (`1m0.5s`), or is in milliseconds when it stands alone.

    Raises:
        ValueError: the duration is negative.
    """
    if duration_ns < 0:
        raise ValueError("a duration cannot be negative")
    if 0 < duration_ns < SECOND:
        return f"{_decimal(duration_ns, MILLISECOND)}ms"
    hours, rest = divmod(duration_ns, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    parts = [f"{hours}h"] if hours else []
    if minutes:
        parts.append(f"{minutes}m")
    if rest or not parts:
        parts.append(f"{_decimal(rest, SECOND)}s")
    return "".join(parts)


def format_latency(micros: int) -> str:
    """Return a latency for people: whole microseconds below a millisecond, else three significant digits."""
    if micros < MICROSECOND:
        return f"{micros}us"
    if micros < _ROUNDS_TO_A_SECOND:
        return f"{_three_digits(Fraction(micros, 1_000))}ms"
    return f"{_three_digits(Fraction(micros, 1_000_000))}s"


def format_share(part: int, whole: int) -> str:
    """Return part of whole in percent for people; `-` of nothing.

    A share that is neither none nor all never reads `0%` or `100%`.
    """
    if whole <= 0:
        return "-"
    if part in (0, whole):
        return "100%" if part else "0%"
    share = Fraction(part, whole)
    if share < _FINEST_SHARE:
        return "<0.01%"
    if 1 - _FINEST_SHARE < share < 1:
        return ">99.99%"
    return f"{float(share * 100):.2f}%"


def format_rate(count: int, duration_ns: int) -> str:
    """Return count per second for people: three significant digits, whole numbers from 100 on; `-` over no time."""
    if duration_ns <= 0:
        return "-"
    return f"{_three_digits(Fraction(count * SECOND, duration_ns))}/s"


def _decimal(value: int, unit: int) -> str:
    """Return value / unit exactly, for a unit that is a power of ten."""
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(unit + rest)[1:].rstrip('0')}"


def _three_digits(value: Fraction) -> str:
    """Return a non-negative value with three significant digits, or as a whole number from 100 on; `0` for zero."""
    if not value:
        return "0"
    if value >= Fraction(995, 10):
        return str(round(value))
    # 9.995 and 99.95 would round up to a digit too many: the class is chosen after rounding.
    digits = 2 if value < Fraction(9995, 1000) else 1
    return f"{float(value):.{digits}f}"
