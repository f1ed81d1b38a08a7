import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone.metrics import MetricKind
from loadstone_core.stats.series import SERIES_CAP
from loadstone_runner.engine.counters import AMBIGUOUS, COMPLETED, MEASURED, STARTED, CounterFile
from loadstone_runner.engine.instruments import Instruments
from loadstone_runner.engine.measuring import Services


class Bench:
    def __init__(self) -> None:
        self.instruments = Instruments(CounterFile(""))
        self.services = Services(self.instruments)

    def record(self, kind: str, value: object, **labels: object) -> None:
        self.services.record(MetricKind(kind), f"own_{kind}", value, labels)

    def series(self, metric: str) -> list[tuple]:
        return [(each.count, each.total) for each in self.instruments.recorder.whole() if each.key.metric == metric]

    def errors(self) -> list[tuple[str, int]]:
        return [(each.message, each.count) for each in self.instruments.recorder.errors()]

    def call(self, **fields) -> None:
        told = {
            "protocol": "redis", "name": "GET", "service_ns": 5, "delay_ns": 2, "error": None, "message": "",
            "interrupted": False, "size": 3, "context": {},
        }  # fmt: skip
        self.services.begin_measured()
        self.services.end_measured(**(told | fields))


class Rude:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise MemoryError

    __int__ = __bool__ = __float__ = __str__  # type: ignore[assignment]


def test_samples_of_each_kind_are_kept() -> None:
    bench = Bench()
    for kind, value in (("counter", 2), ("counter", 3.4), ("gauge", -7), ("rate", "x"), ("rate", 0), ("trend", 12)):
        bench.record(kind, value, b="2", a=1)

    assert bench.series("own_counter") == [(2, 5)]
    assert bench.series("own_gauge") == [(1, -7)]
    assert bench.series("own_rate") == [(2, 1)]
    assert bench.series("own_trend") == [(1, 12)]
    assert {each.key.labels for each in bench.instruments.recorder.whole()} == {(("a", "1"), ("b", "2"))}
    assert not bench.errors()


@pytest.mark.parametrize("kind", ["counter", "gauge", "trend"])
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), 1e300, 1 << 80, "many", "5", None, [], 1j, Rude()], ids=type
)
def test_a_value_that_cannot_be_recorded_is_an_error_and_nothing_else(kind, value) -> None:
    bench = Bench()

    bench.record(kind, value)

    assert [count for _, count in bench.errors()] == [1]
    assert not bench.series(f"own_{kind}") or bench.series(f"own_{kind}") == [(0, 0)]


def test_counters_that_would_shrink_and_sums_that_no_number_holds_are_errors_of_one_text() -> None:
    bench = Bench()
    for amount in (-1, -2, -0.6):
        bench.record("counter", amount)
    for _ in range(3):
        bench.record("trend", 1 << 61)
        bench.record("trend", 1 << 61)

    assert sorted(count for _, count in bench.errors()) == [3, 4]
    assert bench.series("own_trend") == [(2, 1 << 62)]


def test_labels_that_are_no_text_too_long_or_too_many_are_cut_and_rude_ones_counted() -> None:
    bench = Bench()
    bench.record("counter", 1, **{"x" * 300: "y" * 1_000_000, "x" * 299: "other", "half": "\ud800"})
    bench.record("counter", 1, **{f"l{number}": number for number in range(50)})
    bench.record("counter", 1, bad=Rude())

    keys = [each.key for each in bench.instruments.recorder.whole()]
    assert [len(key.labels) for key in keys] == [2, 32]
    assert dict(keys[0].labels) == {"x" * 256: "other", "half": "?"}
    assert all(name.encode() and value.encode() for key in keys for name, value in key.labels)
    assert bench.errors() == [("the sample raised MemoryError", 1)]


@pytest.mark.promise("script-metrics")
def test_any_number_of_label_values_takes_bounded_memory_and_no_sample_is_lost() -> None:
    bench = Bench()
    tracemalloc.start()
    try:
        for number in range(20_000):
            bench.record("counter", 1, user=number)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20_000, 60_000):
            bench.record("counter", 1, user=number)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 1_000_000
    samples = bench.series("own_counter")
    assert sum(total for _, total in samples) == 60_000
    assert len(samples) <= SERIES_CAP + 1


@given(some.lists(some.text(max_size=5), max_size=20))
def test_names_of_any_text_can_be_sent(names) -> None:
    bench = Bench()
    for name in (*names, "\udcff", "a\udcffb"):
        bench.call(name=name, protocol=name, error=name or "x", message=name)
        bench.services.check(name, ok=True, labels={})
        bench.services.count_error(name, name, name)

    for each in bench.instruments.recorder.whole():
        assert (each.key.name + each.key.method).encode() is not None
    for each in bench.instruments.recorder.errors():
        assert (each.kind + each.message + each.name).encode() is not None
    calls = [each.count for each in bench.instruments.recorder.whole() if each.key.metric == "latency"]
    assert sum(calls) == len(names) + 2


def test_a_measured_call_is_a_request_that_is_told_apart() -> None:
    bench = Bench()
    bench.call()
    bench.call(error="KeyError", message="'id'", interrupted=True)

    slots = bench.instruments.slots
    assert (slots[STARTED], slots[COMPLETED], slots[MEASURED], slots[AMBIGUOUS]) == (2, 2, 2, 0)
    states = {each.key.metric: each for each in bench.instruments.recorder.whole()}
    assert (states["latency"].total, states["service_time"].total) == (14, 10)
    assert (states["latency"].key.method, states["latency"].key.name) == ("redis", "GET")
    assert dict(states["latency"].outcomes) == {"failed": 1, "interrupted": 1, "bytes_received": 6}
    assert bench.errors() == [("'id'", 1)]


def test_whoever_listens_hears_of_measured_calls() -> None:
    bench = Bench()
    heard = []
    bench.instruments.on_request = lambda *told: heard.append(told)

    bench.call(context={"a": 1})

    assert heard == [("redis", "GET", 7, 3, None, 0, "", {"a": 1})]


def test_rows_and_stops_go_where_the_engine_wants_them() -> None:
    services = Bench().services
    assert services.next_row("users.csv") is None
    services.stop_run("nobody hears it")
    heard = []
    services.rows, services.on_stop = lambda name, count: len(name) + count, heard.append

    services.stop_run("enough")

    assert (services.next_row("abc"), services.next_row("abc", 7), heard) == (3, 10, ["enough"])


def test_a_sample_that_is_rounded_to_nothing_is_said_once(caplog) -> None:
    bench = Bench()
    for value in (0.25, 0.5, 2.5, 0.0):
        bench.record("trend", value)

    assert [record.getMessage() for record in caplog.records] == [
        "Rounded a sample of metric own_trend from 0.25 to a whole number; choose a smaller unit"
    ]
