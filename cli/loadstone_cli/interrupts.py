"""What SIGINT, SIGTERM and SIGHUP do to a command that must not end half-way. What they mean for a run is said there.

It is imported before all else, so that a signal that comes while the rest is imported is not lost: nothing heavy here.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """A context in which signals are held back, until somebody says what is to be done about them.

    A SIGHUP that is ignored from the start, as under nohup, stays so.
    """

    def __init__(self) -> None:
        self._held: list[int] = []
        self._heed: Callable[[int], object] = self._held.append
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in _HEEDED:
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it is what was there

    def hold(self) -> None:
        """Do nothing about signals until it is said what."""
        self._heed = self._held.append

    def heed(self, heed: Callable[[int], object]) -> None:
        """Call `heed` with the number of each signal, those that were held back first."""
        self._heed = heed
        while self._held:
            heed(self._held.pop(0))

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._heed(number)


def give_up(_number: int) -> None:
    """End what can be left as it is; raise KeyboardInterrupt."""
    raise KeyboardInterrupt
