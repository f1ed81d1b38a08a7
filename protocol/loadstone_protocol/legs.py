"""One end of the way between a script's process and the hub: messages out in order, messages in once, frames between.

Frames may be lost, doubled or late, and either way may break; what entries mean is known elsewhere. No clock: `now_ns`
is an argument.
"""

from __future__ import annotations

from typing import Final

from loadstone_core.outbox import Batch, Entry, Inbox, Outbox, OutboxError, Receipt
from loadstone_protocol.codec import WireError
from loadstone_protocol.v1 import engine_pb2

ENTRY_MAX_BYTES: Final = 300 * 1024
ENTRIES_MAX: Final = 20_000
BYTES_MAX: Final = 24 * 1024 * 1024
FRAME_BYTES: Final = 64 * 1024
FRAME_ENTRIES_MAX: Final = 4_096
# What may be on its way at once is what statistics on the same socket have to wait for.
IN_FLIGHT_BYTES: Final = 512 * 1024
PATIENCE_NS: Final = 2_000_000_000
NUMBER_MAX: Final = 2**53
HUB_MAX: Final = 64


class Leg:
    """One end: an outbox for this way, an inbox for the other.

    Attributes:
        hub: the start of the master that both ends belong to; empty: not known yet.
    """

    __slots__ = ("_inbox", "_moved_ns", "_outbox", "_owes_receipt", "_wants_rewind", "hub")

    def __init__(self, hub: str) -> None:
        self.hub = hub
        self._outbox = Outbox(entries_max=ENTRIES_MAX, bytes_max=BYTES_MAX)
        self._inbox = Inbox()
        self._owes_receipt = False
        self._wants_rewind = False
        self._moved_ns = 0

    @property
    def is_delivered(self) -> bool:
        """Whether the other end has everything."""
        return self._outbox.durable == self._outbox.last

    def put(self, entry: bytes) -> bool:
        """Take an entry for the other end; return whether there was room for it."""
        return self._outbox.has_room(len(entry)) and self._outbox.put(entry) > 0

    def rewind(self) -> None:
        """Send again what has not been received, and let the other end do so: the way between was made anew."""
        self._outbox.rewind()
        self._owes_receipt = self._wants_rewind = True

    def look(self, now_ns: int) -> None:
        """Send again if nothing has been heard for long: frames may be lost without a sign."""
        if self.is_delivered:
            self._moved_ns = now_ns
        elif now_ns - self._moved_ns >= PATIENCE_NS:
            self._moved_ns = now_ns
            self._outbox.rewind()

    def hear(self, frame: engine_pb2.MessageFrame, now_ns: int) -> tuple[bytes, ...]:
        """Take in a frame of this hub; return the entries that are new.

        Raises:
            WireError: it cannot be meant; nothing of it was taken in.
        """
        batch = _batch(frame)
        if frame.received > NUMBER_MAX:
            raise WireError("a frame acknowledges what cannot have been sent")
        before = self._outbox.durable
        try:
            self._outbox.acknowledge(Receipt(frame.received, frame.received, resend=frame.resend))
        except OutboxError as error:
            raise WireError(str(error)) from error
        if self._outbox.durable > before:
            self._moved_ns = now_ns
        if frame.rewind:
            self._outbox.rewind()
        if batch is None:
            return ()
        fresh = self._inbox.take(batch)
        self._inbox.keep(self._inbox.received)
        self._owes_receipt = True
        return tuple(entry.payload for entry in fresh if not entry.lost)

    def next_frame(self, now_ns: int) -> engine_pb2.MessageFrame | None:
        """Return what is to be sent now; None: nothing."""
        was_quiet = self._outbox.unsent == self._outbox.last - self._outbox.durable
        # Nobody is there yet who could take entries; a hub says who it is when it hears of this end.
        batch = self._next_batch() if self.hub else None
        if batch is None and not self._owes_receipt:
            return None
        if batch is not None and was_quiet:
            # Only what is on its way can be late.
            self._moved_ns = now_ns
        receipt = self._inbox.receipt()
        frame = engine_pb2.MessageFrame(
            hub=self.hub, received=receipt.received, resend=receipt.resend, rewind=self._wants_rewind
        )
        if batch is not None:
            frame.first, frame.oldest = batch.first, batch.oldest
            frame.entries.extend(entry.payload for entry in batch.entries)
        self._owes_receipt = self._wants_rewind = False
        return frame

    def _next_batch(self) -> Batch | None:
        return self._outbox.take(bytes_max=FRAME_BYTES, entries_max=FRAME_ENTRIES_MAX, in_flight_max=IN_FLIGHT_BYTES)


def _batch(frame: engine_pb2.MessageFrame) -> Batch | None:
    if len(frame.hub) > HUB_MAX:
        raise WireError("the name of a hub is too long")
    if not frame.oldest:
        return None
    if not 1 <= frame.oldest <= frame.first <= NUMBER_MAX:
        raise WireError("a frame's entries are counted from 1, and none is older than the oldest")
    if not 1 <= len(frame.entries) <= FRAME_ENTRIES_MAX:
        raise WireError(f"a frame has 1 to {FRAME_ENTRIES_MAX} entries, not {len(frame.entries)}")
    if max(map(len, frame.entries)) > ENTRY_MAX_BYTES:
        raise WireError(f"an entry has at most {ENTRY_MAX_BYTES} bytes")
    return Batch(frame.first, frame.oldest, tuple(map(Entry, frame.entries)))
