"""Write to the log where a script is that lets nothing have a turn. What that costs the load is told elsewhere.

Python's faulthandler reads frames without the interpreter's lock. Its own watchdog does so beside code that runs, which
ends the process by a segmentation fault, once in some dozens of times. So a thread of this process, which takes the
lock, writes where Python code is. Code of C's that holds the lock lets it have no turn: then the kernel's timer of
processor time, which the thread puts off at each of its turns, lets a signal do it, and as such code holds the lock,
frames stay as they are. A process that was stopped as a whole, or has no processor, has used no time of it.
"""

from __future__ import annotations

import faulthandler
import os
import signal
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

    __slots__ = ("_is_armed", "_is_over", "_is_told", "_looked_ns", "_thread")

    def __init__(self) -> None:
        self._is_armed = self._is_over = self._is_told = False
        self._looked_ns = 0
        self._thread = 0  # that is watched; 0: none is yet

    def look(self) -> None:
        """Note that the loop goes round; called each second."""
        self._looked_ns = monotonic_ns()
        self._is_told = False
        if not self._thread:
            self._thread = get_original("_thread", "get_ident")()
            self._is_armed = _take_signal()
            self._set_timer(STANDSTILL_SECONDS)
            get_original("_thread", "start_new_thread")(self._watch, ())

    def close(self) -> None:
        """Watch no more."""
        self._is_over = True
        self._set_timer(0)

    def _watch(self) -> None:
        sleep = get_original("time", "sleep")
        while not self._is_over:
            if not self._is_told and monotonic_ns() - self._looked_ns > STANDSTILL_SECONDS * _SECOND_NS:
                self._is_told = True
                self._tell()
            self._set_timer(STANDSTILL_SECONDS)
            sleep(TURN_SECONDS)
        self.close()  # which may have been between the last two lines

    def _set_timer(self, seconds: float) -> None:
        if not self._is_armed:
            return
        holder = signal.getsignal(signal.SIGPROF)
        if holder is _nothing:
            signal.setitimer(signal.ITIMER_PROF, seconds)
        elif holder is signal.SIG_DFL:
            signal.setitimer(signal.ITIMER_PROF, 0)  # a script has set the default, which is death
        # Once a script has the signal for itself, the timer is its own as well.

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


def _take_signal() -> bool:
    """Let the signal of the timer write where the thread is that it meets, unless a script has it for itself."""
    holder = signal.getsignal(signal.SIGPROF)
    if holder is not signal.SIG_DFL and holder is not _nothing:
        return False
    # Python does not know of faulthandler's handlers: this one is what a script finds, and gives back.
    signal.signal(signal.SIGPROF, _nothing)
    # Other threads may run at that moment, and theirs are frames that change.
    faulthandler.register(signal.SIGPROF, file=_STDERR, all_threads=False)
    return True


def _nothing(_number: int, _frame: object) -> None:
    """Do nothing, which is not the default."""
