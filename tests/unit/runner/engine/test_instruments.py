import logging
from types import ModuleType

from hypothesis import given
from hypothesis import strategies as some

from loadstone_core.stats.metrics import MESSAGES_SENT
from loadstone_core.stats.stream import Counters
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.instruments import Instruments


def instruments(path: ModuleType) -> Instruments:
    return path.Instruments(CounterFile(""))


def end(made: Instruments, *, error=None, unsent=False, ambiguous=False, method="GET", name="/") -> None:
    made.end_request(
        method=method,
        name=name,
        latency_ns=5,
        service_ns=5,
        error=error,
        message="",
        unsent=unsent,
        ambiguous=ambiguous,
        interrupted=False,
        sent=1,
        received=2,
    )


class Watched:
    """Slots that keep every value they ever had, as a kill at any instant would find it."""

    def __init__(self, slots) -> None:
        self.slots = slots
        self.instants: list[tuple[int, ...]] = []

    def __getitem__(self, index: int) -> int:
        return self.slots[index]

    def __setitem__(self, index: int, value: int) -> None:
        self.slots[index] = value
        self.instants.append(tuple(self.slots))


@given(
    requests=some.lists(
        some.sampled_from(["answered", "failed", "unsent", "ambiguous, counted", "ambiguous, not counted"])
    )
)
def test_the_bounds_hold_between_any_two_writes(path, requests) -> None:
    made = instruments(path)
    made.slots = Watched(made.slots)
    counted = 0
    for each in requests:
        made.begin_request()
        seen_before = counted
        counted += each in {"answered", "failed", "ambiguous, counted"}
        end(
            made,
            error=None if each == "answered" else "e",
            unsent=each == "unsent",
            ambiguous=each.startswith("ambiguous"),
        )
        for _, started, completed, unsent, ambiguous, *_ in made.slots.instants:
            assert completed - unsent - ambiguous <= counted
            assert started - unsent >= seen_before
        made.slots.instants.clear()
        assert counted <= made.slots[1] - made.slots[3]


def test_a_request_and_an_iteration_are_counted_and_recorded_once(path) -> None:
    made = instruments(path)

    made.begin_iteration()
    made.begin_request()
    end(made, error="status 500")
    made.end_iteration("Visitor.one", 9, failed=True, interrupted=False)

    assert made.counters.read() == Counters(
        started=1, completed=1, iterations_started=1, iterations_completed=1, scenarios=((1, 1),)
    )
    held = {each.key.metric: (each.count, dict(each.outcomes)) for each in made.recorder.whole()}
    assert held["latency"] == (1, {"bytes_received": 2, "bytes_sent": 1, "failed": 1})
    assert held["iteration_duration"] == (1, {"failed": 1})
    assert held["iterations"] == (1, {})
    assert [(each.kind, each.name) for each in made.recorder.errors()] == [("status 500", "/")]


def test_scenarios_record_into_the_same_under_their_own_name(path) -> None:
    made = instruments(path)
    other = made.beside("buy", 1)
    for each in (made, other, other):
        each.begin_iteration()
        each.begin_request()
        end(each)
        each.end_iteration("Visitor.one", 9, failed=False, interrupted=False)
        each.check("held", ok=True, labels={})

    assert made.counters.read().scenarios == ((1, 1), (2, 2))
    assert made.counters.read().completed == 3
    counts = {(each.key.metric, each.key.scenario): each.count for each in made.recorder.whole()}
    for metric in ("latency", "iterations", "iteration_duration", "checks"):
        assert (counts[(metric, "default")], counts[(metric, "buy")]) == (1, 2)


def test_names_and_labels_of_any_length_are_cut(path) -> None:
    made = instruments(path)

    made.begin_request()
    end(made, name="x" * 1_000_000, error="e" * 1_000_000)
    made.begin_request()
    end(made, method="M" * 1_000_000)
    made.begin_iteration()
    made.end_iteration("t" * 1_000_000, 5, failed=False, interrupted=False)
    made.recorder.messages(MESSAGES_SENT, method="WS", name="w" * 1_000_000)
    made.recorder.message_latency(5, method="WS", name="w" * 1_000_000)
    made.recorder.error("closed", "", "w" * 1_000_000)
    made.check("c" * 1_000_000, ok=True, labels={f"l{number}": "v" * 1_000_000 for number in range(100)})

    series = made.recorder.whole()
    assert {(each.key.method[:3], each.key.name[:1]) for each in series} == {
        ("GET", "x"), ("MMM", "/"), ("", "t"), ("WS", "w"), ("", "c")
    }  # fmt: skip
    assert {len(text) for each in made.recorder.errors() for text in (each.kind, each.name)} == {256, 6}
    for each in series:
        assert len(each.key.name) <= 256
        assert len(each.key.method) <= 256
        assert len(each.key.labels) <= 32
        assert all(len(value) <= 256 for _, value in each.key.labels)


def test_labels_in_any_order_are_one_series(path) -> None:
    made = instruments(path)

    made.check("held", ok=True, labels={"a": "1", "b": "2"})
    made.check("held", ok=False, labels={"b": "2", "a": "1"})

    assert [(each.count, each.total) for each in made.recorder.whole()] == [(2, 1)]


def test_a_traceback_is_logged_once_a_kind_and_counted_every_time(path, caplog) -> None:
    made = instruments(path)

    with caplog.at_level(logging.ERROR):
        for number in range(5):
            try:
                {}[number % 2]
            except KeyError as error:
                made.exception(error, "Visitor.one")

    assert [record.exc_info[0] for record in caplog.records] == [KeyError]
    assert {(each.message, each.count) for each in made.recorder.errors()} == {("KeyError: 0", 3), ("KeyError: 1", 2)}


def test_an_exception_without_a_text_of_its_own_is_counted_all_the_same(path) -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise ValueError

    made = instruments(path)

    made.exception(UnspeakableError(), "Visitor.one")

    assert [(each.kind, each.name, each.count) for each in made.recorder.errors()] == [("exception", "Visitor.one", 1)]
