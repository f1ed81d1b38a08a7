"""Run the director process: the script's setup before the load, its teardown after it, each when the master asks.

Users are never run here. Requests of setup and teardown are counted apart from the results.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.event import Event

from loadstone import Summary, seat
from loadstone.listening import watches
from loadstone.options import DEFAULT
from loadstone_core.stats.metrics import HANDLER_ERROR, HANDLER_SLOW, LISTENER_ERROR, METRIC_ERROR
from loadstone_protocol.v1 import engine_pb2, statistics_pb2
from loadstone_runner.engine import path
from loadstone_runner.engine.backstage import Backstage
from loadstone_runner.engine.counters import COMPLETED, CounterFile
from loadstone_runner.engine.events import Watching, summary_of
from loadstone_runner.engine.http.outfit import Outfit
from loadstone_runner.engine.http.resolution import Resolver
from loadstone_runner.engine.introduction import hello
from loadstone_runner.engine.link import AgentLink
from loadstone_runner.engine.script import last_lines
from loadstone_runner.engine.shaping import Shaping
from loadstone_runner.engine.tracebacks import text_of
from loadstone_runner.redaction import Redactor, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone import HttpClient, HttpOptions, Run
    from loadstone_runner.engine.script import Script
    from loadstone_runner.settings import EngineSettings

log = logging.getLogger("loadstone.director")

END_NS: Final = 3_500_000_000  # for all that the script still does; half a second later the launcher ends this process
RESULT_MAX_BYTES: Final = 256 * 1024
_TOLD_ERRORS: Final = frozenset({LISTENER_ERROR, HANDLER_ERROR, HANDLER_SLOW, METRIC_ERROR})


class DirectedRun:
    """The run as setup and teardown see it; a `loadstone.Run`."""

    def __init__(self, target: str, instruments: path.Instruments) -> None:
        self._instruments = instruments
        self._resolver = Resolver()
        self._clients: list[path.HttpClient] = []
        self.target = target
        self.setup_data: Any = None
        self.http: HttpClient = self.client(DEFAULT)

    def client(self, options: HttpOptions) -> HttpClient:
        """Return a client that lives as long as what it is made for."""
        made = path.HttpClient(Outfit(self.target, options), self._instruments, self._resolver)
        self._clients.append(made)
        return made

    def end(self) -> None:
        """Record what is left open, and close all connections."""
        for each in self._clients:
            each.settle()
            each.close()


def serve(settings: EngineSettings) -> int:
    """Be the director until SIGTERM comes; return the exit code."""
    return Director(settings).run()


class Director:
    """One director: its script, and what has been asked of it. Each of both is done once and told as often as asked."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._instruments = path.Instruments(CounterFile(""))
        self._run = DirectedRun(settings.target, self._instruments)
        self._hello = hello(settings, engine_pb2.ENGINE_ROLE_DIRECTOR, "")
        hide = Redactor(secrets_of(os.environ)).text
        self._instruments.recorder.hide(hide)
        self._link = AgentLink(
            f"{settings.socket_dir}/agent.sock", on_connect=self._introduce, on_message=self._on_message, hide=hide
        )
        self._backstage = Backstage(self._instruments, is_director=True, on_stop=self._say_status, send=self._link.send)
        self._watching: list[Watching] = []
        self._newest = Summary()
        self._is_shaped = False
        self._shaping: Shaping | None = None
        self._script: Script | None = None
        self._script_report: engine_pb2.ScriptReport | None = None
        self._reports: dict[bool, engine_pb2.SetupReport | None] = {}  # by whether it is the teardown; None: it runs
        self._is_loaded = Event()

    def run(self) -> int:
        """Load the script and do what is asked for, until SIGTERM."""
        is_over = Event()
        gevent.signal_handler(signal.SIGTERM, is_over.set)
        gevent.spawn(self._link.run)
        self._link.give_turn()
        self._script, self._script_report = self._backstage.load(self._settings)
        count = self._backstage.services.count_error
        self._watching = [Watching(each, count) for each in watches()]
        self._look_for_shape()
        self._is_loaded.set()
        self._link.send(engine_pb2.EngineMessage(script=self._script_report))
        self._say_status()
        gevent.spawn(self._tick)
        is_over.wait()
        self._backstage.close("quitting", until_ns=monotonic_ns() + END_NS)
        return 0

    def _tick(self) -> None:
        """Say each second what listeners have done wrong."""
        while True:
            gevent.sleep(1.0)
            self._backstage.look()
            lanes = [each.lane for each in self._watching]
            for lane in lanes if self._shaping is None else (*lanes, self._shaping.lane):
                lane.look(monotonic_ns())
            self._say_status()

    def _say_status(self) -> None:
        errors = [
            statistics_pb2.ErrorCount(kind=each.kind, message=each.message, name=each.name, count=each.count)
            for each in self._instruments.recorder.errors()
            if each.kind in _TOLD_ERRORS
        ]
        shape = None if self._shaping is None else self._shaping.wanted
        lanes = self._backstage.lane_states()
        status = engine_pb2.EngineStatus(stop_asked=self._backstage.stop_asked, errors=errors, shape=shape, lanes=lanes)
        if errors or status.stop_asked or shape is not None or lanes:
            self._link.send(engine_pb2.EngineMessage(status=status))

    def _introduce(self) -> None:
        self._link.send(self._hello)
        if self._script_report is not None:
            self._link.send(engine_pb2.EngineMessage(script=self._script_report))
        self._backstage.introduce()
        self._say_status()

    def _on_message(self, message: engine_pb2.ToEngine) -> None:
        match message.WhichOneof("kind"):
            case "setup":
                gevent.spawn(self._answer, is_teardown=message.setup.teardown)
            case "messages":
                self._backstage.hear(message.messages)
            case "event":
                self._tell(message.event)
            case "summary":
                self._newest = summary_of(message.summary.json)
                for each in self._watching:
                    each.hear(self._newest)
                if self._shaping is not None:
                    self._shaping.hear(message.summary.json)
            case "config":
                self._configure(message.config)
            case "log_kept":
                self._backstage.marks.hear(message.log_kept.number, is_lost=message.log_kept.lost)

    def _configure(self, config: engine_pb2.EngineConfig) -> None:
        seat.set_config(config.config)
        if config.setup_json:
            # A director that was started anew has not run setup itself.
            self._run.setup_data = json.loads(config.setup_json)
        self._is_shaped = config.shaped
        self._look_for_shape()

    def _look_for_shape(self) -> None:
        """Be ready to ask the shape, once it is known that there is one and that it leads the load."""
        made = None if self._script is None else self._script.shape
        if self._is_shaped and made is not None and self._shaping is None:
            count = self._backstage.services.count_error
            self._shaping = Shaping(made, count=count, on_change=self._say_status)

    def _tell(self, event: engine_pb2.RunEvent) -> None:
        """Tell listeners what has happened to the run; an event that is not known here is left out."""
        match event.kind:
            case engine_pb2.RunEvent.TEST_START:
                self._backstage.tell("test_start")
            case engine_pb2.RunEvent.SPAWNING_COMPLETE:
                self._backstage.tell("spawning_complete", user_count=self._newest.users)
            case engine_pb2.RunEvent.WORKER_LOST:
                self._backstage.tell("worker_lost", worker=event.worker, message=event.message)
            case engine_pb2.RunEvent.TEST_STOP:
                self._backstage.tell("test_stop")

    def _answer(self, *, is_teardown: bool) -> None:
        self._is_loaded.wait()
        if is_teardown not in self._reports:
            self._reports[is_teardown] = None
            self._reports[is_teardown] = self._do(is_teardown=is_teardown)
        report = self._reports[is_teardown]
        if report is not None:
            # Before it, as the verdict may follow at once.
            self._say_status()
            self._link.send(engine_pb2.EngineMessage(setup=report))

    def _do(self, *, is_teardown: bool) -> engine_pb2.SetupReport:
        """Run setup or teardown, if the script has it."""
        report = engine_pb2.SetupReport(teardown=is_teardown, ok=True)
        if self._script is None:
            report.ok = False
            report.problem = "the script cannot be loaded"
            return report
        function = self._script.teardown if is_teardown else self._script.setup
        if function is None:
            return report
        # Teardown comes after whatever has happened.
        self._backstage.wait()
        before = self._instruments.slots[COMPLETED]
        try:
            self._call(function, report, keep=not is_teardown)
        except BaseException as error:
            what = "teardown" if is_teardown else "setup"
            log.exception("%s raised", what)
            report.ok = False
            # What can be called need not have a name: `functools.partial` has none.
            name = getattr(function, "__name__", type(function).__name__)
            report.problem = f"{what} {name}() raised {text_of(error)}"
            report.traceback = last_lines(error, self._settings.script_dir)
        finally:
            self._run.end()
        report.requests = self._instruments.slots[COMPLETED] - before
        return report

    def _call(self, function: Callable[[Run], object], report: engine_pb2.SetupReport, *, keep: bool) -> None:
        result = function(self._run)
        if not keep or result is None:
            return
        content = json.dumps(result, allow_nan=False).encode()
        if len(content) > RESULT_MAX_BYTES:
            raise ValueError(f"what setup returns is {len(content)} bytes of JSON; at most {RESULT_MAX_BYTES} travel")
        # As users get it: a tuple is a list by then, and keys are text.
        self._run.setup_data = json.loads(content)
        self._backstage.begin(self._settings.target, self._run.setup_data)
        report.result_json = content
