"""Hand out keys to workers: each key to one worker at a time, and again when it was added meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadstone_operator.ports import Key


class WorkQueue:
    """A queue of keys without duplicates; `later` keeps only the earliest appointment of a key."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}

    def add(self, key: Key) -> None:
        """Have a key looked at soon; while a worker is at it, right after."""
        appointment = self._later.pop(key, None)
        if appointment is not None:
            appointment.cancel()
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def add_later(self, key: Key, seconds: float) -> None:
        """Have a key looked at after some seconds, or earlier if something else asks for it."""
        loop = asyncio.get_running_loop()
        held = self._later.get(key)
        if held is not None and held.when() <= loop.time() + seconds:
            return
        if held is not None:
            held.cancel()
        self._later[key] = loop.call_later(seconds, self._due, key)

    async def take(self) -> Key:
        """Return the next key; it is this worker's until it is `done`."""
        key = await self._ready.get()
        self._queued.discard(key)
        self._busy.add(key)
        return key

    def done(self, key: Key) -> None:
        """Give a key back."""
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def __len__(self) -> int:
        """Return how many keys wait."""
        return self._ready.qsize()

    def _due(self, key: Key) -> None:
        self._later.pop(key, None)
        self.add(key)
