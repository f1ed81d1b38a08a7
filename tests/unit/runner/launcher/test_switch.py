from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.launcher.switch import LEASE_GRACE_NS, SECOND_NS, TERMINATE_GRACE_NS, Due, Switch

S = SECOND_NS


def test_without_an_order_nothing_is_ever_due():
    switch = Switch()

    assert switch.take(10**18) is Due.NOTHING
    assert switch.next_ns() is None


def test_a_lease_that_ran_out_asks_once_and_kills_two_seconds_later():
    switch = Switch()
    switch.renew(0, seconds=30.0)

    assert switch.next_ns() == 30 * S
    assert switch.take(30 * S - 1) is Due.NOTHING
    assert switch.take(30 * S) is Due.TERMINATE
    assert switch.next_ns() == 30 * S + LEASE_GRACE_NS
    assert switch.take(32 * S - 1) is Due.NOTHING
    assert switch.take(32 * S) is Due.KILL
    assert switch.take(33 * S) is Due.KILL


def test_a_renewal_counts_from_its_own_moment():
    switch = Switch()
    switch.renew(0, seconds=30.0)
    switch.renew(29 * S, seconds=30.0)

    assert switch.take(58 * S) is Due.NOTHING
    assert switch.take(59 * S) is Due.TERMINATE


def test_a_lease_that_ran_out_is_not_renewed():
    switch = Switch()
    switch.renew(0, seconds=1.0)
    switch.renew(S, seconds=30.0)

    assert switch.take(3 * S) is Due.KILL


def test_a_machine_that_was_suspended_over_the_lease_kills_at_once():
    switch = Switch()
    switch.renew(0, seconds=30.0)

    assert switch.take(3_600 * S) is Due.KILL


def test_termination_asks_once_and_kills_after_its_grace():
    switch = Switch()
    switch.terminate(S)

    assert switch.take(S) is Due.TERMINATE
    assert switch.take(S) is Due.NOTHING
    assert switch.next_ns() == S + TERMINATE_GRACE_NS
    assert switch.take(S + TERMINATE_GRACE_NS) is Due.KILL


orders = st.lists(
    st.tuples(st.sampled_from(["renew", "limit", "terminate"]), st.integers(0, 3 * S), st.integers(0, 40)), max_size=20
)


@given(orders)
def test_the_kill_comes_at_the_earliest_moment_that_any_order_named(steps):
    switch = Switch()
    now = 0
    kills = []
    lease = None
    for name, gap, seconds in steps:
        now += gap
        is_spent = lease is not None and now >= lease
        match name:
            case "renew":
                switch.renew(now, seconds=seconds)
                lease = lease if is_spent else now + seconds * S
            case "limit":
                switch.limit(now, seconds=seconds)
                kills.append(now + seconds * S)
            case "terminate":
                switch.terminate(now)
                kills.append(now + TERMINATE_GRACE_NS)
    if lease is not None:
        kills.append(lease + LEASE_GRACE_NS)

    if not kills:
        assert switch.take(now + 100 * S) is Due.NOTHING
        return
    if min(kills) > now:
        assert switch.take(min(kills) - 1) is not Due.KILL
    assert switch.take(max(now, min(kills))) is Due.KILL
