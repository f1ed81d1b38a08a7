"""Open an agent's connections to its master. Each has a TCP connection of its own; what it carries is not known."""

from __future__ import annotations

from typing import Final

from grpc import aio

from loadstone_protocol.channel import CLIENT_OPTIONS

# Else a new channel would share another's connection, or find an old one's and wait out its backoff.
_OPTIONS: Final = (*CLIENT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


def open_channel(target: str) -> aio.Channel:
    """Return a channel to a master; `target` is gRPC's name of an address."""
    return aio.insecure_channel(target, options=_OPTIONS)
