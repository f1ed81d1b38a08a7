"""Join a run's tables to its agents, director and followers: each word heard becomes an event, each effect a word said.

What is decided here is only who is asked. Reading the wire is the affair of `transport`, starting and leaving that of
`service`.
"""

from __future__ import annotations

import asyncio
import logging
from hashlib import sha256
from typing import TYPE_CHECKING, Final, assert_never

from loadstone_core.load.profile import Model
from loadstone_core.units import SECOND
from loadstone_core.verdict.causes import MAX_LOST_PERCENT
from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_protocol.control import RunView
from loadstone_protocol.messages import Bye, EngineEnd, Heartbeat, Ping, Refusal, RefusalCode, RunOrder
from loadstone_runner.master import run
from loadstone_runner.master.board import Board
from loadstone_runner.master.commander import Commander
from loadstone_runner.master.conclusion import OUT_OF_MEMORY, End, conclude_run, to_json
from loadstone_runner.master.crew import Crew
from loadstone_runner.master.farewell import TERMINATED, Farewells
from loadstone_runner.master.grants import Grants
from loadstone_runner.master.judge import Judge
from loadstone_runner.master.keeper import Keeper
from loadstone_runner.master.measurement import Measurement
from loadstone_runner.master.report import report_of
from loadstone_runner.master.roster import LEASE_NS, Departure, Member, Roster
from loadstone_runner.master.run import Stage
from loadstone_runner.master.views import Times, waiting_for, worker_view

if TYPE_CHECKING:
    from loadstone_core.clock import Clock
    from loadstone_core.plan.model import RunPlan
    from loadstone_core.stats.stream import StreamState
    from loadstone_core.stats.timeline import Row
    from loadstone_protocol.codec import WireError
    from loadstone_protocol.control import OutcomeView
    from loadstone_protocol.messages import AgentWord, Hello, Peer, ScriptNews, Steering
    from loadstone_runner.master.director import Director
    from loadstone_runner.master.store import Register, Store
    from loadstone_runner.transport.grpc.links import AgentLink, StatisticsLink

TICK_SECONDS: Final = 0.25
DRAIN_NS: Final = 15 * SECOND  # beside gracefulStop, for the last states
TEARDOWN_NS: Final = 30 * SECOND

log = logging.getLogger(__name__)


class Conductor:
    """One run. Everything happens on the event loop; `tick` is called a few times a second, nothing else by time."""

    def __init__(self, plan: RunPlan, *, clock: Clock, store: Store, director: Director) -> None:
        self.run_uid = plan.run.uid
        self.epoch = plan.run.epoch
        self.plan = plan
        self.roster = Roster(run_uid=plan.run.uid, epoch=plan.run.epoch, expected=plan.workers)
        self.measurement = Measurement(plan.load)
        self.judge = Judge(plan.thresholds)
        self.times = Times()
        self.outcome: OutcomeView | None = None
        self.findings: tuple[str, ...] = ()
        self.finished = asyncio.Event()
        self.stored_by_follower = asyncio.Event()
        self.all_left = asyncio.Event()
        self._clock = clock
        self._director = director
        self._state = run.RunState()
        iterations = plan.load.iterations or 0
        self._grants = Grants(iterations if plan.load.model is Model.ITERATIONS else 0, plan.workers)
        self._crew = Crew(self.epoch, plan.workers, self._grants)
        self._commander = Commander(plan, clock=clock, store=store, crew=self._crew)
        self._farewells = Farewells(self.measurement)
        self._keeper = Keeper(store, self._durable)
        self._store = store
        self._board = Board(self._view)
        self._deadline_ns: int | None = clock.monotonic_ns() + plan.startup_timeout_ns
        self._ready: set[int] = set()  # workers that have applied the newest configuration
        self._digest = plan.script.digest
        self._load_ns: int | None = None
        self._outside: dict[str, int] = {}
        self._notes: list[Cause] = []
        self._steered = 0
        self._report = (b"", b"")
        self._newest_row: Row | None = None

    # --- What agents say.

    def join(self, hello: Hello, link: AgentLink) -> Refusal | None:
        """Take an agent in, or return why not."""
        is_new = hello.peer.worker < self.plan.workers and not self.roster.members[hello.peer.worker].attempt
        if self._state.stage is Stage.FINISHED and is_new:
            return Refusal(RefusalCode.RUN_OVER, f"run {self.run_uid} is over")
        member = self.roster.join(hello, self._clock.boottime_ns())
        if isinstance(member, Refusal):
            log.warning("Refused an agent: worker=%d reason=%s", hello.peer.worker, member.detail)
            return member
        log.info("Took an agent in: worker=%d attempt=%d pod=%s", member.worker, member.attempt, member.pod)
        self._ready.discard(member.worker)
        self._crew.attach(link)
        link.welcome(self.epoch, LEASE_NS)
        self._digest = self._digest or member.script_digest
        self._look_at(member)
        self._crew.brief(link)
        if self._crew.has_left(member.worker):
            link.leave(is_run_over=True)
        self._board.touch()
        return None

    def hear(self, link: AgentLink, word: AgentWord) -> None:
        """Take in what an agent says; the words of one that was replaced count no more."""
        match word:
            case Ping(sent_ns):
                link.answer_ping(sent_ns, self._clock.monotonic_ns())
            case _ if not self.roster.knows(link.peer):
                return
            case Heartbeat():
                link.acknowledge(word.number, self.epoch)
                self._hear_beat(self.roster.members[link.peer.worker], word)
            case EngineEnd():
                self._end_engine(self.roster.members[link.peer.worker], word)
            case Bye():
                self._hear_bye(self.roster.members[link.peer.worker], word)
            case _:
                assert_never(word)

    def part(self, link: AgentLink) -> None:
        """Note that a connection has ended; the lease decides what it means."""
        if self._crew.detach(link):
            self.roster.disconnect(link.peer)
            self._note_who_left()

    def may_report(self, peer: Peer) -> bool:
        """Say whether a peer is the agent that was taken in last."""
        return self.roster.knows(peer)

    def report(self, link: StatisticsLink, state: StreamState) -> None:
        """Merge a state and acknowledge it. What comes after the verdict is not in it any more."""
        self._crew.attach_statistics(link)
        stream = state.stream
        if self._state.stage is not Stage.FINISHED:
            self._farewells.see(state)
            if not self.measurement.apply(state, since_start_ns=self._commander.since_start_ns()):
                log.warning("Refused a state of the future: stream=%s second=%d", stream, state.second)
        if state.final:
            self._keeper.hold(state)
        # A final state is kept as it is, so it has to hold everything.
        link.acknowledge(stream, received=state.sequence, durable=0, wants_full=state.final and not state.full)
        self._settle(self.roster.members[stream.worker])
        if self._state.stage is Stage.RUNNING_LOAD and self.plan.load.model is Model.ITERATIONS:
            self._check_load()

    def part_statistics(self, link: StatisticsLink) -> None:
        """Note that a statistics connection has ended."""
        self._crew.detach_statistics(link)

    def blame(self, peer: Peer, error: WireError) -> None:
        """Say who sent what cannot be meant."""
        log.warning("Refused a message: worker=%d pod=%s reason=%s", peer.worker, peer.pod, error)

    # --- What followers say.

    def steer(self, steering: Steering) -> int:
        """Take in what a follower wants; an older revision changes nothing."""
        if steering.revision <= self._steered:
            return self._steered
        self._steered = steering.revision
        for end in steering.ended:
            self._lose(end.worker, end.attempt, Departure(end.reason or "Ended", end.message, end.exit_code))
        if steering.stop_reason is not None:
            self._handle(run.StopAsked(steering.stop_reason, steering.is_immediate))
        return self._steered

    async def changed(self, sequence: int) -> RunView:
        """Return the run's state once it is newer than `sequence`."""
        return await self._board.changed(sequence)

    def report_file(self) -> tuple[bytes, bytes]:
        """Return the report and its digest; empty before the run is finished."""
        return self._report

    def stored(self, digest: bytes) -> bool:
        """Note that a follower holds the report."""
        if self.outcome is None or digest != self._report[1]:
            return False
        self.stored_by_follower.set()
        return True

    # --- What the director says.

    def on_script(self, news: ScriptNews) -> None:
        """Go on with setup, or end the run with what is wrong with the script."""
        if news.is_ok:
            self._handle(run.ScriptImported())
        else:
            self._handle(run.Broke(Reason.SCRIPT_INVALID, news.describe()))

    def on_setup(self, *, problem: str | None, result_json: bytes, requests: int) -> None:
        """Keep what setup returned for every user."""
        self._outside["setup"] = requests
        if problem is not None:
            self._handle(run.Broke(Reason.SETUP_FAILED, problem))
            return
        self._commander.setup_json = result_json
        self._handle(run.SetupDone())

    def on_teardown(self, *, problem: str | None, requests: int) -> None:
        """Note how teardown went: it changes no verdict."""
        self._outside["teardown"] = requests
        if problem is not None:
            self._notes.append(Cause(Reason.HANDLER_ERRORS, f"teardown failed: {problem}"))
        self._handle(run.TeardownDone())

    def on_director_gone(self, message: str) -> None:
        """End a run that still needs its director; a plain test goes on without it until teardown."""
        if self._state.stage is Stage.GATHERING:
            self._handle(run.Broke(Reason.DIRECTOR_LOST, f"{message}; see the log of the director's container"))
        elif self._state.stage is not Stage.FINISHED:
            self._notes.append(Cause(Reason.HANDLER_ERRORS, f"{message}; teardown was not run"))
            if self._state.is_torn_down:
                self._handle(run.TeardownDone())

    # --- What time says.

    def resume(self, register: Register, finals: list[StreamState]) -> None:
        """Take over from a former start of this master: keep what it knew, stop the load, say that it was lost."""
        self._commander.resume(register)
        self.times.load_started_ns = register.load_started_ns
        for state in finals:
            self.measurement.apply(state, since_start_ns=self._commander.since_start_ns())
            self.measurement.merge.close(state.stream, state.counters, clean=True)
            self.roster.restore(state.stream.worker, state.stream.attempt)
        self._state = run.resumed(has_started=register.start_at_ns > 0)
        message = "the master's process ended and was started again; the load was stopped, see its container's last log"
        self._handle(run.Broke(Reason.MASTER_LOST, message))

    def terminate(self) -> None:
        """End the run now: the master's pod is being taken away."""
        message = "the master's pod was deleted or evicted; the load was stopped and the results end there"
        self._handle(run.Broke(Reason.MASTER_LOST, message, is_immediate=True))

    def show(self) -> None:
        """Show the run to its followers for the first time."""
        self._board.show()

    def tick(self) -> None:
        """Look at everything that time alone changes."""
        for member in self.roster.tick(self._clock.boottime_ns()):
            self._after_loss(member)
        self._close_seconds()
        self._check_load()
        if self._deadline_ns is not None and self._clock.monotonic_ns() >= self._deadline_ns:
            self._miss_deadline()
        self._check_over()
        self._board.touch()

    def reach_start(self) -> None:
        """Note that the moment of the start has come."""
        self._handle(run.StartReached())

    # --- Words into events.

    def _hear_beat(self, member: Member, beat: Heartbeat) -> None:
        has_changed = self.roster.hear(member, beat, self._clock.boottime_ns())
        self.measurement.hear(beat, since_start_ns=self._commander.since_start_ns())
        self._grants.acknowledge(member.worker, beat.assignment)
        if self._state.order is RunOrder.RUNNING and not member.state.is_over:
            left = sum(each.iterations_left for each in beat.engines)
            rate = sum(each.iterations_per_second for each in beat.engines)
            living = self.roster.living()
            self._crew.assign(self._grants.hear(member.worker, left=left, per_second=rate, living=living))
        self._look_at(member)
        if has_changed:
            self._board.touch()

    def _look_at(self, member: Member) -> None:
        """Look whether a worker keeps the run from starting, or was the last that it waited for."""
        if self._state.stage is not Stage.GATHERING:
            return
        if problem := member.script_problem():
            self._handle(run.Broke(Reason.SCRIPT_INVALID, problem))
        elif conflict := member.conflict(self._digest or member.script_digest):
            self._handle(run.Broke(Reason.CONFIG_CONFLICT, conflict))
        elif self._commander.held is not None and member.has_applied(self._commander.held):
            self._ready.add(member.worker)
            if len(self._ready) == self.plan.workers:
                self._handle(run.Applied())

    def _end_engine(self, member: Member, end: EngineEnd) -> None:
        departure = self._farewells.end_engine(end)
        if departure is not None:
            self._lose(member.worker, member.attempt, departure, awaits_bye=True)

    def _hear_bye(self, member: Member, bye: Bye) -> None:
        for end in bye.engines:
            self._end_engine(member, end)
        self._farewells.hear_bye(member.worker, bye)
        self._settle(member)

    def _settle(self, member: Member) -> None:
        """Let a worker end whose Bye has come with everything that it promised."""
        streams = self._farewells.take_complete(member.worker)
        if streams is None:
            return
        self._check_load(ahead_ns=SECOND)
        if self._state.order is not RunOrder.STOPPED:
            self._lose(member.worker, member.attempt, TERMINATED)
        self.roster.end(member)
        self._keeper.settle(member.worker, streams)
        self._check_over()
        self._board.touch()

    def _lose(self, worker: int, attempt: int, departure: Departure, *, awaits_bye: bool = False) -> None:
        if self.roster.lose(worker, attempt, departure, awaits_bye=awaits_bye):
            self._after_loss(self.roster.members[worker])
        self._check_over()

    def _after_loss(self, member: Member) -> None:
        departure = member.departure or Departure("Lost", "")
        log.warning("Lost a worker: worker=%d reason=%s: %s", member.worker, departure.reason, departure.message)
        if not member.awaits_bye:
            self._farewells.lose(member.worker, member.attempt, has_begun=self._commander.since_start_ns() > 0)
        self.judge.skip()
        lost = len(self.roster.lost())
        if self._state.stage is Stage.GATHERING and departure.reason != OUT_OF_MEMORY:
            message = f"worker {member.worker} was lost before the load began: {departure.message or departure.reason}"
            self._handle(run.Broke(Reason.WORKERS_LOST, message))
        elif self._state.stage is Stage.GATHERING or lost * 100 > self.plan.workers * MAX_LOST_PERCENT:
            self._handle(run.TooManyLost())
        self._board.touch()

    # --- Time into events.

    def _close_seconds(self) -> None:
        end_ns = self.plan.load.profile.bound_ns
        for row in self.measurement.close_seconds():
            self._newest_row = row
            # A window of an idle target says nothing, so what comes after the load is not judged.
            if self._state.stage is Stage.RUNNING_LOAD and (row.second + 1) * SECOND <= end_ns:
                aborting = self.judge.observe(row.second, self.measurement.measured)
                if aborting is not None:
                    self._handle(run.ThresholdBroke(aborting))

    def _check_load(self, ahead_ns: int = 0) -> None:
        if self._state.stage is Stage.RUNNING_LOAD:
            since_start_ns = self._commander.since_start_ns() + ahead_ns
            if self.measurement.is_load_done(since_start_ns):
                self._handle(run.LoadDone())

    def _check_over(self) -> None:
        if self._state.stage is not Stage.FINISHED and self.roster.are_all_settled():
            self._handle(run.WorkersOver())

    def _miss_deadline(self) -> None:
        self._deadline_ns = None
        if self._state.stage is Stage.GATHERING:
            message = f"the load could not begin in time: waited for {self._waiting_for()}; or raise startupTimeout"
            self._handle(run.Broke(Reason.STARTUP_TIMEOUT, message))
        elif self._state.stage is Stage.STOPPING_LOAD:
            for member in self.roster.members:
                text = f"worker {member.worker} did not report its end in time"
                self._lose(member.worker, member.attempt, Departure("Overdue", text))
            self._handle(run.Overdue())

    # --- Events into effects.

    def _handle(self, event: run.Event) -> None:
        before = self._state
        self._state, effects = run.step(before, event)
        for effect in effects:
            self._do(effect)
        if self._state.stage is not before.stage:
            log.info("Entered a stage: stage=%s by=%s", self._state.stage, type(event).__name__)
            self._board.show()

    def _do(self, effect: run.Effect) -> None:
        match effect:
            case run.Configure():
                self._configure(effect)
            case run.AskSetup():
                self._director.ask(is_teardown=False)
            case run.AskTeardown():
                self._ask_teardown()
            case run.Conclude():
                self._conclude()
            case _:
                assert_never(effect)

    def _configure(self, effect: run.Configure) -> None:
        self._ready.clear()
        match effect.order:
            case RunOrder.READY:
                self._grants.open()
            case RunOrder.RUNNING:
                self.times.workers_ready_ns = self._clock.wall_ns()
                self._deadline_ns = None
            case RunOrder.STOPPED:
                self._stop_clock(effect)
        self._commander.configure(effect, round_trip_ns=self.roster.round_trip_ns())
        self.times.load_started_ns = self._commander.load_started_ns
        if effect.order is RunOrder.RUNNING:
            loop = asyncio.get_running_loop()
            until_start = (self._commander.start_at_ns - self._clock.monotonic_ns()) / SECOND
            loop.call_later(until_start, self._handle, run.StartReached())
            end_ns = self.plan.load.profile.end_ns
            if end_ns is not None:
                loop.call_later(until_start + end_ns / SECOND, self._check_load)

    def _stop_clock(self, effect: run.Configure) -> None:
        """Note how long the load ran, and until when its workers may take to end."""
        since_start_ns = self._commander.since_start_ns()
        if self._load_ns is None and since_start_ns > 0:
            self._load_ns = min(since_start_ns, self.plan.load.profile.bound_ns)
        graceful_ns = 0 if effect.is_immediate else self.plan.graceful_stop_ns
        self._deadline_ns = self._clock.monotonic_ns() + graceful_ns + DRAIN_NS

    def _ask_teardown(self) -> None:
        self.times.load_stopped_ns = self.times.load_stopped_ns or self._clock.wall_ns()
        self._deadline_ns = self._clock.monotonic_ns() + TEARDOWN_NS
        if self._director.is_gone:
            self._handle(run.TeardownDone())
        else:
            self._director.ask(is_teardown=True)

    def _durable(self, worker: int, states: tuple[StreamState, ...]) -> None:
        for state in states:
            self._crew.say_durable(state.stream, state.sequence)
        self._crew.let_leave(worker, is_run_over=True)
        self._note_who_left()

    def _note_who_left(self) -> None:
        """Note when nobody is connected any more who was not let go."""
        if self._state.stage is Stage.FINISHED and all(
            self._crew.has_left(each.worker) or not each.is_connected for each in self.roster.members
        ):
            self.all_left.set()

    def _conclude(self) -> None:
        self._deadline_ns = None
        for member in self.roster.members:
            if not member.has_said_bye:
                has_begun = self._load_ns is not None
                self._farewells.lose(member.worker, member.attempt, has_begun=has_begun)
        self._close_seconds()
        now_ns = self._clock.wall_ns()
        self.times.finished_ns = now_ns
        if self._load_ns is not None:
            self.times.load_stopped_ns = self.times.load_stopped_ns or now_ns
        end = End(
            plan=self.plan,
            state=self._state,
            roster=self.roster,
            measurement=self.measurement,
            judge=self.judge,
            outside=self._outside,
            notes=tuple(self._notes),
            load_ns=self._load_ns,
            load_started_ns=self.times.load_started_ns,
        )
        conclusion = conclude_run(end)
        content = report_of(conclusion, end, self.times)
        self._report = (content, sha256(content).digest())
        self.findings = conclusion.outcome.findings
        self.outcome = conclusion.to_view(self._report[1])
        self._store.write_report(content)
        self._commander.close()
        self.finished.set()
        self._note_who_left()

    # --- Tables into views.

    def _view(self, sequence: int) -> RunView:
        since_start_ns = self._commander.since_start_ns()
        is_over = self.outcome is not None
        return RunView(
            run_uid=self.run_uid,
            epoch=self.epoch,
            sequence=sequence,
            stage=self._state.stage.value,
            workers=tuple(map(worker_view, self.roster.members)),
            progress=self.measurement.progress(
                self._newest_row,
                since_start_ns=since_start_ns if self._load_ns is None else self._load_ns,
                users=self.roster.users(),
            ),
            thresholds_json=to_json(self.judge.to_status(is_over=is_over, load_started_ns=self.times.load_started_ns)),
            findings=self.findings,
            times=self.times.view(self.roster.start_skew_ns()),
            outcome=self.outcome,
            waiting_for=self._waiting_for() if self._state.stage is Stage.GATHERING else "",
        )

    def _waiting_for(self) -> str:
        return waiting_for(
            has_director=self._director.is_connected,
            is_set_up=self._state.is_set_up,
            members=self.roster.members,
            ready=self._ready,
        )
