"""Bring one run from its plan to its outcome on this machine."""

import asyncio
import contextlib
import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loadstone_core.plan.model import RunPlan
from loadstone_core.spec.model import Tls
from loadstone_protocol.follower import Follower, MasterUnreachable
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.local.folders import Folders, make_folders, read_address
from loadstone_runner.local.processes import Command, Processes
from loadstone_runner.local.wishes import Wishes
from loadstone_runner.master.log_reading import whole
from loadstone_runner.transport.http.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from loadstone_runner.local.control import LocalControl

MASTER_START_SECONDS = 20.0
MASTER_RESTARTS = 5
END_SECONDS = 10.0
ROWS_SECONDS = 5.0
LOOPBACK = "127.0.0.1:0"


@dataclass(frozen=True, slots=True)
class LocalResult:
    """How a local run ended."""

    outcome: pb.RunOutcome
    report: pb.RunReport
    report_gzip: bytes  # empty when the master was lost
    rows_left: tuple[pb.Row, ...] = ()  # closed seconds that nobody has taken in time


@dataclass(slots=True)
class LocalRun:
    """One run: its plan, the script's files, and what the engines get as environment.

    Attributes:
        keep_logs: leave the temporary folder, with all that each process has printed.
        log_file: where the whole log is written when everything has ended, as gzip text.
        log_error: why it could not be, if it could not; the run has its result all the same.
        metrics: where a process serves its metrics, `host:port` by role (master, agent-0); without one it does not.
        on_row: is given each closed second; a slow one delays the next rows and nothing else, and is cancelled when the
            run is over: the row that it has not taken by then is the first of those that are left.
        control: path of the Unix socket at which the control API is served; None for none.
    """

    plan: RunPlan
    files: Mapping[str, bytes]
    environment: Mapping[str, str]
    on_report: Callable[[pb.RunReport], None]
    keep_logs: bool = False
    log_file: Path | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)
    on_row: Callable[[pb.Row], Awaitable[None]] | None = None
    control: str | None = None
    log_error: OSError | None = field(init=False, default=None)
    _stops: int = 0
    _restarts: int = 0
    _second_due: int = 0
    _wishes: Wishes = field(init=False)
    _steered: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Begin without any wish."""
        self._wishes = Wishes(self.plan)

    def stop(self, *, is_immediate: bool = False) -> None:
        """Ask for a stop: once, iterations may finish; twice, or an immediate one, they get ten seconds."""
        self._stops += 1
        is_immediate = is_immediate or self._stops > 1
        self.wish(lambda wishes: wishes.stop(is_immediate=is_immediate))

    def wish(self, change: Callable[[Wishes], None]) -> None:
        """Change what is wanted of the run; raise WishRefused for what cannot be."""
        change(self._wishes)
        self._steered.set()

    async def run(self) -> LocalResult:
        """Start everything, follow the master to the outcome, keep the report, end everything."""
        folders = make_folders(files=self.files, workers=self.plan.workers)
        script = replace(self.plan.script, directory=str(folders.script))
        # All sockets are on loopback, nobody here signs certificates, and no process of a worker is started again.
        plan = replace(self.plan, script=script, tls=Tls.DISABLED, has_replacements=False)
        processes = Processes()
        try:
            folders.run_file.write_text(plan.to_json())
            async with self._controlled() as control:
                try:
                    return await self._follow(folders, processes, control)
                finally:
                    # Whoever has heard of the outcome may ask for the report meanwhile.
                    await asyncio.shield(processes.end(END_SECONDS))
        finally:
            if self.log_file is not None:
                self.log_error = _write_log(folders.master / "log", self.log_file)
            if not self.keep_logs:
                folders.remove()

    async def _follow(self, folders: Folders, processes: Processes, control: "LocalControl | None") -> LocalResult:
        await processes.start(self._master(folders))
        await processes.start(self._director(folders))
        for worker in range(self.plan.workers):
            await processes.start(self._launcher(folders, worker))
        address = await self._address(folders, processes)
        if address is None:
            return await self._give_up(pb.RunReport(), processes, control)
        for worker in range(self.plan.workers):
            await processes.start(self._agent(folders, worker, address))
        identity = self.plan.run
        follower = Follower(address, identity.uid, identity.epoch)
        if control is not None:
            control.follower = follower
        rows = asyncio.create_task(self._pass_rows_on(follower))
        beside = [asyncio.create_task(self._steer(follower)), rows]
        beside += [asyncio.create_task(self._attend(worker, processes)) for worker in range(self.plan.workers)]
        try:
            return await self._watch(follower, folders, processes, rows=rows, control=control)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            if control is not None:
                control.follower = None
            await follower.close()

    async def _attend(self, worker: int, processes: Processes) -> None:
        """Tell the master when both processes of a worker have ended: nobody else does if its agent cannot."""
        roles = (f"agent-{worker}", f"worker-{worker}")
        waiting = [asyncio.ensure_future(processes.wait(role)) for role in roles]
        try:
            await waiting[0]
            # Without its agent nobody hears of what its engines do, and nobody ends them.
            processes.kill(roles[1])
            await waiting[1]
        finally:
            for each in waiting:
                each.cancel()
        code = processes.exit_code(roles[0]) or 0
        message = f"the agent of worker {worker} ended with {_how(code)}"
        if last_words := processes.tail(roles[0]):
            message = f"{message}; its last lines: {last_words}"
        end = pb.WorkerEnd(worker=worker, attempt=1, reason="AgentDied", message=message, exit_code=abs(code))
        self.wish(lambda wishes: wishes.note_end(end))

    async def _watch(
        self,
        follower: Follower,
        folders: Folders,
        processes: Processes,
        *,
        rows: "asyncio.Task[None]",
        control: "LocalControl | None",
    ) -> LocalResult:
        """Pass reports on until one holds the outcome. A master that has ended by itself before is lost."""
        newest = pb.RunReport()
        while True:
            async for report in self._reports(follower, processes):
                newest = report
                self.on_report(report)
                if control is not None:
                    control.newest = report
                if report.HasField("outcome"):
                    # The master may leave once its outcome is stored, and then it shows no rows any more.
                    left = await self._rows_left(follower, rows)
                    if control is not None:
                        await control.tell_all(ROWS_SECONDS)
                    result = await _keep(follower, report)
                    if control is not None:
                        control.report_gzip = result.report_gzip
                    return replace(result, rows_left=left)
            if processes.exit_code("master") is not None and not await self._restart_master(folders, processes):
                return await self._give_up(newest, processes, control)
            await asyncio.sleep(0.1)

    async def _give_up(self, newest: pb.RunReport, processes: Processes, control: "LocalControl | None") -> LocalResult:
        """Return the end of a run whose master is lost, once whoever watches has heard of it."""
        lost = _master_lost(self.plan, newest, processes.tail("master"))
        if control is not None:
            control.newest = lost.report
            await control.tell_all(ROWS_SECONDS)
        return lost

    async def _restart_master(self, folders: Folders, processes: Processes) -> bool:
        """Start a master again that something has killed, as a kubelet would; return whether there is one.

        One that ended by itself has said why, and would do so again.
        """
        if (processes.exit_code("master") or 0) >= 0 or self._restarts >= MASTER_RESTARTS:
            return False
        self._restarts += 1
        await processes.start(self._master(folders))
        return True

    async def _reports(self, follower: Follower, processes: Processes) -> "AsyncIterator[pb.RunReport]":
        """Yield reports until the stream breaks or the master has ended."""
        reports = aiter(follower.watch())
        ended = asyncio.create_task(processes.wait("master"))
        try:
            while True:
                following = asyncio.ensure_future(anext(reports))
                await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    return
                yield following.result()
        except (StopAsyncIteration, MasterUnreachable):
            return
        finally:
            ended.cancel()

    async def _pass_rows_on(self, follower: Follower) -> None:
        """Give each closed second to who wants it, until the run is over."""
        is_over = self.on_row is None
        while not is_over:
            with contextlib.suppress(MasterUnreachable):
                async for message in follower.watch_rows(1, self._second_due):
                    is_over = message.HasField("outcome")
                    if self.on_row is not None and not is_over:
                        await self.on_row(message.row)
                        self._second_due = message.row.second + 1
            await asyncio.sleep(0.1)

    async def _rows_left(self, follower: Follower, passing: "asyncio.Task[None]") -> tuple[pb.Row, ...]:
        """Return the closed seconds of a finished run that who wants them does not take in time."""
        await asyncio.wait({passing}, timeout=ROWS_SECONDS)
        if passing.done():
            return ()
        passing.cancel()
        await asyncio.wait({passing})
        left: list[pb.Row] = []
        with contextlib.suppress(TimeoutError, MasterUnreachable):
            async with asyncio.timeout(ROWS_SECONDS):
                async for message in follower.watch_rows(1, self._second_due):
                    if not message.HasField("row"):
                        break
                    left.append(message.row)
        return tuple(left)

    @contextlib.asynccontextmanager
    async def _controlled(self) -> "AsyncIterator[LocalControl | None]":
        """Serve the control API while the run goes on, if it is wanted; raise ControlError if that cannot be."""
        if self.control is None:
            yield None
            return
        try:
            from loadstone_runner.local.control import LocalControl
        except ModuleNotFoundError as error:
            raise ControlError(f"the control API needs {error.name}: pip install 'loadstone[control]'") from error
        async with LocalControl(self.wish).at(self.control) as control:
            yield control

    async def _steer(self, follower: Follower) -> None:
        """Tell the master of each wish, and of each worker that has ended, until it has heard."""
        told = 0
        while True:
            await self._steered.wait()
            self._steered.clear()
            while told < self._wishes.revision:
                wanted = self._wishes.steering()
                with contextlib.suppress(MasterUnreachable):
                    await follower.steer(wanted)
                    told = wanted.revision
                    continue
                await asyncio.sleep(0.2)

    async def _address(self, folders: Folders, processes: Processes) -> str | None:
        """Return the master's address, or None if it ended or does not come up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MASTER_START_SECONDS
        while loop.time() < deadline and processes.exit_code("master") is None:
            if address := read_address(folders):
                return address
            await asyncio.sleep(0.01)
        return None

    def _master(self, folders: Folders) -> Command:
        return Command(
            role="master",
            arguments=("master",),
            environment={
                "LOADSTONE_RUN_FILE": str(folders.run_file),
                "LOADSTONE_SCRIPT_DIR": str(folders.script),
                "LOADSTONE_LISTEN": LOOPBACK,
                "LOADSTONE_METRICS": self.metrics.get("master", ""),
                "LOADSTONE_SOCKET_DIR": str(folders.director_sockets),
                "LOADSTONE_STATE_DIR": str(folders.master),
                "LOADSTONE_TERMINATION_FILE": str(folders.termination_file("master")),
                "LOADSTONE_LINGER_SECONDS": "0",
            },
            log_file=folders.log_file("master"),
        )

    def _director(self, folders: Folders) -> Command:
        return self._launch(folders, role="director", engine_role="director", sockets=str(folders.director_sockets))

    def _launcher(self, folders: Folders, worker: int) -> Command:
        sockets = str(folders.worker_sockets(worker))
        return self._launch(folders, role=f"worker-{worker}", engine_role="engine", sockets=sockets)

    def _launch(self, folders: Folders, *, role: str, engine_role: str, sockets: str) -> Command:
        return Command(
            role=role,
            arguments=("launcher",),
            environment={
                **self.environment,
                "LOADSTONE_SOCKET_DIR": sockets,
                "LOADSTONE_ENGINES": str(self.plan.engines_per_worker if engine_role == "engine" else 1),
                "LOADSTONE_ONE_MACHINE": "1",
                "LOADSTONE_ENGINE_ROLE": engine_role,
                "LOADSTONE_SCRIPT_DIR": str(folders.script),
                "LOADSTONE_ENTRYPOINT": self.plan.script.entrypoint,
                "LOADSTONE_TARGET": self.plan.target or "",
            },
            # What engines print comes to the master, which bounds it; here it would grow as long as they print.
            log_file=folders.log_file(role) if self.keep_logs else None,
        )

    def _agent(self, folders: Folders, worker: int, address: str) -> Command:
        return Command(
            role=f"agent-{worker}",
            arguments=("agent",),
            environment={
                "LOADSTONE_RUN_UID": self.plan.run.uid,
                "LOADSTONE_EPOCH": str(self.plan.run.epoch),
                "LOADSTONE_WORKER": str(worker),
                "LOADSTONE_ATTEMPT": "1",
                "LOADSTONE_POD": f"worker-{worker}",
                "LOADSTONE_MASTER": address,
                "LOADSTONE_SCRIPT_DIR": str(folders.script),
                "LOADSTONE_ENTRYPOINT": self.plan.script.entrypoint,
                "LOADSTONE_METRICS": self.metrics.get(f"agent-{worker}", ""),
                "LOADSTONE_SOCKET_DIR": str(folders.worker_sockets(worker)),
                "LOADSTONE_TERMINATION_FILE": str(folders.termination_file(f"agent-{worker}")),
                "LOADSTONE_ENGINES": str(self.plan.engines_per_worker),
            },
            log_file=folders.log_file(f"agent-{worker}"),
        )


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _write_log(folder: Path, to: Path) -> OSError | None:
    """Write the log as gzip text; return why it could not be, and leave no part of it then."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(to, "wb", compresslevel=6) as file:
            for text in whole(folder):
                file.write(text)
    except OSError as error:
        with contextlib.suppress(OSError):
            to.unlink(missing_ok=True)
        return error
    return None


async def _keep(follower: Follower, report: pb.RunReport) -> LocalResult:
    """Take the report over and let the master leave; a verdict without its report is a verdict all the same."""
    gzip_json = b""
    with contextlib.suppress(MasterUnreachable):
        gzip_json = await follower.fetch_report()
        await follower.stored(report.outcome.report_sha256)
    return LocalResult(outcome=report.outcome, report=report, report_gzip=gzip_json)


def _master_lost(plan: RunPlan, newest: pb.RunReport, tail: str) -> LocalResult:
    said = f" Its last lines: {tail}" if tail else ""
    message = f"the master of run {plan.run.number} ended before the run did; its results are lost.{said}"
    outcome = pb.RunOutcome(verdict="Error", reason="MasterLost", message=message, exit_code=1)
    report = pb.RunReport()
    report.CopyFrom(newest)
    report.MergeFrom(pb.RunReport(stage=pb.FINISHED, outcome=outcome))
    return LocalResult(outcome=outcome, report=report, report_gzip=b"")
