"""Compare what a worker's part of a plan takes with what the worker has: descriptors, ports, connections, memory.

What is there is read by whoever asks. Only what is certain to run out is said: a rate may need many users, or few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_core.load.profile import Model, planned_iterations
from loadstone_core.load.share import share
from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadstone_core.load.scenario import Scenario

# Listeners, the agent's connection, a look-up, files that a script opens: what an engine needs beside its connections.
DESCRIPTORS_RESERVED: Final = 64
# The least that a user with an idle connection was measured to take; see benchmarks/results/engine.json.
USER_BYTES: Final = 10_000
# TCP_TIMEWAIT_LEN of Linux: for so long a port that was closed here cannot reach the same address again.
TIME_WAIT_NS: Final = 60 * SECOND

_MIB: Final = 1 << 20


class Place(NamedTuple):
    """Which parts of the load are made where one budget is shared.

    Attributes:
        slots: of the engines that share it.
        of: how many slots there are in all.
    """

    slots: tuple[int, ...]
    of: int

    def part(self, whole: int) -> int:
        """Return how much of a whole is done here."""
        if len(self.slots) == self.of:
            return whole
        return sum(share(whole, slot, self.of) for slot in self.slots)


class Claim(NamedTuple):
    """The users of a scenario that connect in one way: `part` of `whole` of them."""

    scenario: Scenario
    part: int = 1
    whole: int = 1


class Route(NamedTuple):
    """Connections that share the ports of one destination.

    Attributes:
        destination: `host:port` as the system connects to it, for people; empty: not known, or not TCP.
        claims: whose connections they are.
        pairs: of an address of this machine and one of the destination's, each with all ports of its own.
        waits_ns: how long a port stays taken after its connection; 0: connections are kept alive, or reset.
        is_near: on this machine, so that nobody tracks them.
    """

    destination: str
    claims: tuple[Claim, ...]
    pairs: int = 1
    waits_ns: int = 0
    is_near: bool = False


class Room(NamedTuple):
    """What there is, None where it cannot be known.

    Attributes:
        descriptors: that one engine may have open.
        descriptors_held: that it has open now.
        first_port: that connections may begin from.
        last_port: the same.
        reserved_ports: how many in between are kept for others.
        tracked: connections that the kernel keeps track of at most.
        memory_bytes: limit of all engines here together.
        engine_bytes: what one takes without users.
    """

    descriptors: int | None = None
    descriptors_held: int = 0
    first_port: int | None = None
    last_port: int = 0
    reserved_ports: int = 0
    tracked: int | None = None
    memory_bytes: int | None = None
    engine_bytes: int = 0

    @property
    def ports(self) -> int | None:
        """How many connections one source address can have to one destination."""
        return None if self.first_port is None else self.last_port - self.first_port + 1 - self.reserved_ports


def shortages(
    routes: Sequence[Route],
    users: Sequence[Claim],
    room: Room,
    *,
    engine: Place,
    worker: Place,
    is_one_machine: bool = False,
) -> tuple[str, ...]:
    """Return one sentence for each thing that is certain to run out: what is needed, what there is, what to do.

    Args:
        routes: the connections of the whole load.
        users: all users of the load, whether they connect or not.
        room: of the machine that asks.
        engine: the part of the load that the asking engine makes; descriptors are its own.
        worker: that all engines make that share the machine; everything else is theirs together.
        is_one_machine: all workers are processes of one machine, so more of them bring descriptors only.
    """
    # On one machine a worker is one engine.
    engines = 1 if is_one_machine else len(worker.slots)
    found = [_descriptors(routes, room, engine, engines_each=engines)]
    found += [_ports(each, room, worker, is_one_machine=is_one_machine) for each in routes]
    found += [_tracked(routes, room, worker), _memory(users, room, worker, is_one_machine=is_one_machine)]
    return tuple(filter(None, found))


def most_at_once(claims: Iterable[Claim], place: Place) -> int:
    """Return how many users of these claims live at the same moment at a place, of those that are certain to come."""
    known = [each for each in claims if each.scenario.start_ns is not None]
    moments = {moment for each in known for moment in _moments(each.scenario)}
    together = (sum(_users(each, moment, place) for each in known) for moment in moments)
    # What waits for the end of another is certain only by itself.
    alone = (
        place.part(_peak(each.scenario) * each.part // each.whole) for each in claims if each.scenario.start_ns is None
    )
    return max((*together, *alone), default=0)


def lingering(route: Route, place: Place) -> int:
    """Return how many ports of a route are taken by connections of a rate that have ended, at most at one moment."""
    if not route.waits_ns:
        return 0
    return sum(
        place.part(_most_due_within(each.scenario, route.waits_ns) * each.part // each.whole)
        for each in route.claims
        if each.scenario.load.model is Model.RATE
    )


def _descriptors(routes: Sequence[Route], room: Room, engine: Place, *, engines_each: int) -> str:
    if room.descriptors is None:
        return ""
    claims = [claim for each in routes for claim in each.claims]
    wanted = most_at_once(claims, engine)
    beside = room.descriptors_held + DESCRIPTORS_RESERVED
    spare = max(0, room.descriptors - beside)
    if wanted <= spare:
        return ""
    enough = _parts(_parts(most_at_once(claims, _everywhere(engine)), spare), engines_each)
    remedy = f"use at least {enough:,} workers, or raise" if enough else "raise"
    return (
        f"{wanted:,} connections of an engine need {wanted + beside:,} file descriptors, it may have "
        f"{room.descriptors:,}: {remedy} its limit (ulimit -n, or the container runtime's LimitNOFILE)"
    )


def _ports(route: Route, room: Room, worker: Place, *, is_one_machine: bool) -> str:
    if room.ports is None or not route.destination:
        return ""
    ports = max(0, room.ports) * route.pairs
    wanted, closed = most_at_once(route.claims, worker), lingering(route, worker)
    if wanted + closed <= ports:
        return ""
    everywhere = _everywhere(worker)
    enough = (
        0 if is_one_machine else _parts(most_at_once(route.claims, everywhere) + lingering(route, everywhere), ports)
    )
    workers = f"use at least {enough:,} workers, or " if enough else "use fewer users, or "
    what = f"{wanted:,} connections"
    if closed:
        what += f" and {closed:,} that were closed in the last {route.waits_ns // SECOND} s"
    reserved = f" without {room.reserved_ports:,} reserved ones" if room.reserved_ports else ""
    pairs = f", {route.pairs} pairs of addresses" if route.pairs > 1 else ""
    return (
        f"{what} need {wanted + closed:,} ports towards {route.destination}, this worker has {ports:,} "
        f"({room.first_port}-{room.last_port}{reserved}{pairs}): {workers}more source_addresses in HttpOptions"
        + (", or keep connections alive" if closed else "")
    )


def _tracked(routes: Sequence[Route], room: Room, worker: Place) -> str:
    if room.tracked is None:
        return ""
    far = [each for each in routes if each.destination and not each.is_near]
    wanted = most_at_once([claim for each in far for claim in each.claims], worker)
    wanted += sum(lingering(each, worker) for each in far)
    if wanted <= room.tracked:
        return ""
    return (
        f"{wanted:,} connections are more than the {room.tracked:,} that this machine's kernel keeps track of: spread "
        "the workers over more nodes, or raise net.netfilter.nf_conntrack_max"
    )


def _memory(claims: Sequence[Claim], room: Room, worker: Place, *, is_one_machine: bool) -> str:
    if room.memory_bytes is None:
        return ""
    users = most_at_once(claims, worker)
    base = len(worker.slots) * room.engine_bytes
    needed = base + users * USER_BYTES
    if needed <= room.memory_bytes:
        return ""
    free = room.memory_bytes - base
    enough = 0 if is_one_machine else _parts(most_at_once(claims, _everywhere(worker)), free // USER_BYTES)
    workers = f"use at least {enough:,} workers, or " if enough else ""
    each = f"{-(-base // _MIB):,} MiB, and {USER_BYTES // 1_000} KB for each"
    return (
        f"{users:,} users need at least {-(-needed // _MIB):,} MiB ({each}), the limit of this worker is "
        f"{room.memory_bytes // _MIB:,} MiB: {workers}raise it (workers.template.resources.limits.memory)"
    )


def _everywhere(place: Place) -> Place:
    return Place(tuple(range(place.of)), place.of)


def _parts(whole: int, of_each: int) -> int:
    """Return how many times a part is needed for a whole; 0: no number of them is enough."""
    return -(-whole // of_each) if of_each > 0 else 0


def _users(claim: Claim, at_ns: int, place: Place) -> int:
    """Return how many users of a claim are certain to live at a place at a moment of the run."""
    scenario = claim.scenario
    since_ns = at_ns - (scenario.start_ns or 0)
    if since_ns < 0 or since_ns > scenario.load.profile.bound_ns:
        return 0
    users = _peak(scenario)
    if scenario.load.model is Model.USERS:
        users = scenario.load.profile.value_at(since_ns)
    elif scenario.load.model is Model.ITERATIONS and since_ns:
        # They may be done at once, and then nobody is left.
        users = 0
    return place.part(users * claim.part // claim.whole)


def _peak(scenario: Scenario) -> int:
    """Return the most users that are certain to come."""
    load = scenario.load
    if load.model is Model.RATE:
        return load.preallocated_users
    if load.model is Model.ITERATIONS and load.iterations is not None:
        return min(load.profile.peak, load.iterations)
    return load.profile.peak


def _moments(scenario: Scenario) -> set[int]:
    """Return the moments of the run at which the users of a scenario may be at their most: where its lines meet."""
    start_ns, profile = scenario.start_ns or 0, scenario.load.profile
    ends = {min(each, profile.bound_ns) for segment in profile.segments for each in (segment.start_ns, segment.end_ns)}
    return {start_ns + end - back for end in ends for back in (0, 1)}


def _most_due_within(scenario: Scenario, window_ns: int) -> int:
    """Return how many iterations of a rate are due within a window, in the fullest that ends where a line does."""
    profile = scenario.load.profile
    ends = {min(segment.end_ns, profile.bound_ns) for segment in profile.segments}
    return max(planned_iterations(profile, end) - planned_iterations(profile, max(0, end - window_ns)) for end in ends)
