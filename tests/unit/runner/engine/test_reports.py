import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone_core.stats.merge import Merge
from loadstone_core.stats.stream import SeriesState, StreamId
from loadstone_protocol.channel import MESSAGE_MAX_BYTES
from loadstone_protocol.codec import stream_state_from_bytes, stream_state_to_bytes
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.instruments import Instruments, label_pairs
from loadstone_runner.engine.reports import Reports

STREAM = StreamId(0, 1, 0, 1)
NAMES = ["a", "b", "c"]


def request(instruments: Instruments, name: str, **fields) -> None:
    told = {
        "method": "GET",
        "name": name,
        "latency_ns": 1000,
        "service_ns": 1000,
        "error": None,
        "message": "",
        "unsent": False,
        "ambiguous": False,
        "interrupted": False,
        "sent": 1,
        "received": 1,
    }
    instruments.begin_request()
    instruments.end_request(**(told | fields))


def heard(reports: Reports) -> dict[str, SeriesState]:
    """Return the latency series as a master reads what the engine says, by name."""
    state = stream_state_from_bytes(stream_state_to_bytes(reports.next_state(0, users=[1], is_full=True)))
    return {each.key.name: each for each in state.series if each.key.metric == "latency"}


@given(some.lists(some.tuples(some.lists(some.sampled_from(NAMES), max_size=4), some.booleans(), some.booleans())))
def test_whoever_acknowledges_only_what_arrived_holds_everything_after_any_state_that_arrives(steps) -> None:
    instruments = Instruments(CounterFile(""))
    reports, merge = Reports(instruments, STREAM), Merge()
    done: list[str] = []
    for second, (names, arrives, is_acknowledged) in enumerate(steps):
        for name in names:
            request(instruments, name)
            done.append(name)
        state = reports.next_state(second, users=[1])
        if not arrives:
            continue
        merge.apply(state)
        if is_acknowledged:
            reports.acknowledge(state.sequence)
        held = {key.name: series.count for key, series in merge.totals().series.items() if key.metric == "latency"}
        assert held == {name: done.count(name) for name in set(done)}


def test_what_is_acknowledged_and_unchanged_is_not_sent_again() -> None:
    instruments = Instruments(CounterFile(""))
    reports = Reports(instruments, STREAM)
    request(instruments, "a")
    reports.acknowledge(reports.next_state(0, users=[1]).sequence)
    request(instruments, "b")

    state = reports.next_state(1, users=[1])

    assert {each.key.name for each in state.series} == {"b"}
    assert {each.key.name for each in reports.next_state(2, users=[1], is_full=True).series} == {"a", "b"}


def test_an_acknowledgement_of_what_was_never_said_is_ignored() -> None:
    instruments = Instruments(CounterFile(""))
    reports = Reports(instruments, STREAM)
    request(instruments, "a")
    reports.next_state(0, users=[1])

    reports.acknowledge(99)

    assert reports.acknowledged == 0
    assert {each.key.name for each in reports.next_state(1, users=[1]).series} == {"a"}


def test_the_counter_file_says_how_far_the_reports_are() -> None:
    instruments = Instruments(CounterFile(""))
    reports = Reports(instruments, STREAM)
    request(instruments, "a")
    reports.next_state(0, users=[1])
    request(instruments, "a")

    counters = instruments.counters.read()

    assert (counters.completed, counters.reported) == (2, 1)


def test_nothing_of_a_warm_up_is_reported_but_how_much_it_was() -> None:
    instruments = Instruments(CounterFile(""))
    reports = Reports(instruments, STREAM)
    reports.is_warming_up = True
    instruments.counters.warm_up()
    request(instruments, "a")
    warm = reports.next_state(0, users=[1], is_full=True)
    reports.end_warm_up()
    request(instruments, "a")
    state = reports.next_state(1, users=[1])

    assert (warm.series, warm.errors, warm.counters.completed, warm.counters.warm_up) == ((), (), 0, 1)
    assert {each.key.metric: each.count for each in state.series} == {"latency": 1, "service_time": 1}
    assert (state.counters.completed, state.counters.warm_up) == (1, 1)


@pytest.mark.promise("exact-totals")
def test_a_master_takes_the_bytes_of_any_soak_and_of_calls_that_cannot_be_meant(path) -> None:
    instruments = path.Instruments(CounterFile(""))
    for _ in range(2_700):
        request(instruments, "/disk.img", received=120 * 10**9)
    for _ in range(5):
        request(instruments, "/nonsense", received=2**61)
    request(instruments, "/")

    series = heard(Reports(instruments, STREAM))

    assert dict(series["/disk.img"].outcomes) == {"bytes_received": 324 * 10**12, "bytes_sent": 2_700}
    assert dict(series["/nonsense"].outcomes) == {"bytes_received": 2**62, "bytes_sent": 5}
    assert (series["/nonsense"].count, series["/"].count) == (5, 1)


def test_times_that_add_up_to_more_than_64_bits_end_no_engine(path) -> None:
    instruments = path.Instruments(CounterFile(""))
    # As many of a minute as 2,000 users wait for in 60 days take long to record; fewer that take longer add up alike.
    minutes = 10_000 * 60 * 10**9
    for _ in range(2_000 * 60 * 24 * 60 // 10_000):
        request(instruments, "/poll", latency_ns=minutes, service_ns=minutes)
    request(instruments, "/")

    series = heard(Reports(instruments, STREAM))

    assert (series["/poll"].count, series["/poll"].minimum, series["/poll"].maximum) == (17_280, minutes, minutes)
    assert series["/poll"].total == 2**63 - 1
    assert series["/"].total == 1_000


@pytest.mark.parametrize("long", ["request", "method", "task"])
def test_whatever_a_script_names_at_length_a_master_hears_of_everything_else(path, long) -> None:
    instruments = path.Instruments(CounterFile(""))
    text = "A" * 1_100
    request(instruments, text if long == "request" else "/long", method=text if long == "method" else "GET")
    instruments.begin_iteration()
    instruments.end_iteration(text if long == "task" else "task", 5, failed=False, interrupted=False)
    request(instruments, "/")

    series = heard(Reports(instruments, STREAM))

    assert series["/"].count == 1
    assert len(series) == 2


def test_however_long_a_scripts_labels_are_a_message_carries_all_that_was_counted(path) -> None:
    instruments = path.Instruments(CounterFile(""))
    for number in range(3_000):
        labels = label_pairs({f"label {each:02}": f"{number:05}" + "A" * 300 for each in range(32)})
        instruments.recorder.counter("mine", 1, labels)

    content = stream_state_to_bytes(Reports(instruments, STREAM).next_state(0, users=[1], is_full=True))

    assert len(content) < MESSAGE_MAX_BYTES / 2
    assert sum(each.total for each in stream_state_from_bytes(content).series if each.key.metric == "mine") == 3_000
