"""What is certain to run out is said with its numbers, what may be enough is not, and the advice is enough."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.preflight import Claim, Place, Room, Route, lingering, most_at_once, shortages
from loadstone_core.units import SECOND

ONE = Place((0,), 1)
LINUX = Room(first_port=32768, last_port=60999)


def users(count: int, seconds: int = 60, **fields: object) -> Scenario:
    duration = seconds * SECOND
    profile = Profile((Segment(0, duration, count, count),), duration)
    return replace(Scenario(name="a", load=LoadProfile(Model.USERS, profile, None), graceful_stop_ns=0), **fields)


def rate(per_second: int, seconds: int | None, preallocated: int = 0) -> Scenario:
    duration = FOREVER_NS if seconds is None else seconds * SECOND
    profile = Profile((Segment(0, duration, per_second, per_second),), seconds and duration)
    load = LoadProfile(Model.RATE, profile, None, preallocated_users=preallocated)
    return Scenario(name="a", load=load, graceful_stop_ns=0)


def iterations(count: int | None, by: int) -> Scenario:
    profile = Profile((Segment(0, FOREVER_NS, by, by),), None)
    return Scenario(name="a", load=LoadProfile(Model.ITERATIONS, profile, count), graceful_stop_ns=0)


def told(scenario: Scenario, room: Room, place: Place = ONE, **fields: object) -> tuple[str, ...]:
    """Return what an engine that is alone on its machine lacks, whose users all have one target."""
    one_machine = bool(fields.pop("is_one_machine", False))
    route = Route("10.0.0.5:80", (Claim(scenario),))._replace(**fields)
    return shortages(
        [route], [Claim(scenario)], room, engine=place, worker=place, is_one_machine=one_machine
    )  # fmt: skip


def test_70000_connections_on_28232_ports_are_refused_with_both_numbers() -> None:
    (sentence,) = told(users(70_000), LINUX)
    assert sentence == (
        "70,000 connections need 70,000 ports towards 10.0.0.5:80, this worker has 28,232 (32768-60999): "
        "use at least 3 workers, or more source_addresses in HttpOptions"
    )


def test_ports_are_those_of_each_pair_of_addresses_without_the_reserved_ones() -> None:
    room = LINUX._replace(reserved_ports=232)

    assert told(users(84_000), room, pairs=3) == ()
    (sentence,) = told(users(84_001), room, pairs=3)
    assert sentence == (
        "84,001 connections need 84,001 ports towards 10.0.0.5:80, this worker has 84,000 "
        "(32768-60999 without 232 reserved ones, 3 pairs of addresses): use at least 2 workers, or more "
        "source_addresses in HttpOptions"
    )


def test_connections_that_are_closed_keep_their_ports_for_a_while() -> None:
    closing = {"waits_ns": 60 * SECOND}

    assert told(rate(470, None), LINUX, **closing) == ()
    (sentence,) = told(rate(500, 600), LINUX, **closing)
    assert sentence == (
        "0 connections and 30,000 that were closed in the last 60 s need 30,000 ports towards 10.0.0.5:80, this worker "
        "has 28,232 (32768-60999): use at least 2 workers, or more source_addresses in HttpOptions, or keep "
        "connections alive"
    )
    assert told(rate(500, 30), LINUX, **closing) == ()
    assert told(rate(500, 600), LINUX) == ()
    assert lingering(Route("", (Claim(users(500)),), waits_ns=60 * SECOND), ONE) == 0


def test_workers_on_one_machine_do_not_bring_ports_nor_memory() -> None:
    room = LINUX._replace(memory_bytes=100 << 20, engine_bytes=50 << 20)

    ports, memory = told(users(70_000), room, is_one_machine=True)

    assert ports.endswith("(32768-60999): use fewer users, or more source_addresses in HttpOptions")
    assert memory == (
        "70,000 users need at least 718 MiB (50 MiB, and 10 KB for each), the limit of this worker is 100 MiB: "
        "raise it (workers.template.resources.limits.memory)"
    )


def test_descriptors_are_each_engine_s_own() -> None:
    room = Room(descriptors=1_024, descriptors_held=10)
    place = Place((1,), 4)  # of two workers with two engines each

    assert shortages([], [], room, engine=place, worker=place) == ()
    route = Route("", (Claim(users(4_000)),))
    (sentence,) = shortages([route], [], room, engine=place, worker=Place((1, 3), 4))
    assert sentence == (
        "1,000 connections of an engine need 1,074 file descriptors, it may have 1,024: use at least 3 workers, or "
        "raise its limit (ulimit -n, or the container runtime's LimitNOFILE)"
    )
    assert shortages([route._replace(claims=(Claim(users(3_800)),))], [], room, engine=place, worker=place) == ()


def test_where_not_even_one_user_fits_no_number_of_workers_is_named() -> None:
    room = Room(descriptors=64, memory_bytes=1 << 20, engine_bytes=2 << 20, first_port=1, last_port=1, reserved_ports=1)

    descriptors, ports, memory = told(users(1), room)

    assert "it may have 64: raise its limit" in descriptors
    assert "use fewer users, or" in ports
    assert memory.endswith("the limit of this worker is 1 MiB: raise it (workers.template.resources.limits.memory)")


def test_memory_is_that_of_all_engines_of_a_worker() -> None:
    room = Room(memory_bytes=512 << 20, engine_bytes=35 << 20)

    assert shortages([], [Claim(users(20_000))], room, engine=ONE, worker=Place((0, 1), 2)) == ()
    (sentence,) = shortages([], [Claim(users(200_000))], room, engine=Place((0,), 4), worker=Place((0, 2), 4))
    assert sentence == (
        "100,000 users need at least 1,024 MiB (70 MiB, and 10 KB for each), the limit of this worker is 512 MiB: "
        "use at least 5 workers, or raise it (workers.template.resources.limits.memory)"
    )


def test_connections_that_are_tracked_are_those_that_leave_the_machine() -> None:
    room = Room(tracked=1_000)

    assert told(users(1_000), room) == ()
    (sentence,) = told(users(1_001), room)
    assert sentence == (
        "1,001 connections are more than the 1,000 that this machine's kernel keeps track of: spread the workers over "
        "more nodes, or raise net.netfilter.nf_conntrack_max"
    )
    assert told(users(1_001), room, is_near=True) == ()
    assert told(users(1_001), room, destination="") == ()


def test_what_cannot_be_known_is_no_shortage() -> None:
    assert told(users(10_000_000), Room()) == ()
    assert told(users(10_000_000), LINUX, destination="") == ()


def test_only_users_that_are_certain_to_come_count() -> None:
    def peak(*scenarios: Scenario) -> int:
        return most_at_once([Claim(each) for each in scenarios], ONE)

    assert peak() == 0
    assert peak(rate(50_000, 60)) == 0
    assert peak(rate(50_000, 60, preallocated=300)) == 300
    assert peak(iterations(100, by=500)) == 100
    assert peak(iterations(None, by=500)) == 500
    # One after the other, side by side, and after an end that nobody knows.
    assert peak(users(100, 60), users(70, 60, start_ns=61 * SECOND)) == 100
    assert peak(users(100, 60), users(70, 60, start_ns=59 * SECOND)) == 170
    assert peak(users(100), users(250, start_ns=None, start_after="a")) == 250
    # Iterations may be done at once.
    assert peak(iterations(100, by=500), users(100, start_ns=SECOND)) == 100
    assert most_at_once([Claim(users(100), 1, 3), Claim(users(10), 2, 3)], ONE) == 33 + 6


def test_users_count_as_the_ramps_have_them_at_the_same_moment() -> None:
    def ramp(first: int, last: int) -> Scenario:
        profile = Profile((Segment(0, 60 * SECOND, first, last),), 60 * SECOND)
        return Scenario(name="a", load=LoadProfile(Model.USERS, profile, None), graceful_stop_ns=0)

    assert most_at_once([Claim(ramp(0, 1_000)), Claim(ramp(1_000, 0))], ONE) == 1_000


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_the_parts_of_all_places_are_the_whole(count: int, slots: int) -> None:
    claims = [Claim(users(count))]

    assert sum(most_at_once(claims, Place((slot,), slots)) for slot in range(slots)) == count


@given(st.integers(1, 10**6), st.integers(1, 30_000), st.integers(1, 4))
def test_with_as_many_workers_as_advised_nothing_runs_out(count: int, ports: int, engines: int) -> None:
    scenario = users(count)
    room = Room(
        first_port=1, last_port=ports, descriptors=ports + 64, memory_bytes=(10_000 * ports) + engines, engine_bytes=1
    )

    def lacking(workers: int) -> tuple[str, ...]:
        slots = workers * engines
        place = Place(tuple(range(0, slots, workers)), slots)
        route = Route("10.0.0.5:80", (Claim(scenario),))
        return shortages([route], [Claim(scenario)], room, engine=Place((0,), slots), worker=place)

    found = lacking(1)
    advised = [int(each.split("use at least ")[1].split(" ")[0].replace(",", "")) for each in found]

    assert bool(found) == (count > ports)
    if advised:
        assert lacking(max(advised)) == ()
        assert lacking(max(advised) - 1) != ()


@pytest.mark.parametrize("moment", [0, 30, 60])
def test_a_load_of_which_nobody_is_here_needs_nothing(moment: int) -> None:
    assert told(users(3, start_ns=moment * SECOND), Room(0, 0, 1, 0), Place((3,), 4)) == ()
