"""Write what engines print into the spool of the pod's log, as far as there is room. Never waits for whoever reads it.

What has no room becomes a gap with exact counts; the end of a stream says what was written to it. That the disk itself
is slow is bounded by how little may lie on it.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from loadstone_runner.spool import (
    RECORD_MAX_BYTES,
    SEGMENT_BYTES,
    Kind,
    LogStream,
    Record,
    Tally,
    digested,
    end_payload,
    gap_payload,
    segment_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    # The number of who waits for a line, and how many bytes of that line came in blocks before.
    Mark = tuple[bytes, int]

SPOOL_BYTES: Final = 64 * 1024 * 1024
# Beyond that, for marks only: whoever waits is to hear that a line had no room.
MARKS_BYTES: Final = 256 * 1024
FOLDER_MODE: Final = 0o770  # agent and engines are different users of one group


class _Account:
    """What was written to one stream so far."""

    __slots__ = ("digest", "gap_lines", "gap_size", "lines", "lost_at", "lost_lines", "lost_size", "size")

    def __init__(self) -> None:
        # Only now: most of what a launcher does at its start is done before an engine prints.
        import hashlib

        self.lines = self.size = self.lost_lines = self.lost_size = self.gap_lines = self.gap_size = 0
        self.lost_at = 0  # where the newest loss ended
        self.digest: Any = hashlib.sha256()


class Spool:
    """The segments of one launcher. Without a folder, or with a disk that takes nothing, everything is a gap."""

    __slots__ = ("_accounts", "_boot", "_descriptor", "_folder", "_limit", "_next", "_segment", "_segments", "_size")

    def __init__(self, folder: str, boot: str, *, limit: int = SPOOL_BYTES) -> None:
        """Begin with record 1; hold at most `limit` bytes that nobody has removed yet, and a little more for marks."""
        self._folder = folder
        self._boot = boot
        self._limit = limit
        self._accounts: dict[LogStream, _Account] = {}
        self._segments: deque[tuple[str, int]] = deque()  # that are full
        self._segment = ""
        self._descriptor = -1
        self._size = 0
        self._next = 1
        with contextlib.suppress(OSError):
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 pathlib costs 5 ms
            os.chmod(folder, FOLDER_MODE)  # noqa: PTH101 the same

    def put(self, stream: LogStream, block: bytes, lines: int, *, marks: Sequence[Mark] = ()) -> None:
        """Take whole lines; `marks` are who waits until theirs are durable, or known to be lost.

        Marks that have no room are dropped: who waits for one hears nothing, and takes the line as lost in time.
        """
        account = self._accounts.get(stream) or self._accounts.setdefault(stream, _Account())
        before = account.size
        account.lines += lines
        account.size += len(block)
        is_held = not block and not account.gap_size
        if block and self._has_room(len(block), self._limit) and self._end_gap(stream, account):
            is_held = self._write_lines(stream, account, block, lines)
        if not is_held:
            account.gap_lines += lines
            account.gap_size += len(block)
            account.lost_lines += lines
            account.lost_size += len(block)
            account.lost_at = account.size
        for number, earlier in marks:
            if not self._has_room(len(number), self._limit + MARKS_BYTES):
                break
            # A line may have been longer before its secrets were taken out, never shorter.
            is_whole = is_held and (not account.lost_size or before - earlier >= account.lost_at)
            self._write(Kind.MARK, stream, 0, (b"+" if is_whole else b"-") + number)

    def end(self, stream: LogStream) -> None:
        """Say what was written to a stream: nothing more will be."""
        account = self._accounts.get(stream) or _Account()
        if not self._end_gap(stream, account):
            return
        digest = account.digest.digest()
        tally = Tally(account.lines, account.size, account.lost_lines, account.lost_size, digest)
        if self._write(Kind.END, stream, 0, end_payload(tally)):
            self._accounts.pop(stream, None)

    def _write_lines(self, stream: LogStream, account: _Account, block: bytes, lines: int) -> bool:
        record = self._write(Kind.LINES, stream, lines, block) if len(block) <= RECORD_MAX_BYTES else None
        if record is not None:
            account.digest.update(digested(record))
        return record is not None

    def _end_gap(self, stream: LogStream, account: _Account) -> bool:
        """Write down what was dropped before what comes now; return whether that worked."""
        if account.gap_size:
            record = self._write(Kind.GAP, stream, account.gap_lines, gap_payload(account.gap_size))
            if record is None:
                return False
            account.digest.update(digested(record))
            account.gap_lines = account.gap_size = 0
        return True

    def _has_room(self, size: int, limit: int) -> bool:
        while self._size + size > limit and self._segments:
            path, held = self._segments[0]
            if os.access(path, os.F_OK):
                return False
            # Whoever reads has removed it: everything in it is durable elsewhere.
            self._segments.popleft()
            self._size -= held
        return self._size + size <= limit

    def _write(self, kind: Kind, stream: LogStream, lines: int, payload: bytes) -> Record | None:
        """Write a record whole; return it, None if the disk does not take it."""
        record = Record(self._next, kind, stream, lines, payload)
        encoded = record.encode()
        try:
            if self._descriptor < 0 or os.fstat(self._descriptor).st_size >= SEGMENT_BYTES:
                self._begin_segment()
            before = os.fstat(self._descriptor).st_size
            if os.write(self._descriptor, encoded) != len(encoded):
                os.ftruncate(self._descriptor, before)
                return None
        except OSError:
            return None
        self._next += 1
        self._size += len(encoded)
        return record

    def _begin_segment(self) -> None:
        path = f"{self._folder}/{segment_name(self._boot, self._next)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC, 0o660)
        if self._descriptor >= 0:
            self._segments.append((self._segment, os.fstat(self._descriptor).st_size))
            os.close(self._descriptor)
        self._segment, self._descriptor = path, descriptor
