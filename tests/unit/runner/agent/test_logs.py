"""What scripts print goes from their output to the master; whatever it is, the agent goes on."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from loadstone_core.outbox import Receipt
from loadstone_protocol.bulk import receipt_frame
from loadstone_runner.agent.logs import OUTBOX_ENTRIES, LogShipper
from loadstone_runner.agent.messages import kept_message
from loadstone_runner.launcher.spool import Spool
from loadstone_runner.launcher.tee import Source
from loadstone_runner.redaction import Redactor
from loadstone_runner.spool import Kind, LogStream, Record, SpoolError, decode
from loadstone_runner.transport.grpc.bulk import BulkEnd

if TYPE_CHECKING:
    from pathlib import Path

    from loadstone_protocol.v1 import engine_pb2

STREAM = LogStream(0, 1, 1)


async def told_of(folder: Path, printed: bytes) -> list[engine_pb2.ToEngine]:
    """Return what an agent tells an engine that has printed this, once the master has all of it."""
    spool, told = Spool(str(folder), "0001"), []
    reader, writer = os.pipe()
    source = Source(reader, lambda block, lines, marks: spool.put(STREAM, block, lines, marks=marks), Redactor(()))
    os.write(writer, printed)
    source.read_some()
    os.close(writer)
    os.close(reader)
    end = BulkEnd()
    shipper = LogShipper(
        str(folder),
        end,
        on_kept=lambda _stream, number, is_lost: told.append(kept_message(number, is_lost=is_lost)),
        on_settled=lambda: None,
    )
    shipper.pump()
    frame = end._next_frame()
    assert frame is not None
    newest = frame.batch.first + len(frame.batch.entries) - 1
    end.hear(receipt_frame(frame.batch.channel, Receipt(newest, newest)))
    return told


@pytest.mark.promise("hostile-scripts", "log-durable")
@pytest.mark.parametrize("digits", range(14, 23))
def test_marks_that_a_script_makes_up_keep_nobody_from_those_that_are_true(tmp_path: Path, digits: int) -> None:
    forged = b"\x1eloadstone-mark " + b"9" * digits
    printed = b"hello\n" + forged + b" 1\nworld\n\x1eloadstone-mark 7 6\n"

    told = asyncio.run(told_of(tmp_path, printed))

    assert told[-1] == kept_message(7, is_lost=False)


def test_a_mark_that_no_message_can_carry_is_no_record() -> None:
    with pytest.raises(SpoolError, match="record 1 of the log's spool is not whole"):
        decode(Record(1, Kind.MARK, STREAM, 0, b"+" + b"9" * 20).encode())


@pytest.mark.promise("hostile-scripts")
def test_an_agent_holds_no_marks_but_those_on_their_way_to_the_master(tmp_path: Path) -> None:
    async def held() -> int:
        spool = Spool(str(tmp_path), "0001")
        spool.put(STREAM, b"", 0, marks=[(b"1", 0)] * 20_000)
        spool.end(STREAM)
        shipper = LogShipper(str(tmp_path), BulkEnd(), on_kept=lambda *_: None, on_settled=lambda: None)
        shipper.pump()
        [end] = shipper.ends()
        assert end.tally is not None
        return sum(len(boot._marks) for boot in shipper._boots.values())

    assert asyncio.run(held()) <= OUTBOX_ENTRIES
