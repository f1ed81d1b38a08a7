from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_core.units import SECOND
from loadstone_protocol.messages import EngineEnd
from loadstone_runner.master.measurement import Measurement

STREAM = StreamId(0, 1, 0, 1)


def alone(load: LoadProfile) -> list[Scenario]:
    return [Scenario(name="default", load=load, graceful_stop_ns=0)]


def users(count: int, seconds: int, model: Model = Model.USERS) -> list[Scenario]:
    return alone(LoadProfile(model, Profile((Segment(0, seconds * SECOND, count, count),), seconds * SECOND), None))


def state(sequence: int, second: int, requests: int, *, final: bool = False) -> StreamState:
    recorder = Recorder()
    for _ in range(requests):
        recorder.request(
            method="GET",
            name="/",
            latency_ns=5_000_000,
            service_ns=5_000_000,
            failed=False,
            unsent=False,
            ambiguous=False,
            interrupted=False,
            sent=1,
            received=1,
        )
    return StreamState(
        stream=STREAM,
        sequence=sequence,
        second=second,
        full=True,
        series=recorder.whole(),
        counters=Counters(
            started=requests,
            completed=requests,
            iterations_started=requests,
            iterations_completed=requests,
            scenarios=((requests, requests),),
        ),
        users=2,
        scenario_users=(2,),
        final=final,
    )


def end(sequence: int, *, is_clean: bool = True, counters: Counters | None = None) -> EngineEnd:
    return EngineEnd(
        stream=STREAM,
        is_clean=is_clean,
        counters=counters,
        exit_code=0,
        signal=0,
        tail="",
        is_out_of_memory=False,
        final_sequence=sequence,
    )


def test_a_second_of_the_future_is_taken_for_the_present_and_nothing_is_lost() -> None:
    measured = Measurement(users(2, 10))
    measured.apply(state(1, 10**9, 4), since_start_ns=2 * SECOND)
    rows = measured.close_seconds()

    assert [(row.second, row.requests) for row in rows if row.requests] == [(2, 4)]
    assert measured.merge.totals().requests == 4


def test_what_counters_know_beyond_the_last_state_is_unaccounted() -> None:
    measured = Measurement(users(2, 10))
    measured.apply(state(1, 0, 4), since_start_ns=SECOND)
    measured.end(
        end(1, is_clean=False, counters=Counters(started=9, completed=7, iterations_completed=8, scenarios=((8, 8),)))
    )
    totals = measured.merge.totals()

    assert (totals.requests, totals.started, totals.unaccounted, totals.unaccounted_at_least) == (7, 9, 3, False)
    assert measured.accounts[0].iterations.completed == 8


def test_a_lost_stream_without_counters_is_a_lower_bound() -> None:
    measured = Measurement(users(2, 10))
    measured.apply(state(1, 0, 4), since_start_ns=SECOND)
    measured.lose(STREAM)

    assert measured.merge.totals().unaccounted_at_least


def test_a_load_of_iterations_is_done_with_the_last_of_them() -> None:
    load = LoadProfile(Model.ITERATIONS, Profile((Segment(0, 2**63 - 1, 5, 5),), None), 6)
    measured = Measurement(alone(load))
    [account] = measured.accounts
    measured.apply(state(1, 0, 5), since_start_ns=SECOND)
    assert not account.is_done(10**15)
    assert account.is_done(0, abandoned=1)
    measured.apply(state(2, 0, 6), since_start_ns=SECOND)
    assert account.is_done(0)
    assert (account.achieved(SECOND), measured.progress(None, since_start_ns=1, users=2).percent) == (6, 100)


def test_a_rate_of_so_many_iterations_is_done_when_the_last_was_due() -> None:
    rate = LoadProfile(Model.RATE, Profile((Segment(0, 60 * SECOND, 10, 10),), 60 * SECOND), 21)
    [account] = Measurement(alone(rate)).accounts
    assert not account.is_done(2 * SECOND)
    assert account.is_done(2 * SECOND + 1)


def test_each_model_has_its_own_achieved_load() -> None:
    for model, achieved in ((Model.USERS, Fraction(2)), (Model.RATE, 4)):
        measured = Measurement(users(2, 10, model))
        measured.apply(state(1, 0, 4), since_start_ns=SECOND)
        assert measured.accounts[0].achieved(10 * SECOND) == achieved


def test_each_scenario_achieves_what_its_own_users_do() -> None:
    first, second = users(2, 10)[0], replace(users(3, 10, Model.RATE)[0], name="second")
    measured = Measurement([first, second])
    both = replace(
        state(1, 0, 9),
        counters=Counters(9, 9, 0, 0, 9, 9, scenarios=((4, 4), (5, 5))),
        users=3,
        scenario_users=(2, 1),
    )
    measured.apply(both, since_start_ns=SECOND)

    assert [account.achieved(10 * SECOND) for account in measured.accounts] == [2, 5]
    assert measured.accounts[0].user_seconds.peak == 2
    assert measured.progress(None, since_start_ns=5 * SECOND, users=3).iterations == 9


def test_without_a_known_end_the_run_is_as_far_as_its_scenarios_on_the_average() -> None:
    done = replace(users(1, 10)[0], is_over=True)
    waiting = replace(users(1, 10)[0], name="waiting", start_ns=None, start_after="other")
    begun = replace(users(1, 10)[0], name="begun", start_ns=5 * SECOND)
    measured = Measurement([done, waiting, begun])

    assert measured.progress(None, since_start_ns=10 * SECOND, users=1).percent == 50
    assert measured.progress(None, since_start_ns=5 * SECOND, users=1).percent == 33


def test_progress_tells_the_last_closed_second_and_keeps_it() -> None:
    measured = Measurement(users(2, 10))
    measured.apply(state(1, 0, 4), since_start_ns=SECOND)
    [row] = measured.close_seconds()
    shown = measured.progress(row, since_start_ns=SECOND, users=2)

    assert (shown.percent, shown.requests, shown.requests_per_second, shown.users) == (10, 4, 4, 2)
    assert abs(shown.p95_ns - 5_000_000) < 50_000
    assert measured.progress(None, since_start_ns=2 * SECOND, users=2).requests_per_second == 4
    assert measured.progress(None, since_start_ns=-SECOND, users=0).elapsed_ns == 0


def test_the_overall_progress_tells_the_most_users_and_average_rates() -> None:
    measured = Measurement(users(2, 10))
    for number, count in ((1, 4), (2, 8)):
        measured.apply(state(number, number - 1, count), since_start_ns=number * SECOND)
    measured.close_seconds()
    shown = measured.overall(2 * SECOND)

    assert (shown.requests, shown.requests_per_second, shown.failures_per_second) == (8, 4, 0)
    assert shown.users == max(row.users for row in measured.timeline.rows()) > 0
    assert Measurement(users(2, 10)).overall(0).requests_per_second == 0
