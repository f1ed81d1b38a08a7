"""Keep a run's log on disk, compressed and bounded: its beginning and its end. Nothing is decided here.

Every batch is a gzip member of its own and on disk when the call returns; what a crash cut off at the end is not read.
What was cut out of the middle is known by its lines and bytes.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_runner.master.logbook import Source
from loadstone_runner.spool import Kind, SpoolError, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from loadstone_runner.spool import Record

LIMIT_BYTES: Final = 64 * 1024 * 1024
SEGMENT_BYTES: Final = 4 * 1024 * 1024
LEVEL: Final = 1  # five times as fast as the default, for a fifth more on the disk
GZIP: Final = 16 + zlib.MAX_WBITS

_SOURCE: Final = struct.Struct(">iIB")


class Cut(NamedTuple):
    """How much is not kept any more; it was behind the first segment.

    Attributes:
        lines: of all that was removed.
        size: of their bytes.
        newest: the name of the segment that went last; it may still be there after a crash, and counts as removed.
    """

    lines: int
    size: int
    newest: str = ""


class LogStore:
    """The segments of one run in a folder."""

    def __init__(self, folder: Path, *, limit: int = LIMIT_BYTES, segment: int = SEGMENT_BYTES) -> None:
        """Begin a segment of its own behind those of an earlier start; raise OSError without the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._cut = read_cut(folder)
        if self._cut.newest:
            (folder / self._cut.newest).unlink(missing_ok=True)
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
        if self._sizes[self._path] + len(member) > self._segment:
            self._begin()
        with self._path.open("ab") as file:
            file.truncate(self._sizes[self._path])  # what a failed attempt has left
            file.write(member)
            file.flush()
            os.fsync(file.fileno())
        self._sizes[self._path] += len(member)
        self._make_room()

    def _begin(self) -> None:
        self._number += 1
        self._path = self._folder / f"{self._number:08d}.gz"
        self._path.touch()
        self._sizes[self._path] = 0

    def _make_room(self) -> None:
        """Remove the oldest segments but the first: how a run began explains more than its middle."""
        while sum(self._sizes.values()) > self._limit and len(self._sizes) > 2:  # noqa: PLR2004 the first and the last
            path = sorted(self._sizes)[1]
            lines = size = 0
            for _, record in read_segment(path):
                if record.kind is Kind.LINES:
                    lines, size = lines + record.lines, size + len(record.payload)
            self._cut = Cut(self._cut.lines + lines, self._cut.size + size, path.name)
            unfinished = self._folder / "cut.new"
            unfinished.write_text(json.dumps(self._cut._asdict()))
            unfinished.replace(self._folder / "cut")
            path.unlink()
            del self._sizes[path]


def read_cut(folder: Path) -> Cut:
    """Return how much of a log is not kept."""
    try:
        return Cut(**json.loads((folder / "cut").read_text()))
    except (OSError, ValueError, TypeError):
        return Cut(0, 0)


def segments(folder: Path) -> list[Path]:
    """Return the segments of a log that count, oldest first."""
    removed = read_cut(folder).newest
    return sorted(path for path in folder.glob("*.gz") if path.name != removed)


def read_segment(path: Path) -> Iterator[tuple[Source, Record]]:
    """Yield the records of a segment; what is damaged and what is behind it is not read."""
    yield from unpack(path.read_bytes())[0]


def unpack(content: bytes) -> tuple[list[tuple[Source, Record]], int]:
    """Return the records of whole members, and how many bytes those have."""
    records: list[tuple[Source, Record]] = []
    whole = 0
    while whole < len(content):
        decompressor = zlib.decompressobj(GZIP)
        try:
            packed = decompressor.decompress(content[whole:])
        except zlib.error:
            break
        if not decompressor.eof:
            break
        whole = len(content) - len(decompressor.unused_data)
        records += _records(packed)
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
