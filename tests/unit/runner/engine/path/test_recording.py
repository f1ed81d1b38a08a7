"""What is recorded in C is what core records: the same buckets, sums, series and outcomes, whatever comes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from loadstone_core.stats.histogram import LARGEST, Histogram, bucket_bounds, bucket_index
from loadstone_core.stats.metrics import Phase
from loadstone_core.stats.stream import COUNTER_LAYOUT
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.measuring import Services

LATENCIES = some.integers(0, 10**12)
NAMES = some.sampled_from(["/", "front page", "x" * 300])
KEPT = ("count", "total", "minimum", "maximum", "zeros")


@pytest.fixture(scope="session")
def trend(flavours):
    return flavours["compiled"].Trend


def fields(cell) -> tuple[object, ...]:
    return (*(getattr(cell, field) for field in KEPT), *cell.pack())


@given(samples=some.lists(some.integers(-LARGEST, LARGEST) | some.integers(-3, 3) | LATENCIES))
@example(samples=[LARGEST, LARGEST])
@example(samples=[LARGEST, 5])
@example(samples=[-5, LARGEST])
@example(samples=[LARGEST - 1] * 5)
@example(samples=[-LARGEST] * 5)
def test_a_trend_holds_what_a_histogram_holds(trend, samples) -> None:
    made, wanted = trend(), Histogram()
    for each in samples:
        made.record(each)
        wanted.record(each)

    assert fields(made) == fields(wanted)
    assert fields(made.copy()) == fields(made)


def test_every_edge_of_every_bucket_is_where_core_has_it(trend) -> None:
    for index in range(63 * 64 + 1):
        for value in {*bucket_bounds(index), bucket_bounds(index)[1] + 1} - {LARGEST + 1, 0}:
            made = trend()
            made.record(value)
            assert made.pack() == ([bucket_index(value)], [1])


@pytest.mark.parametrize("value", [LARGEST + 1, -LARGEST - 1, 1 << 200])
def test_what_has_no_bucket_is_refused_and_leaves_nothing_behind(trend, value) -> None:
    made = trend()

    with pytest.raises(ValueError, match=r"2\^63"):
        made.record(value)

    assert fields(made) == fields(Histogram())


def test_a_copy_does_not_change_with_its_original(trend) -> None:
    made = trend()
    made.record(7)
    twin = made.copy()
    made.record(9)

    assert (twin.count, made.count) == (1, 2)
    assert twin.pack() == ([bucket_index(7)], [1])


REQUESTS = some.builds(
    lambda name, service, delay, outcome, phases: ("request", name, service, delay, outcome, phases),
    NAMES,
    LATENCIES,
    some.just(0) | LATENCIES,
    some.sampled_from(["passed", "failed", "unsent", "ambiguous", "interrupted"]),
    some.lists(some.tuples(some.sampled_from(Phase), LATENCIES)),
)
EVENTS = some.lists(
    REQUESTS
    | some.tuples(some.just("iteration"), NAMES, LATENCIES, some.booleans(), some.booleans())
    | some.tuples(
        some.just("check"),
        NAMES,
        some.booleans(),
        some.dictionaries(some.sampled_from("ab"), some.sampled_from(["1", 1, True, "x" * 300])),
    )
    | some.tuples(some.just("phase"), NAMES, LATENCIES)
    | some.tuples(some.just("measured"), NAMES, LATENCIES, LATENCIES, some.none() | some.just("failed"))
    | some.tuples(some.just("metric"), some.sampled_from(["m", "n"]), some.integers(0, 1 << 40))
)


def replayed(path, events):
    made = path.Instruments(CounterFile(""))
    for kind, name, *rest in events:
        if kind == "request":
            service, delay, outcome, phases = rest
            made.begin_request()
            made.end_request(
                method="GET",
                name=name,
                latency_ns=service + delay,
                service_ns=service,
                error=None if outcome == "passed" else outcome,
                message="",
                unsent=outcome == "unsent",
                ambiguous=outcome == "ambiguous",
                interrupted=outcome == "interrupted",
                sent=10,
                received=20,
                phases=phases,
            )
        elif kind == "iteration":
            made.begin_iteration()
            made.end_iteration(name, rest[0], failed=rest[1], interrupted=rest[2])
        elif kind == "check":
            made.check(name, ok=rest[0], labels=rest[1])
        elif kind == "measured":
            measured(made, name, *rest)
        elif kind == "phase":
            made.recorder.phase(Phase.CONNECT, rest[0], method="GET", name=name)
        else:
            made.recorder.counter(f"{name}-counter", rest[0])
            made.recorder.gauge(f"{name}-gauge", rest[0])
            made.recorder.trend(f"{name}-trend", rest[0])
    return made.recorder.whole(), made.counters.read(), made.recorder.errors()


def measured(made, name: str, service_ns: int, size: int, error: str | None) -> None:
    services = Services(made)
    delay_ns = services.begin_measured()
    services.end_measured(
        protocol="sql",
        name=name,
        service_ns=service_ns,
        delay_ns=delay_ns,
        error=error,
        message="",
        interrupted=False,
        size=size,
        context={},
    )


@given(events=EVENTS)
def test_both_flavours_record_the_same_series_and_counters(flavours, events) -> None:
    assert replayed(flavours["compiled"], events) == replayed(flavours["pure"], events)


def test_any_number_of_names_leaves_memory_bounded_and_counts_exact(path) -> None:
    made = path.Instruments(CounterFile(""))
    for number in range(10_000):
        made.begin_iteration()
        made.end_iteration(f"task {number}", 5, failed=False, interrupted=False)
        made.check(f"check {number}", ok=True, labels={})

    series = made.recorder.whole()
    assert len(series) < 2_200
    for metric in ("iteration_duration", "iterations", "checks"):
        assert sum(each.count for each in series if each.key.metric == metric) == 10_000


def test_counters_that_are_no_buffer_of_theirs_are_refused_or_written_one_by_one(flavours) -> None:
    made = flavours["compiled"].Instruments(CounterFile(""))
    made.slots = [0] * len(COUNTER_LAYOUT)

    made.begin_request()
    made.begin_iteration()

    assert made.slots == [0, 1, 0, 0, 0, 1, 0, 0, 0]
    for slots in (len(COUNTER_LAYOUT), len(COUNTER_LAYOUT) - 1):
        made.slots = memoryview(bytearray(8 * slots)).cast("Q")
        made.begin_request()
        assert made.slots.tolist() == [0, 1, *[0] * (slots - 2)]
