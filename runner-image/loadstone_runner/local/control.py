"""Serve the control API of a local run at a Unix socket: what its master shows, and wishes beside those of Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from loadstone_protocol.documents import run_document
from loadstone_protocol.follower import MasterUnreachable
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.transport.http.api import application
from loadstone_runner.transport.http.serving import at_socket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from loadstone_core.load.change import Aim
    from loadstone_protocol.follower import Follower
    from loadstone_runner.local.wishes import Wishes

AGAIN_SECONDS = 0.2


class LocalControl:
    """One local run, as the API shows it and lets it be steered.

    Attributes:
        newest: what the master has said last.
        follower: the connection to it, while there is one.
        report_gzip: the report, once the master may leave.
    """

    def __init__(self, wish: Callable[[Callable[[Wishes], None]], None]) -> None:
        self.newest = pb.RunReport(stage=pb.GATHERING)
        self.follower: Follower | None = None
        self.report_gzip = b""
        self._wish = wish
        self._watching = 0
        self._all_told = asyncio.Event()
        self._all_told.set()

    @contextlib.asynccontextmanager
    async def at(self, path: str) -> AsyncIterator[LocalControl]:
        """Serve at a socket while the context lasts; raise ControlError if that cannot be."""
        async with at_socket(application(self, admission=None, steered=self), path):
            yield self

    # --- What is shown.

    async def state(self) -> dict[str, Any]:
        """Return the whole state as a document."""
        return run_document(self.newest)

    async def rows(self, width: int, second: int) -> AsyncGenerator[pb.RowsMessage, None]:
        """Yield closed rows from the master, and last the outcome."""
        self._watching += 1
        self._all_told.clear()
        try:
            async for message in self._until_outcome(width, second):
                yield message
        finally:
            self._watching -= 1
            if not self._watching:
                self._all_told.set()

    async def tell_all(self, seconds: float) -> None:
        """Wait until everybody who watches has the outcome, for some seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_told.wait()

    async def _until_outcome(self, width: int, second: int) -> AsyncGenerator[pb.RowsMessage, None]:
        while True:
            with contextlib.suppress(MasterUnreachable):
                async for message in self._rows_now(width, second):
                    yield message
                    if message.HasField("outcome"):
                        return
                    second = message.row.second + 1
            if self.newest.HasField("outcome"):
                yield pb.RowsMessage(outcome=self.newest.outcome)
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _rows_now(self, width: int, second: int) -> AsyncGenerator[pb.RowsMessage, None]:
        if self.follower is not None:
            async for message in self.follower.watch_rows(width, second):
                yield message

    async def report(self) -> bytes:
        """Return the report as gzip JSON; empty before the run is finished."""
        if self.follower is not None and self.newest.HasField("outcome"):
            with contextlib.suppress(MasterUnreachable):
                return await self.follower.fetch_report()
        return self.report_gzip

    # --- What is asked.

    def aim(self, aim: Aim) -> None:
        """Let a scenario reach another load."""
        self._wish(lambda wishes: wishes.aim(aim))

    def pause(self, *, is_paused: bool) -> None:
        """Begin or end a pause."""
        self._wish(lambda wishes: wishes.pause(is_paused=is_paused))

    def stop(self, *, is_immediate: bool) -> None:
        """End the run."""
        self._wish(lambda wishes: wishes.stop(is_immediate=is_immediate))
