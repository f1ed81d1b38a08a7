"""Show a run's log from its master's disk: all of it, its end, or what comes, for people. Nothing is written here.

It is what `loadstone logs` runs beside a master, so that nobody needs a way through the network, or a key, to read.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadstone_runner.master.log_store import read_cut, read_segment, segments, unpack
from loadstone_runner.master.logbook import rendered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_runner.settings import LogSettings

LOOK_SECONDS: Final = 0.3


def whole(folder: Path) -> Iterator[bytes]:
    """Yield all that is kept of a log, as people read it; where something was cut out a line says how much."""
    for number, path in enumerate(segments(folder)):
        if number == 1 and (cut := read_cut(folder)).lines:
            yield f"[{cut.lines} lines, {cut.size} bytes are not kept here: the log is too long]\n".encode()
        yield from rendered(read_segment(path))


def last_lines(folder: Path, lines: int) -> bytes:
    """Return the last lines of a log."""
    newest: deque[bytes] = deque(maxlen=lines)
    for text in whole(folder):
        newest.extend(text.splitlines(keepends=True))
    return b"".join(newest)


def coming(folder: Path) -> Iterator[bytes]:
    """Yield what comes to a log from now on, for ever."""
    places = {path: unpack(path.read_bytes())[1] for path in segments(folder)}
    while True:
        for path in segments(folder):
            at = places.get(path, 0)
            if path.stat().st_size > at:
                with path.open("rb") as file:
                    file.seek(at)
                    records, whole_bytes = unpack(file.read())
                places[path] = at + whole_bytes
                yield from rendered(records)
        time.sleep(LOOK_SECONDS)


def serve(settings: LogSettings) -> int:
    """Print what is asked for; return 0."""
    folder = Path(settings.state_dir) / "log"
    out = sys.stdout.buffer
    try:
        for text in whole(folder) if settings.tail < 0 else [last_lines(folder, settings.tail)]:
            out.write(text)
        out.flush()
        for text in coming(folder) if settings.follow else ():
            out.write(text)
            out.flush()
    except (BrokenPipeError, KeyboardInterrupt):
        return 0
    return 0
