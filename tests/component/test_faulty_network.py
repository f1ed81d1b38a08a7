"""The network of the fault tests has the faults that it is told to have, and no others."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from tests.component.faulty_network import CUT, DEVICE, WHOLE, Faults, FaultyNetwork, why_not
from tests.lacking import lacks

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.once

PORT = 9_000
SENT = 500
SO_RCVBUFFORCE = 33  # beyond net.core.rmem_max, as a busy machine may leave everything in the buffer
ARRIVED_SECONDS = 0.5


@pytest.fixture(scope="module")
def network() -> Iterator[FaultyNetwork]:
    if why := why_not():
        lacks(f"faults of the network need networks of their own: {why}")
    with FaultyNetwork("one", "other") as made:
        yield made


@pytest.fixture
def ends(network: FaultyNetwork) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return sockets of the two nodes, each of which sends to the other."""
    made = [network.socket(node, socket.SOCK_DGRAM) for node in network.nodes]
    for end, node in zip(made, network.nodes, strict=True):
        end.bind((network.address(node), PORT))
        end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
    one, other = made
    one.connect(other.getsockname())
    other.connect(one.getsockname())
    yield one, other
    network.both_ways("one", "other", WHOLE)
    for end in made:
        end.close()


def send(one: socket.socket, other: socket.socket) -> tuple[list[int], float]:
    """Send numbers from one end to the other; return which arrived, in their order, and how long the first took."""
    began, first, arrived = time.monotonic(), 0.0, list[int]()
    for number in range(SENT):
        one.send(number.to_bytes(4, "big"))
        if number % 50 == 0:
            time.sleep(0.001)
    other.settimeout(ARRIVED_SECONDS)
    try:
        while True:
            arrived.append(int.from_bytes(other.recv(4), "big"))
            first = first or time.monotonic() - began
    except TimeoutError:
        return arrived, first


def test_a_whole_path_passes_everything_once_and_in_order(ends: tuple[socket.socket, socket.socket]) -> None:
    assert send(*ends)[0] == list(range(SENT))


def test_packets_are_lost(network: FaultyNetwork, ends: tuple[socket.socket, socket.socket]) -> None:
    network.one_way("one", "other", Faults(loss=0.2))
    arrived, _ = send(*ends)

    assert arrived == sorted(set(arrived))
    assert 0.7 * SENT < len(arrived) < 0.9 * SENT
    assert network.counts("one", "other")["lost"] == SENT - len(arrived)
    assert send(*reversed(ends))[0] == list(range(SENT)), "the other direction has no fault"


def test_packets_are_doubled(network: FaultyNetwork, ends: tuple[socket.socket, socket.socket]) -> None:
    network.one_way("one", "other", Faults(duplicate=0.3))
    arrived, _ = send(*ends)

    assert set(arrived) == set(range(SENT))
    assert 1.2 * SENT < len(arrived) < 1.4 * SENT


def test_packets_are_reordered(network: FaultyNetwork, ends: tuple[socket.socket, socket.socket]) -> None:
    network.one_way("one", "other", Faults(reorder=0.1))
    arrived, _ = send(*ends)

    assert sorted(arrived) == list(range(SENT))
    late = sum(number < most for number, most in zip(arrived[1:], running_most(arrived), strict=False))
    assert 0.05 * SENT < late < 0.15 * SENT


def running_most(numbers: list[int]) -> list[int]:
    return [max(numbers[: place + 1]) for place in range(len(numbers))]


def test_packets_are_delayed(network: FaultyNetwork, ends: tuple[socket.socket, socket.socket]) -> None:
    network.one_way("one", "other", Faults(delay_seconds=0.2))
    arrived, first_seconds = send(*ends)

    assert arrived == list(range(SENT))
    assert first_seconds >= 0.2


def test_a_direction_is_cut_and_healed(network: FaultyNetwork, ends: tuple[socket.socket, socket.socket]) -> None:
    network.one_way("other", "one", CUT)

    assert send(*ends)[0] == list(range(SENT))
    assert send(*reversed(ends))[0] == []
    network.one_way("other", "one", WHOLE)
    assert send(*reversed(ends))[0] == list(range(SENT))


def test_what_was_connected_before_is_forgotten_and_what_comes_later_passes(network: FaultyNetwork) -> None:
    with network.socket("other") as listener:
        listener.bind((network.address("other"), 0))
        listener.listen()
        with network.socket("one") as before, network.socket("one") as later:
            before.connect(listener.getsockname())
            far, _ = listener.accept()
            before.sendall(b"x")
            assert far.recv(1) == b"x"
            network.both_ways("one", "other", Faults(forgets=True))
            before.sendall(b"y")
            far.settimeout(ARRIVED_SECONDS)
            with far, pytest.raises(TimeoutError):
                far.recv(1)
            later.connect(listener.getsockname())
            fresh, _ = listener.accept()
            with fresh:
                later.sendall(b"z")
                assert fresh.recv(1) == b"z"
    network.both_ways("one", "other", WHOLE)


def test_nothing_is_left_behind(network: FaultyNetwork) -> None:
    with FaultyNetwork("lonely") as made:
        assert made.address("lonely") in output(*made.inside("lonely", "ip", "-o", "address"))
    assert DEVICE not in output("ip", "-o", "address")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
