"""Stand between engines and master: keep what engines report, pass it on, pass configurations down.

Decisions are the session's; the sockets are `transport`'s.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadstone_core.errors import WorldError
from loadstone_core.stats.stream import Counters, read_counters
from loadstone_protocol.codec import WireError
from loadstone_protocol.messages import EngineStage
from loadstone_protocol.v1 import coordination_pb2, engine_pb2
from loadstone_runner.agent import messages
from loadstone_runner.agent.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadstone_core.clock import Clock
    from loadstone_protocol.v1 import statistics_pb2
    from loadstone_runner.agent.effects import Configure, Summary
    from loadstone_runner.agent.session import Session
    from loadstone_runner.agent.usage import Usage
    from loadstone_runner.settings import AgentSettings
    from loadstone_runner.spool import LogStream
    from loadstone_runner.transport.local.engines import EngineLink

Stream = tuple[int, int]  # (engine, start)

STATUS_EVERY_NS: Final = 1_000_000_000
STATUS_MISSED_NS: Final = 2_000_000_000  # who reports each second may be a little late
_COUNTERS_FILE: Final = re.compile(r"engine-(?P<engine>\d{1,9})-(?P<start>\d{1,9})\.counters")
_WITH_LOOP: Final = frozenset(
    {engine_pb2.EngineStatus.READY, engine_pb2.EngineStatus.RUNNING, engine_pb2.EngineStatus.STOPPING}
)


class Relay:
    """The engines' side of an agent, an EngineListener, and the Passage of its messages.

    Attributes:
        bad_messages: how many messages of engines were refused.
        pass_on: sends a frame of custom messages up.
    """

    def __init__(
        self,
        session: Session,
        settings: AgentSettings,
        *,
        clock: Clock,
        report: Callable[[coordination_pb2.StatisticsFrame], None],
        react: Callable[[], None],
    ) -> None:
        """Begin without engines; `report` sends a frame up, `react` carries out what the session wants done."""
        self.bad_messages = 0
        self._session = session
        self._clock = clock
        self._worker = settings.worker
        self._attempt = settings.attempt
        self._socket_dir = Path(settings.socket_dir)
        self._log_dir = settings.log_dir
        self._report = report
        self.pass_on: Callable[[engine_pb2.MessageFrame], None] = _drop
        self._react = react
        self._links: dict[Stream, EngineLink] = {}
        self._ledgers: dict[Stream, Ledger] = {}
        self._statuses: dict[Stream, engine_pb2.EngineStatus] = {}
        self._heard_ns: dict[Stream, int] = {}
        self._scripts: dict[Stream, engine_pb2.ScriptReport] = {}
        self._untold: set[Stream] = set()  # whose status no heartbeat has had yet

    def on_hello(self, link: EngineLink) -> None:
        """Begin with an engine; one that is no engine of this worker is sent away."""
        if link.hello.role != engine_pb2.ENGINE_ROLE_ENGINE or not self._session.join(link.engine, link.start):
            self.bad_messages += 1
            link.close()
            return
        self._links[_stream(link)] = link
        self._react()

    def on_message(self, link: EngineLink, message: engine_pb2.EngineMessage) -> None:
        """Keep and pass on what an engine says; what cannot be meant is counted and dropped."""
        if self._links.get(_stream(link)) is not link:
            return
        match message.WhichOneof("kind"):
            case "state":
                self._hold(link, message.state)
            case "status":
                self._keep(_stream(link), message.status)
                self._session.report(link.engine, link.start, messages.status_from_message(message.status))
            case "messages":
                # Whose it is is what the connection says; what is in it is known at its ends only.
                message.messages.engine, message.messages.start = link.engine, link.start
                self.pass_on(message.messages)
                return
            case "script":
                self._scripts[_stream(link)] = message.script
                self._session.hear_script()
            case _:
                self.bad_messages += 1
        self._react()

    def on_refused(self) -> None:
        """Count a connection that was ended for what was said on it."""
        self.bad_messages += 1

    def on_gone(self, link: EngineLink) -> None:
        """Note that an engine's newest connection has ended."""
        if self._links.get(_stream(link)) is link:
            del self._links[_stream(link)]
            self._session.part(link.engine, link.start, self._clock.boottime_ns())
            self._react()

    def configure(self, told: Configure) -> None:
        """Tell an engine what is wanted of it."""
        link = self._links.get((told.engine, told.start))
        if link is not None:
            link.send(messages.config_message(told, worker=self._worker, attempt=self._attempt))

    def on_frame(self, frame: engine_pb2.MessageFrame) -> None:
        """Pass custom messages on to the engine that they are for."""
        link = self._links.get((frame.engine, frame.start))
        if link is not None:
            link.send(engine_pb2.ToEngine(messages=frame))

    def on_begin(self) -> None:
        """Let engines send again what may be lost: the connection to the master is a new one."""
        for link in self._links.values():
            link.send(engine_pb2.ToEngine(messages=engine_pb2.MessageFrame(rewind=True)))

    def tell_kept(self, stream: LogStream, number: int, is_lost: bool) -> None:  # noqa: FBT001 called by position
        """Tell an engine what became of the lines before a mark of its own."""
        link = self._links.get((stream.engine, stream.start))
        if link is not None:
            link.send(messages.kept_message(number, is_lost=is_lost))

    def whole_states(self, engine: int | None = None) -> list[coordination_pb2.StatisticsFrame]:
        """Return the whole state of every stream, or of one engine's."""
        return [
            messages.whole_state(ledger)
            for (number, _), ledger in self._ledgers.items()
            if ledger.sequence and engine in {None, number}
        ]

    def summaries(self, summary: Summary, usage: Usage) -> Iterator[coordination_pb2.EngineSummary]:
        """Yield what a heartbeat says of each engine; of its script only until it is ready."""
        for stream in summary.engines:
            status = self._statuses.get(stream)
            self._untold.discard(stream)
            is_loading = status is None or messages.status_from_message(status).stage is EngineStage.LOADING
            yield coordination_pb2.EngineSummary(
                engine=stream[0],
                start=stream[1],
                status=None if status is None else self._aged(stream, status),
                script=self._scripts.get(stream) if is_loading else None,
                started_at_ns=summary.started_at_ns.get(stream, 0),
                cpu_permille=usage.cpu_permille(stream[0]),
            )

    def counters(self, engine: int, start: int) -> Counters | None:
        """Return what an engine's counters file says; None if it cannot be known.

        An engine that never connected and left no file has sent nothing.
        """
        path = self._socket_dir / f"engine-{engine}-{start}.counters"
        with contextlib.suppress(OSError, WorldError):
            return read_counters(path.read_bytes())
        return None if path.exists() or (engine, start) in self._statuses else Counters()

    def left_behind(self) -> list[Stream]:
        """Return the engines whose counters files are there; at this agent's beginning, those of one before it."""
        names = (_COUNTERS_FILE.fullmatch(path.name) for path in self._socket_dir.iterdir())
        return sorted((int(name["engine"]), int(name["start"])) for name in names if name)

    def all_counters(self) -> Counters:
        """Return the sum of what is known of all engines now."""
        known = [self.counters(view.engine, view.start) or Counters() for view in self._session.engines]
        return Counters(started=sum(each.started for each in known), completed=sum(each.completed for each in known))

    def spool_bytes(self) -> int:
        """Return how much lies in the folders that engines and agent share: counters, and what waits of the log."""
        return _bytes_in(self._socket_dir) + _bytes_in(self._log_dir)

    def engine_memory_bytes(self) -> int:
        """Return the engines' memory as they know it."""
        return sum(status.memory_bytes for status in self._statuses.values())

    def users(self) -> int:
        """Return how many users live."""
        return sum(status.users for status in self._statuses.values())

    def largest_lag_ns(self) -> int:
        """Return the largest loop lag of the engines' last second."""
        return max((self._aged(*each).loop_lag_ns for each in self._statuses.items()), default=0)

    def lanes(self) -> Iterator[tuple[int, engine_pb2.LaneState]]:
        """Yield each engine with each of its lanes."""
        for (engine, _), status in sorted(self._statuses.items()):
            for lane in status.lanes:
                yield engine, lane

    def _aged(self, stream: Stream, status: engine_pb2.EngineStatus) -> engine_pb2.EngineStatus:
        """Return a status with the lag of an engine that does not come to say anything: its code holds the loop."""
        silent_ns = self._clock.monotonic_ns() - self._heard_ns[stream]
        late_ns = silent_ns - STATUS_EVERY_NS
        if (
            silent_ns < STATUS_MISSED_NS
            or late_ns <= status.loop_lag_ns
            or status.stage not in _WITH_LOOP
            or stream not in self._links
        ):
            return status
        aged = engine_pb2.EngineStatus()
        aged.CopyFrom(status)
        aged.loop_lag_ns = late_ns
        return aged

    def _keep(self, stream: Stream, status: engine_pb2.EngineStatus) -> None:
        """Keep the newest status; what was late or lacking is kept until a heartbeat has said it."""
        if stream in self._untold:
            untold = self._statuses[stream]
            status.loop_lag_ns = max(status.loop_lag_ns, untold.loop_lag_ns)
            status.schedule_slip_ns = max(status.schedule_slip_ns, untold.schedule_slip_ns)
            status.exhausted += untold.exhausted
        self._statuses[stream] = status
        self._heard_ns[stream] = self._clock.monotonic_ns()
        self._untold.add(stream)

    def _hold(self, link: EngineLink, state: statistics_pb2.StreamState) -> None:
        # Who it is from is what the connection says, never what the engine writes.
        state.stream.worker, state.stream.attempt = self._worker, self._attempt
        state.stream.engine, state.stream.start = link.engine, link.start
        try:
            piece = messages.piece_of(state)
        except WireError:
            self.bad_messages += 1
            return
        if self._ledgers.setdefault(_stream(link), Ledger()).put(piece):
            self._session.hold(
                link.engine,
                link.start,
                sequence=state.sequence,
                is_final=state.final,
                first_start_ns=state.first_start_ns,
            )
            self._report(coordination_pb2.StatisticsFrame(state=state))
        link.send(messages.received_message(state.sequence))


def _stream(link: EngineLink) -> Stream:
    return link.engine, link.start


def _drop(_frame: engine_pb2.MessageFrame) -> None:
    """Lose a frame, as there is no way up yet; its engine says it again."""


def _bytes_in(folder: str | Path) -> int:
    """Return how large the files in a folder are, as far as they are still there."""
    size = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(FileNotFoundError):
                size += entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
    return size
