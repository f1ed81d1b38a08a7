"""Look up names for all users of an engine: each once, and again when the answer is old. Connecting is others'."""

from __future__ import annotations

import _socket
from random import sample
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import gevent
from gevent.event import AsyncResult

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind, connect_error
from loadstone_runner.engine.http.profile import DnsPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMES_MAX: Final = 10_000
_SECOND_NS: Final = 1_000_000_000
_DEFAULT: Final = DnsPolicy()
_ONLY: Final = {"only ipv4": _socket.AF_INET, "only ipv6": _socket.AF_INET6}
_FIRST: Final = {"prefer ipv4": _socket.AF_INET, "prefer ipv6": _socket.AF_INET6}


class Address(NamedTuple):
    """Where a socket connects to: the family and what connect takes."""

    family: int
    place: Any


class Held:
    """What a look-up found.

    Attributes:
        addresses: in the system's order.
        since_ns: when it was found; 0: before the load, so it counts from its first use.
    """

    __slots__ = ("addresses", "since_ns")

    def __init__(self, addresses: tuple[Address, ...], since_ns: int) -> None:
        self.addresses = addresses
        self.since_ns = since_ns

    def is_literal(self, host: str) -> bool:
        """Return whether the name was an address already, of which nobody will ever say anything else."""
        return str(self.addresses[0].place[0]) == host


class Resolver:
    """Answers from memory as long as a policy allows; users who ask for the same name meanwhile share one look-up."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], Held] = {}
        self._under_way: dict[tuple[str, int], AsyncResult[tuple[Address, ...]]] = {}
        self._turn = 0
        self.lookups = 0

    def addresses(self, host: str, port: int, deadline_ns: int, policy: DnsPolicy = _DEFAULT) -> tuple[Address, ...]:
        """Return where to try to connect, in the policy's order.

        Raises:
            ExchangeError: of kind DNS, when there is no address, or none in time.
        """
        for name, pinned in policy.hosts:
            if name == host:
                return self._look_up(pinned, port, deadline_ns, is_numeric=True)
        held = self._held.get((host, port))
        if held is not None and not held.since_ns:
            held.since_ns = monotonic_ns()
        if held is not None and (monotonic_ns() - held.since_ns < policy.ttl_ns or held.is_literal(host)):
            found = held.addresses
        else:
            found = self._look_up(host, port, deadline_ns)
        return self._ordered(found, host, policy)

    def known(self, host: str, port: int, policy: DnsPolicy = _DEFAULT) -> tuple[Address, ...]:
        """Return between which addresses connections choose, without asking anybody; none if that is not known."""
        for name, pinned in policy.hosts:
            if name == host:
                family = _socket.AF_INET6 if ":" in pinned else _socket.AF_INET
                return (Address(family, (pinned, port)),)
        held = self._held.get((host, port))
        found = () if held is None else _of_family(held.addresses, policy)
        first = tuple(each for each in found if each.family == found[0].family)
        return first[:1] if policy.order == "first" else first

    def prepare(self, places: Iterable[tuple[str, int]], within_seconds: float) -> None:
        """Look names up before the load, all at once, so that no first request waits for them.

        What is not found in time is left to the requests: they fail with a name.

        Args:
            places: hosts with ports.
            within_seconds: that this may take.
        """
        deadline_ns = monotonic_ns() + int(within_seconds * _SECOND_NS)
        gevent.joinall([gevent.spawn(self._prepare, host, port, deadline_ns) for host, port in dict.fromkeys(places)])

    def _prepare(self, host: str, port: int, deadline_ns: int) -> None:
        try:
            self._look_up(host, port, deadline_ns)
        except ExchangeError:
            return
        held = self._held.get((host, port))
        if held is not None:
            held.since_ns = 0

    def _ordered(self, found: tuple[Address, ...], host: str, policy: DnsPolicy) -> tuple[Address, ...]:
        found = _of_family(found, policy)
        if not found:
            raise ExchangeError(FailureKind.DNS, f"{host} has no {policy.family.removeprefix('only ')} address")
        first = [each for each in found if each.family == found[0].family]
        if len(first) == 1 or policy.order == "first":
            return found
        if policy.order == "random":
            return (*sample(first, len(first)), *found[len(first) :])
        self._turn += 1
        turn = self._turn % len(first)
        return (*first[turn:], *first[:turn], *found[len(first) :])

    def _look_up(self, host: str, port: int, deadline_ns: int, *, is_numeric: bool = False) -> tuple[Address, ...]:
        if is_numeric and (held := self._held.get((host, port))) is not None:
            return held.addresses
        key = (host, port)
        result = self._under_way.get(key)
        if result is None:
            result = self._under_way[key] = AsyncResult()
            gevent.spawn(self._ask, key, result)
        if not result.ready():
            result.wait(timeout=max(deadline_ns - monotonic_ns(), 0) / _SECOND_NS)
            # All who waited are woken in one go. Each goes on in a turn of its own, so that thousands who then connect
            # leave room for those who have connected.
            gevent.sleep(0)
        if not result.ready():
            raise ExchangeError(FailureKind.DNS, f"no answer for {host} in time")
        found: tuple[Address, ...] = result.get_nowait()  # type: ignore[assignment]  # set or raises: it is ready
        return found

    def _ask(self, key: tuple[str, int], result: AsyncResult[tuple[Address, ...]]) -> None:
        host, port = key
        try:
            # Addresses are answered by the same call, at once.
            self.lookups += 1
            infos = gevent.get_hub().resolver.getaddrinfo(host, port, 0, _socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            result.set_exception(_failure(host, error))
        else:
            # The system sorts them (RFC 6724): the first family is the one to use.
            found = sorted((Address(info[0], info[4]) for info in infos), key=lambda each: each.family != infos[0][0])
            if len(self._held) >= _NAMES_MAX:
                self._held.clear()
            self._held[key] = Held(tuple(found), monotonic_ns())
            result.set(tuple(found))
        finally:
            del self._under_way[key]


def _failure(host: str, error: OSError | UnicodeError) -> ExchangeError:
    """Return why a look-up failed. The system's resolver does not say that it could open no socket, so one is tried."""
    try:
        _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM).close()
    except OSError as lack:
        return connect_error(lack.errno or 0, f"{host} could not be looked up: {(lack.strerror or '').lower()}")
    reason = getattr(error, "strerror", None) or str(error)
    return ExchangeError(FailureKind.DNS, f"{host}: {reason}")


def _of_family(found: tuple[Address, ...], policy: DnsPolicy) -> tuple[Address, ...]:
    """Return the addresses that a policy allows, those that it prefers first."""
    if policy.family in _ONLY:
        return tuple(each for each in found if each.family == _ONLY[policy.family])
    if policy.family in _FIRST:
        wanted = _FIRST[policy.family]
        return tuple(sorted(found, key=lambda each: each.family != wanted))
    return found
