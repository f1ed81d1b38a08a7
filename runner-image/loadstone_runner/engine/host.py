"""Run one engine process: obey the agent's configuration, drive the load, report each second, end as asked.

What users do belongs to `native` and the models; what is measured to `instruments`; how frames travel to `link`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic_ns
from typing import TYPE_CHECKING, Final

import gevent
from gevent.event import Event

from loadstone import seat
from loadstone_core.load.grant import of_iterations
from loadstone_core.stats.dropping import Dropping
from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import storable
from loadstone_core.stats.stream import StreamId
from loadstone_protocol.allotment import grants_from_messages, shares_from_messages
from loadstone_protocol.codec import WireError, scenarios_from_messages, stream_state_to_message
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.backstage import Backstage
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.http.failures import take_exhausted
from loadstone_runner.engine.introduction import hello
from loadstone_runner.engine.lease import Lease
from loadstone_runner.engine.link import AgentLink
from loadstone_runner.engine.load import make_model
from loadstone_runner.engine.moments import sleep_until
from loadstone_runner.engine.numbers import Allotment
from loadstone_runner.engine.part import Part, PartStage
from loadstone_runner.engine.path import FLAVOUR, Instruments
from loadstone_runner.engine.population import Portion
from loadstone_runner.engine.preflight import PreflightError, check
from loadstone_runner.engine.reports import Reports
from loadstone_runner.engine.tracebacks import TEXT_MAX
from loadstone_runner.engine.vitals import LoopLag, resident_bytes
from loadstone_runner.redaction import Redactor, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_core.load.scenario import Scenario
    from loadstone_runner.engine.script import Script
    from loadstone_runner.settings import EngineSettings

log = logging.getLogger("loadstone.engine")

EXIT_ENDED: Final = 0
EXIT_UNACKNOWLEDGED: Final = 1
EXIT_BROKEN: Final = 70  # EX_SOFTWARE of sysexits.h
EXIT_TERMINATED: Final = 128 + signal.SIGTERM

SECOND_NS: Final = 1_000_000_000
TERMINATION_GRACE_NS: Final = 10 * SECOND_NS
ACKNOWLEDGED_WITHIN_SECONDS: Final = 10.0
SOON_SECONDS: Final = 0.02
# Behind gracefulStop, for all that the script still does; a second later the agent has this process killed.
END_NS: Final = 4 * SECOND_NS
_WORST_SHARE: Final = 0.99

Stage = engine_pb2.EngineStatus.Stage


def serve(settings: EngineSettings) -> int:
    """Be an engine until the load has ended; return the exit code."""
    return Engine(settings).run()


class Engine:
    """One engine: what it was told, how far it is, and the greenlets that drive it."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        path = f"{settings.socket_dir}/engine-{settings.engine}-{settings.start}.counters"
        self._instruments = Instruments(CounterFile(path))
        hide = Redactor(secrets_of(os.environ)).text
        self._instruments.recorder.hide(hide)
        self._link = AgentLink(
            f"{settings.socket_dir}/agent.sock", on_connect=self._introduce, on_message=self._on_message, hide=hide
        )
        self._hello = hello(settings, engine_pb2.ENGINE_ROLE_ENGINE, path)
        self._backstage = Backstage(
            self._instruments, is_director=False, on_stop=self._say_status, send=self._link.send
        )
        self._script: Script | None = None
        self._script_report: engine_pb2.ScriptReport | None = None
        self._stage = Stage.LOADING
        self._held: engine_pb2.EngineConfig | None = None  # came before the script was loaded
        self._applied = 0
        self._parts: list[Part] = []
        self._allotment = Allotment(self._say_status_soon)
        self._backstage.services.rows = self._allotment.next_row
        self._reports: Reports | None = None
        self._start_at_ns = 0
        self._holding = 0
        self._is_stopping = False
        self._is_finishing = False
        self._closed_second = -1
        self._final_sequence = 0
        self._exit_code = EXIT_ENDED
        self._is_over = Event()
        self._lease = Lease(f"{settings.socket_dir}/lease")
        self._lag = LoopLag(self._look_at_lease)
        self._status_is_due = False

    def run(self) -> int:
        """Load the script, do as configured, and return the exit code."""
        gevent.signal_handler(signal.SIGTERM, self._terminate)
        self._spawn(self._link.run)
        # The agent hears of this process before user code may hold the loop for long.
        self._link.give_turn()
        log.info("The request path is %s", FLAVOUR)
        self._script, self._script_report = self._backstage.load(self._settings)
        self._link.send(engine_pb2.EngineMessage(script=self._script_report))
        if self._held is not None:
            self._apply(self._held)
        self._spawn(self._tick)
        self._is_over.wait()
        return self._exit_code

    def _spawn(self, function: Callable[[], None]) -> gevent.Greenlet[..., None]:
        """Run one of the engine's own loops; if it breaks, so does the engine, as nobody would notice otherwise."""
        greenlet = gevent.spawn(function)
        greenlet.link_exception(lambda _greenlet: self._break())
        return greenlet

    def _break(self) -> None:
        self._exit_code = EXIT_BROKEN
        self._is_over.set()

    # What comes in

    def _introduce(self) -> None:
        """Say everything that a new listener must know."""
        self._link.send(self._hello)
        if self._script_report is not None:
            self._link.send(engine_pb2.EngineMessage(script=self._script_report))
        if self._reports is not None and self._reports.sequence:
            self._report(is_full=True)
        self._backstage.introduce()
        self._say_status()

    def _on_message(self, message: engine_pb2.ToEngine) -> None:
        match message.WhichOneof("kind"):
            case "config":
                self._configure(message.config)
            case "messages":
                self._backstage.hear(message.messages)
            case "log_kept":
                self._backstage.marks.hear(message.log_kept.number, is_lost=message.log_kept.lost)
            case "ack" if self._reports is not None:
                self._reports.acknowledge(message.ack.received)
                if self._final_sequence and self._reports.acknowledged >= self._final_sequence:
                    self._is_over.set()

    def _configure(self, config: engine_pb2.EngineConfig) -> None:
        """Apply a configuration that is newer than the one applied, once there is a script to apply it to."""
        held = 0 if self._held is None else self._held.revision
        if config.revision <= max(self._applied, held):
            return
        if self._script_report is None:
            self._held = config
        else:
            self._apply(config)

    def _apply(self, config: engine_pb2.EngineConfig) -> None:
        if self._reports is None:
            stream = StreamId(config.worker, config.attempt, self._settings.engine, self._settings.start)
            self._reports = Reports(self._instruments, stream)
        try:
            self._follow(config)
        except (WireError, ValueError) as error:
            is_preflight = isinstance(error, PreflightError)
            log.error("Refused a configuration: %s", error, exc_info=None if is_preflight else error)  # noqa: TRY400
            self._script_report = engine_pb2.ScriptReport(
                ok=False, problem=storable(str(error)[:TEXT_MAX]), preflight_failed=is_preflight
            )
            self._link.send(engine_pb2.EngineMessage(script=self._script_report))
        self._applied = config.revision
        self._say_status()

    def _follow(self, config: engine_pb2.EngineConfig) -> None:
        """Bring the load to where a configuration wants it."""
        if config.run_state == engine_pb2.STOPPED_STATE:
            self._stop(config.graceful_stop_ns)
            return
        if self._script is None or self._is_stopping:
            return
        scenarios = scenarios_from_messages(config.scenarios)
        seat.set_config(config.config)
        if not self._parts:
            self._instruments.recorder.leave_out(Dropping(config.dropped))
            parts = self._make_parts(self._script, scenarios, config)
            check(self._settings, parts, Portion(config.slot, config.slots))
            self._parts = parts
            if config.warm_up_ns and self._reports is not None:
                self._reports.is_warming_up = True
                self._instruments.counters.warm_up()
            self._stage = Stage.READY
        granted = self._allotment.extend(grants_from_messages(config.grants))
        for part in self._parts:
            if of_iterations(part.scenario.name) in granted:
                part.model.rouse()
        if config.run_state == engine_pb2.RUNNING_STATE and not self._start_at_ns:
            self._start_at_ns = config.start_at_ns
            if config.warm_up_ns:
                self._spawn(lambda: self._warm_up(config.start_at_ns + config.warm_up_ns))
        self._hold(config)
        for part, scenario in zip(self._parts, scenarios, strict=True):
            part.follow(scenario, self._start_at_ns)

    def _hold(self, config: engine_pb2.EngineConfig) -> None:
        """Do the lots of the load that this engine is told, and no others."""
        if not config.holding:
            return
        self._holding = config.holding
        lots = {each.lot: self._start_at_ns + each.from_ns for each in shares_from_messages(config.shares)}
        for part in self._parts:
            part.model.hold(lots)

    def _warm_up(self, until_ns: int) -> None:
        """Leave out what is measured before a moment."""
        sleep_until(until_ns)
        if self._reports is not None and not self._final_sequence:
            self._reports.end_warm_up()

    def _make_parts(
        self, script: Script, scenarios: tuple[Scenario, ...], config: engine_pb2.EngineConfig
    ) -> list[Part]:
        """Return this engine's part of each scenario."""
        setup_data = json.loads(config.setup_json) if config.setup_json else None
        self._backstage.begin(scenarios[0].target or "", setup_data)
        parts = []
        for place, scenario in enumerate(scenarios):
            portion = Portion(config.slot, config.slots, place, len(scenarios))
            model = make_model(
                script,
                scenario,
                portion=portion,
                setup_data=setup_data,
                instruments=self._instruments.beside(scenario.name, place),
                allotment=self._allotment,
            )
            model.population.on_left = self._say_status_soon
            parts.append(
                Part(
                    scenario,
                    model,
                    spawn=self._spawn,
                    before_end=self._close_second,
                    on_change=self._look_at_parts,
                )
            )
        return parts

    def _look_at_parts(self) -> None:
        """Say how far the parts are; when all of them are over, so is the load of this engine."""
        stages = {part.stage for part in self._parts}
        if stages == {PartStage.OVER} and not self._is_finishing:
            self._is_finishing = True
            self._spawn(self._finish)
            return
        if PartStage.RUNNING in stages and self._stage == Stage.READY:
            self._stage = Stage.RUNNING
            self._backstage.tell("test_start")
            self._spawn(self._tell_spawned)
        elif stages <= {PartStage.STOPPING, PartStage.OVER} and not self._is_finishing:
            self._stage = Stage.STOPPING
        self._say_status()

    def _tell_spawned(self) -> None:
        """Tell listeners when this engine's users have become as many as ever, but for those that ended at once."""
        for part in self._parts:
            part.await_users()
        if self._stage == Stage.RUNNING:
            users = sum(len(part.model.population) for part in self._parts)
            self._backstage.tell("spawning_complete", user_count=users)

    # The end

    def _terminate(self, grace_ns: int = TERMINATION_GRACE_NS) -> None:
        """Obey SIGTERM: at once, with what is left of the grace, and at most ten seconds."""
        if self._stage in {Stage.LOADING, Stage.READY, Stage.RUNNING}:
            self._exit_code = EXIT_TERMINATED
        self._stop(grace_ns)

    def _look_at_lease(self) -> None:
        """Make no more load if the lease has run out: the launcher that would say so may be what stands still."""
        if self._lease.is_over(clock_gettime_ns(CLOCK_BOOTTIME)):
            self._terminate(grace_ns=0)

    def _stop(self, grace_ns: int) -> None:
        """Begin no further iteration; running ones may take so long, and as long as their scenario gives them."""
        self._is_stopping = True
        self._allotment.close()
        for part in self._parts:
            part.stop(min(grace_ns, part.scenario.graceful_stop_ns))
        if not self._parts and not self._is_finishing:
            self._is_finishing = True
            self._spawn(self._finish)

    def _finish(self) -> None:
        """Report for the last time, and wait until that has arrived."""
        stop_by_ns = max((part.stop_by_ns for part in self._parts), default=0) or monotonic_ns()
        self._backstage.close("test_stop", "quitting", until_ns=stop_by_ns + END_NS)
        self._stage = Stage.ENDED
        if self._reports is None:
            self._is_over.set()
            return
        self._final_sequence = self._reports.sequence + 1
        self._report(is_full=True)
        self._say_status()
        gevent.sleep(ACKNOWLEDGED_WITHIN_SECONDS)
        if not self._is_over.is_set():
            log.error("Nobody acknowledged the final state within %.0f s", ACKNOWLEDGED_WITHIN_SECONDS)
            self._exit_code = self._exit_code or EXIT_UNACKNOWLEDGED
            self._is_over.set()

    # What goes out

    def _tick(self) -> None:
        """See each second that load may be made, close that second of it, and say how things are."""
        while True:
            now = monotonic_ns()
            if self._start_at_ns and now >= self._start_at_ns:
                sleep_until(now + SECOND_NS - (now - self._start_at_ns) % SECOND_NS)
            else:
                gevent.sleep(1.0)
            self._look_at_lease()
            self._close_second()
            self._backstage.look()
            self._say_status()

    def _close_second(self) -> None:
        """Report the newest full second, if that was not done: loads end with a second, and their users with them."""
        if not self._start_at_ns or self._final_sequence:
            return
        if (monotonic_ns() - self._start_at_ns) // SECOND_NS > self._closed_second + 1:
            self._report(is_full=False)

    def _report(self, *, is_full: bool) -> None:
        """Send the state that closes the newest full second; once the load has ended, the running one."""
        reports = self._reports
        if reports is None:
            return
        is_final = self._stage == Stage.ENDED
        if self._start_at_ns:
            seconds = (monotonic_ns() - self._start_at_ns) // SECOND_NS
            # Nothing more will come to the second that the end falls into.
            self._closed_second = max(self._closed_second, seconds if is_final else seconds - 1)
        users = [len(part.model.population) for part in self._parts]
        state = reports.next_state(self._closed_second, users=users, is_full=is_full, is_final=is_final)
        late_ns = min((late for part in self._parts if (late := part.model.first_late_ns) >= 0), default=None)
        first_start_ns = 0 if late_ns is None else self._start_at_ns + late_ns
        message = stream_state_to_message(state, first_start_ns=first_start_ns)
        self._link.send(engine_pb2.EngineMessage(state=message))

    def _say_status_soon(self) -> None:
        """Say how things are, once for everybody who wants it said in the next moments."""
        if not self._status_is_due:
            self._status_is_due = True
            gevent.spawn_later(SOON_SECONDS, self._say_status)

    def _say_status(self) -> None:
        self._status_is_due = False
        slips = Histogram()
        status = engine_pb2.EngineStatus(stage=self._stage, applied_revision=self._applied, holding=self._holding)
        status.start_at_ns = self._start_at_ns
        for place, part in enumerate(self._parts):
            status.users += len(part.model.population)
            status.leaving += part.model.leaving
            slips.merge(part.model.recent_slips())
            if part.has_nothing_left:
                status.over.append(place)
        status.grants.extend(self._allotment.states(monotonic_ns()))
        status.loop_lag_ns = self._lag.take_largest_ns()
        status.schedule_slip_ns = slips.quantile(_WORST_SHARE) if slips.count else 0
        status.memory_bytes = resident_bytes()
        status.exhausted = take_exhausted()
        status.stop_asked = self._backstage.stop_asked
        status.flavour = FLAVOUR
        status.series = len(self._instruments.recorder)
        status.queued_bytes = self._link.queued_bytes
        status.lanes.extend(self._backstage.lane_states())
        self._link.send(engine_pb2.EngineMessage(status=status))
