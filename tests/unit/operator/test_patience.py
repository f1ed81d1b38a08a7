"""A master that is heard keeps its own time; one that is not has all the time that it may still need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.unit.operator.runs import RUN, RUNNING, SPEC, end_of

from loadstone_core.errors import Problem
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.units import SECOND
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import Begin, DeletePods, End
from loadstone_operator.decision import decide
from loadstone_operator.observation import Cause, MasterView, Observation, Rejected, Stage
from loadstone_operator.status.held import read_held
from loadstone_operator.status.projection import Moment, project

if TYPE_CHECKING:
    from loadstone_operator.observation import SpecView

# A run that is to stop, was planned with a gracefulStop of 5 m, and says so or cannot be heard.
TO_STOP = replace(
    RUNNING,
    held=replace(RUN, phase=Phase.RUNNING, graceful_stop_ns=300 * SECOND),
    test=replace(RUNNING.test, stop_run=1),
    seconds_stopping=3_600.0,
    seconds_heard=3_600.0,
)
BEGIN = Begin(1, Cause.CREATED, Phase.RUNNING)
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
