"""Find records of a large file by their number, with bounded memory. What a record means belongs to `feeders`."""

from __future__ import annotations

import os
from array import array
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD_MAX: Final = 1 << 20
INDEX_MAX: Final = 1 << 20


class Records:
    """The records of a file: lines, or with `quoted` as many lines as a quoted text spans. Empty lines are none.

    Only every n-th record's place is kept, n as small as 1,048,576 places allow: at most 8 MiB, whatever the file's
    size. The bytes stay in the file, which must not change.
    """

    __slots__ = (
        "_block",
        "_block_number",
        "_end",
        "_every",
        "_file",
        "_places",
        "_quoted",
        "_skipped",
        "count",
        "name",
    )

    def __init__(self, path: Path, *, quoted: bool, skipped: int = 0, index_max: int = INDEX_MAX) -> None:
        """Look through the file once; the first `skipped` records are not counted.

        Raises:
            ValueError: it has no records, or one of more than 1 MiB.
            OSError: it cannot be read.
        """
        self.name = path.name
        self._quoted = quoted
        self._every = 1
        self._places = array("Q")
        self._block: list[bytes] = []
        self._block_number = -1
        self._file = path.open("rb", buffering=1 << 16)
        try:
            self.count = self._look_through(skipped, index_max)
        except BaseException:
            self._file.close()
            raise
        self._end = self._file.tell()

    def first(self) -> bytes:
        """Return the first record of the file, also if it is skipped."""
        head = os.pread(self._file.fileno(), RECORD_MAX, 0)
        return next(record for _, record in _records(BytesIO(head), quoted=self._quoted, name=self.name))

    def read(self, number: int) -> bytes:
        """Return a record by its number, from 0."""
        block, index = divmod(number, self._every)
        if block != self._block_number:
            self._block = self._read_block(block)
            self._block_number = block
        return self._block[index]

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _look_through(self, skipped: int, index_max: int) -> int:
        """Note where records are and return how many there are."""
        total = -skipped
        for place, _ in _records(self._file, quoted=self._quoted, name=self.name):
            if total >= 0 and not total % self._every:
                if len(self._places) >= index_max:
                    self._places = self._places[::2]
                    self._every *= 2
                if not total % self._every:
                    self._places.append(place)
            total += 1
        if total < 1:
            raise ValueError(f"{self.name} has no rows")
        return total

    def _read_block(self, block: int) -> list[bytes]:
        begin = self._places[block]
        end = self._places[block + 1] if block + 1 < len(self._places) else self._end
        content = os.pread(self._file.fileno(), end - begin, begin)
        return [record for _, record in _records(BytesIO(content), quoted=self._quoted, name=self.name)]


def _records(file: BinaryIO, *, quoted: bool, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield place and bytes of each record."""
    place, lines, quotes, size, number = 0, [], 0, 0, 0
    while line := file.readline(RECORD_MAX + 1):
        size += len(line)
        if size > RECORD_MAX:
            hint = "; is a quote never closed?" if quotes % 2 else ""
            raise ValueError(f"{name} row {number + 1} is longer than 1 MiB{hint}")
        lines.append(line)
        if quoted:
            quotes += line.count(b'"')
        if quotes % 2 == 0:
            record = b"".join(lines) if len(lines) > 1 else line
            if record.strip():
                yield place, record
                number += 1
            place += size
            lines, quotes, size = [], 0, 0
    if lines:
        raise ValueError(f"{name} row {number + 1}: a quote is never closed")
