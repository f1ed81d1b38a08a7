"""The connections to a run's agents: who is there now, and what each is to be sent. Nothing is decided here."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from loadstone_protocol.messages import Refusal, RefusalCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from loadstone_core.register import Version
    from loadstone_core.stats.stream import StreamState
    from loadstone_runner.master.grants import Grants
    from loadstone_runner.master.roster import Roster
    from loadstone_runner.master.shares import Shares
    from loadstone_runner.transport.grpc.links import AgentLink, StatisticsLink

FAREWELL_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 1.0
# The slots of workers that were added in mid-run: their users have numbers far behind those of others, and far apart. A
# prime, so that users of all classes come to be on each of them.
LATE_SLOT: Final = 1 << 23
LATE_SLOTS: Final = 16_777_213

log = logging.getLogger(__name__)


class Crew:
    """One link down for each worker that is connected, and one back for each statistics stream."""

    def __init__(
        self, epoch: int, roster: Roster, grants: Grants, shares: Shares, keep: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Begin without links; `keep` writes down who was given which numbers and shares, in a thread."""
        self._epoch = epoch
        self._roster = roster
        self._grants = grants
        self._shares = shares
        self._keep = keep
        self._kept: tuple[int, int] | None = self._given
        self._due: set[int] = set()
        self._granting: asyncio.Task[None] | None = None
        self._links: dict[int, AgentLink] = {}
        self._statistics: dict[int, StatisticsLink] = {}
        self._config: tuple[Version, bytes] | None = None
        self._left: set[tuple[int, int]] = set()

    def attach(self, link: AgentLink) -> None:
        """Take the link of a worker; an older one of the same worker has no use any more."""
        worker = link.peer.worker
        older = self._links.get(worker)
        if older is not None:
            if older.peer.attempt < link.peer.attempt:
                older.refuse(Refusal(RefusalCode.FENCED, f"attempt {link.peer.attempt} has taken this one's place"))
            asyncio.get_running_loop().call_later(FAREWELL_SECONDS, older.close)
        self._links[worker] = link

    def brief(self, link: AgentLink) -> None:
        """Send a worker its assignment and the newest configuration, if there is one yet."""
        if self._config is not None:
            self.assign((link.peer.worker,))
            link.configure(*self._config)

    def detach(self, link: AgentLink) -> bool:
        """Forget a link that has ended; return whether it was its worker's newest."""
        if self._links.get(link.peer.worker) is not link:
            return False
        del self._links[link.peer.worker]
        return True

    def configure(self, version: Version, body: bytes) -> None:
        """Send everybody a new configuration; who comes later gets it then."""
        if self._config is None:
            self.assign(self._links)
        self._config = (version, body)
        for link in self._links.values():
            link.configure(version, body)

    def assign(self, workers: Iterable[int]) -> None:
        """Send workers what they are to do now, once it is on disk: nothing is ever given to two engines.

        One that has still to say what it does goes on with that until then.
        """
        self._due.update(worker for worker in workers if worker not in self._grants.untold)
        if self._granting is not None:
            return
        if self._kept != self._given:
            self._granting = asyncio.create_task(self._grant())
            return
        for worker in self._due:
            self._assign(worker, self._of(worker))
        self._due.clear()

    def keep(self) -> None:
        """Keep what is known of grants and shares at once: before it is kept that they were taken over.

        What the disk does not take is written when it does; until then `is_behind` says so.
        """
        try:
            self._keep(self._held())
        except OSError:
            log.exception("Could not keep what was taken over")
            self._kept = None
            self._granting = self._granting or asyncio.create_task(self._grant())
            return
        self._kept = self._given

    @property
    def is_behind(self) -> bool:
        """Whether what was taken over is not on disk yet."""
        return self._kept is None

    def _held(self) -> dict[str, Any]:
        attempts = [each.attempt for each in self._roster.members]
        return {"grants": self._grants.remember(), "shares": self._shares.remember(), "attempts": attempts}

    @property
    def _given(self) -> tuple[int, int]:
        """How often numbers and shares were given: what is on disk holds as long as these stay."""
        return self._grants.given, self._shares.given

    def _of(self, worker: int) -> dict[str, Any]:
        link = self._links.get(worker)
        version, grants = self._grants.of(worker)
        holding, shares = self._shares.of(worker, link.peer.attempt if link is not None else 0)
        # Each of them only grows, and so does their sum.
        return {"version": version + holding, "grants": grants, "holding": holding, "shares": shares}

    async def _grant(self) -> None:
        """Keep what was given, then tell those whom it concerns; what is given meanwhile comes next."""
        # What was given to nobody who is there has to be kept, too.
        while self._due or self._kept != self._given:
            due, self._due = self._due, set()
            given, told = self._given, {worker: self._of(worker) for worker in due if worker in self._links}
            links = {worker: self._links[worker] for worker in told}
            try:
                if given != self._kept:
                    await asyncio.to_thread(self._keep, self._held())
            except OSError:
                log.exception("Could not keep what was granted")
                self._due |= due
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._kept = given
            for worker, words in told.items():
                if self._links.get(worker) is links[worker]:
                    self._assign(worker, words)
        self._granting = None

    def _assign(self, worker: int, words: dict[str, Any]) -> None:
        link = self._links.get(worker)
        if link is not None:
            planned = self._shares.planned
            slot, slots = (worker, planned) if worker < planned else (LATE_SLOT + worker, LATE_SLOTS)
            link.assign(self._epoch, slot=slot, slots=slots, **words)

    def attach_statistics(self, link: StatisticsLink) -> None:
        """Take the newest statistics stream of a worker."""
        self._statistics[link.peer.worker] = link

    def detach_statistics(self, link: StatisticsLink) -> None:
        """Forget a statistics stream that has ended."""
        if self._statistics.get(link.peer.worker) is link:
            del self._statistics[link.peer.worker]

    def say_durable(self, states: Iterable[StreamState]) -> None:
        """Tell the senders of streams that their last states cannot be lost any more."""
        for state in states:
            link = self._statistics.get(state.stream.worker)
            if link is not None:
                link.acknowledge(state.stream, received=state.sequence, durable=state.sequence, wants_full=False)

    def let_leave(self, worker: int, attempt: int, *, is_run_over: bool) -> None:
        """Let an attempt of a worker go, now or when it comes again to ask."""
        self._left.add((worker, attempt))
        link = self._links.get(worker)
        if link is not None and link.peer.attempt == attempt:
            link.leave(is_run_over=is_run_over)

    def has_left(self, worker: int, attempt: int) -> bool:
        """Say whether an attempt of a worker was let go."""
        return (worker, attempt) in self._left

    @property
    def is_empty(self) -> bool:
        """Whether no agent is connected."""
        return not self._links
