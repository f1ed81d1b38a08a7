"""What a status has no room for is left out in an order, is a number, and changes nothing that is decided from it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.spec.defaults import REPLICAS_MOST, SCENARIOS_MOST, THRESHOLDS_MOST
from loadstone_core.spec.schema import STATUS_SCHEMA
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import Begin, End, Progress
from loadstone_operator.observation import (
    Accepted,
    Cause,
    LoadTestView,
    MasterView,
    Observation,
    Outcome,
    ReportState,
    Stage,
    WorkerView,
)
from loadstone_operator.status import budget
from loadstone_operator.status.attempts import list_attempts, read_attempts, shorten_attempts
from loadstone_operator.status.budget import LIMIT_BYTES, fit, size
from loadstone_operator.status.held import read_held
from loadstone_operator.status.projection import HISTORY_MOST, Moment, project
from loadstone_operator.status.story import tales
from loadstone_operator.status.workers import PROBLEMS_MOST

SEEN = Observation(test=LoadTestView("shop", "checkout", "uid-1", 1), spec=Accepted(2, 50, 1, 1, "sha256:abc"))
MOMENT = Moment(0, 0)
SAID = "more findings are in the report."
PASSED = Outcome(Verdict.PASSED, Reason.PASSED, "All held.", 0)


def threshold(number: int, verdict: str, severity: str = "Fail", *, length: int = 480) -> dict[str, Any]:
    expr = f'latency{{name="{"x" * length}"}}:p95 < {number + 1}ms'
    return {"name": f"t{number}", "expr": expr, "verdict": verdict, "severity": severity}


def test_broken_thresholds_are_told_before_those_that_held_and_how_many_are_not_told() -> None:
    verdicts = {11: ("Failed", "Warn"), 12: ("NoData", "Fail"), 63: ("Failed", "Fail")}
    thresholds = [threshold(number, *verdicts.get(number, ("Passed",))) for number in range(64)]
    fitted = fit({"thresholds": thresholds, "history": [{"run": 1}]})
    told = [each["name"] for each in fitted["thresholds"]]

    assert size(fitted) <= LIMIT_BYTES
    assert {"t11", "t12", "t63"} < set(told)
    assert told == [f"t{number}" for number in range(len(told) - 1)] + ["t63"]
    assert fitted["thresholdsOmitted"] == 64 - len(told)

    of_failed = fit({"thresholds": [threshold(number, "Failed", "Warn") for number in range(63)] + thresholds[63:]})
    assert of_failed["thresholds"][-1] == thresholds[63]


def test_a_number_is_about_the_thresholds_beside_it() -> None:
    many = tuple(threshold(number, "Pending", length=900) for number in range(64))
    talking = replace(SEEN, master=MasterView(connected=True, stage=Stage.RUNNING, thresholds=many))
    status = project({}, talking, Begin(1, Cause.CREATED, Phase.RUNNING), MOMENT)
    for _ in range(3):
        status = project(status, replace(talking, held=read_held(status)), Progress(Phase.RUNNING), MOMENT)
        assert len(status["thresholds"]) + status["thresholdsOmitted"] == 64
    silent = replace(talking, master=None, held=read_held(status))
    assert len(project(status, silent, Progress(Phase.RUNNING), MOMENT)["thresholds"]) == len(status["thresholds"])

    few = replace(talking, master=MasterView(connected=True, stage=Stage.RUNNING, thresholds=many[:1]))
    assert "thresholdsOmitted" not in project(status, few, Progress(Phase.RUNNING), MOMENT)
    again = project(status, replace(SEEN, held=read_held(status)), Begin(2, Cause.TRIGGER, Phase.PENDING), MOMENT)
    assert "thresholdsOmitted" not in again


def test_how_many_runs_and_problems_are_not_told_is_a_number() -> None:
    status: dict[str, Any] = {}
    for run in range(1, HISTORY_MOST + 5):
        seen = replace(SEEN, held=read_held(status))
        status = project(status, seen, End(run, Cause.TRIGGER, PASSED, ReportState.NONE), MOMENT)
    assert status["historyOmitted"] == 4

    lost = tuple(WorkerView(number, 1, "Lost", f"checkout-w-1-{number}-1") for number in range(PROBLEMS_MOST + 3))
    talking = replace(
        SEEN, spec=replace(SEEN.spec, workers=40), master=MasterView(connected=True, stage=Stage.RUNNING, workers=lost)
    )
    workers = project({}, talking, Begin(1, Cause.CREATED, Phase.RUNNING), MOMENT)["workers"]
    assert (len(workers["problems"]), workers["problemsOmitted"]) == (PROBLEMS_MOST, 3)


numbers = st.integers(0, 60) | st.integers(0, REPLICAS_MOST - 1)


@pytest.mark.promise("worker-replaced")
@given(st.dictionaries(numbers, st.integers(2, 40), min_size=1))
def test_attempts_that_are_written_shorter_are_the_same(attempts: dict[int, int]) -> None:
    listed = {"workers": {"desired": 2, "attempts": list_attempts(attempts)}, "run": {"number": 1}}
    short = {**listed, "workers": dict(listed["workers"])}  # type: ignore[call-overload]  # it is a dict

    assert shorten_attempts(short)
    assert read_attempts(short["workers"]) == read_attempts(listed["workers"]) == attempts  # type: ignore[arg-type]
    assert read_held(short).attempts == attempts
    assert tales(listed, short) == tales(short, listed) == ()
    assert not shorten_attempts(short)


def test_attempts_in_order_are_few_words_where_many_are_alike() -> None:
    status = {"workers": {"attempts": list_attempts({17: 2, **dict.fromkeys(range(20, 1020), 3)})}}
    shorten_attempts(status)

    assert status["workers"] == {"attemptsInOrder": "1*17 2 1*2 3*1000"}


@pytest.mark.parametrize("letter", ["x", "ä", "語", "🧲"])
def test_the_largest_status_that_a_resource_allows_has_its_room(letter: str) -> None:
    said = letter * 512
    scenario = {"name": "x" * 63, "model": "users", "planned": 10**15, "achieved": 10**15, "unit": "user-seconds"}
    status = {
        "phase": "Finished",
        "message": letter * 9000,
        "conditions": [
            {"type": f"c{n}", "status": "True", "reason": "Why", "message": said * 2, "lastTransitionTime": "now"}
            for n in range(5)
        ],
        "findings": [said] * 60,
        "workers": {
            "attempts": list_attempts({worker: 2 + worker % 2 for worker in range(REPLICAS_MOST)}),
            "problems": [{"pod": "p", "reason": "Lost", "message": said}] * PROBLEMS_MOST,
        },
        "load": {"scenarios": [scenario] * SCENARIOS_MOST},
        "results": {"endpoints": [{"name": said}] * 300, "topErrors": [{"error": said, "count": 1}] * 20},
        "thresholds": [
            {"name": f"t{n}", "expr": said, "verdict": "Failed", "severity": "Fail"} for n in range(THRESHOLDS_MOST)
        ],
        "history": [{"run": n, "reason": "Passed"} for n in range(HISTORY_MOST)],
    }
    fitted = fit(status)

    assert size(fitted) <= LIMIT_BYTES
    Draft202012Validator(STATUS_SCHEMA).validate(fitted)
    assert fitted["thresholds"]
    assert len(fitted["thresholds"]) + fitted["thresholdsOmitted"] == THRESHOLDS_MOST
    assert len(fitted["history"]) + fitted["historyOmitted"] == HISTORY_MOST
    workers, results = fitted["workers"], fitted["results"]
    assert len(workers["problems"]) + workers["problemsOmitted"] == PROBLEMS_MOST
    assert len(results["topErrors"]) + results["topErrorsOmitted"] == 20
    assert len(read_attempts(workers)) == REPLICAS_MOST


@given(st.lists(st.text(max_size=3000), min_size=2), st.integers(0, 40_000))
def test_as_many_findings_are_told_as_there_is_room_for(findings: list[str], others: int) -> None:
    status = {"findings": [f"Found: {each}" for each in findings], "message": "m", "specHash": "x" * others}
    fitted = fit(status)
    if fitted == status:
        assert size(status) <= LIMIT_BYTES
        return
    *kept, said = fitted["findings"]
    assert (kept, said) == (status["findings"][: len(kept)], f"Omitted: {len(findings) - len(kept)} {SAID}")
    assert size(fitted) <= LIMIT_BYTES or not kept
    if len(kept) < len(findings) - 1:
        more = [*status["findings"][: len(kept) + 1], f"Omitted: {len(findings) - len(kept) - 1} {SAID}"]
        assert size({**status, "findings": more}) > LIMIT_BYTES


def test_what_it_takes_to_fit_a_status_does_not_grow_faster_than_its_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def note(status: Mapping[str, Any]) -> int:
        measured.append(size(status))
        return measured[-1]

    monkeypatch.setattr(budget, "size", note)
    took: dict[int, int] = {}
    for count in (500, 5_000):
        measured.clear()
        restarted = "MasterRestarted: the process was started again; the timeline has a gap there."
        fit({"findings": [f"{restarted} Start {number:4}." for number in range(count)]})
        took[count] = sum(measured)

    assert took[5_000] < 15 * took[500]
