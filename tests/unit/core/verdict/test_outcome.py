"""The table of verdicts: every row, and that the first one that applies decides."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.profile import Model
from loadstone_core.spec.model import OnNoData, Severity
from loadstone_core.verdict.ending import Effort
from loadstone_core.verdict.evaluation import NO_DATA, Answer, Finding
from loadstone_core.verdict.expression import parse_expression
from loadstone_core.verdict.outcome import (
    EXIT_CODES,
    NOTES,
    RULES,
    Cause,
    Ending,
    Reason,
    ThresholdFinding,
    Verdict,
    conclude,
)

HELD = Finding(Answer.HELD, "212ms", Fraction(212_000_000))
SLOW = Finding(Answer.BROKEN, "412ms", Fraction(412_000_000))
FAILING = Finding(Answer.BROKEN, "2.00%", Fraction(1, 50))


def threshold(finding, *, name="fast", expr="latency:p95 < 300ms", **fields):
    defaults = {"severity": Severity.FAIL, "on_no_data": OnNoData.FAIL}
    return ThresholdFinding(name=name, expression=parse_expression(expr), finding=finding, **defaults | fields)


RELIABLE = {"name": "reliable", "expr": "failures:rate < 1%"}
CHECKED = {"name": "checked", "expr": 'checks{name="front page answers"}:rate == 100%'}

GOOD = Ending(
    load_ran=True,
    efforts=(Effort(scenario="default", model=Model.USERS, planned=10_000, achieved=10_000),),
    tolerance_ppm=10_000,
    requests=50_000,
    failures=10,
    iterations=20_000,
    seconds=100,
    workers=10,
    thresholds=(threshold(HELD),),
)


def effort(achieved=10_000, **changes):
    """Return an effort that differs from the good one."""
    return {"efforts": (replace(GOOD.efforts[0], achieved=achieved, **changes),)}


def errors(*reasons):
    return {"errors": tuple(Cause(reason, f"{reason} happened") for reason in reasons)}


def thresholds(*findings):
    return {"thresholds": findings}


TABLE = [
    *[(1, {"stopped": reason}, reason) for reason in RULES[0].reasons],
    *[(2, errors(reason), reason) for reason in RULES[1].reasons],
    (2, errors(Reason.IMAGE_PULL, Reason.STARTUP_TIMEOUT), Reason.IMAGE_PULL),
    (2, {"workers_lost": 10, "most_lost": 10, "most_lost_allowed": 9}, Reason.WORKERS_LOST),
    (2, {"workers_lost": 3, "most_lost": 3, "most_lost_allowed": 2}, Reason.WORKERS_LOST),
    (2, {"iterations": 5, "iterations_raised": 5}, Reason.SCRIPT_ERRORS),
    (2, {"iterations": 0}, Reason.SCRIPT_ERRORS),
    (3, thresholds(threshold(FAILING, **RELIABLE)), Reason.THRESHOLDS_FAILED),
    (3, thresholds(threshold(FAILING, **CHECKED)), Reason.THRESHOLDS_FAILED),
    (3, thresholds(threshold(HELD, **RELIABLE, has_aborted=True)), Reason.THRESHOLDS_FAILED),
    (4, {"saturated_seconds": 11}, Reason.GENERATOR_SATURATED),
    (4, {"unaccounted": 51}, Reason.RESULTS_INCOMPLETE),
    (4, {"unaccounted": 51, "unaccounted_at_least": True}, Reason.RESULTS_INCOMPLETE),
    (4, {"saturated_seconds": 11, "unaccounted": 51}, Reason.GENERATOR_SATURATED),
    (5, thresholds(threshold(SLOW)), Reason.THRESHOLDS_FAILED),
    (5, thresholds(threshold(HELD, has_aborted=True)), Reason.THRESHOLDS_FAILED),
    (5, thresholds(threshold(NO_DATA)), Reason.THRESHOLD_NO_DATA),
    (5, thresholds(threshold(NO_DATA, **RELIABLE)), Reason.THRESHOLD_NO_DATA),
    (5, thresholds(threshold(NO_DATA), threshold(SLOW, name="faster")), Reason.THRESHOLDS_FAILED),
    (6, {"regressions": (Cause(Reason.BASELINE_REGRESSED, "p95 rose by 20 %"),)}, Reason.BASELINE_REGRESSED),
    (7, effort(9_899), Reason.LOAD_NOT_REACHED),
    (7, effort(5_012) | {"workers_lost": 2}, Reason.LOAD_NOT_REACHED),
    (7, effort(9_000, model=Model.RATE, dropped=1_000), Reason.LOAD_NOT_REACHED),
    (7, effort(9_999, model=Model.ITERATIONS), Reason.LOAD_NOT_REACHED),
    (7, thresholds(threshold(NO_DATA, on_no_data=OnNoData.INCONCLUSIVE)), Reason.THRESHOLD_NO_DATA),
    (7, effort(0) | {"load_ran": False}, Reason.LOAD_NOT_REACHED),
    (8, {}, Reason.PASSED),
    (8, thresholds(), Reason.PASSED),
    (8, effort(9_900), Reason.PASSED),
    (8, effort(10_050), Reason.PASSED),
    (8, effort(Fraction(297, 200), planned=Fraction(3, 2)), Reason.PASSED),
    (8, effort(0, planned=0) | {"iterations": 0, "requests": 0, "failures": 0}, Reason.PASSED),
    (8, {"workers_lost": 9, "most_lost": 2, "most_lost_allowed": 2}, Reason.PASSED),
    (8, {"iterations": 6, "iterations_raised": 5}, Reason.PASSED),
    (8, {"saturated_seconds": 10}, Reason.PASSED),
    (8, {"unaccounted": 50}, Reason.PASSED),
    (8, thresholds(threshold(SLOW, severity=Severity.WARN)), Reason.PASSED),
    (8, thresholds(threshold(FAILING, **RELIABLE, severity=Severity.WARN)), Reason.PASSED),
    (8, thresholds(threshold(NO_DATA, severity=Severity.WARN)), Reason.PASSED),
    (8, thresholds(threshold(NO_DATA, on_no_data=OnNoData.PASS)), Reason.PASSED),
    *[(8, {"notes": (Cause(reason, "a note"),)}, Reason.PASSED) for reason in NOTES],
]


@pytest.mark.promise("verdict-table")
@pytest.mark.parametrize(("row", "changes", "reason"), TABLE)
def test_each_row_of_the_table_gives_its_verdict(row, changes, reason):
    rule = RULES[row - 1]

    outcome = conclude(replace(GOOD, **changes))

    assert (outcome.verdict, outcome.reason, outcome.exit_code) == (rule.verdict, reason, rule.exit_code)
    assert reason in rule.reasons


def test_every_row_and_every_reason_of_the_table_has_a_case():
    assert {row for row, _, _ in TABLE} == {rule.row for rule in RULES}
    assert {(row, reason) for row, _, reason in TABLE} == {(rule.row, each) for rule in RULES for each in rule.reasons}


def test_the_vocabulary_is_closed():
    assert {*NOTES, *(reason for rule in RULES for reason in rule.reasons)} == set(Reason)


@pytest.mark.promise("verdict-table")
def test_rows_are_numbered_and_exit_as_documented():
    assert [(rule.row, rule.verdict, rule.exit_code) for rule in RULES] == [
        (1, Verdict.ABORTED, 130),
        (2, Verdict.ERROR, 1),
        (3, Verdict.FAILED, 99),
        (4, Verdict.INCONCLUSIVE, 97),
        (5, Verdict.FAILED, 99),
        (6, Verdict.FAILED, 98),
        (7, Verdict.INCONCLUSIVE, 97),
        (8, Verdict.PASSED, 0),
    ]
    assert EXIT_CODES == {"Aborted": 130, "Error": 1, "Failed": 99, "Inconclusive": 97, "Passed": 0}


# One thing for each row that makes it apply; thresholds are gathered, as rows 3 and 5 both come from them.
APPLY = {
    1: {"stopped": Reason.STOPPED},
    2: errors(Reason.DIRECTOR_LOST),
    3: thresholds(threshold(FAILING, **RELIABLE)),
    4: {"saturated_seconds": 50},
    5: thresholds(threshold(SLOW)),
    6: {"regressions": (Cause(Reason.BASELINE_REGRESSED, "p95 rose by 20 %"),)},
    7: effort(5_012),
    8: {},
}


def with_rows(rows):
    changes = {key: value for row in rows for key, value in APPLY[row].items() if key != "thresholds"}
    return replace(GOOD, **changes, thresholds=tuple(each for row in rows for each in APPLY[row].get("thresholds", ())))


@given(st.sets(st.integers(1, 8), min_size=1))
def test_the_first_row_that_applies_decides_whatever_else_does(rows):
    outcome = conclude(with_rows(rows))

    first = RULES[min(rows) - 1]
    assert (outcome.verdict, outcome.exit_code) == (first.verdict, first.exit_code)


@given(st.sets(st.integers(1, 8), min_size=1))
def test_everything_found_is_listed_whatever_row_won(rows):
    outcome = conclude(with_rows(rows))

    listed = [finding.split(":")[0] for finding in outcome.findings]
    assert listed == [conclude(with_rows({row})).reason for row in sorted(rows - {8})]


def test_a_stopped_run_still_shows_its_broken_thresholds():
    outcome = conclude(with_rows({1, 5}))

    assert outcome.verdict is Verdict.ABORTED
    assert "ThresholdsFailed: fast: latency:p95 < 300ms did not hold, it was 412ms" in outcome.findings


def test_a_run_that_never_had_load_lists_no_lack_of_results():
    lacking = replace(
        GOOD,
        **errors(Reason.IMAGE_PULL),
        load_ran=False,
        **effort(0),
        requests=0,
        iterations=0,
        thresholds=(threshold(NO_DATA), threshold(NO_DATA, severity=Severity.WARN)),
    )

    assert conclude(lacking).findings == ("ImagePull: ImagePull happened",)
    assert conclude(replace(lacking, stopped=Reason.STOPPED)).findings[1:] == ("ImagePull: ImagePull happened",)


def test_whoever_stopped_the_run_is_quoted_if_that_said_anything() -> None:
    told = conclude(replace(GOOD, stopped=Reason.STOPPED, stop_message="the script stopped the run: enough"))

    assert (told.verdict, told.message) == (Verdict.ABORTED, "the script stopped the run: enough")


def test_what_decides_nothing_is_listed_after_what_does():
    ending = replace(
        GOOD,
        **effort(5_000),
        workers_lost=1,
        most_lost_allowed=1,
        notes=(Cause(Reason.SERIES_LIMITED, "2,000 series"),),
        thresholds=(threshold(SLOW, severity=Severity.WARN), threshold(NO_DATA, on_no_data=OnNoData.PASS)),
    )

    assert [finding.split(":")[0] for finding in conclude(ending).findings] == [
        "LoadNotReached",
        "ThresholdsFailed",
        "ThresholdNoData",
        "WorkerDegraded",
        "SeriesLimited",
    ]


def test_who_lost_the_workers_has_the_word_on_it():
    lost = Cause(Reason.WORKERS_LOST, "worker 3 was evicted from node a")

    outcome = conclude(replace(GOOD, workers_lost=5, most_lost=5, errors=(lost,)))

    assert outcome.message == "worker 3 was evicted from node a"
    assert outcome.findings == ("WorkersLost: worker 3 was evicted from node a",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "1 of 1 threshold held; 50000 requests, 0.02% failed; achieved 10000 of 10000 user-seconds (100 %)"),
        (
            effort(0, planned=0) | {"thresholds": (), "requests": 0, "failures": 0},
            "there are no thresholds; 0 requests, 0% failed; achieved 0 of 0 user-seconds",
        ),
        (
            {"thresholds": (), "requests": 4, "failures": 4},
            (
                "there are no thresholds, so failures decide nothing; 4 requests, 100% failed; "
                "achieved 10000 of 10000 user-seconds (100 %)"
            ),
        ),
        (effort(5_012), "achieved 5012 of 10000 user-seconds (50.1 %); add workers or lower users"),
        (
            effort(9_000, model=Model.RATE, dropped=1_000),
            "achieved 9000 of 10000 iterations (90 %), 1000 dropped; add workers or lower the rate",
        ),
        (
            effort(9_999, model=Model.ITERATIONS),
            "achieved 9999 of 10000 iterations (99.9 %); allow a longer duration or add users",
        ),
        (
            effort(8_000) | {"workers_lost": 2},
            "achieved 8000 of 10000 user-seconds (80 %); lost 2 of 10 workers; see the problems of the workers",
        ),
        (
            effort(8_000) | {"used_up": ("accounts.csv",)},
            (
                "achieved 8000 of 10000 user-seconds (80 %); users ended when all rows of accounts.csv were used up; "
                "add rows or set loop=True"
            ),
        ),
        (
            {"workers": 1, "workers_lost": 1, "most_lost": 1},
            "lost 1 of 1 worker; see the problems of the workers, and give the workers more memory, or nodes that stay",
        ),
        (
            {"workers": 4, "workers_lost": 2, "most_lost": 2, "first_loss": "worker 3 was not heard for 35 s"},
            "lost 2 of 4 workers: worker 3 was not heard for 35 s",
        ),
        (
            effort(8_000) | {"workers_lost": 11, "relief": "all were replaced"},
            (
                "achieved 8000 of 10000 user-seconds (80 %); lost workers 11 times; see the problems of the workers; "
                "all were replaced"
            ),
        ),
        (
            {"iterations": 7, "iterations_raised": 7, "raised_most": "KeyError: 'item' in Shop.buy"},
            "all of 7 iterations raised, mostly KeyError: 'item' in Shop.buy; correct the script",
        ),
        (
            {"iterations": 0},
            "no iteration was completed; see the top errors, and let the load last longer than one iteration",
        ),
        (
            {"saturated_seconds": 40},
            (
                "the load generator was over 100 ms late in 40 of 100 s, so a part of the latencies is its own; "
                "add workers, give them more CPU, or lower the load"
            ),
        ),
        (
            {"saturated_seconds": 40, "exhausted_seconds": 40},
            (
                "the load generator lacked ports, open files or memory for connections in 40 of 100 s; the top errors "
                "say what, so add workers, raise that limit, or lower the load"
            ),
        ),
        (
            {"saturated_seconds": 40, "exhausted_seconds": 30},
            (
                "the load generator lacked ports, open files or memory for connections in 30 of 100 s, and was over "
                "100 ms late in 10 others; the top errors say what, so add workers, raise that limit, or lower the load"
            ),
        ),
        (
            {"unaccounted": 500, "unaccounted_at_least": True},
            (
                "at least 500 of 50000 requests (1.00%) are not in the results; see the problems of the workers, "
                "and run the test again"
            ),
        ),
        (
            thresholds(threshold(SLOW, has_aborted=True), threshold(SLOW, name="faster")),
            "fast: latency:p95 < 300ms did not hold, it was 412ms; it ended the run early (1 more in the findings)",
        ),
        (
            thresholds(threshold(NO_DATA)),
            (
                "fast: nothing was measured for latency:p95 < 300ms; correct the metric and its labels, "
                "or set onNoData: Pass"
            ),
        ),
    ],
)
def test_the_message_says_what_happened_and_what_to_do(changes, message):
    assert conclude(replace(GOOD, **changes)).message == message


def test_each_scenario_that_fell_short_is_named_and_one_is_enough():
    first = replace(GOOD.efforts[0], scenario="browse")
    short = Effort(scenario="buy", model=Model.RATE, planned=100, achieved=50, dropped=50)
    outcome = conclude(replace(GOOD, efforts=(first, short)))

    assert outcome.reason is Reason.LOAD_NOT_REACHED
    assert outcome.message.startswith("scenario buy achieved 50 of 100 iterations (50 %), 50 dropped;")
    both = conclude(replace(GOOD, efforts=(replace(first, achieved=5), short)))
    assert [each for each in both.findings if "scenario" in each] == list(both.findings)
    assert len(both.findings) == 2
    passed = conclude(replace(GOOD, efforts=(first, replace(short, achieved=100))))
    assert "scenario browse achieved 10000 of 10000 user-seconds (100 %); scenario buy achieved 100" in passed.message
