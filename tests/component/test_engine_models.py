"""The models of the load on a real gevent loop, with tasks that only sleep: who comes, who goes, what is dropped."""

import time
from collections.abc import Callable

import gevent
import pytest

from loadstone import User, task
from loadstone_core.load.lots import Lot
from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.load import LoadModel, make_model
from loadstone_runner.engine.numbers import Allotment
from loadstone_runner.engine.path import Instruments
from loadstone_runner.engine.population import Portion
from loadstone_runner.engine.script import Script

SECOND = 1_000_000_000


class Bench:
    """A model of one slot and what it recorded."""

    def __init__(self, user: type[User], model: Model, *segments: tuple[float, int], **fields: int) -> None:
        self.instruments = Instruments(CounterFile(""))
        made, at = [], 0
        for seconds, value in segments:
            made.append(Segment(at, round(seconds * SECOND), value, value))
            at = made[-1].end_ns
        rest = 0 if model is Model.RATE else segments[-1][1]
        made.append(Segment(at, FOREVER_NS - at, rest, rest))
        load = LoadProfile(model, Profile(tuple(made), None), None, **fields)
        self.allotment = Allotment(lambda: None)
        self.model: LoadModel = make_model(
            Script((user,), None, None),
            Scenario(name="default", load=load, target="http://127.0.0.1:1", graceful_stop_ns=0),
            portion=Portion(0, 1),
            setup_data=None,
            instruments=self.instruments,
            allotment=self.allotment,
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
    bench = Bench(sleeper(60), Model.RATE, (1.0, 40), max_users=3)

    bench.run(1.2)
    started, dropped = bench.instruments.counters.read().iterations_started, bench.total("dropped_iterations")
    bench.end()

    assert (started, dropped, len(bench.model.population)) == (3, 37, 0)


def test_what_was_due_before_the_end_of_the_load_still_begins() -> None:
    bench = Bench(sleeper(0.001), Model.RATE, (0.3, 2_000), preallocated_users=200)

    bench.run(0.2)
    time.sleep(0.1)  # the loop comes to nothing until the load is over
    bench.model.settle(time.monotonic_ns() + 5 * SECOND)
    bench.model.stop()
    assert bench.model.population.is_empty.wait(5)

    assert bench.instruments.counters.read().iterations_started == 600
    assert bench.total("dropped_iterations") == 0


def test_what_was_due_and_never_came_to_its_turn_is_dropped_when_the_load_is_stopped() -> None:
    bench = Bench(sleeper(0), Model.RATE, (60.0, 1_000))
    begin = time.monotonic_ns()
    bench.model.start(begin)
    gevent.sleep(0.1)
    time.sleep(0.3)

    bench.model.stop()
    due = (time.monotonic_ns() - begin) // 1_000_000
    bench.end()

    counted = bench.instruments.counters.read().iterations_started + bench.total("dropped_iterations")
    assert due - 20 <= counted <= due
    assert bench.total("dropped_iterations") > 250


def test_preallocated_users_are_there_before_the_load_and_begin_with_it() -> None:
    user = sleeper(0.2)
    bench = Bench(user, Model.RATE, (0.5, 40), preallocated_users=5, max_users=5)

    bench.model.start(time.monotonic_ns() + SECOND // 5)
    gevent.sleep(0.1)
    assert (len(bench.model.population), user.lives) == (5, [])
    gevent.sleep(0.65)
    bench.end()

    assert sorted(user.lives) == [0, 1, 2, 3, 4]
    started = bench.instruments.counters.read().iterations_started
    assert started + bench.total("dropped_iterations") == 20
    assert 10 <= started <= 15


def test_preallocated_users_of_a_load_that_never_begins_are_gone_with_it() -> None:
    user = sleeper(0)
    bench = Bench(user, Model.RATE, (1.0, 40), preallocated_users=5)

    bench.model.start(time.monotonic_ns() + 60 * SECOND)
    gevent.sleep(0.05)
    bench.model.stop()

    assert bench.model.population.is_empty.wait(1)
    assert user.lives == []


def test_each_user_does_its_own_iterations_and_then_nothing_is_left() -> None:
    user = sleeper(0.001)
    bench = Bench(user, Model.ITERATIONS, (0.1, 2), (60.0, 4), iterations_per_user=3)

    assert not bench.model.is_done
    bench.run(0.4)

    assert bench.instruments.counters.read().iterations_completed == 12
    assert sorted(user.lives) == [0, 1, 2, 3]
    assert bench.model.is_done
    bench.end()


def changed(model: Model, value: int, **fields: int) -> Scenario:
    profile = Profile((Segment(0, FOREVER_NS, value, value),), None)
    return Scenario(name="default", load=LoadProfile(model, profile, None), graceful_stop_ns=0, **fields)


def test_users_follow_another_profile_from_its_moment_on() -> None:
    bench = Bench(sleeper(0.02), Model.USERS, (60.0, 5))
    begin = time.monotonic_ns()
    bench.model.start(begin)

    counts = []
    for at, value in ((0.3, 2), (0.6, 0), (0.9, 7)):
        bench.model.follow(changed(Model.USERS, value), begin + round(at * SECOND))
        gevent.sleep(at - 0.05 - (time.monotonic_ns() - begin) / SECOND)
        counts.append(len(bench.model.population))
        gevent.sleep(at + 0.15 - (time.monotonic_ns() - begin) / SECOND)
        counts.append(len(bench.model.population))
        assert not bench.model.is_done
    bench.end()

    assert counts == [5, 2, 2, 0, 0, 7]


def test_a_rate_follows_another_profile_and_its_iterations_are_numbered_on() -> None:
    numbers: list[int] = []

    class Counting(User):
        @task
        def one(self) -> None:
            numbers.append(self.iteration)

    bench = Bench(Counting, Model.RATE, (60.0, 20))
    begin = time.monotonic_ns()
    bench.model.start(begin)
    bench.model.follow(changed(Model.RATE, 100, first_iteration=10), begin + SECOND // 2)
    gevent.sleep(0.75 - (time.monotonic_ns() - begin) / SECOND)
    bench.model.follow(changed(Model.RATE, 0, first_iteration=60), begin + SECOND)
    gevent.sleep(1.3 - (time.monotonic_ns() - begin) / SECOND)
    bench.end()

    assert numbers == list(range(60))
    assert bench.total("dropped_iterations") == 0


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
    # A few more where the engine had no turn for what came due just before its end.
    assert 200 < bench.total("dropped_iterations") <= 260


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


@pytest.mark.parametrize("model", [Model.USERS, Model.RATE])
def test_the_first_iteration_is_late_by_what_it_came_after_its_due_and_not_after_the_start(model: Model) -> None:
    bench = Bench(sleeper(0.01), model, (0.4, 0), (5, 10))
    assert bench.model.first_late_ns == -1
    bench.run(0.8)

    assert 0 <= bench.model.first_late_ns < SECOND // 3
    bench.end()


@pytest.mark.promise("load-moves")
def test_a_user_that_finishes_when_its_lot_is_given_up_is_waited_for_although_it_was_not_wanted_any_more() -> None:
    bench = Bench(sleeper(0.6), Model.USERS, (0.3, 6), (60.0, 2))
    bench.model.hold({Lot(0, 2): 0, Lot(1, 2): 0})
    bench.run(0.45)
    assert len(bench.model.population) == 6

    bench.model.hold({Lot(0, 2): 0})
    assert bench.model.leaving == 3
    gevent.sleep(1.5)
    assert (bench.model.leaving, len(bench.model.population)) == (0, 1)
    bench.end()


@pytest.mark.promise("load-moves")
def test_users_of_a_lot_that_is_given_up_end_after_their_iteration_and_come_back_with_their_numbers() -> None:
    sleep = sleeper(0.2)
    bench = Bench(sleep, Model.USERS, (60.0, 6))
    left: list[int] = []
    bench.model.population.on_left = lambda: left.append(len(bench.model.population))
    both = {Lot(0, 2): 0, Lot(1, 2): 0}
    bench.model.hold(both)
    bench.run(0.1)
    assert len(bench.model.population) == 6

    bench.model.hold({Lot(0, 2): 0})
    assert bench.model.leaving == 3
    gevent.sleep(0.4)
    assert (bench.model.leaving, len(bench.model.population), left) == (0, 3, [3])

    bench.model.hold({Lot(0, 2): 0, Lot(1, 2): time.monotonic_ns() + SECOND // 2})
    gevent.sleep(0.1)
    assert len(bench.model.population) == 3
    gevent.sleep(0.6)
    assert len(bench.model.population) == 6
    bench.end()

    assert sorted(sleep.lives) == [0, 1, 1, 2, 3, 3, 4, 5, 5]


@pytest.mark.promise("load-moves")
def test_a_user_that_is_wanted_again_before_it_has_ended_goes_on() -> None:
    sleep = sleeper(0.3)
    bench = Bench(sleep, Model.USERS, (60.0, 4))
    bench.run(0.1)

    bench.model.hold({})
    assert bench.model.leaving == 4
    bench.model.hold({Lot(0, 1): 0})
    gevent.sleep(0.5)
    assert (bench.model.leaving, len(bench.model.population)) == (0, 4)
    bench.end()

    assert sorted(sleep.lives) == [0, 1, 2, 3]


@pytest.mark.promise("load-moves")
def test_iterations_of_a_lot_that_was_given_up_are_not_begun_before_it_comes_back() -> None:
    numbers: list[int] = []

    class Counting(User):
        @task
        def one(self) -> None:
            numbers.append(self.iteration)

    bench = Bench(Counting, Model.RATE, (60.0, 100))
    begin = time.monotonic_ns()
    bench.model.hold({Lot(0, 2): begin, Lot(1, 2): begin})
    bench.model.start(begin)
    gevent.sleep(0.4 - (time.monotonic_ns() - begin) / SECOND)
    bench.model.hold({Lot(0, 2): begin})
    given_up = (time.monotonic_ns() - begin) * 100 // SECOND
    bench.model.hold({Lot(0, 2): begin, Lot(1, 2): begin + SECOND})
    gevent.sleep(1.4 - (time.monotonic_ns() - begin) / SECOND)
    done = (time.monotonic_ns() - begin) * 100 // SECOND
    bench.end()

    assert len(numbers) == len(set(numbers))
    even, odd = ([number for number in numbers if number % 2 == rest] for rest in (0, 1))
    # A busy machine may drop what is due at the very end.
    assert even == list(range(0, len(even) * 2, 2))
    assert len(even) * 2 > done - 20
    assert not [number for number in odd if given_up < number < 100]
    assert set(range(1, given_up - 10, 2)) | set(range(101, done - 20, 2)) <= set(odd)


def test_users_beyond_a_smaller_share_of_the_most_users_end_those_without_work_first() -> None:
    bench = Bench(sleeper(0.4), Model.RATE, (0.1, 20), (60.0, 0), max_users=8, preallocated_users=8)
    bench.model.hold({Lot(0, 2): 0, Lot(1, 2): 0})
    bench.run(0.2)
    assert len(bench.model.population) == 8

    bench.model.hold({Lot(0, 8): time.monotonic_ns()})
    gevent.sleep(0.05)
    # Two work, and one of them is more than there may be.
    assert (len(bench.model.population), bench.model.leaving) == (2, 1)
    gevent.sleep(0.5)
    assert (len(bench.model.population), bench.model.leaving) == (1, 0)
    bench.end()
    assert bench.total("dropped_iterations") == 0


@pytest.mark.promise("live-replicas")
def test_users_of_a_lot_that_is_cut_go_on_where_they_are() -> None:
    sleep = sleeper(0.2)
    bench = Bench(sleep, Model.USERS, (60.0, 6))
    bench.model.hold({Lot(0, 1): 0})
    bench.run(0.1)

    bench.model.hold(dict.fromkeys(Lot(0, 1).cut(4), 0))
    assert bench.model.leaving == 0
    gevent.sleep(0.5)
    assert len(bench.model.population) == 6

    # What was cut before this engine has heard of it may lack a piece at once.
    bench.model.hold({Lot(0, 8): 0, Lot(4, 8): 0, Lot(2, 4): 0, Lot(3, 4): 0})
    assert bench.model.leaving == 2
    gevent.sleep(0.5)
    assert sorted(bench.model.population.seats) == [0, 2, 3, 4]
    bench.end()
    assert sorted(sleep.lives) == [0, 1, 2, 3, 4, 5]


@pytest.mark.promise("live-replicas")
def test_of_a_lot_that_is_cut_every_iteration_is_begun_once() -> None:
    numbers: list[int] = []

    class Counting(User):
        @task
        def one(self) -> None:
            numbers.append(self.iteration)

    bench = Bench(Counting, Model.RATE, (60.0, 400))
    begin = time.monotonic_ns()
    bench.model.hold({Lot(0, 1): begin})
    bench.model.start(begin)
    for pieces in (3, 6):
        gevent.sleep(0.4)
        # The master says of pieces since when the lot was held.
        bench.model.hold(dict.fromkeys(Lot(0, 1).cut(pieces), begin))
    gevent.sleep(0.4)
    done = (time.monotonic_ns() - begin) * 400 // SECOND
    bench.end()

    assert sorted(numbers) == list(range(len(numbers)))
    assert len(numbers) + bench.total("dropped_iterations") > done - 120
    assert bench.total("dropped_iterations") < 120
