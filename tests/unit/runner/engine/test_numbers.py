from __future__ import annotations

import pytest
from gevent import spawn
from gevent.hub import get_hub
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.load.grant import Grant
from loadstone_protocol.allotment import GRANT_NAME_MAX
from loadstone_protocol.coordination import GRANTS_MAX
from loadstone_protocol.messages import GrantNews
from loadstone_runner.engine.numbers import Allotment
from loadstone_runner.master.books import Place
from loadstone_runner.master.grants import Grants

SECOND = 1_000_000_000


class Engine:
    """One engine whose users take rows, between heartbeats that are sent by hand."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.allotment = Allotment(lambda: None)
        self.rows: list[int] = []
        self.now_ns = 0

    def begin_users(self, users: int, *, rows_each: int, count: int) -> None:
        def live() -> None:
            for _ in range(rows_each):
                if (row := self.allotment.next_row("accounts", count)) is not None:
                    self.rows.append(row)

        for _ in range(users):
            spawn(live)
        run_greenlets()

    def news(self) -> list[GrantNews]:
        self.now_ns += SECOND
        return [
            GrantNews(each.name, each.known, each.left, each.per_second, each.waiting, each.rows)
            for each in self.allotment.states(self.now_ns)
        ]

    def learn(self, grants: tuple[Grant, ...]) -> None:
        self.allotment.extend([each for each in grants if each.engine == self.place.engine])
        run_greenlets()


def run_greenlets() -> None:
    get_hub().join(timeout=0)
    for _ in range(3):
        spawn(lambda: None).join()


def let_all_hear(master: Grants, engines: list[Engine]) -> None:
    """Exchange heartbeats until nobody is given anything more."""
    living = [each.place for each in engines]
    for _ in range(100):
        changed = [master.hear(each.place, each.news(), living=living) for each in engines]
        if not any(changed):
            return
        for each in engines:
            each.learn(master.of(each.place.worker)[1])
    raise AssertionError("the engines were still given rows after 100 heartbeats")


@settings(deadline=None, max_examples=50)
@given(waves=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), min_size=1, max_size=12))
def test_as_many_users_as_rows_get_one_each_however_unevenly_they_begin(waves) -> None:
    engines = [Engine(Place(number, 0)) for number in range(4)]
    master = Grants({}, 4, 1)
    count = sum(users for _, users in waves)
    for engine, users in waves:
        engines[engine].begin_users(users, rows_each=1, count=count)
        let_all_hear(master, engines)

    assert sorted(row for each in engines for row in each.rows) == list(range(count))


def test_users_who_go_on_taking_rows_find_them_there() -> None:
    engine, master = Engine(Place(0, 0)), Grants({}, 1, 1)
    engine.begin_users(5, rows_each=40, count=100_000)
    let_all_hear(master, [engine])

    assert len(engine.rows) == 200
    assert engine.news()[0].left > 0


def test_near_the_end_of_the_rows_none_are_held_ahead() -> None:
    engine, master = Engine(Place(0, 0)), Grants({}, 1, 1)
    engine.begin_users(5, rows_each=40, count=210)
    let_all_hear(master, [engine])

    assert sorted(engine.rows) == list(range(200))
    assert engine.news()[0].left == 0


def test_rows_that_were_granted_before_anybody_asked_are_there() -> None:
    allotment = Allotment(lambda: None)
    allotment.extend([Grant("feeder/accounts", 0, (range(5, 7),), 0)])

    assert [allotment.next_row("accounts"), allotment.next_row("accounts")] == [5, 6]


def test_who_waits_is_let_go_when_the_load_is_over() -> None:
    allotment = Allotment(lambda: None)
    heard: list[int | None] = []
    waiting = spawn(lambda: heard.append(allotment.next_row("accounts")))
    run_greenlets()
    allotment.close()
    waiting.join()

    assert heard == [None]
    assert allotment.next_row("accounts") is None


def test_rows_that_no_master_would_grant_are_refused_and_the_others_are_not_lost() -> None:
    allotment = Allotment(lambda: None)
    allotment.close()  # so that nobody waits for a grant
    longest = "x" * (GRANT_NAME_MAX - len("feeder/"))

    with pytest.raises(ValueError, match="rows of 128 names of 256 characters"):
        allotment.next_row(longest + "x")
    assert allotment.next_row(longest) is None
    for number in range(GRANTS_MAX - 1):
        assert allotment.next_row(str(number)) is None
    with pytest.raises(ValueError, match="one more: rows of 128 names"):
        allotment.next_row("one more")
    assert allotment.next_row("7") is None
    assert len(allotment.states(0)) == GRANTS_MAX
