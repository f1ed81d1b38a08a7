"""What a LoadTest needs next: examples for each rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.operator.runs import (
    FINISHED,
    MARK,
    MASTER,
    NEW,
    PASSED,
    PROVISIONING,
    RUN,
    RUNNING,
    SPEC,
    TEST,
    WORKERS,
    end_of,
)

from loadstone_core.errors import Problem
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.load.change import Aim
from loadstone_core.spec.model import MasterOnLoss, OnLoss
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import (
    Begin,
    CreateChildren,
    CreateMaster,
    Decision,
    DeletePods,
    End,
    FetchSource,
    Keep,
    MarkRun,
    Past,
    Progress,
    Refuse,
    SaveReport,
    TellStored,
    Wait,
)
from loadstone_operator.decision import RESTORED, decide, wanted_cause
from loadstone_operator.following import MASTERS_MOST
from loadstone_operator.naming import last_run_mark
from loadstone_operator.observation import (
    Cause,
    CreationProblem,
    Held,
    MasterView,
    Outcome,
    PodProblem,
    Rejected,
    ReportState,
    Stage,
    WorkerView,
)
from loadstone_operator.permission import Capacity, SourceState, SourceView
from loadstone_operator.wishes import Steer, WorkerEnd

promise = pytest.mark.promise
# A lease of 30 s, and what workers wait for a master beyond it.
GIVEN_UP_SECONDS = 30.0 + 130.0


def test_the_first_run_is_made_at_once_without_a_write_before() -> None:
    assert decide(NEW) == Decision(Begin(1, Cause.CREATED, Phase.PROVISIONING), (CreateChildren(1, 1, 2),))


def test_a_test_that_is_being_deleted_is_left_to_its_owner_references() -> None:
    assert decide(replace(RUNNING, test=replace(TEST, deleting=True))) == Decision()


def test_a_suspended_test_waits_and_its_release_is_the_cause_of_its_first_run() -> None:
    suspended = replace(NEW, test=replace(TEST, suspend=True))
    waiting = decide(suspended)

    assert isinstance(waiting.update, Wait)
    assert waiting.actions == ()
    released = replace(NEW, held=Held(phase=Phase.SUSPENDED, observed_generation=1))
    assert wanted_cause(released) is Cause.UNSUSPEND


def test_an_invalid_spec_is_refused_with_every_problem() -> None:
    problems = (Problem("spec.load", "is empty"), Problem("spec.source", "is missing"))
    decision = decide(replace(NEW, spec=Rejected(problems)))

    assert isinstance(decision.update, Refuse)
    assert decision.update.outcome.reason == Reason.SPEC_INVALID
    assert decision.update.outcome.message == "spec.load: is empty; spec.source: is missing"


def test_a_refused_test_starts_once_its_spec_is_repaired_and_not_before() -> None:
    refused = Held(observed_generation=7, phase=Phase.FINISHED, finished=True, verdict="Error", reason="SpecInvalid")

    assert wanted_cause(replace(NEW, held=refused)) is None
    assert wanted_cause(replace(NEW, held=refused, test=replace(TEST, generation=8))) is Cause.CREATED


def test_an_edit_of_a_finished_test_starts_nothing() -> None:
    edited = replace(FINISHED, test=replace(FINISHED.test, generation=8))

    assert decide(edited) == Decision(Keep(ReportState.SAVED))


def test_a_new_trigger_writes_the_run_before_it_makes_a_pod() -> None:
    triggered = replace(FINISHED, test=replace(FINISHED.test, trigger="abc"))

    assert decide(triggered) == Decision(Begin(2, Cause.TRIGGER, Phase.PENDING))


def test_a_trigger_that_was_handled_starts_nothing() -> None:
    handled = replace(
        FINISHED,
        test=replace(FINISHED.test, trigger="abc", last_run=last_run_mark("uid-1", SPEC.digest, "abc")),
        held=replace(FINISHED.held, trigger="abc"),
    )
    assert decide(handled) == Decision(Keep(ReportState.SAVED))


def test_a_trigger_during_a_run_waits_for_its_end() -> None:
    decision = decide(replace(RUNNING, test=replace(RUNNING.test, trigger="next")))

    assert decision.update == Progress(Phase.RUNNING)
    assert decision.actions == ()


@pytest.mark.parametrize("uid", ["uid-1", "another"])
def test_a_restored_backup_does_not_run_by_itself(uid: str) -> None:
    restored = replace(NEW, test=replace(TEST, last_run=last_run_mark(uid, SPEC.digest, "old"), trigger="old"))
    decision = decide(restored)

    assert isinstance(decision.update, Wait)
    assert decision.update.reason == RESTORED
    assert wanted_cause(replace(restored, test=replace(restored.test, trigger="new"))) is Cause.TRIGGER


def test_a_pod_that_the_status_does_not_know_means_that_the_run_has_begun() -> None:
    orphaned = replace(NEW, pods=(WORKERS[0],))

    assert decide(orphaned) == Decision(Begin(1, Cause.CREATED, Phase.PROVISIONING), (CreateChildren(1, 1, 2),))


def test_a_test_above_the_limits_is_refused_and_one_that_must_wait_is_queued() -> None:
    refused = decide(replace(NEW, capacity=Capacity(refused="too many")))
    assert isinstance(refused.update, Refuse)
    assert refused.update.outcome.reason == Reason.QUOTA_EXCEEDED

    queued = decide(replace(NEW, capacity=Capacity(waiting="later")))
    assert queued == Decision(Begin(1, Cause.CREATED, Phase.QUEUED, message="later"))


def test_a_missing_source_is_waited_for_and_then_refused() -> None:
    unknown = replace(NEW, source=SourceView(SourceState.UNKNOWN))
    missing = replace(NEW, source=SourceView(SourceState.MISSING, "no ConfigMap", 1.0))

    assert decide(unknown) == Decision(None, (FetchSource(),))
    assert decide(missing).update == Begin(1, Cause.CREATED, Phase.PENDING, Reason.SOURCE_NOT_FOUND, "no ConfigMap")
    late = decide(replace(missing, source=SourceView(SourceState.MISSING, "no ConfigMap", 5.0)))
    assert isinstance(late.update, Refuse)
    assert late.update.outcome.reason == Reason.SOURCE_NOT_FOUND


QUEUED = replace(NEW, held=replace(RUN, phase=Phase.QUEUED))


def test_a_queued_test_waits_starts_or_is_refused_by_what_its_spec_and_the_limits_say_now() -> None:
    assert decide(replace(QUEUED, capacity=Capacity(waiting="later"))).update == Progress(Phase.QUEUED, "", "later")
    assert decide(QUEUED) == Decision(Progress(Phase.PROVISIONING), (CreateChildren(1, 1, 2),))
    refused = decide(replace(QUEUED, capacity=Capacity(refused="too many")))
    assert isinstance(refused.update, Refuse)
    broken = decide(replace(QUEUED, spec=Rejected((Problem("spec", "is wrong"),))))
    assert isinstance(broken.update, Refuse)
    assert broken.update.outcome.reason == Reason.SPEC_INVALID


def test_the_cluster_explains_a_late_start_that_the_master_noticed_first() -> None:
    late = Outcome(Verdict.ERROR, Reason.STARTUP_TIMEOUT, "Worker 1 never came.", 1)
    over = replace(PROVISIONING, creation=QUOTA, master=MasterView(connected=True, stage=Stage.FINISHED, outcome=late))
    assert end_of(decide(over)).outcome.reason == Reason.QUOTA_EXCEEDED


QUOTA = CreationProblem(Reason.QUOTA_EXCEEDED, "quota small is used up", is_fatal=False)


def test_a_quota_is_told_at_once_tried_again_and_ends_the_run_at_the_startup_timeout() -> None:
    pending = replace(NEW, held=replace(RUN, phase=Phase.PENDING), creation=QUOTA, creation_seconds=0.5)

    assert decide(pending).update == Progress(Phase.PENDING, Reason.QUOTA_EXCEEDED, "quota small is used up")
    assert CreateChildren(1, 1, 2) in decide(replace(pending, creation_seconds=3.0)).actions
    assert end_of(decide(replace(pending, seconds_in_run=600.0))).outcome.reason == Reason.QUOTA_EXCEEDED


def test_an_invalid_template_ends_the_run_and_deletes_what_was_made() -> None:
    problem = CreationProblem(Reason.TEMPLATE_INVALID, "cpu", is_fatal=True)
    decision = decide(replace(NEW, pods=(MASTER,), creation=problem))

    assert end_of(decision).outcome.reason == Reason.TEMPLATE_INVALID
    assert decision.actions == (DeletePods((("checkout-m-1-1", "pod-m"),)),)


@pytest.mark.parametrize(("seconds", "ends"), [(9.0, False), (10.0, True)])
def test_an_image_that_cannot_be_pulled_ends_the_run_after_its_patience(seconds: float, *, ends: bool) -> None:
    problem = PodProblem(Reason.IMAGE_PULL, "no such image", 10.0)
    pulling = replace(PROVISIONING, pods=(MASTER, replace(WORKERS[0], problem=problem, problem_seconds=seconds)))
    decision = decide(pulling)

    assert isinstance(decision.update, End) is ends
    if not ends:
        assert decision.update == Progress(Phase.PROVISIONING, Reason.IMAGE_PULL, "no such image")


def test_unschedulable_pods_are_told_at_once_and_end_at_the_startup_timeout() -> None:
    problem = PodProblem(Reason.UNSCHEDULABLE, "0/1 nodes fit", None)
    waiting = replace(PROVISIONING, pods=(MASTER, replace(WORKERS[0], phase="Pending", problem=problem)))

    assert decide(waiting).update == Progress(Phase.PROVISIONING, Reason.UNSCHEDULABLE, "0/1 nodes fit")
    assert end_of(decide(replace(waiting, seconds_in_run=600.0))).outcome.reason == Reason.UNSCHEDULABLE


def test_a_silent_start_ends_at_the_startup_timeout_and_names_the_late_pods() -> None:
    late = replace(PROVISIONING, pods=(MASTER, replace(WORKERS[0], phase="Pending")))

    assert not isinstance(decide(replace(late, seconds_in_run=605.0)).update, End)
    outcome = end_of(decide(replace(late, seconds_in_run=610.0))).outcome
    assert outcome.reason == Reason.STARTUP_TIMEOUT
    assert "checkout-w-1-0-1" in outcome.message


def test_an_operator_that_comes_back_late_listens_before_it_ends_anything() -> None:
    back = replace(PROVISIONING, seconds_in_run=9000.0, seconds_watched=5.5)
    assert isinstance(decide(back).update, Progress)

    stopping = replace(back, test=replace(back.test, suspend=True))
    assert isinstance(decide(stopping).update, Progress)
    assert end_of(decide(replace(stopping, seconds_watched=6.0))).outcome.reason == Reason.SUSPENDED


def test_a_run_whose_load_has_begun_never_ends_by_the_startup_timeout() -> None:
    away = replace(RUNNING, master=None, seconds_in_run=9000.0)

    assert decide(away).update == Progress(Phase.RUNNING)


@pytest.mark.parametrize(
    ("change", "reason"), [({"stop_run": 1}, Reason.STOPPED), ({"suspend": True}, Reason.SUSPENDED)]
)
def test_a_stop_is_handed_to_the_master_once(change: dict[str, object], reason: Reason) -> None:
    stopping = replace(RUNNING, test=replace(RUNNING.test, **change))
    wish = Steer(1, reason, ())

    assert wish in decide(stopping).actions
    assert decide(replace(stopping, steered=wish)).actions == ()


def test_a_stop_of_another_run_stops_nothing() -> None:
    assert decide(replace(RUNNING, test=replace(RUNNING.test, stop_run=2))).actions == ()


def test_a_stop_before_pods_exist_ends_at_once() -> None:
    queued = replace(NEW, held=replace(RUN, phase=Phase.QUEUED), test=replace(TEST, suspend=True))
    outcome = end_of(decide(queued)).outcome

    assert (outcome.verdict, outcome.reason, outcome.exit_code) == (Verdict.ABORTED, Reason.SUSPENDED, 130)


def test_a_pause_is_handed_to_the_master_and_shown_when_it_is_one() -> None:
    paused = replace(RUNNING, spec=replace(SPEC, paused=True))
    wish = Steer(1, "", (), paused=True)

    assert decide(paused).actions == (wish,)
    assert decide(replace(paused, steered=wish)).actions == ()
    assert decide(paused).update == Progress(Phase.RUNNING)
    resting = replace(RUNNING, master=MasterView(connected=True, stage=Stage.RUNNING, paused=True))
    assert decide(resting).update == Progress(Phase.PAUSED)


def test_a_load_that_was_edited_in_mid_run_is_handed_to_the_master_there_and_back() -> None:
    planned = replace(SPEC, aims=(Aim("default", 50, 5),))
    edited = replace(SPEC, aims=(Aim("default", 80, 5),), digest="sha256:other")
    assert decide(replace(RUNNING, spec=planned)).actions == ()

    wish = Steer(1, "", (), aims=edited.aims, config={}, workers=2)
    assert decide(replace(RUNNING, spec=edited)).actions == (wish,)
    assert decide(replace(RUNNING, spec=edited, steered=wish)).actions == ()
    assert decide(replace(RUNNING, spec=planned, steered=wish)).actions == (replace(wish, aims=planned.aims),)


def test_values_of_the_script_are_handed_to_the_master_only_once_they_were_edited() -> None:
    planned = replace(SPEC, config={"size": "3"})
    edited = replace(SPEC, config={"size": "4"}, digest="sha256:other")
    assert decide(replace(RUNNING, spec=planned)).actions == ()

    wish = Steer(1, "", (), config={"size": "4"}, workers=2)
    assert decide(replace(RUNNING, spec=edited)).actions == (wish,)
    assert decide(replace(RUNNING, spec=planned, steered=wish)).actions == (replace(wish, config={"size": "3"}),)


def test_a_master_that_may_have_missed_a_word_is_told_everything_once_though_the_spec_is_what_it_was() -> None:
    spec = replace(SPEC, aims=(Aim("default", 50, 5),), config={"size": "3"})
    again = replace(RUNNING, spec=spec, test=replace(RUNNING.test, generation=8))
    wish = Steer(1, "", (), aims=spec.aims, config=spec.config, workers=2)

    assert decide(again).actions == (wish,)
    assert decide(replace(again, steered=wish)).actions == ()
    assert decide(replace(again, master=replace(RUNNING.master, connected=False))).actions == ()
    assert decide(replace(again, held=replace(again.held, can_resize=False))).actions == (replace(wish, workers=0),)
    # Whatever became of it before this operator came: there is nothing that it could have missed.
    assert decide(replace(again, test=RUNNING.test)).actions == ()


def test_an_operator_that_comes_back_to_a_spec_that_is_wrong_ends_no_pause() -> None:
    edited = replace(RUNNING, test=replace(RUNNING.test, generation=8))
    wrong = replace(edited, spec=Rejected((Problem("spec.load", "is wrong"),)))
    paused = replace(wrong, master=MasterView(connected=True, stage=Stage.RUNNING, paused=True))
    assert decide(paused).actions == ()

    ended = (WorkerEnd(1, 1, "OOMKilled", "", 137),)
    assert decide(replace(paused, ended=ended)).actions == (Steer(1, "", ended, paused=True),)


def test_an_edit_that_waits_for_the_next_run_is_said() -> None:
    parts = {"source": "aa", "load.duration": "bb"}
    running = replace(RUNNING, held=replace(RUNNING.held, parts=parts))
    assert decide(replace(running, spec=replace(SPEC, parts=parts))).update == Progress(Phase.RUNNING)

    update = decide(replace(running, spec=replace(SPEC, parts={"source": "cc", "load.target": "dd"}))).update
    assert isinstance(update, Progress)
    assert update.reason == ""
    assert "spec.load.duration, spec.load.target, spec.source counts from the next run on" in update.message
    many = {f"load.{number}": "ee" for number in range(11)} | parts
    assert " and 3 more counts" in decide(replace(running, spec=replace(SPEC, parts=many))).update.message


def test_a_spec_that_becomes_wrong_in_mid_run_changes_nothing() -> None:
    wish = Steer(1, "", (), paused=True, aims=(Aim("default", 80),))
    wrong = replace(RUNNING, spec=Rejected((Problem("spec.load", "is wrong"),)), steered=wish)

    assert decide(wrong).actions == ()


def test_ended_workers_are_told_to_the_master() -> None:
    ended = (WorkerEnd(1, 1, "OOMKilled", "", 137),)

    assert decide(replace(RUNNING, ended=ended)).actions == (Steer(1, "", ended),)


def test_the_report_is_saved_before_the_verdict_is_written_and_the_master_released_after() -> None:
    over = replace(RUNNING, master=MasterView(connected=True, stage=Stage.FINISHED, outcome=PASSED))
    assert decide(over) == Decision(None, (SaveReport(1),))

    saved = replace(over, report=ReportState.SAVED)
    assert decide(saved) == Decision(End(1, Cause.CREATED, PASSED, ReportState.SAVED))

    told = replace(saved, held=FINISHED.held)
    assert TellStored(1) in decide(told).actions
    assert TellStored(1) not in decide(replace(told, master=replace(saved.master, stored=True))).actions


def test_a_report_that_cannot_be_saved_delays_no_verdict_and_is_tried_again() -> None:
    over = replace(RUNNING, master=MasterView(connected=True, stage=Stage.FINISHED, outcome=PASSED))
    failed = replace(over, report=ReportState.FAILED)
    assert end_of(decide(failed)).report is ReportState.FAILED

    later = replace(over, held=replace(FINISHED.held, report=ReportState.FAILED), report=ReportState.NONE)
    assert SaveReport(1) in decide(later).actions
    assert TellStored(1) not in decide(later).actions


def test_a_lost_master_ends_the_run_and_every_pod_if_the_spec_says_so() -> None:
    lost = replace(ABORTING, pods=WORKERS, master=MasterView(connected=False, stage=Stage.RUNNING))
    decision = decide(lost)

    assert end_of(decision).outcome.reason == Reason.MASTER_LOST
    assert decision.actions == (
        DeletePods((("checkout-w-1-0-1", "checkout-w-1-0-1"), ("checkout-w-1-1-1", "checkout-w-1-1-1"))),
    )


ABORTING = replace(RUNNING, spec=replace(SPEC, master_on_loss=MasterOnLoss.ABORT))


@promise("master-restart")
def test_a_master_whose_pod_is_lost_gets_a_successor_whose_epoch_is_in_the_status_first() -> None:
    lost = replace(RUNNING, pods=WORKERS, master=MasterView(connected=False, stage=Stage.RUNNING))
    reserved = decide(lost)
    assert isinstance(reserved.update, Progress)
    assert (reserved.update.phase, reserved.update.epoch, reserved.actions) == (Phase.RUNNING, 2, ())

    written = replace(lost, held=replace(lost.held, epoch=2), epoch_reserved=2)
    # Its pod is merely gone, which proves nothing.
    assert decide(written).actions == (CreateMaster(1, 2, Past(is_sole=False, has_begun=True)),)
    assert decide(replace(written, masters_ended=1)).actions == (
        CreateMaster(1, 2, Past(is_sole=True, has_begun=True)),
    )
    # A worker that only the lost master may have heard is not forgotten with it.
    replaced = decide(replace(written, held=replace(written.held, attempts={1: 3})))
    assert CreateMaster(1, 2, Past(is_sole=False, has_begun=True, attempts={1: 3})) in replaced.actions

    forgotten = decide(replace(written, epoch_reserved=0))
    assert isinstance(forgotten.update, Progress), "an operator that has forgotten it may have made that one already"
    assert (forgotten.update.epoch, forgotten.actions) == (3, ())

    failed = replace(MASTER, phase="Failed")
    assert decide(replace(lost, pods=(failed, *WORKERS))) == reserved


@promise("master-lost")
@pytest.mark.parametrize(
    "changes",
    [
        {"seconds_unheard": GIVEN_UP_SECONDS},
        {"source": SourceView(SourceState.MISSING)},
        {"source": SourceView(SourceState.UNKNOWN), "seconds_unheard": GIVEN_UP_SECONDS},
        {"spec": replace(SPEC, parts={"image": "other"})},
        {"spec": replace(SPEC, parts={"source.inline": "other"})},
        {"spec": Rejected(())},
        {"held": replace(RUNNING.held, epoch=MASTERS_MOST)},
    ],
)
def test_a_master_that_cannot_be_replaced_is_lost(changes: dict[str, Any]) -> None:
    gone = replace(RUNNING, pods=WORKERS, master=MasterView(connected=False, stage=Stage.RUNNING))
    assert end_of(decide(replace(gone, **changes))).outcome.reason == Reason.MASTER_LOST


@promise("master-restart")
def test_before_a_master_is_replaced_the_script_is_read_if_this_process_has_not_done_so() -> None:
    lost = replace(RUNNING, pods=WORKERS, master=MasterView(connected=False, stage=Stage.RUNNING))

    assert decide(replace(lost, source=SourceView(SourceState.UNKNOWN))) == Decision(None, (FetchSource(),))


@promise("master-restart")
def test_a_master_that_was_started_again_goes_on_unless_it_is_never_heard() -> None:
    restarted = replace(RUNNING, pods=(replace(MASTER, trusted_restarts=1, last_words="Traceback"), *WORKERS))
    assert isinstance(decide(restarted).update, Progress)

    waiting = replace(
        restarted, master=MasterView(connected=False, stage=Stage.RUNNING), seconds_unheard=GIVEN_UP_SECONDS - 1
    )
    assert isinstance(decide(waiting).update, Progress)
    outcome = end_of(decide(replace(waiting, seconds_unheard=GIVEN_UP_SECONDS))).outcome

    assert outcome.reason == Reason.MASTER_LOST
    assert "Traceback" in outcome.message


def test_the_last_words_of_a_master_give_the_verdict_when_nobody_heard_it() -> None:
    gone = replace(MASTER, phase="Succeeded", last_outcome=replace(PASSED, has_report=False))
    decision = decide(replace(RUNNING, pods=(gone,), master=None))

    assert end_of(decision).outcome.verdict == Verdict.PASSED
    assert end_of(decision).report is ReportState.NONE


def test_the_cluster_explains_what_the_master_only_saw_the_effect_of() -> None:
    lost = Outcome(Verdict.ERROR, Reason.WORKERS_LOST, "Worker 0 was lost.", 1)
    oom = PodProblem(Reason.WORKER_OOM, "More memory than its limit.", None)
    seen = replace(
        RUNNING,
        pods=(MASTER, replace(WORKERS[0], problem=oom), WORKERS[1]),
        master=MasterView(connected=True, stage=Stage.FINISHED, outcome=lost),
    )
    outcome = end_of(decide(seen)).outcome

    assert outcome.reason == Reason.WORKER_OOM
    assert "memory" in outcome.message


def test_a_lost_worker_is_told_while_the_run_goes_on() -> None:
    lost = WorkerView(1, 1, "Lost", message="it fell silent")
    seen = replace(RUNNING, master=MasterView(connected=True, stage=Stage.RUNNING, workers=(lost,)))

    alone = replace(seen, spec=replace(SPEC, on_loss=OnLoss.REDISTRIBUTE))
    says = "Worker 1 was lost: it fell silent."
    assert decide(alone).update == Progress(Phase.RUNNING, Reason.WORKERS_LOST, says)
    again = f"{says} It is being replaced (attempt 2)."
    assert decide(seen).update == Progress(Phase.RUNNING, Reason.WORKERS_LOST, again)


@pytest.mark.promise("quorum")
def test_with_a_quorum_the_master_decides_whether_the_load_begins_without_those_that_do_not_come() -> None:
    stuck = replace(WORKERS[1], phase="Pending", problem=PodProblem(Reason.UNSCHEDULABLE, "No node.", None))
    gathering = MasterView(connected=True, stage=Stage.GATHERING)
    late = replace(PROVISIONING, pods=(MASTER, WORKERS[0], stuck), master=gathering, seconds_in_run=1_250.0)
    with_quorum = replace(late, spec=replace(SPEC, min_available=1))

    assert isinstance(decide(with_quorum).update, Progress)
    assert end_of(decide(replace(with_quorum, seconds_in_run=1_260.0))).outcome.reason == Reason.UNSCHEDULABLE
    assert end_of(decide(replace(with_quorum, master=None))).outcome.reason == Reason.UNSCHEDULABLE


def test_pods_of_an_older_run_leave_when_a_new_one_has_begun() -> None:
    old = replace(MASTER, name="checkout-m-0-1", uid="old", run=0, phase="Succeeded")

    assert DeletePods((("checkout-m-0-1", "old"),)) in decide(replace(RUNNING, pods=(*RUNNING.pods, old))).actions


@pytest.mark.parametrize(("seconds", "deleted"), [(59.0, False), (60.0, True)])
def test_pods_that_stay_behind_are_deleted_a_minute_after_everything_is_stored(
    seconds: float, *, deleted: bool
) -> None:
    master = MasterView(connected=True, stage=Stage.FINISHED, outcome=PASSED, stored=True)
    seen = replace(FINISHED, pods=(MASTER, *WORKERS), master=master, seconds_stored=seconds)

    assert any(isinstance(action, DeletePods) for action in decide(seen).actions) is deleted


def test_the_last_run_is_marked_for_backups() -> None:
    assert MarkRun(MARK) in decide(replace(RUNNING, test=TEST)).actions
