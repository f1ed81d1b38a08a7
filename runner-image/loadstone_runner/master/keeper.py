"""Make ended streams durable before anybody is told so, many at a time, beside the event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from loadstone_protocol.codec import stream_state_to_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from loadstone_core.stats.stream import StreamId, StreamState
    from loadstone_runner.master.store import Store

    Attempt = tuple[int, int]  # a worker, and how often its pod was made

RETRY_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Keeper:
    """The final states that have come, and the workers that wait for theirs to be on disk."""

    def __init__(
        self,
        store: Store,
        on_durable: Callable[[Attempt, tuple[StreamState, ...]], None],
        *,
        keep_lost: Callable[[], Awaitable[None]],
    ) -> None:
        """Begin with nothing; `keep_lost` writes the streams that have ended without a final state."""
        self._store = store
        self._keep_lost = keep_lost
        self._on_durable = on_durable
        self._finals: dict[StreamId, StreamState] = {}
        self._waiting: dict[Attempt, tuple[StreamState, ...]] = {}
        self._writing: asyncio.Task[None] | None = None

    def hold(self, state: StreamState) -> None:
        """Keep the last state of a stream until its worker has said everything."""
        self._finals[state.stream] = state

    def settle(self, worker: Attempt, streams: Iterable[StreamId]) -> None:
        """Write what the streams of an attempt of a worker ended with, then say so: `on_durable(worker, states)`.

        A worker may say again that it has ended, before the disk has taken what came with its first word.
        """
        self._add(worker, tuple(self._finals.pop(stream) for stream in streams if stream in self._finals))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    def _add(self, worker: Attempt, states: tuple[StreamState, ...]) -> None:
        self._waiting[worker] = (*self._waiting.get(worker, ()), *states)

    async def finish(self) -> None:
        """Wait until everything that was settled is durable."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                records = [stream_state_to_bytes(state) for states in batch.values() for state in states]
                try:
                    await self._keep_lost()
                    await asyncio.to_thread(self._store.append_ended, records)
                except OSError:
                    log.exception("Could not keep what streams ended with")
                    later, self._waiting = self._waiting, batch
                    for worker, states in later.items():
                        self._add(worker, states)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                for worker, states in batch.items():
                    self._on_durable(worker, states)
        finally:
            self._writing = None
