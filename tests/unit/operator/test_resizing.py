"""How many workers a run is to have while it goes on: what is made, what has to go, and what is written before."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operator.runs import MASTER, RUNNING, SPEC, pod

from loadstone_core.errors import Problem
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.spec.model import OnLoss
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import CreateChildren, CreateMaster, CreateWorkers, DeletePods, End, Past, Progress
from loadstone_operator.decision import decide
from loadstone_operator.observation import (
    CreationProblem,
    MasterView,
    Observation,
    Outcome,
    PodProblem,
    Rejected,
    Stage,
    WorkerView,
)
from loadstone_operator.permission import Capacity
from loadstone_operator.replacing import attempts
from loadstone_operator.status.held import read_held
from loadstone_operator.status.projection import Moment, project
from loadstone_operator.status.story import tales
from loadstone_operator.wishes import Steer, WorkerEnd

promise = pytest.mark.promise
TEST, HELD = RUNNING.test, RUNNING.held


def run(
    *states: str | WorkerView, asked: int = 2, workers: int = 2, taken: int | None = None, **changes: Any
) -> Observation:
    """Return a run: what its master says of each worker, how many the spec asks for, the status has, it was told of.

    Its spec was edited.
    """
    told = tuple(WorkerView(i, 1, each) if isinstance(each, str) else each for i, each in enumerate(states))
    stage = changes.pop("stage", Stage.RUNNING)
    held = replace(HELD, **{"workers": workers, "made": max(2, workers), "generation": 6, **changes.pop("held", {})})
    seen = replace(
        RUNNING,
        spec=replace(SPEC, workers=asked),
        held=held,
        pods=(MASTER, *(pod(each.worker, each.attempt) for each in told if each.attempt)),
        master=MasterView(connected=True, stage=stage, workers=told),
        steered=Steer(1, "", (), config={}, workers=workers if taken is None else taken),
    )
    return replace(seen, **changes)


def steered(seen: Observation) -> int | None:
    """Return the number that the master is told, or None if it is told nothing."""
    wishes = [each for each in decide(seen).actions if isinstance(each, Steer)]
    return wishes[0].workers if wishes else None


def made(seen: Observation) -> tuple[tuple[int, int], ...]:
    return next((each.workers for each in decide(seen).actions if isinstance(each, CreateWorkers)), ())


def deleted(seen: Observation) -> tuple[str, ...]:
    return tuple(name for each in decide(seen).actions if isinstance(each, DeletePods) for name, _ in each.pods)


def written(seen: Observation) -> dict[str, Any]:
    """Return the status that a decision writes over the one that was seen."""
    held, update = seen.held, decide(seen).update
    assert update is not None
    workers: dict[str, Any] = {"desired": held.workers, "made": held.made}
    old = {
        "phase": str(held.phase),
        "run": {
            "number": 1,
            "id": "uid-1/1",
            "workers": held.planned,
            "resizable": held.can_resize,
            "specParts": dict(held.parts),
        },
        "workers": workers,
    }
    return project(old, seen, update, Moment(1, 1))


def message(seen: Observation) -> str:
    update = decide(seen).update
    assert isinstance(update, Progress)
    return update.message


# What the master is told


@promise("live-replicas")
def test_an_edit_of_replicas_is_handed_to_the_master_and_written_into_the_status_there_and_back() -> None:
    planned = run("Running", "Running", steered=None, held={"generation": 7})
    assert steered(planned) is None

    more = replace(planned, spec=replace(SPEC, workers=4), test=replace(TEST, generation=8))
    assert steered(more) == 4
    assert written(more)["workers"]["desired"] == 4
    assert made(more) == ()

    back = run("Running", "Running", "Expected", asked=2, workers=3, taken=3)
    assert steered(back) == 2
    assert written(back)["workers"]["desired"] == 2
    assert steered(run("Running", "Running", workers=2, taken=2)) is None
    # An operator that comes back does not know whether the master has heard of the way back.
    assert steered(run("Running", "Running", "Running", workers=2, held={"made": 3}, steered=None)) == 2
    assert steered(run("Running", "Running", "Running", asked=3, workers=3, steered=None)) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"held": {"can_resize": False}},
        {"test": replace(TEST, suspend=True)},
        {"test": replace(TEST, stop_run=1)},
        {"stage": Stage.STOPPING},
        {"spec": Rejected((Problem("spec.load", "is wrong"),))},
        {"spec": replace(SPEC, workers=5, parts={"image": "other"})},
        {"held": {"phase": Phase.STOPPING}},
    ],
)
def test_the_number_stays_where_another_is_not_to_be_had(changes: dict[str, Any]) -> None:
    seen = run("Running", "Running", "Running", **{"asked": 5, "workers": 3, **changes})

    expected = seen.steered.workers if seen.steered and seen.held.can_resize else 0
    assert steered(seen) in {None, expected}
    assert written(seen)["workers"]["desired"] == 3
    assert made(seen) == deleted(seen) == ()


@promise("live-replicas")
def test_fewer_workers_of_another_image_are_no_less_to_be_had() -> None:
    seen = run("Running", "Running", "Running", asked=1, workers=3)
    other = replace(seen, spec=replace(seen.spec, parts={"image": "other"}))

    assert steered(other) == 1


def test_a_number_that_has_to_wait_for_the_next_run_is_named_and_one_that_takes_effect_is_not() -> None:
    parts = {"workers.replicas": "aa"}
    spec = replace(SPEC, workers=3, parts={"workers.replicas": "bb"})
    live = run("Running", "Running", spec=spec, held={"parts": parts})
    assert message(live) == ""

    counted = replace(live, held=replace(live.held, can_resize=False))
    assert "spec.workers.replicas counts from the next run on" in message(counted)
    assert "workers.replicas (unless a load is a number of iterations)" in message(counted)
    other = replace(live, spec=replace(spec, parts={**spec.parts, "image": "cc"}))
    assert "spec.image, spec.workers.replicas counts from the next run on" in message(other)
    fewer = replace(other, spec=replace(other.spec, workers=1))
    assert "The edit of spec.image counts" in message(fewer)
    shown = {each["type"]: each["message"] for each in written(counted)["conditions"]}
    assert "spec.workers.replicas" in shown["EditsInEffect"]
    assert "EditsInEffect" not in {each["type"] for each in written(live)["conditions"]}


# More workers


@promise("live-replicas")
@pytest.mark.parametrize("stage", [Stage.GATHERING, Stage.RUNNING])
def test_a_pod_of_a_new_worker_is_made_once_the_status_and_the_master_have_its_number(stage: Stage) -> None:
    expected = WorkerView(2, 0, "Expected")
    assert made(run("Running", "Running", asked=3, workers=3, stage=stage)) == ()
    assert made(run("Running", "Running", expected, asked=3, workers=2, stage=stage)) == ()
    assert made(run("Running", "Running", expected, asked=3, workers=3, taken=0, stage=stage)) == ()

    seen = run("Running", "Running", expected, asked=3, workers=3, stage=stage)
    assert made(seen) == ((2, 1),)
    assert attempts(seen) == {}
    assert made(replace(seen, pods=(*seen.pods, pod(2, phase="Pending")))) == ()
    assert made(replace(seen, ended=(WorkerEnd(2, 1, "Error", "", 1),))) == ()
    assert made(replace(seen, test=replace(TEST, stop_run=1))) == ()


def test_a_new_worker_that_is_lost_is_replaced_like_any_other() -> None:
    failed = run("Running", "Running", WorkerView(2, 0, "Expected"), asked=3, workers=3)
    failed = replace(failed, pods=(*failed.pods, pod(2, phase="Failed")))
    assert attempts(failed) == {2: 2}

    noted = replace(failed, held=replace(failed.held, attempts={2: 2}))
    assert made(noted) == ((2, 2),)
    early = replace(failed, master=replace(failed.master, stage=Stage.GATHERING), held=replace(HELD, workers=3))
    early = replace(early, held=replace(early.held, phase=Phase.PROVISIONING))
    assert attempts(early) == {2: 2}
    vanished = replace(early, pods=early.pods[:-1])
    assert (attempts(vanished), made(vanished)) == ({}, ((2, 1),))


def test_pods_that_the_cluster_refuses_are_told_and_tried_again() -> None:
    quota = CreationProblem(Reason.QUOTA_EXCEEDED, "quota small is used up", is_fatal=False)
    seen = run("Running", "Running", WorkerView(2, 0, "Expected"), asked=3, workers=3, creation=quota)

    decision = decide(seen)
    assert decision.recheck_seconds == 1.0
    assert decision.update == Progress(Phase.RUNNING, Reason.QUOTA_EXCEEDED, "quota small is used up")
    assert message(run("Running", "Running", creation=quota)) == ""


@promise("live-replicas", "limits")
@pytest.mark.parametrize("capacity", [Capacity(waiting="Waits for room."), Capacity(refused="Too many.")])
def test_more_workers_than_the_installation_allows_are_not_steered_and_the_run_says_so(capacity: Capacity) -> None:
    seen = run("Running", "Running", asked=9, capacity=capacity)

    assert steered(seen) is None
    assert written(seen)["workers"]["desired"] == 2
    assert message(seen) == capacity.waiting + capacity.refused


# Fewer workers


@promise("live-replicas")
@pytest.mark.parametrize("state", ["Ended", "Lost"])
def test_a_pod_goes_once_its_worker_is_not_wanted_and_the_master_knows_that_it_does_nothing(state: str) -> None:
    seen = run("Running", "Running", state, workers=2)
    assert deleted(seen) == ("checkout-w-1-2-1",)

    assert deleted(run("Running", "Running", state, workers=2, taken=3)) == ()
    assert deleted(run("Running", "Running", state, workers=2, steered=None)) == ()
    assert deleted(run("Running", "Running", state, asked=2, workers=3, taken=2)) == ()
    assert deleted(run("Running", "Running", state, asked=3, workers=2, taken=2)) == ()
    assert deleted(replace(seen, master=replace(seen.master, connected=False))) == ()
    assert deleted(replace(seen, pods=(MASTER, pod(0), pod(1), pod(2, deleting=True)))) == ()
    assert deleted(replace(seen, pods=(MASTER, pod(0), pod(1), pod(2, phase="Failed")))) == ()
    assert deleted(replace(seen, test=replace(TEST, suspend=True))) == ()


@promise("live-replicas")
@pytest.mark.parametrize("stage", [Stage.GATHERING, Stage.RUNNING])
@pytest.mark.parametrize("changes", [{}, {"taken": 3}, {"steered": None}, {"workers": 3}, {"asked": 3, "workers": 3}])
def test_a_pod_that_has_retired_goes_whatever_is_wanted_since(changes: dict[str, Any], stage: Stage) -> None:
    seen = run("Running", "Running", "Retired", stage=stage, **changes)
    assert deleted(seen) == ("checkout-w-1-2-1",)
    # Another attempt of it is another worker's to the master.
    assert "checkout-w-1-2-2" not in deleted(
        run("Running", "Running", "Retired", asked=3, workers=3, pods=(MASTER, pod(0), pod(1), pod(2, 2)))
    )

    assert deleted(replace(seen, master=replace(seen.master, connected=False))) == ()
    assert deleted(replace(seen, pods=(MASTER, pod(0), pod(1), pod(2, deleting=True)))) == ()
    assert deleted(replace(seen, pods=(MASTER, pod(0), pod(1), pod(2, phase="Failed")))) == ()
    assert deleted(replace(seen, test=replace(TEST, suspend=True))) == ()


@pytest.mark.parametrize("state", ["Expected", "Connected", "Ready", "Running", "Suspect"])
def test_a_pod_stays_while_its_worker_may_do_something(state: str) -> None:
    assert deleted(run("Running", "Running", state, workers=2)) == ()


@promise("live-replicas")
def test_a_pod_that_never_came_goes_once_its_master_does_not_expect_it_any_more() -> None:
    seen = run("Running", "Running", stage=Stage.GATHERING)
    stuck = pod(2, phase="Pending", problem=PodProblem(Reason.UNSCHEDULABLE, "No node.", 0.0), problem_seconds=60.0)
    seen = replace(seen, pods=(*seen.pods, stuck), held=replace(seen.held, phase=Phase.PROVISIONING))

    assert deleted(seen) == ("checkout-w-1-2-1",)
    # And it ends nothing on its way.
    assert message(seen) == ""
    assert isinstance(decide(replace(seen, seconds_in_run=1_300.0)).update, End)
    wanted = replace(seen, spec=replace(SPEC, workers=3), held=replace(seen.held, workers=3))
    assert isinstance(decide(wanted).update, End)


@pytest.mark.parametrize("stage", [Stage.GATHERING, Stage.RUNNING])
def test_a_worker_that_is_not_wanted_is_not_replaced_and_no_problem(stage: Stage) -> None:
    lost = WorkerView(2, 1, "Lost", "checkout-w-1-2-1", "Silent", "it fell silent")
    seen = run("Running", "Running", lost, workers=2, stage=stage)

    assert attempts(seen) == {}
    assert message(seen) == ""
    workers = written(seen)["workers"]
    assert (workers["lost"], workers["connected"], workers["ready"], workers["ratio"]) == (0, 2, 2, "2/2")
    assert "problems" not in workers
    assert made(replace(seen, held=replace(seen.held, attempts={2: 2}))) == ()


# Wanted again


@promise("live-replicas")
@pytest.mark.parametrize("on_loss", list(OnLoss))
@pytest.mark.parametrize("state", ["Ended", "Lost"])
def test_a_worker_that_had_to_go_and_is_wanted_again_gets_another_attempt(state: str, on_loss: OnLoss) -> None:
    seen = run("Running", state, asked=2, workers=1, pods=(MASTER, pod(0)))
    seen = replace(seen, spec=replace(SPEC, on_loss=on_loss))
    assert (attempts(seen), made(seen)) == ({1: 2}, ())
    assert written(seen)["workers"]["desired"] == 2

    noted = replace(seen, held=replace(seen.held, workers=2, attempts={1: 2}))
    assert made(noted) == (), "the master has not been told yet"
    told = replace(noted, steered=replace(seen.steered, workers=2))
    assert made(told) == ((1, 2),)
    there = replace(told, pods=(*told.pods, pod(1, 2)))
    assert (attempts(there), made(there)) == ({1: 2}, ())
    assert made(replace(told, test=replace(TEST, suspend=True))) == ()


@promise("live-replicas", "master-restart")
def test_a_worker_that_a_later_master_expects_and_that_has_no_pod_gets_another_attempt() -> None:
    absent = run("Running", WorkerView(1, 1, "Expected"), pods=(MASTER, pod(0)))
    assert (attempts(absent), made(absent)) == ({1: 2}, ())
    assert made(replace(absent, held=replace(absent.held, attempts={1: 2}))) == ((1, 2),)

    # As long as it has one, which may be waiting for a node, that one is waited for.
    there = replace(absent, pods=(MASTER, pod(0), pod(1)))
    assert (attempts(there), made(there)) == ({}, ())
    # Before a later master knows how far the run is, nobody is missed.
    gathering = run("Running", WorkerView(1, 1, "Expected"), pods=(MASTER, pod(0)), stage=Stage.GATHERING)
    assert attempts(gathering) == {}


@promise("live-replicas")
def test_a_worker_that_is_wanted_again_before_its_pod_had_to_go_stays() -> None:
    seen = run("Running", "Running", asked=2, workers=1)

    assert (attempts(seen), made(seen), deleted(seen), steered(seen)) == ({}, (), (), 2)
    assert attempts(replace(seen, pods=(MASTER, pod(0), pod(1, deleting=True)))) == {1: 2}


@promise("live-replicas")
@pytest.mark.parametrize("stage", [Stage.GATHERING, Stage.RUNNING])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_has_retired_and_is_wanted_again_gets_one_other_attempt(workers: int, stage: Stage) -> None:
    phase = Phase.RUNNING if stage is Stage.RUNNING else Phase.PROVISIONING
    seen = run("Running", "Retired", asked=2, workers=workers, stage=stage, held={"phase": phase})
    assert (attempts(seen), made(seen), deleted(seen)) == ({1: 2}, (), ("checkout-w-1-1-1",))
    shown = written(seen)["workers"]
    assert (shown["connected"], shown["ratio"]) == (1, "1/2")

    # What it has counted comes first; until then it is there, and asked for once.
    noted = replace(seen, held=replace(seen.held, workers=2, attempts={1: 2}), steered=replace(seen.steered, workers=2))
    assert (attempts(noted), made(noted), deleted(noted)) == ({1: 2}, (), ("checkout-w-1-1-1",))
    gone = replace(noted, pods=(MASTER, pod(0)))
    assert (attempts(gone), made(gone)) == ({1: 2}, ())
    ended = replace(gone, master=run("Running", "Ended", stage=stage).master)
    assert (attempts(ended), made(ended)) == ({1: 2}, ((1, 2),))
    there = replace(ended, pods=(*ended.pods, pod(1, 2)))
    assert (attempts(there), made(there), deleted(there)) == ({1: 2}, (), ())
    heard = replace(there, master=run("Running", WorkerView(1, 2, "Running"), stage=stage).master)
    assert (attempts(heard), made(heard), deleted(heard)) == ({1: 2}, (), ())
    # And once more, when it has retired once more.
    twice = replace(heard, master=run("Running", WorkerView(1, 2, "Retired"), stage=stage).master)
    assert (attempts(twice), deleted(twice)) == ({1: 3}, ("checkout-w-1-1-2",))


def test_an_attempt_that_is_about_to_come_is_not_taken_for_the_one_before() -> None:
    for state in ("Retired", "Ended", "Lost"):
        seen = run("Running", state, asked=2, workers=1, pods=(MASTER, pod(0), pod(1, 2)), held={"attempts": {1: 2}})
        assert (attempts(seen), made(seen), deleted(seen)) == ({1: 2}, (), ())


def test_who_still_leaves_is_waited_for_before_the_next_attempt_comes() -> None:
    leaving = run("Running", "Retired", pods=(MASTER, pod(0), pod(1, deleting=True)), held={"attempts": {1: 2}})
    assert made(leaving) == ()

    assert made(replace(leaving, master=run("Running", "Ended").master)) == ((1, 2),)


def test_a_worker_that_left_while_it_was_wanted_again_gets_another_attempt() -> None:
    gone = run("Running", "Ended")
    assert attempts(gone) == {1: 2}
    assert written(gone)["workers"]["connected"] == 1

    assert attempts(replace(gone, held=replace(gone.held, attempts={1: 2}))) == {1: 2}
    assert attempts(run("Running", "Ended", stage=Stage.STOPPING)) == {}
    # A master that takes over may speak of those that had ended at the end.
    assert attempts(run("Running", "Ended", stage=Stage.GATHERING)) == {}
    assert attempts(run("Ready", "Ended", stage=Stage.GATHERING, held={"phase": Phase.PROVISIONING})) == {1: 2}
    assert attempts(run("Running", "Ended", held={"can_resize": False})) == {}


def test_a_number_that_a_run_once_had_is_remembered_for_who_comes_again() -> None:
    fewer = run("Running", "Running", "Ended", asked=2, workers=3)
    status = written(fewer)
    assert status["workers"]["made"] == 3
    held = read_held(status)
    assert (held.workers, held.planned, held.made) == (2, 2, 3)

    # Its pod and its master's memory are gone: an attempt that may have been there is not given out again.
    more = replace(run("Running", "Running", asked=4), held=replace(held, phase=Phase.RUNNING))
    assert attempts(more) == {2: 2}
    assert "made" not in written(more)["workers"]


# The plan


@promise("live-replicas", "master-restart")
def test_another_master_is_made_though_replicas_were_edited_and_knows_how_many_there_are_and_were() -> None:
    held = replace(HELD, epoch=2, workers=3, made=4, parts={"workers.replicas": "aa"})
    lost = replace(
        RUNNING,
        spec=replace(SPEC, workers=3, parts={"workers.replicas": "bb"}),
        held=held,
        pods=(pod(0), pod(1)),
        master=MasterView(connected=False, stage=Stage.RUNNING),
        epoch_reserved=2,
    )
    past = Past(is_sole=False, has_begun=True, workers=3, workers_made=4)
    assert decide(lost).actions == (CreateMaster(1, 2, past),)

    late = replace(lost, pods=(pod(0), pod(5)), held=replace(held, attempts={6: 2}))
    assert decide(late).actions == (CreateMaster(1, 2, replace(past, workers_made=7, attempts={6: 2})),)
    same = replace(lost, held=replace(HELD, epoch=2))
    assert decide(same).actions == (CreateMaster(1, 2, Past(is_sole=False, has_begun=True)),)


def test_a_run_is_planned_with_the_number_that_was_asked_when_it_began_to_be_made() -> None:
    queued = replace(RUNNING, pods=(), held=replace(HELD, phase=Phase.QUEUED), spec=replace(SPEC, workers=3))
    assert decide(queued).actions == (CreateChildren(1, 1, 3),)
    status = written(queued)
    assert (status["run"]["workers"], status["workers"]["desired"]) == (3, 3)
    assert "made" not in status["workers"]

    pending = replace(queued, held=replace(HELD, phase=Phase.PENDING))
    assert decide(pending).actions == (CreateChildren(1, 1, 2),)
    assert (written(pending)["run"]["workers"], written(pending)["workers"]["desired"]) == (2, 2)


def test_a_run_that_has_ended_keeps_its_number() -> None:
    over = Outcome(Verdict.ERROR, Reason.WORKERS_LOST, "All are lost.", 1)
    seen = run("Running", "Running", asked=4)
    ended = replace(seen, master=replace(seen.master, stage=Stage.FINISHED, outcome=over))
    assert written(ended)["workers"]["desired"] == 2

    failed = replace(seen, pods=(), seconds_unheard=900.0)
    assert isinstance(decide(failed).update, End)
    assert written(failed)["workers"]["desired"] == 2


def test_a_status_of_an_older_operator_is_read_and_its_run_keeps_its_number() -> None:
    held = read_held({"run": {"number": 1}, "workers": {"desired": 3}})
    assert (held.planned, held.made, held.can_resize) == (3, 3, False)


# The story


@promise("live-replicas", "events")
def test_each_new_number_of_a_run_is_told_once() -> None:
    more, again = run("Running", "Running", asked=4), run("Running", "Ended", asked=2, workers=1)
    old = written(run("Running", "Running", held={"phase": Phase.RUNNING}))
    (tale,) = tales(old, written(more))
    assert (tale.reason, tale.message, tale.is_warning) == ("Scaled", "From 2 to 4 workers.", False)
    assert tales(written(more), written(more)) == ()

    before = {**old, "workers": {**old["workers"], "desired": 1}}
    (scaled,) = tales(before, written(again))
    assert scaled.message == "From 1 to 2 workers."
    later = {**before, "observedGeneration": 9}
    assert tales(later, {**written(again), "observedGeneration": 9})[0].detail != scaled.detail
    (down,) = tales(old, {**old, "workers": {**old["workers"], "desired": 1}})
    assert down.message == "From 2 to 1 worker."


# Whatever is asked for, and whatever the master says


states = st.sampled_from(["Expected", "Connected", "Ready", "Running", "Suspect", "Retired", "Ended", "Lost"])


@given(
    st.lists(st.tuples(states, st.integers(0, 3), st.booleans()), max_size=6),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 6),
    st.sampled_from([Stage.GATHERING, Stage.RUNNING]),
)
def test_no_pod_is_made_that_is_not_wanted_and_none_goes_that_is(
    told: list[tuple[str, int, bool]], asked: int, workers: int, taken: int, stage: Stage
) -> None:
    views = [WorkerView(index, attempt, state) for index, (state, attempt, _) in enumerate(told)]
    seen = run(*views, asked=asked, workers=workers, taken=taken, stage=stage)
    there = tuple(
        pod(view.worker, max(1, view.attempt)) for view, (*_, is_there) in zip(views, told, strict=True) if is_there
    )
    seen = replace(seen, pods=(MASTER, *there))

    for worker, attempt in made(seen):
        assert worker < min(asked, workers, taken or 2)
        assert views[worker].attempt < attempt
        assert (worker, attempt) not in {(each.worker, each.attempt) for each in there}
    gone = {each.worker for each in there if each.name in deleted(seen)}
    assert all(worker >= max(asked, workers, taken or 2) for worker in gone if views[worker].state != "Retired")
    assert all(views[worker].state in {"Retired", "Ended", "Lost"} for worker in gone)
    desired = written(seen)["workers"]["desired"]
    assert desired == asked
    assert all(attempt > 1 for attempt in attempts(seen).values())
