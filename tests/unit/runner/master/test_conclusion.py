from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_runner.master.conclusion import End, conclude_run
from loadstone_runner.master.ending import Ending
from loadstone_runner.master.judge import Judge
from loadstone_runner.master.losses import Losses
from loadstone_runner.master.measurement import Measurement
from loadstone_runner.master.member import Departure, Member
from loadstone_runner.master.report import report_of
from loadstone_runner.master.roster import Roster
from loadstone_runner.master.run import Broke, RunState, Stage
from loadstone_runner.master.store import Store
from loadstone_runner.master.views import Times

if TYPE_CHECKING:
    from pathlib import Path

MILLISECOND = 1_000_000
PLAN = RunPlan(
    run=RunIdentity(uid="u/1", loadtest="t", namespace="n", number=1, epoch=1),
    spec_digest="sha256:00",
    workers=10,
    engines_per_worker=1,
    scenarios=(
        Scenario(
            name="default",
            load=LoadProfile(Model.RATE, Profile((Segment(0, 2 * SECOND, 2, 2),), 2 * SECOND), None),
            graceful_stop_ns=SECOND,
        ),
    ),
    tolerance_ppm=10_000,
    target=None,
    percentiles=("50",),
    thresholds=(),
    warm_up_ns=0,
    startup_timeout_ns=SECOND,
    script=ScriptRef(digest=None, directory="/", entrypoint="t.py"),
)
FINISHED = RunState(stage=Stage.FINISHED)


def measured(iterations: int = 4, *, slips_ms: tuple[int, ...] = ()) -> Measurement:
    measurement, recorder = Measurement(PLAN.scenarios), Recorder()
    for _ in range(iterations):
        recorder.iteration(name="t", duration_ns=5, failed=False)
    for slip in slips_ms:
        recorder.slip(slip * MILLISECOND)
    counters = Counters(
        iterations_started=iterations, iterations_completed=iterations, scenarios=((iterations, iterations),)
    )
    stream = StreamId(0, 1, 0, 1)
    state = StreamState(stream, 1, 0, full=True, series=recorder.whole(), counters=counters, final=True)
    measurement.apply(state, since_start_ns=2 * SECOND)
    measurement.merge.close(stream, counters, clean=True)
    return measurement


def ended(**changes: object) -> End:
    end = End(
        plan=PLAN,
        state=FINISHED,
        roster=Roster(run_uid="u/1", epoch=1, expected=10),
        losses=Losses(),
        measurement=measured(),
        unused={},
        judge=Judge(()),
        outside={"setup": 1},
        notes=(),
        load_ns=2 * SECOND,
        load_started_ns=10**18,
    )
    return replace(end, **changes)  # type: ignore[arg-type]


def test_a_rate_is_achieved_by_what_was_started_and_late_ones_are_counted() -> None:
    conclusion = conclude_run(ended(measurement=measured(slips_ms=(1, 9, 12, 50))))

    assert conclusion.load == {
        "model": "rate",
        "planned": 4,
        "achieved": 4,
        "unit": "iterations",
        "dropped": 0,
        "late": 2,
    }
    assert conclusion.outcome.reason is Reason.PASSED


def test_a_run_that_fell_short_is_inconclusive() -> None:
    assert conclude_run(ended(measurement=measured(3))).outcome.reason is Reason.LOAD_NOT_REACHED


def test_who_stopped_the_run_wins_over_what_broke() -> None:
    state = replace(FINISHED, stop="Stopped", broke=(Broke("SetupFailed", "x"),))
    outcome = conclude_run(ended(state=state)).outcome

    assert (outcome.reason, outcome.exit_code) == (Reason.STOPPED, 130)
    assert "SetupFailed: x" in outcome.findings


def test_a_worker_out_of_memory_is_an_error_however_few_they_are() -> None:
    losses = Losses()
    losses.note(Member(3, attempt=1), Departure("OOMKilled", "signal 9"), 0, lost=1, allowed=0)
    losses.replace(3)
    outcome = conclude_run(ended(losses=losses)).outcome

    assert outcome.reason is Reason.WORKER_OOM
    assert "worker 3" in outcome.message


@pytest.mark.promise("early-loss")
def test_a_loss_before_the_load_is_a_finding_and_counts_for_nothing() -> None:
    losses = Losses()
    losses.note(
        Member(1, attempt=1), Departure("Evicted", "node pressure"), 0, lost=PLAN.workers, allowed=0, is_early=True
    )
    losses.replace(1)
    outcome = conclude_run(ended(losses=losses)).outcome

    assert outcome.reason is conclude_run(ended()).outcome.reason
    said = "WorkerDegraded: worker 1 was lost before the load began and was replaced: node pressure"
    assert [each for each in outcome.findings if "lost" in each] == [said]


def test_a_run_without_load_has_empty_results_and_its_reason() -> None:
    state = replace(FINISHED, broke=(Broke("StartupTimeout", "waited for worker 3"),))
    end = ended(state=state, measurement=Measurement(PLAN.scenarios), load_ns=None, load_started_ns=0)
    conclusion = conclude_run(end)

    assert conclusion.outcome.reason is Reason.STARTUP_TIMEOUT
    assert (conclusion.load["planned"], conclusion.load["achieved"]) == (4, 0)
    assert conclusion.summary["elapsed"] == "0s"


def test_notes_are_findings_and_the_view_carries_ready_made_json() -> None:
    conclusion = conclude_run(ended(notes=(Cause(Reason.HANDLER_ERRORS, "teardown failed: x"),)))
    view = conclusion.to_view(b"digest")

    assert "HandlerErrors: teardown failed: x" in conclusion.outcome.findings
    assert json.loads(view.results_json)["outside"] == {"setup": 1, "teardown": 0}
    assert (json.loads(view.thresholds_json), view.report_sha256) == ([], b"digest")


def test_a_closed_load_says_that_its_percentiles_hide_a_stall_and_an_open_one_need_not() -> None:
    said = {}
    for model in (Model.USERS, Model.RATE):
        measurement = measured()
        load = replace(PLAN.scenarios[0].load, model=model)
        measurement.follow([replace(PLAN.scenarios[0], load=load)])
        measurement.timeline.stalled_seconds = 2
        findings = conclude_run(ended(measurement=measurement)).outcome.findings
        said[model] = [each for each in findings if each.startswith("TargetStalled: no request was answered for 2 s")]

    assert (len(said[Model.USERS]), said[Model.RATE]) == (1, [])


def test_the_report_says_which_run_it_was_and_who_was_lost() -> None:
    roster = Roster(run_uid="u/1", epoch=1, expected=10)
    roster.lose(1, 1, Departure("Evicted", "node pressure", 137))
    end = ended(roster=roster)
    document = json.loads(gzip.decompress(report_of(conclude_run(end), end, Times(finished_ns=10**18))))

    assert (document["run"]["id"], document["run"]["finishedAt"]) == ("u/1", "2001-09-09T01:46:40.000000Z")
    assert document["run"]["loadStartedAt"] is None
    assert document["workers"][1] == {
        "worker": 1,
        "attempt": 1,
        "pod": "",
        "state": "lost",
        "reason": "Evicted",
        "message": "node pressure",
        "exitCode": 137,
    }
    assert document["results"]["iterations"] == 4


def test_scenarios_are_shown_one_by_one_and_added_up_where_they_can_be() -> None:
    first = replace(PLAN.scenarios[0], name="first")
    users = LoadProfile(Model.USERS, Profile((Segment(0, 2 * SECOND, 2, 2),), 2 * SECOND), None)
    for second, unit in (
        (replace(first, name="second"), "iterations"),
        (replace(first, name="second", load=users), None),
    ):
        plan = replace(PLAN, scenarios=(first, second))
        end = ended(plan=plan, measurement=Measurement(plan.scenarios))
        load = conclude_run(end).load

        assert [each["name"] for each in load["scenarios"]] == ["first", "second"]
        assert [each["planned"] for each in load["scenarios"]] == [4, 4]
        assert (load.get("unit"), load.get("planned")) == (unit, 8 if unit else None)
        assert load["model"] == ("rate" if unit else "mixed")


def test_rows_that_lost_workers_had_left_are_said() -> None:
    outcome = conclude_run(ended(unused={"feeder/accounts": 7})).outcome

    assert any("7 rows of feeder/accounts" in each for each in outcome.findings)


def test_a_run_that_cannot_be_concluded_has_an_end_that_says_so(tmp_path: Path) -> None:
    def sum_up() -> End:
        raise LookupError("nobody")

    store = Store(tmp_path)
    ending = Ending(store)
    ending.conclude(sum_up, Times())

    assert ending.outcome is not None
    assert (ending.outcome.verdict, ending.outcome.exit_code) == ("Error", 1)
    assert "LookupError: nobody" in ending.outcome.message
    assert ending.keep_word()
    word = store.read_last_word()
    assert word is not None
    assert word["verdict"] == "Error"


def test_a_report_that_the_disk_does_not_take_changes_no_verdict(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "report.json.gz").mkdir()
    ending = Ending(store)
    ending.conclude(ended, Times(finished_ns=1))

    assert ending.outcome is not None
    assert ending.outcome.verdict == "Passed"
    assert json.loads(gzip.decompress(ending.report[0]))["verdict"]["verdict"] == "Passed"
