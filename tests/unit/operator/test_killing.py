"""The kill switch of a class: which class a test belongs to, what it ends, and what does not begin meanwhile."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.operator.runs import MASTER, RUNNING, pod
from tests.unit.operator.shell import Operator, run, running

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import CreateMaster, DeletePods, End, Progress, Refuse, TellStored
from loadstone_operator.classes import Classes
from loadstone_operator.decision import decide, wanted_cause
from loadstone_operator.killing import ANSWER_SECONDS, OBEYED_SECONDS, UNHEARD_SECONDS
from loadstone_operator.observation import (
    Held,
    MasterView,
    Observation,
    Outcome,
    PodProblem,
    ReportState,
    Stage,
    WorkerView,
)
from loadstone_operator.permission import NO_CLASS, ClassView
from loadstone_operator.wishes import Steer

pytestmark = pytest.mark.promise("kill-switch")

STAGING = ClassView("staging", is_killed=True)


def body(
    name: str, version: int = 1, *, kill: bool = False, default: bool = False, created: str = "1", uid: str = "u"
) -> Any:
    annotations = {"loadstone.dev/is-default-class": "true"} if default else {}
    metadata = {"name": name, "uid": f"{uid}-{name}", "resourceVersion": str(version), "annotations": annotations}
    metadata["creationTimestamp"] = created
    return {"metadata": metadata, "spec": {"killSwitch": kill}}


def classes(*bodies: Any) -> Classes:
    made = Classes()
    made.settle(frozenset(), bodies)
    return made


def killed(*states: str | WorkerView, **changes: Any) -> Observation:
    """Return a run whose switch is on, by what its master says of each worker."""
    told = tuple(WorkerView(i, 1, each) if isinstance(each, str) else each for i, each in enumerate(states))
    seen = replace(
        RUNNING,
        governing=STAGING,
        pods=(MASTER, *(pod(each.worker) for each in told)),
        master=MasterView(connected=True, stage=Stage.RUNNING, workers=told),
        seconds_stopping=0.1,
        seconds_killed=0.1,
        seconds_heard=60.0,
    )
    return replace(seen, **changes)


def deleted(seen: Observation) -> dict[str, int | None]:
    """Return the pods that a decision deletes, and how long each is given."""
    deletions = [each for each in decide(seen).actions if isinstance(each, DeletePods)]
    return {name: each.grace_seconds for each in deletions for name, _ in each.pods}


# --- Which class.


def test_a_test_belongs_to_the_class_that_it_names_and_else_to_the_newest_default() -> None:
    held = classes(
        body("old", default=True, created="2026-01-01T00:00:00Z"),
        body("new", default=True, created="2026-02-01T00:00:00Z"),
        body("staging", kill=True),
    )

    assert held.of("staging") == STAGING
    assert held.of("old") == ClassView("old")
    assert held.of(None) == ClassView("new")
    assert classes(body("staging", kill=True)).of(None) == NO_CLASS


def test_a_class_that_is_not_there_is_named_with_those_that_are() -> None:
    assert classes().of("a").missing == 'There is no LoadTestClass "a", which spec.className names; create it.'
    assert classes(body("c"), body("b")).of("a").missing.endswith("create it, or name one that is there: b, c.")
    assert classes(*(body(f"c{i:02}") for i in range(11))).of("a").missing.endswith("c06, c07 and 3 more.")


def test_where_no_classes_can_be_read_a_test_that_names_one_is_told_so() -> None:
    held = Classes()
    assert not held.settle(held.names(), None)

    assert "reads no LoadTestClasses" in held.of("staging").missing
    assert held.of(None) == NO_CLASS


def test_only_what_means_something_new_is_news() -> None:
    held = classes(body("staging"))

    assert not held.see(body("staging", 2))
    assert held.see(body("staging", 3, kill=True))
    assert not held.see(body("staging", 2)), "a list may be older than what a watch has brought"
    assert held.of("staging").is_killed
    assert held.see(body("staging", 4, kill=True, default=True))


def test_a_list_forgets_what_it_lacks_if_that_was_known_before_it_was_asked_for() -> None:
    held = classes(body("old"))
    known = held.names()
    held.see(body("new"))

    assert held.settle(known, [])
    assert held.names() == {"new"}
    assert not held.settle(frozenset(), [body("new")])
    held.lose(body("new"))
    assert held.names() == frozenset()


def test_the_end_of_a_class_is_not_that_of_its_successor_which_may_be_heard_of_first() -> None:
    held = classes(body("staging", 1))
    held.see(body("staging", 3, kill=True, uid="other"))
    held.lose(body("staging", 2))

    assert held.of("staging").is_killed
    held.lose(body("staging", 4, uid="other"))
    assert held.of("staging").missing


def test_a_list_that_is_older_than_the_end_of_a_class_does_not_bring_it_back() -> None:
    held = classes(body("staging", kill=True))
    known = held.names()
    held.lose(body("staging", 2, kill=True))

    held.settle(known, [body("staging", kill=True)])
    assert held.names() == frozenset()
    assert held.settle(held.names(), [body("staging", 5, uid="other")])


def test_no_switch_is_taken_back_because_classes_can_be_read_no_more() -> None:
    held = classes(body("staging", kill=True))

    assert held.settle(held.names(), None)
    assert held.of("staging").is_killed


# --- What it ends.


def test_the_master_is_told_and_the_status_names_the_switch() -> None:
    decision = decide(killed("Running", "Running"))

    assert [each.stop for each in decision.actions if isinstance(each, Steer)] == [Reason.KILLED]
    assert isinstance(decision.update, Progress)
    assert decision.update.message == "The run is being killed by the kill switch of LoadTestClass staging."
    assert deleted(killed("Running", "Running")) == {}, "whom the master reaches has something to say"


def test_a_kill_outdoes_every_other_wish_to_stop() -> None:
    seen = killed("Running", "Running")
    seen = replace(seen, test=replace(seen.test, stop_run=1, suspend=True))

    assert seen.wanted_stop == Reason.KILLED


@pytest.mark.parametrize(
    "told",
    [
        WorkerView(1, 1, "Suspect"),
        WorkerView(1, 1, "Expected"),
        WorkerView(1, 1, "Lost", reason="Silent"),
        WorkerView(1, 2, "Running"),
    ],
    ids=lambda told: f"{told.state}-{told.attempt}",
)
def test_a_pod_that_the_master_does_not_reach_is_deleted_without_time_to_go_on(told: WorkerView) -> None:
    assert deleted(killed("Running", told)) == {"checkout-w-1-1-1": 1}


@pytest.mark.parametrize("told", [WorkerView(1, 1, "Ended"), WorkerView(1, 1, "Lost", reason="EngineDied")])
def test_a_pod_whose_agent_still_says_what_was_done_is_left(told: WorkerView) -> None:
    assert deleted(killed("Running", told)) == {}


def test_pods_that_end_already_are_left() -> None:
    seen = killed("Suspect", "Suspect", "Suspect")
    pods = (MASTER, pod(0, deleting=True), pod(1, phase="Failed"), pod(2))

    assert deleted(replace(seen, pods=pods)) == {"checkout-w-1-2-1": 1}


def test_where_nobody_hears_the_master_all_workers_go_and_it_is_waited_for() -> None:
    gone = {"connected": False, "stage": Stage.RUNNING}
    seen = killed("Running", "Running", master=MasterView(**gone), seconds_killed=UNHEARD_SECONDS, seconds_heard=0.0)  # type: ignore[arg-type]

    assert deleted(replace(seen, seconds_unheard=UNHEARD_SECONDS)) == {"checkout-w-1-0-1": 1, "checkout-w-1-1-1": 1}
    assert deleted(replace(seen, seconds_unheard=UNHEARD_SECONDS / 2)) == {}
    assert deleted(replace(seen, seconds_unheard=9.0, seconds_killed=0.5)) == {}
    assert isinstance(decide(replace(seen, seconds_unheard=9.0)).update, Progress)


def test_where_the_master_does_not_obey_all_workers_go() -> None:
    seen = killed("Running", "Ended")

    assert deleted(replace(seen, seconds_killed=OBEYED_SECONDS - 1)) == {}
    assert deleted(replace(seen, seconds_killed=OBEYED_SECONDS)) == {"checkout-w-1-0-1": 1}


def test_the_time_of_an_earlier_stop_does_not_count_as_that_of_the_kill() -> None:
    seen = killed("Running", "Running", seconds_stopping=60.0)

    assert isinstance(decide(seen).update, Progress)
    assert deleted(seen) == {}


def test_workers_have_a_moment_to_come_back_to_a_master_that_was_started_again() -> None:
    seen = killed("Suspect", "Expected", seconds_heard=UNHEARD_SECONDS / 2)

    assert deleted(seen) == {}
    assert set(deleted(replace(seen, seconds_heard=UNHEARD_SECONDS))) == {"checkout-w-1-0-1", "checkout-w-1-1-1"}


def test_an_operator_that_has_just_come_back_connects_to_masters_before_it_judges_them() -> None:
    away = MasterView(connected=False)
    seen = killed("Running", master=away, seconds_heard=0.0, seconds_unheard=3.0, seconds_killed=3.0)

    assert deleted(replace(seen, seconds_watched=3.0)) == {}
    assert deleted(replace(seen, seconds_watched=OBEYED_SECONDS)) == {"checkout-w-1-0-1": 1}


def test_a_run_that_has_seen_the_switch_is_killed_also_when_it_is_off_again() -> None:
    held = replace(RUNNING.held, reason="Killed")
    seen = killed("Running", "Running", governing=ClassView("staging"), held=held)

    assert [each.stop for each in decide(seen).actions if isinstance(each, Steer)] == [Reason.KILLED]
    update = decide(seen).update
    assert isinstance(update, Progress)
    assert update.message == "The run is being killed by the kill switch of its class."
    over = replace(seen, held=replace(held, phase=Phase.FINISHED, finished=True))
    assert over.wanted_stop == ""


def test_what_keeps_a_killed_run_from_starting_is_not_its_verdict() -> None:
    broken = PodProblem(Reason.IMAGE_PULL, "no such image", 0.0)
    seen = killed("Expected", master=MasterView(connected=True, stage=Stage.GATHERING), seconds_in_run=900.0)
    pods = (MASTER, pod(0, phase="Pending", problem=broken, problem_seconds=60.0))
    early = replace(seen, pods=pods, held=replace(RUNNING.held, phase=Phase.PROVISIONING))

    assert isinstance(decide(early).update, Progress)
    assert isinstance(decide(replace(early, governing=NO_CLASS)).update, End)


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds_killed": ANSWER_SECONDS},
        {"pods": (pod(0), pod(1))},
        {"pods": (replace(MASTER, phase="Failed"), pod(0), pod(1))},
    ],
    ids=["late", "gone", "ended"],
)
def test_a_run_whose_master_does_not_end_it_is_ended_and_its_pods_get_no_time(changes: dict[str, Any]) -> None:
    seen = killed("Running", "Running", **changes)
    decision = decide(seen)

    assert isinstance(decision.update, End)
    outcome = decision.update.outcome
    assert (outcome.verdict, outcome.reason, outcome.exit_code) == (Verdict.ABORTED, Reason.KILLED, 130)
    assert outcome.message.startswith("The run was stopped by the kill switch of LoadTestClass staging and its master")
    assert set(deleted(seen).values()) == {1}
    assert not [each for each in decision.actions if isinstance(each, CreateMaster)]


def test_the_last_words_of_a_master_count_for_more_than_that_it_has_gone() -> None:
    said = Outcome(Verdict.ABORTED, Reason.KILLED, "killed", 130)
    master = replace(MASTER, phase="Succeeded", last_outcome=said)
    update = decide(killed("Running", pods=(master,), seconds_killed=ANSWER_SECONDS)).update

    assert isinstance(update, End)
    assert update.outcome == said


def test_the_verdict_of_a_killed_run_names_the_class() -> None:
    outcome = Outcome(Verdict.ABORTED, Reason.KILLED, "It was killed.", 130)
    seen = killed("Ended", master=MasterView(connected=True, stage=Stage.FINISHED, outcome=outcome))
    update = decide(seen).update

    assert isinstance(update, End)
    assert update.outcome.message == "The run was ended by the kill switch of LoadTestClass staging. It was killed."


def test_a_run_without_pods_ends_at_once() -> None:
    seen = killed(held=replace(RUNNING.held, phase=Phase.QUEUED), pods=(), master=None)
    update = decide(seen).update

    assert isinstance(update, End)
    assert update.outcome.message.endswith("LoadTestClass staging before its pods were made.")


# --- What does not begin.


def refused(seen: Observation) -> tuple[str, str]:
    update = decide(seen).update
    assert isinstance(update, Refuse)
    return update.outcome.reason, update.outcome.message


def new(**changes: Any) -> Observation:
    return replace(Observation(test=replace(RUNNING.test, last_run=""), spec=RUNNING.spec), **changes)


def test_a_test_of_a_class_whose_switch_is_on_is_refused_and_one_that_rests_is_left() -> None:
    reason, message = refused(new(governing=STAGING))

    assert reason == Reason.CLASS_DENIED
    assert message.startswith("The kill switch of LoadTestClass staging is on")
    rests = decide(new(governing=STAGING, test=replace(RUNNING.test, suspend=True)))
    assert not isinstance(rests.update, Refuse)


def test_a_class_that_is_missing_is_waited_for_as_it_may_be_applied_in_a_moment() -> None:
    missing = ClassView("a", missing="There is no a.", seconds_missing=1.0)
    waits = decide(new(governing=missing))

    assert waits.actions == ()
    assert waits.update is not None
    assert not isinstance(waits.update, Refuse)
    assert refused(new(governing=replace(missing, seconds_missing=5.0))) == (Reason.SPEC_INVALID, "There is no a.")


def test_an_edit_does_not_start_what_a_switch_has_refused_and_a_trigger_does() -> None:
    refused = Held(observed_generation=7, phase=Phase.FINISHED, finished=True, verdict="Error", reason="ClassDenied")
    edited = new(held=refused, test=replace(RUNNING.test, last_run="", generation=8))

    assert wanted_cause(edited) is None
    assert wanted_cause(replace(edited, test=replace(edited.test, trigger="now"))) is not None
    assert wanted_cause(replace(edited, held=replace(refused, reason="SpecInvalid"))) is not None


def test_a_run_that_was_killed_is_stored_before_the_next_one_is_refused() -> None:
    outcome = Outcome(Verdict.ABORTED, Reason.KILLED, "It was killed.", 130, has_report=True)
    master = MasterView(connected=True, stage=Stage.FINISHED, outcome=outcome)
    held = replace(RUNNING.held, phase=Phase.FINISHED, finished=True, reason="Killed", report=ReportState.SAVED)
    again = killed("Ended", held=held, master=master, test=replace(RUNNING.test, trigger="again"))

    assert [each for each in decide(again).actions if isinstance(each, TellStored)]
    assert refused(replace(again, master=replace(master, stored=True)))[0] == Reason.CLASS_DENIED


# --- The shell.


def test_the_switch_reaches_every_run_of_the_class_and_no_other() -> None:
    async def story() -> None:
        operator = Operator()
        operator.cluster.classes = [body("staging")]
        await operator.controller.resync()
        await running(operator)
        await operator.hear(operator.cluster.put("checkout", generation=2, className="staging"))
        await operator.hear(operator.cluster.put("search"))
        while len(operator.queue):
            operator.queue.done(await operator.queue.take())

        operator.controller.heard_class("MODIFIED", body("staging", 2, kill=True))
        woken = [await operator.queue.take() for _ in range(len(operator.queue))]
        await operator.look()
        await operator.look("search")

        assert {key.name for key in woken} == {"checkout", "search"}
        assert operator.masters.wishes["uid-checkout"].stop == Reason.KILLED
        assert operator.status()["reason"] == "Killed"
        assert operator.status("search")["phase"] == "Provisioning"

        operator.controller.heard_class("DELETED", body("staging", 3))
        await operator.look()
        assert operator.masters.wishes["uid-checkout"].stop == Reason.KILLED, "what is killed stays so"

    run(story())


def test_a_test_that_names_no_class_there_is_is_refused_once_it_was_waited_for() -> None:
    async def story() -> None:
        operator = Operator()
        await operator.controller.resync()
        await operator.hear(operator.cluster.put("checkout", className="production"))
        assert operator.status()["phase"] == "Pending"
        operator.clock.advance(6 * 10**9)
        await operator.look()

        assert operator.status()["reason"] == "SpecInvalid"
        assert not operator.cluster.pods

    run(story())
