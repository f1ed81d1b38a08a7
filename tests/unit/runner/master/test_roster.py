from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.register import Held, Version
from loadstone_core.units import SECOND
from loadstone_protocol.messages import (
    EngineNews,
    EngineStage,
    Heartbeat,
    Hello,
    Peer,
    Refusal,
    RefusalCode,
    ScriptNews,
)
from loadstone_runner.master.member import Departure, Member, WorkerState
from loadstone_runner.master.roster import LEASE_NS, LEASE_SLACK_NS, SUSPECT_NS, Roster

DIGEST = "sha256:aa"
LOST_NS = LEASE_NS + LEASE_SLACK_NS
HELD = Held(Version(1, 2), "beef")


def hello(worker: int = 0, attempt: int = 1, boot: str = "b", **changes: Any) -> Hello:
    values: dict[str, Any] = {
        "peer": Peer("run", worker, attempt, boot, f"pod-{worker}"),
        "protocol_major": 1,
        "protocol_minor": 0,
        "script_digest": DIGEST,
        "engines": 1,
        "highest_epoch": 1,
    }
    return Hello(**{**values, **changes})


def engine(stage: EngineStage = EngineStage.READY, **changes: Any) -> EngineNews:
    values: dict[str, Any] = {
        "engine": 0,
        "start": 1,
        "stage": stage,
        "users": 3,
        "loop_lag_ns": 0,
        "schedule_slip_ns": 0,
        "grants": (),
        "over": frozenset(),
        "script": None,
        "started_at_ns": 0,
    }
    return EngineNews(**{**values, **changes})


def beat(number: int, *engines: EngineNews, **changes: Any) -> Heartbeat:
    values: dict[str, Any] = {
        "number": number,
        "sent_ns": 0,
        "applied": None,
        "applied_digest": "",
        "assignment": 0,
        "engines": engines,
        "cpu_permille": 0,
        "memory_bytes": 0,
        "memory_limit_bytes": 0,
        "round_trip_ns": 1,
        "conflict": None,
        "is_draining": False,
    }
    return Heartbeat(**{**values, **changes})


def roster(expected: int = 2) -> Roster:
    return Roster(run_uid="run", epoch=1, expected=expected)


def joined(who: Roster, worker: int = 0, now_ns: int = 0) -> Member:
    member = who.join(hello(worker), now_ns)
    assert isinstance(member, Member)
    return member


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (hello(peer=Peer("other", 0, 1, "b", "p")), RefusalCode.WRONG_RUN),
        (hello(protocol_major=2), RefusalCode.PROTOCOL),
        (hello(highest_epoch=2), RefusalCode.FENCED),
        (hello(worker=2), RefusalCode.UNEXPECTED),
    ],
)
def test_who_does_not_belong_to_the_run_is_refused_with_a_sentence(said: Hello, code: RefusalCode) -> None:
    refusal = roster().join(said, 0)

    assert isinstance(refusal, Refusal)
    assert refusal.code is code
    assert refusal.detail


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_the_newest_attempt_wins_and_only_it_is_known(attempts: list[int]) -> None:
    who, newest = roster(), 0
    for attempt in attempts:
        answer = who.join(hello(attempt=attempt), 0)
        assert isinstance(answer, Refusal) == (attempt < newest)
        newest = max(newest, attempt)

    assert [who.knows(hello(attempt=each).peer) for each in range(1, 6)] == [each == newest for each in range(1, 6)]


def started(at_ns: int, boot: str, attempt: int = 1, machine: str = "m") -> Hello:
    return hello(attempt=attempt, peer=Peer("run", 0, attempt, boot, "pod-0", at_ns, machine))


def test_late_words_of_a_killed_agent_do_not_take_the_place_of_the_one_that_was_started_after_it() -> None:
    who = roster()
    newer, older = started(20, "new"), started(10, "old")
    who.join(newer, 0)
    refusal = who.join(older, 1)

    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.FENCED
    assert who.knows(newer.peer)
    assert isinstance(who.join(newer, 2), Member), "the same start may come again"


@pytest.mark.parametrize(
    "other",
    [started(10, "rebooted", machine="after"), started(10, "unsaid", machine=""), started(10, "next", attempt=2)],
    ids=["another-boot-of-the-machine", "an-older-agent", "another-pod"],
)
def test_a_clock_that_says_nothing_of_the_order_keeps_nobody_out(other: Hello) -> None:
    who = roster()
    who.join(started(20, "first"), 0)

    assert isinstance(who.join(other, 1), Member)


def test_an_attempt_that_was_only_heard_of_leaves_no_clock_behind() -> None:
    who = roster()
    who.join(started(20, "first"), 0)
    who.expect(0, 2)

    assert isinstance(who.join(started(10, "second", attempt=2), 1), Member)


def test_a_worker_gets_ready_and_runs_as_its_engines_do() -> None:
    who = roster()
    member = joined(who)
    states = [member.state]
    assert who.hear(member, beat(1, engine(EngineStage.READY)), 0)
    states.append(member.state)
    assert states == [WorkerState.CONNECTED, WorkerState.READY]
    assert who.hear(member, beat(2, engine(EngineStage.RUNNING), engine(EngineStage.READY)), 0)
    assert (member.state, member.users, who.users()) == (WorkerState.RUNNING, 6, 6)
    assert who.missing() == (1,)
    assert who.living() == (0,)


def test_an_older_heartbeat_proves_life_and_changes_nothing() -> None:
    who = roster()
    member = joined(who)
    who.hear(member, beat(5, engine(EngineStage.READY)), 0)

    assert not who.hear(member, beat(4, engine(EngineStage.RUNNING)), 9)
    assert (member.state, member.heard_ns) == (WorkerState.READY, 9)


def test_a_new_process_of_the_same_attempt_counts_its_heartbeats_anew() -> None:
    who = roster()
    member = joined(who)
    who.hear(member, beat(50, engine()), 0)
    who.note_applied(member)
    who.join(hello(boot="b2"), 0)

    assert who.applied == set()
    assert who.hear(member, beat(1, engine(EngineStage.RUNNING)), 0)
    assert not who.knows(hello().peer)


@given(silent_ns=st.integers(0, 3 * LOST_NS))
def test_a_silent_worker_is_lost_after_its_lease_and_not_before(silent_ns: int) -> None:
    who = roster(1)
    member = joined(who, now_ns=100)
    lost = who.tick(100 + silent_ns)

    assert (lost == (member,)) == (silent_ns > LOST_NS)
    assert (member.state is WorkerState.SUSPECT) == (SUSPECT_NS < silent_ns <= LOST_NS)
    assert who.tick(100 + silent_ns) == ()


def test_a_suspect_that_is_heard_again_is_no_suspect_any_more() -> None:
    who = roster(1)
    member = joined(who)
    who.hear(member, beat(1, engine(EngineStage.RUNNING)), 0)
    who.tick(SUSPECT_NS + 1)
    states = [member.state]
    who.join(hello(), SUSPECT_NS + 2)
    assert [*states, member.state] == [WorkerState.SUSPECT, WorkerState.RUNNING]


def test_a_worker_that_never_came_is_not_lost_by_silence() -> None:
    who = roster()

    assert who.tick(10**15) == ()
    assert who.missing() == (0, 1)


def test_a_loss_is_news_once_and_only_of_the_attempt_that_counts() -> None:
    who = roster()
    joined(who)
    who.join(hello(attempt=2), 0)
    gone = Departure("Evicted", "node pressure", 137)

    assert not who.lose(0, 1, gone)
    assert not who.lose(9, 1, gone)
    assert who.lose(0, 2, gone)
    assert not who.lose(0, 2, replace(gone, reason="Deleted"))
    assert [(each.worker, each.departure) for each in who.lost()] == [(0, gone)]
    assert who.users() == 0


def test_a_lost_worker_whose_agent_lives_is_waited_for() -> None:
    who = roster(1)
    member = joined(who)
    who.lose(0, 1, Departure("EngineDied", "signal 9"), awaits_bye=True)
    assert not who.are_all_settled()
    assert not who.hear(member, beat(1, engine(EngineStage.RUNNING)), 5)
    who.end(member)

    assert who.are_all_settled()
    assert member.state is WorkerState.LOST


def test_a_lost_worker_that_falls_silent_is_waited_for_no_longer() -> None:
    who = roster(1)
    member = joined(who)
    who.lose(0, 1, Departure("EngineDied", "signal 9"), awaits_bye=True)
    who.tick(SUSPECT_NS + 1)
    assert member.state is WorkerState.LOST
    assert who.tick(LOST_NS + 1) == ()
    assert who.are_all_settled()
    assert who.tick(2 * LOST_NS) == ()


def test_a_worker_that_said_everything_has_ended_and_cannot_be_lost() -> None:
    who = roster(1)
    member = joined(who)
    who.end(member)

    assert member.state is WorkerState.ENDED
    assert not who.lose(0, 1, Departure("Deleted", ""))
    assert who.tick(2 * LOST_NS) == ()


def test_a_newer_attempt_of_a_lost_worker_begins_anew() -> None:
    who = roster(1)
    joined(who)
    who.lose(0, 1, Departure("Evicted", ""))
    member = who.join(hello(attempt=2), 0)

    assert isinstance(member, Member)
    assert (member.state, member.departure, who.lost()) == (WorkerState.CONNECTED, None, ())


def test_a_connection_that_ends_proves_nothing() -> None:
    who = roster(1)
    member = joined(who)
    who.disconnect(hello(boot="older").peer)
    assert member.is_connected
    who.disconnect(hello().peer)
    assert (member.is_connected, member.state) == (False, WorkerState.CONNECTED)


def test_a_configuration_is_applied_when_version_and_digest_are_the_same() -> None:
    who = roster()
    member = joined(who)
    assert not member.has_applied(HELD)
    who.hear(member, beat(1, applied=Version(1, 2), applied_digest="dead"), 0)
    assert not member.has_applied(HELD)
    who.hear(member, beat(2, applied=Version(1, 2), applied_digest="beef"), 0)
    assert member.has_applied(HELD)
    who.note_applied(member)
    who.forget_applied()
    assert who.applied == set()


@pytest.mark.parametrize(("applied", "is_foreign"), [((1, 2), False), ((1, 1), False), ((1, 3), True), ((2, 9), False)])
def test_a_later_version_of_this_epoch_than_was_sent_is_another_master_s(applied, is_foreign) -> None:
    who = roster()
    member = joined(who)
    assert member.foreign(HELD) is None
    who.hear(member, beat(1, applied=Version(*applied), applied_digest="beef"), 0)
    assert ("another master" in (member.foreign(HELD) or "")) is is_foreign


def test_other_script_files_and_a_refused_configuration_are_conflicts() -> None:
    who = roster()
    member = joined(who)
    assert member.conflict(DIGEST) is None
    assert "sha256:bb" in (member.conflict("sha256:bb") or "")
    who.hear(member, beat(1, conflict="digest 1 and 2"), 0)
    assert (member.conflict(DIGEST) or "").endswith("refused the configuration: digest 1 and 2")


def test_the_first_script_problem_is_told_with_its_traceback() -> None:
    who = roster()
    member = joined(who)
    assert member.script_problem() is None
    broken = engine(script=ScriptNews(is_ok=False, problem="no User class", traceback="line 1"))
    who.hear(member, beat(1, engine(script=ScriptNews(is_ok=True, problem="", traceback="")), broken), 0)
    news = member.script_problem()
    assert news is not None
    assert news.describe() == "no User class\nline 1"


def test_the_skew_is_between_the_first_and_the_last_start() -> None:
    who = roster()
    assert who.start_skew_ns() == 0
    for worker, at_ns in ((0, 5 * SECOND), (1, 5 * SECOND + 7)):
        member = joined(who, worker)
        who.hear(member, beat(1, engine(started_at_ns=at_ns), round_trip_ns=worker), 0)
        who.hear(member, beat(2, engine(started_at_ns=at_ns + 99)), 0)
    assert who.start_skew_ns() == 7
    assert who.round_trip_ns() == 1


def test_an_attempt_that_had_come_before_a_restart_is_waited_for_whoever_of_its_worker_was_lost_before_it() -> None:
    who = roster(2)
    for worker, attempt in ((0, 2), (1, 1)):
        who.expect(worker, attempt)
        who.lose(worker, 1, Departure("EngineDied", "it died"))
    assert [(each.attempt, each.state) for each in who.members] == [(2, WorkerState.EXPECTED), (1, WorkerState.LOST)]
    # What is kept of shares may be older than what is known.
    who.expect(0, 1)
    assert who.members[0].attempt == 2


def test_a_worker_that_ended_under_a_former_master_is_over() -> None:
    who = roster(1)
    who.restore(0, 4)
    assert who.are_all_settled()
    assert isinstance(who.join(hello(attempt=3), 0), Refusal)


def test_an_agent_of_another_run_or_of_no_worker_is_not_known() -> None:
    who = roster()
    joined(who)
    assert who.knows(hello().peer)
    assert not who.knows(Peer("other", 0, 1, "b", "pod-0"))
    assert not who.knows(hello(worker=2).peer)


def test_only_engines_that_can_do_load_now_are_able() -> None:
    who = roster(6)
    running, loading, draining, ended, silent = (joined(who, worker) for worker in range(5))
    for member in (running, silent):
        who.hear(member, beat(1, engine(EngineStage.RUNNING), engine(EngineStage.READY, engine=1)), 0)
    who.hear(loading, beat(1, engine(EngineStage.LOADING)), 0)
    who.hear(draining, beat(1, engine(EngineStage.RUNNING), is_draining=True), 0)
    who.hear(ended, beat(1, engine(EngineStage.ENDED)), 0)
    for member in (running, loading, draining, ended):
        member.heard_ns = SUSPECT_NS
    who.tick(SUSPECT_NS + 1)

    assert who.able() == {(0, 0): 1, (0, 1): 1}


def test_a_replaced_attempt_may_make_load_until_its_lease_is_over() -> None:
    who = roster()
    joined(who)
    who.join(hello(attempt=2), SECOND)

    assert who.take_expired(LOST_NS) == []
    assert who.take_expired(LOST_NS + 1) == [(0, 1)]
    assert who.take_expired(LOST_NS + 1) == []


def test_a_longer_lease_is_waited_for() -> None:
    who = Roster(run_uid="run", epoch=1, expected=1, lease_ns=60 * SECOND)
    joined(who)

    assert who.tick(65 * SECOND) == ()
    assert [each.worker for each in who.tick(65 * SECOND + 1)] == [0]


def test_a_worker_that_the_run_began_without_is_not_waited_for_and_may_come() -> None:
    who = roster(1)
    who.excuse(0)
    assert who.are_all_settled()

    joined(who)

    assert not who.are_all_settled()


def test_who_was_lost_and_has_not_come_again_is_missing_and_no_loss_of_a_load_that_began_without() -> None:
    who = roster(3)
    for worker in range(3):
        joined(who, worker)
    who.lose(0, 1, Departure("Deleted", ""))
    who.lose(1, 1, Departure("Deleted", ""))
    who.join(hello(0, attempt=2), 0)
    assert (who.missing(), [each.worker for each in who.lost()]) == ((1,), [1])

    who.excuse(1)
    assert who.lost() == ()


def test_nobody_is_over_whose_agent_has_more_to_say_though_the_load_began_without_it() -> None:
    who = roster(1)
    joined(who)
    who.lose(0, 1, Departure("EngineDied", "", 137), awaits_bye=True)
    who.excuse(0)
    assert not who.are_all_settled()

    who.end(who.members[0])
    assert who.are_all_settled()


def test_attempts_that_were_never_heard_hold_what_another_master_gave_them_for_a_lease() -> None:
    who = roster(1)
    who.join(hello(0, attempt=3), 7)

    assert who.take_expired(7 + LOST_NS) == []
    assert sorted(who.take_expired(8 + LOST_NS)) == [(0, 1), (0, 2)]
    assert who.take_expired(9 + LOST_NS) == []
