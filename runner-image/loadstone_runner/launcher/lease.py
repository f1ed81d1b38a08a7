"""Write down until when load may run, for an engine whose launcher does not tell it.

What stands still as a whole, a frozen node or a paused machine, ends no load when its lease is over. Whoever wakes
first must not go on then, and that may be the engine; or the launcher stands still alone. What an engine makes of the
file is known there.
"""

from __future__ import annotations

import os


class LeaseFile:
    """The end of the lease on CLOCK_BOOTTIME, in nanoseconds; 0 before the first."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: str) -> None:
        """Make the file; raise OSError if that is not possible."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.write(0)

    def write(self, until_ns: int) -> None:
        """Replace what it says; always as many digits, so that nobody reads half of two numbers."""
        os.pwrite(self._descriptor, b"%020d\n" % until_ns, 0)
