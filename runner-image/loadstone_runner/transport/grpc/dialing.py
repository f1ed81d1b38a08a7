"""Open an agent's connections to its master. Each has a TCP connection of its own; what it carries is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_protocol import credentials
from loadstone_protocol.channel import CLIENT_OPTIONS

if TYPE_CHECKING:
    from grpc import aio

    from loadstone_protocol.identity import Pems

# Else a new channel would share another's connection, or find an old one's and wait out its backoff.
_OPTIONS: Final = (*CLIENT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


def open_channel(target: str, *, run_uid: str, pems: Pems | None) -> aio.Channel:
    """Return a channel to the master of a run; `target` is gRPC's name of an address."""
    return credentials.open_channel(target, _OPTIONS, run_uid=run_uid, pems=pems)
