"""Windows: every complete one must hold, and what a loss touches is skipped."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.verdict.evaluation import NO_DATA, Answer
from loadstone_core.verdict.expression import parse_expression
from loadstone_core.verdict.windows import OPEN_WINDOWS_MOST, WindowKeeper


def counter(total):
    series = Series(SeriesKey("orders"), Kind.COUNTER)
    series.count = series.total = total
    return series


def trend(values):
    series = Series(SeriesKey("latency"), Kind.TREND)
    for value in values:
        series.histogram.record(value)
    return series


def gauge(value):
    series = Series(SeriesKey("users"), Kind.GAUGE)
    series.count, series.total = 1, value
    return series


def keep(text, readings):
    keeper = WindowKeeper(parse_expression(text))
    for second, reading in readings:
        keeper.observe(second, reading)
    return keeper.finding


def cumulative(per_second):
    return [counter(sum(per_second[: second + 1])) for second in range(len(per_second))]


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 12))
def test_the_answer_is_that_of_the_worst_complete_window(per_second, width):
    found = keep(f"orders:rate >= 4/s over {width}s", enumerate(cumulative(per_second)))

    windows = [per_second[start : start + width] for start in range(len(per_second) - width + 1)]
    rates = [Fraction(sum(window), width) for window in windows]
    assert found.actual_value == min(rates, default=None)
    assert (found.answer is Answer.BROKEN) == any(rate < 4 for rate in rates)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 6), st.sets(st.integers(0, 30)))
def test_a_window_counts_only_if_its_start_and_its_end_were_seen(per_second, width, missing):
    readings = [(at, reading) for at, reading in enumerate(cumulative(per_second)) if at not in missing]

    slowest = keep(f"orders:rate >= 4/s over {width}s", readings)
    fastest = keep(f"orders:rate <= 4/s over {width}s", readings)

    seen = {0, *(at + 1 for at, _ in readings)}
    starts = [at for at in sorted(seen) if at + width in seen]
    rates = [Fraction(sum(per_second[at : at + width]), width) for at in starts]
    assert slowest.actual_value == min(rates, default=None)
    assert fastest.actual_value == max(rates, default=None)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.integers(1, 6), st.integers(0, 29))
def test_windows_touched_by_a_loss_are_skipped(per_second, width, lost):
    keeper = WindowKeeper(parse_expression(f"orders:rate >= 4/s over {width}s"))
    for second, reading in enumerate(cumulative(per_second)):
        if second == lost:
            keeper.skip()
        keeper.observe(second, reading)

    starts = range(len(per_second) - width + 1)
    untouched = [start for start in starts if not start <= lost < start + width]
    rates = [Fraction(sum(per_second[at : at + width]), width) for at in untouched]
    assert keeper.finding.actual_value == min(rates, default=None)


def test_no_window_is_no_data():
    assert keep("orders:rate >= 4/s over 10s", enumerate(cumulative([0] * 9))) == NO_DATA


def test_a_window_has_its_own_percentile_not_the_one_of_the_run():
    slow_second = [[10] * 100, [10] * 100, [900] * 10, [10] * 100]
    readings = [(second, trend([value for each in slow_second[: second + 1] for value in each])) for second in range(4)]

    assert keep("latency:p50 < 1us over 1s", readings).answer is Answer.HELD
    assert 890 <= keep("latency:p50 < 0.5us over 1s", readings).actual_value <= 900


def test_a_window_without_a_sample_neither_holds_nor_breaks():
    quiet = [(0, None), (1, None), (2, trend([10])), (3, trend([10]))]

    assert keep("latency:p50 < 1us over 1s", quiet).answer is Answer.HELD
    assert keep("latency:p50 < 1us over 1s", quiet[:2]) == NO_DATA


def test_a_gauge_that_is_not_set_again_keeps_its_value():
    keeper = WindowKeeper(parse_expression("users:value >= 5 over 2s"))

    keeper.observe(0, gauge(3))
    keeper.skip()
    for second in range(1, 4):
        keeper.observe(second, gauge(3))

    assert keeper.finding.actual_value == 3


def test_an_old_second_changes_nothing():
    readings = [(0, counter(5)), (1, counter(10)), (1, counter(99)), (0, counter(0)), (2, counter(15))]

    assert keep("orders:rate >= 5/s over 1s", readings).actual_value == 5


def test_samples_taken_back_make_a_window_unknown():
    readings = [(0, counter(5)), (1, counter(4)), (2, counter(9))]

    assert keep("orders:rate >= 5/s over 1s", readings).actual_value == 5


@pytest.mark.parametrize("width", [1, 59, 60, 61, 600, 3_601])
def test_memory_is_bounded_however_wide_the_window(width):
    keeper = WindowKeeper(parse_expression(f"orders:rate >= 2/s over {width}s"))

    for second in range(2 * width + 5):
        keeper.observe(second, counter(2 * (second + 1)))
        assert len(keeper._open) <= OPEN_WINDOWS_MOST + 1

    assert keeper.finding.actual_value == 2


def test_an_expression_without_windows_has_no_keeper():
    with pytest.raises(ValueError, match="asks for no windows"):
        WindowKeeper(parse_expression("orders:rate >= 4/s"))


@pytest.mark.promise("master-restart")
def test_a_keeper_that_goes_on_for_another_skips_what_was_open_and_keeps_the_worst():
    before, after = (WindowKeeper(parse_expression("orders:rate > 10/s over 2s")) for _ in range(2))
    for second, total in enumerate((5, 10, 40)):
        before.observe(second, counter(total))
    after.recall(before.now, before.finding)
    assert (after.now, after.finding) == (3, before.finding)
    after.observe(3, counter(1))
    after.observe(4, counter(1_000))
    after.observe(5, counter(2_000))
    assert after.finding == before.finding
