"""What the tick of a shape may return, and what becomes of one that fails or is slow."""

import json

import gevent
import pytest

from loadstone import Shape
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.shaping import Shaping, wanted_of


def told(seconds, users=0, **fields):
    return json.dumps({"loadSeconds": seconds, "users": users, **fields}).encode()


def heard(shaping, *contents):
    for content in contents:
        shaping.hear(content)
        gevent.sleep(0.01)
    return shaping.wanted


def shaping_of(made):
    changes = []
    return Shaping(made, count=lambda *_: None, on_change=lambda: changes.append(1)), changes


class Stairs(Shape):
    def tick(self):
        return None if self.get_run_time() > 20 else (int(self.get_run_time()), 0.5)


@pytest.mark.parametrize(
    ("returned", "users", "spawn_rate"), [((5, 2), 5, 2), ([7.9, 0.1], 7, 1), ((0, 2.5), 0, 3), ((1, 10**12), 1, 10**8)]
)
def test_users_are_whole_and_at_least_one_is_started_a_second(returned, users, spawn_rate) -> None:
    assert wanted_of(returned) == engine_pb2.ShapeState(users=users, spawn_rate=spawn_rate)


@pytest.mark.parametrize(
    "returned", [5, (5,), (5, 0), (-1, 2), (5, float("inf")), (float("nan"), 1), ("5", 1), (True, 1)]
)
def test_what_is_no_number_of_users_is_refused(returned) -> None:
    with pytest.raises(ValueError, match="it returned"):
        wanted_of(returned)


def test_a_shape_is_asked_with_the_time_of_the_load_until_it_ends_and_not_in_a_pause() -> None:
    shaping, changes = shaping_of(Stairs)

    assert heard(shaping, told(3.2)).users == 3
    assert heard(shaping, told(3.9), told(9.0, paused=True)).users == 3
    assert len(changes) == 1
    assert heard(shaping, told(20.5)).over
    assert heard(shaping, told(2.0)).over


def test_a_shape_that_raises_is_asked_no_more() -> None:
    class Broken(Shape):
        asked = 0

        def tick(self):
            type(self).asked += 1
            raise RuntimeError("no database")

    shaping, _ = shaping_of(Broken)

    assert heard(shaping, told(1), told(2)).failed == "Broken.tick: RuntimeError: no database"
    assert Broken.asked == 1
    without = shaping_of(type("Empty", (Shape,), {}))[0]
    assert "Empty has no tick()" in heard(without, told(1)).failed


def test_a_shape_that_blocks_keeps_the_load_as_it_is() -> None:
    class Slow(Shape):
        def tick(self):
            if self.get_current_user_count() > 3:
                gevent.sleep(60)
            return (5, 5)

    shaping, changes = shaping_of(Slow)

    assert heard(shaping, told(1, users=0)).users == 5
    assert heard(shaping, told(2, users=5), told(3, users=9)).users == 5
    assert len(changes) == 1
    assert not shaping.lane.is_idle
    shaping.lane.end()
