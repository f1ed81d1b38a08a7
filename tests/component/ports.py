"""Ports of loopback for servers that have to be told theirs, or that come back to it. Who can, binds to port 0."""

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_MOST_TRIES = 100


def free_port() -> int:
    """Return a port that nobody listens on, and that the kernel gives to no connection and to no port 0.

    So whoever binds to it later, or again, finds it free while other tests run.
    """
    first = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    chance = random.SystemRandom()
    for _ in range(_MOST_TRIES):
        port = chance.randrange(min(10_000, first - 1_000), first)
        with socket.socket() as held:
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port below {first} after {_MOST_TRIES} tries")
