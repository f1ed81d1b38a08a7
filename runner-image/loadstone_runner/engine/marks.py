"""Let whoever wrote a line wait until it is durable: a mark goes behind it, and the agent says what became of the mark.

A mark has its number and the bytes of its line, which may come to the launcher in several parts.

The launcher takes marks out of the output and writes them into the spool behind the line; see `launcher.tee`.
"""

from __future__ import annotations

import sys
from typing import Final

from gevent.event import AsyncResult

MARK: Final = "\x1eloadstone-mark "


class LogMarks:
    """The marks of one process whose fate is not known yet."""

    __slots__ = ("_newest", "_waiting")

    def __init__(self) -> None:
        self._newest = 0
        self._waiting: dict[int, AsyncResult[bool]] = {}

    def write(self, text: str, timeout: float) -> bool:
        """Write a line and wait until it is durable; return False if it is lost, or that is not known in time."""
        self._newest += 1
        number = self._newest
        told = self._waiting[number] = AsyncResult()
        try:
            # The script may have put something else in the place of sys.stdout, which would not reach the launcher.
            out = sys.__stdout__ or sys.stdout
            line = f"{text}\n"
            size = len(line.encode(out.encoding or "utf-8", out.errors or "strict"))
            out.write(f"{line}{MARK}{number} {size}\n")
            out.flush()
            # Not `get`: of the timeouts that it raises one may be the script's own, around all that it does.
            return bool(told.wait(timeout=timeout))
        finally:
            del self._waiting[number]

    def hear(self, number: int, *, is_lost: bool) -> None:
        """Take note of what became of a mark; nobody may wait for it any more."""
        told = self._waiting.get(number)
        if told is not None:
            told.set(not is_lost)
