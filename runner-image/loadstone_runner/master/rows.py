"""Hand the closed rows of a run's timeline to whoever waits for them. What is in a row is the affair of the statistics.

Nothing is kept for a watcher but the second that it has reached: a slow one costs no memory and delays nobody.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadstone_core.stats.timeline import Row, Timeline


class Rows:
    """The rows of one run.

    Attributes:
        newest: the second that was closed last; None before the first.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.newest: Row | None = None
        self._timeline = timeline
        self._has_more = asyncio.Event()
        self._is_over = False

    def tell(self, closed: tuple[Row, ...]) -> tuple[Row, ...]:
        """Wake everybody who waits if seconds were closed, and return them."""
        if closed:
            self.newest = closed[-1]
            self._wake()
        return closed

    def close(self) -> None:
        """Note that no more rows will come."""
        self._is_over = True
        self._wake()

    async def since(self, width: int, second: int) -> tuple[Row, ...]:
        """Return the rows of a width that begin in a second or later, once there is one; none once the run is over."""
        while True:
            rows = self._timeline.since(width, second, is_over=self._is_over)
            if rows or self._is_over:
                return rows
            await self._has_more.wait()

    def _wake(self) -> None:
        self._has_more.set()
        self._has_more = asyncio.Event()
