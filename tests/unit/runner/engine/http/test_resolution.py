from _socket import AF_INET, AF_INET6
from time import monotonic_ns

import pytest

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.profile import DnsPolicy
from loadstone_runner.engine.http.resolution import Address, Held, Resolver

SIX = Address(AF_INET6, ("2001:db8::1", 80, 0, 0))
FOUR, FIVE = Address(AF_INET, ("10.0.0.4", 80)), Address(AF_INET, ("10.0.0.5", 80))


@pytest.fixture
def resolver() -> Resolver:
    made = Resolver()
    made._held["shop.test", 80] = Held((FOUR, FIVE, SIX), monotonic_ns())
    return made


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (DnsPolicy(), (FOUR, FIVE)),
        (DnsPolicy(order="random"), (FOUR, FIVE)),
        (DnsPolicy(order="first"), (FOUR,)),
        (DnsPolicy(family="only ipv6"), (SIX,)),
        (DnsPolicy(family="prefer ipv6"), (SIX,)),
        (DnsPolicy(hosts=(("shop.test", "10.9.9.9"),)), (Address(AF_INET, ("10.9.9.9", 80)),)),
        (DnsPolicy(hosts=(("shop.test", "::1"),)), (Address(AF_INET6, ("::1", 80)),)),
    ],
)
def test_connections_choose_between_the_addresses_that_a_policy_leaves(resolver, policy, found) -> None:
    assert resolver.known("shop.test", 80, policy) == found
    assert resolver.lookups == 0


def test_of_what_nobody_has_looked_up_nothing_is_known(resolver) -> None:
    resolver._held["four.test", 80] = Held((FOUR,), monotonic_ns())

    assert resolver.known("other.test", 80) == ()
    assert resolver.known("four.test", 80, DnsPolicy(family="only ipv6")) == ()
    with pytest.raises(ExchangeError, match=r"four\.test has no ipv6 address") as caught:
        resolver.addresses("four.test", 80, 0, DnsPolicy(family="only ipv6"))
    assert caught.value.kind is FailureKind.DNS


def test_an_address_is_never_looked_up_again(resolver) -> None:
    resolver._held["10.0.0.5", 80] = Held((FIVE,), 1)

    assert resolver.addresses("10.0.0.5", 80, 0, DnsPolicy(ttl_ns=0)) == (FIVE,)
    assert resolver.lookups == 0
