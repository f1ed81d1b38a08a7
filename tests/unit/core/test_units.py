import re
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadstone_core.units import (
    DURATION_MAX_LENGTH,
    DURATION_PATTERN,
    HOUR,
    LONGEST_DURATION,
    MICROSECOND,
    MILLISECOND,
    MINUTE,
    NANOSECOND,
    SECOND,
    format_duration,
    format_latency,
    format_rate,
    format_share,
    parse_duration,
    parse_share,
)

DURATIONS = st.integers(0, LONGEST_DURATION)


def test_units_are_multiples_of_each_other() -> None:
    assert (MICROSECOND, MILLISECOND, SECOND) == (1_000 * NANOSECOND, 1_000 * MICROSECOND, 1_000 * MILLISECOND)
    assert (MINUTE, HOUR) == (60 * SECOND, 60 * MINUTE)


@given(DURATIONS)
@example(0)
@example(LONGEST_DURATION)
@example(HOUR + SECOND // 2)
def test_a_formatted_duration_is_the_same_duration(duration: int) -> None:
    text = format_duration(duration)

    assert re.fullmatch(DURATION_PATTERN, text)
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0s", 0),
        ("250ms", 250 * MILLISECOND),
        ("1.5s", 1_500 * MILLISECOND),
        ("1m30s", 90 * SECOND),
        ("1h30m", 90 * MINUTE),
        ("0.25h", 15 * MINUTE),
        ("30s1m", 90 * SECOND),
        ("1s1s", 2 * SECOND),
        ("007s", 7 * SECOND),
        ("0.0000001ms", 0),
        ("0.000001ms", 1),
        ("2562047h47m16.854775807s", LONGEST_DURATION),
    ],
)
def test_a_duration_is_read_exactly(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "-5s",
        "+5s",
        "2 days",
        "1d",
        "1w",
        "P1D",
        "1m 30s",
        ".5s",
        "5.s",
        "5S",
        "5s ",
        " 5s",
        "5s\n",
        "1us",
        "٣s",
    ],
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"must look like 30s, 5m or 1h30m \(units: ms, s, m, h\)"):
        parse_duration(text)


def test_a_duration_of_more_characters_than_a_field_takes_is_refused() -> None:
    assert parse_duration("0" * (DURATION_MAX_LENGTH - 1) + "s") == 0
    with pytest.raises(ValueError, match="must look like"):
        parse_duration("0" * DURATION_MAX_LENGTH + "s")


def test_a_duration_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than 292 years"):
        parse_duration("2562047h47m16.854775808s")


@given(st.text(alphabet="0123456789.msh ", max_size=7))
def test_exactly_what_the_pattern_takes_is_read(text: str) -> None:
    try:
        parse_duration(text)
    except ValueError:
        taken = False
    else:
        taken = True

    assert taken == (re.fullmatch(DURATION_PATTERN, text) is not None)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "0.000001ms"),
        (250 * MILLISECOND, "250ms"),
        (SECOND, "1s"),
        (1_500 * MILLISECOND, "1.5s"),
        (60 * SECOND, "1m"),
        (90 * SECOND, "1m30s"),
        (HOUR, "1h"),
        (HOUR + 1, "1h0.000000001s"),
        (100 * HOUR + MINUTE, "100h1m"),
    ],
)
def test_a_duration_is_written_without_zero_parts(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


def test_a_negative_duration_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        format_duration(-1)


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0us"),
        (999, "999us"),
        (1_000, "1.00ms"),
        (9_994, "9.99ms"),
        (9_996, "10.0ms"),
        (12_345, "12.3ms"),
        (99_960, "100ms"),
        (300_000, "300ms"),
        (999_499, "999ms"),
        (999_500, "1.00s"),
        (1_234_567, "1.23s"),
        (75_200_000, "75.2s"),
        (1_234_567_890, "1235s"),
    ],
)
def test_a_latency_has_three_significant_digits(micros: int, text: str) -> None:
    assert format_latency(micros) == text


@given(st.integers(1, 10**12))
def test_a_latency_for_people_is_within_half_a_percent(micros: int) -> None:
    number, unit = re.fullmatch(r"([0-9.]+)(us|ms|s)", format_latency(micros)).groups()  # type: ignore[union-attr]
    shown = Fraction(number) * {"us": 1, "ms": 1_000, "s": 1_000_000}[unit]

    assert abs(shown - micros) <= Fraction(micros, 199)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "-"),
        (0, 5, "0%"),
        (5, 5, "100%"),
        (42, 10_000, "0.42%"),
        (1, 10_000, "0.01%"),
        (1, 10_001, "<0.01%"),
        (1, 3, "33.33%"),
        (9_999, 10_000, "99.99%"),
        (10_000, 10_001, ">99.99%"),
    ],
)
def test_a_share_is_in_percent(part: int, whole: int, text: str) -> None:
    assert format_share(part, whole) == text


@given(st.integers(1, 10**15), st.data())
def test_a_share_reads_as_none_or_all_only_if_it_is(whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    text = format_share(part, whole)

    assert (text == "0%") == (part == 0)
    assert (text == "100%") == (part == whole)
    assert text not in {"0.00%", "100.00%"}


@pytest.mark.parametrize(
    ("count", "nanoseconds", "text"),
    [
        (0, SECOND, "0/s"),
        (5, 0, "-"),
        (1, 3 * SECOND, "0.33/s"),
        (9_996, 1_000 * SECOND, "10.0/s"),
        (123, 10 * SECOND, "12.3/s"),
        (5_230, 10 * SECOND, "523/s"),
        (1_234_567, SECOND, "1234567/s"),
    ],
)
def test_a_rate_is_per_second(count: int, nanoseconds: int, text: str) -> None:
    assert format_rate(count, nanoseconds) == text


@pytest.mark.parametrize(
    ("text", "ppm"),
    [
        ("0%", 0),
        ("1%", 10_000),
        ("0.0001%", 1),
        ("2.5%", 25_000),
        ("99.9999%", 999_999),
        ("100%", 10**6),
        ("100.0%", 10**6),
    ],
)
def test_a_share_is_read_exactly_in_parts_per_million(text: str, ppm: int) -> None:
    assert parse_share(text) == ppm


@pytest.mark.parametrize("text", ["", "1", "%", "-1%", "100.1%", "101%", "0.00001%", "1 %", "1%%", "\u0661%", ".5%"])
def test_what_is_no_share_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape("must be a share such as 1% or 0.5%, at most 100%")):
        parse_share(text)
