"""Run an agent: sockets, signals, timers and the master's connection around a session that decides.

Nothing is decided here but how long the process itself stays.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from loadstone_core.stats.stream import Counters
from loadstone_runner.agent import effects as do
from loadstone_runner.agent.health import Health
from loadstone_runner.agent.logs import LogShipper
from loadstone_runner.agent.mount import script_digest
from loadstone_runner.agent.relay import Relay
from loadstone_runner.agent.session import Session
from loadstone_runner.agent.uplink import Uplink
from loadstone_runner.agent.usage import reading_of
from loadstone_runner.export.agent_metrics import render
from loadstone_runner.export.scraping import serve_metrics
from loadstone_runner.system_clock import SystemClock
from loadstone_runner.transport.local.engines import serve_engines
from loadstone_runner.transport.local.launcher import EventError, are_numbers, exit_of, serve_launcher

if TYPE_CHECKING:
    from loadstone_core.clock import Clock
    from loadstone_runner.settings import AgentSettings
    from loadstone_runner.transport.local.launcher import Event, LauncherLink

TICK_SECONDS: Final = 0.1
BEAT_SECONDS: Final = 1.0
LAUNCHER_EXIT_SECONDS: Final = 5.0
SIGTERM_AWAITED_SECONDS: Final = 5.0


async def serve(settings: AgentSettings, clock: Clock | None = None) -> int:
    """Run an agent to its end; return 0 if the master holds everything, else 1.

    Whatever happens, the termination message is written: it outlives the container.
    """
    agent = None
    try:
        agent = Agent(settings, clock or SystemClock())
        return await agent.run()
    except OSError as error:
        _say(f"it cannot start, as a file, socket or port that it needs is not to be had: {error}")
        return 1
    finally:
        _leave_last_word(settings, agent)


class Agent:
    """The shell around a session, and a LauncherListener; the Relay listens to engines, the Uplink to the master."""

    def __init__(self, settings: AgentSettings, clock: Clock) -> None:
        """Read the script that is mounted; raise OSError if a file of it cannot be read."""
        self._settings = settings
        self._clock = clock
        self._health = Health()
        digest = script_digest(settings.script_dir)
        self._session = Session(
            worker=settings.worker,
            attempt=settings.attempt,
            engines=settings.engines,
            epoch=settings.epoch,
            script_digest=digest,
            # Microseconds of the machine's life: above every revision of an agent that ran here before.
            first_revision=clock.monotonic_ns() // 1_000,
        )
        self._uplink = Uplink(
            settings, self._session, clock=clock, health=self._health, script_digest=digest, react=self._react
        )
        self._relay = Relay(
            self._session,
            settings,
            clock=clock,
            report=self._uplink.report,
            react=self._react,
        )
        for engine, start in self._relay.left_behind():
            self._session.know(engine, start)
        self._logs = LogShipper(
            settings.log_dir, self._uplink.bulk, on_kept=self._relay.tell_kept, on_settled=self._on_logs_settled
        )
        self._launcher: LauncherLink | None = None
        self._launcher_gone = asyncio.Event()
        self._finished = asyncio.Event()
        self._terminated = asyncio.Event()

    @property
    def is_durable(self) -> bool:
        """Whether the master holds everything that this worker did."""
        return self._session.finish is not None and self._session.finish.is_durable

    def counters(self) -> Counters:
        """Return what this worker is known to have done."""
        return self._relay.all_counters()

    async def run(self) -> int:
        """Serve engines, launcher and master until it is over; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        sockets = Path(self._settings.socket_dir)
        engines = await serve_engines(sockets / "agent.sock", self._relay)
        launcher = await serve_launcher(sockets / "launcher.sock", self)
        metrics = None
        listen = self._settings.metrics
        if listen is not None:
            metrics = await serve_metrics(
                listen.host, listen.port, lambda _accept: render(self._health.metrics(self._relay))
            )
        self._uplink.connect(self._relay)
        try:
            await self._keep_time()
            await self._see_off()
        finally:
            await self._uplink.close()
            engines.close()
            launcher.close()
            if metrics is not None:
                metrics.close()
        return 0 if self.is_durable else 1

    # What the launcher says.

    def on_launcher_hello(self, link: LauncherLink, event: Event) -> None:  # noqa: ARG002 nothing in it decides
        """Begin with the launcher."""
        self._launcher = link
        self._launcher_gone.clear()
        self._session.meet_launcher(self._clock.boottime_ns())
        self._react()

    def on_event(self, event: Event) -> None:
        """Take in what the launcher reports."""
        match event:
            case {"event": "exited"}:
                # All that it wrote is in the spool by now, and its end, too.
                self._ship_logs()
                ended = exit_of(event)
                if not self._session.know(ended.engine, ended.start):
                    raise EventError("the launcher speaks of an engine that this worker does not have")
                end = do.ProcessEnd(
                    exit_code=ended.code or 0,
                    signal=ended.signal or 0,
                    tail=ended.tail,
                    is_out_of_memory=ended.out_of_memory,
                )
                self._session.bury(ended.engine, ended.start, end, now_ns=self._clock.boottime_ns())
            case {"event": "started", "engine": int(engine), "start": int(start)} if are_numbers(engine, start):
                self._session.know(engine, start)
            case {"event": "usage"}:
                reading = reading_of(event, self._clock.boottime_ns())
                if reading is not None:
                    self._health.usage.take(reading)
        self._react()

    def on_refused(self) -> None:
        """Count a connection that was ended for what was said on it."""
        self._health.bad_messages += 1

    def on_launcher_gone(self) -> None:
        """Note that the launcher's connection has ended."""
        self._launcher = None
        self._launcher_gone.set()
        self._ship_logs()
        self._session.miss_launcher(self._clock.boottime_ns())
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
            case do.Act.BEAT:
                self._uplink.beat_soon()
            case do.Pings(times):
                self._uplink.ask_for_time(times)
            case do.Act.RETELL_STATES:
                self._uplink.open_streams()
            case do.Conclude(engine, start):
                counters = self._relay.counters(engine, start)
                self._session.conclude(engine, start, counters, now_ns=self._clock.boottime_ns())
            case do.SayEnd(end):
                self._uplink.say_end(end)
            case do.SayBye():
                self._uplink.say_bye(effect, self._logs.ends())
            case do.Act.BEQUEATH:
                self._uplink.bequeath()
            case do.HangUp(why):
                self._uplink.hang_up(why)
            case do.Lease(seconds):
                self._order(do="lease", seconds=seconds)
            case do.Deadline(seconds):
                self._order(do="deadline", seconds=seconds)
            case do.Finish(exit_code):
                self._order(do="exit", code=exit_code)
                self._finished.set()
            case _:
                assert_never(effect)

    def _on_logs_settled(self) -> None:
        self._ship_logs()
        self._react()

    def _ship_logs(self) -> None:
        self._logs.pump()
        self._session.owe_logs(owes=self._logs.owes)

    def _order(self, **order: object) -> None:
        if self._launcher is not None:
            self._launcher.send(order)

    # Time, and the end.

    async def _keep_time(self) -> None:
        """Tick and beat until the session is over."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time() + BEAT_SECONDS
        while not self._finished.is_set():
            due = loop.time() + TICK_SECONDS
            await _wait(self._finished, TICK_SECONDS)
            self._health.late(max(0.0, loop.time() - due))
            self._uplink.check()
            if self._session.is_refused:
                self._uplink.leave()
            if loop.time() >= next_beat:
                next_beat = max(next_beat + BEAT_SECONDS, loop.time())
                self._uplink.beat_soon()
            self._ship_logs()
            self._session.tick(self._clock.boottime_ns())
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
        self._session.terminate(self._clock.boottime_ns())
        self._react()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _leave_last_word(settings: AgentSettings, agent: Agent | None) -> None:
    counters = agent.counters() if agent is not None else Counters()
    word = {
        "worker": settings.worker,
        "attempt": settings.attempt,
        "durable": agent is not None and agent.is_durable,
        "started": counters.started,
        "completed": counters.completed,
    }
    try:
        Path(settings.termination_file).write_text(json.dumps(word))
    except OSError as error:
        _say(f"the termination message cannot be written: {error}")


def _say(sentence: str) -> None:
    sys.stderr.write(f"agent: {sentence}\n")
