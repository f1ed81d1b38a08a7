"""Show a run's log from its master's disk: all of it, its end, or what comes, for people. Nothing is written here.

It is what `loadstone logs` runs beside a master, so that nobody needs a way through the network, or a key, to read.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_runner.master.log_store import read_head, segments, unpack
from loadstone_runner.master.logbook import rendered
from loadstone_runner.spool import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loadstone_runner.settings import LogSettings

LOOK_SECONDS: Final = 0.3


class Place(NamedTuple):
    """How much of a segment was read.

    Attributes:
        at: bytes of the file.
        lines: in them.
        size: bytes of these lines.
    """

    at: int = 0
    lines: int = 0
    size: int = 0


class Reading:
    """One reading of a log, which may grow and be cut meanwhile: nothing is shown twice or passed over silently."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[str, Place] = {}
        # Of what was cut out: what had been shown by then, or was said to be missing.
        self._known_lines = 0
        self._known_size = 0

    def more(self) -> Iterator[bytes]:
        """Yield what was not read before, as people read it; where something was cut out a line says how much."""
        for number, path in enumerate(segments(self._folder)):
            if number:
                yield from self._missing()
            yield from self._segment(path)
        yield from self._missing()

    def _segment(self, path: Path) -> Iterator[bytes]:
        place = self._places.get(path.name, Place())
        try:
            with path.open("rb") as file:
                file.seek(place.at)
                records, whole_bytes = unpack(file.read())
        except FileNotFoundError:
            return  # it was cut out just now, and that is said
        shown = [record for _, record in records if record.kind is Kind.LINES]
        self._places[path.name] = Place(
            place.at + whole_bytes,
            place.lines + sum(record.lines for record in shown),
            place.size + sum(len(record.payload) for record in shown),
        )
        yield from rendered(records)

    def _missing(self) -> Iterator[bytes]:
        """Yield a line that says how much was cut out before it could be read, if anything was."""
        cut = read_head(self._folder)
        # All are removed up to the newest of them, but the first of all.
        removed = [name for name in sorted(self._places)[1:] if name <= cut.newest]
        for place in map(self._places.pop, removed):
            self._known_lines += place.lines
            self._known_size += place.size
        lines, size = cut.lines - self._known_lines, cut.size - self._known_size
        if lines > 0:
            self._known_lines, self._known_size = cut.lines, cut.size
            yield f"[{lines} lines, {size} bytes are not kept here: the log is too long]\n".encode()


def whole(folder: Path) -> Iterator[bytes]:
    """Yield all that is kept of a log, as people read it; where something was cut out a line says how much."""
    yield from Reading(folder).more()


def last_lines(texts: Iterable[bytes], lines: int) -> bytes:
    """Return the last lines of a log."""
    newest: deque[bytes] = deque(maxlen=lines)
    for text in texts:
        newest.extend(BytesIO(text))  # splitlines() would also split what a progress bar has written over
    return b"".join(newest)


def serve(settings: LogSettings) -> int:
    """Print what is asked for; return 0."""
    reading = Reading(Path(settings.state_dir) / "log")
    out = sys.stdout.buffer
    try:
        for text in reading.more() if settings.tail < 0 else [last_lines(reading.more(), settings.tail)]:
            out.write(text)
        out.flush()
        while settings.follow:
            time.sleep(LOOK_SECONDS)
            for text in reading.more():
                out.write(text)
            out.flush()
    except (BrokenPipeError, KeyboardInterrupt):
        return 0
    return 0
