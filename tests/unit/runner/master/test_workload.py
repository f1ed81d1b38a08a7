"""What is wanted of a load takes effect in the order in which it was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadstone_core.load.change import Aim
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.register import Version
from loadstone_core.units import SECOND
from loadstone_protocol.messages import Granted, Inheritance
from loadstone_runner.master.measurement import Measurement
from loadstone_runner.master.member import Departure
from loadstone_runner.master.roster import Roster
from loadstone_runner.master.workload import Workload

LOAD = LoadProfile(Model.USERS, Profile((Segment(0, 30 * SECOND, 4, 4),), 30 * SECOND), None)
PLAN = RunPlan(
    run=RunIdentity(uid="u/1", loadtest="t", namespace="n", number=1, epoch=1),
    spec_digest="",
    workers=1,
    engines_per_worker=1,
    scenarios=(Scenario(name="default", load=LOAD, graceful_stop_ns=0, start_ns=0),),
    tolerance_ppm=0,
    target=None,
    percentiles=(),
    thresholds=(),
    warm_up_ns=0,
    startup_timeout_ns=SECOND,
    script=ScriptRef(digest=None, directory="/", entrypoint="t.py"),
)


def workload(plan: RunPlan = PLAN) -> Workload:
    roster = Roster(run_uid="u/1", epoch=1, expected=plan.workers)
    return Workload(plan, roster, Measurement(plan.scenarios))


def test_a_change_that_can_be_heard_sooner_does_not_begin_before_the_one_that_was_asked_first() -> None:
    # The disk was slow when the first was ordered, so everybody was told well ahead; for the second it was not.
    load = workload()
    load.want((Aim("default", 10, None),), is_paused=False)
    assert load.steer(5 * SECOND) is not None
    load.want((Aim("default", 10, None),), is_paused=True)
    assert load.steer(4 * SECOND) is not None

    (paused,) = load.course.scenarios
    assert (paused.start_ns, paused.load.profile.peak) == (5 * SECOND + 1, 0)

    load.want((Aim("default", 10, None),), is_paused=False)
    assert load.steer(9 * SECOND) is not None
    (resumed,) = load.course.scenarios
    assert (resumed.start_ns, resumed.end_ns) == (9 * SECOND, 34 * SECOND - 1)
    assert resumed.load.profile.peak == 10


def test_what_changes_nothing_delays_nothing() -> None:
    load = workload()
    load.want((Aim("default", 4, None),), is_paused=False)
    assert load.steer(8 * SECOND) is None
    load.want((Aim("default", 6, None),), is_paused=False)
    assert load.steer(2 * SECOND) is not None

    assert load.course.scenarios[0].start_ns == 2 * SECOND


@pytest.mark.promise("master-restart", "run-iterations")
@pytest.mark.parametrize("knows", [True, False], ids=["its agent knows", "its agent is a new one"])
def test_numbers_wait_for_the_words_of_workers_until_these_are_lost(*, knows: bool) -> None:
    load = workload(replace(PLAN, workers=3))
    roster = load._roster
    roster.await_all(0)
    load.grants.await_words()
    told = (Granted("feeder/rows", 0, ranges=1, numbers=5, end=5),)
    word = Inheritance(Version(1, 2) if knows else None, 0, told if knows else ())
    assert not load.learn_granted(0, 1, word)
    assert not load.forsake_gone()
    roster.lose(1, 1, Departure("Lost", ""))
    assert not load.forsake_gone()
    assert load.learn_granted(2, 1, word)
    assert not load.forsake_gone()
    assert load.grants.untold == {1}, "if it comes back, it is asked"


@pytest.mark.promise("master-restart", "run-iterations")
def test_what_an_attempt_holds_that_was_replaced_since_it_spoke_is_not_told_to_the_newer_one() -> None:
    iterations = LoadProfile(Model.ITERATIONS, LOAD.profile, 10)
    load = workload(replace(PLAN, scenarios=(replace(PLAN.scenarios[0], load=iterations),)))
    load._roster.await_all(0)
    load._roster.expect(0, 2)
    load.grants.await_words()
    told = (Granted("iterations/default", 0, ranges=1, numbers=6, end=6, latest=(range(6),)),)
    assert load.learn_granted(0, 1, Inheritance(Version(1, 2), 0, told))
    assert load.grants.of(0)[1] == ()
    assert load.grants.former("iterations/default") == {(0, 1): 6}
    assert load.grants.forsaken("iterations/default") == 4
