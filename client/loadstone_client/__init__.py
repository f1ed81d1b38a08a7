"""Embed load tests in another program: start a run on this machine or find one in a cluster, watch it, steer it.

Engines, and whatever they patch, live in processes of their own: importing this patches nothing, opens nothing and
starts no thread. This is the blocking client, of the standard library only; `loadstone_client.asynchronous` is the
same for asyncio.
"""

from loadstone_client.errors import ClientError, Refused, StartFailed, Unreachable
from loadstone_client.synchronous import LocalRun, Run, connect, start
from loadstone_client.values import Outcome, Progress, Row, SeriesRow, State, Tier, Worker

__all__ = [
    "ClientError",
    "LocalRun",
    "Outcome",
    "Progress",
    "Refused",
    "Row",
    "Run",
    "SeriesRow",
    "StartFailed",
    "State",
    "Tier",
    "Unreachable",
    "Worker",
    "connect",
    "start",
]
