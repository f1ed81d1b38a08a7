from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.grant import Grant
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.histogram import LARGEST_INDEX
from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.series import KEYS_CAP_BYTES, SERIES_CAP, Series
from loadstone_core.stats.stream import Counters, ErrorCount, SeriesState, StreamId, StreamState
from loadstone_core.stats.timeline import Row
from loadstone_core.stats.windows import SeriesRow
from loadstone_protocol import allotment, codec
from loadstone_protocol.channel import MESSAGE_MAX_BYTES
from loadstone_protocol.codec import WireError
from loadstone_protocol.control import row_message
from loadstone_protocol.framing import FRAME_MAX_BYTES
from loadstone_protocol.v1 import engine_pb2, statistics_pb2

STREAM = StreamId(3, 1, 0, 2)
names = st.text(min_size=1, max_size=20)
values = st.integers(min_value=0, max_value=2**40)


@st.composite
def series(draw: st.DrawFn) -> Series:
    labels = tuple(sorted(draw(st.dictionaries(names, names, max_size=3)).items()))
    made = Series(SeriesKey(draw(names), draw(names), draw(names), draw(names), labels), draw(st.sampled_from(Kind)))
    for value in draw(st.lists(values, max_size=20)):
        if made.histogram is not None:
            made.histogram.record(value)
        else:
            made.count, made.total = made.count + 1, made.total + value
    made.outcomes = draw(st.dictionaries(names, st.integers(min_value=1, max_value=2**40), max_size=3))
    return made


@st.composite
def states(draw: st.DrawFn) -> StreamState:
    unique = {each.key: each for each in draw(st.lists(series(), max_size=5))}
    started = draw(values)
    return StreamState(
        stream=StreamId(*(draw(st.integers(min_value=1, max_value=100)) for _ in range(4))),
        sequence=draw(st.integers(min_value=1, max_value=2**63)),
        second=draw(st.integers(min_value=-1, max_value=10**6)),
        full=draw(st.booleans()),
        series=tuple(each.snapshot() for each in unique.values()),
        counters=Counters(started=started, completed=draw(st.integers(0, started)), iterations_started=2),
        errors=tuple(ErrorCount("refused", draw(names), name, 3) for name in draw(st.lists(names, max_size=2))),
        users=draw(st.integers(min_value=0, max_value=10**6)),
        final=draw(st.booleans()),
    )


@given(states())
def test_a_state_survives_the_wire_and_the_disk(state: StreamState) -> None:
    assert codec.stream_state_from_message(codec.stream_state_to_message(state)) == state
    assert codec.stream_state_from_bytes(codec.stream_state_to_bytes(state)) == state


def recorded() -> statistics_pb2.StreamState:
    recorder = Recorder()
    recorder.trend("size", 5, (("a", "1"), ("b", "2")))
    recorder.trend("size", 700, (("a", "1"), ("b", "2")))
    return codec.stream_state_to_message(StreamState(STREAM, 1, 0, full=True, series=recorder.whole()))


def _set(path: str, value: object) -> object:
    def change(message: statistics_pb2.StreamState) -> None:
        *parents, name = path.split(".")
        target: object = message
        for parent in parents:
            target = target[int(parent)] if parent.isdigit() else getattr(target, parent)  # type: ignore[index]
        if name.isdigit():
            target[int(name)] = value  # type: ignore[index]
        else:
            setattr(target, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_set("sequence", 0), "sequence 0"),
        (_set("second", -2), "second -2"),
        (_set("stream.start", 0), "counted from 1"),
        (_set("stream.attempt", 0), "counted from 1"),
        (_set("series.0.kind", 99), "kind 99"),
        (_set("series.0.kind", statistics_pb2.KIND_COUNTER), "buckets"),
        (_set("series.0.key.metric", ""), "no metric"),
        (_set("series.0.key.name", "x" * 2000), "too long"),
        (_set("series.0.key.labels.1.name", "a"), "not sorted"),
        (_set("series.0.count", 3), "hold 2 samples"),
        (_set("series.0.index_deltas.1", -1), "ascend"),
        (_set("series.0.index_deltas.0", 2**30), "ascend"),
        (_set("counters.completed", 1), "more was completed"),
    ],
)
def test_a_state_that_cannot_be_meant_is_refused(change: object, complaint: str) -> None:
    message = recorded()
    change(message)  # type: ignore[operator]
    with pytest.raises(WireError, match=complaint):
        codec.stream_state_from_message(message)


@pytest.mark.parametrize(("total", "sent"), [(2**63, 2**63 - 1), (2**80, 2**63 - 1), (-(2**80), -(2**63)), (-5, -5)])
def test_a_sum_that_64_bits_cannot_carry_stands_at_the_most_that_they_can(total: int, sent: int) -> None:
    trend = Series(SeriesKey("latency"), Kind.TREND)
    trend.cell.record(1)
    trend.total = total
    row = Row(second=0, width=10, requests=1, failures=0, users=1, p50=1, p95=1, p99=1, iterations=1, dropped=0, gaps=0)
    series = SeriesRow(trend.key, count=1, total=total, failures=0, p50=1, p95=1, p99=1)

    assert codec.series_from_bytes(codec.series_to_bytes(trend.snapshot())).total == sent
    assert row_message(row, load_started_ns=0, series=[series]).row.series[0].total == sent


def test_an_empty_message_a_repeated_series_and_a_flood_of_series_are_refused() -> None:
    with pytest.raises(WireError):
        codec.stream_state_from_message(statistics_pb2.StreamState())
    twice = recorded()
    twice.series.append(twice.series[0])
    with pytest.raises(WireError, match="twice"):
        codec.stream_state_from_message(twice)
    flood = statistics_pb2.StreamState(series=[statistics_pb2.SeriesState()] * (codec.SERIES_MAX + 1))
    with pytest.raises(WireError, match="at most"):
        codec.stream_state_from_message(flood)
    with pytest.raises(WireError, match="no state"):
        codec.stream_state_from_bytes(b"\xff\xff")


def test_counters_of_a_killed_engine_may_be_ahead_by_one_request() -> None:
    counters = Counters(started=5, completed=3, unsent=4)
    assert codec.counters_from_message(codec.counters_to_message(counters)) == counters


LOAD = LoadProfile(Model.USERS, Profile((Segment(0, 10, 0, 5), Segment(10, 20, 5, 5)), 30), None)
SCENARIO = Scenario(name="browse", load=LOAD, graceful_stop_ns=7, target="http://shop")
ENDLESS = Profile((Segment(0, 2**63 - 1, 2, 2),), None)
RATE = LoadProfile(Model.RATE, Profile((Segment(0, 5, 200, 200),), 5), None, preallocated_users=3, max_users=9)


@pytest.mark.parametrize(
    "scenario",
    [
        SCENARIO,
        replace(SCENARIO, target=None, graceful_stop_ns=0, user="Buyer"),
        replace(SCENARIO, load=LoadProfile(Model.ITERATIONS, ENDLESS, 100)),
        replace(SCENARIO, load=LoadProfile(Model.ITERATIONS, ENDLESS, 100, iterations_per_user=50), start_ns=9),
        replace(SCENARIO, load=RATE, start_ns=None),
        replace(SCENARIO, is_over=True),
    ],
)
def test_a_scenario_survives_the_wire(scenario: Scenario) -> None:
    assert codec.scenario_from_message(codec.scenario_to_message(scenario)) == scenario


def test_a_load_that_cannot_be_meant_is_refused() -> None:
    message = codec.scenario_to_message(SCENARIO)
    message.segments[1].start_ns = 11
    with pytest.raises(WireError, match="gap"):
        codec.scenario_from_message(message)
    with pytest.raises(WireError, match="model"):
        codec.scenario_from_message(engine_pb2.LoadPlan())
    for field in ("end_ns", "graceful_stop_ns"):
        with pytest.raises(WireError, match="negative"):
            codec.scenario_from_message(engine_pb2.LoadPlan(model=engine_pb2.RATE, **{field: -1}))
    with pytest.raises(WireError, match="negative"):
        codec.scenario_from_message(engine_pb2.LoadPlan(model=engine_pb2.RATE, start_ns=-2))


def test_a_run_has_scenarios_with_names_of_their_own() -> None:
    one = codec.scenario_to_message(SCENARIO)
    other = codec.scenario_to_message(replace(SCENARIO, name="buy"))
    assert [each.name for each in codec.scenarios_from_messages([one, other])] == ["browse", "buy"]
    many = [codec.scenario_to_message(replace(SCENARIO, name=str(number))) for number in range(33)]
    for bad in ([], [one, one], many):
        with pytest.raises(WireError, match="scenarios"):
            codec.scenarios_from_messages(bad)


def test_counters_of_scenarios_survive_the_wire_and_are_bounded() -> None:
    counters = Counters(iterations_started=2, iterations_completed=2, scenarios=((0, 0), (1, 2)), warm_up=5)
    assert codec.counters_from_message(codec.counters_to_message(counters)) == counters
    with pytest.raises(WireError, match="33 scenarios"):
        codec.counters_from_message(codec.counters_to_message(Counters(scenarios=((0, 0),) * 33)))
    for counters in (Counters(started=2**60), Counters(unsent=2**60), Counters(scenarios=((0, 0), (5, 2**60)))):
        with pytest.raises(WireError, match="counters say more than"):
            codec.counters_from_message(codec.counters_to_message(counters))


def test_grants_survive_the_wire_and_refuse_what_is_empty_or_goes_back() -> None:
    grants = (Grant("iterations/a", 0, (range(5), range(5, 9), range(20, 21)), 3), Grant("feeder/b", 2, (), 0))
    assert allotment.grants_from_messages(allotment.grants_to_messages(grants)) == grants
    for bad in ((range(3), range(2, 5)), (range(3, 3),)):
        with pytest.raises(WireError):
            allotment.grants_from_messages(allotment.grants_to_messages([Grant("a", 0, bad, 0)]))


def test_a_message_and_a_frame_carry_all_that_an_engine_may_have_measured() -> None:
    everywhere = tuple(range(1, LARGEST_INDEX + 1))
    full = SeriesState(
        SeriesKey("latency", name="/", method="GET"),
        Kind.TREND,
        count=2_000_000 * LARGEST_INDEX,
        total=2**61,
        minimum=1,
        maximum=2**61,
        indexes=everywhere,
        counts=(2_000_000,) * LARGEST_INDEX,
    )
    state = StreamState(StreamId(0, 1, 0, 1), sequence=1, second=0, full=True, series=(full,))

    size = SERIES_CAP * len(codec.stream_state_to_bytes(state)) + KEYS_CAP_BYTES
    assert size < min(MESSAGE_MAX_BYTES, FRAME_MAX_BYTES)
