from __future__ import annotations

from dataclasses import replace

import pytest

from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.model import OnLoss
from loadstone_core.units import SECOND
from loadstone_protocol.messages import RunOrder
from loadstone_runner.master.losses import Losses, event_of_loss
from loadstone_runner.master.member import Departure, Member
from loadstone_runner.master.run import Broke, RunState, Stage, TooManyLost

GONE = Departure("Deleted", "its pod was deleted")


def nobody(_worker: int, _attempt: int) -> bool:
    """Nobody who was lost still does anything."""
    return False


def losses(*workers: int) -> Losses:
    made = Losses()
    for worker in workers:
        made.note(Member(worker, attempt=1), GONE, since_ns=worker * SECOND)
    return made


def test_without_a_loss_there_is_nothing_to_say() -> None:
    assert losses().describe() == ""
    assert losses().newest(0) is None


def test_a_loss_says_when_its_load_was_taken_over_and_that_it_was_replaced() -> None:
    one = losses(1)
    assert one.describe() == ""
    assert one.settle(1_840_000_000, nobody)
    assert not one.settle(9 * SECOND, nobody)
    assert one.describe() == "its load was taken over after 0.8 s"
    one.replace(1)
    assert one.describe() == "its load was taken over after 0.8 s and it was replaced"


def test_what_a_silent_worker_may_still_do_is_taken_over_by_nobody_before_its_lease_is_over() -> None:
    two = losses(1, 2)
    assert two.settle(3 * SECOND, lambda worker, attempt: (worker, attempt) == (1, 1))
    assert [each.taken_over_ns for each in two] == [None, SECOND]
    assert two.settle(37 * SECOND, nobody)
    assert [each.taken_over_ns for each in two] == [36 * SECOND, SECOND]


@pytest.mark.parametrize(
    ("settled_ns", "replaced", "says"),
    [
        (None, (), ""),
        (None, (1, 2), "all were replaced"),
        (3 * SECOND, (), "their load was taken over after 2.0 s at most"),
        (3 * SECOND, (2,), "their load was taken over after 2.0 s at most and 1 of them were replaced"),
    ],
)
def test_several_losses_are_told_together(settled_ns: int | None, replaced: tuple[int, ...], says: str) -> None:
    two = losses(1, 2)
    if settled_ns is not None:
        two.settle(settled_ns, nobody)
    for worker in replaced:
        two.replace(worker)

    assert two.describe() == says


def test_a_loss_after_the_others_were_settled_is_told_apart() -> None:
    some = losses(1)
    some.settle(2 * SECOND, nobody)
    some.note(Member(1, attempt=2), GONE, since_ns=5 * SECOND)

    assert some.describe() == "the load of 1 of them was taken over"
    newest = some.newest(1)
    assert newest is not None
    assert newest.attempt == 2


PLAN = RunPlan(
    run=RunIdentity(uid="u/1", loadtest="l", namespace="n", number=1, epoch=1),
    spec_digest="",
    workers=3,
    engines_per_worker=1,
    scenarios=(),
    tolerance_ppm=0,
    target=None,
    percentiles=(),
    thresholds=(),
    warm_up_ns=0,
    startup_timeout_ns=0,
    script=ScriptRef(digest=None, directory="/", entrypoint="t.py"),
)
GATHERING, RUNNING, STOPPED = (
    RunState(),
    RunState(stage=Stage.RUNNING_LOAD, order=RunOrder.RUNNING),
    RunState(stage=Stage.STOPPING_LOAD, order=RunOrder.STOPPED),
)
HUNGRY = Departure("OOMKilled", "signal 9")


@pytest.mark.parametrize(
    ("departure", "on_loss", "state", "lost", "event"),
    [
        (GONE, OnLoss.REPLACE, RUNNING, 1, None),
        (GONE, OnLoss.REPLACE, RUNNING, 2, TooManyLost()),
        (GONE, OnLoss.CONTINUE, RUNNING, 1, None),
        (GONE, OnLoss.ABORT, STOPPED, 1, None),
        (HUNGRY, OnLoss.CONTINUE, RUNNING, 1, None),
        (HUNGRY, OnLoss.REDISTRIBUTE, RUNNING, 1, TooManyLost()),
        (HUNGRY, OnLoss.CONTINUE, GATHERING, 1, TooManyLost()),
    ],
)
def test_a_loss_ends_the_run_where_it_is_too_much(
    departure: Departure, on_loss: OnLoss, state: RunState, lost: int, event: TooManyLost | None
) -> None:
    assert event_of_loss(1, departure, replace(PLAN, on_loss=on_loss), state, lost=lost) == event


@pytest.mark.parametrize(
    ("on_loss", "state", "says"),
    [(OnLoss.ABORT, RUNNING, "workers.onLoss is Abort"), (OnLoss.REPLACE, GATHERING, "before the load began")],
)
def test_a_loss_that_nothing_may_follow_says_why(on_loss: OnLoss, state: RunState, says: str) -> None:
    event = event_of_loss(1, GONE, replace(PLAN, on_loss=on_loss), state, lost=1)

    assert isinstance(event, Broke)
    assert says in event.message
    assert event.message.endswith("its pod was deleted")
