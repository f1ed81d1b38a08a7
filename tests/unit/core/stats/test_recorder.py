"""What a recorder is told comes out again, exactly, and a script cannot make it grow without bound."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.errors import InternalError, UserError
from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import (
    BUILT_IN,
    DERIVED,
    MESSAGES_RECEIVED,
    MESSAGES_SENT,
    OVERFLOW_NAME,
    Kind,
    Phase,
    SeriesKey,
)
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.series import Series
from loadstone_core.stats.stream import ErrorCount, SeriesState, StreamId, StreamState, unsound

LABELS = (("region", "eu"), ("tier", "gold"))


@dataclass(frozen=True)
class Sample:
    name: str
    latency_ns: int
    delay_ns: int
    failed: bool
    unsent: bool
    ambiguous: bool
    interrupted: bool
    sent: int


SAMPLES = st.lists(
    st.builds(
        Sample,
        st.sampled_from(["front page", "cart", "orders"]),
        st.integers(0, 10**10),
        st.sampled_from([0, 0, 0, 500]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.integers(0, 2_000),
    ),
    max_size=40,
)


def send(recorder: Recorder, sample: Sample, *, labels: tuple[tuple[str, str], ...] = ()) -> None:
    recorder.request(
        method="GET",
        name=sample.name,
        latency_ns=sample.latency_ns + sample.delay_ns,
        service_ns=sample.latency_ns,
        failed=sample.failed,
        unsent=sample.unsent,
        ambiguous=sample.ambiguous,
        interrupted=sample.interrupted,
        sent=sample.sent,
        received=2 * sample.sent,
        labels=labels,
    )


def request(recorder: Recorder, name: str = "front page", *, latency_ns: int = 10, service_ns: int = 10) -> None:
    send(recorder, Sample(name, service_ns, latency_ns - service_ns, False, False, False, False, 1))  # noqa: FBT003  # a tidy row


def by_key(states: tuple[SeriesState, ...]) -> dict[SeriesKey, SeriesState]:
    return {state.key: state for state in states}


def histogram_of(samples: list[int]) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)
    return histogram


@given(SAMPLES, st.sampled_from([2_000, 6, 5, 4, 3, 1, 0]))
def test_every_request_is_in_latency_and_service_time_whatever_the_cap(samples: list[Sample], cap: int) -> None:
    recorder = Recorder(cap)
    for sample in samples:
        send(recorder, sample)

    whole = [Series.restore(state) for state in recorder.whole()]
    for metric, expected in (
        ("latency", [sample.latency_ns + sample.delay_ns for sample in samples]),
        ("service_time", [sample.latency_ns for sample in samples]),
    ):
        merged = Series(SeriesKey(metric), Kind.TREND)
        for series in whole:
            if series.key.metric == metric:
                merged.add(series)
        assert merged.histogram == histogram_of(expected)
        outcomes = {
            "failed": sum(sample.failed for sample in samples),
            "unsent": sum(sample.unsent for sample in samples),
            "ambiguous": sum(sample.ambiguous for sample in samples),
            "interrupted": sum(sample.interrupted for sample in samples),
            "bytes_sent": sum(sample.sent for sample in samples),
            "bytes_received": 2 * sum(sample.sent for sample in samples),
        }
        # Service time carries no outcomes: they would be counted twice.
        held = {name: count for name, count in outcomes.items() if count} if metric == "latency" else {}
        assert {name: count for name, count in merged.outcomes.items() if count} == held
    assert len([series for series in whole if not series.key.is_overflow]) <= cap


@given(SAMPLES)
def test_every_endpoint_has_its_own_samples(samples: list[Sample]) -> None:
    recorder = Recorder()
    for sample in samples:
        send(recorder, sample, labels=LABELS)

    whole = by_key(recorder.whole())
    for name in {sample.name for sample in samples}:
        for metric, late in (("latency", 1), ("service_time", 0)):
            expected = [sample.latency_ns + late * sample.delay_ns for sample in samples if sample.name == name]
            state = whole[SeriesKey(metric, "default", "GET", name, LABELS)]
            assert Series.restore(state).histogram == histogram_of(expected)


def test_service_time_parts_from_latency_with_the_first_late_start() -> None:
    recorder = Recorder()
    request(recorder)
    before = by_key(recorder.whole())
    request(recorder, latency_ns=90, service_ns=40)
    request(recorder)
    after = by_key(recorder.whole())

    latency = SeriesKey("latency", "default", "GET", "front page")
    service = latency._replace(metric="service_time")
    assert (before[latency].total, before[service].total) == (10, 10)
    assert (after[latency].total, after[service].total) == (110, 60)
    assert (after[latency].count, after[service].count) == (3, 3)


def test_labels_in_any_order_are_one_series() -> None:
    recorder = Recorder()
    sample = Sample("front page", 5, 0, failed=False, unsent=False, ambiguous=False, interrupted=False, sent=0)
    send(recorder, sample, labels=tuple(reversed(LABELS)))
    send(recorder, sample, labels=LABELS)
    send(recorder, sample, labels=tuple(reversed(LABELS)))
    recorder.check("held", True, tuple(reversed(LABELS)))  # noqa: FBT003  # as scripts write it
    recorder.check("held", True, LABELS)  # noqa: FBT003

    whole = by_key(recorder.whole())
    assert whole[SeriesKey("latency", "default", "GET", "front page", LABELS)].count == 3
    assert whole[SeriesKey("checks", "default", "", "held", LABELS)].count == 2
    assert len(whole) == 3


def test_iterations_are_timed_and_counted_by_task() -> None:
    recorder = Recorder()
    recorder.iteration("buy", 70)
    recorder.iteration("buy", 50, failed=True)
    recorder.iteration("buy", 30, failed=True, interrupted=True)
    recorder.iteration("look", 10, scenario="night")

    whole = by_key(recorder.whole())
    buy = whole[SeriesKey("iteration_duration", "default", "", "buy")]
    assert (buy.count, buy.total, buy.outcomes) == (3, 150, (("failed", 2), ("interrupted", 1)))
    assert whole[SeriesKey("iterations", "default", "", "buy")].total == 3
    assert whole[SeriesKey("iterations", "night", "", "look")].total == 1


def test_iterations_without_a_place_are_counted_together() -> None:
    recorder = Recorder(cap=2)
    for task in ("buy", "look", "leave", "look"):
        recorder.iteration(task, 10)

    whole = by_key(recorder.whole())
    assert whole[SeriesKey("iterations", "default", "", "buy")].total == 1
    assert whole[SeriesKey("iterations", name=OVERFLOW_NAME)].total == 3
    assert whole[SeriesKey("iteration_duration", name=OVERFLOW_NAME)].count == 3
    assert recorder.refused == 4


def test_messages_are_counted_and_timed_apart_from_requests() -> None:
    recorder = Recorder()
    recorder.messages(MESSAGES_SENT, method="WS", name="chat")
    recorder.messages(MESSAGES_RECEIVED, 3, method="WS", name="chat")
    recorder.message_latency(25, method="WS", name="chat")

    whole = by_key(recorder.whole())
    found = {key.metric: (series.count, series.total) for key, series in whole.items()}
    assert found == {"messages_sent": (1, 1), "messages_received": (1, 3), "message_latency": (1, 25)}
    assert {(key.scenario, key.method, key.name) for key in whole} == {("default", "WS", "chat")}


def test_slips_drops_phases_and_checks_have_series_of_their_own() -> None:
    recorder = Recorder()
    recorder.slip(1_000)
    recorder.dropped()
    recorder.dropped(4)
    for phase in Phase:
        recorder.phase(phase, 25, method="GET", name="front page")
    recorder.check("answers", True)  # noqa: FBT003
    recorder.check("answers", False)  # noqa: FBT003

    whole = by_key(recorder.whole())
    assert whole[SeriesKey("schedule_slip", "default")].maximum == 1_000
    assert whole[SeriesKey("dropped_iterations", "default")].total == 5
    assert [whole[SeriesKey(phase, "default", "GET", "front page")].total for phase in Phase] == [25] * 6
    checks = whole[SeriesKey("checks", "default", "", "answers")]
    assert (checks.kind, checks.count, checks.total) == (Kind.RATE, 2, 1)


def test_metrics_of_the_user_keep_their_kind() -> None:
    recorder = Recorder()
    recorder.trend("size", 10)
    recorder.trend("size", 11.6, LABELS)
    recorder.counter("sold")
    recorder.counter("sold", 4)
    recorder.rate("full", True)  # noqa: FBT003
    recorder.rate("full", False)  # noqa: FBT003
    recorder.gauge("depth", 7)
    recorder.gauge("depth", -2.4)

    whole = {state.key: (state.kind, state.count, state.total) for state in recorder.whole()}
    assert whole == {
        SeriesKey("size", "default"): (Kind.TREND, 1, 10),
        SeriesKey("size", "default", labels=LABELS): (Kind.TREND, 1, 12),
        SeriesKey("sold", "default"): (Kind.COUNTER, 2, 5),
        SeriesKey("full", "default"): (Kind.RATE, 2, 1),
        SeriesKey("depth", "default"): (Kind.GAUGE, 2, -2),
    }


@pytest.mark.parametrize("name", sorted({*BUILT_IN, *DERIVED}))
def test_a_script_cannot_take_a_name_of_ours(name: str) -> None:
    recorder = Recorder()

    with pytest.raises(UserError, match="choose another"):
        recorder.trend(name, 1)
    assert recorder.whole() == ()


def test_a_metric_cannot_have_two_kinds() -> None:
    recorder = Recorder()
    recorder.counter("sold")

    with pytest.raises(UserError, match="metric sold is a counter already; a rate needs another name"):
        recorder.rate("sold", True)  # noqa: FBT003


def test_a_counter_cannot_shrink() -> None:
    with pytest.raises(UserError, match="use a gauge"):
        Recorder().counter("sold", -1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2**62 + 1, -(2**64), 1e300, 10**400])
def test_a_number_that_no_series_can_hold_is_refused(value: float) -> None:
    recorder = Recorder()

    for record in (recorder.trend, recorder.gauge):
        with pytest.raises(UserError, match="choose a larger unit"):
            record("size", value)
    assert recorder.whole() == ()


def test_sums_of_a_script_stay_within_what_64_bits_carry() -> None:
    recorder = Recorder()
    for record in (recorder.trend, recorder.counter):
        name = record.__name__
        record(name, 2**62)
        with pytest.raises(UserError, match="choose a larger unit"):
            record(name, 1)

    assert [(state.count, state.total) for state in recorder.whole()] == [(1, 2**62)] * 2


def test_errors_are_handed_out_whole() -> None:
    recorder = Recorder()
    recorder.error("Timeout", "after 5s", "front page")
    recorder.error("Timeout", "after 5s", "front page")

    assert recorder.errors() == recorder.errors() == (ErrorCount("Timeout", "after 5s", "front page", 2),)


@given(st.lists(st.lists(st.sampled_from(["front page", "cart", "orders"]), max_size=4), max_size=6))
def test_takes_hold_exactly_what_changed_and_add_up_to_the_whole(seconds: list[list[str]]) -> None:
    recorder = Recorder()
    known: dict[SeriesKey, SeriesState] = {}
    for second, names in enumerate(seconds):
        for name in names:
            request(recorder, name)
        taken = by_key(recorder.take(second))
        assert {key.name for key in taken} == set(names)
        known |= taken
        assert known == by_key(recorder.whole())
        assert recorder.take(second) == ()


def test_a_closed_second_does_not_open_again() -> None:
    recorder = Recorder()
    recorder.take(4)

    with pytest.raises(InternalError, match="second 3 cannot close after second 4"):
        recorder.take(3)


@given(SAMPLES)
def test_states_of_a_recorder_are_sound(samples: list[Sample]) -> None:
    recorder = Recorder(cap=4)
    for sample in samples:
        send(recorder, sample)
        recorder.check(sample.name, sample.failed)
    state = StreamState(StreamId(0, 1, 0, 1), sequence=1, second=0, full=True, series=recorder.take(0))

    assert unsound(state) == ""


def test_texts_that_utf_8_cannot_carry_are_made_so_and_no_sample_is_lost() -> None:
    recorder = Recorder()
    for half in ("\ud800", "\udfff"):
        for _ in range(2):
            recorder.request(
                method=f"G{half}", name=f"n{half}", latency_ns=1, service_ns=1, failed=False, unsent=False,
                ambiguous=False, interrupted=False, sent=0, received=0, labels=((half, half),),
            )  # fmt: skip
            recorder.check(half, True, ((half, half),))  # noqa: FBT003 as the engine says it
            recorder.error(half, half, half)

    states = {
        (each.key.metric, each.key.method, each.key.name, each.key.labels): each.count for each in recorder.whole()
    }
    assert states == {
        ("latency", "G?", "n?", (("?", "?"),)): 4,
        ("service_time", "G?", "n?", (("?", "?"),)): 4,
        ("checks", "", "?", (("?", "?"),)): 4,
    }
    assert recorder.errors() == (ErrorCount("?", "?", "?", 4),)


def test_what_was_recorded_before_a_clearing_is_in_nothing_and_cells_that_are_held_go_on() -> None:
    recorder, twin = Recorder(), Recorder()

    def record(into: Recorder, latency_ns: int) -> None:
        into.request(
            method="GET",
            name="/",
            latency_ns=latency_ns,
            service_ns=latency_ns,
            failed=True,
            unsent=False,
            ambiguous=False,
            interrupted=False,
            sent=1,
            received=2,
        )
        into.iteration("t", latency_ns, failed=True)
        into.check("held", ok=True)
        into.error("refused", "", "/")

    for latency_ns in (1, 10**12):
        record(recorder, latency_ns)
    recorder.counter("only before", 5)
    recorder.take(0)
    recorder.clear()
    assert (recorder.take(1), recorder.whole(), recorder.errors()) == ((), (), ())
    for into in (recorder, twin):
        for latency_ns in (5_000, 7_000):
            record(into, latency_ns)

    assert set(recorder.whole()) == set(twin.whole())
    assert set(recorder.take(2)) == set(twin.take(2))
    assert recorder.errors() == twin.errors()


def test_a_recorder_knows_how_many_series_it_keeps() -> None:
    recorder = Recorder()
    before = len(recorder)
    recorder.counter("orders")
    recorder.counter("orders")
    recorder.trend("basket", 3)

    assert len(recorder) == before + 2


def test_of_errors_only_what_may_be_said_is_counted() -> None:
    recorder = Recorder()
    recorder.error("Refused", "said before: hunter2", "login")
    recorder.hide(lambda text: text.replace("hunter2", "***"))
    recorder.error("Refused", "no such key: hunter2", "login")

    assert sorted(each.message for each in recorder.errors()) == ["no such key: ***", "said before: hunter2"]


def test_names_are_cut_to_what_a_message_can_carry() -> None:
    recorder = Recorder()
    long = "x" * 1_100
    for _ in range(2):
        request(recorder, long)
        recorder.iteration(long, 5)
        recorder.phase(Phase.CONNECT, 5, method=long, name=long)
    recorder.error(long, "", long)

    counts = {each.key.metric: (each.count, len(each.key.method), len(each.key.name)) for each in recorder.whole()}
    assert (counts["latency"], counts["connect"]) == ((2, 3, 256), (2, 256, 256))
    assert counts["iteration_duration"] == (2, 0, 256)
    assert [(len(each.kind), len(each.name)) for each in recorder.errors()] == [(256, 256)]
