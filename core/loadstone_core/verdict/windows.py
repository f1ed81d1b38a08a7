"""Keep what a threshold with `over` needs: cumulative states at the starts of its open windows, and the worst answer.

What is asked of a window belongs to `evaluation`; when a second is closed, and what was lost, the master says.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from loadstone_core.stats.metrics import Kind
from loadstone_core.units import SECOND
from loadstone_core.verdict.evaluation import NO_DATA, Finding, judge, worst

if TYPE_CHECKING:
    from loadstone_core.stats.series import Series
    from loadstone_core.verdict.expression import Expression

# A window starts every second, or so much less often that no more than this many are open at once.
OPEN_WINDOWS_MOST: Final = 60


class WindowKeeper:
    """Judge every complete window of one expression while the seconds close, in bounded memory.

    Windows overlap: of `over 10s` one starts each second. A window counts only if the states at its start and at its
    end were both observed; one that a loss touches is skipped.
    """

    __slots__ = ("_expression", "_next_start", "_now", "_open", "_step", "_width", "_worst")

    def __init__(self, expression: Expression) -> None:
        if expression.over_ns is None:
            raise ValueError(f"the expression asks for no windows: {expression}")
        self._expression = expression
        self._width = expression.over_ns // SECOND
        self._step = -(-self._width // OPEN_WINDOWS_MOST)
        # The first window starts with the load, when nothing has been measured.
        self._open: deque[tuple[int, Series | None]] = deque([(0, None)])
        self._now = 0
        self._next_start = self._step
        self._worst = NO_DATA

    @property
    def finding(self) -> Finding:
        """The worst answer of all windows judged so far; no data before the first one."""
        return self._worst

    def observe(self, second: int, reading: Series | None) -> None:
        """Take the cumulative reading at the end of a second (0-based, from the start of load); an old one is ignored.

        Seconds after the planned end of the load are not to be observed: they would make windows of an idle target.

        Args:
            second: newer than any before; those left out end the windows that should have ended there.
            reading: from `evaluation.read`; it is kept, so the caller must not change it.
        """
        now = second + 1
        if now <= self._now:
            return
        self._now = now
        while self._open and self._open[0][0] + self._width <= now:
            start, older = self._open.popleft()
            if start + self._width == now:
                self._judge(older, reading)
        if now >= self._next_start:
            self._open.append((now, reading))
            self._next_start = now + self._step

    def recall(self, now: int, finding: Finding) -> None:
        """Go on where another keeper was after `now` seconds; its open windows are skipped."""
        self._now, self._worst = now, finding
        self.skip()

    @property
    def now(self) -> int:
        """How many seconds were observed."""
        return self._now

    def skip(self) -> None:
        """Leave out every window that is open now, and those up to the next observed second: a loss touches them."""
        self._open.clear()
        self._next_start = self._now + 1

    def _judge(self, older: Series | None, newer: Series | None) -> None:
        try:
            within = _difference(older, newer)
        except ValueError:
            # Samples were taken back, so the window's own are not known; whoever took them back reports the loss.
            return
        found = judge(self._expression, within, elapsed_ns=self._width * SECOND)
        self._worst = worst(self._expression, (self._worst, found))


def _difference(older: Series | None, newer: Series | None) -> Series | None:
    """Return what a window holds; a gauge that was not set again still has its value."""
    if older is None or newer is None or newer.kind is Kind.GAUGE:
        return newer
    return newer.minus(older)
