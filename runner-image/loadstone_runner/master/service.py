"""The master's process: reads the plan, listens, keeps time, waits until it may leave, always says its last word."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import signal
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.errors import InternalError, LoadstoneError
from loadstone_core.plan.model import RunPlan
from loadstone_core.spec.defaults import REPLICAS_MOST
from loadstone_core.spec.model import Tls
from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Reason
from loadstone_protocol.codec import WireError, stream_state_from_bytes
from loadstone_protocol.credentials import read_pems
from loadstone_runner.export.prometheus import render
from loadstone_runner.export.scraping import serve_metrics
from loadstone_runner.master import run
from loadstone_runner.master.conclusion import last_word_of
from loadstone_runner.master.conductor import Conductor
from loadstone_runner.master.desk import Desk
from loadstone_runner.master.director import Director
from loadstone_runner.master.director_desk import DirectorDesk
from loadstone_runner.master.log_desk import LogDesk, recall
from loadstone_runner.master.log_store import LogStore
from loadstone_runner.master.store import Store
from loadstone_runner.master.takeover import Kept, await_inheritance, begin_again, keep, resume
from loadstone_runner.master.views import figures_of
from loadstone_runner.settings import Address
from loadstone_runner.system_clock import SystemClock
from loadstone_runner.transport.grpc.server import serve as serve_grpc
from loadstone_runner.transport.local.engines import serve_engines
from loadstone_runner.transport.local.launcher import serve_launcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loadstone_core.clock import Clock
    from loadstone_core.stats.stream import StreamState
    from loadstone_protocol.identity import Pems
    from loadstone_runner.settings import MasterSettings

TICK_SECONDS: Final = 0.25
LEASE_TICKS: Final = 20  # the director's lease is renewed every five seconds
AGENTS_LEAVE_SECONDS: Final = 10.0
LAUNCHER_LEAVES_SECONDS: Final = 5.0
# A sidecar that leaves before the kubelet has seen its pod's end would be started again.
KUBELET_SECONDS: Final = 2.0
LOGS_SECONDS: Final = 15.0
TERMINATED_FINISH_SECONDS: Final = 15.0
TERMINATED_STORE_SECONDS: Final = 5.0
EXIT_SUCCEEDED: Final = 143  # as of a process that SIGTERM has ended
TERMINATION_MAX_BYTES: Final = 4_096  # what a kubelet reads

log = logging.getLogger(__name__)


async def serve(settings: MasterSettings, clock: Clock | None = None) -> int:
    """Run one run to its end and return the exit code: 0 once the outcome is stored or was held long enough."""
    clock = clock or SystemClock()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    last_word = Path(settings.termination_file)
    try:
        plan, store = _prepare(settings)
        kept = _kept(store)
        if kept is not None and kept.register.is_finished:
            log.info("The run was finished by a former start of this master")
            # Whoever looks for a verdict looks at the container's newest end.
            _write(last_word, store.read_last_word() or {"message": ""})
            return 0
        director = Director(plan.lease_ns / SECOND)
        conductor = Conductor(plan, clock=clock, store=store, director=director)
        DirectorDesk(conductor, director)
        logs = _open_logs(settings, conductor, director)
        async with contextlib.AsyncExitStack() as stack:
            # Before anybody can say anything.
            _take_over(conductor, kept, settings, granted=store.read_grants())
            desk = Desk(conductor, clock, logs)
            listen = _former_address(settings.listen, store)
            store.write_address(await _listen(settings, listen, desk=desk, director=director, stack=stack))
            if settings.control is not None:
                from loadstone_runner.master.control import open_control

                await open_control(settings.control, desk, stack)
            if not await _Life(settings, conductor, director, logs).run(stack):
                return EXIT_SUCCEEDED
    except (LoadstoneError, OSError) as error:
        log.error("The master cannot go on: %s", error)  # noqa: TRY400 one sentence is what people need here
        _write(last_word, {"verdict": "Error", "reason": "MasterLost", "message": str(error), "exitCode": 1})
        return 1
    except Exception as error:
        log.exception("The master failed")
        _write(last_word, {"verdict": "Error", "reason": "MasterLost", "message": repr(error), "exitCode": 1})
        return 1
    return 0


class _Life:
    """The time of one master from the first tick to its leave."""

    def __init__(self, settings: MasterSettings, conductor: Conductor, director: Director, logs: LogDesk) -> None:
        self._settings = settings
        self._logs = logs
        self._conductor = conductor
        self._director = director
        self._terminated = asyncio.Event()
        self._scraped = asyncio.Event()

    async def run(self, stack: contextlib.AsyncExitStack) -> bool:
        """Keep time until the run is finished, then wait for everybody who still needs this process.

        Return whether it was; else another master goes on with it.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._terminated.set)
        await self._show_metrics(stack)
        self._conductor.board.show()
        ticking = asyncio.create_task(self._tick())
        try:
            await _first(self._conductor.ending.finished, self._terminated)
            is_decided = self._conductor.ending.finished.is_set() or self._conductor.state.is_killed
            if not is_decided and self._settings.has_successor:
                log.warning("Was told to end before the run did, and leaves it to another master")
                return False
            await self._until_finished()
            self._say_last_word()
            await self._until_stored()
        finally:
            ticking.cancel()
        return True

    async def _tick(self) -> None:
        for number in itertools.count():
            await asyncio.sleep(TICK_SECONDS)
            if number % LEASE_TICKS == 0:
                self._director.renew_lease()
            self._logs.take_in(self._settings.log_dir)
            if self._conductor.ending.finished.is_set():
                continue
            try:
                self._conductor.tick()
            except Exception:
                log.exception("A tick failed")

    async def _until_finished(self) -> None:
        """Make a verdict of what there is if this master is taken away."""
        if not self._conductor.ending.finished.is_set():
            log.warning("Was told to end before the run did")
            message = "the master's pod was deleted or evicted; the load was stopped and the results end there"
            self._conductor.handle(run.Broke(Reason.MASTER_LOST, message, is_immediate=True))
            if not await _within(TERMINATED_FINISH_SECONDS, self._conductor.ending.finished):
                self._give_up()

    def _give_up(self) -> None:
        """Conclude with what there is: the time for everything else is over."""
        while self._conductor.state.stage is not run.Stage.FINISHED:
            self._conductor.handle(run.Overdue())

    async def _until_stored(self) -> None:
        """Wait for followers, agents and Prometheus, each for its time, then let the director's container end."""
        is_hurried = self._terminated.is_set()
        hold = TERMINATED_STORE_SECONDS if is_hurried else self._settings.hold_seconds
        await _within(hold, self._conductor.ending.stored, self._terminated if not is_hurried else None)
        await _within(AGENTS_LEAVE_SECONDS, self._conductor.ending.all_left)
        if self._settings.metrics is not None:
            await _within(self._settings.linger_seconds, self._scraped, self._terminated)
        self._director.dismiss()
        await _within(LAUNCHER_LEAVES_SECONDS, self._director.launcher_gone)
        self._logs.take_in(self._settings.log_dir)
        with contextlib.suppress(TimeoutError):  # a disk that stays full takes no more of them
            async with asyncio.timeout(LOGS_SECONDS):
                await self._logs.finish()
        await _within(min(KUBELET_SECONDS, self._settings.linger_seconds), self._terminated)

    def _say_last_word(self) -> None:
        outcome = self._conductor.ending.outcome
        if outcome is None:
            return
        log.info("The run is over: %s (%s): %s", outcome.verdict, outcome.reason, outcome.message)
        _write(Path(self._settings.termination_file), last_word_of(outcome))

    async def _show_metrics(self, stack: contextlib.AsyncExitStack) -> None:
        listen = self._settings.metrics
        if listen is None:
            return
        server = await serve_metrics(listen.host, listen.port, self._render)
        stack.callback(server.close)

    async def _render(self, accept: str) -> tuple[bytes, str]:
        # Whether this scrape holds the final values is known before it is made.
        seen = self._conductor
        is_final = seen.ending.finished.is_set()
        verdict = seen.ending.outcome.verdict if seen.ending.outcome else ""
        merge = seen.measurement.merge
        run_now = (seen.plan.run, seen.state.stage.value, verdict)
        figures = figures_of(*run_now, roster=seen.roster, merge=merge, director_lanes=seen.director.lanes)
        refused = seen.refused + seen.mail.bad_frames + Counter(director=seen.director.refused)
        page = await render(figures._replace(refused=refused), accept)
        if is_final:
            self._scraped.set()
        return page


def _prepare(settings: MasterSettings) -> tuple[RunPlan, Store]:
    """Return the plan and the store, with the folders in place."""
    Path(settings.socket_dir).mkdir(parents=True, exist_ok=True)
    plan = RunPlan.from_json(Path(settings.run_file).read_text())
    # The plan is its run's, and names the first master of it.
    run = replace(plan.run, epoch=settings.epoch or plan.run.epoch)
    return replace(plan, run=run), Store(Path(settings.state_dir))


def _take_over(
    conductor: Conductor, kept: Kept | None, settings: MasterSettings, *, granted: Mapping[str, Any] | None
) -> None:
    """Let a run be kept, and go on with what was kept of it: by a former start of this master, or by its workers."""
    standing = conductor.relief.standing
    standing.is_sole, standing.has_begun = settings.is_sole, settings.has_begun
    standing.has_successor = settings.has_successor
    if conductor.roster.has_predecessor:
        workers = max(conductor.plan.workers, settings.workers, settings.workers_made)
        conductor.farewells.doubt(workers, settings.attempts)
    keep(conductor)
    conductor.farewells.has_former = kept is not None or granted is not None
    if kept is not None:
        resume(conductor, kept)
    elif conductor.epoch > 1:
        await_inheritance(conductor, workers=settings.workers, made=settings.workers_made)
    elif granted is not None:
        begin_again(conductor, granted)


def _former_address(listen: Address, store: Store) -> Address:
    """Return where to listen: if any port will do, where a former start of this master was, as agents look for it."""
    former = store.read_address().rpartition(":")[2]
    return Address(listen.host, int(former)) if not listen.port and former.isdigit() else listen


def _open_logs(settings: MasterSettings, conductor: Conductor, director: Director) -> LogDesk:
    """Return where logs come in, with what a former start of this master has kept of them."""
    folder = Path(settings.state_dir) / "log"
    recall(conductor.farewells.logs, folder)
    return LogDesk(
        conductor.farewells.logs,
        LogStore(folder),
        exchange=conductor.exchange,
        on_director_kept=director.tell_kept,
    )


async def _listen(
    settings: MasterSettings, listen: Address, *, desk: Desk, director: Director, stack: contextlib.AsyncExitStack
) -> str:
    """Listen for agents and followers, for the director and for its launcher; return the address of the former."""
    sockets = Path(settings.socket_dir)
    pems = _pems(desk.plan, settings)
    most = REPLICAS_MOST if desk.plan.can_resize else desk.plan.workers
    server, port = await serve_grpc(str(listen), desk, workers=most, pems=pems)
    stack.push_async_callback(server.stop, 0.5)
    engines = await serve_engines(sockets / "agent.sock", director)
    stack.callback(engines.close)
    launchers = await serve_launcher(sockets / "launcher.sock", director)
    stack.callback(launchers.close)
    return str(Address(listen.host, port))


def _pems(plan: RunPlan, settings: MasterSettings) -> Pems | None:
    """Return what the master shows and asks for; None where the plan wants no TLS.

    Raises:
        InternalError: the plan wants TLS and there is nothing to show.
        OSError: certificate, key or authority cannot be read.
    """
    if plan.tls is Tls.DISABLED:
        return None
    pems = read_pems(settings.tls_dir)
    if pems is None:
        raise InternalError("the plan asks for TLS, but LOADSTONE_TLS_DIR names no folder with a certificate")
    return pems


def _kept(store: Store) -> Kept | None:
    """Return what a former start of this master has left, None if there was none."""
    register = store.read_register()
    if register is None:
        return None
    return Kept(
        register,
        checkpoint=store.read_checkpoint(),
        grants=store.read_grants(),
        ended=[state for record in store.read_ended() for state in _state_of(record)],
        lost=[(state, record[:1] == b"\1") for record in store.read_lost() for state in _state_of(record[1:])],
    )


def _state_of(record: bytes) -> Iterator[StreamState]:
    """Yield the state that was kept, unless it is damaged."""
    try:
        yield stream_state_from_bytes(record)
    except WireError as error:
        log.warning("Left out a kept state: %s", error)


async def _first(*events: asyncio.Event) -> None:
    """Wait for one of several events."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _within(seconds: float, *events: asyncio.Event | None) -> bool:
    """Wait for one of several events; return whether it came in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _first(*(event for event in events if event is not None))
            return True
    return False


def _write(path: Path, word: dict[str, Any]) -> None:
    """Leave the last word where the kubelet finds it, cut to what it reads."""
    room = TERMINATION_MAX_BYTES - len(json.dumps({**word, "message": ""}))
    message = word["message"]
    while message and len(json.dumps(message)) > room:
        message = message[: len(message) * 3 // 4]
    with contextlib.suppress(OSError):
        path.write_text(json.dumps({**word, "message": message}))
