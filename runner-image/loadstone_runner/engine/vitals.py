"""Watch how this process itself is doing: whether its loop keeps up, and what memory it has."""

from __future__ import annotations

import os
from functools import cache
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from gevent import get_hub

if TYPE_CHECKING:
    from collections.abc import Callable

STOOD_STILL_NS: Final = 1_000_000_000
_EVERY_SECONDS: Final = 0.05
_EVERY_NS: Final = 50_000_000
# libev's highest: of all that is due when a loop comes to itself, this is served first.
_FIRST: Final = 2
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class LoopLag:
    """How late the loop comes to a timer that it has promised to serve.

    After a second in which nothing was served, `on_standstill` is called before any user has its turn.
    """

    __slots__ = ("_due_ns", "_largest_ns", "_on_standstill", "_timer")

    def __init__(self, on_standstill: Callable[[], None]) -> None:
        self._largest_ns = 0
        self._on_standstill = on_standstill
        self._due_ns = monotonic_ns() + _EVERY_NS
        self._timer = get_hub().loop.timer(_EVERY_SECONDS, _EVERY_SECONDS, priority=_FIRST)
        self._timer.start(self._look, update=True)

    def take_largest_ns(self) -> int:
        """Return the largest lag since the last call, the running one included."""
        largest = max(self._largest_ns, monotonic_ns() - self._due_ns)
        self._largest_ns = 0
        return max(largest, 0)

    def _look(self) -> None:
        now = monotonic_ns()
        lag_ns = now - self._due_ns
        self._largest_ns = max(self._largest_ns, lag_ns)
        self._due_ns = now + _EVERY_NS
        # From now on, as `_due_ns`. A timer that is only started anew keeps the moment that is past: it is always due,
        # takes a whole processor, and leaves nothing to whoever waits until the loop is idle.
        self._timer.again(self._look, update=True)
        if lag_ns >= STOOD_STILL_NS:
            self._on_standstill()


def resident_bytes() -> int:
    """Return the memory that this process really has."""
    return int(os.pread(_statm(os.getpid()), 256, 0).split()[1]) * _PAGE_BYTES


@cache
def _statm(pid: int) -> int:
    """Return an open file, as a script may leave none to be opened later."""
    return os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
