"""The ways down from a master to its agents: sending never waits, and what is not read is lost with the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from loadstone_protocol import coordination
from loadstone_protocol.codec import stream_id_to_message
from loadstone_protocol.v1 import coordination_pb2

if TYPE_CHECKING:
    from grpc import aio

    from loadstone_core.register import Version
    from loadstone_core.stats.stream import StreamId
    from loadstone_protocol.messages import Peer, Refusal

# More than this many messages that an agent has not read: it is frozen, and its connection is of no use.
QUEUE_MAX: Final = 10_000


class AgentLink:
    """The way down to one agent over one connection. Sending never waits; what is not read is lost with the link."""

    __slots__ = ("_queue", "_task", "peer")

    def __init__(self, peer: Peer, task: asyncio.Task[Any]) -> None:
        self.peer = peer
        self._task = task
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def welcome(self, epoch: int, lease_ns: int, *, wants_inheritance: bool) -> None:
        """Take the agent in."""
        told = coordination_pb2.Welcome(epoch=epoch, lease_ns=lease_ns, wants_inheritance=wants_inheritance)
        self._send(coordination_pb2.MasterMessage(welcome=told))

    def refuse(self, refusal: Refusal) -> None:
        """Tell the agent that it is not wanted any more; it stops its load at once."""
        self._send(coordination.refused_message(refusal))

    def acknowledge(self, number: int, epoch: int) -> None:
        """Answer a heartbeat."""
        self._send(coordination.acknowledgement_message(number, epoch))

    def answer_ping(self, sent_ns: int, master_ns: int) -> None:
        """Answer a ping with the master's clock."""
        self._send(coordination.pong_message(sent_ns, master_ns))

    def configure(self, version: Version, body: bytes) -> None:
        """Send the common configuration."""
        self._send(coordination.config_message(version, body))

    def assign(self, epoch: int, **assignment: Any) -> None:
        """Send the worker's own assignment: the arguments of `assignment_message`."""
        self._send(coordination.assignment_message(epoch, **assignment))

    def leave(self, *, is_run_over: bool) -> None:
        """Let the agent go: everything that it said is durable."""
        self._send(coordination.leave_message(is_run_over=is_run_over))

    def close(self) -> None:
        """End the connection: another one of the same worker has taken its place."""
        self._task.cancel()

    async def pump(self, context: aio.ServicerContext[Any, Any]) -> None:
        """Write what is queued, for ever."""
        while True:
            await context.write(await self._queue.get())

    def _send(self, message: coordination_pb2.MasterMessage) -> None:
        self._queue.put_nowait(message)
        if self._queue.qsize() > QUEUE_MAX:
            self.close()


class StatisticsLink:
    """The way back to the sender of one statistics stream."""

    __slots__ = ("_queue", "peer")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._queue: asyncio.Queue[coordination_pb2.StatisticsAck] = asyncio.Queue()

    def acknowledge(self, stream: StreamId, *, received: int, durable: int, wants_full: bool) -> None:
        """Say up to which state a stream has arrived, and up to which it cannot be lost any more."""
        self._queue.put_nowait(
            coordination_pb2.StatisticsAck(
                stream=stream_id_to_message(stream), received=received, durable=durable, want_full=wants_full
            )
        )

    async def pump(self, context: aio.ServicerContext[Any, Any]) -> None:
        """Write what is queued, for ever."""
        while True:
            await context.write(await self._queue.get())
