"""Run an agent: sockets, signals, timers and the master's connection around a session that decides.

Nothing is decided here but how long the process itself stays.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from loadstone_protocol.codec import WireError
from loadstone_protocol.messages import Peer
from loadstone_protocol.v1 import coordination_pb2
from loadstone_runner.agent import effects as do
from loadstone_runner.agent import messages
from loadstone_runner.agent.clock import RoundTrip
from loadstone_runner.agent.health import Health
from loadstone_runner.agent.mount import script_digest
from loadstone_runner.agent.relay import Relay
from loadstone_runner.agent.session import Session
from loadstone_runner.export.agent_metrics import serve_metrics
from loadstone_runner.transport.grpc.client import MasterClient
from loadstone_runner.transport.local.engines import serve_engines
from loadstone_runner.transport.local.launcher import EventError, exit_of, serve_launcher

if TYPE_CHECKING:
    from loadstone_runner.settings import AgentSettings
    from loadstone_runner.transport.local.launcher import Event, LauncherLink

TICK_SECONDS: Final = 0.1
BEAT_SECONDS: Final = 1.0
LAUNCHER_EXIT_SECONDS: Final = 5.0
SIGTERM_AWAITED_SECONDS: Final = 5.0
VERSION: Final = "0.1.0"


async def serve(settings: AgentSettings) -> int:
    """Run an agent to its end; return 0 if the master holds everything, else 1.

    Raises:
        OSError: the sockets' folder, the script's files or the port for metrics cannot be used.
    """
    agent = Agent(settings)
    try:
        return await agent.run()
    finally:
        agent.leave_last_word()


class Agent:
    """The shell: a LauncherListener and a ClientListener; engines talk to its Relay."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        digest = script_digest(settings.script_dir)
        self._script_digest = digest
        self._peer = Peer(settings.run_uid, settings.worker, settings.attempt, os.urandom(8).hex(), settings.pod)
        self._session = Session(
            worker=settings.worker,
            attempt=settings.attempt,
            engines=settings.engines,
            epoch=settings.epoch,
            script_digest=digest,
            # Microseconds of the machine's life: above every revision of an agent that ran here before.
            first_revision=time.monotonic_ns() // 1_000,
        )
        self._client = MasterClient(settings.master, self)
        self._relay = Relay(
            self._session,
            worker=settings.worker,
            attempt=settings.attempt,
            socket_dir=settings.socket_dir,
            report=self._client.report,
            react=self._react,
        )
        self._health = Health()
        self._launcher: LauncherLink | None = None
        self._launcher_gone = asyncio.Event()
        self._finished = asyncio.Event()
        self._terminated = asyncio.Event()
        self._connection: asyncio.Task[None] | None = None
        self._pings_left = 0
        self._beat_is_due = False

    async def run(self) -> int:
        """Serve engines, launcher and master until it is over; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        sockets = Path(self._settings.socket_dir)
        engines = await serve_engines(sockets / "agent.sock", self._relay)
        launcher = await serve_launcher(sockets / "launcher.sock", self)
        metrics = None
        if self._settings.metrics is not None:
            metrics = await serve_metrics(self._settings.metrics, lambda: self._health.metrics(self._relay))
        self._connection = asyncio.create_task(self._client.run())
        try:
            await self._keep_time()
            await self._see_off()
        finally:
            self._connection.cancel()
            await asyncio.gather(self._connection, return_exceptions=True)
            engines.close()
            launcher.close()
            if metrics is not None:
                metrics.close()
        return 0 if self._session.finish is not None and self._session.finish.is_durable else 1

    def leave_last_word(self) -> None:
        """Write the termination message, which outlives the container."""
        counters = self._relay.all_counters()
        finish = self._session.finish
        word = {
            "worker": self._settings.worker,
            "attempt": self._settings.attempt,
            "durable": finish is not None and finish.is_durable,
            "started": counters.started,
            "completed": counters.completed,
        }
        try:
            Path(self._settings.termination_file).write_text(json.dumps(word))
        except OSError as error:
            _say(f"cannot write the termination message: {error}")

    # What the master says.

    def on_open(self) -> None:
        """Say hello."""
        hello = messages.hello_message(
            self._peer,
            version=VERSION,
            script_digest=self._script_digest,
            engines=self._settings.engines,
            applied=self._session.applied,
            highest_epoch=self._session.highest_epoch,
        )
        self._client.say(hello)

    def on_message(self, message: coordination_pb2.MasterMessage) -> None:
        """Take in what the master says; what cannot be meant is counted and dropped."""
        try:
            self._hear(message)
        except WireError as error:
            self._health.bad_messages += 1
            _say(f"the master sent something that cannot be meant: {error}")
        self._react()

    def on_acknowledged(self, ack: coordination_pb2.StatisticsAck) -> None:
        """Take note of what the master has of a stream."""
        self._session.deliver(ack.stream.engine, ack.stream.start, ack.received)
        if ack.want_full:
            for frame in self._relay.whole_states(ack.stream.engine):
                self._client.report(frame)
        self._react()

    def whole_states(self) -> list[coordination_pb2.StatisticsFrame]:
        """Return everything that engines have reported."""
        return self._relay.whole_states()

    def on_closed(self, why: str) -> None:
        """Note that there is no master."""
        self._health.connection_lost(why)
        self._session.disconnect()
        self._react()

    def _hear(self, message: coordination_pb2.MasterMessage) -> None:
        session, now_ns = self._session, _boottime_ns()
        match message.WhichOneof("kind"):
            case "ack":
                session.acknowledge(message.ack.number, message.ack.epoch, now_ns)
            case "pong":
                self._on_pong(message.pong)
            case "config":
                session.offer(messages.common_from_message(message.config), now_ns)
            case "assignment":
                session.assign(messages.assignment_from_message(message.assignment))
            case "welcome":
                self._health.connections += 1
                session.welcome(message.welcome.epoch, message.welcome.lease_ns)
            case "refused":
                _say(f"the master refused this worker: {message.refused.detail}")
                session.refuse(messages.refusal_from_message(message.refused), now_ns)
            case "leave":
                session.leave(now_ns, is_run_over=message.leave.run_over)
            case _:
                raise WireError("a message of the master says nothing that is known here")

    def _on_pong(self, pong: coordination_pb2.Pong) -> None:
        trip = RoundTrip(pong.sent_ns, pong.master_ns, time.monotonic_ns())
        self._session.pong(trip)
        if self._pings_left:
            self._ping()

    # What the launcher says.

    def on_launcher_hello(self, link: LauncherLink, event: Event) -> None:  # noqa: ARG002 nothing in it decides
        """Begin with the launcher."""
        self._launcher = link
        self._launcher_gone.clear()
        self._session.meet_launcher(_boottime_ns())
        self._react()

    def on_event(self, event: Event) -> None:
        """Take in what the launcher reports."""
        match event:
            case {"event": "exited"}:
                ended = exit_of(event)
                if not self._session.know(ended.engine, ended.start):
                    raise EventError("the launcher speaks of an engine that this worker does not have")
                end = do.ProcessEnd(
                    exit_code=ended.code or 0,
                    signal=ended.signal or 0,
                    tail=ended.tail,
                    is_out_of_memory=ended.out_of_memory,
                )
                self._session.bury(ended.engine, ended.start, end, now_ns=_boottime_ns())
            case {"event": "started", "engine": int(engine), "start": int(start)}:
                self._session.know(engine, start)
            case {
                "event": "usage",
                "cpu_ns": int(cpu_ns),
                "memory_bytes": int(memory),
                "memory_limit_bytes": int(limit),
            }:
                self._health.engines_use(cpu_ns, memory, limit, now_ns=_boottime_ns())
        self._react()

    def on_launcher_gone(self) -> None:
        """Note that the launcher's connection has ended."""
        self._launcher = None
        self._launcher_gone.set()
        self._session.miss_launcher(_boottime_ns())
        self._react()

    # What is to be done.

    def _react(self) -> None:
        """Carry out what the session wants, and what it then wants because of that."""
        while wanted := self._session.take():
            for effect in wanted:
                self._carry_out(effect)

    def _carry_out(self, effect: do.Effect) -> None:  # noqa: C901, PLR0912 one line for each effect there is
        match effect:
            case do.Configure():
                self._relay.configure(effect)
            case do.Beat():
                self._beat_soon()
            case do.Pings(count):
                self._pings_left += count
                self._ping()
            case do.RetellStates():
                self._client.open_statistics(coordination_pb2.StatisticsFrame(peer=messages.peer_message(self._peer)))
            case do.Conclude(engine, start):
                counters = self._relay.counters(engine, start)
                self._session.conclude(engine, start, counters, now_ns=_boottime_ns())
            case do.SayEnd(end):
                self._client.say(coordination_pb2.AgentMessage(engine_end=messages.end_message(end)))
            case do.SayBye(ends, reason):
                self._client.say(messages.bye_message(ends, reason))
            case do.HangUp():
                self._client.hang_up()
            case do.Lease(seconds):
                self._order(do="lease", seconds=seconds)
            case do.Deadline(seconds):
                self._order(do="deadline", seconds=seconds)
            case do.Finish(exit_code):
                self._order(do="exit", code=exit_code)
                self._finished.set()
            case _:
                assert_never(effect)

    def _order(self, **order: object) -> None:
        if self._launcher is not None:
            self._launcher.send(order)

    def _ping(self) -> None:
        """Ask for the master's clock; the next question follows the answer, so that no two share a round trip."""
        self._pings_left -= 1
        self._client.say(messages.ping_message(time.monotonic_ns()))

    def _beat_soon(self) -> None:
        """Send one heartbeat for everything that happens in this turn of the loop."""
        if not self._beat_is_due:
            self._beat_is_due = True
            asyncio.get_running_loop().call_soon(self._beat)

    def _beat(self) -> None:
        self._beat_is_due = False
        summary = self._session.summary(_boottime_ns())
        self._health.heartbeats += 1
        self._health.clock_offset_ns = summary.offset_ns
        applied = summary.applied
        beat = coordination_pb2.Heartbeat(
            number=summary.number,
            sent_ns=time.monotonic_ns(),
            applied=messages.version_message(applied),
            applied_sha256=bytes.fromhex(applied.digest) if applied is not None else b"",
            assignment=summary.assignment,
            engines=self._relay.summaries(summary),
            cpu_permille=self._health.cpu_permille,
            memory_bytes=self._health.memory_bytes(self._relay),
            memory_limit_bytes=self._health.memory_limit_bytes,
            clock_offset_ns=summary.offset_ns,
            round_trip_ns=summary.round_trip_ns,
            conflict=bool(summary.conflict),
            conflict_detail=summary.conflict,
            draining=summary.is_draining,
        )
        self._client.say(coordination_pb2.AgentMessage(heartbeat=beat))
        self._react()

    # Time, and the end.

    async def _keep_time(self) -> None:
        """Tick and beat until the session is over."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time() + BEAT_SECONDS
        while not self._finished.is_set():
            due = loop.time() + TICK_SECONDS
            await _wait(self._finished, TICK_SECONDS)
            self._health.lag_seconds = max(0.0, loop.time() - due)
            if self._session.is_refused and self._connection is not None:
                self._connection.cancel()
            if loop.time() >= next_beat:
                next_beat = max(next_beat + BEAT_SECONDS, loop.time())
                self._beat_soon()
            self._session.tick(_boottime_ns())
            self._react()

    async def _see_off(self) -> None:
        """Stay until the launcher has gone and, as a container, until the kubelet says so.

        A native sidecar that exits while the kubelet still sees its pod's container running would be started again.
        """
        if self._launcher is not None:
            await _wait(self._launcher_gone, LAUNCHER_EXIT_SECONDS)
        if os.getpid() == 1:
            await _wait(self._terminated, SIGTERM_AWAITED_SECONDS)

    def _on_signal(self) -> None:
        self._terminated.set()
        self._session.terminate(_boottime_ns())
        self._react()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _say(sentence: str) -> None:
    sys.stderr.write(f"agent: {sentence}\n")
