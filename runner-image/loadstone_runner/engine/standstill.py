"""Write to the log where a script is that lets nothing have a turn. What that costs the load is told elsewhere.

Python's faulthandler reads frames without the interpreter's lock. Beside Python code that runs, that ends the process
by a segmentation fault, once in some dozens of times. So a thread of this process, which takes the lock, writes where
such code is, and puts faulthandler off as long as it has its turns. What is left for that is code of C's that holds the
lock, whose frames stay as they are.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from contextlib import suppress
from datetime import timedelta
from time import monotonic_ns
from typing import Final

from gevent.monkey import get_original

STANDSTILL_SECONDS: Final = 3.0  # two looks that did not come
TURN_SECONDS: Final = 0.25
_SECOND_NS: Final = 1_000_000_000
_STDERR: Final = 2


class Standstill:
    """The watch over one process. Its thread begins with the first look."""

    __slots__ = ("_is_over", "_is_told", "_looked_ns", "_thread")

    def __init__(self) -> None:
        self._is_over = self._is_told = False
        self._looked_ns = 0
        self._thread = 0  # that is watched; 0: none is yet

    def look(self) -> None:
        """Note that the loop goes round; called each second."""
        self._looked_ns = monotonic_ns()
        self._is_told = False
        if not self._thread:
            self._thread = get_original("_thread", "get_ident")()
            get_original("_thread", "start_new_thread")(self._watch, ())

    def close(self) -> None:
        """Watch no more."""
        self._is_over = True

    def _watch(self) -> None:
        sleep = get_original("time", "sleep")
        while not self._is_over:
            if not self._is_told and monotonic_ns() - self._looked_ns > STANDSTILL_SECONDS * _SECOND_NS:
                self._is_told = True
                self._tell()
            faulthandler.dump_traceback_later(STANDSTILL_SECONDS, file=_STDERR)
            sleep(TURN_SECONDS)
        faulthandler.cancel_dump_traceback_later()

    def _tell(self) -> None:
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 what faulthandler has for C, this is for Python
        # As faulthandler writes it, so that both are found in one way.
        lines = [f"Timeout ({timedelta(seconds=STANDSTILL_SECONDS)})!", "The loop's thread (most recent call first):"]
        while frame is not None:
            code = frame.f_code
            lines.append(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}')
            frame = frame.f_back
        with suppress(OSError):
            os.write(_STDERR, ("\n".join(lines) + "\n").encode(errors="replace"))
