"""The master's side of its director: setup and teardown over the Unix socket, life and death over the launcher's.

What follows from what the director says is decided in `run`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from loadstone_core.stats.stream import ErrorCount
from loadstone_protocol.coordination import TEXT_MAX, lane_news
from loadstone_protocol.messages import ScriptNews, ShapeNews
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.master.news import Happened, Incident, Summary
from loadstone_runner.transport.local.launcher import EventError, exit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadstone_protocol.messages import LaneNews
    from loadstone_runner.transport.local.engines import EngineLink
    from loadstone_runner.transport.local.launcher import Event, LauncherLink

LEASE_SECONDS: Final = 30.0  # at the least; as long as the workers' lease, as it has to outlive what these do
LAUNCHER_AWAITED_SECONDS: Final = 5.0  # it connects anew within 0.2 s
# For listeners to `quitting` and functions of `atexit`; the master waits a little longer for the launcher.
LAST_WORDS_SECONDS: Final = 4.0
SETUP_MAX_BYTES: Final = 256 * 1024
_TEXT_MAX: Final = 300
MESSAGE_MAX: Final = 1_024

_EVENTS: Final = {
    Happened.TEST_START: engine_pb2.RunEvent.TEST_START,
    Happened.SPAWNING_COMPLETE: engine_pb2.RunEvent.SPAWNING_COMPLETE,
    Happened.WORKER_LOST: engine_pb2.RunEvent.WORKER_LOST,
    Happened.TEST_STOP: engine_pb2.RunEvent.TEST_STOP,
}


class DirectorListener(Protocol):
    """Who is told; called on the event loop."""

    def on_script(self, news: ScriptNews) -> None:
        """Take note of whether the director could import the script."""
        ...

    def on_setup(self, *, problem: str | None, result_json: bytes, requests: int) -> None:
        """Take the result of setup, or what went wrong."""
        ...

    def on_teardown(self, *, problem: str | None, requests: int) -> None:
        """Take the result of teardown, or what went wrong."""
        ...

    def on_shape(self, shape: ShapeNews) -> None:
        """Take note of what the script's shape wants of the load."""
        ...

    def on_stop_asked(self, why: str) -> None:
        """Take note that the script wants the run to end."""
        ...

    def on_messages(self, start: int, frame: engine_pb2.MessageFrame) -> None:
        """Take a frame of custom messages; `start` says of which start of the director's process."""
        ...

    def on_director_gone(self, message: str) -> None:
        """Take note that the director's process has ended."""
        ...


class Director:
    """The director and its launcher. Both may come late, and come again; what is owed to them is sent then.

    Attributes:
        errors: of the script's listeners and handlers in it.
        lanes: of the custom messages that it handles.
        has_shape: whether the script has a shape.
        handles_messages: whether the script does, or did when another master knew it.
        refused: connections and messages that were, as they could not be meant.
    """

    def __init__(self, lease_seconds: float = LEASE_SECONDS) -> None:
        """Begin without either; without its master the director lives for so long."""
        self._lease_seconds = max(LEASE_SECONDS, lease_seconds)
        self._listener: DirectorListener
        self._link: EngineLink | None = None
        self._launcher: LauncherLink | None = None
        self._owed: engine_pb2.ToEngine | None = None
        self._is_teardown = False
        self._config: engine_pb2.ToEngine | None = None
        self.has_shape = self.handles_messages = False
        self.refused = 0
        self._is_shaped = False
        self._is_dismissed = False
        self._is_killed = False
        self.is_gone = False
        self.errors: tuple[ErrorCount, ...] = ()
        self.lanes: tuple[LaneNews, ...] = ()
        self.launcher_gone = asyncio.Event()

    def tell(self, listener: DirectorListener) -> None:
        """Say who is told, before anything is."""
        self._listener = listener

    @property
    def is_connected(self) -> bool:
        """Whether the director has come."""
        return self._link is not None

    def kept_there(self, *, is_shaped: bool) -> str:
        """Return what of the run only the director has; empty: nothing, so a plain test needs it no more."""
        if is_shaped:
            return "the shape of the load"
        return "what handlers of custom messages knew" if self.handles_messages else ""

    def ask(self, *, is_teardown: bool) -> None:
        """Let the director run setup or teardown, as soon as it is there."""
        self._is_teardown = is_teardown
        self._owed = engine_pb2.ToEngine(setup=engine_pb2.SetupRequest(teardown=is_teardown))
        if self._link is not None:
            self._link.send(self._owed)

    def configure(self, config: Mapping[str, str], *, setup_json: bytes, is_shaped: bool | None = None) -> None:
        """Let the director have the script's values, and know whether its shape leads the load (None: as before)."""
        self._is_shaped = self._is_shaped if is_shaped is None else is_shaped
        told = engine_pb2.EngineConfig(config=config, setup_json=setup_json, shaped=self._is_shaped)
        if self._config is not None and self._config.config == told:
            return
        self._config = engine_pb2.ToEngine(config=told)
        if self._link is not None:
            self._link.send(self._config)

    def tell_kept(self, number: int, is_lost: bool) -> None:  # noqa: FBT001 called by position
        """Tell the director what became of the lines before a mark of its own."""
        if self._link is not None:
            self._link.send(engine_pb2.ToEngine(log_kept=engine_pb2.LogKept(number=number, lost=is_lost)))

    def inform(self, news: Incident | Summary) -> None:
        """Tell the director how the run is, or what has happened to it; one that is not there misses it."""
        if self._link is None:
            return
        if isinstance(news, Summary):
            self._link.send(engine_pb2.ToEngine(summary=engine_pb2.Summary(json=news.json)))
            return
        kind, message = _EVENTS[news.happened], news.message[:MESSAGE_MAX]
        self._link.send(engine_pb2.ToEngine(event=engine_pb2.RunEvent(kind=kind, worker=news.worker, message=message)))

    def expect(self, seconds: float, then: Callable[[], None]) -> None:
        """Take a director that is not there by then for one that is gone, and do something: a former master had it."""
        asyncio.get_running_loop().call_later(seconds, self._miss, then)

    def _miss(self, then: Callable[[], None]) -> None:
        then()
        if self._link is None and not self.is_gone:
            self.is_gone = True
            self._listener.on_director_gone("the director did not come back to a master that was started again")

    def pass_on(self, frame: engine_pb2.MessageFrame) -> None:
        """Send a frame of custom messages; what is lost is sent again by the hub."""
        if self._link is not None:
            self._link.send(engine_pb2.ToEngine(messages=frame))

    def renew_lease(self) -> None:
        """Let the launcher keep the director alive; without this it ends with its master."""
        self._order({"do": "lease", "seconds": self._lease_seconds})

    def dismiss(self) -> None:
        """End the director, which may say its last words, and its launcher: the master's pod is over."""
        self._is_dismissed = True
        if self._launcher is None:
            self.launcher_gone.set()
        self._order({"do": "exit", "code": 0, "seconds": LAST_WORDS_SECONDS})

    def kill(self) -> None:
        """Kill the director with all that it has started, now or when its launcher comes: it is owed nothing more."""
        self._is_killed, self._owed = True, None
        self._order({"do": "kill"})

    def on_hello(self, link: EngineLink) -> None:
        """Take the director in, and send it what it is owed."""
        if link.hello.role != engine_pb2.ENGINE_ROLE_DIRECTOR:
            self.on_refused()
            link.close()
            return
        self._link = link
        if self._config is not None:
            link.send(self._config)
        if self._owed is not None:
            link.send(self._owed)

    def on_message(self, link: EngineLink, message: engine_pb2.EngineMessage) -> None:
        """Pass on what the director says; an answer that nobody waits for was given twice."""
        if link is not self._link:
            return
        match message.WhichOneof("kind"):
            case "script":
                script = message.script
                self.has_shape = script.has_shape
                self.handles_messages |= script.handles_messages
                self._listener.on_script(_news(script))
            case "setup":
                self._take_answer(message.setup)
            case "status":
                self._hear_status(message.status)
            case "messages":
                self._listener.on_messages(link.start, message.messages)
            case _:
                self.on_refused()

    def on_refused(self) -> None:
        """Count a connection that was ended, or a message left out, for what was said."""
        self.refused += 1

    def on_gone(self, link: EngineLink) -> None:
        """Forget a connection; the process may live and come again."""
        if link is self._link:
            self._link = None

    def on_launcher_hello(self, link: LauncherLink, event: Event) -> None:  # noqa: ARG002 it says nothing that counts
        """Take the launcher in."""
        self._launcher = link
        self.launcher_gone.clear()
        self.renew_lease()
        if self._is_killed:
            self.kill()

    def on_event(self, event: Event) -> None:
        """Note the end of the director's process."""
        if event["event"] != "exited":
            return
        try:
            ended = exit_of(event)
        except EventError:
            self.on_refused()
            return
        self.is_gone = True
        how = f"signal {ended.signal}" if ended.code is None else f"exit code {ended.code}"
        why = ", out of memory" if ended.out_of_memory else ""
        last = ended.tail.strip().rsplit("\n", 1)[-1]
        self._listener.on_director_gone(f"the director ended with {how}{why}" + (f": {last}" if last else ""))

    def on_launcher_gone(self) -> None:
        """Note that the launcher's connection has ended: at the end of the run this is how it leaves."""
        self._launcher = None
        self.launcher_gone.set()
        if not self._is_dismissed:
            asyncio.get_running_loop().call_later(LAUNCHER_AWAITED_SECONDS, self._miss_launcher)

    def _miss_launcher(self) -> None:
        """Take a director whose launcher does not come back for one that is gone: it has ended with it."""
        if self._launcher is None and not (self.is_gone or self._is_dismissed):
            self.is_gone = True
            self._listener.on_director_gone("the director's launcher has ended, and the director with it")

    def _hear_status(self, status: engine_pb2.EngineStatus) -> None:
        if status.HasField("shape"):
            shape = status.shape
            news = ShapeNews(shape.users, shape.spawn_rate or None, is_over=shape.over, failed=shape.failed[:_TEXT_MAX])
            self._listener.on_shape(news)
        if status.stop_asked:
            self._listener.on_stop_asked(status.stop_asked)
        self.errors = tuple(
            ErrorCount(each.kind, each.message[:_TEXT_MAX], name=each.name[:_TEXT_MAX], count=each.count)
            for each in status.errors
        )
        self.lanes = lane_news(status)

    def _take_answer(self, report: engine_pb2.SetupReport) -> None:
        if self._owed is None or report.teardown != self._is_teardown:
            return
        self._owed = None
        problem = None if report.ok else _news(report).describe()
        if report.teardown:
            self._listener.on_teardown(problem=problem, requests=report.requests)
            return
        if problem is None and len(report.result_json) > SETUP_MAX_BYTES:
            problem = f"setup returned {len(report.result_json)} bytes of JSON; at most {SETUP_MAX_BYTES} are allowed"
        self._listener.on_setup(problem=problem, result_json=report.result_json, requests=report.requests)

    def _order(self, order: dict[str, Any]) -> None:
        if self._launcher is not None:
            self._launcher.send(order)


def _news(report: engine_pb2.ScriptReport | engine_pb2.SetupReport) -> ScriptNews:
    return ScriptNews(report.ok, report.problem[:TEXT_MAX], report.traceback[-TEXT_MAX:])
