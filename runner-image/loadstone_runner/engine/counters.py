"""Keep an engine's exact counts in a small file that survives its death. What they mean is in core's `stats.stream`.

The order in which they are written is the callers' affair; each single write is one aligned store of the processor.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from loadstone_core.stats.stream import (
    BLOCKS,
    COUNTER_BYTES,
    COUNTER_LAYOUT,
    COUNTER_MAGIC,
    WARMING_UP,
    Counters,
    read_counters,
)

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
    """The counters of one engine; `block(0)[STARTED] += 1` writes through to the page cache at once.

    Attributes:
        path: of the file; empty for counters that only live in memory.
    """

    __slots__ = ("_blocks", "_map", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        if path:
            self._map = _mapped(path)
        else:
            self._map = mmap.mmap(-1, COUNTER_BYTES)
        self._blocks: list[memoryview] = []
        self.block(0)

    def block(self, place: int) -> memoryview:
        """Return the counters of the scenario at a place of the plan: one number for each name of COUNTER_LAYOUT.

        Raises:
            ValueError: there is no such place.
        """
        if place >= BLOCKS:
            raise ValueError(f"a run has at most {BLOCKS} scenarios; this is number {place + 1}")
        numbers = len(COUNTER_LAYOUT)
        for each in range(len(self._blocks), place + 1):
            self._blocks.append(memoryview(self._map).cast("Q")[each * numbers : (each + 1) * numbers])
            self._blocks[each][0] = COUNTER_MAGIC
        return self._blocks[place]

    @property
    def slots(self) -> memoryview:
        """The counters of the first scenario."""
        return self._blocks[0]

    def warm_up(self) -> None:
        """Count everything to the warm-up until `end_warm_up`."""
        for place in range(len(self._blocks)):
            self._baseline(place)[0] = WARMING_UP

    def end_warm_up(self) -> None:
        """Count what comes from now on to the load."""
        for place, block in enumerate(self._blocks):
            baseline = self._baseline(place)
            baseline[1:] = block[1:]
            # Last, so that whoever finds it finds everything before it.
            baseline[0] = COUNTER_MAGIC

    def _baseline(self, place: int) -> memoryview:
        numbers = len(COUNTER_LAYOUT)
        return memoryview(self._map).cast("Q")[(BLOCKS + place) * numbers : (BLOCKS + place + 1) * numbers]

    def note_reported(self) -> None:
        """Note that everything completed so far is about to be reported."""
        for block in self._blocks:
            block[REPORTED] = block[COMPLETED]

    def iterations_completed(self) -> int:
        """Return how many iterations have ended in all scenarios."""
        return sum(block[ITERATIONS_COMPLETED] for block in self._blocks)

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
