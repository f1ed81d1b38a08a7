"""Ports of loopback for servers that have to be told theirs, or that come back to it. Who can, binds to port 0."""

import itertools
import os
import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TESTS_AT_ONCE = 8  # processes of pytest-xdist, each with ports of its own


def free_port() -> int:
    """Return a port that nobody listens on, that nobody else is told, and that the kernel gives to no connection.

    So whoever binds to it later, or again, finds it free while other tests run.
    """
    for port in itertools.islice(_NEXT, len(_PORTS)):
        with socket.socket() as held:
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port of this process is free")


def _ports() -> list[int]:
    """Return this process' ports, in no order."""
    first = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _TESTS_AT_ONCE
    ports = list(range(min(10_000, first - 1_000) + number, first, _TESTS_AT_ONCE))
    random.SystemRandom().shuffle(ports)
    return ports


_PORTS = _ports()
_NEXT = itertools.cycle(_PORTS)  # each comes once before any comes again
