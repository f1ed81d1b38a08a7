"""Look, before the load, at what this machine has for an engine's part of it. What is enough is core's arithmetic.

A handful of small files is read, no library is loaded. What cannot be read is logged and not checked.
"""

from __future__ import annotations

import logging
import os
import resource
from _socket import AF_INET6
from typing import TYPE_CHECKING, Final

from loadstone_core.plan.preflight import TIME_WAIT_NS, Claim, Place, Room, Route, shortages
from loadstone_runner.engine.http.failures import ExchangeError
from loadstone_runner.engine.http.origin import place_of
from loadstone_runner.engine.vitals import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadstone_runner.engine.http.origin import Origin
    from loadstone_runner.engine.http.outfit import Outfit
    from loadstone_runner.engine.http.resolution import Address, Resolver
    from loadstone_runner.engine.part import Part
    from loadstone_runner.engine.population import Portion
    from loadstone_runner.settings import EngineSettings

log = logging.getLogger("loadstone.engine")

# With reuse a port may go again once the clock of TCP's timestamps has moved on.
_REUSED_AFTER_NS: Final = 1_000_000_000
_IPV4: Final = "/proc/sys/net/ipv4"
# Of more users than this it is enough to know how their classes are mixed.
_MIXED_MAX: Final = 10_000


class PreflightError(ValueError):
    """What the load needs is not there; `str()` is a sentence with the numbers, and what to do."""


def check(settings: EngineSettings, parts: Sequence[Part], portion: Portion) -> None:
    """Compare what the parts of an engine, and of those beside it, need with what there is.

    Args:
        settings: of the engine.
        parts: one of each scenario; their targets have been looked up.
        portion: of the load that the engine makes.

    Raises:
        PreflightError: something is certain to run out.
    """
    beside = portion.slots if settings.is_one_machine else settings.engines
    groups = max(1, portion.slots // beside)
    lacking = shortages(
        list(_routes(parts)),
        [Claim(part.scenario) for part in parts],
        _room(settings),
        engine=Place((portion.slot,), portion.slots),
        worker=Place(tuple(range(portion.slot % groups, portion.slots, groups)), portion.slots),
        is_one_machine=settings.is_one_machine,
    )
    if lacking:
        raise PreflightError("; ".join(lacking))


def _routes(parts: Sequence[Part]) -> Iterator[Route]:
    """Yield how the users of all parts connect; those of several scenarios may share a way."""
    claims: dict[Route, list[Claim]] = {}
    for part in parts:
        for way, claim in _claims(part):
            claims.setdefault(way, []).append(claim)
    for way, held in claims.items():
        yield way._replace(claims=tuple(held))


def _claims(part: Part) -> Iterator[tuple[Route, Claim]]:
    """Yield the ways in which the users of one scenario connect, and how many of them do so."""
    population = part.model.population
    ways = [_way(population.scene.outfit_of(role.made), population.scene.resolver) for role in population.scene.roles]
    if len(set(ways)) == 1:
        if ways[0] is not None:
            yield ways[0], Claim(part.scenario)
        return
    looked_at = max(1, min(_MIXED_MAX, _most_users(part)))
    mixed = [ways[population.cast.class_of(number)] for number in range(looked_at)]
    for way in dict.fromkeys(mixed):
        if way is not None:
            yield way, Claim(part.scenario, mixed.count(way), looked_at)


def _most_users(part: Part) -> int:
    load = part.scenario.load
    return max(load.profile.peak, load.preallocated_users)


def _way(outfit: Outfit, resolver: Resolver) -> Route | None:
    """Return how users of a class connect; None if they have no target."""
    profile = outfit.profile
    try:
        origin = place_of(outfit.target, "").origin
    except (ValueError, ExchangeError):
        return None
    proxy = None if profile.proxies is None else profile.proxies.proxy_for(origin)
    near = origin if proxy is None else proxy.origin
    addresses = () if near.unix or profile.unix_socket else resolver.known(near.host, near.port, profile.dns)
    if not addresses:
        return Route("", ())
    is_near = all(str(each.place[0]).startswith("127.") or each.place[0] == "::1" for each in addresses)
    is_ipv6 = addresses[0].family == AF_INET6
    sources = [each for each in profile.sockets.source_addresses if (":" in each) == is_ipv6]
    closes = any((name.lower(), value.lower()) == ("connection", "close") for name, value in outfit.headers.items())
    return Route(
        _shown(near, addresses),
        (),
        pairs=len(addresses) * max(1, len(sources)),
        waits_ns=_time_wait_ns(is_near=is_near) if closes and profile.sockets.linger_seconds != 0 else 0,
        is_near=is_near,
    )


def _shown(origin: Origin, addresses: Sequence[Address]) -> str:
    """Return a destination as its connections have it: by its address if there is one."""
    host = str(addresses[0].place[0]) if len(addresses) == 1 else origin.host
    return f"[{host}]:{origin.port}" if ":" in host else f"{host}:{origin.port}"


def _time_wait_ns(*, is_near: bool) -> int:
    """Return for how long a closed connection keeps its port from the same destination; see tcp_tw_reuse in ip(7)."""
    reuses = _numbers(f"{_IPV4}/tcp_tw_reuse")[:1]
    return _REUSED_AFTER_NS if reuses == [1] or (reuses == [2] and is_near) else TIME_WAIT_NS


def _room(settings: EngineSettings) -> Room:
    """Return what this machine has, as far as it can be read."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    ports = _numbers(f"{_IPV4}/ip_local_port_range")
    if len(ports) != 2:  # noqa: PLR2004 the first and the last
        log.info("Preflight could not read the range of local ports, so nobody knows whether there are enough")
    room = Room(
        descriptors=None if soft == resource.RLIM_INFINITY else soft,
        descriptors_held=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 pathlib costs a start 5 ms
        # Without connection tracking there is no such file, and no such limit.
        tracked=next(iter(_numbers("/proc/sys/net/netfilter/nf_conntrack_max")), None),
        memory_bytes=settings.memory_limit_bytes or None,
        engine_bytes=resident_bytes(),
    )
    if len(ports) != 2:  # noqa: PLR2004
        return room
    return room._replace(first_port=ports[0], last_port=ports[1], reserved_ports=_reserved(ports[0], ports[1]))


def _reserved(first: int, last: int) -> int:
    """Return how many ports of a range are kept for others; the kernel lists them as `80,8000-8010`."""
    held = 0
    for each in filter(None, _read(f"{_IPV4}/ip_local_reserved_ports").strip().split(",")):
        low, _, high = each.partition("-")
        held += max(0, min(int(high or low), last) - max(int(low), first) + 1)
    return held


def _numbers(path: str) -> list[int]:
    """Return the numbers in a file of the kernel; none if it cannot be read."""
    return [int(each) for each in _read(path).split() if each.isdigit()]


def _read(path: str) -> str:
    try:
        with open(path) as file:  # noqa: PTH123 as above
            return file.read()
    except OSError:
        return ""
