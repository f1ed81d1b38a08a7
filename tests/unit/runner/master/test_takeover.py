"""What a master has kept, or its workers hold of it, becomes the tables of the next one."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.component.master_process import plan_of, threshold, users

from loadstone_core.load.change import Aim
from loadstone_core.register import Version
from loadstone_core.units import SECOND
from loadstone_protocol.codec import WireError
from loadstone_protocol.messages import Granted, GrantNews
from loadstone_protocol.messages import Inheritance as Word
from loadstone_runner.master.books import Place
from loadstone_runner.master.course import Course
from loadstone_runner.master.grants import Grants
from loadstone_runner.master.inheritance import ALONE_NS, PATIENCE_NS, Inheritance
from loadstone_runner.master.judge import Judge
from loadstone_runner.master.member import Departure, WorkerState
from loadstone_runner.master.memory import from_memory, to_memory
from loadstone_runner.master.roster import LEASE_NS, LEASE_SLACK_NS, Roster
from loadstone_runner.master.shares import Shares
from loadstone_runner.master.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable

promise = pytest.mark.promise
WORK = "iterations/a"
LOST_NS = LEASE_NS + LEASE_SLACK_NS
PLACES = [Place(0, 0), Place(1, 0)]


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@promise("master-restart")
@given(asked=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 900)), max_size=12), at=st.integers(0, 12))
def test_numbers_are_given_out_as_if_there_had_been_one_master(asked: list[tuple[int, int]], at: int) -> None:
    alone, grants = Grants({WORK: 10_000}, 2, 1), Grants({WORK: 10_000}, 2, 1)
    for each in (alone, grants):
        each.open(WORK)
    for step, (worker, rate) in enumerate(asked):
        if step == at:
            later = Grants({WORK: 10_000}, 2, 1)
            later.recall(through_json(grants.remember()))
            grants = later
        for each in (alone, grants):
            known = each.of(worker)[1][0].first_range if each.of(worker)[1] else 0
            each.hear((worker, 0), [GrantNews(WORK, known, left=0, per_second=rate, waiting=1)], living=PLACES)
    assert [grants.of(worker)[1] for worker in (0, 1)] == [alone.of(worker)[1] for worker in (0, 1)]
    assert grants.left(WORK) == alone.left(WORK)


@promise("master-restart")
def test_what_workers_were_granted_by_a_lost_master_is_granted_to_nobody_else() -> None:
    grants = Grants({WORK: 1_000, "iterations/later": 5}, 2, 1)
    rows = Granted("feeder/rows", 0, ranges=1, numbers=7, end=7)
    grants.learn(0, [Granted(WORK, 0, ranges=3, numbers=250, end=400), rows], is_all=True)
    grants.learn(1, [Granted(WORK, 0, ranges=1, numbers=100, end=200)], is_all=True)
    grants.learn(9, [Granted(WORK, 0, ranges=1, numbers=9, end=999)], is_all=True)
    assert (grants.left(WORK), grants.left("iterations/later"), grants.left("feeder/rows")) == (600, 5, None)
    assert [grants.granted_to(WORK, worker) for worker in (0, 1)] == [250, 100]
    assert grants.open(WORK) == ()
    assert grants.open("iterations/later") != ()
    grants.hear((0, 0), [GrantNews(WORK, known=3, left=0, per_second=50, waiting=1)], living=PLACES)
    [grant] = [each for each in grants.of(0)[1] if each.name == WORK]
    assert (grant.first_range, grant.ranges[0].start) == (3, 400)
    grants.learn(1, (), is_all=False)
    assert (grants.left(WORK), grants.left("feeder/rows")) == (0, None)
    grants.number_from(7)
    assert grants.of(0)[0] == 7


@promise("master-restart")
def test_lots_stay_in_the_hands_that_hold_them_and_who_holds_one_has_to_say_so_again() -> None:
    able = {Place(0, 0): 1, Place(1, 0): 1}
    shares, other = (Shares(3, 1, whole=90, epoch=1) for _ in range(2))
    before = shares.given
    shares.release(2, 1)
    shares.settle(able, from_ns=5 * SECOND, moves=True)
    assert shares.given > before, "what was dealt is to be kept before anybody is told"
    other.recall(through_json(shares.remember()))
    assert [other.of(worker, 1) for worker in range(3)] == [shares.of(worker, 1) for worker in range(3)]
    assert not other.are_settled
    assert other.may_move
    assert other.settle(able, from_ns=9 * SECOND, moves=True) == set()


@promise("master-restart", "live-load")
def test_a_course_goes_on_in_a_pause_and_after_it() -> None:
    plan = plan_of(users(5, 100))
    later = (*plan.scenarios, replace(plan.scenarios[0], name="later", start_ns=50 * SECOND))
    course, other = Course(later), Course(later)
    course.steer([Aim("default", 9)], is_paused=True, at_ns=10 * SECOND)
    other.recall(through_json(course.remember()))
    for each in (course, other):
        each.steer([], is_paused=False, at_ns=30 * SECOND)
    assert (other.scenarios, other.idle_ns(40 * SECOND)) == (course.scenarios, 20 * SECOND)
    assert through_json(other.remember()) == through_json(course.remember())


@promise("master-restart")
def test_a_roster_expects_everybody_who_was_not_over_and_waits_as_long_as_a_lease() -> None:
    roster, other = (Roster(run_uid="u/1", epoch=1, expected=3) for _ in range(2))
    roster.lose(0, 2, Departure("OOMKilled", "too much", 137))
    roster.restore(1, 1)
    assert roster.departed() == [[0, 2, "OOMKilled", "too much", 137]]
    other.recall(through_json(roster.remember()))
    other.await_all(100)
    assert [each.state for each in other.members] == [WorkerState.LOST, WorkerState.ENDED, WorkerState.SUSPECT]
    assert other.members[0].departure == Departure("OOMKilled", "too much", 137)
    assert other.living() == (2,)
    assert not other.is_done(0)
    assert other.tick(100 + LOST_NS) == ()
    assert [each.worker for each in other.tick(101 + LOST_NS)] == [2]


@promise("master-restart")
def test_a_judge_remembers_what_was_broken_and_skips_windows_that_were_open() -> None:
    specs = (threshold("failures:rate < 1%"), threshold("requests:rate > 5/s over 2s", name="pace"))
    judge, other = Judge(specs), Judge(specs)
    for second in range(4):
        judge.observe(second, _Nothing(), may_abort=True)
    other.recall(through_json(judge.remember()))
    assert other.to_status(is_over=False, load_started_ns=1) == judge.to_status(is_over=False, load_started_ns=1)
    assert other.to_status(is_over=False, load_started_ns=1)[1]["verdict"] == "Failed"


class _Nothing:
    def select(self, _metric: str, _labels: object = None) -> list[Any]:
        return []


def test_what_was_decided_in_a_long_run_is_read_whatever_its_size() -> None:
    plans = [{"scenario": {"name": f"s{number}"}, "past": [[{"stages": [7] * 9_000}, number]]} for number in range(600)]
    held = {"plans": plans}
    assert len(json.dumps(held)) > 15_000_000

    assert from_memory(to_memory(held, is_shaped=False)) == held


def test_what_was_decided_travels_small_and_what_cannot_be_read_is_refused() -> None:
    held = {"state": {"stage": "running"}, "setup": "{}", "plans": [{"scenario": {}, "past": [1, 2]}]}
    assert from_memory(to_memory(held, is_shaped=False)) == {"state": {"stage": "running"}, "plans": held["plans"]}
    assert from_memory(to_memory(held, is_shaped=True))["plans"] == [{"scenario": {}, "past": []}]
    for memory in (b"", b"no", to_memory(held, is_shaped=False)[:-9]):
        with pytest.raises(WireError):
            from_memory(memory)


def word(epoch: int = 0, revision: int = 0, since_start_ns: int = -SECOND) -> Word:
    return Word(Version(epoch, revision) if revision else None, since_start_ns, ())


def inheritance(workers: int, on_known: Callable[[], None] = lambda: None) -> Inheritance:
    made = Inheritance()
    made.begin(range(workers), 1_000, on_known, lost_ns=LOST_NS)
    return made


@promise("master-restart")
def test_the_newest_that_anybody_holds_counts_and_the_earliest_start() -> None:
    held = inheritance(4)
    assert (held.newest, held.start_ns()) == (None, 0)
    held.hear(0, 1, word(1, 2), now_ns=10 * SECOND)
    assert held.start_ns() == 0, "who has only been told to be ready knows of no start"
    held.hear(1, 1, word(1, 3, 5 * SECOND), now_ns=12 * SECOND)
    held.hear(2, 1, word(1, 3, 5 * SECOND), now_ns=11 * SECOND)
    assert held.newest == word(1, 3, 5 * SECOND)
    assert held.start_ns() == 6 * SECOND


@promise("master-restart")
def test_a_master_waits_for_all_workers_and_not_for_ever() -> None:
    told: list[str] = []
    held = inheritance(2, lambda: told.append("known"))
    held.when_known(lambda: told.append("done"))
    held.look(1_000 + LOST_NS + ALONE_NS - 1)
    held.hear(0, 1, word(1, 2), now_ns=2_000)
    held.look(2_000 + PATIENCE_NS - 1)
    assert told == []
    held.look(2_000 + PATIENCE_NS)
    assert (told, held.is_whole) == (["known", "done"], False)
    held.hear(1, 1, word(1, 9), now_ns=3_000)
    assert (told, held.is_whole, held.newest) == (["known", "done"], False, word(1, 2))
    held.when_known(lambda: told.append("at once"))
    assert told[-1] == "at once"
    whole, alone = (inheritance(1, lambda: told.append("whole")), inheritance(1, lambda: told.append("alone")))
    whole.hear(0, 1, word(), now_ns=2_000)
    assert (told[-1], whole.newest) == ("whole", None)
    alone.look(1_000 + LOST_NS + ALONE_NS)
    assert told[-1] == "alone"
    assert not alone.is_of_first_attempts
    Inheritance().when_known(lambda: told.append("nothing is awaited"))
    assert told[-1] == "nothing is awaited"


@promise("master-restart")
def test_a_run_that_is_to_be_killed_waits_for_nobody_else_once_one_knows() -> None:
    told: list[str] = []
    held = inheritance(3, lambda: told.append("known"))
    held.hurry(2_000)
    held.hear(0, 1, word(), now_ns=3_000)
    assert (told, held.is_hurried) == ([], True)
    held.hear(1, 1, word(1, 2), now_ns=4_000)
    assert told == ["known"]
    held.hurry(5_000)
    other = inheritance(2, lambda: told.append("other"))
    other.hear(0, 1, word(1, 2), now_ns=2_000)
    assert told == ["known"]
    other.hurry(2_001)
    assert told == ["known", "other"]


@promise("master-restart")
def test_who_knows_nothing_of_the_run_does_not_end_the_waiting_for_those_who_may() -> None:
    told: list[str] = []
    held = inheritance(2, lambda: told.append("known"))
    held.hear(1, 2, word(), now_ns=2_000)
    held.look(2_000 + PATIENCE_NS)
    assert told == []
    held.hear(0, 1, word(1, 2), now_ns=3_000)
    assert (told, held.newest, held.is_of_first_attempts) == (["known"], word(1, 2), False)


@promise("load-moves", "master-restart")
@pytest.mark.parametrize(
    ("has_successor", "followers", "silent_seconds", "is_last"),
    [
        (False, None, 15, True),
        (False, 0, 15, True),
        (True, None, 900, False),
        (True, 0, 900, False),
        (True, 1, 25, False),
        (True, 1, 26, True),
    ],
)
def test_silence_proves_something_only_where_no_later_master_can_have_been_made(
    *, has_successor: bool, followers: int | None, silent_seconds: int, is_last: bool
) -> None:
    standing = Standing()
    standing.has_successor = has_successor
    if followers is not None:
        with standing.followed():
            pass
    with standing.followed() if followers else nullcontext():
        assert standing.is_last(silent_ns=silent_seconds * SECOND) is is_last


@promise("master-restart", "run-iterations")
def test_what_replaced_and_absent_workers_were_granted_is_known_after_a_restart() -> None:
    grants = Grants({WORK: 1_000}, 3, 1)
    grants.open(WORK)
    grants.replace(0, 1)
    grants.take_back(1)
    later = Grants({WORK: 1_000}, 3, 1)
    later.recall(through_json(grants.remember()))
    assert later.former(WORK) == grants.former(WORK) != {}
    assert later.left(WORK) == grants.left(WORK)
    assert later.unused_by_former() == grants.unused_by_former() != {}


@promise("master-restart", "run-iterations")
def test_what_nobody_is_known_to_have_is_waited_for_by_nobody() -> None:
    grants = Grants({WORK: 1_000}, 2, 1)
    grants.await_words()
    grants.learn(0, [Granted(WORK, 0, ranges=2, numbers=150, end=400)], is_all=True)
    assert grants.forsaken(WORK) == 0
    assert grants.forsake({1})
    later = Grants({WORK: 1_000}, 2, 1)
    later.recall(through_json(grants.remember()))
    assert [each.forsaken(WORK) for each in (grants, later)] == [850, 850]
    assert [each.forsaken("feeder/rows") for each in (grants, later)] == [0, 0]


@promise("master-restart", "run-iterations")
def test_what_a_worker_never_heard_of_is_waited_for_by_nobody_once_all_have_told() -> None:
    grants = Grants({WORK: 200}, 2, 1)
    grants.await_words()
    # It was configured before anything was granted, and its master was lost before it heard of more.
    grants.learn(0, [], is_all=True)
    assert grants.forsaken(WORK) == 0
    assert grants.learn(1, [Granted(WORK, 0, ranges=1, numbers=40, end=140)], is_all=True)
    assert grants.forsaken(WORK) == 100
    assert grants.left(WORK) == 60


@promise("master-restart", "run-iterations")
@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("is_late", [False, True])
def test_nobody_is_granted_anything_while_a_worker_may_hold_what_nobody_knows(
    *, is_late: bool, is_restarted: bool
) -> None:
    grants = Grants({WORK: 1_000, "iterations/later": 5}, 2, 1)
    grants.await_words()
    assert not grants.learn(0, [Granted("feeder/rows", 0, ranges=1, numbers=7, end=7)], is_all=True)
    news = [GrantNews("feeder/rows", known=1, left=0, per_second=50, waiting=1)]
    assert grants.hear((0, 0), news, living=PLACES) == set()
    assert grants.open("iterations/later") == ()
    if is_restarted:
        other = Grants({WORK: 1_000, "iterations/later": 5}, 2, 1)
        other.recall(through_json(grants.remember()))
        grants = other
    assert grants.untold == {1}
    if is_late:
        assert grants.forsake({0, 1})
        assert grants.left(WORK) == 0, "nobody knows what the other has of them"
    assert grants.hear((1, 0), news, living=PLACES) == set(), "it has come, and has still to tell"
    told = [Granted("feeder/rows", 0, ranges=2, numbers=20, end=50)]
    assert grants.learn(1, told, is_all=True) is not is_late
    assert not grants.untold
    assert not grants.forsake({0})
    assert (grants.open("iterations/later") == ()) is is_late
    assert grants.hear((0, 0), news, living=PLACES) == {0}
    [grant] = [each for each in grants.of(0)[1] if each.name == "feeder/rows"]
    assert [*grant.ranges] == [range(50, 150)]
