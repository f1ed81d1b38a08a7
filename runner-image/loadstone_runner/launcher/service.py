"""Run a launcher: one loop around one poll(2), which no engine, reader or agent can hold up.

When engines are killed is decided in `switch`; how they are started and read is in `processes` and `tee`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Any, Final

from loadstone_runner.launcher.cgroup import processor_ns, resident_bytes, this_memory, this_processor
from loadstone_runner.launcher.lanes import LaneStarter
from loadstone_runner.launcher.lease import LeaseFile
from loadstone_runner.launcher.link import AgentLink
from loadstone_runner.launcher.processes import (
    Engine,
    adopt_orphans,
    kill_children,
    start_engine,
)
from loadstone_runner.launcher.spool import Spool
from loadstone_runner.launcher.switch import SECOND_NS, Due, Switch
from loadstone_runner.launcher.tee import Output
from loadstone_runner.open_files import raise_open_files
from loadstone_runner.settings import LAUNCHER_PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_runner.launcher.link import Order
    from loadstone_runner.launcher.processes import Program
    from loadstone_runner.settings import LauncherSettings

EXIT_TERMINATED: Final = 128 + signal.SIGTERM
EXIT_ABANDONED: Final = 1
DIRECTOR: Final = "director"
# The last line of the engine, for whoever asks why it is gone.
KILLED: Final = b"it did not end when it was told to and was killed; a task that never waits lets it hear nothing\n"
AGENT_ABSENT_NS: Final = 60 * SECOND_NS
# The agent gives up on its master long before.
ORDER_AWAITED_NS: Final = 300 * SECOND_NS
USAGE_EVERY_NS: Final = SECOND_NS
LAST_WORDS_NS: Final = SECOND_NS
# Nobody waits longer for a process that the kernel does not let go.
STRAYS_NS: Final = 2 * SECOND_NS


def supervise(settings: LauncherSettings, program: Program) -> int:
    """Start the engines, which run `program`, do as the agent says, and return the exit code once they have ended.

    Engines are forked: nothing of theirs is imported here, and what the launcher needs they need not load again.

    Raises:
        OSError: a process or pipe is not to be had.
        SystemExit: in an engine, with its exit code.
    """
    launcher = Launcher(settings)
    launcher.start(program)
    return launcher.run()


class Launcher:
    """The engines, the agent, the switch and the loop around them."""

    __slots__ = (
        "_all_ended_ns",
        "_engines",
        "_exit_code",
        "_is_tidy",
        "_kills_seen",
        "_lanes",
        "_lease",
        "_link",
        "_memory",
        "_outputs",
        "_poll",
        "_processor",
        "_settings",
        "_spool",
        "_switch",
        "_terminated",
        "_usage_ns",
        "_wakeup",
    )

    def __init__(self, settings: LauncherSettings) -> None:
        self._settings = settings
        self._switch = Switch()
        self._lease = LeaseFile(f"{settings.socket_dir}/lease")
        self._engines: dict[int, Engine] = {}  # by process
        self._outputs = (Output(1), Output(2))
        self._spool = Spool(settings.log_dir, f"{_now_ns():016x}")
        self._memory = this_memory()
        self._processor = this_processor()
        self._kills_seen = self._memory.out_of_memory_kills()
        self._wakeup = _wake_on_signals()
        self._lanes: LaneStarter
        self._link: AgentLink
        self._exit_code: int | None = None
        self._terminated = False
        self._is_tidy = False
        self._all_ended_ns = 0
        self._usage_ns = 0

    def start(self, program: Program) -> None:
        """Start every engine."""
        raise_open_files()
        adopt_orphans()
        limit = self._memory.limit_bytes()
        self._lanes = LaneStarter(program, os.environ)
        for number in range(self._settings.engines):
            engine = start_engine(
                number,
                program=program,
                environment=os.environ,
                outputs=self._outputs,
                spool=self._spool,
                memory_limit_bytes=limit,
            )
            self._engines[engine.pid] = engine
            self._lanes.hear(engine.asking, engine.pid)
        self._link = AgentLink(f"{self._settings.socket_dir}/launcher.sock", _now_ns())

    def run(self) -> int:
        """Go round until there is an exit code."""
        while (code := self._finished(_now_ns())) is None:
            self._step()
        self._flush()
        return code

    def _step(self) -> None:
        """Wait for something to happen or to be due, and do it."""
        ready = self._wait()
        now_ns = _now_ns()
        self._read_signals()
        self._read_engines(ready)
        self._reap(now_ns)
        self._tidy()
        self._lanes.start_some(ready)
        if self._link.fd in ready:
            self._link.write_some(now_ns)
            for order in self._link.read_orders(now_ns):
                self._obey(order, now_ns)
        for descriptor, output in self._by_descriptor():
            if descriptor in ready:
                output.write_some()
        self._link.connect(now_ns, self._greeting())
        self._tell_usage(now_ns)
        self._throw_switch(now_ns)

    def _wait(self) -> set[int]:
        """Return the descriptors on which something can be done."""
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        for engine in self._engines.values():
            for descriptor in engine.sources:
                poll.register(descriptor, select.POLLIN)
        for descriptor in self._lanes.descriptors:
            poll.register(descriptor, select.POLLIN)
        for descriptor, output in self._by_descriptor():
            if output.is_waiting:
                poll.register(descriptor, select.POLLOUT)
        if self._link.fd is not None:
            poll.register(self._link.fd, select.POLLIN | (select.POLLOUT if self._link.wants_to_write else 0))
        return {descriptor for descriptor, _ in poll.poll(self._timeout_ms())}

    def _timeout_ms(self) -> int:
        moments = [self._switch.next_ns() if self._living() else None, self._link.next_try_ns()]
        moments += [self._usage_ns + USAGE_EVERY_NS]
        earliest = min(moment for moment in moments if moment is not None)
        # Rounded up, else the loop would spin for the last fraction.
        return max(0, -((_now_ns() - earliest) // 1_000_000))

    def _read_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            received = os.read(self._wakeup, 512)
            if signal.SIGTERM in received or signal.SIGINT in received:
                self._terminated = True
                self._switch.terminate(_now_ns())

    def _read_engines(self, ready: set[int]) -> None:
        for engine in self._engines.values():
            for descriptor in [descriptor for descriptor in engine.sources if descriptor in ready]:
                if not engine.sources[descriptor].read_some():
                    del engine.sources[descriptor]
                    os.close(descriptor)

    def _reap(self, now_ns: int) -> None:
        """Take note of processes that have ended. As the first process of a container it inherits others' orphans."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._lanes.reaped(ended[0])
                engine = self._engines.get(ended[0])
                if engine is not None and engine.status is None:
                    engine.ended(ended[1])
                    engine.out_of_memory = self._was_out_of_memory(engine)
                    self._all_ended_ns = now_ns
                    self._link.send(self._exited(engine), now_ns)

    def _tidy(self) -> None:
        """When the last engine has ended, kill what engines have left behind in sessions of their own."""
        if not self._is_tidy and not self._living():
            self._is_tidy = not kill_children()

    def _obey(self, order: Order, now_ns: int) -> None:
        match order:
            case {"do": "lease", "seconds": float() | int() as seconds}:
                self._switch.renew(now_ns, seconds=seconds)
                if self._switch.lease_ns is not None:
                    self._lease.write(self._switch.lease_ns)
            case {"do": "deadline", "seconds": float() | int() as seconds}:
                self._switch.limit(now_ns, seconds=seconds)
            case {"do": "kill"}:
                self._switch.limit(now_ns, seconds=0)
            case {"do": "exit", "code": int(code), "seconds": float() | int() as seconds}:
                self._exit_code = code
                self._switch.terminate(now_ns, grace_ns=int(seconds * SECOND_NS))
            case {"do": "exit", "code": int(code)}:
                if why := order.get("why"):
                    self._say(str(why))
                self._exit_code = code
                self._switch.limit(now_ns, seconds=0)
            case _:
                self._say(f"the agent ordered something that is not known here: {order}")

    def _throw_switch(self, now_ns: int) -> None:
        living = self._living()
        if not living:
            return
        due = self._switch.take(now_ns)
        for engine in living:
            if due is Due.TERMINATE:
                engine.terminate()
            elif due is Due.KILL and not engine.was_killed:
                engine.tail.add(KILLED)
                engine.kill()

    def _finished(self, now_ns: int) -> int | None:
        """Return the exit code if there is nothing left to do, None if there is."""
        # Engines whose lease runs make load with right, and end with it.
        if self._link.absent_ns(now_ns) > AGENT_ABSENT_NS and self._switch.lease_ns is None:
            for engine in self._living():
                engine.kill()
            kill_children()
            self._say("the agent was not there for 60 s; its container's log says why")
            return EXIT_ABANDONED
        if self._living() or not (self._is_tidy or now_ns - self._all_ended_ns > STRAYS_NS):
            return None
        if self._exit_code is not None:
            return self._exit_code
        if self._terminated:
            return EXIT_TERMINATED
        # A plain test goes on without its director, and the master would be ended with this container.
        is_needless = self._settings.engine_role == DIRECTOR
        if not is_needless and now_ns - self._all_ended_ns > ORDER_AWAITED_NS:
            self._say("every engine has ended and the agent did not say in time what that means")
            return EXIT_ABANDONED
        return None

    def _living(self) -> list[Engine]:
        return [engine for engine in self._engines.values() if engine.status is None]

    def _greeting(self) -> Iterator[dict[str, Any]]:
        """Say everything that an agent must know that has just been started, too."""
        yield {
            "event": "hello",
            "pid": os.getpid(),
            "engines": self._settings.engines,
            "role": self._settings.engine_role,
            "protocol": LAUNCHER_PROTOCOL,
        }
        for engine in self._engines.values():
            yield {"event": "started", "engine": engine.number, "start": engine.start, "pid": engine.pid}
        yield from (self._exited(engine) for engine in self._engines.values() if engine.status is not None)

    def _exited(self, engine: Engine) -> dict[str, Any]:
        return {
            "event": "exited",
            "engine": engine.number,
            "start": engine.start,
            "code": engine.code,
            "signal": engine.signal,
            "tail": engine.tail.text(),
            "oom": engine.out_of_memory,
        }

    def _was_out_of_memory(self, engine: Engine) -> bool:
        is_kernels_kill = engine.signal == signal.SIGKILL and not engine.was_killed
        return is_kernels_kill and self._memory.out_of_memory_kills() > self._kills_seen

    def _tell_usage(self, now_ns: int) -> None:
        if now_ns - self._usage_ns < USAGE_EVERY_NS:
            return
        self._usage_ns = now_ns
        if self._link.fd is None:
            return
        engines = [(each.number, processor_ns(each.pid), resident_bytes(each.pid)) for each in self._living()]
        lanes = self._lanes.processes
        usage = {
            "event": "usage",
            "cpu_ns": sum(cpu_ns for _, cpu_ns, _ in engines) + sum(map(processor_ns, lanes)),
            "memory_bytes": sum(memory for _, _, memory in engines) + sum(map(resident_bytes, lanes)),
            "memory_limit_bytes": self._memory.limit_bytes(),
            "cgroup_bytes": self._memory.used_bytes(),
            "throttled_ns": self._processor.throttled_ns(),
            "engines": engines,
        }
        self._link.send(usage, now_ns)

    def _flush(self) -> None:
        """Give the readers of the last lines a moment."""
        until_ns = _now_ns() + LAST_WORDS_NS
        while waiting := {fd: output for fd, output in self._by_descriptor() if output.is_waiting}:
            poll = select.poll()
            for descriptor in waiting:
                poll.register(descriptor, select.POLLOUT)
            for descriptor, _ in poll.poll(max(0, (until_ns - _now_ns()) // 1_000_000)):
                waiting[descriptor].write_some()
            if _now_ns() >= until_ns:
                return

    def _by_descriptor(self) -> Iterator[tuple[int, Output]]:
        return enumerate(self._outputs, start=1)

    def _say(self, sentence: str) -> None:
        self._outputs[1].put(f"launcher: {sentence}\n".encode())


def _wake_on_signals() -> int:
    """Return a descriptor on which each signal of interest is a byte, which is how poll(2) hears of them."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reader


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
