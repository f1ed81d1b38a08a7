"""Keep one connection to the master of every run, remember what it said last, and hand over what is wanted of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from loadstone_core.errors import WorldError
from loadstone_operator import naming
from loadstone_operator.control.reports import ReportInvalid, read_report, write_steering
from loadstone_operator.observation import MasterView
from loadstone_protocol.follower import Follower, MasterRefused, MasterUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from loadstone_core.clock import Clock
    from loadstone_operator.ports import Key, MasterRef, Trust
    from loadstone_operator.wishes import Steer
    from loadstone_protocol.v1.control_pb2 import RunReport

_log = logging.getLogger(__name__)

_BACKOFF_SECONDS: Final = (0.05, 0.1, 0.2, 0.2, 0.5, 1.0, 2.0)


class NotFollowed(WorldError):  # noqa: N818 (a state of the world that passes)
    """There is no connection to this master."""


@dataclass(slots=True)
class _Link:
    """One master: its connection, and what has passed over it."""

    ref: MasterRef
    view: MasterView
    revision: int
    follower: Follower | None = None
    losses: int = 0  # of the connection
    steered: Steer | None = None
    sha256: bytes = b""
    task: asyncio.Task[None] | None = None


class Followers:
    """The masters of all runs, by the UID of their LoadTest: one at a time for each.

    Whether new figures are worth a report is for the master to know, which is told how often they are wanted
    (`figures_seconds`); whatever it reports is passed on.
    """

    def __init__(
        self,
        clock: Clock,
        trust: Trust,
        on_report: Callable[[Key], None],
        figures_seconds: Callable[[], float] = lambda: 2.0,
    ) -> None:
        self._clock = clock
        self._trust = trust
        self._on_report = on_report
        self._figures_seconds = figures_seconds
        self._links: dict[str, _Link] = {}

    def __len__(self) -> int:
        return len(self._links)

    def follow(self, key: Key, ref: MasterRef) -> None:
        """Connect to a master, unless this very connection exists."""
        link = self._links.get(ref.uid)
        if link is not None and link.ref == ref:
            return
        self.forget(ref.uid)
        # From the clock, so that a restarted operator's first wish is newer than its predecessor's last.
        link = _Link(ref, MasterView(connected=False), revision=self._clock.wall_ns() // 1_000_000)
        link.task = asyncio.create_task(self._stay(key, link), name=f"follow {key.namespace}/{key.name}")
        self._links[ref.uid] = link

    def forget(self, uid: str) -> None:
        """Close the connection to a LoadTest's master."""
        link = self._links.pop(uid, None)
        if link is not None and link.task is not None:
            link.task.cancel()

    def view(self, uid: str, run: int) -> MasterView | None:
        """Return what the master of this run said last."""
        link = self._links.get(uid)
        return link.view if link is not None and link.ref.run == run else None

    def steered(self, uid: str) -> Steer | None:
        """Return the wish that the master has acknowledged, if it is known to be its newest."""
        link = self._links.get(uid)
        return link.steered if link else None

    async def steer(self, uid: str, wish: Steer) -> None:
        """Hand over a wish, with a revision above everything that the master holds."""
        link = self._link(uid)
        losses = link.losses
        # It may take the wish though nobody hears that it has.
        link.steered = None
        link.revision += 1
        held = await self._send(link, wish)
        if held > link.revision:
            link.revision = held + 1
            await self._send(link, wish)
        if link.view.connected and link.losses == losses:
            link.steered = wish

    async def fetch_report(self, uid: str) -> bytes:
        """Return the report and check it against the digest of the outcome."""
        link = self._link(uid)
        report = await _connected(link).fetch_report()
        if link.sha256 and hashlib.sha256(report).digest() != link.sha256:
            raise MasterUnreachable(f"the report of {link.ref.address} does not match its digest")
        return report

    async def fetch_log(self, uid: str, size: int) -> bytes:
        """Return the end of a run's log as gzip text of at most `size` bytes."""
        return await _connected(self._link(uid)).fetch_logs(size=size)

    async def tell_stored(self, uid: str) -> None:
        """Tell the master that it may leave."""
        link = self._link(uid)
        await _connected(link).stored(link.sha256)
        link.view = replace(link.view, stored=True)

    async def close(self) -> None:
        """Close all connections."""
        tasks = [link.task for link in self._links.values() if link.task is not None]
        for uid in tuple(self._links):
            self.forget(uid)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _link(self, uid: str) -> _Link:
        link = self._links.get(uid)
        if link is None:
            raise NotFollowed(f"no master is followed for {uid}")
        return link

    async def _send(self, link: _Link, wish: Steer) -> int:
        run_uid = naming.run_uid(link.ref.uid, link.ref.run)
        return await _connected(link).steer(
            write_steering(wish, run_uid=run_uid, epoch=link.ref.epoch, revision=link.revision)
        )

    async def _stay(self, key: Key, link: _Link) -> None:
        """Watch the master until the connection is forgotten or refused; a broken one is made again."""
        failures = 0
        try:
            while True:
                complaint = ""
                try:
                    async for report in self._reports(link):
                        failures = 0
                        link.view = replace(read_report(report), stored=link.view.stored)
                        link.sha256 = report.outcome.report_sha256
                        self._on_report(key)
                except (MasterRefused, ReportInvalid) as error:
                    _log.warning("Cannot follow master", extra={"test": str(key), "error": str(error)})
                    failures = len(_BACKOFF_SECONDS)
                    # For people: the run waits for what will not come by itself.
                    complaint = str(error)
                except MasterUnreachable as error:
                    _log.debug("Lost master", extra={"test": str(key), "error": str(error)})
                except WorldError as error:
                    _log.warning("Could not sign", extra={"test": str(key), "error": str(error)})
                if link.view.connected or complaint:
                    link.view = replace(link.view, connected=False, waiting_for=complaint or link.view.waiting_for)
                    # Whoever answers next may have been started anew, and then knows of no wish.
                    link.steered = None
                    link.losses += 1
                    self._on_report(key)
                await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
                failures += 1
        finally:
            if link.follower is not None:
                await link.follower.close()

    async def _reports(self, link: _Link) -> AsyncIterator[RunReport]:
        """Yield what a master says until it ends the stream; the watch is begun anew when another pace is wanted."""
        if link.follower is None:
            link.follower = await self._open(link.ref)
        follower, has_moved = link.follower, True
        while has_moved:
            asked, has_moved = self._figures_seconds(), False
            async with aclosing(follower.watch(figures_every_seconds=asked)) as reports:
                async for report in reports:
                    yield report
                    has_moved = asked != self._figures_seconds()
                    if has_moved:
                        break

    async def _open(self, ref: MasterRef) -> Follower:
        run_uid = naming.run_uid(ref.uid, ref.run)
        pems = await self._trust.sign_operator(run_uid, authority=ref.authority) if ref.authority else None
        return Follower(ref.address, run_uid, ref.epoch, pems=pems)


def _connected(link: _Link) -> Follower:
    if link.follower is None:
        raise NotFollowed(f"the master at {link.ref.address} is about to be connected to")
    return link.follower
