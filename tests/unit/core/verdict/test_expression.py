"""The grammar of thresholds: what it accepts, what it means, and what it says about the rest."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.errors import UserError
from loadstone_core.verdict.expression import Expression, ExpressionError, parse_expression
from loadstone_core.verdict.vocabulary import Op, Unit, units_of

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "metric", "labels", "stat", "op", "value", "unit", "over_ns"),
    [
        (
            'latency{name="front page"}:p95 < 300ms',
            "latency",
            (("name", "front page"),),
            "p95",
            Op.LESS,
            Fraction(300_000_000),
            Unit.MILLISECONDS,
            None,
        ),
        ("failures:rate < 1%", "failures", (), "rate", Op.LESS, Fraction(1, 100), Unit.PERCENT, None),
        (
            "requests:rate >= 500/s over 60s",
            "requests",
            (),
            "rate",
            Op.GREATER_OR_EQUAL,
            500,
            Unit.PER_SECOND,
            60 * SECOND,
        ),
        ("iterations:count==1000", "iterations", (), "count", Op.EQUAL, 1_000, Unit.NONE, None),
        ("users:value > 9", "users", (), "value", Op.GREATER, 9, Unit.NONE, None),
        ("tls:p99.999 <= 0.5us", "tls", (), "p99.999", Op.LESS_OR_EQUAL, 500, Unit.MICROSECONDS, None),
        ("latency:max < 2m over 1h30m", "latency", (), "max", Op.LESS, 120 * SECOND, Unit.MINUTES, 5_400 * SECOND),
        ("margin:avg > -2.5", "margin", (), "avg", Op.GREATER, Fraction(-5, 2), Unit.NONE, None),
        ("logins:rate > 99.9%", "logins", (), "rate", Op.GREATER, Fraction(999, 1_000), Unit.PERCENT, None),
        ("orders:rate > 0.5/s", "orders", (), "rate", Op.GREATER, Fraction(1, 2), Unit.PER_SECOND, None),
        (
            ' checks { b = "say \\"hi\\" \\\\", a = "" } : rate >= 100% ',
            "checks",
            (("a", ""), ("b", 'say "hi" \\')),
            "rate",
            Op.GREATER_OR_EQUAL,
            1,
            Unit.PERCENT,
            None,
        ),
    ],
)
def test_an_expression_means_what_it_says(text, metric, labels, stat, op, value, unit, over_ns):  # noqa: PLR0913, PLR0917 the columns of the table
    assert parse_expression(text) == Expression(
        metric, labels, stat, op=op, value=Fraction(value), unit=unit, over_ns=over_ns, text=""
    )
    assert parse_expression(text).text == text


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("", 1, "the name of a metric"),
        ("95 < 3", 1, "the name of a metric"),
        ("latency", 8, "':' and a statistic"),
        ("latency < 3ms", 9, "':' and a statistic"),
        ('latency{name="x"} < 3ms', 19, "':' and a statistic"),
        ("latency{}:p95 < 3ms", 9, "a label"),
        ("latency{name}:p95 < 3ms", 13, "'=' after name"),
        ("latency{name=front}:p95 < 3ms", 14, "the value of name in double quotes"),
        ('latency{name="x:p95 < 3ms', 14, "the value of name in double quotes"),
        ('latency{name="\\x"}:p95 < 3ms', 14, "the value of name in double quotes"),
        ('latency{name="x" a="y"}:p95 < 3ms', 18, "',' or '}'"),
        ('latency{a="x",a="y"}:p95 < 3ms', 15, "each label once"),
        ("latency: < 3ms", 10, "a statistic of latency"),
        ("latency:rate < 3/s", 9, "a statistic of latency: p1 to p99.999, avg, min, max"),
        ("latency:p100 < 3ms", 9, "p1 to p99.999"),
        ("latency:p0 < 3ms", 9, "p1 to p99.999"),
        ("latency:p99.9999 < 3ms", 9, "p1 to p99.999"),
        ("failures:p95 < 3ms", 10, "a statistic of failures: count, rate"),
        ("users:count < 3", 7, "a statistic of users: value"),
        ("orders:sum < 3", 8, "a statistic of orders"),
        ("latency:p95 = 3ms", 13, "one of < <= > >= =="),
        ("latency:p95 < fast", 15, "a number"),
        ("latency:p95 < 300", 18, "the unit right behind the number: us, ms, s, m"),
        ("latency:p95 < 300 ms", 18, "the unit right behind the number"),
        ("latency:p95 < 300h", 18, "us, ms, s, m"),
        ("failures:rate < 1", 18, "the unit right behind the number: %"),
        ("requests:rate > 5%", 18, "the unit right behind the number: /s"),
        ("requests:rate > 5/m", 18, "the unit right behind the number: /s"),
        ("requests:count > 5/s", 19, "a number without a unit"),
        ("latencies:p95 < 300ms", 20, "latencies is not built in"),
        ("latency:p95 < -1ms", 15, "not negative"),
        ("orders:count > -1", 16, "not negative"),
        ("failures:rate < 101%", 17, "at most 100%"),
        ("users:value < 3 for 5s", 17, "'over' and a duration, or the end"),
        ("users:value < 3 overly", 17, "'over' and a duration, or the end"),
        ("users:value < 3 over", 21, "a duration, such as 60s"),
        ("users:value < 3 over a while", 22, "a duration, such as 60s"),
        ("users:value < 3 over 1500ms", 22, "whole seconds"),
        ("users:value < 3 over 0s", 22, "whole seconds"),
        ("users:value < 3 over 5s now", 25, "the end"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_what_was_expected(text, position, expected):
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)

    assert isinstance(caught.value, UserError)
    assert caught.value.position == position
    assert expected in caught.value.expected
    assert str(caught.value).startswith(f"character {position}: expected {caught.value.expected}, found ")


def test_an_error_shows_what_stands_at_its_place():
    with pytest.raises(ExpressionError, match=r'found "fast enough"$'):
        parse_expression("latency:p95 < fast enough")
    with pytest.raises(ExpressionError, match=r"found the end$"):
        parse_expression("latency:p95 <")


numbers = st.decimals(0, 100, places=3).map(lambda number: format(number, "f"))
labels = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,4}", fullmatch=True),
    st.text(alphabet='ab"\\{}, =\n', max_size=6),
    max_size=3,
)


@st.composite
def expressions(draw):
    metric = draw(st.sampled_from(["latency", "failures", "requests", "users", "checks", "orders"]))
    family, units = draw(st.sampled_from(sorted(units_of(metric).items())))
    stat = family if "," not in family else draw(st.sampled_from(["p1", "p50", "p99.999", "avg", "min", "max"]))
    chosen = draw(labels)
    quoted = ",".join(
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"')) for name, value in chosen.items()
    )
    selector = f"{metric}{{{quoted}}}" if chosen else metric
    over = draw(st.sampled_from(["", " over 10s", " over 1.5m"]))
    return f"{selector}:{stat}{draw(st.sampled_from(Op))}{draw(numbers)}{draw(st.sampled_from(sorted(units)))}{over}"


@given(expressions())
def test_printing_and_parsing_again_gives_the_same_expression(text):
    parsed = parse_expression(text)

    assert parse_expression(str(parsed)) == parsed
    assert str(parse_expression(str(parsed))) == str(parsed)


@given(st.text(alphabet='latency:p95<300ms{}"=\\ over%/é\n', max_size=40))
def test_any_text_is_an_expression_or_an_error_within_it(text):
    try:
        place = len(parse_expression(text).text)
    except ExpressionError as error:
        place = error.position

    assert 1 <= place <= len(text) + 1


def test_a_percentile_is_a_quantile_and_nothing_else_is():
    assert parse_expression("latency:p99.9 < 1s").quantile == Fraction(999, 1_000)
    assert parse_expression("latency:avg < 1s").quantile is None


def test_values_are_printed_as_they_were_written():
    for text in ("latency:p95 < 0.25ms", "latency:p95 < 1.5s over 1m30s", "margin:avg > -0.5", "orders:count >= 20"):
        assert str(parse_expression(text)) == text
