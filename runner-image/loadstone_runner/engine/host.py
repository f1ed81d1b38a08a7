"""Run one engine process: obey the agent's configuration, drive the load, report each second, end as asked.

What users do belongs to `native` and the models; what is measured to `instruments`; how frames travel to `link`.
"""

from __future__ import annotations

import json
import logging
import signal
from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic_ns
from typing import TYPE_CHECKING, Final

import gevent
from gevent.event import Event

from loadstone_core.load.pacing import spawned
from loadstone_core.load.profile import Model
from loadstone_core.stats.stream import StreamId
from loadstone_protocol.codec import WireError, load_plan_from_message, ranges_from_messages, stream_state_to_message
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.backstage import Backstage
from loadstone_runner.engine.counters import ITERATIONS_COMPLETED, CounterFile
from loadstone_runner.engine.feeders import StridedRows
from loadstone_runner.engine.introduction import hello
from loadstone_runner.engine.lease import is_over
from loadstone_runner.engine.link import AgentLink
from loadstone_runner.engine.load import LoadModel, make_model
from loadstone_runner.engine.path import FLAVOUR, Instruments
from loadstone_runner.engine.process import prepare
from loadstone_runner.engine.reports import Reports
from loadstone_runner.engine.vitals import LoopLag, percentile_99, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_runner.engine.script import Script
    from loadstone_runner.settings import EngineSettings

log = logging.getLogger("loadstone.engine")

EXIT_ENDED: Final = 0
EXIT_UNACKNOWLEDGED: Final = 1
EXIT_BROKEN: Final = 70  # EX_SOFTWARE of sysexits.h
EXIT_TERMINATED: Final = 128 + signal.SIGTERM

SECOND_NS: Final = 1_000_000_000
TERMINATION_GRACE_NS: Final = 10 * SECOND_NS
ON_STOP_SECONDS: Final = 2.0
LAST_KILL_SECONDS: Final = 0.5
ACKNOWLEDGED_WITHIN_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.1

Stage = engine_pb2.EngineStatus.Stage


def serve(settings: EngineSettings) -> int:
    """Be an engine until the load has ended; return the exit code."""
    prepare()
    return Engine(settings).run()


class Engine:
    """One engine: what it was told, how far it is, and the greenlets that drive it."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        path = f"{settings.socket_dir}/engine-{settings.engine}-{settings.start}.counters"
        self._instruments = Instruments(CounterFile(path))
        self._link = AgentLink(
            f"{settings.socket_dir}/agent.sock", on_connect=self._introduce, on_message=self._on_message
        )
        self._hello = hello(settings, engine_pb2.ENGINE_ROLE_ENGINE, path)
        self._backstage = Backstage(self._instruments, is_director=False, on_stop=self._say_status)
        self._script: Script | None = None
        self._script_report: engine_pb2.ScriptReport | None = None
        self._stage = Stage.LOADING
        self._held: engine_pb2.EngineConfig | None = None  # came before the script was loaded
        self._applied = 0
        self._model: LoadModel | None = None
        self._reports: Reports | None = None
        self._start_at_ns = 0
        self._graceful_stop_ns = 0
        self._stop_by_ns = 0
        self._closed_second = -1
        self._final_sequence = 0
        self._exit_code = EXIT_ENDED
        self._is_over = Event()
        self._lag = LoopLag(self._look_at_lease)
        self._slips: list[int] = []
        self._iterations_before = (monotonic_ns(), 0)

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

    def _spawn(self, function: Callable[[], None]) -> None:
        """Run one of the engine's own loops; if it breaks, so does the engine, as nobody would notice otherwise."""
        gevent.spawn(function).link_exception(lambda _greenlet: self._break())

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
        self._say_status()

    def _on_message(self, message: engine_pb2.ToEngine) -> None:
        match message.WhichOneof("kind"):
            case "config":
                self._configure(message.config)
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
            log.exception("Refused a configuration")
            self._script_report = engine_pb2.ScriptReport(ok=False, problem=str(error))
            self._link.send(engine_pb2.EngineMessage(script=self._script_report))
        self._applied = config.revision
        self._say_status()

    def _follow(self, config: engine_pb2.EngineConfig) -> None:
        """Bring the load to where a configuration wants it."""
        if config.run_state == engine_pb2.STOPPED_STATE:
            self._stop(config.graceful_stop_ns)
            return
        if self._model is None and self._script is not None:
            order = load_plan_from_message(config.load)
            self._graceful_stop_ns = order.graceful_stop_ns
            setup_data = json.loads(config.setup_json) if config.setup_json else None
            self._backstage.begin(order.target or "", setup_data)
            self._backstage.services.rows = StridedRows(config.slot, config.slots).next_row
            self._model = make_model(
                self._script,
                order,
                slot=config.slot,
                slots=config.slots,
                setup_data=setup_data,
                instruments=self._instruments,
            )
            self._stage = Stage.READY
        if self._model is None:
            return
        self._model.grant(config.first_range, ranges_from_messages(config.ranges))
        if config.run_state == engine_pb2.RUNNING_STATE and not self._start_at_ns:
            self._start_at_ns = config.start_at_ns
            self._model.start(config.start_at_ns)
            load = load_plan_from_message(config.load).load
            full = (0, 0) if load.model is Model.RATE else spawned(load.profile, config.slot, config.slots)
            self._spawn(lambda: self._follow_plan(load.profile.end_ns, full))

    def _follow_plan(self, end_ns: int | None, full: tuple[int, int]) -> None:
        """Say when the load begins, and stop it by itself when its profile ends."""
        _sleep_until(self._start_at_ns)
        if self._stage == Stage.READY:
            self._stage = Stage.RUNNING
            self._backstage.tell("test_start")
            self._spawn(lambda: self._tell_spawned(*full))
            self._say_status()
        if end_ns is not None:
            _sleep_until(self._start_at_ns + end_ns)
            self._stop(self._graceful_stop_ns)

    def _tell_spawned(self, full_ns: int, users: int) -> None:
        """Tell listeners when this engine's users have become as many as ever, but for those that ended at once."""
        at_ns = self._start_at_ns + full_ns
        _sleep_until(at_ns)
        population = None if self._model is None else self._model.population
        while population is not None and len(population) < users and monotonic_ns() < at_ns + SECOND_NS:
            gevent.sleep(_LOOK_SECONDS / 10)
        if self._stage == Stage.RUNNING:
            self._backstage.tell("spawning_complete", user_count=len(population or ()))

    # The end

    def _terminate(self, grace_ns: int = TERMINATION_GRACE_NS) -> None:
        """Obey SIGTERM: at once, with what is left of the grace, and at most ten seconds."""
        if self._stage in {Stage.LOADING, Stage.READY, Stage.RUNNING}:
            self._exit_code = EXIT_TERMINATED
        self._stop(min(self._graceful_stop_ns, grace_ns))

    def _look_at_lease(self) -> None:
        """Make no more load if the lease ran out while this process stood still: its launcher may wake later."""
        if is_over(f"{self._settings.socket_dir}/lease", clock_gettime_ns(CLOCK_BOOTTIME)):
            self._terminate(grace_ns=0)

    def _stop(self, grace_ns: int) -> None:
        """Begin no further iteration; running ones may take so long. Asked again, the earlier end counts."""
        stop_by_ns = monotonic_ns() + grace_ns
        if self._stop_by_ns:
            self._stop_by_ns = min(self._stop_by_ns, stop_by_ns)
            return
        self._stop_by_ns = stop_by_ns
        self._stage = Stage.STOPPING
        if self._model is not None:
            self._model.stop()
        self._say_status()
        self._spawn(self._drain)

    def _drain(self) -> None:
        """Wait for the users, end those that do not end, and report for the last time."""
        if self._model is not None:
            population = self._model.population
            while len(population) and (left_ns := self._stop_by_ns - monotonic_ns()) > 0:
                population.is_empty.wait(timeout=min(left_ns / SECOND_NS, _LOOK_SECONDS))
            for seconds in (ON_STOP_SECONDS, LAST_KILL_SECONDS):
                if len(population):
                    population.kill_all()
                    population.is_empty.wait(timeout=seconds)
            if len(population):
                log.warning("Left %d users behind that do not end", len(population))
        self._finish()

    def _finish(self) -> None:
        self._backstage.close("test_stop", "quitting")
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
        """Close each second of the load, and say each second how things are."""
        while True:
            now = monotonic_ns()
            if self._start_at_ns and now >= self._start_at_ns:
                _sleep_until(now + SECOND_NS - (now - self._start_at_ns) % SECOND_NS)
            else:
                gevent.sleep(1.0)
            if self._start_at_ns and monotonic_ns() >= self._start_at_ns + SECOND_NS and not self._final_sequence:
                self._report(is_full=False)
            self._backstage.look()
            self._say_status()

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
        users = 0 if self._model is None else len(self._model.population)
        state = reports.next_state(self._closed_second, users=users, is_full=is_full, is_final=is_final)
        first_start_ns = 0 if self._model is None else self._model.first_start_ns
        message = stream_state_to_message(state, first_start_ns=first_start_ns)
        self._link.send(engine_pb2.EngineMessage(state=message))

    def _say_status(self) -> None:
        model = self._model
        now, done = monotonic_ns(), self._instruments.slots[ITERATIONS_COMPLETED]
        status = engine_pb2.EngineStatus(stage=self._stage, applied_revision=self._applied)
        if model is not None:
            status.users = len(model.population)
            status.ranges_taken = model.ranges_taken
            status.iterations_left = model.iterations_left
            self._slips += model.take_slips()
        before, done_before = self._iterations_before
        if now > before:
            status.iterations_per_second = (done - done_before) * SECOND_NS // (now - before)
        if now - before >= SECOND_NS // 2:
            self._iterations_before = (now, done)
        status.loop_lag_ns = self._lag.take_largest_ns()
        status.schedule_slip_ns = percentile_99(self._slips)
        self._slips = []
        status.memory_bytes = resident_bytes()
        status.stop_asked = self._backstage.stop_asked
        self._link.send(engine_pb2.EngineMessage(status=status))


def _sleep_until(at_ns: int) -> None:
    # The loop counts from when it last looked at the clock, so one sleep may be a little short.
    while (left_ns := at_ns - monotonic_ns()) > 0:
        gevent.sleep(left_ns / SECOND_NS)
