"""Keep on disk, every two seconds, what only this master knows: a later start of it goes on from there.

What that is, and what is made of it, is known to `takeover`; the writing is done beside the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from loadstone_protocol.codec import stream_state_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadstone_core.stats.stream import StreamId, StreamState
    from loadstone_runner.master.store import Store

EVERY_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Checkpoints:
    """When the next checkpoint is due, and the one that is being written.

    Attributes:
        remember: returns what is kept.
    """

    def __init__(self, store: Store, take_lost: Callable[[], list[tuple[StreamState, bool]]]) -> None:
        """Begin with nothing on disk; `take_lost` returns the streams that are lost and changed since it was asked."""
        self.remember: Callable[[], Mapping[str, Any]] = dict
        self._store = store
        self._take_lost = take_lost
        self._lost: dict[StreamId, bytes] = {}  # that are not on disk yet
        self._due_at = 0.0
        self._writing: asyncio.Task[None] | None = None
        self._appending = asyncio.Lock()

    def hurry(self) -> None:
        """Let the next look find that a checkpoint is due: something has happened that does not come again."""
        self._due_at = 0.0

    def look(self) -> None:
        """Begin to write one if it is due, and none is being written."""
        now = asyncio.get_running_loop().time()
        if self._writing is None and now >= self._due_at:
            self._due_at = now + EVERY_SECONDS
            self._writing = asyncio.create_task(self._write(self.remember()))

    def insist(self, keep: Callable[[], bool]) -> None:
        """Keep something else at once, or as soon as the disk takes it; `keep` returns whether it did."""
        if not keep():
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self.insist, keep)

    async def finish(self) -> None:
        """Wait for the one that is being written."""
        if self._writing is not None:
            await self._writing

    async def keep_lost(self) -> None:
        """Write what has become of lost streams: neither a checkpoint nor a worker that leaves may come before it.

        What the disk does not take is written the next time.
        """
        async with self._appending:
            self._lost |= {state.stream: lost_to_bytes(state, is_known) for state, is_known in self._take_lost()}
            if self._lost:
                await asyncio.to_thread(self._store.append_lost, self._lost.values())
                self._lost = {}

    async def _write(self, checkpoint: Mapping[str, Any]) -> None:
        try:
            await self.keep_lost()
            await asyncio.to_thread(self._store.write_checkpoint, checkpoint)
        except OSError:
            log.exception("Could not write a checkpoint")
        finally:
            self._writing = None


def lost_to_bytes(state: StreamState, is_known: bool) -> bytes:  # noqa: FBT001 as `take_lost` returns them
    """Return a lost stream as it is kept: whether its counters are those of its end, then its state."""
    return (b"\1" if is_known else b"\0") + stream_state_to_bytes(state)
