import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from loadstone_core.register import Held, Version
from loadstone_core.stats.stream import Counters, StreamId
from loadstone_protocol.messages import EngineStage, RefusalCode, RunOrder
from loadstone_runner.agent.clock import TRIPS_ENOUGH, RoundTrip
from loadstone_runner.agent.effects import (
    Act,
    Assignment,
    Common,
    Conclude,
    Configure,
    Deadline,
    EngineStatus,
    Finish,
    HangUp,
    Lease,
    Pings,
    ProcessEnd,
    SayBye,
    SayEnd,
)
from loadstone_runner.agent.session import Session

S = 1_000_000_000


def _common(revision=1, *, epoch=1, order=RunOrder.READY, start_at_ns=0, graceful_stop_ns=30 * S, is_kill=False):
    return Common(
        held=Held(Version(epoch, revision), "d"),
        is_intact=True,
        run_order=order,
        script_digest="own",
        start_at_ns=start_at_ns,
        stop_reason="",
        graceful_stop_ns=graceful_stop_ns,
        body=b"",
        is_kill=is_kill,
    )


def _session(engines=1):
    return Session(worker=0, attempt=1, engines=engines, epoch=1, script_digest="own", first_revision=0)


def _assigned(session):
    session.assign(Assignment(epoch=1, version=1, slot=0, slots=1, grants=()))


def _running(engines=1):
    """Return a session with a welcome, a launcher, engines that run, and a known clock."""
    session = _session(engines)
    session.meet_launcher(0)
    session.welcome(1, 30 * S)
    _assigned(session)
    session.pong(RoundTrip(0, 100, 0))
    session.offer(_common(order=RunOrder.RUNNING, start_at_ns=500), 0)
    for engine in range(engines):
        session.join(engine, 1)
        session.report(engine, 1, _status(EngineStage.RUNNING, 10))
    session.take()
    return session


def _status(stage, applied=0, *, is_starving=False, start_at_ns=0):
    return EngineStatus(
        stage=stage, users=1, applied_revision=applied, is_starving=is_starving, start_at_ns=start_at_ns
    )


def _of(effects, kind):
    return [effect for effect in effects if isinstance(effect, kind)]


def _end(session, now_ns, engine=0, *, is_final=True, sequence=3, code=0):
    """Let an engine send its last state, end, and be concluded."""
    session.hold(engine, 1, sequence=sequence, is_final=is_final, first_start_ns=0)
    session.part(engine, 1, now_ns)
    session.bury(engine, 1, ProcessEnd(exit_code=code), now_ns=now_ns)
    assert _of(session.take(), Conclude) == [Conclude(engine, 1)]
    session.conclude(engine, 1, Counters(started=5), now_ns=now_ns)


def test_a_welcome_begins_with_a_heartbeat_the_clock_and_everything():
    session = _session()
    session.welcome(1, 30 * S)

    assert session.take() == (Act.BEAT, Pings(5), Act.RETELL_STATES)


def test_a_master_of_a_lower_epoch_is_left():
    session = _session()
    session.offer(_common(epoch=4), 0)
    session.take()
    session.welcome(3, 30 * S)

    assert session.take() == (HangUp("its epoch 3 is over here"),)
    assert session.highest_epoch == 4


def _live_through(session, moments):
    """Tick ten times a second and beat each second; return in which moments the master was left."""
    left = []
    for moment in moments:
        if moment % S == 0:
            session.summary(moment)
        session.tick(moment)
        if _of(session.take(), HangUp):
            left.append(moment)
    return left


def test_a_master_that_acknowledges_nothing_is_left_for_half_of_the_lease():
    session = _session()
    session.welcome(1, 30 * S)

    assert _live_through(session, range(0, 15 * S + 1, S // 10)) == []
    assert _live_through(session, range(15 * S + S // 10, 16 * S, S // 10)) == [15 * S + S // 10]


def test_a_master_that_acknowledges_is_not_left():
    session = _session()
    session.welcome(1, 30 * S)
    for second in range(60):
        assert _live_through(session, range(second * S, (second + 1) * S, S // 10)) == []
        session.acknowledge(second + 1, 1, (second + 1) * S)


def test_a_master_that_is_not_there_is_not_left():
    session = _session()
    session.welcome(1, 30 * S)
    session.disconnect()

    assert _live_through(session, range(0, 60 * S, S // 10)) == []


def test_silence_begins_anew_with_each_master():
    session = _session()
    session.welcome(1, 30 * S)
    _live_through(session, range(0, 14 * S, S // 10))
    session.disconnect()
    session.welcome(1, 30 * S)

    assert _live_through(session, range(14 * S, 29 * S, S // 10)) == []


def test_a_welcome_of_a_higher_epoch_voids_the_clock():
    session = _session()
    session.pong(RoundTrip(0, 100, 0))
    session.join(0, 1)
    session.hold(0, 1, sequence=1, is_final=False, first_start_ns=50)
    assert session.summary(0).started_at_ns == {(0, 1): 150}
    session.welcome(2, 30 * S)

    assert session.summary(0).started_at_ns == {}
    session.pong(RoundTrip(0, 1_000, 0))
    assert session.summary(0).started_at_ns == {(0, 1): 1_050}


def test_a_new_connection_to_the_same_master_keeps_what_is_known_of_its_clock():
    session = _session()
    session.welcome(1, 30 * S)
    session.pong(RoundTrip(0, 100, 10))
    session.disconnect()
    session.welcome(1, 30 * S)
    # The way there has taken two seconds more, and half of that would be taken for the clocks.
    session.pong(RoundTrip(1 * S, 3 * S + 100, 3 * S))

    assert session.summary(3 * S).offset_ns == 95


def _only_slow(session, trip):
    """Let all round trips of a connection be slow ones, so that there is nothing better to wait for."""
    for _ in range(TRIPS_ENOUGH):
        session.pong(trip)


def test_a_start_is_not_fixed_by_a_round_trip_in_which_the_master_stood_still():
    session = _session()
    session.welcome(1, 30 * S)
    _assigned(session)
    session.join(0, 1)
    session.offer(_common(order=RunOrder.RUNNING, start_at_ns=9 * S), 0)
    session.pong(RoundTrip(0, 3 * S, 6 * S))
    assert not _of(session.take(), Configure)
    session.pong(RoundTrip(6 * S, 9 * S, 6 * S + 100))

    assert [each.start_at_ns for each in _of(session.take(), Configure)] == [6 * S + 50]
    assert session.summary(7 * S).start_off_by_ns == 50


def test_how_far_off_the_start_of_load_is_is_told_by_what_is_known_of_the_clock_now():
    session = _session()
    session.welcome(1, 30 * S)
    _assigned(session)
    session.join(0, 1)
    _only_slow(session, RoundTrip(0, 3 * S, 2 * S))
    assert session.summary(2 * S).start_off_by_ns == 0
    session.offer(_common(order=RunOrder.RUNNING, start_at_ns=9 * S), 0)
    assert [each.start_at_ns for each in _of(session.take(), Configure)] == [7 * S]
    assert session.summary(2 * S).start_off_by_ns == S
    # The way back had taken all of the time: engines keep their start, which is a second late.
    session.pong(RoundTrip(4 * S, 7 * S, 4 * S + 10))

    assert session.summary(4 * S).offset_ns == 3 * S - 5
    assert (session.summary(4 * S).round_trip_ns, session.summary(4 * S).start_off_by_ns) == (10, S - 5 + 5)


def test_an_agent_that_was_started_again_tells_the_start_that_its_engines_keep():
    session = _session()
    session.welcome(1, 30 * S)
    _assigned(session)
    session.join(0, 1)
    session.report(0, 1, _status(EngineStage.RUNNING, start_at_ns=6 * S))
    assert session.since_start_ns(10 * S) == -S
    session.offer(_common(order=RunOrder.RUNNING, start_at_ns=9 * S), 0)
    assert (session.since_start_ns(10 * S), session.summary(10 * S).start_off_by_ns) == (4 * S, 0)
    # The master stood still: by this the start would be two seconds later.
    _only_slow(session, RoundTrip(4 * S, 6 * S, 12 * S))
    assert session.summary(12 * S).start_off_by_ns == 5 * S + 4 * S
    session.pong(RoundTrip(12 * S, 15 * S + 5, 12 * S + 10))

    assert (session.since_start_ns(13 * S), session.summary(13 * S).start_off_by_ns) == (7 * S, 5)


def test_nothing_is_known_of_a_start_by_the_clock_of_a_master_before():
    session = _session()
    session.welcome(1, 30 * S)
    _assigned(session)
    session.join(0, 1)
    _only_slow(session, RoundTrip(0, 3 * S, 2 * S))
    session.offer(_common(order=RunOrder.RUNNING, start_at_ns=9 * S), 0)
    session.welcome(2, 30 * S)
    session.pong(RoundTrip(2 * S, 90 * S, 2 * S))

    assert (session.summary(2 * S).start_off_by_ns, session.since_start_ns(10 * S)) == (0, 3 * S)


def test_nobody_is_ready_whose_master_does_not_know_how_far_away_it_is():
    session = _session()
    session.welcome(1, 30 * S)
    _assigned(session)
    session.join(0, 1)
    session.offer(_common(), 0)
    session.report(0, 1, _status(EngineStage.READY, 10))
    session.take()
    assert session.summary(0).applied is None
    session.pong(RoundTrip(0, 100, 10))

    assert session.take() == (Act.BEAT,)
    assert (session.summary(0).applied, session.summary(0).round_trip_ns) == (Held(Version(1, 1), "d"), 10)


def test_the_moment_at_which_load_began_does_not_move_with_a_better_clock():
    session = _session()
    session.join(0, 1)
    session.hold(0, 1, sequence=1, is_final=False, first_start_ns=50)
    assert session.summary(0).started_at_ns == {}
    session.pong(RoundTrip(0, 100, 10))
    session.summary(0)
    session.pong(RoundTrip(20, 125, 20))

    assert session.summary(0).started_at_ns == {(0, 1): 145}
    assert session.summary(0).offset_ns == 105


def test_every_fifth_heartbeat_asks_for_the_time():
    session = _session()
    asked = []
    for _ in range(15):
        session.summary(0)
        asked.append(len(_of(session.take(), Pings)))

    assert [number for number, count in enumerate(asked, start=1) if count] == [5, 10, 15]


def test_the_launcher_is_lent_what_is_left_of_the_lease():
    session = _session()
    session.welcome(1, 30 * S)
    number = session.summary(10 * S).number
    session.take()
    session.acknowledge(number, 1, 12 * S)

    assert session.take() == (Lease(28.0),)


def test_an_acknowledgement_of_an_older_master_lends_nothing():
    session = _session()
    session.welcome(2, 30 * S)
    number = session.summary(0).number
    session.take()
    session.acknowledge(number, 1, 0)

    assert session.take() == ()


def test_a_launcher_that_connects_again_is_told_lease_deadline_and_exit_again():
    session = _running()
    session.acknowledge(session.summary(0).number, 1, 0)
    session.refuse(RefusalCode.FENCED, S)
    session.leave(S, is_run_over=False)
    session.take()
    session.miss_launcher(S)
    session.meet_launcher(2 * S)

    assert session.take() == (Lease(28.0), Deadline(1.0), Finish(143, is_durable=False))


def test_load_stops_when_the_lease_runs_out_and_only_once():
    session = _running()
    session.acknowledge(session.summary(0).number, 1, 0)
    session.tick(30 * S - 1)
    assert not _of(session.take(), Configure)
    session.tick(30 * S)
    effects = session.take()

    assert [(each.run_order, each.graceful_stop_ns) for each in _of(effects, Configure)] == [(RunOrder.STOPPED, 0)]
    assert _of(effects, Deadline) == [Deadline(2.0)]
    session.tick(31 * S)
    assert session.take() == ()


def test_a_lease_that_never_began_does_not_end():
    session = _running()
    session.tick(10**15)

    assert not _of(session.take(), Configure)


@pytest.mark.parametrize(("graceful", "grace", "kill"), [(30 * S, 10 * S, 15.0), (4 * S, 4 * S, 9.0), (0, 0, 2.0)])
def test_sigterm_gives_what_the_stop_table_says(graceful, grace, kill):
    session = _running()
    session.offer(_common(2, order=RunOrder.RUNNING, start_at_ns=500, graceful_stop_ns=graceful), 0)
    session.take()
    session.terminate(S)
    effects = session.take()

    assert [(each.run_order, each.graceful_stop_ns) for each in _of(effects, Configure)] == [(RunOrder.STOPPED, grace)]
    assert _of(effects, Deadline) == [Deadline(kill)]
    assert session.summary(S).is_draining
    session.terminate(2 * S)
    assert session.take() == ()


def test_engines_that_were_told_nothing_yet_are_killed_at_once():
    session = _session()
    session.meet_launcher(0)
    session.join(0, 1)
    session.take()
    session.terminate(0)

    assert _of(session.take(), Deadline) == [Deadline(0.0)]


def test_a_stop_of_the_master_is_backed_by_a_deadline_that_never_moves_back():
    session = _running()
    session.offer(_common(2, order=RunOrder.STOPPED, graceful_stop_ns=30 * S), 0)
    assert _of(session.take(), Deadline) == [Deadline(35.0)]
    session.offer(_common(3, order=RunOrder.STOPPED, graceful_stop_ns=60 * S), 0)
    assert _of(session.take(), Deadline) == []
    session.offer(_common(4, order=RunOrder.STOPPED, graceful_stop_ns=10 * S), 5 * S)
    assert _of(session.take(), Deadline) == [Deadline(15.0)]


def test_a_refusal_stops_everything_and_ends_when_the_engines_have():
    session = _running()
    session.refuse(RefusalCode.FENCED, S)
    assert session.is_refused
    session.take()
    session.tick(2 * S)
    assert session.finish is None
    _end(session, 3 * S)
    session.tick(3 * S)

    assert session.finish == Finish(143, is_durable=False)
    assert not _of(session.take(), SayBye)


def test_a_clean_end_is_said_once_everything_is_delivered():
    session = _running()
    _end(session, S)
    effects = session.take()
    (end,) = [effect.end for effect in _of(effects, SayEnd)]
    assert end.stream == StreamId(0, 1, 0, 1)
    assert (end.is_clean, end.final_sequence, end.counters) == (True, 3, Counters(started=5))
    assert not _of(effects, SayBye)

    session.deliver(0, 1, 2)
    assert session.take() == ()
    session.deliver(0, 1, 3)
    assert session.take() == (SayBye((end,), "ended"),)
    session.deliver(0, 1, 3)
    assert session.take() == ()
    session.leave(2 * S, is_run_over=True)
    assert session.take() == (Finish(0, is_durable=True),)


def test_a_new_connection_hears_all_ends_again_and_bye_after_its_own_acknowledgement():
    session = _running()
    _end(session, S)
    session.deliver(0, 1, 3)
    session.disconnect()
    session.take()
    session.welcome(1, 30 * S)
    effects = session.take()

    assert len(_of(effects, SayEnd)) == 1
    assert not _of(effects, SayBye)
    session.deliver(0, 1, 3)
    assert len(_of(session.take(), SayBye)) == 1


@pytest.mark.promise("logs-complete")
def test_bye_waits_until_the_master_holds_the_log_but_not_for_ever():
    session = _running()
    session.owe_logs(owes=True)
    _end(session, S)
    session.deliver(0, 1, 3)
    session.tick(2 * S)
    assert not _of(session.take(), SayBye)
    session.owe_logs(owes=False)
    assert len(_of(session.take(), SayBye)) == 1

    hopeless = _running()
    hopeless.owe_logs(owes=True)
    _end(hopeless, S)
    hopeless.deliver(0, 1, 3)
    hopeless.tick(8 * S)
    assert not _of(hopeless.take(), SayBye)
    hopeless.tick(9 * S)
    assert len(_of(hopeless.take(), SayBye)) == 1
    hopeless.tick(20 * S)
    hopeless.owe_logs(owes=False)
    assert not _of(hopeless.take(), SayBye)


def test_a_pod_that_is_being_deleted_has_less_time_for_its_log():
    session = _running()
    session.owe_logs(owes=True)
    session.terminate(0)
    _end(session, S)
    session.deliver(0, 1, 3)
    session.take()
    session.tick(6 * S)

    assert [bye.reason for bye in _of(session.take(), SayBye)] == ["terminated"]


def test_bye_waits_for_the_last_engine():
    session = _running(2)
    _end(session, S, 0)
    session.deliver(0, 1, 3)
    assert not _of(session.take(), SayBye)
    _end(session, 2 * S, 1)
    session.deliver(1, 1, 3)

    assert [len(bye.ends) for bye in _of(session.take(), SayBye)] == [2]


@pytest.mark.parametrize(
    ("is_final", "is_terminated", "reason"),
    [(True, False, "ended"), (False, False, "engine lost"), (False, True, "terminated"), (True, True, "terminated")],
)
def test_bye_says_why(is_final, is_terminated, reason):
    session = _running()
    if is_terminated:
        session.terminate(0)
    _end(session, S, is_final=is_final)
    session.deliver(0, 1, 3)

    assert [bye.reason for bye in _of(session.take(), SayBye)] == [reason]


def test_bye_says_that_the_lease_ran_out():
    session = _running()
    session.acknowledge(session.summary(0).number, 1, 0)
    session.tick(40 * S)
    session.take()
    _end(session, 41 * S)
    session.deliver(0, 1, 3)

    assert [bye.reason for bye in _of(session.take(), SayBye)] == ["the lease has run out"]


def test_an_end_waits_for_the_engine_s_own_last_words_but_not_for_ever():
    session = _running()
    session.bury(0, 1, ProcessEnd(exit_code=1), now_ns=0)
    assert not _of(session.take(), Conclude)
    session.tick(S - 1)
    assert not _of(session.take(), Conclude)
    session.tick(S)
    assert _of(session.take(), Conclude) == [Conclude(0, 1)]
    session.tick(2 * S)
    assert not _of(session.take(), Conclude)


def test_an_end_that_is_said_twice_is_one_end():
    session = _running()
    session.part(0, 1, 0)
    session.bury(0, 1, ProcessEnd(exit_code=7), now_ns=0)
    session.bury(0, 1, ProcessEnd(exit_code=8), now_ns=0)
    assert _of(session.take(), Conclude) == [Conclude(0, 1)]
    session.conclude(0, 1, None, now_ns=0)

    assert [effect.end.exit_code for effect in _of(session.take(), SayEnd)] == [7]


def test_a_lost_launcher_takes_engines_that_are_gone_too_after_two_seconds():
    session = _running(2)
    session.part(0, 1, 0)
    session.miss_launcher(0)
    session.tick(2 * S - 1)
    assert not _of(session.take(), Conclude)
    session.tick(2 * S)

    # The other engine still talks, so it lives.
    assert _of(session.take(), Conclude) == [Conclude(0, 1)]


def test_a_launcher_that_is_back_in_time_takes_nobody():
    session = _running()
    session.part(0, 1, 0)
    session.miss_launcher(0)
    session.meet_launcher(S)
    session.tick(10 * S)

    assert not _of(session.take(), Conclude)


def test_sigterm_proves_that_a_lost_launcher_is_dead():
    session = _running()
    session.part(0, 1, 0)
    session.miss_launcher(0)
    session.take()
    session.terminate(S // 10)
    assert _of(session.take(), Conclude) == [Conclude(0, 1)]
    session.conclude(0, 1, Counters(), now_ns=S)
    (bye,) = _of(session.take(), SayBye)

    assert (bye.reason, bye.ends[0].exit_code, bye.ends[0].is_clean) == ("terminated", -1, False)


def test_sigterm_to_an_agent_that_was_started_again_proves_that_the_launcher_of_the_one_before_is_dead():
    session = _session()
    assert session.know(0, 1)
    session.welcome(1, 30 * S)
    session.tick(60 * S)
    assert not _of(session.take(), Conclude)
    session.terminate(60 * S)

    assert _of(session.take(), Conclude) == [Conclude(0, 1)]
    session.conclude(0, 1, Counters(started=7, completed=6), now_ns=61 * S)
    (bye,) = _of(session.take(), SayBye)
    assert [end.counters for end in bye.ends] == [Counters(started=7, completed=6)]


def test_sigterm_before_any_engine_ends_at_once_without_a_master():
    session = _session()
    session.terminate(0)
    session.tick(0)

    assert session.finish == Finish(143, is_durable=False)


def test_sigterm_before_any_engine_says_bye_to_a_master():
    session = _session()
    session.welcome(1, 30 * S)
    session.take()
    session.terminate(0)

    assert _of(session.take(), SayBye) == [SayBye((), "terminated")]


def test_after_sigterm_an_answer_is_awaited_for_ten_seconds():
    session = _running()
    session.terminate(0)
    _end(session, 2 * S)
    session.tick(12 * S - 1)
    assert session.finish is None
    session.tick(12 * S)

    assert session.finish == Finish(143, is_durable=False)


def test_after_sigterm_it_is_over_in_twenty_five_seconds_whatever_engines_do():
    session = _running()
    session.terminate(0)
    session.tick(25 * S - 1)
    assert session.finish is None
    session.tick(25 * S)

    assert session.finish == Finish(143, is_durable=False)
    session.tick(26 * S)
    session.leave(26 * S, is_run_over=True)
    assert session.finish == Finish(143, is_durable=False)


def test_a_silent_master_is_awaited_for_two_minutes_after_the_end():
    session = _running()
    _end(session, S)
    session.tick(121 * S - 1)
    assert session.finish is None
    session.tick(121 * S)

    assert session.finish == Finish(143, is_durable=False)


def test_a_refused_agent_without_its_launcher_waits_for_nobody():
    session = _running()
    session.refuse(RefusalCode.RUN_OVER, 0)
    session.miss_launcher(0)
    session.tick(0)

    assert session.finish is not None


def test_leave_before_bye_ends_living_engines_and_is_not_durable():
    session = _running()
    session.leave(0, is_run_over=True)
    effects = session.take()

    assert _of(effects, Deadline) == [Deadline(2.0)]
    assert _of(effects, Finish) == [Finish(0, is_durable=False)]


def test_a_refused_agent_does_not_begin_again():
    session = _running()
    session.refuse(RefusalCode.FENCED, 0)
    session.take()
    session.welcome(1, 30 * S)

    assert session.take() == (HangUp("its epoch 1 is over here"),)


def test_engines_that_are_not_this_worker_s_are_not_taken_in():
    session = _session(2)

    assert not session.join(2, 1)
    assert session.join(1, 2)
    assert not session.join(1, 1)
    assert not session.know(5, 1)
    session.deliver(9, 1, 100)
    assert not _of(session.take(), SayBye)


def test_an_engine_that_connects_is_told_what_is_wanted_at_once():
    session = _session()
    _assigned(session)
    session.offer(_common(), 0)
    session.take()
    session.join(0, 1)

    assert [each.run_order for each in _of(session.take(), Configure)] == [RunOrder.READY]


def test_the_master_hears_at_once_what_changed_and_not_what_did_not():
    session = _running()
    session.report(0, 1, _status(EngineStage.RUNNING, 10))
    assert session.take() == ()
    session.report(0, 1, _status(EngineStage.STOPPING, 10))
    assert session.take() == (Act.BEAT,)
    session.hear_script()
    assert session.take() == (Act.BEAT,)


def test_an_assignment_that_is_known_is_confirmed():
    session = _running()
    _assigned(session)

    assert session.take() == (Act.BEAT,)
    assert session.summary(0).assignment == 1
    assert session.applied == Held(Version(1, 1), "d")


def test_a_running_configuration_goes_out_when_the_clock_is_known():
    session = _session()
    session.welcome(1, 30 * S)
    session.join(0, 1)
    _assigned(session)
    session.offer(_common(order=RunOrder.RUNNING, start_at_ns=500), 0)
    assert not _of(session.take(), Configure)
    session.pong(RoundTrip(0, 100, 0))

    assert [each.start_at_ns for each in _of(session.take(), Configure)] == [400]


def test_a_pong_that_is_none_teaches_nothing():
    session = _session()
    session.pong(RoundTrip(10, 100, 5))

    assert session.summary(0).offset_ns == 0


gaps = st.integers(0, 20 * S)
engines = st.integers(0, 1)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, an end is concluded once, bye said once a connection, and it ends once."""

    def __init__(self) -> None:
        super().__init__()
        self.session = _session(2)
        self.now = 0
        self.sequence = 0
        self.is_connected = False
        self.byes = 0
        self.finishes = []
        self.concluded = []

    @rule(gap=gaps)
    def tick(self, gap):
        self.now += gap
        self.session.tick(self.now)

    @rule()
    def welcome(self):
        self.session.welcome(1, 30 * S)
        self.is_connected = not self.session.is_refused
        self.byes = 0

    @rule()
    def disconnect(self):
        self.session.disconnect()
        self.is_connected = False

    @rule()
    def beat(self):
        self.session.acknowledge(self.session.summary(self.now).number, 1, self.now)

    @rule(revision=st.integers(0, 3), order=st.sampled_from(RunOrder))
    def offer(self, revision, order):
        self.session.offer(_common(revision, order=order), self.now)

    @rule(engine=engines)
    def deliver(self, engine):
        self.session.deliver(engine, 1, self.sequence)

    @rule(is_run_over=st.booleans())
    def leave(self, is_run_over):
        self.session.leave(self.now, is_run_over=is_run_over)

    @rule()
    def refuse(self):
        self.session.refuse(RefusalCode.FENCED, self.now)

    @rule(engine=engines)
    def join(self, engine):
        self.session.join(engine, 1)

    @rule(engine=engines)
    def part(self, engine):
        self.session.part(engine, 1, self.now)

    @rule(engine=engines, is_final=st.booleans())
    def hold(self, engine, is_final):
        self.sequence += 1
        self.session.hold(engine, 1, sequence=self.sequence, is_final=is_final, first_start_ns=0)

    @rule(engine=engines)
    def bury(self, engine):
        self.session.bury(engine, 1, ProcessEnd(), now_ns=self.now)

    @rule()
    def meet_launcher(self):
        self.session.meet_launcher(self.now)

    @rule()
    def miss_launcher(self):
        self.session.miss_launcher(self.now)

    @rule()
    def terminate(self):
        self.session.terminate(self.now)

    @invariant()
    def laws_hold(self):
        while effects := self.session.take():
            for effect in effects:
                self._check(effect)
        assert all(finish == self.finishes[0] for finish in self.finishes)
        assert self.byes <= 1

    def _check(self, effect):
        match effect:
            case Conclude():
                assert effect not in self.concluded
                self.concluded.append(effect)
                self.session.conclude(effect.engine, effect.start, None, now_ns=self.now)
            case SayBye():
                assert self.is_connected
                self.byes += 1
                assert [Conclude(end.stream.engine, end.stream.start) for end in effect.ends] == sorted(self.concluded)
            case Finish():
                self.finishes.append(effect)
            case Deadline() | Lease():
                assert effect.seconds >= 0


TestAnyOrder = AnyOrder.TestCase


def test_an_engine_whose_users_wait_for_numbers_is_spoken_for_at_once():
    session = _running()
    session.report(0, 1, _status(EngineStage.RUNNING))
    session.take()

    session.report(0, 1, _status(EngineStage.RUNNING))
    assert Act.BEAT not in session.take()
    session.report(0, 1, _status(EngineStage.RUNNING, is_starving=True))
    assert Act.BEAT in session.take()


def test_a_kill_is_ordered_at_once_and_before_the_engines_hear_of_a_stop():
    session = _running()
    session.offer(_common(2, order=RunOrder.STOPPED, graceful_stop_ns=0, is_kill=True), 7 * S)

    effects = [effect for effect in session.take() if isinstance(effect, Deadline | Configure)]
    assert effects[0] == Deadline(0.0)
    assert (effects[1].run_order, effects[1].graceful_stop_ns) == (RunOrder.STOPPED, 0)


def test_a_kill_comes_before_an_earlier_stops_time_is_over_and_a_termination_lengthens_nothing():
    session = _running()
    session.offer(_common(2, order=RunOrder.STOPPED), 7 * S)
    assert _of(session.take(), Deadline) == [Deadline(35.0)]
    session.offer(_common(3, order=RunOrder.STOPPED, graceful_stop_ns=0, is_kill=True), 8 * S)
    assert _of(session.take(), Deadline) == [Deadline(0.0)]

    session.terminate(9 * S)
    assert _of(session.take(), Deadline) == []
    # A launcher that comes back is told, too.
    session.meet_launcher(9 * S)
    assert _of(session.take(), Deadline) == [Deadline(0.0)]


def test_a_kill_needs_no_assignment_and_no_clock():
    session = _session()
    session.welcome(1, 30 * S)
    session.take()
    session.offer(_common(order=RunOrder.STOPPED, graceful_stop_ns=0, is_kill=True), 7 * S)

    assert _of(session.take(), Deadline) == [Deadline(0.0)]
