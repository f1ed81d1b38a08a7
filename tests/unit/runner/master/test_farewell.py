from __future__ import annotations

from dataclasses import replace

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_core.units import SECOND
from loadstone_protocol.messages import Bye, EngineEnd
from loadstone_runner.master.farewell import Farewells, departure_of
from loadstone_runner.master.measurement import Measurement

STREAM = StreamId(2, 1, 0, 1)
END = EngineEnd(
    stream=STREAM,
    is_clean=True,
    counters=Counters(started=1, completed=1),
    exit_code=0,
    signal=0,
    tail="",
    is_out_of_memory=False,
    final_sequence=1,
)
FINAL = StreamState(STREAM, 1, 0, full=True, counters=Counters(started=1, completed=1), final=True)


def farewells() -> tuple[Farewells, Measurement]:
    load = LoadProfile(Model.USERS, Profile((Segment(0, SECOND, 1, 1),), SECOND), None)
    measurement = Measurement([Scenario(name="default", load=load, graceful_stop_ns=0)])
    return Farewells(measurement, engines=2), measurement


def test_a_worker_is_done_with_its_bye_and_its_last_state_in_any_order() -> None:
    for is_bye_first in (True, False):
        held, measurement = farewells()
        if is_bye_first:
            held.hear_bye(2, 1, Bye((END,), ""))
            assert held.take_complete(2, 1) is None
        measurement.apply(FINAL, since_start_ns=SECOND)
        held.see(FINAL)
        held.hear_bye(2, 1, Bye((END,), ""))
        assert held.take_complete(2, 1) == frozenset({STREAM})
        assert held.take_complete(2, 1) is None
        assert not measurement.merge.totals().unaccounted_at_least


def test_a_worker_is_done_once_each_engine_that_ended_clean_has_said_its_last() -> None:
    held, _ = farewells()
    died = replace(END, stream=replace(STREAM, engine=1), is_clean=False, final_sequence=9)
    held.hear_bye(2, 1, Bye((replace(END, final_sequence=2), died), ""))
    for state in (replace(FINAL, final=False), FINAL, replace(FINAL, sequence=2, final=False)):
        held.see(state)
        assert held.take_complete(2, 1) is None
    held.see(replace(FINAL, sequence=2))

    assert held.take_complete(2, 1) == frozenset({STREAM, died.stream})


def test_what_an_engine_of_a_lost_worker_did_that_never_reported_is_unknown() -> None:
    held, measurement = farewells()
    # The other one had been counted to the end.
    held.end_engine(replace(END, is_clean=False, signal=9))
    assert not measurement.merge.totals().unaccounted_at_least
    held.lose(2, 1, has_begun=True)
    assert measurement.merge.totals().unaccounted_at_least


def test_what_was_unknown_is_so_in_a_run_that_ends_before_its_load() -> None:
    held, measurement = farewells()
    held.lose(3, 1, has_begun=True)
    held.lose(3, 1, has_begun=False)
    assert measurement.merge.totals().unaccounted_at_least


def test_what_only_a_master_before_can_have_heard_is_unknown() -> None:
    for attempts, met, is_unknown in (({}, [], True), ({}, [1], False), ({2: 2}, [1], True), ({2: 2}, [1, 2], False)):
        held, measurement = farewells()
        held.doubt(3, attempts)
        for worker, attempt in ((0, 1), (1, 1), *((2, each) for each in met)):
            held.meet(worker, attempt)
        held.lose_unknown()
        assert measurement.merge.totals().unaccounted_at_least == is_unknown


def test_a_worker_that_only_a_master_before_has_heard_is_lost_with_what_it_did_though_no_load_had_begun_here() -> None:
    held, measurement = farewells()
    held.doubt(4, {})
    held.lose(3, 0, has_begun=False)
    assert measurement.merge.totals().unaccounted_at_least


def test_a_stream_that_a_bye_does_not_name_is_lost() -> None:
    held, measurement = farewells()
    other = replace(FINAL, stream=replace(STREAM, start=2), final=False)
    for each in (FINAL, other):
        measurement.apply(each, since_start_ns=SECOND)
        held.see(each)
    held.hear_bye(2, 1, Bye((END,), ""))

    assert held.take_complete(2, 1) == frozenset({STREAM, other.stream})
    assert measurement.merge.totals().unaccounted_at_least


def test_a_worker_lost_before_its_first_report_is_a_lower_bound_only_if_load_had_begun() -> None:
    for has_begun in (True, False):
        held, measurement = farewells()
        held.lose(3, 1, has_begun=has_begun)
        assert measurement.merge.totals().unaccounted_at_least == has_begun


def test_of_an_engine_that_died_before_the_load_nothing_is_missing_though_nobody_could_read_its_counters() -> None:
    died = replace(END, is_clean=False, counters=None, exit_code=-1)
    idle = replace(FINAL, stream=replace(STREAM, engine=1), counters=Counters(), final=False)
    for has_begun in (True, False):
        for is_said_twice in (True, False):
            held, measurement = farewells()
            assert held.end_engine(died, has_begun=has_begun) is not None
            assert measurement.merge.totals().unaccounted_at_least == has_begun
            held.see(idle)
            if is_said_twice:
                held.hear_bye(2, 1, Bye((died,), ""))
                assert held.take_complete(2, 1, has_begun=has_begun) == frozenset({STREAM, idle.stream})
            else:
                held.lose(2, 1, has_begun=has_begun)
            assert measurement.merge.totals().unaccounted_at_least == has_begun


def test_why_an_engine_died_is_told_with_its_last_line() -> None:
    held, _ = farewells()
    assert held.end_engine(END) is None
    killed = replace(END, is_clean=False, signal=9, tail="x\nout of luck\n", is_out_of_memory=True)
    departure = held.end_engine(killed)

    assert departure is not None
    assert (departure.reason, departure.exit_code) == ("OOMKilled", 137)
    assert departure.message == "engine 0 of worker 2 died with signal 9: out of luck"
    assert departure_of(replace(killed, signal=0, exit_code=3, is_out_of_memory=False, tail="")).reason == "EngineDied"
