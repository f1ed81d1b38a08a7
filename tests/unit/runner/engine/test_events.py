import json
from collections.abc import Iterator

import gevent
import pytest

from loadstone import Environment, Summary, events, every, listening
from loadstone_runner.engine import events as engine_events
from loadstone_runner.engine.events import Audience, Watching, summary_of


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    listening.forget()
    yield
    listening.forget()


class Errors(list[tuple[str, str, str]]):
    def __call__(self, kind: str, message: str, name: str) -> None:
        self.append((kind, message, name.rsplit(".", 1)[-1]))


def test_listeners_hear_what_they_want_in_order_and_later() -> None:
    heard = []

    @events.test_start.add_listener
    def everything(**told) -> None:
        heard.append(told)

    @events.test_start.add_listener
    def little(user_count, missing="default") -> None:
        heard.append((user_count, missing))

    audience = Audience(Errors())
    audience.environment = Environment(is_director=False, target="http://x", setup_data=None)
    for count in range(3):
        audience.tell("test_start", user_count=count)
    audience.tell("never_heard_of")
    assert not heard

    audience.drain()

    assert [each for each in heard if isinstance(each, tuple)] == [(0, "default"), (1, "default"), (2, "default")]
    assert [each["user_count"] for each in heard if isinstance(each, dict)] == [0, 1, 2]
    assert heard[0]["environment"].target == "http://x"
    audience.end()


def test_a_listener_that_raises_is_counted_each_time_and_hears_on() -> None:
    @events.test_stop.add_listener
    def broken() -> None:
        raise SystemExit(3)

    errors = Errors()
    audience = Audience(errors)
    for _ in range(3):
        audience.tell("test_stop")
    audience.drain()
    audience.end()

    assert errors == [("listener", "SystemExit: 3", "broken")] * 3


def test_a_listener_that_raises_is_logged_once_for_each_kind_and_place(caplog: pytest.LogCaptureFixture) -> None:
    @events.request.add_listener
    def broken(name) -> None:
        if name == "other place":
            raise KeyError(name)
        raise ValueError(name) if name == "other kind" else KeyError(name)

    errors = Errors()
    audience = Audience(errors)
    names = [*("first", "second", "third") * 100, "other kind", "other place", "other kind"]
    for name in names:
        audience.tell_request("GET", name, 1, 0, None, 200, "", {})
    audience.drain()
    audience.end()

    logged = [each.exc_info[1] for each in caplog.records if each.exc_info]
    assert list(map(str, logged)) == ["'first'", "other kind", "'other place'"]
    assert len(errors) == len(names), "all are counted"


def test_a_watch_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    @every(1)
    def watch(run) -> None:
        raise KeyError(run.seconds)

    errors = Errors()
    watching = Watching(listening.watches()[0], errors)
    for second in range(1, 4):
        watching.hear(Summary(seconds=second))
        gevent.sleep(0.001)
    watching.lane.end()

    assert len(errors) == 3
    assert len(caplog.records) == 1


def test_a_listener_that_blocks_holds_up_nobody_and_what_its_queue_cannot_hold_is_counted() -> None:
    never, heard = gevent.event.Event(), []

    @events.request.add_listener
    def blocked() -> None:
        never.wait()

    @events.request.add_listener
    def quick(name) -> None:
        heard.append(name)

    errors = Errors()
    audience = Audience(errors, queue_max=5)
    tell = audience.request_listener()
    tell("GET", "first", 1, 0, None, 200, "", {})
    gevent.sleep(0)
    for number in range(8):
        tell("GET", number, 1, 0, None, 200, "", {})
        gevent.sleep(0)
    audience.drain(0.05)
    audience.end()

    assert heard == ["first", *range(8)]
    blocked_errors = [message for kind, message, name in errors if (kind, name) == ("listener", "blocked")]
    assert len(blocked_errors) == len(errors) == 9
    assert sum("queue is full" in message for message in blocked_errors) == 3
    assert sum("has ended before" in message for message in blocked_errors) == 5
    assert sum("was cut off" in message for message in blocked_errors) == 1


def test_a_listener_that_does_not_come_back_is_counted_once(monkeypatch) -> None:
    monkeypatch.setattr(engine_events, "BLOCKED_NS", 0)

    @events.quitting.add_listener
    def stuck() -> None:
        gevent.sleep(3600)

    errors = Errors()
    audience = Audience(errors)
    audience.tell("quitting")
    gevent.sleep(0.01)
    for _ in range(3):
        audience.look()

    assert errors == [("listener", "took longer than 0 s", "stuck")]
    audience.end()


def test_a_request_is_told_in_the_words_of_locust() -> None:
    heard = []
    events.request.add_listener(lambda **told: heard.append(told))
    audience = Audience(Errors())

    audience.tell_request("GET", "/a", 2_500_000, 70, "status 500", 500, "http://x/a", {"b": 1})
    audience.drain()

    told = heard[0]
    assert told.pop("start_time") > 1_600_000_000
    assert told == {
        "environment": None, "request_type": "GET", "name": "/a", "response_time": 2.5, "response_length": 70,
        "exception": "status 500", "context": {"b": 1}, "url": "http://x/a", "status": 500,
    }  # fmt: skip
    audience.end()


def test_without_a_listener_there_is_nobody_to_be_told_of_requests() -> None:
    assert Audience(Errors()).request_listener() is None


def test_a_listener_without_a_signature_gets_everything() -> None:
    class Odd:
        __signature__ = 3

        def __call__(self, **told) -> None:
            self.told = told

    odd = Odd()
    events.test_start.add_listener(odd)
    errors = Errors()
    audience = Audience(errors)
    audience.tell("test_start", a=1)
    audience.drain()
    audience.end()

    assert odd.told == {"environment": None, "a": 1}
    assert not errors


def test_a_watch_hears_of_the_run_at_its_distance_and_skips_what_it_misses() -> None:
    heard, errors = [], Errors()

    @every(2)
    def watch(run) -> None:
        heard.append(run.seconds)
        if run.seconds > 3:
            raise RuntimeError("enough")

    watching = Watching(listening.watches()[0], errors)
    for second in (1, 2, 3, 4.5, 5, 6, 9, 10):
        watching.hear(Summary(seconds=second))
        gevent.sleep(0)
        gevent.sleep(0)

    assert heard == [2, 4.5, 6, 9, 10]
    assert errors == [("listener", "RuntimeError: enough", "watch")] * 4
    watching.lane.end()


def test_a_watch_that_is_busy_misses_a_summary_and_that_is_no_error() -> None:
    heard, errors = [], Errors()

    @every(1)
    def watch(run) -> None:
        heard.append(run.seconds)
        gevent.sleep(0.02)

    watching = Watching(listening.watches()[0], errors)
    watching.hear(Summary(seconds=1))
    gevent.sleep(0)
    watching.hear(Summary(seconds=2))
    gevent.sleep(0.05)
    watching.hear(Summary(seconds=3))
    gevent.sleep(0.05)

    assert heard == [1, 3]
    assert not errors
    watching.lane.end()


def test_a_summary_of_a_later_version_is_understood_as_far_as_it_is_known() -> None:
    assert summary_of(json.dumps({"users": 3, "unheard_of": 1}).encode()) == Summary(users=3)
