"""The three answers to a threshold, from real merged series."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.spec.model import OnNoData, Severity, ThresholdSpec
from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.stats.totals import Totals
from loadstone_core.verdict.evaluation import NO_DATA, Answer, Finding, evaluate, read, should_abort, worst
from loadstone_core.verdict.expression import parse_expression

SECOND = 1_000_000_000
MS = 1_000_000


def trend(metric, values, *, name="", outcomes=None):
    series = Series(SeriesKey(metric, "default", "", name), Kind.TREND)
    for value in values:
        series.histogram.record(value)
    series.outcomes.update(outcomes or {})
    return series


def tally(metric, kind, *, count, total, name=""):
    series = Series(SeriesKey(metric, "default", "", name), kind)
    series.count, series.total = count, total
    return series


def totals(*series):
    return Totals(series={each.key: each for each in series})


RUN = totals(
    trend(
        "latency",
        [100 * MS] * 90 + [200 * MS] * 10,
        name="front page",
        outcomes={"failed": 1, "bytes_sent": 1_000, "bytes_received": 20_000},
    ),
    trend("latency", [400 * MS] * 100, name="buy", outcomes={"failed": 3, "bytes_sent": 3_000}),
    tally("iterations", Kind.COUNTER, count=50, total=50, name="visit"),
    tally("iterations", Kind.COUNTER, count=50, total=50, name="leave"),
    tally("checks", Kind.RATE, count=200, total=199, name="front page answers"),
    tally("users", Kind.GAUGE, count=7, total=12),
    tally("orders", Kind.COUNTER, count=3, total=30),
    tally("logins", Kind.RATE, count=4, total=3),
    tally("queue", Kind.GAUGE, count=2, total=-5),
    trend("basket", [3, 4, 4]),
)


@pytest.mark.parametrize(
    ("text", "answer", "actual", "value"),
    [
        ("latency:avg < 300ms", Answer.HELD, "255ms", Fraction(255 * MS)),
        ("latency:max < 300ms", Answer.BROKEN, "400ms", Fraction(400 * MS)),
        ("latency:min >= 100ms", Answer.HELD, "100ms", Fraction(100 * MS)),
        ('latency{name="front page"}:max < 300ms', Answer.HELD, "200ms", Fraction(200 * MS)),
        ('latency{name="front page", scenario="default"}:avg < 110ms', Answer.BROKEN, "110.0ms", Fraction(110 * MS)),
        ("requests:count == 200", Answer.HELD, "200", Fraction(200)),
        ("requests:rate >= 20/s", Answer.HELD, "20.0/s", Fraction(20)),
        ('requests{name="buy"}:rate >= 20/s', Answer.BROKEN, "10.0/s", Fraction(10)),
        ("failures:count < 4", Answer.BROKEN, "4", Fraction(4)),
        ("failures:rate < 1%", Answer.BROKEN, "2.00%", Fraction(1, 50)),
        ('failures{name="front page"}:rate <= 1%', Answer.HELD, "1.00%", Fraction(1, 100)),
        ("bytes_sent:count == 4000", Answer.HELD, "4000", Fraction(4_000)),
        ("bytes_received:rate > 2000/s", Answer.BROKEN, "2000/s", Fraction(2_000)),
        ("iterations:count == 100", Answer.HELD, "100", Fraction(100)),
        ("iterations:rate > 9.5/s", Answer.HELD, "10.0/s", Fraction(10)),
        ("dropped_iterations:count == 0", Answer.HELD, "0", Fraction(0)),
        ("dropped_iterations:rate < 1/s", Answer.HELD, "0/s", Fraction(0)),
        ("checks:rate == 100%", Answer.BROKEN, "99.50%", Fraction(199, 200)),
        ('checks{name="front page answers"}:rate > 99%', Answer.HELD, "99.50%", Fraction(199, 200)),
        ("users:value > 10", Answer.HELD, "12", Fraction(12)),
        ("orders:count >= 30", Answer.HELD, "30", Fraction(30)),
        ("orders:rate > 3/s", Answer.BROKEN, "3.00/s", Fraction(3)),
        ("logins:rate > 70%", Answer.HELD, "75.00%", Fraction(3, 4)),
        ("queue:value < -4", Answer.HELD, "-5", Fraction(-5)),
        ("basket:avg < 4", Answer.HELD, "3.667", Fraction(11, 3)),
        ("basket:max <= 4", Answer.HELD, "4", Fraction(4)),
    ],
)
def test_a_threshold_is_answered_from_what_was_measured(text, answer, actual, value):
    found = evaluate(parse_expression(text), RUN, elapsed_ns=10 * SECOND)

    assert found.answer is answer
    assert found.actual_value == value
    # How many digits people see is decided in units; that it is this number is decided here.
    assert float(found.actual.rstrip("ms/%")) == float(actual.rstrip("ms/%"))
    assert found.actual.lstrip("-0123456789.") == actual.lstrip("-0123456789.")


@pytest.mark.parametrize(
    "text",
    [
        'latency{name="fornt page"}:p95 < 300ms',
        'requests{name="fornt page"}:count < 5',
        'failures{method="GET"}:rate < 1%',
        "tls:p95 < 300ms",
        "ordres:count < 5",
        "orders:p95 < 5",
        "orders:value < 5",
        "basket:count < 5",
        "logins:rate > 5/s",
    ],
)
def test_what_was_not_measured_is_no_data_and_never_holds(text):
    assert evaluate(parse_expression(text), RUN, elapsed_ns=10 * SECOND) == NO_DATA


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("requests:count == 0", Answer.HELD),
        ("requests:rate >= 500/s", Answer.BROKEN),
        ("iterations:count >= 1", Answer.BROKEN),
        ("failures:rate < 1%", Answer.NO_DATA),
        ("failures:count < 1", Answer.NO_DATA),
        ("latency:p95 < 300ms", Answer.NO_DATA),
        ("checks:rate > 90%", Answer.NO_DATA),
        ("users:value > 0", Answer.NO_DATA),
    ],
)
def test_that_nothing_was_requested_is_a_measurement_of_counters_only(text, answer):
    empty = totals(trend("latency", []), tally("users", Kind.GAUGE, count=0, total=0))

    assert evaluate(parse_expression(text), empty, elapsed_ns=SECOND).answer is answer
    assert evaluate(parse_expression(text), Totals(), elapsed_ns=SECOND).answer is answer


def test_nothing_is_per_second_before_any_time_has_passed():
    assert evaluate(parse_expression("requests:rate > 5/s"), RUN, elapsed_ns=0) == NO_DATA


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=50), st.sampled_from(["p1", "p50", "p99.9"]))
def test_a_percentile_is_the_one_of_the_merged_histogram(values, stat):
    merged = trend("latency", values)
    halves = totals(trend("latency", values[::2], name="a"), trend("latency", values[1::2], name="b"))
    expression = parse_expression(f"latency:{stat} < 1s")

    found = evaluate(expression, halves, elapsed_ns=SECOND)

    assert found.actual_value == merged.histogram.quantile(expression.quantile)


def test_reading_leaves_the_totals_as_they_are():
    single = trend("latency", [1, 2, 3], name="a")
    reading = read(parse_expression('latency{name="a"}:max < 1s'), totals(single))

    reading.histogram.record(4)

    assert single.histogram.count == 3


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("latency:max < 300ms", 300_000_412, "300.000412ms"),
        ("latency:max <= 300ms", 300 * MS, "300ms"),
        ("basket:max < 3", 3, "3"),
    ],
)
def test_a_value_never_reads_like_the_wanted_one_unless_it_is(text, value, shown):
    metric = text.split(":")[0]

    found = evaluate(parse_expression(text), totals(trend(metric, [value])), elapsed_ns=SECOND)

    assert found.actual == shown


def test_a_share_just_beside_the_wanted_one_shows_its_digits():
    run = totals(tally("checks", Kind.RATE, count=1_000_000, total=990_001))

    assert evaluate(parse_expression("checks:rate == 99%"), run, elapsed_ns=SECOND).actual == "99.0001%"


def finding(expression, value):
    held = expression.op.holds(Fraction(value), expression.value)
    return Finding(Answer.HELD if held else Answer.BROKEN, str(value), Fraction(value))


@given(st.sampled_from(["<", "<=", ">", ">=", "=="]), st.lists(st.none() | st.integers(-5, 5), max_size=6))
def test_the_worst_finding_is_broken_if_any_is_and_no_data_only_if_all_are(op, values):
    expression = parse_expression(f"margin:max {op} 0")
    findings = [NO_DATA if value is None else finding(expression, value) for value in values]

    found = worst(expression, findings)

    answers = {each.answer for each in findings}
    ranked = (Answer.BROKEN, Answer.HELD, Answer.NO_DATA)
    assert found.answer is next((answer for answer in ranked if answer in answers), Answer.NO_DATA)


@pytest.mark.parametrize(("op", "value"), [("<", 7), ("<=", 7), (">", -3), (">=", -3), ("==", 7)])
def test_the_worst_value_is_the_furthest_on_the_wrong_side(op, value):
    expression = parse_expression(f"margin:max {op} 1")

    assert worst(expression, [finding(expression, each) for each in (-3, 1, 7)]).actual_value == value


ABORTING = ThresholdSpec(
    name="fast",
    expr="latency:max < 1s",
    severity=Severity.FAIL,
    abort_on_fail=True,
    delay_abort_ns=10 * SECOND,
    on_no_data=OnNoData.FAIL,
)
BROKEN = Finding(Answer.BROKEN, "2.00s", Fraction(2 * SECOND))
HELD = Finding(Answer.HELD, "0.50s", Fraction(SECOND, 2))


@pytest.mark.parametrize(
    ("threshold", "found", "since_start_ns", "broken_since_ns", "aborts"),
    [
        (ABORTING, BROKEN, 30 * SECOND, 20 * SECOND, True),
        (ABORTING, BROKEN, 30 * SECOND, 20 * SECOND + 1, False),
        (ABORTING, BROKEN, 30 * SECOND, None, False),
        (replace(ABORTING, delay_abort_ns=0), BROKEN, 30 * SECOND, None, True),
        (ABORTING, HELD, 30 * SECOND, 0, False),
        (ABORTING, NO_DATA, 30 * SECOND, 0, False),
        (replace(ABORTING, abort_on_fail=False), BROKEN, 30 * SECOND, 0, False),
    ],
)
def test_a_run_is_aborted_once_its_threshold_has_been_broken_for_the_delay(
    threshold, found, since_start_ns, broken_since_ns, aborts
):
    assert should_abort(threshold, found, since_start_ns=since_start_ns, broken_since_ns=broken_since_ns) is aborts
