"""Let others do the load of workers that are gone, and let those that come again have it back. No I/O of its own.

Which lot goes where is kept in `shares`, who is there in `roster`; what a loss means for the run is decided in `run`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_runner.master.losses import Losses
from loadstone_runner.master.member import SILENT, Departure, WorkerState, earlier_attempts
from loadstone_runner.master.standing import Standing

if TYPE_CHECKING:
    from loadstone_core.clock import Clock
    from loadstone_protocol.messages import Heartbeat, Inheritance
    from loadstone_runner.master.commander import Commander
    from loadstone_runner.master.crew import Crew
    from loadstone_runner.master.farewell import Farewells
    from loadstone_runner.master.member import Member
    from loadstone_runner.master.roster import Roster
    from loadstone_runner.master.workload import Workload

LOOKED_AT_ONCE: Final = 64  # of so many workers

log = logging.getLogger(__name__)


class Relief:
    """Who stands in for whom in one run.

    Attributes:
        losses: that have happened.
        began_ns: when this master began.
        standing: whether silence for longer than a lease proves anything.
    """

    def __init__(
        self,
        workload: Workload,
        roster: Roster,
        *,
        crew: Crew,
        farewells: Farewells,
        commander: Commander,
        clock: Clock,
    ) -> None:
        """Begin with everybody at their own part; nothing moves while no load is asked for."""
        self.losses = Losses()
        self.standing = Standing()
        # (worker, attempt) whose leases cannot be relied upon, and since when they are silent.
        self._withheld: dict[tuple[int, int], int] = {}
        self._workload = workload
        self._roster = roster
        self._crew = crew
        self._farewells = farewells
        self._commander = commander
        self._clock = clock
        self.began_ns = clock.boottime_ns()
        self._forgets_ns: int | None = self.began_ns + roster.lost_ns  # leases that another gave are over then

    def note(self, member: Member, departure: Departure) -> None:
        """Remember a loss; its load is given away by `release`, once it is known to have ended."""
        now_ns = self._clock.boottime_ns()
        is_silent = departure.reason == SILENT and member.heard_ns is not None
        since_ns = member.heard_ns or now_ns if is_silent else now_ns
        self.losses.note(
            member,
            departure,
            since_ns,
            lost=len(self._roster.lost_of_wanted()),
            allowed=self._workload.plan.most_lost(self._roster.wanted),
            is_early=not self._commander.has_ordered_load,
        )

    def resize(self, wanted: int, *, is_barred: bool) -> bool:
        """Let so many workers make the load from now on; return whether these are others than before.

        Those who come get their part when they are there, and those who are to leave give it up when others can have
        it. Of what a run counts nothing may be left behind, so one that counts iterations keeps its workers.
        """
        if wanted == self._roster.wanted or not self._workload.plan.can_resize:
            return False
        log.info("Another number of workers is wanted: before=%d now=%d", self._roster.wanted, wanted)
        self._roster.resize(wanted, is_barred=is_barred)
        self.divide()
        self.look()
        return True

    def divide(self) -> None:
        """Let the load belong to the workers that are wanted, and nobody else."""
        for member in self._roster.members[self._roster.wanted :]:
            if member.state is WorkerState.EXPECTED:
                # Nobody was ever told to do this part, so nobody has to give it up.
                self._workload.shares.release(member.worker, max(1, member.attempt))
        changed = self._workload.resize()
        # Before the first configuration nobody is told anything.
        self._crew.assign(changed if self._commander.held is not None else ())

    def is_free_to_go(self, member: Member) -> bool:
        """Say whether a worker has nothing of the load any more, as fewer are wanted: its end is no loss."""
        if member.has_retired or not self._roster.is_leaving(member):
            return member.has_retired
        # What it does of a load that another master has divided, it may have to say still.
        return member.worker not in self._workload.grants.untold and not self._workload.shares.has_any(member.worker)

    def retire(self) -> bool:
        """Note who has given up all of its load and may be ended; return whether there is anybody new."""
        idle = [each for each in self._roster.members[self._roster.wanted :] if each.boot and not each.has_retired]
        free = [each for each in idle if not each.state.is_over and self.is_free_to_go(each)]
        for member in free:
            self._roster.retire(member)
        return bool(free)

    def release(self, worker: int, attempt: int, engine: int | None = None) -> None:
        """Let others have what an attempt of a worker, or one of its engines, did: it is known to have ended."""
        if engine is None:
            self._withheld.pop((worker, attempt), None)
        if self._workload.shares.release(worker, attempt, engine):
            self.look()

    def release_silent(self, worker: int, attempt: int) -> None:
        """Let others have what an attempt of a worker did, whose lease is over, as soon as that can be relied upon."""
        # Whoever is named here was not heard for as long as a lease, and its slack.
        self._withheld[worker, attempt] = self._clock.boottime_ns() - self._roster.lost_ns
        self._look_at_silent()
        if (worker, attempt) in self._withheld:
            log.warning("The load of worker %d waits: it may hold a lease of another master", worker)

    def _look_at_silent(self) -> None:
        now_ns = self._clock.boottime_ns()
        for (worker, attempt), since_ns in tuple(self._withheld.items()):
            if self.standing.is_last(silent_ns=now_ns - since_ns):
                self.release(worker, attempt)

    def hear(self, member: Member, beat: Heartbeat) -> None:
        """Take in what the engines of a worker follow. Who of them can do load is looked at with the next tick."""
        told = [self._workload.shares.hear(member.worker, member.attempt, engine) for engine in beat.engines]
        # After a change that concerns all of a thousand workers the beats of all bring news: the next tick will do.
        if any(told) and len(self._roster.members) <= LOOKED_AT_ONCE:
            self.look()

    def welcome(self, member: Member, former: Member) -> None:
        """Begin with a newer attempt of a worker; `former` is what was known of the one before."""
        if not self._commander.has_ordered_load and not (self._roster.has_predecessor and self._forgets_ns is not None):
            # Nobody was told to make load, and the one before is never told any more.
            for attempt in earlier_attempts(member.attempt):
                self._workload.shares.release(member.worker, attempt)
            self.look()
        if former.heard_ns is None:
            # It was never here, so nothing that was meant for it is on the way.
            self.losses.replace(member.worker)
            return
        if former.departure is None and not former.state.is_over:
            text = f"attempt {member.attempt} of worker {member.worker} has taken the place of attempt {former.attempt}"
            self.note(former, Departure("Replaced", text))
        if not former.has_said_bye:
            has_begun = self._commander.since_start_ns() > 0
            self._farewells.lose(former.worker, former.attempt, has_begun=has_begun)
        self._workload.grants.replace(former.worker, former.attempt, was_idle=not self._commander.has_ordered_load)
        self.losses.replace(member.worker)

    def has_quorum(self) -> bool:
        """Say whether enough workers are ready for a load that begins without the others."""
        return 0 < (self._workload.plan.min_available or 0) <= self._roster.ready

    def start_without(self, absent: tuple[int, ...]) -> Cause:
        """Let the load begin although some workers have not come, or not again: the others share what is theirs."""
        for worker in absent:
            self.do_without(worker)
        all_of_them = self._roster.wanted
        text = f"the load began without {len(absent)} of {all_of_them} workers, which were not there in time"
        return Cause(Reason.WORKER_DEGRADED, text)

    def do_without(self, worker: int) -> None:
        """Let others have what was meant for a worker that is not there when the load begins."""
        self._roster.excuse(worker)
        member = self._roster.members[worker]
        if not member.awaits_bye:
            self._workload.grants.replace(worker, max(1, member.attempt), was_idle=True)
            self._workload.grants.take_back(worker)
            self._workload.shares.release(worker, max(1, member.attempt))

    def lead_ns(self) -> int:
        """Return how long before the load changes that has to be ordered."""
        # One that holds the load to be late gives up late, and another takes over early.
        return self._commander.lead_ns(self._roster.round_trip_ns()) + self._roster.start_off_by_ns()

    def tick(self, now_ns: int) -> None:
        """Look at what time alone changes."""
        if self.standing.is_sole and self._forgets_ns is not None and now_ns >= self._forgets_ns:
            self._forgets_ns = None
            self._workload.shares.forget_unknown()
        for worker, attempt in (*self._roster.take_forgotten(now_ns), *self._roster.take_expired(now_ns)):
            self.release_silent(worker, attempt)
        self._look_at_silent()
        if self._workload.forsake_gone():
            self._crew.assign(self._workload.open_grants())
        self.look()

    def learn(self, worker: int, word: Inheritance) -> None:
        """Take in what a worker holds of a master before, that has come when this one had waited long enough."""
        if worker not in self._workload.grants.untold:
            return
        member = self._roster.members[worker]
        if not member.state.is_over:
            self._workload.shares.claim(worker, member.attempt, word.shares)
        is_last = self._workload.learn_granted(worker, member.attempt, word)
        self._crew.assign({worker, *(self._workload.open_grants() if is_last else ())})

    def look(self) -> None:
        """Let everything be done by somebody who is there, as far as that is possible."""
        if not self._commander.has_ordered_load:
            changed = self._workload.fill_up()
            # Before the first configuration nobody is told anything.
            self._crew.assign(changed if self._commander.held is not None else ())
        if not self._commander.is_running:
            return
        self._crew.assign(self._workload.move(self._commander.since_start_ns() + self.lead_ns()))
        shares = self._workload.shares
        if shares.are_settled and self.losses.settle(self._clock.boottime_ns(), shares.holds):
            log.info("The load is whole again: %s", self.losses.describe())
