"""The gRPC arguments that both ends of every connection share. Constants only: gRPC is not imported here.

Without the ping arguments a frozen or unreachable peer is not noticed for minutes. With them an agent notices in 10 s
and a follower in 11 s, also when there is nothing to say. The connection of a master closes after 25 s: what it decides
hangs on heartbeats and leases, and each ping wakes several threads.
"""

from __future__ import annotations

from typing import Final

_Options = tuple[tuple[str, int], ...]

# Room for all that an engine may have measured: 2,000 series of 300 buckets each are 3 MB; if all 4,033 buckets of each
# hold two million samples it is 33 MB, with 2 MB of names.
MESSAGE_MAX_BYTES: Final = 40 * 1024 * 1024

_ALIVE: Final[_Options] = (
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

SERVER_OPTIONS: Final[_Options] = (
    *_ALIVE,
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # All watchers of a local run share one connection, on which it has to be stopped, too. Others wait without a word.
    ("grpc.max_concurrent_streams", 64),
    # Else two masters could listen on one port, each with half of the workers.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
)

_CLIENT: Final[_Options] = (
    *_ALIVE,
    ("grpc.initial_reconnect_backoff_ms", 200),
    # No pause, in spite of its name, but the time in which a connection has to be made: TCP, TLS and HTTP/2 take five
    # round trips, a lost SYN is sent again after one and three seconds, and a crowd may stand before a new master.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A name that moved to another address is found after half a second instead of 30.
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", MESSAGE_MAX_BYTES),
)

# An agent's lease hangs on its master's answers.
CLIENT_OPTIONS: Final[_Options] = (*_CLIENT, ("grpc.keepalive_time_ms", 5_000))

# Reports are small: what the path could carry need not be measured, with a ping for each.
FOLLOWER_OPTIONS: Final[_Options] = (*_CLIENT, ("grpc.keepalive_time_ms", 6_000), ("grpc.http2.bdp_probe", 0))


def concurrent_calls(workers: int) -> int:
    """Return how many calls a master with this many workers takes at once: control, statistics, bulk, twice each."""
    return 6 * workers + 64
