from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_protocol.allotment import grants_from_messages, grants_to_messages
from loadstone_protocol.messages import Granted, GrantNews
from loadstone_runner.engine.grants import Grants as EngineGrants
from loadstone_runner.master.books import Place
from loadstone_runner.master.grants import NAMES_MAX, Grants

WORK, ROWS = "iterations/a", "feeder/b"


class Engine:
    """The receiving end: takes what it is granted, as an engine does, and says what became of it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.held: dict[str, EngineGrants] = {}
        self.numbers: dict[str, list[int]] = {}

    def learn(self, grants: Grants) -> None:
        for grant in grants_from_messages(grants_to_messages(grants.of(self.place.worker)[1])):
            if grant.engine == self.place.engine:
                held = self.held.setdefault(grant.name, EngineGrants())
                held.extend(grant.first_range, grant.ranges)

    def take(self, name: str, count: int) -> None:
        held = self.held.setdefault(name, EngineGrants())
        for _ in range(count):
            if (number := held.take()) is not None:
                self.numbers.setdefault(name, []).append(number)

    def news(self, name: str, per_second: int = 0, waiting: int = 0) -> GrantNews:
        held = self.held.setdefault(name, EngineGrants())
        return GrantNews(name, held.known, left=held.left, per_second=per_second, waiting=waiting)


def engines(workers: int, each: int) -> list[Engine]:
    return [Engine(Place(worker, engine)) for worker in range(workers) for engine in range(each)]


def places(made: list[Engine]) -> list[Place]:
    return [engine.place for engine in made]


steps = st.lists(
    st.tuples(
        st.integers(0, 11),
        st.sampled_from([WORK, ROWS]),
        st.integers(0, 400),
        st.integers(0, 300),
        st.integers(0, 9),
        st.booleans(),
    ),
    max_size=60,
)


@pytest.mark.promise("script-feeders", "run-iterations")
@given(total=st.integers(0, 20_000), workers=st.integers(1, 4), each=st.integers(1, 3), steps=steps)
def test_every_number_is_given_to_exactly_one_engine_whatever_is_lost_on_the_way(
    total: int, workers: int, each: int, steps: list[tuple[int, str, int, int, int, bool]]
) -> None:
    grants, made = Grants({WORK: total}, workers, each), engines(workers, each)
    grants.open(WORK)
    for asking, name, takes, rate, waiting, arrives in steps:
        engine = made[asking % len(made)]
        engine.take(name, takes)
        grants.hear(engine.place, [engine.news(name, rate, waiting)], living=places(made))
        if arrives:
            engine.learn(grants)
    for engine in made:
        engine.learn(grants)
        for name in (WORK, ROWS):
            engine.take(name, engine.news(name).left)

    for name in (WORK, ROWS):
        taken = sorted(number for engine in made for number in engine.numbers.get(name, ()))
        assert taken == list(range(len(taken)))
        assert len(taken) == sum(grants.granted_to(name, worker) for worker in range(workers))
    assert sum(grants.granted_to(WORK, worker) for worker in range(workers)) + (grants.left(WORK) or 0) == total
    assert grants.forsaken(WORK) == 0


@given(total=st.integers(1, 5_000), workers=st.integers(1, 4), each=st.integers(1, 2))
def test_engines_that_run_dry_are_given_everything_in_a_few_rounds(total: int, workers: int, each: int) -> None:
    grants, made = Grants({WORK: total}, workers, each), engines(workers, each)
    grants.open(WORK)
    rounds = 0
    while grants.left(WORK):
        rounds += 1
        for engine in made:
            engine.learn(grants)
            engine.take(WORK, total)
            grants.hear(engine.place, [engine.news(WORK, per_second=1)], living=places(made))

    assert rounds <= 7


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20)), max_size=30))
def test_a_feeder_s_rows_go_to_who_waits_and_none_is_given_ahead_to_who_has_not_taken_any(rows) -> None:
    grants, made = Grants({}, 2, 2), engines(2, 2)
    wanted = 0
    for asking, waiting in rows:
        engine = made[asking]
        grants.hear(engine.place, [engine.news(ROWS, waiting=waiting)], living=places(made))
        engine.learn(grants)
        engine.take(ROWS, waiting)
        wanted += waiting

    assert sum(len(engine.numbers.get(ROWS, ())) for engine in made) == wanted
    assert sum(grants.granted_to(ROWS, worker) for worker in range(2)) == wanted


def test_few_iterations_are_divided_at_once_over_workers_first() -> None:
    grants = Grants({WORK: 4}, 3, 2)
    grants.open(WORK)

    assert [grants.granted_to(WORK, worker) for worker in range(3)] == [2, 1, 1]
    assert grants.left(WORK) == 0
    assert {grant.engine for grant in grants.of(0)[1]} == {0, 1}


def test_before_its_opening_nothing_of_a_name_is_given_and_opening_again_gives_nothing() -> None:
    grants = Grants({WORK: 10}, 2, 1)

    assert (
        grants.hear(Place(0, 0), [GrantNews(WORK, 0, left=0, per_second=0, waiting=3)], living=[Place(0, 0)]) == set()
    )
    assert set(grants.open(WORK)) == {0, 1}
    assert grants.open(WORK) == ()
    assert grants.open("iterations/other") == ()


def test_an_engine_with_enough_ahead_gets_nothing_more() -> None:
    grants = Grants({WORK: 100_000}, 2, 1)
    grants.open(WORK)
    living = [Place(0, 0), Place(1, 0)]

    assert grants.hear(living[0], [GrantNews(WORK, 1, left=200, per_second=100, waiting=0)], living=living) == set()
    assert grants.hear(living[0], [GrantNews(WORK, 1, left=199, per_second=100, waiting=0)], living=living) == {0}


def test_what_is_on_its_way_is_not_granted_twice() -> None:
    grants = Grants({}, 1, 1)
    news = GrantNews(ROWS, 0, left=0, per_second=0, waiting=4)

    assert grants.hear(Place(0, 0), [news], living=[Place(0, 0)]) == {0}
    assert grants.hear(Place(0, 0), [news], living=[Place(0, 0)]) == set()
    assert grants.granted_to(ROWS, 0) == 4


def test_what_remains_goes_to_the_living_engines_only() -> None:
    grants = Grants({WORK: 4_000}, 3, 1)
    grants.open(WORK)
    before = grants.granted_to(WORK, 0)
    news = GrantNews(WORK, 1, left=0, per_second=5_000, waiting=0)

    assert grants.hear(Place(1, 0), [news], living=[Place(1, 0), Place(2, 0)]) == {1, 2}
    assert grants.granted_to(WORK, 0) == before


def test_a_range_that_an_engine_has_is_not_sent_again_and_keeps_its_number() -> None:
    grants = Grants({WORK: 100_000}, 1, 1)
    grants.open(WORK)
    version, (first,) = grants.of(0)
    grants.hear(Place(0, 0), [GrantNews(WORK, 1, left=0, per_second=10, waiting=0)], living=[Place(0, 0)])
    newer, (second,) = grants.of(0)

    assert (second.first_range, newer) == (first.first_range + 1, version + 1)
    assert second.ranges[0].start == first.ranges[-1].stop


def test_what_a_worker_had_left_is_known_by_name() -> None:
    grants = Grants({}, 1, 1)
    grants.hear(Place(0, 0), [GrantNews(ROWS, 0, left=0, per_second=0, waiting=9)], living=[])
    assert grants.unused_by(0) == {ROWS: 9}
    grants.hear(Place(0, 0), [GrantNews(ROWS, 1, left=2, per_second=0, waiting=0)], living=[])

    assert grants.unused_by(0) == {ROWS: 2}
    assert grants.granted_to("feeder/other", 0) == 0


def test_a_new_attempt_begins_anew_and_what_the_old_one_had_is_not_given_again() -> None:
    grants = Grants({WORK: 10_000}, 2, 1)
    grants.open(WORK)
    lost, other = engines(2, 1)
    for each in (lost, other):
        each.learn(grants)
        each.take(WORK, 5)
    granted = grants.granted_to(WORK, 0)
    grants.replace(0, 1)
    assert (grants.granted_to(WORK, 0), grants.former(WORK)) == (0, {(0, 1): granted})

    newcomer = Engine(lost.place)
    for _ in range(10):
        for each in (newcomer, other):
            grants.hear(each.place, [each.news(WORK, per_second=1_000, waiting=1)], living=[lost.place, other.place])
            each.learn(grants)
            each.take(WORK, 10_000)

    done = other.numbers[WORK] + newcomer.numbers[WORK]
    assert len(done) == len(set(done)) == 10_000 - granted
    assert not set(done) & set(lost.numbers[WORK])


def test_what_an_attempt_had_left_when_it_was_replaced_stays_known() -> None:
    grants = Grants({}, 1, 1)
    grants.hear(Place(0, 0), [GrantNews(ROWS, 0, left=0, per_second=0, waiting=9)], living=[])
    grants.replace(0, 1)
    grants.replace(0, 2)

    assert (grants.unused_by(0), grants.unused_by_former()) == ({}, {ROWS: 9})
    assert grants.former("feeder/other") == {}


def test_who_was_idle_leaves_its_successor_what_is_known_of_its_numbers_and_the_rest_is_not_waited_for() -> None:
    grants = Grants({WORK: 100}, 2, 1)
    grants.open(WORK)
    _, before = grants.of(0)
    grants.replace(0, 1, was_idle=True)
    assert before
    assert grants.of(0)[1] == before
    assert grants.former(WORK) == {}

    # Another master has granted it, and may have told it to begin.
    for latest in ((), (range(40),)):
        late = Grants({WORK: 100}, 2, 1)
        late.learn(0, [Granted(WORK, 0, ranges=1, numbers=40, end=40, latest=latest)], is_all=True)
        late.replace(0, 1, was_idle=True)
        assert late.of(0)[1] == ()
        assert late.former(WORK) == {(0, 1): 40}


@given(st.integers(1, 3_000), st.integers(1, 40), st.integers(0, 2), st.integers(0, 30))
def test_numbers_that_were_meant_for_somebody_who_never_came_are_done_by_others(
    total: int, pace: int, absent: int, deaf: int
) -> None:
    grants = Grants({WORK: total}, 3, 1)
    grants.open(WORK)
    grants.take_back(absent)
    present = [Engine(Place(worker, 0)) for worker in range(3) if worker != absent]

    for _ in range(deaf):  # one of them hears nothing of its own while the other takes what there is
        present[0].learn(grants)
        present[0].take(WORK, pace)
        grants.hear(
            present[0].place,
            [present[0].news(WORK, per_second=pace, waiting=1)],
            living=[each.place for each in present],
        )
    for _ in range(total + 10):
        for each in present:
            each.learn(grants)
            each.take(WORK, pace)
            grants.hear(
                each.place, [each.news(WORK, per_second=pace, waiting=1)], living=[one.place for one in present]
            )

    done = sorted(number for each in present for number in each.numbers.get(WORK, ()))
    assert done == list(range(total))


@pytest.mark.promise("run-iterations")
def test_an_engine_without_a_user_is_granted_nothing_that_others_would_miss() -> None:
    grants = Grants({WORK: 30}, 3, 1, users={WORK: 2})
    assert grants.open(WORK) == (0, 1)
    idle = GrantNews(WORK, known=0, left=0, per_second=0, waiting=0)
    everybody = [Place(worker, 0) for worker in range(3)]
    assert grants.hear((2, 0), [idle], living=everybody) == set()
    assert [grants.granted_to(WORK, worker) for worker in range(3)] == [15, 15, 0]

    grants = Grants({WORK: 1_000}, 3, 1, users={WORK: 2})
    grants.open(WORK)
    grants.hear((0, 0), [GrantNews(WORK, known=1, left=0, per_second=400, waiting=1)], living=everybody)
    assert grants.left(WORK) == 0
    assert sum(grants.granted_to(WORK, worker) for worker in range(2)) == 1_000
    # A user that has moved there takes them as any other.
    grants = Grants({WORK: 1_000}, 3, 1, users={WORK: 2})
    grants.open(WORK)
    assert grants.hear((2, 0), [replace(idle, waiting=1)], living=everybody) == {2}


def test_as_many_feeders_as_engines_have_are_granted_and_one_more_is_told() -> None:
    grants = Grants({}, workers=1, engines=1)
    for name in range(NAMES_MAX):
        grants.hear((0, 0), [GrantNews(f"feeder/{name}", 0, left=0, per_second=1, waiting=1)], living=[(0, 0)])
    assert len(grants.of(0)[1]) == NAMES_MAX
    assert not grants.has_left_out

    grants.hear((0, 0), [GrantNews("feeder/more", 0, left=0, per_second=1, waiting=1)], living=[(0, 0)])
    assert grants.has_left_out


class Counted(list):
    """Places that count how often somebody looks through them, or asks for one."""

    looked = 0

    def __iter__(self):
        self.looked += len(self)
        return super().__iter__()

    def __contains__(self, place: object) -> bool:
        self.looked += 1
        return place[0] < len(self)


@pytest.mark.parametrize(("name", "rows"), [(WORK, 0), (ROWS, 0), (ROWS, 10**9)])
def test_who_asks_is_given_some_without_a_look_at_all_the_others(name: str, rows: int) -> None:
    workers = 200
    grants, living = Grants({WORK: 10**9}, workers, 1), Counted(Place(worker, 0) for worker in range(workers))
    grants.open(WORK)
    for worker in range(workers):
        news = GrantNews(name, 1, left=0, per_second=10, waiting=1, rows=rows)
        assert grants.hear((worker, 0), [news], living=living) == {worker}

    assert living.looked == 0


def test_the_end_of_a_book_is_divided_over_the_takers_that_live_and_only_there_they_are_looked_at() -> None:
    grants, living = Grants({WORK: 100_000}, 4, 1), Counted(Place(worker, 0) for worker in range(3))
    grants.open(WORK)
    first, asks = grants.granted_to(WORK, 3), 0
    while grants.left(WORK):
        grants.hear((asks % 3, 0), [GrantNews(WORK, asks, left=0, per_second=1_000, waiting=1)], living=living)
        asks += 1

    assert asks > 4
    assert 4 <= living.looked <= 2 * 4
    assert grants.granted_to(WORK, 3) == first, "who is lost is given nothing of the rest"


def test_an_engine_that_there_is_not_is_granted_nothing() -> None:
    grants = Grants({}, 2, 1)
    news = [GrantNews(ROWS, 0, left=0, per_second=1, waiting=1)]

    assert [grants.hear(place, news, living=[place]) for place in ((0, 1), (2, 0), (1, 0))] == [set(), set(), {1}]
