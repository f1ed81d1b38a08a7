from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.agent.lease import LEASE_NS, Lease


def test_a_lease_does_not_run_before_the_first_acknowledgement():
    lease = Lease()
    lease.beat(1, 1_000)

    assert lease.remaining_ns(10**15) is None


def test_a_lease_runs_from_the_sending_and_not_from_the_acknowledgement():
    lease = Lease()
    lease.beat(1, 1_000)

    assert lease.acknowledge(1)
    assert lease.remaining_ns(5_000) == LEASE_NS - 4_000


@given(st.permutations(range(1, 9)))
def test_acknowledgements_in_any_order_leave_the_latest_sending(order):
    lease = Lease()
    for number in range(1, 9):
        lease.beat(number, number * 100)
    for number in order:
        lease.acknowledge(number)

    assert lease.remaining_ns(0) == LEASE_NS + 800


def test_an_acknowledgement_counts_once_and_only_for_what_was_sent():
    lease = Lease()
    lease.beat(1, 100)
    lease.beat(2, 200)

    assert not lease.acknowledge(3)
    assert lease.acknowledge(2)
    assert not lease.acknowledge(2)
    assert not lease.acknowledge(1)


def test_a_lease_runs_out():
    lease = Lease()
    lease.set_duration(1_000)
    lease.beat(1, 0)
    lease.acknowledge(1)

    assert lease.remaining_ns(999) == 1
    assert lease.remaining_ns(1_500) == -500


def test_a_duration_that_is_not_positive_changes_nothing():
    lease = Lease()
    lease.set_duration(0)
    lease.beat(1, 0)
    lease.acknowledge(1)

    assert lease.remaining_ns(0) == LEASE_NS


def test_heartbeats_that_nobody_acknowledges_are_forgotten_in_the_end():
    lease = Lease()
    for number in range(1, 200):
        lease.beat(number, number)

    assert not lease.acknowledge(1)
    assert lease.acknowledge(199)
