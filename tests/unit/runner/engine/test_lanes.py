"""Lanes: in order or by key, never more than the pool, and what a full queue does."""

from __future__ import annotations

import gc
from time import monotonic_ns
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import gevent
import pytest

from loadstone import Message, messages, on_message
from loadstone_runner.engine import lanes as room
from loadstone_runner.engine.lanes import Busy, Lanes, Outcome, Parcel, in_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    messages.forget()
    yield
    messages.forget()


class House:
    """The lanes of whatever is registered, and what became of what was put into them."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str, str]] = []
        self.rooms: list[tuple[str, int]] = []
        self.outcomes: dict[Any, Outcome] = {}
        self.lanes = Lanes(
            messages.handlings(),
            work_of=in_engine,
            count=lambda *error: self.errors.append(error),
            on_room=lambda *told: self.rooms.append(told),
        )

    def put(self, data: Any, name: str = "a") -> Busy | None:
        lane = self.lanes.find(name)
        assert lane is not None
        return lane.put(
            Parcel(Message(name, data, "director"), lambda outcome: self.outcomes.update({str(data): outcome}))
        )

    def settle(self, count: int) -> dict[Any, str]:
        with gevent.Timeout(10):
            while len(self.outcomes) < count:
                gevent.sleep(0.001)
        return {data: f"{each.status}: {each.reason}" for data, each in self.outcomes.items()}


def handle(function: Callable[[Message], object] = lambda _message: None, **options: Any) -> House:
    on_message("a", **options)(function)
    return House()


def test_a_plain_lane_handles_one_after_another_and_a_concurrent_one_never_more_than_its_pool() -> None:
    running, most, seen = 0, 0, []

    def work(message: Message) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        gevent.sleep(0.001)
        running -= 1
        seen.append(message.data)

    for options, limit in (({}, 1), ({"concurrent": True, "pool": 7}, 7)):
        messages.forget()
        most, seen = 0, []
        house = handle(work, **options)
        for number in range(50):
            house.put(number)
        house.settle(50)
        assert most == limit
        assert sorted(seen) == list(range(50))
        if limit == 1:
            assert seen == sorted(seen)


def test_messages_of_one_key_stay_in_order_while_others_pass_them() -> None:
    seen: list[tuple[str, int]] = []

    def work(message: Message) -> None:
        key, number = message.data
        gevent.sleep(0.02 if key == "slow" else 0)
        seen.append((key, number))

    house = handle(work, concurrent=True, pool=4, key=lambda data: data[0])
    for number in range(10):
        house.put(("slow", number))
        house.put(("fast", number))
    house.settle(20)

    for key in ("slow", "fast"):
        assert [number for name, number in seen if name == key] == list(range(10))
    assert seen[:5] == [("fast", number) for number in range(5)]


def test_a_full_lane_rejects_drops_or_sends_away_as_it_is_told() -> None:
    gate = gevent.event.Event()
    expected = {
        "reject": {
            "0": "processed: ",
            "1": "processed: ",
            "2": "processed: ",
            "3": "rejected: the lane is full: 2 messages wait",
        },
        "drop_oldest": {"1": "rejected: it was dropped, as the lane was full and newer ones came"}
        | dict.fromkeys("023", "processed: "),
        "block_sender": dict.fromkeys("012", "processed: "),
    }
    for overflow, outcomes in expected.items():
        messages.forget()
        gate.clear()
        house = handle(lambda _message: gate.wait(), queue=2, overflow=overflow)
        house.put(0)
        gevent.sleep(0)  # its handler runs, so it does not wait any more
        answers = [house.put(number) for number in (1, 2, 3)]
        assert [isinstance(each, Busy) for each in answers] == [False, False, overflow == "block_sender"]
        gate.set()
        assert house.settle(len(outcomes)) == outcomes
        assert house.rooms == ([("a", 1)] if overflow == "block_sender" else [])


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest"])
@pytest.mark.parametrize("options", [{}, {"concurrent": True, "pool": 2, "key": lambda data: data[0]}])
def test_a_lane_keeps_no_message_that_was_handled_or_dropped(overflow: str, options: dict[str, Any]) -> None:
    gate = gevent.event.Event()
    house = handle(lambda message: message.data == "slow" and gate.wait(), queue=10, overflow=overflow, **options)
    lane, outcomes = house.lanes.find("a"), []
    senders: WeakSet[Callable[[Outcome], None]] = WeakSet()  # each lives as long as its message
    assert lane is not None

    def put(data: str) -> None:
        def settle(outcome: Outcome) -> None:
            outcomes.append(outcome)

        senders.add(settle)
        lane.put(Parcel(Message("a", data, "director"), settle))

    def living() -> int:
        gc.collect()
        return len(senders)

    put("slow")
    gevent.sleep(0)
    for number in range(1_000):
        put("slow" if number % 10 == 0 else f"{number}")
        if number % 7 == 0:
            gevent.sleep(0)

    assert living() == lane.figures(0).depth + 1 <= 11
    gate.set()
    house.lanes.wait(5)
    assert len(outcomes) == 1_001
    assert living() == 0


def test_the_oldest_of_all_keys_is_dropped_and_those_behind_it_stay_in_order() -> None:
    gate, seen = gevent.event.Event(), []

    def work(message: Message) -> None:
        gate.wait()
        seen.append(message.data)

    house = handle(work, concurrent=True, pool=2, key=lambda data: data[0], queue=3, overflow="drop_oldest")
    for data in ("a1", "b1"):
        house.put(data)
    gevent.sleep(0)  # both run
    for data in ("a2", "c1", "c2", "c3", "a3"):
        house.put(data)
    gate.set()

    dropped = "rejected: it was dropped, as the lane was full and newer ones came"
    assert house.settle(7) == {"a2": dropped, "c1": dropped} | dict.fromkeys(
        ("a1", "b1", "c2", "c3", "a3"), "processed: "
    )
    assert [each for each in seen if each[0] == "a"] == ["a1", "a3"]
    assert [each for each in seen if each[0] == "c"] == ["c2", "c3"]


def test_errors_timeouts_and_results_that_cannot_travel_are_failures_and_end_nothing() -> None:
    def work(message: Message) -> object:
        match message.data:
            case "raise":
                raise KeyError("gone")
            case "exit":
                raise SystemExit(3)
            case "late":
                gevent.sleep(60)
            case "own timeout":
                raise gevent.Timeout(3)
            case "object":
                return object()
            case "kill":
                gevent.getcurrent().kill()
        return {"fine": True}

    house = handle(work, timeout=0.05)
    for data in ("raise", "exit", "late", "own timeout", "object", "kill", "fine"):
        house.put(data)

    said = house.settle(7)
    assert said.pop("fine") == "processed: "
    assert house.outcomes["fine"].result.data == b'{"fine":true}'
    assert said.pop("object").startswith("failed: ValueError: only JSON values or bytes travel")
    assert said == {
        "raise": "failed: KeyError: 'gone'",
        "exit": "failed: SystemExit: 3",
        "late": "failed: took longer than its timeout of 0.05 s",
        "own timeout": "failed: Timeout: 3 seconds",
        "kill": "failed: its handler was ended by the script",
    }
    assert [(kind, name) for kind, _, name in house.errors] == [("handler", "a")] * 6
    [figures] = house.lanes.figures()
    assert (figures.processed, figures.failed, figures.depth, figures.running) == (1, 6, 0, 0)


def test_a_handler_that_never_waits_fails_by_its_timeout_when_it_ends() -> None:
    def work(message: Message) -> str:
        end_ns = monotonic_ns() + message.data
        while monotonic_ns() < end_ns:
            pass
        return "done"

    house = handle(work, timeout=0.05)
    house.put(60_000_000)
    house.put(0)

    assert house.settle(2) == {"60000000": "failed: took longer than its timeout of 0.05 s", "0": "processed: "}
    assert house.errors == [("handler", "took longer than its timeout of 0.05 s", "a")]


def test_a_key_that_cannot_be_found_out_fails_its_message_only() -> None:
    house = handle(concurrent=True, key=lambda data: data["key"])
    house.put({})
    house.put({"key": []})
    house.put({"key": 1})

    said = house.settle(3)
    assert said["{}"] == "failed: its key= raised KeyError: 'key'"
    assert said["{'key': []}"].startswith("failed: its key= raised TypeError")
    assert said["{'key': 1}"] == "processed: "


def test_whatever_its_sender_raises_as_it_hears_of_a_message_the_lane_goes_on() -> None:
    def fail(outcome: Outcome) -> None:
        raise ValueError(outcome.status)

    house = handle(concurrent=True, pool=1, key=lambda data: data[0])
    lane = house.lanes.find("a")
    assert lane is not None
    for _ in range(3):
        lane.put(Parcel(Message("a", "x", "director"), fail))
    house.put("x")
    house.put("y")

    assert house.settle(2) == {"x": "processed: ", "y": "processed: "}
    assert lane.is_idle


def test_a_process_runs_no_more_handlers_at_once_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RUNNING_MAX", 5)
    running, most = 0, 0

    def work(_message: Message) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        gevent.sleep(0.002)
        running -= 1

    for name in "abc":
        on_message(name, concurrent=True, pool=4)(work)
    house = House()
    for number in range(30):
        house.put(number, name="abc"[number % 3])

    house.settle(30)
    assert most == 5


def test_a_slow_handler_is_told_once_while_it_runs_and_its_age_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SLOW_NS", 10_000_000)
    gate = gevent.event.Event()
    house = handle(lambda _message: gate.wait())
    house.put("slow")
    house.put("behind")
    gevent.sleep(0.03)

    [first], [second] = house.lanes.figures(), house.lanes.figures()
    gate.set()
    house.settle(2)

    assert (first.depth, first.running) == (1, 1)
    assert second.oldest_ns >= first.oldest_ns > 10_000_000
    assert second.longest_ns > 10_000_000
    assert house.errors == [("slow handler", "took longer than 0 s", "a")]


def test_the_end_rejects_what_waits_and_ends_what_runs() -> None:
    house = handle(lambda _message: gevent.sleep(60))
    house.put("runs")
    house.put("waits")
    gevent.sleep(0)
    begun = monotonic_ns()

    house.lanes.close(0.01)
    house.put("late")

    assert monotonic_ns() - begun < 10_000_000_000
    assert house.settle(3) == {
        "runs": "rejected: the run has ended before its handler did",
        "waits": "rejected: the run has ended before it was handled",
        "late": "rejected: the run has ended before it was handled",
    }
