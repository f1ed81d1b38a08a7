"""A master that is heard keeps its own time; one that is not has all the time that it may still need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.unit.operator.runs import MASTER, PROVISIONING, RUN, RUNNING, SPEC, WORKERS, end_of
from tests.unit.operator.shell import Operator, run, running

from loadstone_core.errors import Problem
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.units import SECOND, parse_duration
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import Begin, DeletePods, End
from loadstone_operator.cluster.reading import read_pod
from loadstone_operator.decision import decide
from loadstone_operator.observation import (
    Cause,
    CreationProblem,
    MasterView,
    Observation,
    Outcome,
    PodProblem,
    Rejected,
    Stage,
)
from loadstone_operator.status.held import read_held
from loadstone_operator.status.projection import Moment, project
from loadstone_operator.wishes import Steer
from loadstone_runner.agent.farewell import MASTER_AWAITED_NS

if TYPE_CHECKING:
    from loadstone_operator.observation import PodView, SpecView

# A run that is to stop, was planned with a gracefulStop of 5 m, and says so or cannot be heard.
TO_STOP = replace(
    RUNNING,
    held=replace(RUN, phase=Phase.RUNNING, graceful_stop_ns=300 * SECOND),
    test=replace(RUNNING.test, stop_run=1),
    seconds_stopping=3_600.0,
    seconds_heard=3_600.0,
)
BEGIN = Begin(1, Cause.CREATED, Phase.RUNNING)
BEGUN = Begin(1, Cause.CREATED, Phase.PROVISIONING)
AWAY = MasterView(connected=False, stage=Stage.STOPPING)
GRACE = 300.0
# Last states, teardown and the verdict take a master no longer.
THE_REST = 15.0 + 30.0 + 10.0


def ends(seen: Observation) -> bool:
    return isinstance(decide(seen).update, End)


@pytest.mark.parametrize("stage", [Stage.STOPPING, Stage.FINISHED])
def test_a_master_that_is_heard_and_stops_is_waited_for(stage: Stage) -> None:
    assert not ends(replace(TO_STOP, master=MasterView(connected=True, stage=stage)))


def test_a_stopping_master_that_is_not_heard_has_the_time_that_it_may_need_from_when_it_was_heard_last() -> None:
    away = replace(TO_STOP, master=AWAY, seconds_heard=0.0)
    assert not ends(replace(away, seconds_unheard=GRACE + THE_REST - 1))

    decision = decide(replace(away, seconds_unheard=GRACE + THE_REST))
    outcome = end_of(decision).outcome
    assert (outcome.verdict, outcome.reason) == (Verdict.ABORTED, Reason.STOPPED)
    assert isinstance(decision.actions[0], DeletePods)


def test_a_stop_gives_a_master_its_time_though_nobody_had_heard_it_for_long() -> None:
    away = replace(TO_STOP, master=AWAY, seconds_heard=0.0, seconds_unheard=3_600.0)

    assert not ends(replace(away, seconds_stopping=GRACE + THE_REST - 1))
    assert ends(replace(away, seconds_stopping=GRACE + THE_REST))


def test_a_master_that_is_heard_and_does_not_stop_has_the_time_that_it_may_need_from_when_it_was_told() -> None:
    deaf = replace(TO_STOP, master=MasterView(connected=True, stage=Stage.RUNNING))

    assert ends(deaf)
    assert not ends(replace(deaf, seconds_stopping=GRACE + THE_REST - 1))
    # It was not to be told for as long as nobody reached it.
    assert not ends(replace(deaf, seconds_heard=GRACE + THE_REST - 1))


@pytest.mark.parametrize(
    "spec", [replace(SPEC, graceful_stop_ns=10 * SECOND, digest="sha256:other"), Rejected((Problem("spec", "wrong"),))]
)
def test_a_stop_takes_the_graceful_stop_that_the_run_was_planned_with_whatever_the_spec_says_by_now(
    spec: SpecView,
) -> None:
    begun = project({}, replace(RUNNING, spec=replace(SPEC, graceful_stop_ns=300 * SECOND)), BEGIN, Moment(1, 1))
    edited = replace(TO_STOP, spec=spec, held=read_held(begun), master=AWAY, seconds_heard=0.0)

    assert not ends(replace(edited, seconds_unheard=GRACE + THE_REST - 1))
    assert ends(replace(edited, seconds_unheard=GRACE + THE_REST))


def test_a_run_whose_status_an_earlier_release_has_written_stops_by_its_spec_if_that_is_valid() -> None:
    earlier = replace(TO_STOP, held=replace(TO_STOP.held, graceful_stop_ns=None), master=AWAY, seconds_heard=0.0)

    for spec in (replace(SPEC, graceful_stop_ns=30 * SECOND), Rejected((Problem("spec", "wrong"),))):
        assert not ends(replace(earlier, spec=spec, seconds_unheard=30.0 + THE_REST - 1))
        assert ends(replace(earlier, spec=spec, seconds_unheard=30.0 + THE_REST))


# The loss of a master


@pytest.mark.parametrize("lease_seconds", [10, 30, 300])
def test_no_master_is_given_up_before_the_last_worker_has_given_up(lease_seconds: int) -> None:
    pods = tuple(replace(each, lease_ns=lease_seconds * SECOND) for each in (MASTER, *WORKERS))
    again = replace(
        RUNNING,
        pods=(replace(pods[0], trusted_restarts=1), *pods[1:]),
        master=MasterView(connected=False, stage=Stage.RUNNING),
    )
    gone = replace(again, pods=pods[1:])
    # Its engines are killed 2 s after the lease; they have ended some seconds after that at the latest.
    last_seconds = lease_seconds + 2.0 + 5.0 + MASTER_AWAITED_NS / SECOND

    for seen in (again, gone):
        assert not ends(replace(seen, seconds_unheard=last_seconds))
        assert end_of(decide(replace(seen, seconds_unheard=last_seconds + 10.0))).outcome.reason == Reason.MASTER_LOST


@pytest.mark.parametrize("lease", ["5m", "30s", "1m0.5s"])
def test_pods_say_the_lease_that_their_run_was_planned_with_also_those_that_are_made_after_an_edit(lease: str) -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator, transport={"lease": lease})
        await operator.hear(operator.cluster.put("checkout", generation=2, transport={"lease": "10s"}))
        operator.masters.views.pop("uid-checkout")
        operator.controller.heard_pod("DELETED", operator.cluster.pods.pop("checkout-m-1-1"))
        await operator.look()
        await operator.look()

        assert {name: read_pod(pod).lease_ns for name, pod in operator.cluster.pods.items()} == dict.fromkeys(
            ("checkout-m-1-2", "checkout-w-1-0-1", "checkout-w-1-1-1"), parse_duration(lease)
        )

    run(story())


def test_a_pod_that_says_no_lease_has_the_default() -> None:
    for said in ({}, {"loadstone.dev/lease": "soon"}):
        assert read_pod({"metadata": {"name": "w", "labels": said}}).lease_ns == 30 * SECOND


# The start

LATE = 600.0
STUCK = replace(
    WORKERS[1], phase="Pending", problem=PodProblem(Reason.UNSCHEDULABLE, "Pod waits for a node: no cpu.", None)
)
GATHERING = replace(
    PROVISIONING,
    pods=(MASTER, WORKERS[0], STUCK),
    master=MasterView(connected=True, stage=Stage.GATHERING),
    seconds_in_run=LATE,
    seconds_heard=590.0,
)
OVER_TIME = 2 * LATE + 60.0
NOT_ALL_MADE = replace(
    GATHERING,
    pods=(MASTER, WORKERS[0]),
    held=replace(RUN, phase=Phase.PENDING),
    creation=CreationProblem(Reason.QUOTA_EXCEEDED, "quota small is used up", is_fatal=False),
)


@pytest.mark.parametrize("worker", [STUCK, replace(STUCK, problem=None)], ids=["with a cause", "without"])
def test_a_late_start_is_ended_by_the_master_that_is_heard_so_that_its_teardown_is_run(worker: PodView) -> None:
    late = replace(GATHERING, pods=(MASTER, WORKERS[0], worker))

    for seconds in (LATE, LATE + 10.0, OVER_TIME - 1):
        assert not ends(replace(late, seconds_in_run=seconds))
    # Its own timeout counts from its own start, and then it is not gathering any more.
    assert not ends(replace(late, seconds_in_run=9_000.0, master=MasterView(connected=True, stage=Stage.STOPPING)))


def test_the_operator_adds_the_cause_to_a_start_that_the_master_has_ended() -> None:
    late = Outcome(Verdict.ERROR, Reason.STARTUP_TIMEOUT, "Waited for worker 1.", 1)
    over = replace(GATHERING, master=MasterView(connected=True, stage=Stage.FINISHED, outcome=late))
    outcome = end_of(decide(over)).outcome

    assert (outcome.reason, outcome.message) == (
        Reason.UNSCHEDULABLE,
        "Pod waits for a node: no cpu. Waited for worker 1.",
    )


BROKEN = replace(STUCK, problem=PodProblem(Reason.IMAGE_PULL, "no such image", 45.0), problem_seconds=45.0)
HOPELESS = replace(GATHERING, pods=(MASTER, WORKERS[0], BROKEN), seconds_in_run=60.0)


def told(seen: Observation) -> list[str]:
    return [each.hopeless for each in decide(seen).actions if isinstance(each, Steer)]


def test_a_start_that_is_hopeless_is_ended_by_the_master_that_is_heard_so_that_its_teardown_is_run() -> None:
    assert told(replace(HOPELESS, pods=(MASTER, WORKERS[0], replace(BROKEN, problem_seconds=44.0)))) == []
    assert (told(HOPELESS), ends(HOPELESS)) == (["no such image"], False)
    said = Steer(1, "", (), hopeless="no such image", hopeless_reason="ImagePull")
    assert told(replace(HOPELESS, steered=said)) == []
    # It ends the run, which takes as long as its teardown, and says what it was told.
    tears_down = MasterView(connected=True, stage=Stage.STOPPING)
    assert not ends(replace(HOPELESS, master=tears_down, steered=said, seconds_in_run=9_000.0))
    word = Outcome(Verdict.ERROR, Reason.IMAGE_PULL, "no such image", 1)
    finished = MasterView(connected=True, stage=Stage.FINISHED, outcome=word)
    unscheduled = replace(WORKERS[0], phase="Pending", problem=PodProblem(Reason.UNSCHEDULABLE, "no node", None))
    # Whatever the pods look like by then.
    for pods in ((MASTER, *WORKERS), (MASTER, unscheduled, BROKEN)):
        outcome = end_of(decide(replace(HOPELESS, master=finished, steered=said, pods=pods))).outcome
        assert (outcome.reason, outcome.message) == (Reason.IMAGE_PULL, "no such image")


def test_a_master_that_hangs_is_given_up_once_its_workers_are_over_and_it_would_have_ended() -> None:
    stopping = MasterView(connected=False, stage=Stage.STOPPING)
    held = replace(HOPELESS.held, phase=Phase.STOPPING)
    over = tuple(replace(pod, phase="Succeeded") for pod in WORKERS)
    hangs = replace(HOPELESS, held=held, master=stopping, pods=(MASTER, *over), seconds_heard=0.0)
    lease = 30.0 + 130.0
    assert not ends(replace(hangs, seconds_unheard=lease - 1, seconds_alone=THE_REST))
    assert not ends(replace(hangs, seconds_unheard=lease, seconds_alone=THE_REST - 1))
    assert not ends(replace(hangs, seconds_unheard=9_000.0, pods=(MASTER, *WORKERS))), "it may be cut off from here"
    for seconds in (0.0, lease):  # nothing else would let anybody look again
        assert decide(replace(hangs, seconds_unheard=seconds)).recheck_seconds is not None
    outcome = end_of(decide(replace(hangs, seconds_unheard=lease, seconds_alone=THE_REST))).outcome
    assert outcome.reason == Reason.MASTER_LOST
    assert "is not heard any more, and no worker of it is left" in outcome.message


def test_a_start_that_is_hopeless_is_ended_for_a_master_that_does_not_or_is_silent() -> None:
    late = replace(BROKEN, problem_seconds=45.0 + THE_REST)
    for seen in (
        replace(HOPELESS, pods=(MASTER, WORKERS[0], late)),
        replace(HOPELESS, master=MasterView(connected=False), seconds_heard=0.0, seconds_watched=60.0),
    ):
        assert end_of(decide(seen)).outcome.reason == Reason.IMAGE_PULL


def test_a_load_that_has_begun_is_not_hopeless() -> None:
    begun = replace(HOPELESS.held, phase=Phase.RUNNING)

    assert told(replace(HOPELESS, master=MasterView(connected=True, stage=Stage.RUNNING), held=begun)) == []


def test_a_late_start_that_its_master_does_not_end_is_ended_for_it() -> None:
    assert end_of(decide(replace(GATHERING, seconds_in_run=OVER_TIME))).outcome.reason == Reason.UNSCHEDULABLE

    outcome = end_of(decide(replace(GATHERING, pods=(MASTER, *WORKERS), seconds_in_run=OVER_TIME))).outcome
    assert outcome.reason == Reason.STARTUP_TIMEOUT
    assert "the master does not end the run" in outcome.message


def test_a_late_start_whose_master_is_silent_is_ended_for_it() -> None:
    never = replace(GATHERING, master=MasterView(connected=False), seconds_heard=0.0, seconds_unheard=LATE)
    assert end_of(decide(never)).outcome.reason == Reason.UNSCHEDULABLE

    away = MasterView(connected=False, stage=Stage.GATHERING)
    lost = replace(GATHERING, master=away, seconds_heard=0.0, pods=(MASTER, *WORKERS), seconds_in_run=LATE + 10.0)
    assert not ends(replace(lost, seconds_unheard=THE_REST - 1)), "it may be ending the run"
    assert "the master is silent" in end_of(decide(replace(lost, seconds_unheard=THE_REST))).outcome.message


def test_a_start_takes_the_timeout_that_the_run_was_planned_with_whatever_the_spec_says_by_now() -> None:
    begun = project({}, replace(RUNNING, spec=replace(SPEC, startup_timeout_ns=60 * SECOND)), BEGUN, Moment(1, 1))
    silent = replace(GATHERING, held=read_held(begun), master=None)

    for spec in (SPEC, Rejected((Problem("spec", "wrong"),))):
        assert not ends(replace(silent, spec=spec, seconds_in_run=59.0))
        assert ends(replace(silent, spec=spec, seconds_in_run=60.0))


def test_a_start_whose_pods_are_not_all_made_is_the_masters_to_end_unless_it_would_begin_with_a_quorum() -> None:
    assert not ends(NOT_ALL_MADE)
    assert end_of(decide(replace(NOT_ALL_MADE, seconds_in_run=OVER_TIME))).outcome.reason == Reason.QUOTA_EXCEEDED

    assert ends(replace(NOT_ALL_MADE, spec=replace(SPEC, min_available=1)))


def test_an_image_whose_registry_is_away_for_a_moment_is_pulled_again_before_the_run_ends() -> None:
    async def story() -> None:
        operator = Operator()
        await operator.hear(operator.cluster.put("checkout"))
        for seconds, reason in ((0, "ErrImagePull"), (10, "ImagePullBackOff"), (20, "RegistryUnavailable"), (14, "")):
            operator.clock.advance(seconds * SECOND)
            state = {"waiting": {"reason": reason, "message": "no route to host"}} if reason else {"running": {}}
            operator.pod("checkout-w-1-0-1", containerStatuses=[{"name": "engine", "image": "r:1", "state": state}])
            await operator.look()
            assert (operator.status()["phase"], operator.status().get("reason")) == (
                "Provisioning",
                "ImagePull" if reason else None,
            )
        broken = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
        operator.pod("checkout-w-1-0-1", containerStatuses=[{"name": "engine", "image": "r:1", "state": broken}])
        await operator.look()
        operator.clock.advance(45 * SECOND)
        await operator.look()
        assert (operator.status()["verdict"], operator.status()["reason"]) == ("Error", "ImagePull")

    run(story())
