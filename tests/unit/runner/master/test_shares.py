"""Whoever comes, goes, freezes and comes back: nothing is done twice, and everything again as soon as it may be."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.load.lots import Lot
from loadstone_protocol.messages import EngineNews, EngineStage
from loadstone_runner.master.grants import Place
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

    def __init__(self, seed: int, workers: int, engines: int) -> None:
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
        return {place: each.attempt for place, each in self.engines.items() if place.worker not in self.gone}

    def settle(self) -> None:
        for worker in self.shares.settle(self.able(), from_ns=0, moves=True):
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
        worker = self.dice.randrange(self.workers)
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
def test_no_user_ever_lives_twice_and_in_the_end_all_do(seed: int, workers: int, engines: int, steps: int) -> None:
    world = World(seed, workers, engines)

    for _ in range(steps):
        world.step()
        living = [number for engine in world.live() for number in engine.users()]
        assert len(living) == len(set(living))

    world.calm_down()
    living = [number for engine in world.engines.values() for number in engine.users()]
    assert sorted(living) == list(range(WHOLE))
    assert world.shares.are_settled


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
