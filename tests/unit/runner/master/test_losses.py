from __future__ import annotations

import json
from dataclasses import replace

import pytest

from loadstone_core.plan.model import ATTEMPTS_MOST, RunIdentity, RunPlan, ScriptRef
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
        made.note(Member(worker, attempt=1), GONE, since_ns=worker * SECOND, lost=1, allowed=0)
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
    some.note(Member(1, attempt=2), GONE, since_ns=5 * SECOND, lost=1, allowed=0)

    assert some.describe() == "the load of 1 of them was taken over"
    newest = some.newest(1)
    assert newest is not None
    assert newest.attempt == 2


class Unseen(list):
    """What is not to be looked through for each worker."""

    def __iter__(self):
        raise AssertionError("these may be thousands")

    __reversed__ = __iter__


def test_the_newest_loss_of_a_worker_is_known_without_a_look_at_the_others() -> None:
    some = losses(1, 2)
    some.note(Member(1, attempt=2), GONE, since_ns=5 * SECOND, lost=1, allowed=0)
    recalled = Losses()
    recalled.recall(json.loads(json.dumps(some.remember())))
    for each in (some, recalled):
        each._all = Unseen(each._all)
        newest = [each.newest(worker) for worker in range(3)]
        assert [loss and loss.attempt for loss in newest] == [None, 2, 1]


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
GATHERING, ARMED, RUNNING, STOPPED = (
    RunState(),
    RunState(stage=Stage.ARMED, order=RunOrder.RUNNING),
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
        (GONE, OnLoss.REPLACE, ARMED, 1, None),
        (GONE, OnLoss.REPLACE, ARMED, 2, TooManyLost()),
        (GONE, OnLoss.ABORT, STOPPED, 1, None),
        (HUNGRY, OnLoss.CONTINUE, RUNNING, 1, None),
        (HUNGRY, OnLoss.REDISTRIBUTE, RUNNING, 1, TooManyLost()),
        (HUNGRY, OnLoss.CONTINUE, GATHERING, 1, TooManyLost()),
        (HUNGRY, OnLoss.REPLACE, GATHERING, 1, TooManyLost()),
        (GONE, OnLoss.REPLACE, GATHERING, 3, None),
        (GONE, OnLoss.REDISTRIBUTE, GATHERING, 3, None),
    ],
)
def test_a_loss_ends_the_run_where_it_is_too_much(
    departure: Departure, on_loss: OnLoss, state: RunState, lost: int, event: TooManyLost | None
) -> None:
    assert (
        event_of_loss(
            Member(1, attempt=1), departure, replace(PLAN, on_loss=on_loss), state, lost=lost, wanted=PLAN.workers
        )
        == event
    )


@pytest.mark.parametrize(
    ("on_loss", "state", "says"),
    [
        (OnLoss.ABORT, RUNNING, "workers.onLoss is Abort"),
        (OnLoss.ABORT, GATHERING, "before the load began"),
        (OnLoss.CONTINUE, GATHERING, "before the load began"),
    ],
)
def test_a_loss_that_nothing_may_follow_says_why(on_loss: OnLoss, state: RunState, says: str) -> None:
    event = event_of_loss(
        Member(1, attempt=1), GONE, replace(PLAN, on_loss=on_loss), state, lost=1, wanted=PLAN.workers
    )

    assert isinstance(event, Broke)
    assert says in event.message
    assert event.message.endswith("its pod was deleted")


@pytest.mark.promise("early-loss")
@pytest.mark.parametrize(
    ("departure", "is_worth_a_new_pod"),
    [
        # Of a pod or its node, whatever number the container ended with.
        (Departure("Silent", "worker 1 was not heard for 35 s"), True),
        (Departure("Terminated", "the worker was told to end", 143), True),
        (Departure("Evicted", "node pressure", 1), True),
        (Departure("NodeShutdown", "", 1), True),
        (Departure("OutOfcpu", "", 1), True),
        (Departure("DeletionByTaintManager", "", 143), True),
        (Departure("ContainerStatusUnknown", "", 137), True),
        (Departure("Replaced", "attempt 2 has taken its place"), True),
        # A process that somebody else has ended.
        (Departure("EngineDied", "engine 0 of worker 1 died with signal 9", 137), True),
        (Departure("EngineDied", "engine 0 of worker 1 died with exit code 143", 143), True),
        (Departure("EngineDied", "engine 0 of worker 1 died with exit code -1", -1), True),
        (Departure("Error", "", 137), True),
        (Departure("Error", "", 130), True),
        # A process that ended by itself: image and script would do it again.
        (Departure("EngineDied", "engine 0 of worker 1 died with exit code 1: ImportError", 1), False),
        (Departure("EngineDied", "engine 0 of worker 1 died with signal 11", 139), False),
        (Departure("EngineDied", "engine 0 of worker 1 died with signal 6", 134), False),
        (Departure("Error", "", 1), False),
        (Departure("StartError", "no such file", 128), False),
        (Departure("ContainerCannotRun", "", 127), False),
    ],
)
@pytest.mark.parametrize("on_loss", [OnLoss.REPLACE, OnLoss.REDISTRIBUTE])
def test_before_the_load_a_worker_is_waited_for_that_another_pod_can_replace(
    departure: Departure, on_loss: OnLoss, *, is_worth_a_new_pod: bool
) -> None:
    member = Member(1, attempt=1)
    event = event_of_loss(member, departure, replace(PLAN, on_loss=on_loss), GATHERING, lost=1, wanted=PLAN.workers)

    if is_worth_a_new_pod:
        assert event is None
    else:
        why = departure.message or departure.reason
        assert event == Broke("WorkersLost", f"worker 1 was lost before the load began: {why}")
    # On one machine nobody makes another.
    alone = replace(PLAN, on_loss=on_loss, has_replacements=False)
    assert isinstance(event_of_loss(member, departure, alone, GATHERING, lost=1, wanted=PLAN.workers), Broke)


@pytest.mark.promise("early-loss")
def test_before_the_load_a_worker_is_not_waited_for_for_ever() -> None:
    last = Member(1, attempt=ATTEMPTS_MOST)
    event = event_of_loss(last, GONE, PLAN, GATHERING, lost=1, wanted=PLAN.workers)

    assert isinstance(event, Broke)
    assert event.message.endswith("its pod was deleted; it was made 5 times, and is not made again")
    assert (
        event_of_loss(replace(last, attempt=ATTEMPTS_MOST - 1), GONE, PLAN, GATHERING, lost=1, wanted=PLAN.workers)
        is None
    )
    # The others can begin without it.
    assert event_of_loss(last, GONE, replace(PLAN, min_available=2), GATHERING, lost=1, wanted=PLAN.workers) is None


def test_the_most_that_were_lost_at_a_time_are_those_of_the_load() -> None:
    some = Losses()
    for lost in (1, 2, 3):
        some.note(Member(lost), GONE, since_ns=0, lost=lost, allowed=0, is_early=True)
    assert (some.most, len(some.of_load)) == (0, 0)
    for lost in (1, 2, 1):
        some.note(Member(lost), GONE, since_ns=0, lost=lost, allowed=0)
    assert (some.most, len(some.of_load)) == (2, 3)


def test_a_loss_before_the_load_is_told_apart_and_nobody_took_its_load_over() -> None:
    early = Losses()
    assert early.describe_early() == ""
    early.note(Member(1, attempt=1), GONE, since_ns=0, lost=1, allowed=0, is_early=True)
    assert not early.settle(SECOND, nobody)
    assert early.describe() == ""
    assert early.describe_early() == "worker 1 was lost before the load began: its pod was deleted"
    early.replace(1)
    assert early.describe_early() == "worker 1 was lost before the load began and was replaced: its pod was deleted"
    early.note(Member(2, attempt=1), Departure("Evicted", ""), since_ns=0, lost=1, allowed=0, is_early=True)
    assert early.describe_early() == (
        "workers were lost 2 times before the load began, 1 replaced; first worker 1: its pod was deleted"
    )


def test_what_was_lost_is_weighed_by_what_was_allowed_then() -> None:
    some = Losses()
    some.note(Member(0), GONE, since_ns=0, lost=2, allowed=4)
    assert some.most <= some.allowed
    # Fewer workers were wanted since.
    some.note(Member(1), GONE, since_ns=0, lost=1, allowed=0)
    some.note(Member(2), GONE, since_ns=0, lost=3, allowed=4)
    assert (some.most, some.allowed) == (1, 0)
