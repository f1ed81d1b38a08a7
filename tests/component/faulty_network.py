"""Networks of their own for processes, joined by a relay that loses, doubles, delays, reorders and cuts as it is told.

Each node is a network namespace with one TUN device. This file, run as a program, opens all of them and passes IP
packets on between them, so nothing is needed of the kernel but TUN. Namespaces and devices have no names outside the
relay and vanish with it, and the relay ends with its standard input: nothing is left behind, whatever happens.
No test is here.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import json
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x1001
DEVICE = "fault0"
PROGRAMS = ("ip", "nsenter", "unshare")
_LARGEST_PACKET = 65_536
_LEAST_LATE_SECONDS, _MOST_LATE_SECONDS = 0.02, 0.08
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to packets from one node to another; shares are from 0 to 1.

    Attributes:
        reorder: so many are held back for longer than others.
        is_cut: nothing passes.
        forgets: nothing passes of the connections that were seen before this was said, as behind a firewall that has
            forgotten them.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_seconds: float = 0.0
    is_cut: bool = False
    forgets: bool = False


WHOLE = Faults()
CUT = Faults(is_cut=True)


def why_not() -> str:
    """Return what is missing to make such networks, as a sentence; empty if nothing is."""
    missing = [each for each in PROGRAMS if shutil.which(each) is None]
    if missing:
        return f"the programs {', '.join(missing)} are missing"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened"
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        return "this user may not make network namespaces"
    return ""


class FaultyNetwork:
    """The networks of some nodes, and the relay between them. Between all of them everything passes at first."""

    def __init__(self, *nodes: str, seed: int = 1) -> None:
        self.nodes = nodes
        self._relay = subprocess.Popen(
            [sys.executable, __file__, str(seed), *nodes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answers()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the relay; a namespace lasts until the last process in it has ended."""
        self._relay.kill()
        self._relay.wait()
        for pipe in (self._relay.stdin, self._relay.stdout):
            if pipe is not None:
                pipe.close()

    def address(self, node: str) -> str:
        return address_of(self.nodes.index(node))

    def inside(self, node: str, *command: str) -> list[str]:
        """Return a command that runs in the network of a node; it is the very process that is started."""
        return ["nsenter", f"--net={self._namespace(node)}", *command]

    def socket(self, node: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """Return a socket in the network of a node, for whoever is outside."""
        made: list[socket.socket] = []

        def make() -> None:
            with Path(self._namespace(node)).open("rb") as namespace:
                _check(_libc.setns(namespace.fileno(), CLONE_NEWNET))
            made.append(socket.socket(type=kind))

        # A namespace is its thread's; this one ends with it, and the socket stays where it was made.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def one_way(self, source: str, destination: str, path: Faults) -> None:
        """Let packets from one node to another fare like this from now on."""
        self._ask({"from": source, "to": destination, "path": asdict(path)})

    def both_ways(self, one: str, other: str, path: Faults) -> None:
        """Let packets between two nodes fare like this from now on."""
        self.one_way(one, other, path)
        self.one_way(other, one, path)

    def counts(self, source: str, destination: str) -> Counter[str]:
        """Return how many packets of a path were passed, lost, cut, doubled, delayed and reordered."""
        return Counter(self._ask({"from": source, "to": destination}))

    def _namespace(self, node: str) -> str:
        # The relay keeps the namespaces open in the order of its nodes; see `_Node`.
        return f"/proc/{self._relay.pid}/fd/{_FIRST_NAMESPACE + self.nodes.index(node)}"

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._relay.stdin is not None
        self._relay.stdin.write(json.dumps(order) + "\n")
        self._relay.stdin.flush()
        return self._answers()

    def _answers(self) -> Any:
        assert self._relay.stdout is not None
        line = self._relay.stdout.readline()
        assert line, "the relay between the networks has ended"
        return json.loads(line)


def address_of(number: int) -> str:
    return f"10.77.0.{number + 1}"


# --- The relay.

# Far above what Python opens by itself, so that a namespace's descriptor is known by its node's number.
_FIRST_NAMESPACE = 100
Flow = tuple[bytes, bytes]


class _Node:
    """One namespace, made and entered, and its device."""

    def __init__(self, number: int) -> None:
        _check(_libc.unshare(CLONE_NEWNET))
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        os.dup2(own, _FIRST_NAMESPACE + number)
        os.close(own)
        self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN_WITHOUT_HEADER))
        for words in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{address_of(number)}/24", "dev", DEVICE),
            ("link", "set", DEVICE, "txqueuelen", "10000", "up"),
        ):
            subprocess.run(["ip", *words], check=True)


class _Relay:
    """Takes packets from the nodes and gives each to the node of its destination, when and as often as it is due."""

    def __init__(self, nodes: list[str], seed: int) -> None:
        self.numbers = {node: number for number, node in enumerate(nodes)}
        self.nodes = [_Node(number) for number in range(len(nodes))]
        self.paths: dict[tuple[int, int], Faults] = {}
        self.counts: dict[tuple[int, int], Counter[str]] = {}
        self.seen: dict[tuple[int, int], set[Flow]] = {}
        self.forgotten: dict[tuple[int, int], frozenset[Flow]] = {}
        self.chance = random.Random(seed)  # noqa: S311 nothing is secret
        self.held: list[tuple[float, int, int, bytes]] = []
        self.number = itertools.count()

    def run(self) -> None:
        """Pass packets on until standard input ends."""
        by_device = {node.device: number for number, node in enumerate(self.nodes)}
        poll = select.poll()
        for descriptor in (sys.stdin.fileno(), *by_device):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll(self.milliseconds_to_next()):
                if descriptor in by_device:
                    self.take(by_device[descriptor])
                elif line := sys.stdin.readline():
                    print(json.dumps(self.obey(json.loads(line))), flush=True)
                else:
                    return
            self.give_what_is_due()

    def obey(self, order: dict[str, Any]) -> Any:
        """Change a path, or tell how its packets have fared."""
        way = self.numbers[order["from"]], self.numbers[order["to"]]
        if "path" not in order:
            return self.counts.get(way, Counter())
        self.paths[way] = path = Faults(**order["path"])
        self.forgotten[way] = frozenset(self.seen.get(way, ())) if path.forgets else frozenset()
        return None

    def take(self, source: int) -> None:
        """Read all that a node has sent."""
        while True:
            try:
                packet = os.read(self.nodes[source].device, _LARGEST_PACKET)
            except BlockingIOError:
                return
            # Anything but IPv4 is the kernel's search for neighbours and routers, of which there are none.
            if packet[0] >> 4 == 4 and packet[19] <= len(self.nodes):
                self.decide((source, packet[19] - 1), packet)

    def decide(self, way: tuple[int, int], packet: bytes) -> None:
        """Let a packet fare as its path says."""
        path, count = self.paths.get(way, WHOLE), self.counts.setdefault(way, Counter())
        ports = (packet[0] & 15) * 4
        flow = packet[12:20], packet[ports : ports + 4]
        self.seen.setdefault(way, set()).add(flow)
        if path.is_cut or flow in self.forgotten.get(way, ()):
            count["cut"] += 1
            return
        if self.chance.random() < path.loss:
            count["lost"] += 1
            return
        count["passed"] += 1
        late = path.delay_seconds
        if self.chance.random() < path.reorder:
            count["reordered"] += 1
            late += self.chance.uniform(_LEAST_LATE_SECONDS, _MOST_LATE_SECONDS)
        self.hold(way[1], packet, late)
        if self.chance.random() < path.duplicate:
            count["doubled"] += 1
            self.hold(way[1], packet, late)

    def hold(self, destination: int, packet: bytes, seconds: float) -> None:
        heapq.heappush(self.held, (time.monotonic() + seconds, next(self.number), destination, packet))

    def milliseconds_to_next(self) -> float | None:
        return max(0.0, self.held[0][0] - time.monotonic()) * 1_000 if self.held else None

    def give_what_is_due(self) -> None:
        now = time.monotonic()
        while self.held and self.held[0][0] <= now:
            _, _, destination, packet = heapq.heappop(self.held)
            os.write(self.nodes[destination].device, packet)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(seed: str, *nodes: str) -> None:
    relay = _Relay(list(nodes), int(seed))
    print(json.dumps(nodes), flush=True)
    relay.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
