from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event
from gevent.pool import Pool

from loadstone_runner.engine import strays as engine_strays
from loadstone_runner.engine.strays import Strays


@pytest.fixture
def errors() -> list[tuple[str, str, str]]:
    return []


@pytest.fixture
def strays(errors) -> Iterator[Strays]:
    made = Strays(lambda *error: errors.append(error))
    made.watch()
    yield made
    made.unwatch()
    made.end()


def waiting(event: Event) -> Callable[[], None]:
    def wait() -> None:
        event.wait()

    return wait


def test_what_a_script_starts_is_known_until_it_ends_and_ends_with_the_run(strays) -> None:
    event = Event()
    done = gevent.spawn(lambda: None)
    left = [gevent.spawn(waiting(event)) for _ in range(3)]
    done.join()

    assert set(strays.living()) == set(left)
    assert strays.end() == 3
    assert all(each.dead for each in left)
    assert strays.living() == []


def test_greenlets_of_gevents_own_are_not_the_scripts(strays) -> None:
    greenlet = gevent.spawn(gevent.sleep, 5)

    assert strays.living() == []
    greenlet.kill()


def test_whoever_a_user_starts_directly_or_by_gevent_belongs_to_its_seat(strays) -> None:
    seats: list[object] = []

    def look(_number: int = 0) -> None:
        seats.append(getattr(gevent.getcurrent(), "seat", None))

    def live() -> None:
        gevent.getcurrent().seat = "a seat"
        gevent.spawn(look).join()
        list(Pool(2).imap_unordered(look, range(2)))

    gevent.spawn(live).join()
    gevent.spawn(look).join()

    assert seats == ["a seat"] * 3 + [None]


def test_one_that_does_not_let_itself_be_ended_is_left(strays, monkeypatch) -> None:
    monkeypatch.setattr(engine_strays, "END_SECONDS", 0.01)

    def stubborn() -> None:
        for _ in range(2):
            try:
                gevent.sleep(60)
            except gevent.GreenletExit:
                continue

    greenlet = gevent.spawn(stubborn)
    gevent.sleep(0)

    assert strays.end() == 1
    assert not greenlet.dead
    greenlet.kill()


def test_a_leak_is_counted_at_each_doubling_and_bounded(strays, errors, monkeypatch) -> None:
    monkeypatch.setattr(engine_strays, "LIVING_MAX", 100)
    strays._tell_at = 10
    event = Event()
    left = [gevent.spawn(waiting(event)) for _ in range(150)]
    gevent.sleep(0)

    assert [(kind, message) for kind, message, _ in errors][:4] == [
        ("greenlets", "more than 10 greenlets of the script live"),
        ("greenlets", "more than 20 greenlets of the script live"),
        ("greenlets", "more than 40 greenlets of the script live"),
        ("greenlets", "more than 80 greenlets of the script live"),
    ]
    assert "half of them were ended" in errors[4][1]
    assert sum(not each.dead for each in left) == 100


def test_many_that_end_are_no_leak(strays, errors) -> None:
    strays._tell_at = 10
    for _ in range(20):
        gevent.joinall([gevent.spawn(lambda: None) for _ in range(9)])

    assert not errors
