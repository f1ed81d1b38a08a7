import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from loadstone_core.errors import Problem
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.spec.schema import STATUS_SCHEMA
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import Begin, End, Keep, Progress, Refuse, Update, Wait
from loadstone_operator.observation import (
    Accepted,
    Cause,
    ContainerEnd,
    LoadTestView,
    MasterView,
    Observation,
    Outcome,
    PodProblem,
    PodView,
    Rejected,
    ReportState,
    Stage,
    Times,
    WorkerView,
)
from loadstone_operator.status.budget import LIMIT_BYTES, fit, size
from loadstone_operator.status.held import read_held
from loadstone_operator.status.projection import HISTORY_MOST, Moment, is_urgent, project
from loadstone_operator.status.story import tales

SECOND = 10**9
TEST = LoadTestView("shop", "checkout", "uid-1", 3, trigger="abc")
SPEC = Accepted(2, 50, 30 * SECOND, 600 * SECOND, "sha256:abc")
SEEN = Observation(test=TEST, spec=SPEC)
BEGIN = Begin(1, Cause.CREATED, Phase.PROVISIONING)
RESULTS = {
    "requests": 1234,
    "failures": 5,
    "errorRatePpm": 4051,
    "rpsAvgMilli": 41000,
    "latencyMicros": {"avg": 900, "p95": 2000, "p99": 3000},
    "endpoints": [{"method": "GET", "name": "/", "requests": 1234, "failures": 5, "latencyMicros": {"p95": 2000}}],
    "seriesComplete": True,
}
PASSED = Outcome(
    Verdict.PASSED, Reason.PASSED, "All held.", 0, RESULTS, {"planned": 10, "achieved": 10}, (), {"p95": "2ms"}
)
TALKING = MasterView(
    connected=True,
    stage=Stage.RUNNING,
    workers=(WorkerView(0, 1, "Running"), WorkerView(1, 1, "Lost", "checkout-w-1-1-1", "Silent", "it fell silent")),
    progress={"percent": 10, "elapsedSeconds": 3, "users": 50, "rps": 40, "failuresPerSecond": 0, "p95Micros": 2000},
    summary={"p95": "2ms"},
    thresholds=({"name": "fast", "verdict": "Pending"},),
    findings=("WorkersLost: worker 1",),
    times=Times(5 * SECOND, 6 * SECOND, 0, 0, 2_000_000),
)


def status_after(*updates: Update, seen: Observation = SEEN) -> dict[str, Any]:
    status: dict[str, Any] = {}
    for number, update in enumerate(updates):
        status = project(status, replace(seen, held=read_held(status)), update, Moment(number * SECOND, 4 * SECOND))
    return status


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status["conditions"]}


MOMENT = Moment(0, 0)
END = End(1, Cause.CREATED, PASSED, ReportState.SAVED)
UPDATES = [
    BEGIN,
    Progress(Phase.RUNNING, Reason.WORKERS_LOST, "Worker 1 was lost."),
    END,
    Refuse(Outcome(Verdict.ERROR, Reason.SPEC_INVALID, "wrong", 1)),
    Wait("Suspended", "waits"),
]


def test_a_status_fits_the_schema_of_the_resource_at_every_station() -> None:
    for talking in (None, TALKING):
        for first in UPDATES:
            for second in (*UPDATES, Keep(ReportState.SAVED)):
                status = status_after(first, second, seen=replace(SEEN, master=talking))
                Draft202012Validator(STATUS_SCHEMA).validate(status)


def test_a_new_run_leaves_nothing_of_the_last_one_but_its_history() -> None:
    finished = status_after(BEGIN, END)
    seen = replace(SEEN, held=read_held(finished))
    again = project(finished, seen, Begin(2, Cause.TRIGGER, Phase.PENDING), Moment(0, 0))

    assert again["finished"] is False
    assert again["lastHandledTrigger"] == "abc"
    assert not {"verdict", "exitCode", "reason", "results", "summary", "report", "thresholds"} & set(again)
    assert [past["run"] for past in again["history"]] == [1]
    assert (again["run"]["number"], again["run"]["cause"]) == (2, "Trigger")


def test_a_new_run_has_no_attempts_of_the_last_one() -> None:
    finished = status_after(BEGIN, END)
    finished["workers"]["attempts"] = [{"worker": 1, "attempt": 2}]
    again = project(finished, replace(SEEN, held=read_held(finished)), Begin(2, Cause.TRIGGER, Phase.PENDING), MOMENT)

    assert "attempts" not in again["workers"]


def test_the_end_holds_verdict_results_and_history() -> None:
    status = status_after(BEGIN, END, seen=replace(SEEN, master=TALKING))

    assert (status["phase"], status["verdict"], status["exitCode"], status["finished"]) == (
        "Finished",
        "Passed",
        0,
        True,
    )
    assert status["results"]["requests"] == 1234
    assert status["report"] == "checkout-report"
    (past,) = status["history"]
    assert (past["run"], past["verdict"], past["requests"], past["p95Micros"]) == (1, "Passed", 1234, 2000)
    assert conditions(status)["ResultsSaved"] == conditions(status)["Passed"] == conditions(status)["Ready"] == "True"
    assert "Reconciling" not in conditions(status)
    assert "Stalled" not in conditions(status)


def test_an_end_that_the_status_did_not_see_coming_has_its_run() -> None:
    status = status_after(END)

    assert (status["run"]["number"], status["verdict"]) == (1, "Passed")


def test_times_of_the_master_give_time_to_load_and_skew() -> None:
    run = status_after(BEGIN, Progress(Phase.RUNNING), seen=replace(SEEN, master=TALKING))["run"]

    assert run["timeToLoadMillis"] == 2000
    assert run["startSkewMicros"] == 2000
    assert run["loadStartedAt"] == "1970-01-01T00:00:06.000000Z"


def test_a_master_that_falls_silent_leaves_its_last_figures() -> None:
    talking = replace(SEEN, master=TALKING)
    status = status_after(BEGIN, Progress(Phase.RUNNING), seen=talking)
    silent = replace(talking, held=read_held(status), master=MasterView(connected=False))
    outcome = Outcome(Verdict.ERROR, Reason.MASTER_LOST, "gone", 1)
    ended = project(status, silent, End(1, Cause.CREATED, outcome, ReportState.NONE), Moment(0, 0))

    assert ended["progress"] == TALKING.progress
    assert ended["workers"]["lost"] == 1
    assert conditions(ended)["ResultsSaved"] == "False"
    assert conditions(ended)["Stalled"] == "True"


def test_workers_are_counted_and_their_problems_named() -> None:
    pods = (
        PodView("checkout-w-1-0-1", "a", "worker", 1, 0, phase="Running"),
        PodView(
            "checkout-w-1-1-1", "b", "worker", 1, 1, phase="Failed", node="n1", end=ContainerEnd("Error", "bye", 143)
        ),
    )
    block = status_after(BEGIN, seen=replace(SEEN, master=TALKING, pods=pods))["workers"]

    assert (block["desired"], block["ready"], block["running"], block["lost"], block["ratio"]) == (2, 1, 1, 1, "1/2")
    assert block["problems"] == [
        {"pod": "checkout-w-1-1-1", "reason": "Error", "message": "bye", "worker": 1, "node": "n1", "exitCode": 143}
    ]


def test_a_worker_that_stands_still_is_a_problem_only_while_it_does() -> None:
    still = WorkerView(0, 1, "Running", "checkout-w-1-0-1", "Degraded", "engine 0 stood still for 9.0 s")
    seen = replace(SEEN, master=replace(TALKING, workers=(still,)))
    before = status_after(BEGIN, seen=seen)
    after = project(before, replace(seen, master=replace(TALKING, workers=())), Progress(Phase.RUNNING), Moment(9, 9))

    assert before["workers"]["problems"] == [
        {"pod": "checkout-w-1-0-1", "worker": 0, "reason": "Degraded", "message": "engine 0 stood still for 9.0 s"}
    ]
    assert "problems" not in after["workers"]


@pytest.mark.parametrize(("stage", "problems"), [(Stage.RUNNING, 1), (Stage.STOPPING, 0), (Stage.FINISHED, 0)])
def test_an_engine_that_is_ended_with_its_run_is_no_problem(stage: Stage, problems: int) -> None:
    ended = PodView("checkout-w-1-0-1", "a", "worker", 1, 0, phase="Failed", end=ContainerEnd("Error", "bye", 143))
    master = replace(TALKING, stage=stage, workers=())
    block = status_after(BEGIN, seen=replace(SEEN, master=master, pods=(ended,)))["workers"]

    assert len(block.get("problems", ())) == problems


def test_edits_that_wait_for_the_next_run_are_a_condition_until_the_run_is_over() -> None:
    planned = replace(SEEN, spec=replace(SPEC, parts={"source": "aa", "load.duration": "bb"}))
    begun = project({}, planned, BEGIN, Moment(1, 1))
    assert begun["run"]["specParts"] == {"source": "aa", "load.duration": "bb"}
    assert read_held(begun).parts == begun["run"]["specParts"]
    assert "EditsInEffect" not in conditions(begun)

    edited = replace(planned, spec=replace(SPEC, parts={"source": "cc"}), held=read_held(begun))
    [condition] = [
        each
        for each in project(begun, edited, Progress(Phase.RUNNING), Moment(2, 1))["conditions"]
        if each["type"] == "EditsInEffect"
    ]
    assert (condition["status"], condition["reason"]) == ("False", "NextRun")
    assert condition["message"].startswith("The edit of spec.load.duration, spec.source counts from the next run on")
    ended = project(begun, edited, End(1, Cause.CREATED, PASSED, ReportState.SAVED), Moment(3, 1))
    assert "EditsInEffect" not in conditions(ended)


def test_the_revision_of_values_that_all_workers_have_is_shown() -> None:
    told = replace(SEEN, master=replace(TALKING, config_revision=4))

    assert status_after(BEGIN, Progress(Phase.RUNNING), seen=told)["run"]["configRevision"] == 4
    assert "configRevision" not in status_after(BEGIN, seen=replace(SEEN, master=TALKING))["run"]


def test_conditions_and_findings_are_sentences_and_the_message_keeps_the_traceback() -> None:
    said = "test.py cannot be imported: ImportError: no shop\nTraceback:\n  line 1"
    broken = replace(PASSED, verdict=Verdict.ERROR, reason=Reason.SCRIPT_INVALID, message=said)
    seen = replace(SEEN, master=replace(TALKING, findings=(f"ScriptInvalid: {said}",)))
    status = status_after(BEGIN, End(1, Cause.CREATED, broken, ReportState.SAVED), seen=seen)

    assert status["message"] == said
    assert status["findings"] == ["ScriptInvalid: test.py cannot be imported: ImportError: no shop"]
    assert {each["message"] for each in status["conditions"] if each["type"] == "Finished"} == {said.splitlines()[0]}


@pytest.mark.parametrize(("can_resize", "desired"), [(True, 9), (False, 2)])
def test_a_change_of_replicas_counts_at_once_where_no_scenario_counts_iterations(
    *, can_resize: bool, desired: int
) -> None:
    spec = replace(SPEC, can_resize=can_resize)
    status = status_after(BEGIN, seen=replace(SEEN, spec=spec))
    assert (status["run"]["workers"], status["run"]["resizable"]) == (2, can_resize)
    seen = replace(SEEN, spec=replace(spec, workers=9), held=read_held(status))

    after = project(status, seen, Progress(Phase.RUNNING), Moment(0, 0))
    assert (after["run"]["workers"], after["workers"]["desired"]) == (2, desired)


def test_whether_the_workers_had_what_they_needed_is_a_condition() -> None:
    lacking = Outcome(Verdict.ERROR, Reason.PREFLIGHT_FAILED, "70,000 connections need 70,000 ports", 1)
    refused = status_after(BEGIN, End(1, Cause.CREATED, lacking, ReportState.NONE))

    assert conditions(status_after(BEGIN))["PreflightPassed"] == "Unknown"
    running = status_after(BEGIN, Progress(Phase.RUNNING), seen=replace(SEEN, master=TALKING))
    assert conditions(running)["PreflightPassed"] == "True"
    told = {each["type"]: each["message"] for each in refused["conditions"]}
    assert told["PreflightPassed"] == "70,000 connections need 70,000 ports"
    assert conditions(refused)["PreflightPassed"] == "False"


def test_a_transition_time_moves_with_the_status_of_its_condition_only() -> None:
    first = status_after(BEGIN)
    seen = replace(SEEN, held=read_held(first))
    later = project(first, seen, Progress(Phase.PROVISIONING, "ImagePull", "no image"), Moment(99 * SECOND, 4 * SECOND))
    times = {each["type"]: each["lastTransitionTime"] for each in later["conditions"]}

    assert set(times.values()) == {"1970-01-01T00:00:00.000000Z"}
    ended = project(later, seen, END, Moment(100 * SECOND, 4 * SECOND))
    times = {each["type"]: each["lastTransitionTime"] for each in ended["conditions"]}
    assert times["Finished"] == "1970-01-01T00:01:40.000000Z"
    assert times["SpecValid"] == "1970-01-01T00:00:00.000000Z"


def test_an_invalid_spec_is_stalled_and_says_why() -> None:
    rejected = Rejected((Problem("spec.load", "is empty"),))
    status = status_after(UPDATES[3], seen=replace(SEEN, spec=rejected))

    assert conditions(status)["SpecValid"] == "False"
    assert conditions(status)["Stalled"] == "True"
    assert "run" not in status
    assert status["lastHandledTrigger"] == "abc"


def test_a_written_status_written_again_is_the_same() -> None:
    for update in UPDATES:
        once = status_after(update, seen=replace(SEEN, master=TALKING))
        again = project(
            once, replace(SEEN, master=TALKING, held=read_held(once)), update, Moment(77 * SECOND, 4 * SECOND)
        )
        if not isinstance(update, Begin):
            assert {**again, "run": None} == {**once, "run": None}


def test_what_is_held_is_what_was_written() -> None:
    held = read_held(status_after(BEGIN, END))

    assert (held.run, held.last_run, held.finished, held.verdict, held.trigger) == (1, 1, True, "Passed", "abc")
    assert (held.report, held.phase, held.workers, held.digest) == (ReportState.SAVED, Phase.FINISHED, 2, "sha256:abc")


@given(st.dictionaries(st.sampled_from(["phase", "run", "history", "conditions", "workers", "verdict"]), st.none()))
def test_an_emptied_status_is_read_as_none(status: dict[str, None]) -> None:
    assert read_held(status).run == 0


def test_figures_that_move_all_the_time_are_not_urgent_and_everything_else_is() -> None:
    status = status_after(BEGIN)

    assert not is_urgent(status, {**status, "progress": {"users": 1}, "summary": {"p95": "1ms"}})
    assert is_urgent(status, {**status, "phase": "Armed"})


def test_the_history_is_bounded_newest_first() -> None:
    status: dict[str, Any] = {}
    for run in range(1, HISTORY_MOST + 5):
        seen = replace(SEEN, held=read_held(status))
        status = project(status, seen, End(run, Cause.TRIGGER, PASSED, ReportState.SAVED), Moment(0, 0))

    assert [past["run"] for past in status["history"]] == list(range(14, 4, -1))


endpoint = st.fixed_dictionaries(
    {"method": st.just("GET"), "name": st.text(min_size=100, max_size=300), "requests": st.integers()}
)
large = st.fixed_dictionaries(
    {
        "message": st.text(max_size=9000),
        "findings": st.lists(st.text(min_size=300, max_size=1000), max_size=40),
        "results": st.fixed_dictionaries(
            {"endpoints": st.lists(endpoint, min_size=1).map(lambda some: (some * 300)[:300])}
        ),
    }
)


@given(large)
def test_no_status_is_too_large_and_what_is_left_out_is_counted(status: dict[str, Any]) -> None:
    fitted = fit(status)

    assert size(fitted) <= LIMIT_BYTES
    kept, omitted = fitted["results"]["endpoints"], fitted["results"].get("endpointsOmitted", 0)
    assert len(kept) + omitted == 300
    assert fitted["results"]["endpoints"] == status["results"]["endpoints"][: len(kept)]


def test_a_finding_of_one_endless_line_leaves_room_for_the_status() -> None:
    said = "test.py cannot be imported: " + "x" * 2_000_000
    broken = replace(PASSED, verdict=Verdict.ERROR, reason=Reason.SCRIPT_INVALID, message=said)
    seen = replace(SEEN, master=replace(TALKING, findings=(f"ScriptInvalid: {said}",)))
    status = status_after(BEGIN, End(1, Cause.CREATED, broken, ReportState.SAVED), seen=seen)

    assert len(json.dumps(status)) < 32_768
    assert status["findings"][0].startswith("ScriptInvalid: test.py cannot be imported: xxx")


def test_what_is_left_out_goes_in_a_fixed_order_and_findings_say_how_many() -> None:
    row = {"name": "x" * 100}
    status = {
        "message": "m",
        "findings": ["LoadNotReached: " + "f" * 900] * 60,
        "results": {"endpoints": [row] * 30, "topErrors": [row] * 10},
        "workers": {"problems": [row] * 10},
        "history": [row] * 10,
        "thresholds": [row] * 9,
    }
    fitted = fit(status)

    assert size(fitted) <= LIMIT_BYTES
    assert fitted["results"] == {"endpoints": [], "endpointsOmitted": 30, "topErrors": [row] * 3, "topErrorsOmitted": 7}
    assert (len(fitted["workers"]["problems"]), len(fitted["history"]), len(fitted["thresholds"])) == (3, 3, 9)
    assert (fitted["workers"]["problemsOmitted"], fitted["historyOmitted"]) == (7, 7)
    *kept, said = fitted["findings"]
    assert said == f"Omitted: {60 - len(kept)} more findings are in the report."


def test_a_status_that_fits_is_left_as_it_is() -> None:
    status = status_after(BEGIN, END)

    assert fit(status) == status


def test_the_story_is_told_once_station_by_station() -> None:
    talking = replace(SEEN, master=TALKING)
    began = status_after(BEGIN)
    running = project(began, replace(talking, held=read_held(began)), Progress(Phase.RUNNING), Moment(0, 4 * SECOND))
    ended = project(running, replace(talking, held=read_held(running)), END, Moment(0, 4 * SECOND))

    assert [tale.reason for tale in tales({}, began)] == ["RunStarted"]
    assert [tale.reason for tale in tales(began, running)] == [
        "WorkersReady",
        "LoadStarted",
        "Silent",
        "WorkerReplaced",
    ]
    assert [(tale.reason, tale.is_warning) for tale in tales(running, ended)] == [("Passed", False)]
    assert tales(ended, ended) == ()


def test_a_pause_and_its_end_are_told_and_a_stop_is_neither() -> None:
    running = status_after(BEGIN, Progress(Phase.RUNNING))
    paused, stopping = running | {"phase": "Paused"}, running | {"phase": "Stopping"}

    assert [each.reason for each in tales(running, paused)] == ["Paused"]
    assert [each.reason for each in tales(paused, running)] == ["Resumed"]
    assert (tales(running, running), tales(paused, stopping)) == ((), ())


def test_a_problem_and_a_failure_are_warnings() -> None:
    began = status_after(BEGIN)
    problem = PodProblem(Reason.IMAGE_PULL, "no image", 10.0)
    pods = (PodView("checkout-w-1-0-1", "a", "worker", 1, 0, problem=problem),)
    seen = replace(SEEN, held=read_held(began), pods=pods)
    stuck = project(began, seen, Progress(Phase.PROVISIONING, Reason.IMAGE_PULL, "no image"), Moment(0, 0))

    assert [(tale.reason, tale.is_warning) for tale in tales(began, stuck)] == [("ImagePull", True)]
    refused = status_after(UPDATES[3])
    assert [(tale.run, tale.reason, tale.is_warning) for tale in tales({}, refused)] == [(0, "SpecInvalid", True)]
    assert tales(refused, refused) == ()


@pytest.mark.parametrize("update", UPDATES)
def test_a_status_is_json(update: Update) -> None:
    assert json.loads(json.dumps(status_after(update))) == status_after(update)
