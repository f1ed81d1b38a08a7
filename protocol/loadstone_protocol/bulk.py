"""Turn batches of outboxes and receipts for them into frames and back. What entries mean is not known here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_core.outbox import Batch, Entry, Receipt
from loadstone_protocol.codec import WireError
from loadstone_protocol.v1 import coordination_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

ENTRY_MAX_BYTES: Final = 1024 * 1024
ENTRIES_MAX: Final = 4_096
CHANNEL_MAX: Final = 128
NUMBER_MAX: Final = 2**53


class BulkBatch(NamedTuple):
    """A batch of one channel."""

    channel: str
    batch: Batch


class BulkReceipt(NamedTuple):
    """A receipt for one channel."""

    channel: str
    receipt: Receipt


BulkWord = BulkBatch | BulkReceipt


def batch_frame(channel: str, batch: Batch) -> coordination_pb2.BulkFrame:
    """Return a batch as it travels."""
    return coordination_pb2.BulkFrame(
        batch=coordination_pb2.OutboxBatch(
            channel=channel, first=batch.first, oldest=batch.oldest, entries=map(_entry_message, batch.entries)
        )
    )


def receipt_frame(channel: str, receipt: Receipt) -> coordination_pb2.BulkFrame:
    """Return a receipt as it travels."""
    return coordination_pb2.BulkFrame(
        receipt=coordination_pb2.OutboxReceipt(
            channel=channel, received=receipt.received, durable=receipt.durable, resend=receipt.resend
        )
    )


def word_from_frame(frame: coordination_pb2.BulkFrame) -> BulkWord:
    """Return what a frame says after the first.

    Raises:
        WireError: it says nothing that is known, or what it says cannot be meant.
    """
    match frame.WhichOneof("kind"):
        case "batch":
            return BulkBatch(_channel(frame.batch.channel), _batch(frame.batch))
        case "receipt":
            return BulkReceipt(_channel(frame.receipt.channel), _receipt(frame.receipt))
        case _:
            raise WireError("a frame holds a batch or a receipt")


def kind_of(channel: str) -> str:
    """Return what a channel is for: its name up to the first slash."""
    return channel.partition("/")[0]


def _channel(name: str) -> str:
    if not 0 < len(name) <= CHANNEL_MAX or not (name.isascii() and name.isprintable()):
        raise WireError(f"a channel's name has 1 to {CHANNEL_MAX} printable characters of ASCII")
    return name


def _batch(message: coordination_pb2.OutboxBatch) -> Batch:
    if not 1 <= message.oldest <= message.first <= NUMBER_MAX:
        raise WireError("a batch's entries are counted from 1, and none is older than the oldest")
    if not 1 <= len(message.entries) <= ENTRIES_MAX:
        raise WireError(f"a batch has 1 to {ENTRIES_MAX} entries, not {len(message.entries)}")
    return Batch(message.first, message.oldest, tuple(_entries(message.entries)))


def _entries(messages: Iterable[coordination_pb2.OutboxEntry]) -> Iterable[Entry]:
    for message in messages:
        if len(message.payload) > ENTRY_MAX_BYTES:
            raise WireError(f"an entry has {len(message.payload)} bytes; at most {ENTRY_MAX_BYTES} are allowed")
        if (message.lost and message.payload) or (message.lost_bytes and not message.lost):
            raise WireError("an entry is a gap or has a payload, not both")
        if max(message.lost, message.lost_bytes) > NUMBER_MAX:
            raise WireError("a gap is larger than anything that could have been written")
        yield Entry(message.payload, message.lost, message.lost_bytes)


def _entry_message(entry: Entry) -> coordination_pb2.OutboxEntry:
    return coordination_pb2.OutboxEntry(payload=entry.payload, lost=entry.lost, lost_bytes=entry.lost_bytes)


def _receipt(message: coordination_pb2.OutboxReceipt) -> Receipt:
    if not message.durable <= message.received <= NUMBER_MAX:
        raise WireError("what is durable was received")
    return Receipt(message.received, message.durable, resend=message.resend)
