"""One end of the Bulk connections between a master and an agent: its outboxes and inboxes, and what is due on the wire.

An end outlives its connections. It knows nothing of what entries mean, and of the peer only what it sends.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from loadstone_core.outbox import Inbox, OutboxError
from loadstone_protocol.bulk import (
    ENTRIES_MAX,
    BulkBatch,
    BulkReceipt,
    batch_frame,
    kind_of,
    receipt_frame,
    word_from_frame,
)
from loadstone_protocol.codec import WireError
from loadstone_protocol.v1 import coordination_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_core.outbox import Entry, Outbox
    from loadstone_protocol.v1 import engine_pb2

    # Called with a channel and its new entries, in order; `keep` is called when they are durable.
    Apply = Callable[[str, tuple[Entry, ...]], None]
    # Returns the inbox of a channel that a peer begins: empty, or behind what an earlier process has kept.
    Open = Callable[[str], Inbox]

FRAME_BYTES: Final = 256 * 1024
# Sent and not yet received, of one channel: what a peer may be made to hold that does not read.
IN_FLIGHT_BYTES: Final = 1024 * 1024
CHANNELS_MAX: Final = 64
PASSING_MAX: Final = 1_024


class _Kind(NamedTuple):
    apply: Apply
    open: Open


class Passage(Protocol):
    """Who passes on frames of custom messages, whose ends do their own numbering; see engine.proto."""

    def on_frame(self, frame: engine_pb2.MessageFrame) -> None:
        """Take a frame, which nothing here has checked; raise WireError if it cannot be meant."""
        ...

    def on_begin(self) -> None:
        """Note that the connection is a new one: what was on its way may be lost."""
        ...


class BulkEnd:
    """The channels of one peer. Everything happens on the event loop.

    Attributes:
        passage: who takes the peer's frames of custom messages; None: they are left alone.
    """

    def __init__(self) -> None:
        self._outboxes: dict[str, Outbox] = {}
        self._observers: dict[str, Callable[[int], None]] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._kinds: dict[str, _Kind] = {}
        self._unknown: set[str] = set()
        self._to_receipt: dict[str, None] = {}  # channels in the order in which they wait
        self._turns: list[str] = []
        self._has_work = asyncio.Event()
        self._connection = 0
        self.passage: Passage | None = None
        self._passing: deque[engine_pb2.MessageFrame] = deque()
        self._passes = False  # whose turn it is: theirs, or the batches'

    # What whoever fills outboxes and reads entries calls.

    def send_from(self, channel: str, outbox: Outbox, on_durable: Callable[[int], None] | None = None) -> None:
        """Send what is in an outbox, from now on; `on_durable(number)` is told up to where the peer keeps it."""
        self._outboxes[channel] = outbox
        if on_durable is not None:
            self._observers[channel] = on_durable
        self.wake()

    def forget(self, channel: str) -> None:
        """Send nothing more from a channel."""
        self._outboxes.pop(channel, None)
        self._observers.pop(channel, None)

    def receive(self, kind: str, apply: Apply, open_inbox: Open | None = None) -> None:
        """Take in the channels of a kind, `kind` or `kind/which`, each with an inbox of its own."""
        self._kinds[kind] = _Kind(apply, open_inbox or (lambda _channel: Inbox()))

    def keep(self, channel: str, number: int) -> None:
        """Note that the entries of a channel up to `number` are durable; the peer is told."""
        self._inboxes[channel].keep(number)
        self._owe_receipt(channel)

    def received(self, channel: str) -> int:
        """Return the newest entry of a channel that was applied; 0 before the first."""
        inbox = self._inboxes.get(channel)
        return inbox.received if inbox is not None else 0

    def inbox(self, channel: str) -> Inbox | None:
        """Return the inbox of a channel that the peer has begun."""
        return self._inboxes.get(channel)

    def wake(self) -> None:
        """Say that there is something new in an outbox."""
        self._has_work.set()

    def pass_on(self, frame: engine_pb2.MessageFrame) -> None:
        """Send a frame of custom messages; if too many wait it is dropped, and its sender says it again."""
        if len(self._passing) < PASSING_MAX:
            self._passing.append(frame)
            self.wake()

    # What a connection calls.

    def begin(self) -> None:
        """Begin with a new connection: what is not durable is sent anew, and the peer hears how far this end is.

        The `pump` of an earlier one, which may not have noticed its end yet, takes nothing more.
        """
        self._connection += 1
        for outbox in self._outboxes.values():
            outbox.rewind()
        for channel in self._inboxes:
            self._owe_receipt(channel)
        self._passing.clear()
        if self.passage is not None:
            self.passage.on_begin()
        self.wake()

    def hear(self, frame: coordination_pb2.BulkFrame) -> None:
        """Take in a frame.

        Raises:
            WireError: it cannot be meant; nothing of it was taken in.
        """
        if frame.HasField("messages"):
            if self.passage is not None:
                self.passage.on_frame(frame.messages)
            return
        match word_from_frame(frame):
            case BulkBatch() as told:
                self._take(told)
            case BulkReceipt() as told:
                self._settle(told)

    async def pump(self, write: Callable[[coordination_pb2.BulkFrame], Any]) -> None:
        """Write whatever is due until the next connection; `write` is awaited, so a slow peer holds up nobody else."""
        connection = self._connection
        while True:
            await self._has_work.wait()
            if connection != self._connection:
                await asyncio.Event().wait()
            self._has_work.clear()
            while connection == self._connection and (frame := self._next_frame()) is not None:
                await write(frame)

    def _take(self, told: BulkBatch) -> None:
        channel = told.channel
        kind = self._kinds.get(kind_of(channel))
        if kind is None:
            self._leave_alone(kind_of(channel))
            return
        inbox = self._inboxes.get(channel)
        if inbox is None:
            if len(self._inboxes) >= CHANNELS_MAX:
                raise WireError(f"a peer has at most {CHANNELS_MAX} channels")
            inbox = self._inboxes[channel] = kind.open(channel)
        entries = inbox.take(told.batch)
        self._owe_receipt(channel)
        if entries:
            kind.apply(channel, entries)

    def _settle(self, told: BulkReceipt) -> None:
        outbox = self._outboxes.get(told.channel)
        if outbox is None:
            return
        try:
            settled = outbox.acknowledge(told.receipt)
        except OutboxError as error:
            raise WireError(f"channel {told.channel}: {error}") from error
        if settled and (observer := self._observers.get(told.channel)) is not None:
            observer(outbox.durable)
        # There is room on the way now.
        self.wake()

    def _next_frame(self) -> coordination_pb2.BulkFrame | None:
        """Return what is due: receipts first, then a message frame and a batch by turns."""
        if self._to_receipt:
            channel = next(iter(self._to_receipt))
            del self._to_receipt[channel]
            return receipt_frame(channel, self._inboxes[channel].receipt())
        self._passes = bool(self._passing) and not self._passes
        if not self._passes and (batch := self._next_batch()) is not None:
            return batch
        return coordination_pb2.BulkFrame(messages=self._passing.popleft()) if self._passing else None

    def _next_batch(self) -> coordination_pb2.BulkFrame | None:
        """Return a batch of the outbox whose turn it is."""
        for _ in range(len(self._outboxes)):
            self._turns = [each for each in self._turns if each in self._outboxes] or list(self._outboxes)
            channel = self._turns.pop(0)
            batch = self._outboxes[channel].take(
                bytes_max=FRAME_BYTES, entries_max=ENTRIES_MAX, in_flight_max=IN_FLIGHT_BYTES
            )
            if batch is not None:
                return batch_frame(channel, batch)
        return None

    def _owe_receipt(self, channel: str) -> None:
        self._to_receipt[channel] = None
        self.wake()

    def _leave_alone(self, kind: str) -> None:
        """Say once that there are entries here that nobody takes: the peer may be of a later release."""
        if kind not in self._unknown and len(self._unknown) < CHANNELS_MAX:
            self._unknown.add(kind)
            sys.stderr.write(f"a peer sends entries of the kind {kind!r}, which is not known here; they stay with it\n")
