"""What a LoadTest needs next: examples for each rule, and laws over whole lives against a model of the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.errors import Problem
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.load.change import Aim
from loadstone_core.spec.model import MasterOnLoss, OnLoss
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import (
    Begin,
    CreateChildren,
    CreateMaster,
    CreateWorkers,
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
from loadstone_operator.following import MASTER_PATIENCE_SECONDS, MASTERS_MOST
from loadstone_operator.naming import last_run_mark
from loadstone_operator.observation import (
    Accepted,
    Capacity,
    Cause,
    CreationProblem,
    Held,
    LoadTestView,
    MasterView,
    Observation,
    Outcome,
    PodProblem,
    PodView,
    Rejected,
    ReportState,
    SourceState,
    SourceView,
    Stage,
    WorkerView,
)
from loadstone_operator.replacing import attempts
from loadstone_operator.status.held import read_held
from loadstone_operator.status.projection import Moment, project
from loadstone_operator.wishes import Steer, WorkerEnd

promise = pytest.mark.promise
TEST = LoadTestView(namespace="shop", name="checkout", uid="uid-1", generation=1)
SPEC = Accepted(
    workers=2, users=50, graceful_stop_ns=30 * 10**9, startup_timeout_ns=600 * 10**9, digest="sha256:abcdefabcdefabcd"
)
NEW = Observation(test=TEST, spec=SPEC)
MASTER = PodView("checkout-m-1-1", "pod-m", "master", 1, epoch=1, phase="Running", ip="10.0.0.1")
WORKERS = tuple(PodView(f"checkout-w-1-{i}-1", f"pod-{i}", "worker", 1, worker=i, phase="Running") for i in (0, 1))
MARK = last_run_mark("uid-1", SPEC.digest, None)
RUN = Held(
    observed_generation=1,
    phase=Phase.PROVISIONING,
    run=1,
    last_run=1,
    workers=2,
    planned=2,
    made=2,
    can_resize=True,
    generation=1,
    digest=SPEC.digest,
)
PROVISIONING = Observation(
    test=replace(TEST, last_run=MARK), spec=SPEC, held=RUN, pods=(MASTER, *WORKERS), seconds_watched=60.0
)
RUNNING = replace(
    PROVISIONING,
    held=replace(RUN, phase=Phase.RUNNING),
    master=MasterView(connected=True, stage=Stage.RUNNING),
    seconds_in_run=20.0,
)
PASSED = Outcome(Verdict.PASSED, Reason.PASSED, "All held.", 0, results={"requests": 10}, has_report=True)
FINISHED = replace(
    RUNNING,
    held=replace(RUN, phase=Phase.FINISHED, finished=True, verdict="Passed", reason="Passed", report=ReportState.SAVED),
    pods=tuple(replace(pod, phase="Succeeded") for pod in (MASTER, *WORKERS)),
    master=None,
)


def end_of(decision: Decision) -> End:
    assert isinstance(decision.update, End), decision
    return decision.update


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
    refused = Held(observed_generation=1, phase=Phase.FINISHED, finished=True, verdict="Error", reason="SpecInvalid")

    assert wanted_cause(replace(NEW, held=refused)) is None
    assert wanted_cause(replace(NEW, held=refused, test=replace(TEST, generation=2))) is Cause.CREATED


def test_an_edit_of_a_finished_test_starts_nothing() -> None:
    edited = replace(FINISHED, test=replace(FINISHED.test, generation=2))

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
    back = replace(PROVISIONING, seconds_in_run=9000.0, seconds_watched=0.5)
    assert isinstance(decide(back).update, Progress)

    stopping = replace(back, test=replace(back.test, suspend=True))
    assert isinstance(decide(stopping).update, Progress)


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


def test_a_stop_that_the_master_does_not_answer_ends_after_grace_and_flush() -> None:
    stopping = replace(RUNNING, test=replace(RUNNING.test, stop_run=1), seconds_stopping=59.0)

    assert not isinstance(decide(stopping).update, End)
    decision = decide(replace(stopping, seconds_stopping=61.0))
    assert end_of(decision).outcome.verdict == Verdict.ABORTED
    assert isinstance(decision.actions[0], DeletePods)


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
    again = replace(RUNNING, spec=spec, test=replace(RUNNING.test, generation=3))
    wish = Steer(1, "", (), aims=spec.aims, config=spec.config, workers=2)

    assert decide(again).actions == (wish,)
    assert decide(replace(again, steered=wish)).actions == ()
    assert decide(replace(again, master=replace(RUNNING.master, connected=False))).actions == ()
    assert decide(replace(again, held=replace(again.held, can_resize=False))).actions == (replace(wish, workers=0),)
    # Whatever became of it before this operator came: there is nothing that it could have missed.
    assert decide(replace(again, test=RUNNING.test)).actions == ()


def test_an_operator_that_comes_back_to_a_spec_that_is_wrong_ends_no_pause() -> None:
    edited = replace(RUNNING, test=replace(RUNNING.test, generation=3))
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
    assert decision.actions == (DeletePods((("checkout-w-1-0-1", "pod-0"), ("checkout-w-1-1-1", "pod-1"))),)


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
        {"seconds_unheard": MASTER_PATIENCE_SECONDS},
        {"source": SourceView(SourceState.UNKNOWN)},
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
def test_a_master_that_was_started_again_goes_on_unless_it_is_never_heard() -> None:
    restarted = replace(RUNNING, pods=(replace(MASTER, trusted_restarts=1, last_words="Traceback"), *WORKERS))
    assert isinstance(decide(restarted).update, Progress)

    waiting = replace(restarted, master=MasterView(connected=False, stage=Stage.RUNNING), seconds_unheard=80.0)
    assert isinstance(decide(waiting).update, Progress)
    outcome = end_of(decide(replace(waiting, seconds_unheard=MASTER_PATIENCE_SECONDS))).outcome

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
    late = replace(PROVISIONING, pods=(MASTER, WORKERS[0], stuck), master=gathering, seconds_in_run=650.0)
    with_quorum = replace(late, spec=replace(SPEC, min_available=1))

    assert end_of(decide(late)).outcome.reason == Reason.UNSCHEDULABLE
    assert isinstance(decide(with_quorum).update, Progress)
    assert end_of(decide(replace(with_quorum, seconds_in_run=1_211.0))).outcome.reason == Reason.STARTUP_TIMEOUT
    assert end_of(decide(replace(with_quorum, master=None))).outcome.reason == Reason.UNSCHEDULABLE


def replacing(worker: WorkerView, **changes: Any) -> Observation:
    master = MasterView(connected=True, stage=Stage.RUNNING, workers=(WorkerView(0, 1, "Running"), worker))
    return replace(RUNNING, **{"master": master, **changes})


LOST = WorkerView(1, 1, "Lost", message="it fell silent")


def statuses(seen: Observation) -> tuple[dict[int, int], tuple[CreateWorkers, ...]]:
    """Return the attempts that the status gets, and the pods that are made."""
    decision = decide(seen)
    assert isinstance(decision.update, Progress)
    held = read_held(project({"run": {"number": 1}}, seen, decision.update, Moment(1, 1)))
    return dict(held.attempts), tuple(each for each in decision.actions if isinstance(each, CreateWorkers))


@pytest.mark.promise("worker-replaced")
def test_a_lost_worker_gets_another_pod_once_its_attempt_is_in_the_status() -> None:
    assert statuses(replacing(LOST)) == ({1: 2}, ())

    noted = replacing(LOST, held=replace(RUNNING.held, attempts={1: 2}))
    assert statuses(noted) == ({1: 2}, (CreateWorkers(1, 1, ((1, 2),)),))

    made = replace(noted, pods=(*noted.pods, replace(WORKERS[1], name="checkout-w-1-1-2", attempt=2)))
    assert statuses(made) == ({1: 2}, ())


@pytest.mark.promise("worker-replaced")
def test_a_new_pod_that_ends_before_it_takes_part_is_replaced_and_one_that_vanished_is_made_again() -> None:
    held = replace(RUNNING.held, attempts={1: 2})
    second = replace(WORKERS[1], name="checkout-w-1-1-2", attempt=2)

    failed = replacing(LOST, held=held, pods=(*RUNNING.pods, replace(second, phase="Failed")))
    assert statuses(failed) == ({1: 3}, ())
    vanished = replacing(LOST, held=held)
    assert statuses(vanished) == ({1: 2}, (CreateWorkers(1, 1, ((1, 2),)),))
    # It was here, so its number is used up.
    gone = replacing(replace(LOST, attempt=2), held=held)
    assert statuses(gone) == ({1: 3}, ())


def test_a_worker_is_not_replaced_for_ever() -> None:
    assert statuses(replacing(replace(LOST, attempt=5), held=replace(RUNNING.held, attempts={1: 5}))) == ({1: 5}, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": replace(SPEC, on_loss=OnLoss.REDISTRIBUTE), "held": replace(RUNNING.held, can_resize=False)},
        {"spec": replace(SPEC, parts={"image": "other"})},
        {"test": replace(RUNNING.test, suspend=True)},
        {"test": replace(RUNNING.test, stop_run=1)},
        {"master": MasterView(connected=True, stage=Stage.STOPPING, workers=(LOST,))},
    ],
)
def test_nobody_is_replaced_where_that_is_not_wanted_or_of_no_use(changes: dict[str, Any]) -> None:
    seen = replacing(LOST, **changes)

    assert statuses(seen) == ({}, ())
    assert statuses(replace(seen, held=replace(seen.held, attempts={1: 2}))) == ({1: 2}, ())


def early(worker: WorkerView, **changes: Any) -> Observation:
    master = MasterView(
        connected=True, stage=Stage.GATHERING, workers=(WorkerView(0, 1, "Ready"), worker), waiting_for="worker 1 of 2"
    )
    return replace(PROVISIONING, **{"master": master, "pods": (MASTER, *WORKERS), **changes})


@pytest.mark.promise("early-loss")
@pytest.mark.parametrize("on_loss", [OnLoss.REPLACE, OnLoss.REDISTRIBUTE])
def test_a_worker_that_is_lost_before_the_load_begins_gets_another_pod_and_the_status_says_so(on_loss: OnLoss) -> None:
    seen = early(LOST, spec=replace(SPEC, on_loss=on_loss))
    assert statuses(seen) == ({1: 2}, ())
    says = "Worker 1 was lost: it fell silent. It is being replaced (attempt 2)."
    assert decide(seen).update == Progress(Phase.PROVISIONING, Reason.WORKERS_LOST, says)

    noted = replace(seen, held=replace(seen.held, attempts={1: 2}))
    assert statuses(noted) == ({1: 2}, (CreateWorkers(1, 1, ((1, 2),)),))
    second = replace(WORKERS[1], name="checkout-w-1-1-2", attempt=2)
    made = replace(noted, pods=(*noted.pods, second))
    assert statuses(made) == ({1: 2}, ())
    assert decide(made).update == Progress(Phase.PROVISIONING, Reason.WORKERS_LOST, says)

    assert made.master is not None
    back = replace(made.master, workers=(WorkerView(0, 1, "Ready"), WorkerView(1, 2, "Connected")))
    assert decide(replace(made, master=back)).update == Progress(Phase.PROVISIONING, "", "worker 1 of 2")


@pytest.mark.promise("early-loss")
def test_a_pod_that_vanished_or_is_told_to_end_before_the_master_has_heard_it_is_replaced() -> None:
    awaited = WorkerView(1, 0, "Expected")
    assert statuses(early(awaited)) == ({}, ())
    vanished = early(awaited, pods=(MASTER, WORKERS[0]))
    assert statuses(vanished) == ({1: 2}, ())
    update = decide(vanished).update
    assert isinstance(update, Progress)
    assert update.message == "Worker 1 was lost before it had come. It is being replaced (attempt 2)."
    for change in ({"deleting": True}, {"phase": "Succeeded"}):
        assert statuses(early(awaited, pods=(MASTER, WORKERS[0], replace(WORKERS[1], **change)))) == ({1: 2}, ())
    # What has ended with an error, the master is told first: it knows whether that is worth another pod.
    failed = (MASTER, WORKERS[0], replace(WORKERS[1], phase="Failed"))
    assert statuses(early(awaited, pods=failed, ended=(WorkerEnd(1, 1, "Error", "", 1),))) == ({}, ())
    # A master that takes over has heard nobody, until it has learnt how far the run is. Whom it calls lost, it needs.
    running = replace(PROVISIONING.held, phase=Phase.RUNNING)
    assert dict(attempts(replace(vanished, held=running))) == {}
    assert dict(attempts(early(LOST, held=running))) == {1: 2}
    # Of one that it has heard it knows more than a pod that is gone.
    assert statuses(early(WorkerView(1, 1, "Ready"), pods=(MASTER, WORKERS[0]))) == ({}, ())


@pytest.mark.promise("early-loss")
def test_a_pod_that_ran_out_of_memory_before_the_load_begins_is_not_replaced_and_ends_the_run() -> None:
    oom = replace(WORKERS[1], phase="Failed", problem=PodProblem(Reason.WORKER_OOM, "More memory than its limit.", 3.0))
    seen = early(LOST, pods=(MASTER, WORKERS[0], oom))
    assert statuses(seen) == ({}, ())

    late = replace(seen, pods=(MASTER, WORKERS[0], replace(oom, problem_seconds=3.0)))
    assert end_of(decide(late)).outcome.reason == Reason.WORKER_OOM


@pytest.mark.promise("early-loss")
def test_a_second_pod_that_is_lost_before_the_load_begins_is_made_again_or_replaced() -> None:
    held = replace(PROVISIONING.held, attempts={1: 2})
    second = replace(WORKERS[1], name="checkout-w-1-1-2", attempt=2)
    assert statuses(early(LOST, held=held, pods=(MASTER, *WORKERS, replace(second, deleting=True)))) == ({1: 3}, ())
    assert statuses(early(replace(LOST, attempt=2), held=held)) == ({1: 3}, ())
    last = replace(PROVISIONING.held, attempts={1: 5})
    assert statuses(early(replace(LOST, attempt=5), held=last)) == ({1: 5}, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": replace(SPEC, on_loss=OnLoss.CONTINUE)},
        {"spec": replace(SPEC, on_loss=OnLoss.ABORT)},
        {"spec": replace(SPEC, parts={"image": "other"})},
        # Some of its pods may not have been made yet.
        {"held": replace(PROVISIONING.held, phase=Phase.PENDING)},
    ],
)
def test_before_the_load_nobody_is_replaced_where_that_is_not_wanted_or_not_known(changes: dict[str, Any]) -> None:
    assert dict(attempts(early(LOST, **changes))) == {}


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


# Whole lives: a model of the cluster applies what is decided, and users and the world interfere in between.


@dataclass
class World:
    """One LoadTest in a cluster that does at once what it is asked."""

    test: LoadTestView = TEST
    spec: Accepted | Rejected = SPEC
    status: dict[str, object] = field(default_factory=dict)
    pods: dict[str, PodView] = field(default_factory=dict)
    master: MasterView | None = None
    report: ReportState = ReportState.NONE
    steered: Steer | None = None
    memory_run: int = 0
    retired: set[tuple[int, int, int]] = field(default_factory=set)
    phases: list[tuple[int, Phase]] = field(default_factory=list)
    runs: set[int] = field(default_factory=set)

    def observe(self) -> Observation:
        seen = Observation(test=self.test, spec=self.spec, held=read_held(self.status), pods=tuple(self.pods.values()))
        if seen.run != self.memory_run:
            self.memory_run, self.master, self.report, self.steered = seen.run, None, ReportState.NONE, None
        return replace(
            seen,
            master=self.master,
            report=self.report,
            steered=self.steered,
            seconds_watched=100.0,
            seconds_stored=100.0 if self.master and self.master.stored else 0.0,
        )

    def apply(self, decision: Decision) -> None:
        seen = self.observe()
        for action in decision.actions:
            self._do(action)
        if decision.update is not None:
            self.status = project(self.status, seen, decision.update, Moment(1, 1))
            held = read_held(self.status)
            if held.phase and held.run:
                self.phases.append((held.run, held.phase))

    def _do(self, action: object) -> None:
        match action:
            case CreateChildren(run=run, epoch=epoch, workers=workers):
                self.runs.add(run)
                self._pod(PodView(f"m-{run}-{epoch}", f"m-{run}-{epoch}", "master", run, epoch=epoch, phase="Running"))
                for index in range(workers):
                    self._pod(PodView(f"w-{run}-{index}", f"w-{run}-{index}", "worker", run, index, phase="Running"))
            case CreateWorkers(run=run, workers=workers):
                self._replace(run, workers)
            case DeletePods(pods=pods):
                for name, _ in pods:
                    self.pods.pop(name, None)
            case Steer():
                self.steered = action
            case SaveReport():
                self.report = ReportState.SAVED
            case TellStored():
                assert self.master is not None
                self.master = replace(self.master, stored=True)
            case MarkRun(value=value):
                self.test = replace(self.test, last_run=value)

    def _replace(self, run: int, workers: tuple[tuple[int, int], ...]) -> None:
        for index, attempt in workers:
            name = f"w-{run}-{index}-{attempt}"
            self._pod(PodView(name, name, "worker", run, index, attempt=attempt, phase="Running"))

    def _pod(self, pod: PodView) -> None:
        self.pods.setdefault(pod.name, pod)

    def settle(self) -> int:
        """Decide and apply until nothing changes; return after how many steps."""
        for step in range(20):
            decision = decide(self.observe())
            before = (self.status, dict(self.pods), self.master, self.report, self.steered, self.test)
            self.apply(decision)
            if before == (self.status, self.pods, self.master, self.report, self.steered, self.test):
                return step
        raise AssertionError("does not come to rest")


STAGES = [Stage.GATHERING, Stage.ARMED, Stage.RUNNING, Stage.STOPPING]


def happen(world: World, what: str, number: int) -> None:
    wish = wishes(world, number).get(what)
    if wish is not None:
        world.test = replace(world.test, generation=world.test.generation + 1, **wish)
        asked = replace(SPEC, workers={"more": 4, "fewer": 1}.get(what, SPEC.workers))
        world.spec = Rejected((Problem("spec", "is wrong"),)) if what == "break" else asked
    elif what == "restart operator":
        world.master, world.report, world.steered = None, ReportState.NONE, None
    elif what in ("stage", "outcome"):
        speak(world, STAGES[number % 4], is_over=what == "outcome")
    else:
        world.pods = FAULTS[what](world.pods)


def wishes(world: World, number: int) -> dict[str, dict[str, object]]:
    return {
        "edit": {},
        "more": {},
        "fewer": {},
        "break": {},
        "trigger": {"trigger": f"t{number}"},
        "suspend": {"suspend": True},
        "resume": {"suspend": False},
        "stop": {"stop_run": world.observe().run},
    }


FAULTS = {
    "lose master": lambda pods: {name: pod for name, pod in pods.items() if pod.role != "master"},
    "lose worker": lambda pods: {name: pod for name, pod in pods.items() if not name.startswith("w-1-0")},
    "fail worker": lambda pods: {
        name: replace(pod, phase="Failed") if name.startswith("w-1-1") else pod for name, pod in pods.items()
    },
    "finish pods": lambda pods: {name: replace(pod, phase="Succeeded") for name, pod in pods.items()},
}


def speak(world: World, stage: Stage, *, is_over: bool) -> None:
    """The master says where it is, if there is one; what it has concluded it does not take back."""
    if not any(pod.role == "master" and not pod.is_terminal for pod in world.pods.values()):
        return
    held = world.master or MasterView(connected=True)
    outcome = PASSED if is_over else held.outcome
    wanted = (world.steered.workers if world.steered else 0) or read_held(world.status).planned
    there = {pod.worker for pod in world.observe().worker_pods() if not pod.is_terminal}
    workers = tuple(worker_of(world, index, wanted) for index in sorted({*range(wanted), *there}))
    stage = Stage.FINISHED if outcome else stage
    world.master = replace(held, connected=True, stage=stage, outcome=outcome, workers=workers)


def worker_of(world: World, index: int, wanted: int) -> WorkerView:
    """The master has heard of the newest attempt that runs; of one that has ended it says that it is lost.

    One that it has to do without gives up its load at once and for good, and one that is new is awaited.
    """
    number = world.observe().run
    pods = [pod for pod in world.observe().worker_pods() if pod.worker == index]
    attempt = max([1, *(pod.attempt for pod in pods)])
    lives = any(not pod.is_terminal for pod in pods)
    is_known = any((run, worker) == (number, index) for run, worker, _ in world.retired)
    if not pods and index >= read_held(world.status).planned and not is_known:
        return WorkerView(index, 0, "Expected")
    if lives and index >= wanted:
        world.retired.add((number, index, attempt))
    if not pods:
        # It speaks of the attempt that it has heard last.
        attempt = max([1, *(each for run, worker, each in world.retired if (run, worker) == (number, index))])
    if (number, index, attempt) in world.retired:
        return WorkerView(index, attempt, "Retired" if lives else "Ended")
    return WorkerView(index, attempt, "Running" if lives else "Lost")


happenings = st.sampled_from([*wishes(World(), 0), *FAULTS, "restart operator", "stage", "outcome"])


@settings(max_examples=60)
@given(st.lists(happenings, max_size=25))
def test_whatever_happens_a_decision_applied_leaves_nothing_to_decide(story: list[str]) -> None:
    world = World()
    world.settle()
    for number, what in enumerate(story):
        happen(world, what, number)
        world.settle()

        assert world.settle() == 0


@pytest.mark.promise("live-replicas")
@settings(max_examples=60)
@given(st.lists(happenings, max_size=15), st.lists(st.sampled_from(["edit", "more", "fewer"]), min_size=1, max_size=6))
def test_whatever_happens_a_run_that_goes_on_comes_to_as_many_workers_as_are_wanted(
    story: list[str], edits: list[str]
) -> None:
    world = World()
    for number, what in enumerate([*story, *edits]):
        happen(world, what, number)
        world.settle()
    for _ in range(4):
        happen(world, "stage", STAGES.index(Stage.RUNNING))
        world.settle()

    seen = world.observe()
    if seen.held.phase is not Phase.RUNNING or seen.wanted_stop or seen.held.finished:
        return
    assert isinstance(world.spec, Accepted)
    assert seen.held.workers == world.spec.workers
    alive = [pod.worker for pod in seen.pods if pod.role == "worker" and pod.run == seen.run and not pod.is_terminal]
    exhausted = {worker for worker, attempt in seen.held.attempts.items() if attempt >= 5}
    assert {*alive} | exhausted == {*range(seen.held.workers)} | exhausted
    assert len(alive) == len({*alive})


@settings(max_examples=60)
@given(st.lists(happenings, max_size=25))
def test_whatever_happens_there_is_at_most_one_master_at_work_in_a_run(story: list[str]) -> None:
    world = World()
    for number, what in enumerate(story):
        happen(world, what, number)
        world.settle()
        masters = [pod for pod in world.pods.values() if pod.role == "master" and not pod.is_terminal]

        assert len({pod.run for pod in masters}) == len(masters)
        if world.observe().is_active:
            assert [pod.run for pod in masters if pod.run == world.observe().run] in ([], [world.observe().run])


@settings(max_examples=60)
@given(st.lists(happenings, max_size=25))
def test_whatever_happens_the_phase_of_a_run_never_goes_back(story: list[str]) -> None:
    world = World()
    for number, what in enumerate(story):
        happen(world, what, number)
        world.settle()

    for (run, phase), (next_run, next_phase) in zip(world.phases, world.phases[1:], strict=False):
        assert next_run >= run
        assert next_run > run or next_phase.order >= phase.order


@settings(max_examples=60)
@given(st.lists(happenings, max_size=25))
def test_without_a_trigger_or_a_release_nothing_runs_twice(story: list[str]) -> None:
    world = World()
    for number, what in enumerate(story):
        if what not in ("trigger", "resume"):
            happen(world, what, number)
            world.settle()

    assert world.runs <= {1}


@given(st.lists(happenings, max_size=12))
def test_a_deletion_needs_nothing_more_from_the_operator(story: list[str]) -> None:
    world = World()
    for number, what in enumerate(story):
        happen(world, what, number)
        world.settle()
    world.test = replace(world.test, deleting=True)

    assert decide(world.observe()) == Decision()
