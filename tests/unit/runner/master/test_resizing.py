"""Other numbers of workers are wanted while a run goes on: who is waited for, who is to leave, and who is shown how."""

from __future__ import annotations

from math import gcd
from typing import Any

import pytest

from loadstone_core.units import SECOND
from loadstone_protocol.messages import (
    EngineNews,
    EngineStage,
    Granted,
    GrantNews,
    Heartbeat,
    Hello,
    Peer,
    Refusal,
)
from loadstone_runner.master.crew import LATE_SLOT, LATE_SLOTS, Crew
from loadstone_runner.master.grants import Grants
from loadstone_runner.master.losses import Losses
from loadstone_runner.master.member import Departure, Member, WorkerState
from loadstone_runner.master.roster import LEASE_NS, LEASE_SLACK_NS, Roster
from loadstone_runner.master.shares import Shares
from loadstone_runner.master.views import waiting_for, worker_views

pytestmark = pytest.mark.promise("live-replicas")
LOST_NS = LEASE_NS + LEASE_SLACK_NS


def roster(expected: int = 2, *, epoch: int = 1) -> Roster:
    return Roster(run_uid="run", epoch=epoch, expected=expected)


def joined(who: Roster, worker: int, *, attempt: int = 1, now_ns: int = 0) -> Member:
    peer = Peer("run", worker, attempt, "b", f"pod-{worker}")
    told = Hello(peer=peer, protocol_major=1, protocol_minor=0, script_digest="", engines=1, highest_epoch=1)
    member = who.join(told, now_ns)
    assert isinstance(member, Member)
    return member


def beating(who: Roster, worker: int, stage: EngineStage = EngineStage.RUNNING) -> None:
    engine: Any = EngineNews(
        engine=0, start=1, stage=stage, users=0, loop_lag_ns=0, schedule_slip_ns=0, grants=(), over=frozenset(),
        script=None, started_at_ns=0,
    )  # fmt: skip
    beat: Any = Heartbeat(
        number=1, sent_ns=0, applied=None, applied_digest="", assignment=0, engines=(engine,), cpu_permille=0,
        memory_bytes=0, memory_limit_bytes=0, round_trip_ns=1, conflict=None, is_draining=False,
    )  # fmt: skip
    who.hear(who.members[worker], beat, 0)


def shown(who: Roster) -> list[str]:
    return [each.state for each in worker_views(who, Losses())]


def test_a_load_that_goes_on_does_not_wait_for_workers_that_are_added() -> None:
    who = roster(1)
    who.end(joined(who, 0))
    who.resize(3, is_barred=False)

    assert [each.is_excused for each in who.members] == [False, True, True]
    assert who.are_all_settled()
    member = joined(who, 2)
    assert (member.state, who.are_all_settled()) == (WorkerState.CONNECTED, False)
    assert who.tick(LOST_NS) == ()


def test_before_the_load_the_workers_that_are_added_are_waited_for() -> None:
    who = roster(1)
    who.note_applied(joined(who, 0))
    assert who.are_applied
    who.resize(2, is_barred=True)

    assert not who.are_applied
    assert waiting_for(who, has_director=True, is_set_up=True) == "worker 1 of 2 to connect"
    who.note_applied(joined(who, 1))
    assert who.are_applied


def test_before_the_load_nobody_waits_for_workers_that_are_wanted_no_more() -> None:
    who = roster(3)
    who.note_applied(joined(who, 0))
    who.resize(1, is_barred=True)

    assert who.are_applied
    assert who.missing() == ()
    assert [each.worker for each in worker_views(who, Losses())] == [0]
    # And again for those that are wanted after all.
    who.resize(2, is_barred=True)
    assert who.missing() == (1,)
    assert not who.are_applied


def test_who_is_to_leave_gets_nothing_more_to_do_and_is_shown_when_it_has_nothing_left() -> None:
    who = roster(2)
    for worker in range(2):
        joined(who, worker)
        beating(who, worker)
    assert who.able() == {(0, 0): 1, (1, 0): 1}
    who.resize(1, is_barred=False)

    assert who.able() == {(0, 0): 1}
    assert shown(who) == ["running", "running"]
    who.retire(who.members[1])
    assert shown(who) == ["running", "retired"]
    # Its pod may be about to end, so it is not taken back.
    who.resize(2, is_barred=False)
    beating(who, 1)
    assert (shown(who), who.able()) == (["running", "retired"], {(0, 0): 1})
    who.dismiss(who.members[1])
    assert (shown(who), who.lost()) == (["running", "ended"], ())
    joined(who, 1, attempt=2)
    beating(who, 1)
    assert who.able() == {(0, 0): 1, (1, 0): 2}


def test_who_is_to_leave_stands_in_as_long_as_nobody_is_there_who_is_wanted() -> None:
    who = roster(2)
    for worker in range(2):
        joined(who, worker)
        beating(who, worker)
    who.resize(1, is_barred=False)
    who.lose(0, 1, Departure("Evicted", ""))
    assert who.able() == {(1, 0): 1}

    joined(who, 0, attempt=2)
    beating(who, 0)
    assert who.able() == {(0, 0): 2}


def test_a_worker_that_is_lost_before_it_has_left_is_lost_and_not_one_of_those_that_are_wanted() -> None:
    who = roster(2)
    joined(who, 0)
    joined(who, 1)
    who.resize(1, is_barred=False)
    who.lose(1, 1, Departure("Evicted", ""))

    assert ([each.worker for each in who.lost()], who.lost_of_wanted()) == ([1], ())
    assert waiting_for(who, has_director=True, is_set_up=True) == "worker 0 of 1 to import the script and be ready"


def test_a_worker_that_has_left_and_is_wanted_again_comes_as_another() -> None:
    who = roster(2)
    joined(who, 0)
    who.resize(1, is_barred=False)
    who.end(joined(who, 1))
    who.resize(2, is_barred=False)

    assert joined(who, 1, attempt=2).state is WorkerState.CONNECTED
    assert not who.are_all_settled()


def test_a_later_master_awaits_who_may_be_there_still_and_calls_nobody_lost_that_it_never_needed() -> None:
    who = roster(1, epoch=2)
    who.resize(4, is_barred=False)
    who.resize(3, is_barred=False)
    who.await_all(SECOND)
    assert [each.is_excused for each in who.members] == [False, True, True, False]
    joined(who, 1, now_ns=2 * SECOND)

    silent = who.tick(SECOND + LOST_NS + 1)

    assert [each.worker for each in silent] == [0, 2, 3]
    states = [WorkerState.LOST, WorkerState.SUSPECT, WorkerState.EXPECTED, WorkerState.ENDED]
    assert [each.state for each in who.members] == states
    # It may have been there, so its next pod is another attempt.
    assert who.members[2].attempt == 1
    assert [each.worker for each in who.lost()] == [0]
    assert [each.worker for each in who.tick(3 * SECOND + LOST_NS)] == [1]


def test_a_worker_that_was_there_before_its_master_was_started_again_is_lost_though_it_was_to_leave() -> None:
    before, after = roster(2), roster(2)
    for worker in range(2):
        joined(before, worker)
    after.resize(1, is_barred=False)
    after.recall(before.remember())
    after.await_all(0)

    assert [each.worker for each in after.tick(LOST_NS + 1)] == [0, 1]
    # What it did last nobody knows, and that is said.
    assert [each.state for each in after.members] == [WorkerState.LOST, WorkerState.LOST]


def test_who_has_retired_before_the_load_is_not_one_of_those_that_are_ready_for_it() -> None:
    who = roster(2)
    for worker in range(2):
        who.note_applied(joined(who, worker))
    who.resize(1, is_barred=True)
    who.retire(who.members[1])
    who.resize(2, is_barred=True)
    who.note_applied(who.members[1])

    assert (who.ready, who.are_applied) == (1, False)
    who.note_applied(joined(who, 1, attempt=2))
    assert who.are_applied


def test_rows_wait_for_those_who_were_to_leave_too_as_they_may_hold_the_last_ones() -> None:
    grants = Grants({}, 1, 1)
    grants.resize(2)
    grants.await_words()
    rows = [GrantNews("feeder/rows", known=0, left=0, per_second=50, waiting=1)]
    assert not grants.learn(0, [Granted("feeder/rows", 0, ranges=1, numbers=9, end=9)], is_all=True)
    assert grants.hear((0, 0), rows, living=[(0, 0)]) == set()

    assert grants.learn(1, [Granted("feeder/rows", 0, ranges=1, numbers=500, end=900)], is_all=True)
    assert grants.hear((0, 0), rows, living=[(0, 0)]) == {0}
    assert min(each.start for grant in grants.of(0)[1] for each in grant.ranges) == 900


def test_a_roster_that_was_kept_before_there_were_more_is_recalled() -> None:
    before, after = roster(1), roster(1)
    before.end(joined(before, 0))
    after.resize(2, is_barred=False)
    after.recall(before.remember())

    assert [each.state for each in after.members] == [WorkerState.ENDED, WorkerState.EXPECTED]


def test_nobody_beyond_those_that_were_ever_wanted_is_taken_in() -> None:
    who = roster(1)
    who.resize(2, is_barred=False)
    peer = Peer("run", 2, 1, "b", "pod-2")
    told = Hello(peer=peer, protocol_major=1, protocol_minor=0, script_digest="", engines=1, highest_epoch=1)

    assert isinstance(who.join(told, 0), Refusal)


class Link:
    """Keeps the slot that a worker is told."""

    def __init__(self, worker: int) -> None:
        self.peer = Peer("run", worker, 1, "b", f"pod-{worker}")
        self.slot = (0, 0)

    def assign(self, _epoch: int, *, slot: int, slots: int, **_words: object) -> None:
        self.slot = (slot, slots)


def test_users_of_workers_that_were_added_have_numbers_that_no_others_have() -> None:
    grants, shares = Grants({}, 2, 1), Shares(2, 1, whole=10, epoch=1)
    grants.resize(4)
    shares.resize(4)
    who = roster(2)
    who.resize(4, is_barred=False)
    crew = Crew(1, who, grants, shares, lambda _held: None)
    links: list[Any] = [Link(worker) for worker in range(4)]
    for link in links:
        crew.attach(link)
    crew.assign(range(4))

    numbers = [{slot + turn * slots for turn in range(1_000)} for slot, slots in (link.slot for link in links)]
    assert sum(map(len, numbers)) == len(set.union(*numbers))
    assert [link.slot for link in links[:2]] == [(0, 2), (1, 2)]
    assert min(numbers[2] | numbers[3]) > LATE_SLOT
    # Classes of users take turns by these numbers, with a period of their weights together.
    assert all(gcd(LATE_SLOTS, period) == 1 for period in range(2, 1_000))
