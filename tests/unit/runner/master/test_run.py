from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_protocol.messages import RunOrder
from loadstone_runner.master import run
from loadstone_runner.master.run import (
    Applied,
    AskSetup,
    AskTeardown,
    Broke,
    Conclude,
    Configure,
    KillAsked,
    LoadDone,
    Overdue,
    RunState,
    ScriptImported,
    SetupDone,
    Stage,
    StartReached,
    StopAsked,
    TeardownDone,
    ThresholdBroke,
    TooManyLost,
    WorkersOver,
    step,
)

GATHERING = RunState()
SET_UP = RunState(is_set_up=True, order=RunOrder.READY)
ARMED = replace(SET_UP, stage=Stage.ARMED, order=RunOrder.RUNNING)
RUNNING = replace(ARMED, stage=Stage.RUNNING_LOAD)
STOPPING = replace(ARMED, stage=Stage.STOPPING_LOAD, order=RunOrder.STOPPED)
FINISHED = RunState(stage=Stage.FINISHED)
BROKE = Broke("ScriptInvalid", "line 3")

EVENTS: list[run.Event] = [
    ScriptImported(),
    SetupDone(),
    Applied(),
    StartReached(),
    LoadDone(),
    StopAsked("Stopped", is_immediate=False),
    StopAsked("Suspended", is_immediate=True),
    KillAsked(),
    ThresholdBroke("fast"),
    BROKE,
    TooManyLost(),
    WorkersOver(),
    TeardownDone(),
    Overdue(),
]


def play(*events: run.Event, state: RunState = GATHERING) -> tuple[RunState, list[run.Effect]]:
    effects: list[run.Effect] = []
    for event in events:
        state, more = step(state, event)
        effects += more
    return state, effects


def test_a_run_goes_its_whole_way() -> None:
    way = (ScriptImported(), SetupDone(), Applied(), StartReached(), LoadDone(), WorkersOver(), TeardownDone())
    state, effects = play(*way)

    assert state.stage is Stage.FINISHED
    assert effects == [
        AskSetup(),
        Configure(RunOrder.READY),
        Configure(RunOrder.RUNNING),
        Configure(RunOrder.STOPPED, "the load is done"),
        AskTeardown(),
        Conclude(),
    ]


@given(st.lists(st.sampled_from(EVENTS), max_size=25))
def test_a_run_never_goes_back_and_concludes_at_most_once(events: list[run.Event]) -> None:
    order, state = list(Stage), GATHERING
    effects: list[run.Effect] = []
    for event in events:
        before = state
        state, more = step(state, event)
        effects += more
        assert order.index(state.stage) >= order.index(before.stage)

    assert effects.count(Conclude()) == (state.stage is Stage.FINISHED)
    assert effects.count(AskTeardown()) <= 1
    orders = [each.order for each in effects if isinstance(each, Configure)]
    assert orders == sorted(orders, key=list(RunOrder).index)


@given(st.lists(st.sampled_from(EVENTS), max_size=25))
def test_whatever_happened_a_stop_with_everything_over_finishes(events: list[run.Event]) -> None:
    state, _ = play(*events, BROKE, WorkersOver(), TeardownDone(), Overdue())

    assert state.stage is Stage.FINISHED


def test_nothing_starts_before_setup_has_run() -> None:
    assert play(Applied()) == (GATHERING, [])
    assert play(ScriptImported(), state=SET_UP) == (SET_UP, [])
    assert play(SetupDone(), state=SET_UP) == (SET_UP, [])


@pytest.mark.parametrize("event", [BROKE, StopAsked("Stopped", is_immediate=False), TooManyLost()])
def test_what_ends_a_run_before_its_setup_concludes_at_once(event: run.Event) -> None:
    state, effects = play(event)

    assert state.stage is Stage.FINISHED
    assert [type(effect) for effect in effects] == [Configure, Conclude]


def test_what_ends_a_run_after_its_setup_is_torn_down_first() -> None:
    state, effects = play(BROKE, state=SET_UP)
    assert state.stage is Stage.STOPPING_LOAD
    assert effects == [Configure(RunOrder.STOPPED, "ScriptInvalid", is_immediate=True), AskTeardown()]

    state, effects = play(WorkersOver(), TeardownDone(), state=state)
    assert (state.stage, effects) == (Stage.FINISHED, [Conclude()])
    assert state.broke == (BROKE,)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (LoadDone(), "the load is done"),
        (ThresholdBroke("fast"), "threshold fast"),
        (TooManyLost(), "workers lost"),
        (StopAsked("Suspended", is_immediate=False), "Suspended"),
        (BROKE, "ScriptInvalid"),
    ],
)
def test_a_running_load_is_stopped_with_time_to_drain(event: run.Event, words: str) -> None:
    state, effects = play(event, state=RUNNING)

    assert state.stage is Stage.STOPPING_LOAD
    assert effects == [Configure(RunOrder.STOPPED, words, is_immediate=False)]


def test_a_second_stop_is_news_only_if_it_is_immediate() -> None:
    once = step(RUNNING, StopAsked("Stopped", is_immediate=False))[0]
    assert step(once, StopAsked("Replaced", is_immediate=False, message="later")) == (once, ())

    twice, effects = step(once, StopAsked("Suspended", is_immediate=True))
    assert effects == (Configure(RunOrder.STOPPED, "Suspended", is_immediate=True),)
    assert twice.stop == "Stopped"


def test_workers_that_are_all_over_by_themselves_end_the_load() -> None:
    for state in (ARMED, RUNNING):
        ended, effects = step(state, WorkersOver())
        assert ended.stage is Stage.STOPPING_LOAD
        assert effects == (Configure(RunOrder.STOPPED, "the load is done"), AskTeardown())


def test_time_that_is_over_asks_for_teardown_and_then_concludes() -> None:
    state, effects = play(Overdue(), state=STOPPING)
    assert (state.stage, effects) == (Stage.STOPPING_LOAD, [AskTeardown()])
    state, effects = play(Overdue(), state=state)
    assert (state.stage, effects) == (Stage.FINISHED, [Conclude()])


def test_a_run_without_setup_has_no_teardown() -> None:
    state, effects = play(BROKE, WorkersOver(), state=RunState(stage=Stage.RUNNING_LOAD, order=RunOrder.RUNNING))

    assert state.stage is Stage.FINISHED
    assert effects == [Configure(RunOrder.STOPPED, "ScriptInvalid"), Conclude()]


@pytest.mark.parametrize("event", EVENTS)
def test_a_finished_run_stays_as_it_is(event: run.Event) -> None:
    assert step(FINISHED, event) == (FINISHED, ())


def test_who_stops_the_run_first_is_quoted() -> None:
    first = StopAsked("Stopped", is_immediate=False, message="enough")

    state, _ = play(first, StopAsked("Suspended", is_immediate=True, message="late"), state=RUNNING)

    assert (state.stop, state.stop_message, state.is_immediate) == ("Stopped", "enough", True)


KILL = Configure(RunOrder.STOPPED, "Killed", is_immediate=True)


@pytest.mark.parametrize("state", [ARMED, RUNNING, STOPPING, replace(STOPPING, stop="Stopped", stop_message="enough")])
def test_a_load_that_is_killed_waits_for_what_its_workers_say_and_tears_nothing_down(state: RunState) -> None:
    killed, effects = play(KillAsked(), state=state)
    assert (killed.stage, effects, KILL.is_kill) == (Stage.STOPPING_LOAD, [KILL], True)
    # It names what has become of the run, whoever stopped it before.
    assert (killed.stop, killed.stop_message, killed.is_killed) == ("Killed", "", True)

    for end in (WorkersOver(), Overdue()):
        over, effects = play(end, state=killed)
        assert (over.stage, effects) == (Stage.FINISHED, [Conclude()])


@pytest.mark.parametrize("state", [GATHERING, SET_UP, replace(STOPPING, is_torn_down=True)])
def test_a_run_that_is_killed_before_its_load_or_behind_it_is_over_at_once(state: RunState) -> None:
    killed, effects = play(KillAsked(), state=state)

    assert (killed.stage, killed.stop, effects) == (Stage.FINISHED, "Killed", [KILL, Conclude()])


@given(st.lists(st.sampled_from(EVENTS), max_size=25), st.lists(st.sampled_from(EVENTS), max_size=25))
def test_whatever_happens_behind_a_kill_nobody_is_asked_for_anything(
    before: list[run.Event], after: list[run.Event]
) -> None:
    state, _ = play(*before)
    killed, _ = play(KillAsked(), state=state)
    later, effects = play(*after, state=killed)

    assert killed.is_killed == (state.is_killed or state.stage is not Stage.FINISHED)
    if killed.is_killed:
        assert set(effects) <= {Conclude()}
        assert replace(later, stage=killed.stage) == killed


@pytest.mark.promise("master-restart")
@pytest.mark.parametrize("stage", list(Stage))
def test_a_state_that_was_kept_is_the_same_again(stage: Stage) -> None:
    state = replace(STOPPING, stage=stage, stop="Stopped", broke=(BROKE,), is_immediate=True)
    assert run.recall(json.loads(json.dumps(run.remember(state)))) == state
    assert run.recall(json.loads(json.dumps(run.remember(GATHERING)))) == GATHERING
