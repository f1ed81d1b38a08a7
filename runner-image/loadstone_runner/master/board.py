"""Show the run to its followers: a new stage at once, the rest at most twice a second. Nothing is decided here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_protocol.views import RunView

PUSH_SECONDS: Final = 0.5


class Board:
    """The newest view of the run, and who waits for a newer one."""

    def __init__(self, make_view: Callable[[int], RunView]) -> None:
        self._make_view = make_view
        self._sequence = 0
        self._view: RunView | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._shown_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """Note that something has changed: it is shown half a second after the last view at the latest."""
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        wait = self._shown_at + PUSH_SECONDS - loop.time()
        if wait <= 0:
            self.show()
            return
        self._timer = loop.call_later(wait, self.show)

    def show(self) -> None:
        """Make a new view and hand it to everybody who waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._shown_at = asyncio.get_running_loop().time()
        self._sequence += 1
        self._view = self._make_view(self._sequence)
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def changed(self, sequence: int) -> RunView:
        """Return the newest view once its number is above `sequence`."""
        while self._view is None or self._view.sequence <= sequence:
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
        return self._view
