"""Know the workers of a run: who has come, who is ready, who is silent, who is gone. Pure: `now_ns` is an argument.

What the run does about it is decided in `run`; times are CLOCK_BOOTTIME, as leases must outlast a suspended machine.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.units import SECOND
from loadstone_protocol.messages import EngineStage, Refusal, RefusalCode
from loadstone_protocol.version import may_talk
from loadstone_runner.master.member import SILENT, Departure, Member, WorkerState, earlier_attempts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadstone_protocol.messages import Heartbeat, Hello, Peer

LEASE_NS: Final = 30 * SECOND  # after this the worker stops its load by itself
LEASE_SLACK_NS: Final = 5 * SECOND  # so much later the master may rely on that
SUSPECT_NS: Final = 5 * SECOND


class Roster:
    """The workers of one run.

    Attributes:
        wanted: how many there are to be: 0 to `wanted` - 1; whoever is there beyond them is to leave.
        members: everybody who was wanted at any time, by number.
    """

    def __init__(self, *, run_uid: str, epoch: int, expected: int, lease_ns: int = LEASE_NS) -> None:
        self._run_uid = run_uid
        self._epoch = epoch
        self.lost_ns = lease_ns + LEASE_SLACK_NS
        self.wanted = expected
        self.members = tuple(Member(worker) for worker in range(expected))
        self.applied: set[int] = set()  # workers that have acknowledged the newest configuration
        self.has_predecessor = epoch > 1  # another master of the run, in another pod
        self._remembered: set[int] = set()  # that were over before this master began, and may hold something
        self._replaced: dict[tuple[int, int], int] = {}  # attempts that a newer one has replaced, and when last heard

    def resize(self, wanted: int, *, is_barred: bool) -> None:
        """Want so many workers from now on.

        New ones are waited for at the barrier if that `is_barred` still; a load that goes on does so without them.
        """
        added = range(len(self.members), wanted)
        self.members += tuple(Member(worker, is_excused=not is_barred) for worker in added)
        for member in self.members[wanted:]:
            # Who has never come is not waited for any more.
            member.is_excused = member.is_excused or member.heard_ns is None
        for member in self.members[:wanted]:
            if is_barred and not member.state.is_over:
                member.is_excused = False
        self.wanted = wanted

    def is_leaving(self, member: Member) -> bool:
        """Say whether a worker is one more than are wanted."""
        return member.worker >= self.wanted

    def retire(self, member: Member) -> None:
        """Note that a worker has given up all of its load; for good, as somebody may be about to end it."""
        member.has_retired = True
        self.applied.discard(member.worker)

    @property
    def ready(self) -> int:
        """How many of the workers that are wanted have acknowledged the newest configuration."""
        return sum(worker < self.wanted for worker in self.applied)

    @property
    def are_applied(self) -> bool:
        """Whether every worker that is wanted has acknowledged the newest configuration."""
        return len(self.applied) >= self.wanted and self.ready == self.wanted

    def join(self, hello: Hello, now_ns: int) -> Member | Refusal:
        """Take an agent in, or say why not. The newest attempt of a worker wins, then the newest connection."""
        refusal = self._refuse(hello)
        if refusal is not None:
            return refusal
        peer = hello.peer
        member = self.members[peer.worker]
        if peer.attempt > member.attempt or member.heard_ns is None:
            for attempt in earlier_attempts(peer.attempt):
                # One that this master has never heard may have been heard by another just now.
                heard_ns = member.heard_ns if attempt == member.attempt else None
                self._replaced.setdefault((member.worker, attempt), now_ns if heard_ns is None else heard_ns)
            member.beat, member.departure = None, None
            member.has_said_bye = member.is_durable = member.awaits_bye = member.has_retired = False
            member.state = WorkerState.EXPECTED
            member.starts.clear()
        if peer.boot != member.boot:
            # A new process counts its heartbeats from 1 again.
            member.beat = None
        self.applied.discard(peer.worker)
        member.attempt, member.boot, member.pod = peer.attempt, peer.boot, peer.pod
        member.peer = peer
        member.script_digest = hello.script_digest
        member.is_connected = True
        member.is_excused = False
        member.heard_ns = now_ns
        if member.state is WorkerState.EXPECTED:
            member.state = WorkerState.CONNECTED
        elif member.state is WorkerState.SUSPECT:
            member.state = member.state_by_engines()
        return member

    def knows(self, peer: Peer) -> bool:
        """Say whether a peer is the agent that was taken in last for its worker."""
        if peer.run_uid != self._run_uid or peer.worker >= len(self.members):
            return False
        member = self.members[peer.worker]
        return (member.attempt, member.boot) == (peer.attempt, peer.boot)

    def hear(self, member: Member, beat: Heartbeat, now_ns: int) -> bool:
        """Take in a heartbeat; return whether the worker's state has changed. An older one changes nothing."""
        member.heard_ns = now_ns
        if member.beat is not None and beat.number <= member.beat.number:
            return False
        member.beat = beat
        member.round_trip_ns, member.start_off_by_ns = beat.round_trip_ns, beat.start_off_by_ns
        for each in beat.engines:
            if each.started_at_ns:
                member.starts.setdefault((each.engine, each.start), each.started_at_ns)
        if member.state.is_over:
            return False
        before, member.state = member.state, member.state_by_engines()
        return before is not member.state

    def note_applied(self, member: Member) -> None:
        """Note that a worker has acknowledged the newest configuration; of one that is to be ended that is no news."""
        if not member.has_retired:
            self.applied.add(member.worker)

    def forget_applied(self) -> None:
        """Note that there is a newer configuration, which nobody has acknowledged yet."""
        self.applied.clear()

    def remember(self) -> list[dict[str, Any]]:
        """Return what `recall` needs of each worker, as JSON has it."""
        return [member.remember() for member in self.members]

    def recall(self, held: Iterable[Mapping[str, Any]]) -> None:
        """Go on where another roster of the run was, which knew no more members than this one."""
        for member, each in zip(self.members, held, strict=False):
            member.recall(each)

    def remember_excused(self) -> list[tuple[int, dict[str, Any]]]:
        """Return what `recall_excused` needs of those that nobody waits for, as JSON has it."""
        return [(each.worker, each.remember()) for each in self.members if each.is_excused]

    def recall_excused(self, held: Iterable[tuple[int, Mapping[str, Any]]]) -> list[int]:
        """Wait for nobody for whom another roster of the run did not, unless they have come since; return who it is."""
        absent = [
            (member, each)
            for member, each in ((self.members[worker], each) for worker, each in held)
            # What was kept later knows who has come since.
            if member.heard_ns is None and member.attempt <= each["attempt"] and (member.is_excused or not member.pod)
        ]
        for member, each in absent:
            if not member.state.is_over:
                member.recall(each)
            member.is_excused = True
        return [member.worker for member, _ in absent]

    def departed(self) -> list[list[Any]]:
        """Return who was lost, with which attempt and why, as JSON has it."""
        return [
            [each.worker, each.attempt, *astuple(each.departure)] for each in self.lost() if each.departure is not None
        ]

    def restore(self, worker: int, attempt: int) -> None:
        """Note that a worker had ended before this master was started."""
        member = self.members[worker]
        member.attempt, member.state = attempt, WorkerState.ENDED
        member.has_said_bye = member.is_durable = True

    def expect(self, worker: int, attempt: int) -> None:
        """Note that an attempt of a worker had come before this master was started; an older one is no news."""
        member = self.members[worker]
        if attempt > max(1, member.attempt):
            member.state, member.departure = WorkerState.EXPECTED, None
            member.has_said_bye = member.is_durable = member.awaits_bye = member.has_retired = False
        member.attempt = max(member.attempt, attempt)

    def await_one(self, worker: int) -> None:
        """Note that a worker has come after all, although the run began without it."""
        self.members[worker].is_excused = False

    def await_all(self, since_ns: int, *, is_barred: bool = False) -> None:
        """Expect every worker that is not over: who has not been heard since this master began counts as silent.

        One that has never come is awaited as before. A master in the pod of the one before knows who has, but for
        somebody who was given nothing yet, and while the barrier holds nobody has been given any load.
        """
        for member in self.members:
            if not (self.has_predecessor or member.attempt) and (is_barred or member.is_excused):
                continue
            member.heard_ns, member.attempt = max(member.heard_ns or 0, since_ns), max(1, member.attempt)
            if self.is_leaving(member):
                # It may be there still, and do something.
                member.is_excused = False
            for attempt in earlier_attempts(member.attempt):
                # Whoever replaced it may have been heard by the start before this one alone.
                self._replaced.setdefault((member.worker, attempt), since_ns)
            if not member.state.is_over:
                member.state = WorkerState.SUSPECT
            else:
                self._remembered.add(member.worker)

    def disconnect(self, peer: Peer) -> None:
        """Note that a connection has ended. It proves nothing: the lease decides."""
        if self.knows(peer):
            self.members[peer.worker].is_connected = False

    def end(self, member: Member) -> None:
        """Note that a worker has said everything."""
        member.has_said_bye = True
        member.awaits_bye = False
        if not member.state.is_over:
            member.state = WorkerState.ENDED

    def dismiss(self, member: Member) -> None:
        """Note that a worker which was to leave has gone: it is not lost."""
        member.state, member.departure = WorkerState.ENDED, None

    def let_go(self, worker: int, attempt: int) -> None:
        """Note that everything that an attempt of a worker has said is on disk."""
        if self.members[worker].attempt == attempt:
            self.members[worker].is_durable = True

    def lose(self, worker: int, attempt: int, departure: Departure, *, awaits_bye: bool = False) -> bool:
        """Note that a worker is gone before its time; return whether that is news.

        A worker that never came is lost with the attempt that is named; an older attempt is no news.

        Args:
            worker: which.
            attempt: the one that is gone.
            departure: why; what was said first stays.
            awaits_bye: its agent lives, and what it still reports counts.
        """
        if worker >= len(self.members) or attempt < self.members[worker].attempt:
            return False
        member = self.members[worker]
        member.awaits_bye = awaits_bye and not member.has_said_bye
        if member.state.is_over:
            return False
        self.applied.discard(worker)
        member.attempt = attempt
        member.departure = departure
        member.state = WorkerState.LOST
        return True

    def tick(self, now_ns: int) -> tuple[Member, ...]:
        """Return the workers that were silent for longer than a lease by now, each once; others become suspect.

        They are lost, but for those whom nobody waits for and of whom nothing was ever heard here.
        """
        silent = []
        for member in self.members:
            has_come = member.boot or member.pod  # to this start of the master, or to one before in the same pod
            is_absent = not has_come and (member.is_excused or self.is_leaving(member))
            is_awaited = member.state is WorkerState.SUSPECT and is_absent
            if member.heard_ns is None or (member.is_settled and not is_awaited):
                continue
            silent_ns = now_ns - member.heard_ns
            if silent_ns > self.lost_ns and is_absent:
                member.state = WorkerState.ENDED if self.is_leaving(member) else WorkerState.EXPECTED
                member.heard_ns, member.is_excused = None, True
                silent.append(member)
            elif silent_ns > self.lost_ns:
                text = f"worker {member.worker} ({member.pod}) was not heard for {silent_ns // SECOND} s"
                if self.lose(member.worker, member.attempt, Departure(SILENT, text)):
                    silent.append(member)
            elif silent_ns > SUSPECT_NS and not member.state.is_over:
                member.state = WorkerState.SUSPECT
        return tuple(silent)

    def excuse(self, worker: int) -> None:
        """Note that the run begins without a worker; it may still come."""
        self.members[worker].is_excused = True

    def take_expired(self, now_ns: int) -> list[tuple[int, int]]:
        """Return (worker, attempt) of those that were replaced and whose leases have run out by now, each once."""
        expired = [each for each, heard_ns in self._replaced.items() if now_ns - heard_ns > self.lost_ns]
        for each in expired:
            del self._replaced[each]
        return expired

    def able(self) -> dict[tuple[int, int], int]:
        """Return (worker, engine) of the engines that can do load now, with the attempts of their workers.

        As long as nobody is among them who is wanted, those who are to leave stand in.
        """
        return self._able(self.members[: self.wanted]) or self._able(self.members[self.wanted :])

    @staticmethod
    def _able(members: Iterable[Member]) -> dict[tuple[int, int], int]:
        return {
            (member.worker, each.engine): member.attempt
            for member in members
            if not member.has_retired
            and (member.state in {WorkerState.READY, WorkerState.RUNNING} and member.beat)
            and not member.beat.is_draining
            for each in member.engines
            if each.stage in {EngineStage.READY, EngineStage.RUNNING}
        }

    def take_forgotten(self, now_ns: int) -> list[tuple[int, int]]:
        """Return (worker, attempt) of those that were over before this master began and are silent since, each once."""
        silent = [each for each in self._remembered if now_ns - (self.members[each].heard_ns or 0) > self.lost_ns]
        self._remembered -= {*silent}
        return [(each, self.members[each].attempt) for each in silent]

    def missing(self) -> tuple[int, ...]:
        """Return the workers that are wanted and have not come yet, or are over and have not come again."""
        wanted = self.members[: self.wanted]
        return tuple(each.worker for each in wanted if each.state is WorkerState.EXPECTED or each.state.is_over)

    def living(self) -> tuple[int, ...]:
        """Return the workers that have come and are not over."""
        return tuple(each.worker for each in self.members if each.is_living)

    def lost(self) -> tuple[Member, ...]:
        """Return the workers that are gone before their time; those that the load began without are not among them."""
        return tuple(each for each in self.members if each.state is WorkerState.LOST and not each.is_excused)

    def lost_of_wanted(self) -> tuple[Member, ...]:
        """Return the workers that are gone before their time, of those that are wanted."""
        return tuple(each for each in self.lost() if not self.is_leaving(each))

    def are_all_settled(self) -> bool:
        """Say whether nothing more will be heard of any worker that counts."""
        return all(each.is_settled for each in self.members)

    def is_done(self, scenario: int) -> bool:
        """Say whether all engines of living workers, of which there is one, will begin nothing more of a scenario."""
        told = [scenario in each.over for worker in self.living() for each in self.members[worker].engines]
        return bool(told) and all(told) and all(self.members[worker].engines for worker in self.living())

    def round_trip_ns(self) -> int:
        """Return the largest round trip that any agent reports whose worker is not over; at most a lease."""
        largest_ns = max((each.round_trip_ns for each in self.members if not each.state.is_over), default=0)
        return min(largest_ns, self.lost_ns)

    def start_off_by_ns(self) -> int:
        """Return how far apart two workers that are not over may hold the start of load to be; at most two leases."""
        largest_ns = max((each.start_off_by_ns for each in self.members if not each.state.is_over), default=0)
        return 2 * min(largest_ns, self.lost_ns)

    def applied_revision(self) -> int:
        """Return the newest revision of the common configuration that every living worker has applied; 0: none."""
        beats = [self.members[worker].beat for worker in self.living()]
        return min((beat.applied.revision if beat and beat.applied else 0 for beat in beats), default=0)

    def start_skew_ns(self) -> int:
        """Return how far apart the first and the last engine began, of those that have."""
        starts = [at_ns for each in self.members for at_ns in each.starts.values()]
        return max(starts) - min(starts) if starts else 0

    def users(self) -> int:
        """Return the live users of all workers by their newest heartbeats."""
        return sum(each.users for each in self.members)

    def _refuse(self, hello: Hello) -> Refusal | None:
        peer = hello.peer
        if peer.run_uid != self._run_uid:
            return Refusal(RefusalCode.WRONG_RUN, f"this master serves run {self._run_uid}, not {peer.run_uid}")
        if complaint := may_talk(hello.protocol_major, hello.protocol_minor, hello.version):
            return Refusal(RefusalCode.PROTOCOL, complaint)
        if hello.highest_epoch > self._epoch:
            text = f"a master of epoch {hello.highest_epoch} exists; this one has {self._epoch}"
            return Refusal(RefusalCode.FENCED, text)
        if peer.worker >= len(self.members):
            text = f"worker {peer.worker} is not expected: the run has {len(self.members)} workers, counted from 0"
            return Refusal(RefusalCode.UNEXPECTED, text)
        newest = self.members[peer.worker].attempt
        if peer.attempt < newest:
            text = f"attempt {newest} of worker {peer.worker} has taken the place of attempt {peer.attempt}"
            return Refusal(RefusalCode.FENCED, text)
        last = self.members[peer.worker].peer
        if last is not None and peer.attempt == newest == last.attempt and peer.precedes(last):
            # Words of a process that was killed can be under way for as long as its node was cut off.
            return Refusal(RefusalCode.FENCED, f"the agent of worker {peer.worker} has been started again since")
        return None
