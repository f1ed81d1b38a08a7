"""Conduct one run: what happens goes through the table in `run`, what follows from it is done, the end is concluded.

What agents and followers say comes in by `desk`; starting and leaving is the affair of `service`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final, assert_never

from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_protocol.messages import RunOrder
from loadstone_protocol.views import RunView
from loadstone_runner.master import run
from loadstone_runner.master.board import Board
from loadstone_runner.master.checkpoints import Checkpoints
from loadstone_runner.master.commander import Commander
from loadstone_runner.master.conclusion import End, to_json
from loadstone_runner.master.crew import Crew
from loadstone_runner.master.ending import Ending
from loadstone_runner.master.exchange import Exchange
from loadstone_runner.master.farewell import Farewells
from loadstone_runner.master.inheritance import Inheritance
from loadstone_runner.master.judge import Judge
from loadstone_runner.master.keeper import Keeper
from loadstone_runner.master.losses import event_of_loss
from loadstone_runner.master.mail import Mail
from loadstone_runner.master.measurement import Measurement
from loadstone_runner.master.member import Departure, Member
from loadstone_runner.master.news import Happened, Incident, News
from loadstone_runner.master.relief import Relief
from loadstone_runner.master.remarks import TEARDOWN_CUT_OFF, slow_workers
from loadstone_runner.master.roster import Roster
from loadstone_runner.master.rows import Rows
from loadstone_runner.master.run import Stage
from loadstone_runner.master.shelf import new_merge
from loadstone_runner.master.views import Times, waiting_for, worker_views
from loadstone_runner.master.workload import Workload

if TYPE_CHECKING:
    from loadstone_core.clock import Clock
    from loadstone_core.plan.model import RunPlan
    from loadstone_core.stats.stream import StreamState
    from loadstone_protocol.views import ProgressView
    from loadstone_runner.master.director import Director
    from loadstone_runner.master.store import Store

DRAIN_NS: Final = 15 * SECOND  # beside gracefulStop, for the last states
TEARDOWN_NS: Final = 30 * SECOND
REUNION_SECONDS: Final = 10.0  # so much later than a lease, who is not back will not come

log = logging.getLogger(__name__)


class Conductor:
    """One run. Everything happens on the event loop; `tick` is called a few times a second, nothing else by time."""

    def __init__(self, plan: RunPlan, *, clock: Clock, store: Store, director: Director) -> None:
        self.run_uid = plan.run.uid
        self.epoch = plan.run.epoch
        self.plan = plan
        self.roster = Roster(run_uid=plan.run.uid, epoch=self.epoch, expected=plan.workers, lease_ns=plan.lease_ns)
        self.measurement = Measurement(plan.scenarios, plan.warm_up_ns, merge=new_merge())
        self.rows = Rows(self.measurement.timeline)
        self.judge = Judge(plan.thresholds, plan.warm_up_ns)
        self.times = Times()
        self.ending = Ending(store)
        self.clock = clock
        self.director = director
        self.exchange = Exchange()
        self.refused = Counter[str]()
        self.mail = Mail(plan, clock=clock, roster=self.roster, exchange=self.exchange, director=director)
        self.state = run.RunState()
        self.workload = Workload(plan, self.roster, self.measurement)
        self.crew = Crew(self.epoch, self.roster, self.workload.grants, self.workload.shares, store.write_grants)
        self.commander = Commander(plan, self.workload.course, clock=clock, store=store, crew=self.crew)
        self.farewells = Farewells(self.measurement, plan.engines_per_worker)
        self.checkpoints = Checkpoints(store, self.measurement.merge.take_lost)
        self.keeper = Keeper(store, self._durable, keep_lost=self.checkpoints.keep_lost)
        self.relief = Relief(
            self.workload,
            self.roster,
            crew=self.crew,
            farewells=self.farewells,
            commander=self.commander,
            clock=clock,
        )
        self.board = Board(self._view)
        self.news = News(self.measurement.accounts)
        self.deadline_ns: int | None = clock.monotonic_ns() + plan.startup_timeout_ns
        self.load_ns: int | None = None
        self.inheritance = Inheritance()
        self.outside: dict[str, int] = {}
        self.notes: list[Cause] = []

    # --- What time says.

    def tick(self) -> None:
        """Look at everything that time alone changes."""
        if self.inheritance.is_awaited:
            self.inheritance.look(self.clock.monotonic_ns())
            return
        if self.commander.unsent is not None:
            self._order(self.commander.unsent)
        self.mail.look()
        now_ns = self.clock.boottime_ns()
        for member in self.roster.tick(now_ns):
            if member.departure is not None:
                self._after_loss(member)
            self.relief.release_silent(member.worker, member.attempt)
        self.relief.tick(now_ns)
        if self.relief.retire():
            self.checkpoints.hurry()
        self._close_seconds()
        self.steer_load()
        self.check_load()
        if self.deadline_ns is not None and self.clock.monotonic_ns() >= self.deadline_ns:
            self._miss_deadline()
        self.check_over()
        if self.state.stage is Stage.RUNNING_LOAD:
            course, since_start_ns = self.workload.course, self.commander.since_start_ns()
            idle_ns = course.idle_ns(since_start_ns)
            for message in self.news.each_second(self._progress(), idle_ns=idle_ns, is_paused=course.is_paused):
                self.director.inform(message)
        self.board.touch()
        self.checkpoints.look()

    def on_stop_asked(self, why: str) -> None:
        """End the run, as the script wants; it says so until it ends, and the first who does is quoted."""
        if self.state.stop is None:
            self.handle(run.StopAsked(Reason.STOPPED, is_immediate=False, message=f"the script stopped the run: {why}"))

    # --- Losses into events.

    def lose(self, worker: int, attempt: int, departure: Departure, *, awaits_bye: bool = False) -> None:
        """Note that a worker is gone before its time; see `Roster.lose`. Without a Bye to await it has ended."""
        if self.roster.lose(worker, attempt, departure, awaits_bye=awaits_bye):
            self._after_loss(self.roster.members[worker])
        if not awaits_bye:
            self.relief.release(worker, attempt)
        self.check_over()

    def _after_loss(self, member: Member) -> None:
        departure = member.departure or Departure("Lost", "")
        self.mail.lose(member.worker)
        if not member.awaits_bye:
            self.farewells.lose(member.worker, member.attempt, has_begun=self.commander.since_start_ns() > 0)
        if self.state.is_killed or self.relief.is_free_to_go(member):
            self.roster.dismiss(member)
            return
        log.warning("Lost a worker: worker=%d reason=%s: %s", member.worker, departure.reason, departure.message)
        self.director.inform(Incident(Happened.WORKER_LOST, member.worker, departure.message or departure.reason))
        self.judge.skip()
        self.checkpoints.hurry()
        self.relief.note(member, departure)
        lost, wanted = len(self.roster.lost_of_wanted()), self.roster.wanted
        if event := event_of_loss(member, departure, self.plan, self.state, lost=lost, wanted=wanted):
            self.handle(event)
        self.board.touch()

    # --- Time into events.

    def _close_seconds(self) -> None:
        end_ns = self.workload.course.bound_ns if self.load_ns is None else self.load_ns
        for row in self.rows.tell(self.measurement.close_seconds()):
            self.judge.idle_ns = self.workload.course.idle_ns((row.second + 1) * SECOND)
            if self.workload.course.is_paused or row.second <= self.measurement.merge.gap_until:
                self.judge.skip()
            # A window of an idle target says nothing, so what comes after the load is not judged.
            if (row.second + 1) * SECOND <= end_ns:
                may_abort = self.state.stage is Stage.RUNNING_LOAD
                aborting = self.judge.observe(row.second, self.measurement.measured, may_abort=may_abort)
                if aborting is not None:
                    self.handle(run.ThresholdBroke(aborting))

    def steer_load(self) -> None:
        """Bring the load to what is wanted of it, early enough that every engine hears of it in time."""
        if self.state.stage is Stage.RUNNING_LOAD:
            event = self.workload.steer(self.commander.since_start_ns() + self.relief.lead_ns())
            if event is not None or self.commander.has_news:
                self.handle(run.LoadChanged())

    def check_load(self, ahead_ns: int = 0) -> None:
        """Look which scenarios are over, or will be in `ahead_ns`, and which begin because of that."""
        if self.state.stage is not Stage.RUNNING_LOAD:
            return
        since_start_ns = self.commander.since_start_ns() + ahead_ns
        if event := self.workload.look(since_start_ns, lead_ns=self.relief.lead_ns()):
            self.handle(event)

    def check_over(self) -> None:
        """Look whether nothing more will be heard of any worker."""
        if self.state.stage is not Stage.FINISHED and self.roster.are_all_settled():
            self.handle(run.WorkersOver())

    def _miss_deadline(self) -> None:
        self.deadline_ns = None
        if self.state.stage is Stage.GATHERING and self.state.order is RunOrder.READY and self.relief.has_quorum():
            self.notes.append(self.relief.start_without(self.roster.missing()))
            self.handle(run.Applied())
        elif self.state.stage in {Stage.GATHERING, Stage.ARMED}:
            message = f"the load could not begin in time: waited for {self._waiting_for()}; or raise startupTimeout"
            self.handle(run.Broke(Reason.STARTUP_TIMEOUT, message))
        elif self.state.stage is Stage.STOPPING_LOAD:
            was_torn_down = self.state.is_torn_down
            for member in self.roster.members:
                text = f"worker {member.worker} did not report its end in time"
                self.lose(member.worker, member.attempt, Departure("Overdue", text))
            # Teardown that begins because nobody is waited for any more has a time of its own.
            if self.state.is_torn_down == was_torn_down:
                self.notes += [TEARDOWN_CUT_OFF] if was_torn_down else []
                self.handle(run.Overdue())

    # --- Events into effects.

    def handle(self, event: run.Event) -> None:
        """Let something happen to the run, and do what follows from it."""
        before = self.state
        self.state, effects = run.step(before, event)
        for effect in effects:
            self._do(effect)
        if self.state.stage is not before.stage:
            log.info("Entered a stage: stage=%s by=%s", self.state.stage, type(event).__name__)
            if self.state.stage is Stage.RUNNING_LOAD:
                self.director.inform(Incident(Happened.TEST_START))
                self.checkpoints.hurry()
            self.board.show()

    def _do(self, effect: run.Effect) -> None:
        match effect:
            case run.Configure():
                self._configure(effect)
            case run.AskSetup():
                self.director.ask(is_teardown=False)
            case run.AskTeardown():
                self._ask_teardown()
            case run.Conclude():
                self.conclude()
            case _:
                assert_never(effect)

    def _configure(self, effect: run.Configure) -> None:
        match effect.order:
            case RunOrder.READY:
                self.workload.open_grants()
            case RunOrder.RUNNING if self.commander.is_start(effect):
                self.times.workers_ready_ns = self.clock.wall_ns()
                self.workload.steer(0)
            case RunOrder.RUNNING:
                self.crew.assign(self.workload.open_grants())
            case RunOrder.STOPPED:
                self._stop_clock(effect)
        self._order(effect)
        if effect.is_kill:
            self.director.kill()
            self.judge.skip()
            self.checkpoints.insist(self.commander.keep)

    def _order(self, effect: run.Configure) -> None:
        """Let everybody hear of an order; one that the disk does not take is given again with each tick."""
        is_start = self.commander.is_start(effect)
        self.roster.forget_applied()
        if not self.commander.configure(effect, round_trip_ns=self.roster.round_trip_ns()):
            self.deadline_ns = self.deadline_ns or self.clock.monotonic_ns() + self.plan.startup_timeout_ns
            return
        self.director.configure(self.commander.config, setup_json=self.commander.setup_json)
        self.times.load_started_ns = self.commander.load_started_ns
        if is_start:
            loop = asyncio.get_running_loop()
            loop.call_later(self._await_start(), self.checkpoints.insist, self.commander.keep)
        elif effect.order is RunOrder.STOPPED:
            self._stop_clock(effect)  # who hears of it late has no less time

    def _await_start(self) -> float:
        """Look at the load when it starts and when scenarios end; return in how many seconds it starts."""
        self.deadline_ns = None
        loop = asyncio.get_running_loop()
        until_start = (self.commander.start_at_ns - self.clock.monotonic_ns()) / SECOND
        loop.call_later(until_start, self.handle, run.StartReached())
        for scenario in self.workload.course.scenarios:
            if scenario.end_ns is not None:
                loop.call_later(until_start + scenario.end_ns / SECOND, self.check_load)
        return until_start

    def go_on(self, effect: run.Configure) -> None:
        """Say again what was ordered last, under a version of this master's own."""
        log.info("Went on with the run of a former master: stage=%s", self.state.stage)
        if effect.order is RunOrder.RUNNING:
            self._await_start()
            self.director.expect(self.plan.lease_ns / SECOND + REUNION_SECONDS, then=self.measurement.settle)
        self._configure(effect)
        if self.state.is_torn_down:
            # It runs once, and this master does not know how it went.
            self._ask_teardown()

    def _stop_clock(self, effect: run.Configure) -> None:
        """Note how long the load ran, and until when its workers may take to end."""
        since_start_ns = self.commander.since_start_ns()
        if self.load_ns is None and since_start_ns > 0:
            self.load_ns = min(since_start_ns, self.workload.course.bound_ns)
        if not self.state.is_torn_down:
            self.deadline_ns = self.clock.monotonic_ns() + self.commander.graceful_stop_ns(effect) + DRAIN_NS

    def _ask_teardown(self) -> None:
        self.times.load_stopped_ns = self.times.load_stopped_ns or self.clock.wall_ns()
        self.deadline_ns = self.clock.monotonic_ns() + TEARDOWN_NS
        if self.load_ns is not None:
            self.director.inform(Incident(Happened.TEST_STOP))
        if self.director.is_gone:
            self.handle(run.TeardownDone())
        else:
            self.director.ask(is_teardown=True)

    def _durable(self, attempt: tuple[int, int], states: tuple[StreamState, ...]) -> None:
        self.roster.let_go(*attempt)
        self.crew.say_durable(states)
        self.crew.let_leave(*attempt, is_run_over=True)
        self.note_who_left()

    def note_who_left(self) -> None:
        """Note when nobody is connected any more who was not let go."""
        if self.state.stage is Stage.FINISHED and all(
            self.crew.has_left(each.worker, each.attempt) or not each.is_connected for each in self.roster.members
        ):
            self.ending.all_left.set()

    def conclude(self) -> None:
        """Conclude the run."""
        self.deadline_ns = None
        self.ending.conclude(self._sum_up, self.times)
        self.checkpoints.insist(lambda: self.ending.keep_word() and self.commander.close())
        self.rows.close()
        self.ending.finished.set()
        self.note_who_left()

    def _sum_up(self) -> End:
        """Close what nothing more is heard of, and return what the run is concluded from."""
        silent = [each for each in self.roster.members if not (each.has_said_bye or each.is_excused)]
        for member in silent:
            self.farewells.lose(member.worker, member.attempt, has_begun=self.load_ns is not None)
        self.farewells.lose_unknown()
        self._close_seconds()
        logs = self.farewells.logs.summary(is_silent=bool(silent) or self.farewells.lacks_logs)
        # A run that ends before its load does not wait for the last lines of its workers.
        if self.load_ns is not None and (complaint := logs.complaint()):
            self.notes.append(Cause(Reason.LOGS_INCOMPLETE, complaint))
        self.times.finish(self.clock.wall_ns(), has_loaded=self.load_ns is not None)
        return End(
            plan=self.plan,
            state=self.state,
            roster=self.roster,
            losses=self.relief.losses,
            measurement=self.measurement,
            unused=self.workload.unused_rows(),
            judge=self.judge,
            outside=self.outside,
            notes=(*self.notes, *self.commander.restarts.causes(), *slow_workers(self.roster.members)),
            director_errors=self.director.errors,
            remarks=self.workload.remarks(has_shape=self.director.has_shape),
            load_ns=self.load_ns,
            logs=logs.to_status(),
            idle_ns=self.workload.course.idle_ns(self.load_ns or 0),
            load_started_ns=self.times.load_started_ns,
        )

    # --- Tables into views.

    def _progress(self) -> ProgressView:
        load_ns = self.commander.since_start_ns() if self.load_ns is None else self.load_ns
        if self.ending.outcome is not None:
            return self.measurement.overall(load_ns)
        return self.measurement.progress(self.rows.newest, since_start_ns=load_ns, users=self.roster.users())

    def _view(self, sequence: int) -> RunView:
        is_over = self.ending.outcome is not None
        return RunView(
            run_uid=self.plan.run.uid,
            epoch=self.epoch,
            sequence=sequence,
            stage=self.state.stage.value,
            workers=worker_views(self.roster, self.relief.losses),
            progress=self._progress(),
            thresholds_json=to_json(self.judge.to_status(is_over=is_over, load_started_ns=self.times.load_started_ns)),
            findings=self.ending.findings if is_over else tuple(map(str, self.measurement.strain.findings())),
            times=self.times.view(self.roster.start_skew_ns()),
            outcome=self.ending.outcome,
            waiting_for=self._waiting_for(),
            is_paused=self.workload.course.is_paused and self.state.stage is Stage.RUNNING_LOAD,
            config_revision=self.commander.known_config(self.roster.applied_revision()),
        )

    def _waiting_for(self) -> str:
        if self.commander.unsent is not None:
            return "the disk of the master, which takes nothing now"
        if self.state.stage is not Stage.GATHERING:
            return ""
        return waiting_for(self.roster, has_director=self.director.is_connected, is_set_up=self.state.is_set_up)
