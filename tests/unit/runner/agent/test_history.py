"""An agent remembers the users of its streams, so that a master that has missed them can count them."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.component.master_process import plan_of, users

from loadstone_core.stats.stream import StreamId, UsersAt
from loadstone_core.units import SECOND
from loadstone_runner.agent.history import MOST, History, Moment
from loadstone_runner.master.account import UserSeconds

STREAM = StreamId(0, 1, 0, 1)
SCENARIO = plan_of(users(9, 60)).scenarios[0]


@pytest.mark.promise("master-restart")
@given(seed=st.integers(0, 2**32))
def test_who_is_told_the_history_counts_what_one_has_counted_that_heard_every_second(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311  # samples, not secrets
    heard, told, history = UserSeconds(SCENARIO), UserSeconds(SCENARIO), History()
    second, sequence, live = -2, 0, 0
    for _ in range(40):
        # Sometimes an engine stands still, and sometimes its report is lost on the way to its agent.
        stood = source.choice((0, 0, 0, 0, 2))
        lost = source.choice((0, 0, 0, 0, 1))
        second, sequence = second + 1 + stood + lost, sequence + 1 + lost
        live = source.choice((live, live, source.randrange(9)))
        history.note(Moment(second, sequence, (live,)))
        if second >= 0:
            heard.observe(STREAM, second, live, sequence=sequence)
    told.replay(STREAM, tuple(UsersAt(*each) for each in history.moments), 0)
    told.observe(STREAM, second, live, sequence=sequence)
    assert told.achieved_ns(60 * SECOND) == heard.achieved_ns(60 * SECOND)


def test_a_load_that_does_not_change_is_one_moment_however_long_it_lasts() -> None:
    history = History()
    for second in range(-1, 5_000):
        history.note(Moment(second, second + 2, (4, 5)))
    history.note(Moment(4_999, 5_002, (0, 0)))
    assert history.moments == [Moment(0, 2, (4, 5))]


def test_a_history_is_bounded_and_forgets_its_oldest_part() -> None:
    history = History()
    for second in range(MOST + 10):
        history.note(Moment(second, second + 1, (second % 2,)))
    assert len(history.moments) <= MOST
    assert history.moments[-1].second == MOST + 9


def test_users_that_were_counted_are_counted_on_from_there() -> None:
    before, after = UserSeconds(SCENARIO), UserSeconds(SCENARIO)
    for second in range(5):
        before.observe(STREAM, second, 9, sequence=second + 1)
    before.leave(STREAM)
    after.recall(json.loads(json.dumps(before.remember())))
    assert (after.users, after.peak, after.achieved_ns(60 * SECOND)) == (0, 9, 45 * SECOND)
    after.replay(STREAM, (UsersAt(0, 1, (9,)), UsersAt(5, 6, (9,)), UsersAt(6, 7, (3,)), UsersAt(7, 8, ())), 0)
    assert after.achieved_ns(60 * SECOND) == before.achieved_ns(60 * SECOND) + (9 + 9 + 3) * SECOND
