"""Whoever comes, goes, freezes and comes back: nothing is done twice, and everything again as soon as it may be."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.load.lots import Lot
from loadstone_protocol.messages import EngineNews, EngineStage
from loadstone_runner.master.books import Place
from loadstone_runner.master.shares import Shares

WHOLE = 60


class Engine:
    """The other end: follows what it was told when that arrives, and keeps users of what it gave up for a while."""

    def __init__(self, place: Place, attempt: int) -> None:
        self.place = place
        self.attempt = attempt
        self.holding = 0
        self.lots: set[Lot] = set()
        self.finishing: set[int] = set()
        self.inbox: list[tuple[int, set[Lot]]] = []
        self.outbox: list[EngineNews] = []
        self.is_dead = False

    def tell(self, shares: Shares) -> None:
        version, told = shares.of(self.place.worker, self.attempt)
        self.inbox.append((version, {each.lot for each in told if each.engine == self.place.engine}))

    def obey(self) -> None:
        if not self.inbox or self.is_dead:
            return
        version, lots = self.inbox.pop(0)
        if version > self.holding:
            self.finishing |= numbers(self.lots) - numbers(lots)
            self.holding, self.lots = version, lots

    def finish_one(self) -> None:
        if self.finishing:
            self.finishing.pop()

    def speak(self) -> None:
        if not self.is_dead:
            self.outbox.append(news(self.place.engine, self.holding, len(self.finishing)))

    def users(self) -> list[int]:
        return [] if self.is_dead else sorted(numbers(self.lots) | self.finishing)


def news(engine: int, holding: int, leaving: int = 0) -> EngineNews:
    return EngineNews(
        engine=engine,
        start=1,
        stage=EngineStage.RUNNING,
        users=0,
        loop_lag_ns=0,
        schedule_slip_ns=0,
        grants=(),
        over=frozenset(),
        script=None,
        started_at_ns=0,
        holding=holding,
        leaving=leaving,
    )


def numbers(lots: set[Lot]) -> set[int]:
    return {number for lot in lots for number in range(lot.first, WHOLE, lot.parts)}


class World:
    """A master's table and the engines it speaks of; the network keeps the order of a connection and loses nothing."""

    def __init__(self, seed: int, workers: int, engines: int, *, resizes: bool = False) -> None:
        self.resizes = resizes
        self.wanted = workers
        self.dice = random.Random(seed)  # noqa: S311 a game
        self.shares = Shares(workers, engines, whole=WHOLE, epoch=1)
        self.workers, self.each = workers, engines
        self.attempts = [1] * workers
        self.gone: set[int] = set()
        self.engines = {Place(w, e): Engine(Place(w, e), 1) for w in range(workers) for e in range(engines)}
        self.ghosts: list[Engine] = []  # of attempts that were replaced before they were known to have ended
        for engine in self.engines.values():
            engine.tell(self.shares)

    def able(self) -> dict[Place, int]:
        there = {place: each.attempt for place, each in self.engines.items() if place.worker not in self.gone}
        return {place: attempt for place, attempt in there.items() if place.worker < self.wanted}

    def settle(self) -> None:
        leaving = range(self.wanted, self.workers)
        for worker in self.shares.settle(self.able(), from_ns=0, moves=True, leaving=leaving):
            self.tell(worker)

    def resize(self, wanted: int) -> None:
        """Another number of workers is wanted; those who are new are there at once, or come some time later."""
        self.wanted = wanted
        for worker in range(self.workers, wanted):
            self.attempts.append(0)
            self.gone.add(worker)
        self.workers = max(self.workers, wanted)
        self.shares.resize(self.workers)
        for worker in self.shares.divide(wanted):
            self.tell(worker)

    def tell(self, worker: int) -> None:
        for place, engine in self.engines.items():
            if place.worker == worker and not engine.is_dead:
                engine.tell(self.shares)

    def lose(self, worker: int) -> None:
        """Its engines end, and that is known at once."""
        for place, engine in self.engines.items():
            if place.worker == worker:
                engine.is_dead = True
        self.gone.add(worker)
        self.shares.release(worker, self.attempts[worker])

    def freeze(self, worker: int) -> None:
        """It falls silent, and nobody knows whether it still does load."""
        self.gone.add(worker)

    def replace(self, worker: int) -> None:
        self.ghosts += [each for place, each in self.engines.items() if place.worker == worker and not each.is_dead]
        self.attempts[worker] += 1
        for engine in range(self.each):
            place = Place(worker, engine)
            self.engines[place] = Engine(place, self.attempts[worker])
            self.engines[place].tell(self.shares)
        self.gone.discard(worker)

    def bury(self) -> None:
        """The lease of one that was replaced has run out: it stopped before."""
        if self.ghosts:
            ghost = self.ghosts.pop()
            ghost.is_dead = True
            self.shares.release(ghost.place.worker, ghost.attempt, ghost.place.engine)

    def step(self) -> None:
        worker = self._a_worker()
        engine = self.engines[Place(worker, self.dice.randrange(self.each))]
        match self.dice.randrange(12):
            case 0:
                self.lose(worker)
            case 1 if worker in self.gone:
                self.replace(worker)
            case 2:
                self.freeze(worker)
            case 3:
                self.bury()
            case 4 | 5 | 6:
                engine.obey()
            case 7:
                engine.finish_one()
            case 8 | 9:
                engine.speak()
            case _:
                if engine.outbox and worker not in self.gone:
                    self.shares.hear(worker, engine.attempt, engine.outbox.pop(0))
        self.settle()

    def _a_worker(self) -> int:
        """Return one that is there, now and then after another number of them was wanted."""
        if self.resizes and not self.dice.randrange(12):
            self.resize(self.dice.randrange(1, 6))
        worker = self.dice.randrange(self.workers)
        if not self.attempts[worker]:
            self.replace(worker)
        return worker

    def live(self) -> list[Engine]:
        return [*self.engines.values(), *self.ghosts]

    def calm_down(self) -> None:
        """Everybody who fell silent is replaced, every message arrives, every user finishes."""
        for worker in sorted(self.gone):
            self.replace(worker)
        while self.ghosts:
            self.bury()
        for _ in range(12):
            self.settle()
            for engine in self.engines.values():
                while engine.inbox:
                    engine.obey()
                engine.finishing.clear()
                engine.speak()
                for each in engine.outbox:
                    self.shares.hear(engine.place.worker, engine.attempt, each)
                engine.outbox.clear()


@pytest.mark.promise("load-moves")
@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 2), st.integers(1, 80))
@pytest.mark.parametrize("kind", ["whose number stays", "of which others are wanted"])
def test_no_user_ever_lives_twice_and_in_the_end_all_do(
    kind: str, seed: int, workers: int, engines: int, steps: int
) -> None:
    world = World(seed, workers, engines, resizes=kind != "whose number stays")

    for _ in range(steps):
        world.step()
        living = [number for engine in world.live() for number in engine.users()]
        assert len(living) == len(set(living))

    world.calm_down()
    living = [number for engine in world.engines.values() for number in engine.users()]
    assert sorted(living) == list(range(WHOLE))
    assert world.shares.are_settled
    for place, engine in world.engines.items():
        assert place.worker < world.wanted or not engine.users()
    assert not any(world.shares.has_any(worker) for worker in range(world.wanted, world.workers))


@pytest.mark.promise("load-moves")
@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 2), st.lists(st.integers(1, 8), min_size=1, max_size=4))
def test_workers_that_are_added_and_taken_away_have_about_the_same_in_the_end(
    seed: int, workers: int, engines: int, numbers_wanted: list[int]
) -> None:
    world = World(seed, workers, engines)
    for wanted in numbers_wanted:
        world.resize(wanted)
        world.calm_down()

    shares = [len(world.engines[place].users()) for place in world.able()]
    assert sum(shares) == WHOLE
    even = WHOLE / (world.wanted * engines)
    # A slot is cut once, into pieces for eight times as many as there were then.
    assert max(shares) <= even + max(2, WHOLE // 16), (workers, engines, numbers_wanted, shares)


def test_a_slot_that_is_cut_stays_where_it_is_until_somebody_can_have_its_pieces() -> None:
    shares = Shares(1, 1, whole=12, epoch=1)
    shares.resize(2)

    assert shares.divide(2) == {0}
    assert sum(each.lot.share(12) for each in shares.of(0, 1)[1]) == 12
    assert shares.settle({Place(0, 0): 1}, from_ns=5, moves=True) == set()
    assert shares.settle({Place(0, 0): 1, Place(1, 0): 1}, from_ns=5, moves=True) == {0}
    assert sum(each.lot.share(12) for each in shares.of(0, 1)[1]) == 6
    assert shares.of(1, 1)[1] == ()
    assert shares.hear(0, 1, news(0, shares.of(0, 1)[0]))
    assert shares.settle({Place(0, 0): 1, Place(1, 0): 1}, from_ns=9, moves=False) == {1}
    assert sum(each.lot.share(12) for each in shares.of(1, 1)[1]) == 6
    assert {each.from_ns for each in shares.of(1, 1)[1]} == {9}


def test_where_nothing_else_moves_whoever_leaves_is_relieved_by_whoever_is_there() -> None:
    shares = Shares(3, 1, whole=12, epoch=1)
    shares.divide(2)
    shares.release(0, 1)
    able = {Place(1, 0): 1}

    assert 2 in shares.settle(able, from_ns=0, moves=False, leaving=(2,))
    assert shares.hear(2, 1, news(0, shares.of(2, 1)[0]))
    assert shares.settle(able, from_ns=0, moves=False, leaving=(2,)) == {1}
    assert not shares.has_any(2)
    # What the lost one was to do is done by nobody.
    assert 0 < sum(each.lot.share(12) for each in shares.of(1, 1)[1]) < 12


def test_what_workers_say_to_do_belongs_to_them_where_their_number_was_changed() -> None:
    first, later = Shares(1, 1, whole=12, epoch=1), Shares(1, 1, whole=12, epoch=2)
    for shares in (first, later):
        shares.resize(2)
    first.divide(2)
    able = {Place(0, 0): 1, Place(1, 0): 1}
    first.settle(able, from_ns=0, moves=True)
    first.hear(0, 1, news(0, first.of(0, 1)[0]))
    first.settle(able, from_ns=0, moves=True)
    told = {worker: (1, first.of(worker, 1)[1]) for worker in (0, 1)}

    later.inherit(told, has_resized=True)
    assert later.divide(2) == set()
    assert not later.may_move
    assert {worker: (1, later.of(worker, 1)[1]) for worker in (0, 1)} == told


@pytest.mark.promise("load-moves")
@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(2, 4))
def test_what_came_home_is_what_was_there_in_the_beginning(seed: int, workers: int) -> None:
    world = World(seed, workers, 1)
    world.calm_down()
    first = {place: engine.users() for place, engine in world.engines.items()}

    for _ in range(40):
        world.step()
    world.calm_down()

    assert {place: engine.users() for place, engine in world.engines.items()} == first


def test_where_nothing_moves_a_lost_share_waits_for_its_home() -> None:
    shares = Shares(2, 1, whole=10, epoch=1)
    shares.release(0, 1)

    assert shares.settle({Place(1, 0): 1}, from_ns=5, moves=False) == set()
    assert shares.settle({Place(0, 0): 2, Place(1, 0): 1}, from_ns=7, moves=False) == {0}
    assert [(each.lot, each.from_ns) for each in shares.of(0, 2)[1]] == [(Lot(0, 2), 7)]
    assert shares.of(0, 1)[1] == ()


def test_versions_of_an_earlier_master_are_never_taken_for_those_of_a_later_one() -> None:
    earlier, later = (Shares(1, 1, whole=1, epoch=epoch) for epoch in (1, 2))

    assert earlier.of(0, 1)[0] < later.of(0, 1)[0]
    assert not later.hear(0, 1, news(0, earlier.of(0, 1)[0]))
    assert later.hear(0, 1, news(0, later.of(0, 1)[0]))


def test_it_is_kept_which_attempts_do_something() -> None:
    shares, later = (Shares(2, 1, whole=10, epoch=1) for _ in range(2))
    shares.release(1, 1)
    shares.settle({Place(0, 0): 1, Place(1, 0): 2}, from_ns=0, moves=False)
    later.recall(json.loads(json.dumps(shares.remember())))
    assert shares.attempts() == later.attempts() == {0: 1, 1: 2}
    later.release(0, 1)
    assert later.attempts() == {1: 2}


def parts_of(shares: Shares, workers: int, whole: int) -> list[int]:
    return [sum(each.lot.share(whole) for each in shares.of(worker, 1)[1]) for worker in range(workers)]


def hand_over(shares: Shares, workers: int) -> None:
    """Let every engine follow at once whatever it is told."""
    shares.resize(workers)
    shares.divide(workers)
    for _ in range(3):
        shares.settle({Place(worker, 0): 1 for worker in range(workers)}, from_ns=0, moves=True)
        for worker in range(workers):
            shares.hear(worker, 1, news(0, shares.of(worker, 1)[0]))


@pytest.mark.promise("live-replicas")
def test_of_a_rate_everybody_has_the_users_for_what_is_due_to_them() -> None:
    shares = Shares(2, 1, whole=1_000, epoch=1, most_users=10)
    hand_over(shares, 5)

    assert parts_of(shares, 5, 1_000) == [200] * 5
    assert parts_of(shares, 5, 10) == [2] * 5


@pytest.mark.promise("live-replicas")
def test_a_load_that_has_grown_since_it_was_planned_is_shared_by_all() -> None:
    shares = Shares(2, 1, whole=2, epoch=1)
    hand_over(shares, 10)

    assert all(60 <= part <= 140 for part in parts_of(shares, 10, 1_000))


@pytest.mark.promise("live-replicas")
def test_a_few_workers_more_at_a_time_leave_nobody_without_load() -> None:
    shares = Shares(1, 1, whole=6_400, epoch=1)
    for workers in (2, 4, 8, 16, 32, 64):
        hand_over(shares, workers)
        assert parts_of(shares, workers, 6_400) == [6_400 // workers] * workers


@pytest.mark.promise("live-replicas", "master-restart")
def test_what_was_kept_before_there_were_more_workers_is_recalled() -> None:
    before, after = (Shares(2, 1, whole=10, epoch=1) for _ in range(2))
    kept = json.loads(json.dumps(before.remember()))
    after.resize(4)
    after.recall(kept)

    assert after.wanted == 2
    assert after.of(3, 1)[1] == ()
