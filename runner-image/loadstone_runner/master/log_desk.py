"""Where the logs of workers and of the director come in: into the book at once, then onto the disk, then acknowledged.

What is missing is known to `logbook`; how it lies on the disk to `log_store`.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from functools import partial
from typing import TYPE_CHECKING, Final

from loadstone_core.outbox import Inbox
from loadstone_runner.master.log_store import GZIP, read_cut, read_segment, segments
from loadstone_runner.master.logbook import DIRECTOR, Source
from loadstone_runner.spool import Kind, SpoolError, SpoolReader, decode, segments_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadstone_core.outbox import Entry
    from loadstone_runner.master.exchange import Exchange
    from loadstone_runner.master.log_store import LogStore
    from loadstone_runner.master.logbook import LogBook
    from loadstone_runner.spool import Record
    from loadstone_runner.transport.grpc.bulk import BulkEnd

CHANNEL: Final = "logs"
# What a flood may cost: workers keep what comes faster, and drop what they have no room for, with a count.
BYTES_PER_SECOND: Final = 8 * 1024 * 1024
DIRECTOR_READ_BYTES: Final = 256 * 1024
PENDING_MAX: Final = 1_000  # blocks of lines, each a read of a launcher
# Of what hundreds of workers send at once so much is copied, packed and put on the disk at a time.
PART_BYTES: Final = 4 * 1024 * 1024
RETRY_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class LogDesk:
    """The log of one run."""

    def __init__(
        self, book: LogBook, store: LogStore, *, exchange: Exchange, on_director_kept: Callable[[int, bool], None]
    ) -> None:
        """Hear every worker; `on_director_kept(number, is_lost)` is told what became of the director's marks."""
        self._book = book
        self._store = store
        self._on_director_kept = on_director_kept
        self._pending: list[tuple[Source, bytes]] = []
        self._then: list[Callable[[], None]] = []  # once what is pending is on the disk
        self._writing: asyncio.Task[None] | None = None
        self._readers: dict[str, SpoolReader | None] = {}  # None: it cannot be read any further
        exchange.equip(self._equip)

    def take_in(self, folder: str) -> None:
        """Read what the director's launcher has spooled since, unless there is enough to write already."""
        for boot, spooled in segments_in(folder).items():
            if boot not in self._readers:
                self._readers[boot] = SpoolReader(folder, boot, spooled[0][0])
        for boot, reader in self._readers.items():
            if reader is not None and len(self._pending) < PENDING_MAX:
                self._read_director(Source(DIRECTOR, 1, boot), reader)

    def tail_gzip(self, lines: int, size: int) -> tuple[bytes, int]:
        """Return the last lines as gzip text of at most `size` bytes, and how many they are."""
        while True:
            text, count = self._book.tail(lines)
            compressor = zlib.compressobj(9, zlib.DEFLATED, GZIP)
            packed = compressor.compress(text) + compressor.flush()
            if len(packed) <= size or not count:
                return packed, count
            lines = count * size // len(packed) * 9 // 10

    async def finish(self) -> None:
        """Wait until everything that has come is on the disk."""
        if self._writing is not None:
            await self._writing

    def _equip(self, end: BulkEnd, worker: int, attempt: int) -> None:
        def open_inbox(channel: str) -> Inbox:
            return Inbox(self._book.newest(_source(worker, attempt, channel)))

        end.receive(CHANNEL, partial(self._hear, end, worker, attempt), open_inbox)

    def _hear(self, end: BulkEnd, worker: int, attempt: int, channel: str, entries: tuple[Entry, ...]) -> None:
        source = _source(worker, attempt, channel)
        for entry in entries:
            try:
                decoded = decode(entry.payload)
            except SpoolError as error:
                decoded = None
                log.warning("Left out a record of a log: worker=%d reason=%s", worker, error)
            if decoded is not None:
                self._keep(source, decoded[0], entry.payload)
        self._once_written(partial(end.keep, channel, end.received(channel)))

    def _read_director(self, source: Source, reader: SpoolReader) -> None:
        try:
            records = reader.read(DIRECTOR_READ_BYTES)
        except (SpoolError, OSError) as error:
            log.warning("The rest of the director's log is not read: %s", error)
            self._readers[source.boot] = None
            return
        if records:
            for record in records:
                self._keep(source, record, record.encode())
            marks = [record for record in records if record.kind is Kind.MARK]
            self._once_written(partial(self._settle_director, reader, records[-1].number, marks))

    def _settle_director(self, reader: SpoolReader, number: int, marks: list[Record]) -> None:
        for mark in marks:
            self._on_director_kept(int(mark.payload[1:]), mark.payload[:1] == b"-")
        try:
            reader.release(number)
        except OSError as error:
            log.warning("A segment of the director's log cannot be removed: %s", error)

    def _keep(self, source: Source, record: Record, encoded: bytes) -> None:
        if record.number > self._book.newest(source):
            self._book.apply(source, record)
            self._pending.append((source, encoded))

    def _once_written(self, then: Callable[[], None]) -> None:
        self._then.append(then)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Write what is pending, then say so, until there is nothing left; never faster than a flood may cost."""
        loop = asyncio.get_running_loop()
        try:
            while self._then:
                batch, self._pending = self._pending, []
                then, self._then = self._then, []
                size, began = sum(len(encoded) for _, encoded in batch), loop.time()
                for part in _parts(batch):
                    await self._append(part)
                for each in then:
                    each()
                # As much may come meanwhile.
                batch.clear()
                await asyncio.sleep(max(0.0, size / BYTES_PER_SECOND - (loop.time() - began)))
        finally:
            self._writing = None

    async def _append(self, part: list[tuple[Source, bytes]]) -> None:
        while True:
            try:
                await asyncio.to_thread(self._store.append, part)
            except OSError as error:
                log.warning("The log cannot be kept now: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return


def _parts(batch: list[tuple[Source, bytes]]) -> Iterator[list[tuple[Source, bytes]]]:
    """Yield a batch in parts of about PART_BYTES."""
    begin = size = 0
    for end, (_, encoded) in enumerate(batch, start=1):
        size += len(encoded)
        if size >= PART_BYTES or end == len(batch):
            yield batch[begin:end]
            begin, size = end, 0


def recall(book: LogBook, folder: Path) -> None:
    """Let a book know what a former start of this master has kept."""
    for path in segments(folder):
        for source, record in read_segment(path):
            book.apply(source, record)
    for (source, stream), counts in read_cut(folder).streams.items():
        book.recall_cut(source, stream, counts)


def _source(worker: int, attempt: int, channel: str) -> Source:
    return Source(worker, attempt, channel.partition("/")[2])
