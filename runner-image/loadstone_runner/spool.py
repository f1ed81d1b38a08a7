"""The form of a pod's log on its way to the master: numbered records in segment files. Standard library only.

A launcher writes; an agent, or the master for its director, reads and removes what is durable elsewhere. What a record
means beyond this, and where it goes, is not known here.
"""

from __future__ import annotations

import os
import stat
import struct
from enum import IntEnum
from typing import Final, NamedTuple

SEGMENT_BYTES: Final = 1024 * 1024
RECORD_MAX_BYTES: Final = 256 * 1024
DIGEST_BYTES: Final = 32
# Whoever waits counts marks from 1; a number that a script prints itself must not be one that no message can carry.
MARK_DIGITS_MAX: Final = 15

_HEADER: Final = struct.Struct(">IQBIIBI")
_COUNTS: Final = struct.Struct(">QQQQ")
_GAP_BYTES: Final = 8
_NAME_DIGITS: Final = 20


class SpoolError(Exception):
    """What is in the spool was not written by a launcher of ours."""


class Kind(IntEnum):
    """What a record is."""

    LINES = 1  # whole lines, each with its end
    GAP = 2  # lines that had no room
    END = 3  # of a stream: what was written to it
    MARK = 4  # everything before it is in the spool, or was dropped: whoever waits for that can be told


class LogStream(NamedTuple):
    """One output of one start of one engine of a pod."""

    engine: int
    start: int
    fd: int  # 1 or 2


class Tally(NamedTuple):
    """What was written to a stream; of that, what was dropped; the digest of what was not, and of where."""

    lines: int
    size: int
    lost_lines: int
    lost_size: int
    digest: bytes


class Record(NamedTuple):
    """One record.

    Attributes:
        number: from 1, without a hole.
        lines: of a LINES or a GAP.
        payload: LINES: the lines; GAP and END: see `lost_size` and `tally`; MARK: who waits.
    """

    number: int
    kind: Kind
    stream: LogStream
    lines: int
    payload: bytes

    @property
    def lost_size(self) -> int:
        """How many bytes a GAP stands for."""
        return int.from_bytes(self.payload, "big")

    @property
    def tally(self) -> Tally:
        """What an END says."""
        lines, size, lost_lines, lost_size = _COUNTS.unpack_from(self.payload)
        return Tally(lines, size, lost_lines, lost_size, self.payload[_COUNTS.size :])

    def encode(self) -> bytes:
        """Return the record as it is written."""
        header = _HEADER.pack(len(self.payload), self.number, self.kind, *self.stream, self.lines)
        return header + self.payload


def gap_payload(size: int) -> bytes:
    """Return the payload of a GAP of so many bytes."""
    return size.to_bytes(_GAP_BYTES, "big")


def end_payload(tally: Tally) -> bytes:
    """Return the payload of an END."""
    return _COUNTS.pack(tally.lines, tally.size, tally.lost_lines, tally.lost_size) + tally.digest


def digested(record: Record) -> bytes:
    """Return what the digest of a stream takes of a LINES or a GAP; nothing of others."""
    match record.kind:
        case Kind.LINES:
            return record.payload
        case Kind.GAP:
            return b"gap %d %d\n" % (record.lines, record.lost_size)
        case _:
            return b""


def decode(encoded: bytes, at: int = 0) -> tuple[Record, int] | None:
    """Return the record that begins at a place, and where it ends; None if it is not whole yet.

    Raises:
        SpoolError: no record of ours begins there.
    """
    if len(encoded) - at < _HEADER.size:
        return None
    length, number, kind, engine, start, fd, lines = _HEADER.unpack_from(encoded, at)
    if length > RECORD_MAX_BYTES or kind not in Kind.__members__.values() or not number or fd not in {1, 2}:
        raise SpoolError("there is something else than a record in the log's spool")
    end = at + _HEADER.size + length
    if len(encoded) < end:
        return None
    record = Record(number, Kind(kind), LogStream(engine, start, fd), lines, encoded[at + _HEADER.size : end])
    if not _is_sound(record):
        raise SpoolError(f"record {number} of the log's spool is not whole")
    return record, end


def _is_sound(record: Record) -> bool:
    payload = record.payload
    match record.kind:
        case Kind.LINES:
            return payload.endswith(b"\n") and payload.count(b"\n") == record.lines
        case Kind.GAP:
            return len(payload) == _GAP_BYTES
        case Kind.END:
            return len(payload) == _COUNTS.size + DIGEST_BYTES
        case Kind.MARK:
            return payload[:1] in {b"+", b"-"} and payload[1:].isdigit() and len(payload) <= 1 + MARK_DIGITS_MAX


def segment_name(boot: str, number: int) -> str:
    """Return the name of the segment that begins with a record; names sort in the order of writing."""
    return f"{boot}-{number:0{_NAME_DIGITS}d}"


def segments_in(folder: str) -> dict[str, list[tuple[int, str]]]:
    """Return the segments of each boot of a launcher, oldest first: the number each begins with, and its path."""
    found: dict[str, list[tuple[int, str]]] = {}
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 pathlib costs 5 ms
    except OSError:
        return {}
    for name in names:
        boot, dash, number = name.rpartition("-")
        if boot and dash and len(number) == _NAME_DIGITS and number.isdigit():
            found.setdefault(boot, []).append((int(number), os.path.join(folder, name)))  # noqa: PTH118 pathlib costs 5 ms
    return found


class SpoolReader:
    """Reads the records of one boot of a launcher from the oldest on, and removes segments that nobody needs."""

    __slots__ = ("_at", "_folder", "_held", "_path", "boot", "next_number")

    def __init__(self, folder: str, boot: str, first: int) -> None:
        self.boot = boot
        self.next_number = first
        self._folder = folder
        self._path = ""
        self._at = 0
        self._held = b""

    def read(self, size: int) -> list[Record]:
        """Return the records that are there now, those of about `size` bytes at most.

        Raises:
            SpoolError: something else is there, or records are missing.
        """
        records: list[Record] = []
        while size > 0:
            part = self._read_part(min(size, SEGMENT_BYTES))
            if not part:
                if not self._go_on():
                    break
                continue
            size -= len(part)
            self._held += part
            records += self._take()
        return records

    def release(self, number: int) -> None:
        """Remove the segments of which everything up to `number` is all there is, but for the newest."""
        segments = segments_in(self._folder).get(self.boot, [])
        for (_, path), (begins_next, _) in zip(segments, segments[1:], strict=False):  # noqa: RUF007 no other module is needed
            if begins_next <= number + 1 and path != self._path:
                os.unlink(path)  # noqa: PTH108 pathlib costs 5 ms

    def _read_part(self, size: int) -> bytes:
        if not self._path:
            return b""
        try:
            # What engines run may write here, too: it must not lead a reader elsewhere, nor let one wait.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise SpoolError(f"a segment of the log's spool cannot be read: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SpoolError("a segment of the log's spool is no file")
            part = os.pread(descriptor, size, self._at)
        finally:
            os.close(descriptor)
        self._at += len(part)
        return part

    def _go_on(self) -> bool:
        """Go on with the next segment, if the one at hand is over; return whether there is one."""
        for number, path in segments_in(self._folder).get(self.boot, []):
            if number == self.next_number and path != self._path and not self._held:
                self._path, self._at = path, 0
                return True
            if number > self.next_number:
                if self._path and os.stat(self._path).st_size > self._at:  # noqa: PTH116 pathlib costs 5 ms
                    return True  # written to since it was read, and then left for the next one
                raise SpoolError(f"records {self.next_number} to {number - 1} are missing in the log's spool")
        return False

    def _take(self) -> list[Record]:
        records: list[Record] = []
        at = 0
        while (decoded := decode(self._held, at)) is not None:
            record, at = decoded
            if record.number != self.next_number:
                raise SpoolError(f"record {record.number} is where {self.next_number} should be in the log's spool")
            self.next_number += 1
            records.append(record)
        self._held = self._held[at:]
        return records
