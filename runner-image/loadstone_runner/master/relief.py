"""Let others do the load of workers that are gone, and let those that come again have it back. No I/O of its own.

Which lot goes where is kept in `shares`, who is there in `roster`; what a loss means for the run is decided in `run`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from loadstone_runner.master.losses import Losses
from loadstone_runner.master.roster import SILENT, Departure
from loadstone_runner.master.run import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_protocol.messages import Heartbeat, Peer
    from loadstone_runner.master.conductor import Conductor
    from loadstone_runner.master.roster import Member

log = logging.getLogger(__name__)


class Relief:
    """Who stands in for whom in one run.

    Attributes:
        losses: that have happened.
    """

    def __init__(self, conductor: Conductor, boottime_ns: Callable[[], int]) -> None:
        self.losses = Losses()
        self._run = conductor
        self._roster = conductor.roster
        self._workload = conductor.workload
        self._boottime_ns = boottime_ns

    def note(self, member: Member) -> None:
        """Remember a loss; its load is given away by `release`, once it is known to have ended."""
        departure = member.departure
        if departure is None:
            return
        is_silent = departure.reason == SILENT and member.heard_ns is not None
        since_ns = member.heard_ns if is_silent and member.heard_ns is not None else self._boottime_ns()
        self.losses.note(member, departure, since_ns)

    def release(self, worker: int, attempt: int, engine: int | None = None) -> None:
        """Let others have what an attempt of a worker, or one of its engines, did: it is known to have ended."""
        if self._workload.shares.release(worker, attempt, engine):
            self.look()

    def hear(self, member: Member, beat: Heartbeat) -> None:
        """Take in what the engines of a worker follow, and who of them can do load."""
        for engine in beat.engines:
            self._workload.shares.hear(member.worker, member.attempt, engine)
        self.look()

    def welcome(self, peer: Peer, former: Member) -> None:
        """Begin with a newer attempt of a worker; `former` is what was known of the one before."""
        if former.heard_ns is None:
            # It was never here, so nothing that was meant for it is on the way.
            return
        log.info("Took in a new attempt: worker=%d attempt=%d", peer.worker, peer.attempt)
        if former.departure is None:
            text = f"attempt {peer.attempt} of worker {peer.worker} has taken the place of attempt {former.attempt}"
            self.losses.note(former, Departure("Replaced", text), self._boottime_ns())
        if not former.has_said_bye:
            self._run.farewells.lose(former.worker, former.attempt, has_begun=self._run.commander.since_start_ns() > 0)
        self._workload.grants.replace(former.worker, former.attempt)
        self.losses.replace(peer.worker)

    def start_without(self, absent: tuple[int, ...]) -> None:
        """Let the load begin although some workers have never come: the others share what these were to do."""
        for worker in absent:
            self._roster.excuse(worker)
            self._workload.grants.take_back(worker)
            self._workload.shares.release(worker, 1)

    def tick(self, now_ns: int) -> None:
        """Look at what time alone changes."""
        for worker, attempt in self._roster.take_expired(now_ns):
            self.release(worker, attempt)
        self.look()

    def look(self) -> None:
        """Let everything be done by somebody who is there, as far as that is possible."""
        if self._run.state.stage not in {Stage.ARMED, Stage.RUNNING_LOAD}:
            return
        commander = self._run.commander
        from_ns = commander.since_start_ns() + commander.lead_ns(self._roster.round_trip_ns())
        changed = self._workload.move(from_ns)
        self._run.crew.assign(changed)
        if self._workload.shares.are_settled and self.losses.settle(self._boottime_ns()):
            log.info("The load is whole again: %s", self.losses.describe())
            self._run.board.touch()
