"""The models of the load on a real gevent loop, with tasks that only sleep: who comes, who goes, what is dropped."""

import time
from collections.abc import Callable

import gevent
import pytest

from loadstone import User, task
from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_protocol.codec import LoadOrder
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.load import LoadModel, make_model
from loadstone_runner.engine.path import Instruments
from loadstone_runner.engine.script import Script

SECOND = 1_000_000_000


class Bench:
    """A model of one slot and what it recorded."""

    def __init__(self, user: type[User], model: Model, *segments: tuple[float, int]) -> None:
        self.instruments = Instruments(CounterFile(""))
        made, at = [], 0
        for seconds, value in segments:
            made.append(Segment(at, round(seconds * SECOND), value, value))
            at = made[-1].end_ns
        rest = 0 if model is Model.RATE else segments[-1][1]
        made.append(Segment(at, FOREVER_NS - at, rest, rest))
        order = LoadOrder(LoadProfile(model, Profile(tuple(made), None), None), "http://127.0.0.1:1", 0)
        self.model: LoadModel = make_model(
            Script((user,), None, None), order, slot=0, slots=1, setup_data=None, instruments=self.instruments
        )

    def run(self, seconds: float, late: float = 0.0) -> None:
        self.model.start(time.monotonic_ns() - round(late * SECOND))
        gevent.sleep(seconds)

    def end(self) -> None:
        self.model.stop()
        self.model.population.kill_all()
        assert self.model.population.is_empty.wait(5)

    def total(self, metric: str) -> int:
        return sum(each.total for each in self.instruments.recorder.whole() if each.key.metric == metric)

    def errors(self) -> dict[str, int]:
        return {each.name: each.count for each in self.instruments.recorder.errors()}


def sleeper(seconds: float, on_start: Callable[[User], None] | None = None) -> type[User]:
    class Sleeper(User):
        lives: list[int] = []  # noqa: RUF012 one list for the class is what is asked for

        def on_start(self) -> None:
            self.lives.append(self.number)
            if on_start is not None:
                on_start(self)

        @task
        def sleep(self) -> None:
            gevent.sleep(seconds)

    return Sleeper


def test_what_is_due_while_all_users_are_busy_is_dropped_and_counted() -> None:
    bench = Bench(sleeper(60), Model.RATE, (1.0, 40))
    bench.model.users_limit = 3

    bench.run(1.2)
    started, dropped = bench.instruments.counters.read().iterations_started, bench.total("dropped_iterations")
    bench.end()

    assert (started, dropped, len(bench.model.population)) == (3, 37, 0)


def test_few_users_do_what_few_can_do() -> None:
    user = sleeper(0.001)
    bench = Bench(user, Model.RATE, (1.0, 50))

    bench.run(1.2)
    bench.end()

    assert bench.instruments.counters.read().iterations_completed == 50
    assert len(user.lives) < 10


def test_a_late_engine_does_not_make_up_for_what_was_due_long_before() -> None:
    bench = Bench(sleeper(0), Model.RATE, (3.0, 100))

    bench.run(0.3, late=2.5)
    bench.end()

    counters = bench.instruments.counters.read()
    assert counters.iterations_started + bench.total("dropped_iterations") == pytest.approx(280, abs=3)
    assert 200 < bench.total("dropped_iterations") <= 252


def test_an_iteration_whose_user_could_not_start_is_dropped_and_not_lost() -> None:
    def fail(_user: User) -> None:
        raise OSError("no account left")

    bench = Bench(sleeper(0, fail), Model.RATE, (0.5, 20))

    bench.run(0.8)
    bench.end()

    assert bench.instruments.counters.read().iterations_started == 0
    assert bench.total("dropped_iterations") == bench.errors()["Sleeper.on_start"] == 10


def test_iteration_numbers_of_an_open_model_are_those_of_the_whole_load() -> None:
    numbers: list[int] = []

    class Counting(User):
        @task
        def one(self) -> None:
            numbers.append(self.iteration)

    bench = Bench(Counting, Model.RATE, (0.5, 20))
    bench.run(0.8)
    bench.end()

    assert numbers == list(range(10))


def test_a_user_that_stops_itself_is_not_replaced() -> None:
    class Leaver(User):
        @task
        def leave(self) -> None:
            if self.number < 2:
                self.stop()
            gevent.sleep(0.01)

    bench = Bench(Leaver, Model.USERS, (60.0, 5))
    bench.run(0.3)

    assert sorted(bench.model.population.seats) == [2, 3, 4]
    bench.end()


def test_a_user_that_still_finishes_when_it_is_wanted_again_goes_on() -> None:
    user = sleeper(0.5)
    bench = Bench(user, Model.USERS, (0.1, 4), (0.1, 1), (60.0, 4))

    bench.run(0.15)
    assert [len(bench.model.population), sum(seat.is_retired for seat in bench.model.population.seats.values())] == [
        4,
        3,
    ]
    gevent.sleep(0.5)

    assert len(bench.model.population) == 4
    assert sorted(user.lives) == [0, 1, 2, 3]
    bench.end()


def test_a_user_on_its_way_out_when_it_is_wanted_again_is_followed_by_a_new_one() -> None:
    class Slow(User):
        wait = staticmethod(lambda _user: 3600)
        lives: list[int] = []  # noqa: RUF012 as above

        def on_start(self) -> None:
            self.lives.append(self.number)

        @task
        def nothing(self) -> None: ...

        def on_stop(self) -> None:
            gevent.sleep(0.3)

    bench = Bench(Slow, Model.USERS, (0.1, 2), (0.1, 1), (60.0, 2))
    bench.run(0.25)
    assert len(bench.model.population) == 2
    gevent.sleep(0.4)

    assert len(bench.model.population) == 2
    assert Slow.lives == [0, 1, 1]
    bench.end()


def test_a_pause_that_cannot_be_found_out_is_counted_and_does_not_end_the_user() -> None:
    class Odd(User):
        wait = staticmethod(lambda _user: float("nan"))

        @task
        def nothing(self) -> None: ...

    bench = Bench(Odd, Model.USERS, (60.0, 1))
    bench.run(0.3)

    assert bench.errors() == {"Odd.wait": 1}
    assert len(bench.model.population) == 1
    bench.end()


def test_a_user_that_swallows_its_end_does_not_keep_the_others() -> None:
    class Stubborn(User):
        @task
        def swallow(self) -> None:
            try:
                gevent.sleep(60)
            except BaseException:  # noqa: BLE001 what this test is about
                gevent.sleep(60)

    bench = Bench(Stubborn, Model.USERS, (60.0, 2))
    bench.run(0.1)
    bench.model.stop()
    for _ in range(2):
        bench.model.population.kill_all()
        gevent.sleep(0.05)

    assert bench.model.population.is_empty.wait(1)
