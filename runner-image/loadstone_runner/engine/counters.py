"""Keep an engine's exact counts in a small file that survives its death. What they mean is in core's `stats.stream`.

The order in which they are written is the callers' affair; each single write is one aligned store of the processor.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from loadstone_core.stats.stream import COUNTER_BYTES, COUNTER_LAYOUT, COUNTER_MAGIC, Counters, read_counters

STARTED: Final = COUNTER_LAYOUT.index("started")
COMPLETED: Final = COUNTER_LAYOUT.index("completed")
UNSENT: Final = COUNTER_LAYOUT.index("unsent")
AMBIGUOUS: Final = COUNTER_LAYOUT.index("ambiguous")
ITERATIONS_STARTED: Final = COUNTER_LAYOUT.index("iterations_started")
ITERATIONS_COMPLETED: Final = COUNTER_LAYOUT.index("iterations_completed")
REPORTED: Final = COUNTER_LAYOUT.index("reported")
MEASURED: Final = COUNTER_LAYOUT.index("measured")

_MODE: Final = 0o660


class CounterFile:
    """The counters of one engine; `slots[STARTED] += 1` writes through to the page cache at once.

    Attributes:
        slots: one number for each name of COUNTER_LAYOUT.
        path: of the file; empty for counters that only live in memory.
    """

    __slots__ = ("_map", "path", "slots")

    def __init__(self, path: str) -> None:
        self.path = path
        if path:
            self._map = _mapped(path)
        else:
            self._map = mmap.mmap(-1, COUNTER_BYTES)
        self.slots: memoryview = memoryview(self._map).cast("Q")
        self.slots[0] = COUNTER_MAGIC

    def read(self) -> Counters:
        """Return all counts of this moment."""
        return read_counters(bytes(self._map))


def _mapped(path: str) -> mmap.mmap:
    # A file of an earlier process of the same name would carry its counts into this one.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    try:
        # The agent has another user and the same group, and a umask may have taken the group's right.
        os.fchmod(descriptor, _MODE)
        # Space is reserved now: on a full disk a store into a sparse file would kill the process with SIGBUS.
        os.posix_fallocate(descriptor, 0, COUNTER_BYTES)
        return mmap.mmap(descriptor, COUNTER_BYTES)
    finally:
        os.close(descriptor)
