"""Which workers of a run get another pod, because theirs was lost, and what the status says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.operator.runs import (
    MASTER,
    PROVISIONING,
    RUNNING,
    SPEC,
    WORKERS,
    end_of,
)

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.spec.model import OnLoss
from loadstone_core.verdict.outcome import Reason
from loadstone_operator.actions import (
    CreateWorkers,
    Progress,
)
from loadstone_operator.decision import decide
from loadstone_operator.observation import (
    MasterView,
    Observation,
    PodProblem,
    Stage,
    WorkerView,
)
from loadstone_operator.replacing import attempts
from loadstone_operator.status.held import read_held
from loadstone_operator.status.projection import Moment, project
from loadstone_operator.wishes import Steer, WorkerEnd

promise = pytest.mark.promise


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
    assert [each.hopeless for each in decide(late).actions if isinstance(each, Steer)] == [
        "More memory than its limit."
    ]
    silent = replace(late, master=MasterView(connected=False), seconds_watched=60.0)
    assert end_of(decide(silent)).outcome.reason == Reason.WORKER_OOM


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
