"""Virtual time and virtual processes: an event loop that jumps to the next timer, on which processes freeze and die.

Every callback runs in a context that says whose it is. A process that was killed never runs again, and nothing of it is
cleaned up, as after SIGKILL; one that is frozen runs what was due meanwhile as soon as it thaws. What connects
processes is `network`.
"""

from __future__ import annotations

import asyncio
import contextvars
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine

SECOND = 1_000_000_000
EPOCH_NS = 1_790_000_000 * SECOND
STALE_TIMERS_LEAST = 100  # as asyncio has it
BEGINNING = 10_000.0  # so that no moment is 0, which means "not yet" in many places

_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Machine:
    """One node: its clocks are not those of others, and go a little faster or slower.

    Of a node that `is_new` they begin at this moment: what came before has negative times there.
    """

    def __init__(self, loop: VirtualTimeLoop, dice: random.Random, *, is_new: bool = False) -> None:
        self._loop = loop
        self._pace = 1 + dice.uniform(-50, 50) / 1_000_000
        self._since_boot_ns = dice.randrange(1, 10**6) * SECOND
        if is_new:
            self._since_boot_ns += SECOND - self.monotonic_ns()

    def monotonic_ns(self) -> int:
        return self._since_boot_ns + round((self._loop.time() - BEGINNING) * self._pace * SECOND)

    boottime_ns = monotonic_ns

    def wall_ns(self) -> int:
        return EPOCH_NS + round((self._loop.time() - BEGINNING) * SECOND)

    def seconds_until(self, monotonic_ns: int) -> float:
        return (monotonic_ns - self.monotonic_ns()) / SECOND / self._pace


class Process:
    """One process of one machine. `on_end` is called with the exit code, or None after a kill."""

    def __init__(self, loop: VirtualTimeLoop, name: str, machine: Machine, address: str) -> None:
        self.name = name
        self.machine = machine
        self.address = address  # of its pod
        self.is_alive = True
        self.is_frozen = False
        self.changed_at = 0.0  # when it was frozen, or thawed
        self.exit_code: int | None = None
        self.on_end: list[Callable[[Process], None]] = []
        self.on_thaw: list[Callable[[], None]] = []
        self.signals: dict[int, Callable[[], None]] = {}
        self.tasks: list[asyncio.Task[Any]] = []
        self._tasks_most = 16
        self._loop = loop
        self._parked: list[_Turn] = []
        self.context = contextvars.Context()
        self.context.run(_process.set, self)
        loop.processes.append(self)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Know a task until it is done, or a little longer."""
        if len(self.tasks) >= self._tasks_most:
            self.tasks = [each for each in self.tasks if not each.done()]
            self._tasks_most = 2 * len(self.tasks) + 16
        self.tasks.append(task)

    def main(self, work: Coroutine[Any, Any, int | None]) -> None:
        """Run until `work` is done; its result is the exit code."""
        task = self.spawn(work)
        task.add_done_callback(self._finished, context=self.context)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something beside the rest of the process."""
        return self.context.copy().run(self._loop.create_task, work)

    def call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """Let something happen in this process, in its next turn."""
        self._loop.call_soon(callback, *arguments, context=self.context.copy())

    def call_later(self, seconds: float, callback: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        when = self._loop.time() + max(0.0, seconds)
        return self._loop.call_at(when, callback, *arguments, context=self.context.copy())

    def signal(self, number: int) -> None:
        """Send a signal; without a handler it ends the process."""
        if self.is_alive and number in self.signals:
            self.call(self.signals[number])
        else:
            self.kill()

    def kill(self) -> None:
        """End the process without another word, as SIGKILL does."""
        if self.is_alive:
            self.is_alive = False
            self._tell_end()

    def end(self, code: int) -> None:
        """End by itself: what is left to do in it is not done any more."""
        if self.is_alive:
            self.exit_code = code
            self.kill()

    def freeze(self) -> None:
        if self.is_alive and not self.is_frozen:
            self.is_frozen, self.changed_at = True, self._loop.time()

    def thaw(self) -> None:
        """Go on; what was due meanwhile is done in order, behind what looks at the clock first."""
        if not self.is_frozen:
            return
        self.is_frozen, self.changed_at = False, self._loop.time()
        for look in self.on_thaw:
            self.call(look)
        self.resume()

    def park(self, turn: _Turn) -> None:
        """Leave something for the moment at which the process goes on."""
        self._parked.append(turn)

    def resume(self) -> None:
        """Do what was due while nothing of the process ran."""
        parked, self._parked = self._parked, []
        self._loop.take(parked)

    @property
    def now(self) -> float:
        """What the loop's clock says, whatever the machine's does."""
        return self._loop.time()

    @property
    def has_come_to_itself(self) -> bool:
        """Whether it runs, and has looked at the clock since it thawed."""
        return self.is_alive and not self.is_frozen and self._loop.time() > self.changed_at

    def _finished(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._loop.complain(f"{self.name} ended with {task}")
            self.end(-1)
        else:
            self.end(task.result() or 0)

    def _tell_end(self) -> None:
        # Whoever is told lives elsewhere, and not in a process that has ended.
        for told in self.on_end:
            self._loop.call_soon(told, self, context=contextvars.Context())


class _Turn(asyncio.TimerHandle):
    """A callback that runs only while its process does."""

    __slots__ = ("_process",)

    def __init__(  # all that asyncio's has, which looks for a debugger first
        self, callback: Any, arguments: Any, loop: VirtualTimeLoop, context: contextvars.Context, when: float = 0.0
    ) -> None:
        self._callback = callback
        self._args = arguments
        self._loop = loop
        self._context = context
        self._when = when
        self._scheduled = self._cancelled = False
        self._repr = self._source_traceback = None
        self._process = context.get(_process)

    def _run(self) -> None:
        process = self._process
        if process is not None and (process.is_frozen or not process.is_alive):
            process.park(self)
            return
        try:
            self._context.run(self._callback, *self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 as asyncio has it
            self._loop.call_exception_handler({"message": f"{self._callback} raised", "exception": error})


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """A loop that never waits: when nothing is left to do now, its clock jumps to the next timer."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._now = BEGINNING
        self._dice = dice
        self.processes: list[Process] = []
        self.complaints: list[str] = []
        self.is_buried = False
        self.resolve: Callable[[str], list[str]] = lambda _host: []
        self.listen: Callable[..., Any] = lambda **_: None
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda _loop, context: self.complain(_sentence(context)))

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        """Do what asyncio's does, in its order."""
        ready, scheduled = self._ready, self._scheduled
        if len(scheduled) > STALE_TIMERS_LEAST and self._timer_cancelled_count / len(scheduled) > 0.5:
            self._forget_stale_timers()
            scheduled = self._scheduled
        while scheduled and scheduled[0][1].cancelled():
            self._timer_cancelled_count -= 1
            heappop(scheduled)[1]._scheduled = False
        if not ready and not self._stopping:
            if not scheduled:
                raise RuntimeError("nothing will ever happen any more")
            self._now = max(self._now, scheduled[0][0])
        soon = self._now + self._clock_resolution
        while scheduled and scheduled[0][0] < soon:
            turn = heappop(scheduled)[1]
            turn._scheduled = False
            ready.append(turn)
        for _ in range(len(ready)):
            turn = ready.popleft()
            if not turn._cancelled:
                turn._run()

    def _forget_stale_timers(self) -> None:
        left = []
        for when, turn in self._scheduled:
            turn._scheduled = not turn.cancelled()
            if turn._scheduled:
                left.append((when, turn))
        heapify(left)
        self._scheduled = left
        self._timer_cancelled_count = 0

    def _write_to_self(self) -> None:
        """Nobody else is in this process."""

    def complain(self, what: str) -> None:
        """Note that something happened which must not in a process that lives."""
        process = _process.get()
        if process is None or process.is_alive:
            self.complaints.append(what)

    # Whose is it?

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> asyncio.Handle:
        turn = _Turn(callback, args, self, contextvars.copy_context() if context is None else context)
        self._ready.append(turn)
        return turn

    def call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        turn = _Turn(callback, args, self, contextvars.copy_context() if context is None else context, when)
        turn._scheduled = True
        # Of two of the same moment neither is less than the other.
        heappush(self._scheduled, (when, turn))
        return turn

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def take(self, turns: list[_Turn]) -> None:
        """Do in the next turn what was parked."""
        self._ready.extend(turns)

    def _make_task(self, loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        process = options["context"].get(_process) if options.get("context") is not None else _process.get()
        if process is not None:
            process.keep(task)
        return task

    # What a process asks of its machine.

    def run_in_executor(self, _executor: Any, func: Any, *args: Any) -> Any:
        """Do something on the disk: it takes a moment, sometimes a long one, and is done whole or not at all."""
        future = self.create_future()
        seconds = self._dice.choice((0.001, 0.002, 0.005, 0.02, 0.3))
        self.call_later(seconds, _do, future, func, args)
        return future

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        this_process().signals[sig] = lambda: callback(*args)

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        found = self.resolve(str(host))
        if not found:
            raise OSError(f"nobody is called {host}")
        return [(None, None, 0, "", (address, port)) for address in found]

    async def create_unix_server(self, protocol_factory: Any, path: Any = None, **_: Any) -> Any:
        return self.listen(path=str(path), factory=protocol_factory, process=this_process())

    # The end of a test.

    def bury(self) -> None:
        """End every task of every process, so that nothing of this world is left; what comes of it does not count."""
        self.is_buried = True
        for process in self.processes:
            process.is_alive, process.is_frozen = True, False
            process.on_end.clear()
            process.resume()
        for _ in range(50):
            left = [task for process in self.processes for task in process.tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.sleep(1))
        self.run_until_complete(self.shutdown_asyncgens())
        for process in self.processes:
            for task in process.tasks:
                if task.done() and not task.cancelled():
                    task.exception()
        self.close()


def this_process() -> Process:
    process = _process.get()
    assert process is not None, "this is called from a process"
    return process


def current_process() -> Process | None:
    return _process.get()


def _do(future: asyncio.Future[Any], func: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if future.done():
        return
    try:
        future.set_result(func(*arguments))
    except Exception as error:  # noqa: BLE001 whatever a thread raises comes out where it is awaited
        future.set_exception(error)


def _sentence(context: dict[str, Any]) -> str:
    return f"{context.get('message')}: {context.get('exception')!r}"
