from __future__ import annotations

from dataclasses import replace

import pytest

from loadstone_core.plan.model import RunIdentity
from loadstone_core.stats.merge import Merge
from loadstone_protocol.messages import EngineNews, EngineStage, Heartbeat, LaneNews
from loadstone_runner.master.member import SAID_MAX, Departure, Member, WorkerState
from loadstone_runner.master.roster import Roster
from loadstone_runner.master.views import figures_of, waiting_for, worker_view


def roster_of(who: tuple[Member, ...], *, ready: set[int]) -> Roster:
    made = Roster(run_uid="u", epoch=1, expected=len(who))
    made.members, made.applied = who, ready
    return made


def members(*states: WorkerState) -> tuple[Member, ...]:
    return tuple(Member(worker, state=state) for worker, state in enumerate(states))


COME, NOT = WorkerState.CONNECTED, WorkerState.EXPECTED


@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        (members(COME, NOT, NOT), "workers 1, 2 of 3 to connect"),
        (members(*[NOT] * 12), "workers 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more of 12 to connect"),
    ],
)
def test_workers_that_have_not_come_are_named_first(who: tuple[Member, ...], sentence: str) -> None:
    assert waiting_for(roster_of(who, ready=set()), has_director=False, is_set_up=False) == sentence


@pytest.mark.promise("early-loss")
def test_workers_that_are_to_come_again_are_named_before_those_that_have_never_come() -> None:
    gone = replace(members(COME, WorkerState.LOST)[1], departure=Departure("Evicted", "node pressure"))
    who = (*members(NOT), gone)

    assert waiting_for(roster_of(who, ready=set()), has_director=True, is_set_up=True) == (
        "worker 1 of 2 to come again after a loss (node pressure)"
    )


def test_then_the_director_is_waited_for_and_then_the_engines() -> None:
    who = members(COME, COME)

    assert waiting_for(roster_of(who, ready=set()), has_director=False, is_set_up=False) == (
        "the director to import the script"
    )
    assert waiting_for(roster_of(who, ready=set()), has_director=True, is_set_up=False) == "the director to run setup"
    assert waiting_for(roster_of(who, ready={0}), has_director=True, is_set_up=True) == (
        "worker 1 of 2 to import the script and be ready"
    )
    assert waiting_for(roster_of(who, ready={0, 1}), has_director=True, is_set_up=True) == ""


def news(engine: int, *, lag_ns: int = 0, **lanes: int) -> EngineNews:
    """Return an engine with lanes, each with so many messages that wait, and the oldest as many nanoseconds old."""
    return EngineNews(
        engine=engine,
        start=1,
        stage=EngineStage.RUNNING,
        users=0,
        loop_lag_ns=lag_ns,
        schedule_slip_ns=0,
        grants=(),
        over=frozenset(),
        script=None,
        started_at_ns=0,
        lanes=tuple(
            LaneNews(name, depth, 1, depth, processed=depth, failed=0, rejected=0, duration_ns=2, longest_ns=depth)
            for name, depth in lanes.items()
        ),
    )


def member_with(*engines: EngineNews, worker: int = 0) -> Member:
    beat = Heartbeat(
        number=1,
        sent_ns=0,
        applied=None,
        applied_digest="",
        assignment=0,
        engines=engines,
        cpu_permille=0,
        memory_bytes=0,
        memory_limit_bytes=0,
        round_trip_ns=0,
        conflict=None,
        is_draining=False,
    )
    return Member(worker, state=WorkerState.RUNNING, beat=beat)


def test_what_is_told_of_a_worker_is_bounded_as_there_may_be_thousands() -> None:
    member = Member(0, state=WorkerState.LOST, departure=Departure("ScriptInvalid", "x" * 16_000))

    assert len(worker_view(member).message) == SAID_MAX


def test_a_worker_whose_engine_stands_still_is_shown_as_degraded_with_how_long() -> None:
    view = worker_view(member_with(news(0), news(1, lag_ns=12_300_000_000)))
    assert (view.state, view.reason, view.message) == ("running", "Degraded", "engine 1 stood still for 12.3 s")

    assert worker_view(member_with(news(0, lag_ns=900_000_000))).reason == ""
    assert worker_view(Member(0)).reason == ""


def test_the_lanes_of_all_engines_are_shown_together_and_the_director_s_apart() -> None:
    roster = Roster(run_uid="u/1", epoch=1, expected=2)
    roster.members = (member_with(news(0, a=3, b=1), news(1, a=4)), member_with(news(0, a=9), worker=1))
    run = RunIdentity(uid="u/1", loadtest="t", namespace="n", number=1, epoch=1)
    (own,) = news(0, c=5).lanes

    figures = figures_of(run, "running", "", roster=roster, merge=Merge(), director_lanes=(own,))

    assert figures.lanes["director"] == {"c": own}
    together = figures.lanes["engine"]
    assert set(together) == {"a", "b"}
    assert (together["a"].depth, together["a"].running, together["a"].processed) == (16, 3, 16)
    assert (together["a"].oldest_ns, together["a"].longest_ns, together["a"].duration_ns) == (9, 9, 6)
