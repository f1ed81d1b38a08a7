"""What a master relies upon that has been started again, and that no worker's word can stretch without an end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadstone_core.units import SECOND
from loadstone_protocol.messages import Heartbeat, Hello, Peer
from loadstone_runner.master.member import Member, WorkerState
from loadstone_runner.master.roster import LEASE_NS, LEASE_SLACK_NS, Roster

LOST_NS = LEASE_NS + LEASE_SLACK_NS
BEAT = Heartbeat(
    number=1, sent_ns=0, applied=None, applied_digest="", assignment=0, engines=(), cpu_permille=0, memory_bytes=0,
    memory_limit_bytes=0, round_trip_ns=0, conflict=None, is_draining=False,
)  # fmt: skip


def joined(who: Roster, attempt: int = 1) -> Member:
    told = Hello(
        peer=Peer("run", 0, attempt, "b", "pod"), protocol_major=1, protocol_minor=0, script_digest="", engines=1,
        highest_epoch=1,
    )  # fmt: skip
    member = who.join(told, 0)
    assert isinstance(member, Member)
    return member


@pytest.mark.promise("master-restart")
def test_an_attempt_that_was_replaced_before_a_restart_is_relied_upon_to_have_ended_a_lease_after_it() -> None:
    before, after = (Roster(run_uid="run", epoch=1, expected=1) for _ in range(2))
    joined(before)
    joined(before, attempt=2)
    after.recall(before.remember())
    after.await_all(SECOND)

    assert after.take_expired(SECOND + LOST_NS) == []
    assert after.take_expired(SECOND + LOST_NS + 1) == [(0, 1)]


def test_what_a_worker_says_of_its_clock_delays_nothing_by_more_than_a_lease() -> None:
    who = Roster(run_uid="run", epoch=1, expected=1)
    who.hear(joined(who), replace(BEAT, round_trip_ns=2**62, start_off_by_ns=2**62), 0)

    assert (who.round_trip_ns(), who.start_off_by_ns()) == (LOST_NS, 2 * LOST_NS)


@pytest.mark.promise("master-restart")
@pytest.mark.parametrize("is_barred", [True, False], ids=["before the load", "in the load"])
def test_a_worker_that_has_never_come_is_not_silent_after_a_restart_where_nobody_can_have_given_it_load(
    *, is_barred: bool
) -> None:
    before, after = (Roster(run_uid="run", epoch=1, expected=2) for _ in range(2))
    joined(before)
    if not is_barred:
        before.excuse(1)
    after.recall(before.remember())
    after.await_all(SECOND, is_barred=is_barred)

    assert [each.worker for each in after.tick(SECOND + LOST_NS + 1)] == [0]
    assert [each.state for each in after.members] == [WorkerState.LOST, WorkerState.EXPECTED]
    assert after.members[1].attempt == 0


@pytest.mark.promise("master-restart")
@pytest.mark.parametrize(("epoch", "is_barred"), [(2, True), (1, False)], ids=["another pod", "in the load"])
def test_a_worker_that_may_have_come_is_silent_after_a_restart(epoch: int, *, is_barred: bool) -> None:
    who = Roster(run_uid="run", epoch=epoch, expected=1)
    who.await_all(SECOND, is_barred=is_barred)

    assert [each.worker for each in who.tick(SECOND + LOST_NS + 1)] == [0]


@pytest.mark.promise("master-restart")
def test_a_first_attempt_of_which_was_kept_that_it_had_come_is_silent_after_a_restart() -> None:
    who = Roster(run_uid="run", epoch=1, expected=1)
    who.expect(0, 1)
    who.await_all(SECOND, is_barred=True)

    assert [each.worker for each in who.tick(SECOND + LOST_NS + 1)] == [0]
