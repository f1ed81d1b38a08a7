"""Keep a run's log on disk, compressed and bounded: its beginning and its end. Nothing is decided here.

Every batch is a gzip member of its own and on disk when the call returns; what a crash cut off at the end is not read.
What was cut out of the middle is known by its lines and bytes, and by what each stream has said of itself there.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from loadstone_runner.master.logbook import OVERFLOW, STREAMS_MAX, Counts, Source
from loadstone_runner.spool import Kind, LogStream, SpoolError, Tally, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from loadstone_runner.spool import Record

LIMIT_BYTES: Final = 64 * 1024 * 1024
SEGMENT_BYTES: Final = 4 * 1024 * 1024
LEVEL: Final = 1  # five times as fast as the default, for a fifth more on the disk
GZIP: Final = 16 + zlib.MAX_WBITS

# A batch of a few lines has some 150.
_PART_BYTES: Final = 8_192
_SOURCE: Final = struct.Struct(">iIB")


@dataclass(slots=True)
class Cut:
    """How much is not kept any more; it was behind the first segment.

    Attributes:
        lines: of all that was removed.
        size: of their bytes.
        newest: the name of the segment that went last; it may still be there after a crash, and counts as removed.
        streams: what the removed records of each stream came to.
    """

    lines: int = 0
    size: int = 0
    newest: str = ""
    streams: dict[tuple[Source, LogStream], Counts] = field(default_factory=dict)

    def take(self, source: Source, record: Record) -> None:
        """Count a record that is removed."""
        if record.kind is Kind.LINES:
            self.lines += record.lines
            self.size += len(record.payload)
        key = (source, record.stream)
        if key not in self.streams and len(self.streams) >= STREAMS_MAX:
            key = OVERFLOW
        self.streams.setdefault(key, Counts()).take(record)

    def to_lines(self) -> str:
        """Return what `from_lines` reads: first a line for the whole, then one for each stream."""
        rows: list[tuple[Any, ...]] = [(self.lines, self.size, self.newest)]
        for (source, stream), each in self.streams.items():
            told = each.told and (*each.told[:-1], each.told.digest.hex())
            counts = (each.newest, each.lines, each.size, each.lost_lines, each.lost_size)
            rows.append((*source, *stream, counts, told))
        return "\n".join(map(json.dumps, rows))

    @classmethod
    def from_lines(cls, text: str) -> Cut:
        """Return what `to_lines` was asked for; raise ValueError or TypeError if it is something else."""
        head, *rows = map(json.loads, text.splitlines())
        cut = cls(*head)
        for worker, attempt, boot, engine, start, fd, counts, told in rows:
            key = (Source(worker, attempt, boot), LogStream(engine, start, fd))
            cut.streams[key] = Counts(*counts)
            if told is not None:
                lines, size, lost_lines, lost_size, digest = told
                cut.streams[key].told = Tally(lines, size, lost_lines, lost_size, bytes.fromhex(digest))
        return cut


class LogStore:
    """The segments of one run in a folder."""

    def __init__(self, folder: Path, *, limit: int = LIMIT_BYTES, segment: int = SEGMENT_BYTES) -> None:
        """Begin a segment of its own behind those of an earlier start; raise OSError without the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        if removed := read_head(folder).newest:
            (folder / removed).unlink(missing_ok=True)
        self._folder = folder
        self._limit = limit
        self._segment = segment
        self._number = max(map(_number, segments(folder)), default=0)
        self._sizes = {path: path.stat().st_size for path in segments(folder)}
        self._begin()

    def append(self, records: Iterable[tuple[Source, bytes]]) -> None:
        """Keep encoded records: only after this may anybody be told that they are durable. Raises OSError."""
        packed = b"".join(_pack(source) + encoded for source, encoded in records)
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
        member = compressor.compress(packed) + compressor.flush()
        self._make_room(len(member))
        if self._sizes[self._path] + len(member) > self._segment:
            self._begin()
        with self._path.open("ab") as file:
            file.truncate(self._sizes[self._path])  # what a failed attempt has left
            file.write(member)
            file.flush()
            os.fsync(file.fileno())
        self._sizes[self._path] += len(member)

    def _begin(self) -> None:
        path = self._folder / f"{self._number + 1:08d}.gz"
        path.touch()
        # Not before: on a full disk the segment at hand stays the one that is tried again.
        self._number += 1
        self._path = path
        self._sizes[path] = 0

    def _make_room(self, size: int) -> None:
        """Remove the oldest segments but the first: how a run began explains more than its middle."""
        while sum(self._sizes.values()) + size > self._limit and len(self._sizes) > 2:  # noqa: PLR2004 first and last
            path = sorted(self._sizes)[1]
            cut = read_cut(self._folder)
            if cut.newest != path.name:  # else it was counted, and could not be removed
                for source, record in read_segment(path):
                    cut.take(source, record)
                cut.newest = path.name
                unfinished = self._folder / "cut.new"
                unfinished.write_text(cut.to_lines())
                unfinished.replace(self._folder / "cut")
            path.unlink(missing_ok=True)
            del self._sizes[path]


def read_cut(folder: Path) -> Cut:
    """Return how much of a log is not kept."""
    try:
        return Cut.from_lines((folder / "cut").read_text())
    except (OSError, ValueError, TypeError):
        return Cut()


def segments(folder: Path) -> list[Path]:
    """Return the segments of a log that count, oldest first."""
    removed = read_head(folder).newest
    return sorted(path for path in folder.glob("*.gz") if path.name != removed)


def read_head(folder: Path) -> Cut:
    """Return the same as a whole, without reading what each stream lacks: there may be thousands."""
    try:
        with (folder / "cut").open() as file:
            return Cut.from_lines(file.readline())
    except (OSError, ValueError, TypeError):
        return Cut()


def read_segment(path: Path) -> Iterator[tuple[Source, Record]]:
    """Yield the records of a segment; what is damaged and what is behind it is not read."""
    yield from unpack(path.read_bytes())[0]


def unpack(content: bytes) -> tuple[list[tuple[Source, Record]], int]:
    """Return the records of whole members, and how many bytes those have."""
    records: list[tuple[Source, Record]] = []
    whole = 0
    while whole < len(content):
        decompressor = zlib.decompressobj(GZIP)
        packed, at = bytearray(), whole
        try:
            # Not all that is left: each of thousands of members would copy what is behind it.
            while at < len(content) and not decompressor.eof:
                part = content[at : at + _PART_BYTES]
                packed += decompressor.decompress(part)
                at += len(part)
        except zlib.error:
            break
        if not decompressor.eof:
            break
        whole = at - len(decompressor.unused_data)
        records += _records(bytes(packed))
    return records, whole


def _records(packed: bytes) -> Iterator[tuple[Source, Record]]:
    at = 0
    try:
        while at < len(packed):
            worker, attempt, length = _SOURCE.unpack_from(packed, at)
            at += _SOURCE.size + length
            decoded = decode(packed, at)
            if decoded is None:
                return
            source = Source(worker, attempt, packed[at - length : at].decode())
            record, at = decoded
            yield source, record
    except (struct.error, SpoolError, UnicodeDecodeError):
        return


def _pack(source: Source) -> bytes:
    boot = source.boot.encode()
    return _SOURCE.pack(source.worker, source.attempt, len(boot)) + boot


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0
