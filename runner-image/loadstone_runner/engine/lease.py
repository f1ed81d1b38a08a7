"""Find out whether load may still be made. Who grants it is known to the agent, who sees to it to the launcher."""

from __future__ import annotations

import contextlib
import os


class Lease:
    """The file in which the launcher writes down until when load may be made; without one that is for ever.

    It stays open, as a script may leave no file to be opened when it counts.
    """

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: str) -> None:
        """Open the file; one that is not there yet is looked for again."""
        self._path = path
        self._descriptor = -1
        self._open()

    def is_over(self, now_ns: int) -> bool:
        """Say whether it has run out by CLOCK_BOOTTIME; what cannot be read never does."""
        self._open()
        until_ns = 0
        with contextlib.suppress(OSError, ValueError):
            until_ns = int(os.pread(self._descriptor, 64, 0))
        return 0 < until_ns <= now_ns

    def _open(self) -> None:
        if self._descriptor < 0:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
