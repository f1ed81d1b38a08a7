from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.outbox import Batch, Entry, Receipt
from loadstone_protocol import bulk
from loadstone_protocol.codec import WireError
from loadstone_protocol.v1 import coordination_pb2 as pb

NUMBERS = st.integers(1, 2**50)
ENTRIES = st.one_of(
    st.binary(max_size=50).map(Entry),
    st.tuples(st.just(b""), st.integers(1, 10**9), st.integers(0, 10**12)).map(lambda values: Entry(*values)),
)


@given(NUMBERS, st.integers(0, 1_000), st.lists(ENTRIES, min_size=1, max_size=20))
def test_a_batch_survives_the_wire(oldest: int, behind: int, entries: list[Entry]) -> None:
    batch = Batch(oldest + behind, oldest, tuple(entries))
    frame = pb.BulkFrame.FromString(bulk.batch_frame("logs/1", batch).SerializeToString())

    assert bulk.word_from_frame(frame) == bulk.BulkBatch("logs/1", batch)


@given(NUMBERS, st.integers(0, 1_000), st.booleans())
def test_a_receipt_survives_the_wire(durable: int, ahead: int, resend: bool) -> None:  # noqa: FBT001 hypothesis names it
    receipt = Receipt(durable + ahead, durable, resend=resend)
    frame = pb.BulkFrame.FromString(bulk.receipt_frame("logs", receipt).SerializeToString())

    assert bulk.word_from_frame(frame) == bulk.BulkReceipt("logs", receipt)


def batch(**changes: Any) -> pb.BulkFrame:
    fields = {"channel": "logs", "first": 1, "oldest": 1, "entries": [pb.OutboxEntry(payload=b"x")], **changes}
    return pb.BulkFrame(batch=pb.OutboxBatch(**fields))


@pytest.mark.parametrize(
    "frame",
    [
        pb.BulkFrame(),
        pb.BulkFrame(peer=pb.Peer(worker=1)),
        batch(channel=""),
        batch(channel="x" * 129),
        batch(channel="lögs"),
        batch(channel="a\nb"),
        batch(first=0),
        batch(oldest=0),
        batch(first=1, oldest=2),
        batch(first=2**60),
        batch(entries=[]),
        batch(entries=[pb.OutboxEntry()] * 4_097),
        batch(entries=[pb.OutboxEntry(payload=b"x" * (1024 * 1024 + 1))]),
        batch(entries=[pb.OutboxEntry(payload=b"x", lost=1)]),
        batch(entries=[pb.OutboxEntry(lost_bytes=1)]),
        batch(entries=[pb.OutboxEntry(lost=2**60)]),
        pb.BulkFrame(receipt=pb.OutboxReceipt(channel="logs", received=1, durable=2)),
        pb.BulkFrame(receipt=pb.OutboxReceipt(channel="logs", received=2**60)),
        pb.BulkFrame(receipt=pb.OutboxReceipt()),
    ],
)
def test_a_frame_that_cannot_be_meant_is_refused(frame: pb.BulkFrame) -> None:
    with pytest.raises(WireError):
        bulk.word_from_frame(frame)


def test_a_channel_is_for_what_its_name_begins_with() -> None:
    assert [bulk.kind_of(name) for name in ("logs", "logs/17", "messages/a/b")] == ["logs", "logs", "messages"]
