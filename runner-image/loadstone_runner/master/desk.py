"""Where agents and followers are heard: each of their words becomes a change of a table, or an event of the run.

What happens then is the affair of `conductor`; who said it, and whether it can be meant, was checked by `transport`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from loadstone_core.load.grant import of_feeder
from loadstone_core.stats.timeline import MIDDLE_WIDTH
from loadstone_core.units import SECOND
from loadstone_core.verdict.outcome import RULES
from loadstone_core.verdict.reasons import Reason, Verdict
from loadstone_protocol.messages import (
    Bye,
    EngineEnd,
    EngineStage,
    Heartbeat,
    Inheritance,
    Ping,
    Refusal,
    RefusalCode,
    RunOrder,
)
from loadstone_runner.master import run
from loadstone_runner.master.farewell import TERMINATED
from loadstone_runner.master.member import SAID_MAX, Departure, Member, WorkerState
from loadstone_runner.master.run import Stage
from loadstone_runner.master.shelf import read_series

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from loadstone_core.clock import Clock
    from loadstone_core.stats.stream import StreamState
    from loadstone_core.stats.timeline import Row
    from loadstone_core.stats.windows import SeriesRow
    from loadstone_protocol.codec import WireError
    from loadstone_protocol.messages import AgentWord, Hello, Peer, Steering
    from loadstone_protocol.views import OutcomeView, RunView
    from loadstone_runner.master.conductor import Conductor
    from loadstone_runner.master.log_desk import LogDesk
    from loadstone_runner.transport.grpc.bulk import BulkEnd
    from loadstone_runner.transport.grpc.links import AgentLink, StatisticsLink

REFUSALS_LOGGED: Final = 100

log = logging.getLogger(__name__)

# A row of a series takes 0.2 ms, and heartbeats want their answer.
SERIES_AT_ONCE: Final = 50
_ERRORS: Final = next(rule.reasons for rule in RULES if rule.verdict is Verdict.ERROR)


class Desk:
    """The `MasterPort` of one run."""

    read_series = staticmethod(read_series)

    def __init__(self, conductor: Conductor, clock: Clock, logs: LogDesk) -> None:
        self.run_uid = conductor.plan.run.uid
        self.epoch = conductor.plan.run.epoch
        self.plan = conductor.plan
        self._run = conductor
        self._logs = logs
        self._clock = clock
        self._roster = conductor.roster
        self._crew = conductor.crew
        self._digest = conductor.plan.script.digest
        self._steered = 0

    # --- What agents say.

    def join(self, hello: Hello, link: AgentLink) -> Refusal | None:
        """Take an agent in, or return why not."""
        former = None
        if hello.peer.worker < len(self._roster.members):
            former = replace(self._roster.members[hello.peer.worker])
            if self._run.state.stage is Stage.FINISHED and hello.peer.attempt > former.attempt:
                return Refusal(RefusalCode.RUN_OVER, f"run {self.run_uid} is over")
        member = self._roster.join(hello, self._clock.boottime_ns())
        if isinstance(member, Refusal):
            log.warning("Refused an agent: worker=%d reason=%s", hello.peer.worker, member.detail)
            if member.code is RefusalCode.PROTOCOL and former is not None:
                told = f"worker {hello.peer.worker} ({hello.peer.pod}) was refused: {member.detail}"
                self._run.inheritance.when_known(lambda: self._give_up_on(hello.peer, told))
            return member
        if former is not None and former.attempt < member.attempt:
            newer = replace(member)
            self._run.inheritance.when_known(lambda: self._welcome(newer, former))
        if former is not None and former.is_excused and self._run.commander.held is not None:
            # Before it is given anything: another start of this master must not take that for nobody's.
            self._run.checkpoints.insist(self._run.commander.keep)
        self._run.farewells.meet(member.worker, member.attempt)
        log.info("Took an agent in: worker=%d attempt=%d pod=%s", member.worker, member.attempt, member.pod)
        self._crew.attach(link)
        is_untold = self._run.inheritance.is_awaited or member.worker in self._run.workload.grants.untold
        link.welcome(self.epoch, self._run.plan.lease_ns, wants_inheritance=is_untold)
        self._digest = self._digest or member.script_digest
        self._run.inheritance.when_known(lambda: self._look_at_peer(hello.peer))
        self._crew.brief(link)
        if self._crew.has_left(member.worker, member.attempt):
            link.leave(is_run_over=True)
        self._run.board.touch()
        return None

    def hear(self, link: AgentLink, word: AgentWord) -> None:
        """Take in what an agent says; the words of one that was replaced count no more."""
        match word:
            case Ping(sent_ns):
                link.answer_ping(sent_ns, self._clock.monotonic_ns())
            case _ if not self._roster.knows(link.peer):
                return
            case Heartbeat():
                link.acknowledge(word.number, self.epoch)
                self._hear_beat(self._roster.members[link.peer.worker], word)
            case EngineEnd() | Bye():
                self._run.inheritance.when_known(lambda: self._hear_end(link.peer, word))
            case Inheritance():
                peer, now_ns = link.peer, self._clock.monotonic_ns()
                self._run.inheritance.hear(peer.worker, peer.attempt, word, now_ns=now_ns)
                self._run.inheritance.when_known(lambda: self._run.relief.learn(peer.worker, word))
            case _:
                assert_never(word)

    def part(self, link: AgentLink) -> None:
        """Note that a connection has ended; the lease decides what it means."""
        if self._crew.detach(link):
            self._roster.disconnect(link.peer)
            self._run.note_who_left()

    def may_report(self, peer: Peer) -> bool:
        """Say whether a peer is the agent that was taken in last."""
        return self._roster.knows(peer)

    def report(self, link: StatisticsLink, state: StreamState) -> None:
        """Merge a state and acknowledge it. What comes after the verdict is not in it any more."""
        self._run.inheritance.when_known(lambda: self._take(link, state))

    def _take(self, link: StatisticsLink, state: StreamState) -> None:
        self._crew.attach_statistics(link)
        stream = state.stream
        # A worker that ends after the verdict is let go like any other.
        self._run.farewells.see(state)
        if self._run.state.stage is not Stage.FINISHED:
            self._run.measurement.apply(state, since_start_ns=self._run.commander.since_start_ns())
        if state.final and state.full:
            self._run.keeper.hold(state)
        # A final state is kept as it is, so it has to hold everything.
        link.acknowledge(stream, received=state.sequence, durable=0, wants_full=state.final and not state.full)
        self._settle(stream.worker, stream.attempt)

    def part_statistics(self, link: StatisticsLink) -> None:
        """Note that a statistics connection has ended."""
        self._crew.detach_statistics(link)

    def join_bulk(self, peer: Peer) -> BulkEnd | None:
        """Return the channels of the agent that was taken in last."""
        return self._run.exchange.end_of(peer.worker, peer.attempt) if self._roster.knows(peer) else None

    def blame(self, peer: Peer, error: WireError) -> None:
        """Count and say who sent what cannot be meant."""
        self.count_refused()
        if self._run.refused["worker"] <= REFUSALS_LOGGED:
            log.warning("Refused a message: worker=%d pod=%s reason=%s", peer.worker, peer.pod, error)

    def count_refused(self) -> None:
        """Count a message or a call of a worker that could not be meant."""
        self._run.refused["worker"] += 1

    def count_stranger(self) -> None:
        """Count a connection on which nobody showed a certificate of the run's authority."""
        if not self._run.refused["stranger"]:
            log.warning("Nobody showed a certificate of this run's authority on a connection; more are only counted")
        self._run.refused["stranger"] += 1

    def count_refused_platform(self) -> None:
        """Count a caller of the control API that did not know the token."""
        self._run.refused["platform"] += 1

    # --- What followers say.

    def steer(self, steering: Steering) -> int:
        """Take in what a follower wants; an older revision changes nothing."""
        if steering.revision > self._steered:
            self._steered = steering.revision
            self._run.inheritance.when_known(lambda: self._obey(steering))
            if steering.stop_reason == Reason.KILLED:
                self._run.inheritance.hurry(self._clock.monotonic_ns())
        return self._steered

    def _obey(self, steering: Steering) -> None:
        if steering.stop_reason == Reason.KILLED:
            # Before anything else takes time, or gives the run another end.
            self._run.handle(run.KillAsked())
        # Somebody that has ended may be one of those that are new.
        self._resize(steering.workers or self._run.plan.workers)
        for end in steering.ended:
            self._run.lose(end.worker, end.attempt, Departure(end.reason or "Ended", end.message, end.exit_code))
        self._look_at_barrier()
        self._run.workload.want(steering.aims, is_paused=steering.is_paused)
        self._run.commander.config = self._run.plan.config if steering.config is None else steering.config
        self._run.steer_load()
        if steering.stop_reason is not None:
            self._run.handle(run.StopAsked(steering.stop_reason, steering.is_immediate))
        if steering.hopeless and self._run.state.stage is Stage.GATHERING:
            is_error = steering.hopeless_reason in _ERRORS
            reason = steering.hopeless_reason if is_error else Reason.STARTUP_TIMEOUT
            self._run.handle(run.Broke(reason, steering.hopeless))

    def followed(self) -> AbstractContextManager[None]:
        """Note that somebody follows the run, as long as the context lasts."""
        return self._run.relief.standing.followed()

    async def changed(self, sequence: int) -> RunView:
        """Return the run's state once it is newer than `sequence`."""
        return await self._run.board.changed(sequence)

    async def rows(self, width: int, second: int) -> tuple[Row, ...]:
        """Return closed rows of a width from a second on; see `Rows.since`."""
        if width == MIDDLE_WIDTH:
            self._run.measurement.merge.keep_windows()
        return await self._run.rows.since(width, second)

    async def series(self, row: Row) -> list[SeriesRow]:
        """Return what each series gained in a row of ten seconds; none if nobody watched then, or long ago."""
        found = []
        for each in self._run.measurement.merge.windows.rows(row.second):
            found.append(each)
            if len(found) % SERIES_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    @property
    def load_started_ns(self) -> int:
        """The wall clock at the start of load; 0 before it is known."""
        return self._run.times.load_started_ns

    @property
    def outcome(self) -> OutcomeView | None:
        """How the run ended; None before."""
        return self._run.ending.outcome

    def report_file(self) -> tuple[bytes, bytes]:
        """Return the report and its digest; empty before the run is finished."""
        return self._run.ending.report

    def log_tail(self, *, lines: int, size: int) -> tuple[bytes, int]:
        """Return the last lines of the log."""
        return self._logs.tail_gzip(lines, size)

    def stored(self, digest: bytes) -> bool:
        """Note that a follower holds the report."""
        if self._run.ending.outcome is None or digest != self._run.ending.report[1]:
            return False
        self._run.ending.stored.set()
        return True

    # --- Words into events.

    def _welcome(self, member: Member, former: Member) -> None:
        self._run.relief.welcome(member, former)
        if self._run.state.stage is Stage.RUNNING_LOAD:
            # Another start of this master has to know who is there.
            self._run.checkpoints.hurry()

    def _hear_beat(self, member: Member, beat: Heartbeat) -> None:
        # What an engine was late while it imported the script, in mid-run perhaps, is no load that was late.
        running = {each.engine for each in member.engines if each.stage is EngineStage.RUNNING}
        if self._roster.hear(member, beat, self._clock.boottime_ns()):
            self._run.board.touch()
        if self._run.inheritance.is_awaited:
            # What it says is looked at once it is known what it belongs to.
            return
        at_work = [each for each in beat.engines if each.engine in running]
        since_start_ns = self._run.commander.since_start_ns()
        self._run.measurement.hear(at_work, since_start_ns=since_start_ns)
        second = since_start_ns // SECOND - 1 if self._run.state.stage is Stage.RUNNING_LOAD else -1
        strain = self._run.measurement.strain
        strain.observe(member.worker, beat, at_work=at_work, attempt=member.attempt, pod=member.pod, second=second)
        if self._run.state.order is RunOrder.RUNNING and (not member.state.is_over or member.awaits_bye):
            self._grant(member, beat)
        self._look_at(member)
        self._run.relief.hear(member, beat)

    def _grant(self, member: Member, beat: Heartbeat) -> None:
        """Give engines what they ask for; of a worker that has lost another engine, only what has no last number.

        Nobody waits for iterations of a lost worker any more, and users that it still has need their rows.
        """
        names = of_feeder("") if member.state.is_over else ""
        load = self._run.workload
        for engine in beat.engines:
            news = [each for each in engine.grants if each.name.startswith(names)]
            if news:
                self._crew.assign(load.grants.hear((member.worker, engine.engine), news, living=load.living))

    def _look_at_peer(self, peer: Peer) -> None:
        if self._roster.knows(peer):
            self._look_at(self._roster.members[peer.worker])

    def _look_at(self, member: Member) -> None:
        """Look whether a worker stops the run, keeps it from starting, or was the last that it waited for."""
        for why in filter(None, (each.stop_asked for each in member.engines)):
            self._run.on_stop_asked(why)
        if self._run.state.stage is not Stage.GATHERING:
            self._look_at_late(member)
            return
        if news := member.script_problem():
            reason = Reason.PREFLIGHT_FAILED if news.is_preflight else Reason.SCRIPT_INVALID
            self._run.handle(run.Broke(reason, news.describe()))
        elif conflict := member.conflict(self._digest or member.script_digest):
            self._run.handle(run.Broke(Reason.CONFIG_CONFLICT, conflict))
        elif (held := self._run.commander.held) is None:
            return
        elif foreign := member.foreign(held):
            self._run.handle(run.Broke(Reason.CONFIG_CONFLICT, foreign))
        elif member.has_applied(held) and not member.state.is_over:
            self._roster.note_applied(member)
            self._look_at_barrier()

    def _give_up_on(self, peer: Peer, why: str) -> None:
        """End a run that waits for a worker whose agent was refused: its pods are made from the same image."""
        is_newest = self._roster.members[peer.worker].attempt < peer.attempt
        if is_newest and self._run.state.stage is Stage.GATHERING:
            self._run.handle(run.Broke(Reason.CONFIG_CONFLICT, why))

    def _look_at_barrier(self) -> None:
        """Let the load begin if every worker that is wanted is ready for it."""
        if self._run.state.stage is Stage.GATHERING and self._roster.are_applied:
            self._run.handle(run.Applied())

    def _resize(self, wanted: int) -> None:
        """Let so many workers make the load from now on, unless it is over."""
        stage = self._run.state.stage
        if stage in {Stage.STOPPING_LOAD, Stage.FINISHED} or self._run.state.order is RunOrder.STOPPED:
            return
        if self._run.relief.resize(wanted, is_barred=stage is Stage.GATHERING):
            self._run.mail.resize(wanted)
            self._run.checkpoints.hurry()
            self._run.board.touch()

    def _look_at_late(self, member: Member) -> None:
        """Do without a worker that came in mid-run and cannot take part, or does what another master has said."""
        if member.state.is_over or self._run.state.order is RunOrder.STOPPED:
            return
        held = self._run.commander.held
        if held is not None and (foreign := member.foreign(held)):
            self._run.lose(member.worker, member.attempt, Departure(Reason.CONFIG_CONFLICT, foreign))
        if member.state is not WorkerState.CONNECTED:
            return
        news = member.script_problem()
        problem = news.describe() if news is not None else member.conflict(self._digest or member.script_digest)
        if problem is not None:
            reason = Reason.SCRIPT_INVALID if news is not None else Reason.CONFIG_CONFLICT
            self._run.lose(member.worker, member.attempt, Departure(reason, problem[:SAID_MAX]))

    def _hear_end(self, peer: Peer, word: EngineEnd | Bye) -> None:
        """Take in what ended; a newer attempt of its worker may have come while that waited, and lives on."""
        for end in (word,) if isinstance(word, EngineEnd) else word.engines:
            self._end_engine(peer, end)
        if isinstance(word, Bye):
            self._run.farewells.hear_bye(peer.worker, peer.attempt, word)
            self._settle(peer.worker, peer.attempt)

    def _end_engine(self, peer: Peer, end: EngineEnd) -> None:
        departure = self._run.farewells.end_engine(end, has_begun=self._run.commander.has_ordered_load)
        # One that was replaced is lost already.
        if departure is not None and self._roster.members[peer.worker].attempt == peer.attempt:
            # It may have done the last iteration before that.
            self._run.check_load()
            self._run.lose(peer.worker, peer.attempt, departure, awaits_bye=True)
        self._run.relief.release(peer.worker, peer.attempt, end.stream.engine)

    def _settle(self, worker: int, attempt: int) -> None:
        """Let an attempt of a worker end whose Bye has come with everything that it promised."""
        has_begun = self._run.commander.has_ordered_load
        streams = self._run.farewells.take_complete(worker, attempt, has_begun=has_begun)
        if streams is None:
            return
        member = self._roster.members[worker]
        if member.attempt == attempt:
            self._end(member)
        self._run.keeper.settle((worker, attempt), streams)
        self._run.check_over()
        self._run.board.touch()

    def _end(self, member: Member) -> None:
        # An engine may end a little early by its own clock; the last word of a lost one says nothing of the time.
        self._run.check_load(ahead_ns=0 if member.state.is_over else SECOND)
        if self._run.state.order is not RunOrder.STOPPED:
            self._run.lose(member.worker, member.attempt, TERMINATED)
        self._roster.end(member)
        self._run.mail.lose(member.worker)
