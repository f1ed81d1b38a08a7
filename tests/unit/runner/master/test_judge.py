from __future__ import annotations

from typing import Any

from loadstone_core.spec.model import OnNoData, Severity, ThresholdSpec
from loadstone_core.stats.metrics import LATENCY, Kind, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.stats.totals import Totals
from loadstone_core.units import SECOND
from loadstone_core.verdict.evaluation import Answer
from loadstone_runner.master.judge import Judge

MILLISECOND = 1_000_000


def spec(expr: str, **changes: Any) -> ThresholdSpec:
    values: dict[str, Any] = {
        "name": "limit",
        "expr": expr,
        "severity": Severity.FAIL,
        "abort_on_fail": False,
        "delay_abort_ns": 0,
        "on_no_data": OnNoData.FAIL,
    }
    return ThresholdSpec(**{**values, **changes})


def totals(*latencies_ms: int, failed: int = 0) -> Totals:
    series = Series(SeriesKey(LATENCY, "default", "GET", "front"), Kind.TREND)
    for each in latencies_ms:
        assert series.histogram is not None
        series.histogram.record(each * MILLISECOND)
    series.outcomes = {"failed": failed}
    return Totals(series={series.key: series} if latencies_ms else {})


def status(judge: Judge, *, is_over: bool = False) -> list[str]:
    return [each["verdict"] for each in judge.to_status(is_over=is_over, load_started_ns=10**18)]


def test_a_threshold_is_pending_then_held_then_broken_then_held_again() -> None:
    judge = Judge([spec("latency:p95 < 100ms")])
    assert status(judge) == ["Pending"]
    judge.observe(0, totals(50), may_abort=True)
    assert status(judge) == ["Passed"]
    judge.observe(1, totals(50, 500), may_abort=True)
    assert status(judge) == ["Failed"]
    judge.observe(2, totals(*[50] * 99, 500), may_abort=True)
    assert status(judge) == ["Passed"]
    [told] = judge.to_status(is_over=True, load_started_ns=10**18)
    assert told["firstBreachAt"] == "2001-09-09T01:46:42.000000Z"
    assert "firstBreachAt" not in judge.to_status(is_over=True, load_started_ns=0)[0]


def test_nothing_measured_is_no_data_at_the_end() -> None:
    judge = Judge([spec('latency{name="typo"}:p95 < 100ms')])
    [finding] = judge.conclude(totals(5), elapsed_ns=SECOND)

    assert finding.finding.answer is Answer.NO_DATA
    assert status(judge, is_over=True) == ["NoData"]


def test_a_broken_threshold_ends_the_run_after_its_delay_without_a_break() -> None:
    judge = Judge([spec("failures:rate < 10%", abort_on_fail=True, delay_abort_ns=2 * SECOND)])
    bad, good = totals(5, failed=1), totals(5)
    answers = [
        judge.observe(second, each, may_abort=True) for second, each in enumerate((bad, bad, good, bad, bad, bad))
    ]

    assert answers == [None, None, None, None, None, "limit"]
    [finding] = judge.conclude(good, elapsed_ns=6 * SECOND)
    assert finding.has_aborted
    assert status(judge, is_over=True) == ["Failed"]


def test_a_load_that_has_ended_is_not_aborted() -> None:
    judge = Judge([spec("failures:rate < 10%", abort_on_fail=True)])

    assert judge.observe(0, totals(5, failed=1), may_abort=False) is None
    assert not judge.conclude(totals(5), elapsed_ns=SECOND)[0].has_aborted


def test_windows_are_judged_by_their_own_samples_and_a_loss_skips_them() -> None:
    judge = Judge([spec("requests:rate >= 2/s over 2s")])
    judge.observe(0, totals(1, 1, 1), may_abort=True)
    judge.observe(1, totals(1, 1, 1, 1), may_abort=True)
    assert status(judge) == ["Passed"]
    judge.skip()
    judge.observe(2, totals(1, 1, 1, 1), may_abort=True)
    judge.observe(3, totals(1, 1, 1, 1), may_abort=True)
    assert status(judge) == ["Passed"]
    for second in range(4, 8):
        judge.observe(second, totals(1, 1, 1, 1), may_abort=True)
    assert status(judge) == ["Failed"]


def test_the_first_of_several_broken_thresholds_is_named() -> None:
    both = [spec("failures:rate < 10%", abort_on_fail=True, name=name) for name in ("one", "two")]
    assert Judge(both).observe(0, totals(5, failed=1), may_abort=True) == "one"


def test_a_loss_is_nothing_to_a_threshold_without_windows() -> None:
    judge = Judge([spec("latency:p95 < 100ms")])
    judge.skip()
    judge.observe(0, totals(5), may_abort=True)
    assert status(judge) == ["Passed"]


def test_nothing_is_judged_in_a_warm_up_and_windows_begin_after_it() -> None:
    whole, window = spec("requests:rate >= 1/s"), spec("requests:rate >= 1/s over 2s", name="window")
    judge = Judge([whole, window], warm_up_ns=2 * SECOND + 1)
    for second in range(3):
        judge.observe(second, totals(), may_abort=True)
    assert status(judge) == ["Pending", "Pending"]
    judge.observe(3, totals(5, 5), may_abort=True)
    judge.observe(4, totals(5, 5, 5), may_abort=True)

    assert status(judge) == ["Passed", "Passed"]
    judge.observe(5, totals(5, 5, 5), may_abort=True)
    told = judge.to_status(is_over=True, load_started_ns=10**18)
    assert told[0]["firstBreachAt"] == "2001-09-09T01:46:46.000000Z"
