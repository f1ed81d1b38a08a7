"""Sentences beside the figures of a load: what they do not say by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.stats.stream import ErrorCount
from loadstone_core.units import SECOND
from loadstone_protocol.messages import EngineNews, EngineStage, Heartbeat
from loadstone_runner.master.member import Member
from loadstone_runner.master.remarks import (
    CLOSED,
    UNUSED_SHAPE,
    failed_handlers,
    handler_errors,
    remarks_on,
    slow_workers,
)

USERS = LoadProfile(Model.USERS, Profile((Segment(0, SECOND, 2, 2),), SECOND), None)
RATE = replace(USERS, model=Model.RATE)
SHAPED = replace(USERS, is_shaped=True, max_users=8)


def plan_of(*loads: LoadProfile) -> RunPlan:
    return RunPlan(
        run=RunIdentity(uid="u/1", loadtest="t", namespace="n", number=1, epoch=1),
        spec_digest="",
        workers=1,
        engines_per_worker=1,
        scenarios=tuple(Scenario(name=f"s{place}", load=load, graceful_stop_ns=0) for place, load in enumerate(loads)),
        tolerance_ppm=0,
        target=None,
        percentiles=(),
        thresholds=(),
        warm_up_ns=0,
        startup_timeout_ns=SECOND,
        script=ScriptRef(digest=None, directory="/", entrypoint="t.py"),
    )


@pytest.mark.parametrize(
    ("loads", "has_shape", "asked", "remarks"),
    [
        ((RATE,), False, 0, ()),
        ((USERS,), False, 0, (CLOSED,)),
        ((RATE, USERS, USERS), False, 0, (f"in s1, s2 {CLOSED}",)),
        ((RATE,), True, 0, (UNUSED_SHAPE,)),
        ((SHAPED,), True, 8, (CLOSED,)),
        ((SHAPED,), True, 9, (CLOSED, "the script's shape asked for 9 users, and load.shape.maxUsers allows 8")),
    ],
)
def test_a_load_is_said_what_its_figures_leave_out(
    loads: tuple[LoadProfile, ...], *, has_shape: bool, asked: int, remarks: tuple[str, ...]
) -> None:
    assert remarks_on(plan_of(*loads), has_shape=has_shape, shape_asked=asked) == remarks


def test_feeders_beyond_what_a_run_may_have_are_told() -> None:
    (said,) = remarks_on(plan_of(RATE), has_shape=False, shape_asked=0, has_left_out=True)
    assert said.startswith("there are more than 16384 feeders")


def member(worker: int, *flavours: str) -> Member:
    engines = tuple(
        EngineNews(
            engine=place,
            start=1,
            stage=EngineStage.RUNNING,
            users=0,
            loop_lag_ns=0,
            schedule_slip_ns=0,
            grants=(),
            over=frozenset(),
            script=None,
            started_at_ns=0,
            flavour=flavour,
        )
        for place, flavour in enumerate(flavours)
    )
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
    return Member(worker, beat=beat)


def test_workers_without_the_compiled_request_path_are_named() -> None:
    assert slow_workers([member(0, "compiled"), Member(1)]) == ()

    [cause] = slow_workers([member(0, "compiled"), member(1, "compiled", "pure"), member(2, "pure")])
    assert str(cause).startswith("WorkerDegraded: the request path of workers 1, 2 is pure Python")


def test_errors_of_listeners_are_a_finding_and_others_are_none() -> None:
    errors = [
        ErrorCount("timeout", "m", "front", 900),
        ErrorCount("listener", "ValueError: no", "events.request: note", 2),
        ErrorCount("listener", "took longer than 5 s", "events.request: slow", 7),
    ]

    assert handler_errors(errors[:1], "engines") == ()
    [cause] = handler_errors(errors, "engines")
    assert str(cause) == (
        "HandlerErrors: 9 errors of listeners in engines, mostly events.request: slow: took longer than 5 s"
    )


def test_handlers_of_messages_are_findings_of_their_own_and_an_error_by_policy() -> None:
    errors = [
        ErrorCount("handler", "ValueError: no", "rotate", 3),
        ErrorCount("handler", "KeyError: 'a'", "collect", 1),
        ErrorCount("slow handler", "took longer than 5 s", "collect", 2),
    ]

    assert [str(each) for each in handler_errors(errors, "the director")] == [
        "HandlerErrors: 4 errors of message handlers in the director, mostly rotate: ValueError: no",
        "HandlerErrors: 2 message handlers that were slow in the director, mostly collect: took longer than 5 s",
    ]
    assert failed_handlers(errors[2:]) == ()
    [cause] = failed_handlers(errors)
    assert str(cause).startswith("HandlerFailed: 4 errors of message handlers, mostly rotate: ValueError: no; ")
