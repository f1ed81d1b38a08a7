"""A run whose master, workers and follower are real processes in networks of their own, with faults between them.

Every worker has a target beside it, at the same address, so that load needs no network and each worker's part of it is
counted apart. No test is here.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.component import credentials
from tests.component.faulty_network import Faults, FaultyNetwork

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.digest import files_digest
from loadstone_core.spec.model import OnLoss, Tls
from loadstone_core.units import SECOND
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.settings import PARENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadstone_protocol.identity import Pems

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "examples" / "target" / "server.py"
FOLLOWER = Path(__file__).with_name("far_follower.py")
TARGET_PORT, MASTER_PORT = 8800, 8650
RUN_UID = "far/1"
START_SECONDS, END_SECONDS = 60.0, 60.0
SCRIPT = """
from loadstone import User, constant, task

class Worker(User):
    wait = constant(0.1)

    @task
    def work(self):
        self.http.get(f"/iteration/{self.iteration}", name="work")
"""
ESTABLISHED = "01"
State = pb.WorkerReport


def rate(per_second: int, seconds: int) -> LoadProfile:
    """Return the load of an arrival rate."""
    duration_ns = seconds * SECOND
    return LoadProfile(Model.RATE, Profile((Segment(0, duration_ns, per_second, per_second),), duration_ns), None)


def plan_of(
    load: LoadProfile, *, workers: int, lease_seconds: int = 30, content: str = SCRIPT, **changes: Any
) -> RunPlan:
    """Return the plan of a run in which each iteration asks for a path of its own, by its number."""
    target = f"http://127.0.0.1:{TARGET_PORT}"
    values: dict[str, Any] = {
        "run": RunIdentity(uid=RUN_UID, loadtest="far", namespace="here", number=1, epoch=1),
        "spec_digest": "sha256:00",
        "workers": workers,
        "engines_per_worker": 1,
        "scenarios": (Scenario(name="default", load=load, graceful_stop_ns=5 * SECOND, target=target),),
        "tolerance_ppm": 10_000,
        "target": target,
        "percentiles": ("50",),
        "thresholds": (),
        "warm_up_ns": 0,
        "startup_timeout_ns": 60 * SECOND,
        "on_loss": OnLoss.REDISTRIBUTE,
        "lease_ns": lease_seconds * SECOND,
        "tls": Tls.DISABLED,
    }
    digest = files_digest({"test.py": content.encode()})
    script = ScriptRef(digest=digest, directory="/scripts", entrypoint="test.py")
    return RunPlan(**{**values, **changes}, script=script)


class Worker:
    """The processes of one attempt of a worker, and where they are."""

    def __init__(self, number: int, attempt: int, node: str) -> None:
        self.number = number
        self.attempt = attempt
        self.node = node
        self.name = f"worker-{number}-{attempt}"
        self.agent: asyncio.subprocess.Process
        self.launcher: asyncio.subprocess.Process

    def connections(self) -> set[str]:
        """Return the connections to the master that the kernel of its network still holds, by their local ends."""
        tables = [Path(f"/proc/{self.agent.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        ends = [line.split()[1:4] for table in tables for line in table.splitlines()[1:]]
        return {local for local, far, state in ends if far.endswith(f":{MASTER_PORT:04X}") and state == ESTABLISHED}


class DistantRun:
    """One run, from its first process to its outcome.

    Attributes:
        network: of `operator`, `master`, `spare` and `worker0`, `worker1` and so on.
        reports: what the follower has heard, each with when (CLOCK_MONOTONIC, seconds).
        losses: when the follower had no master, and why.
    """

    def __init__(
        self, plan: RunPlan, faults: Mapping[int, Faults] | None = None, *, content: str = SCRIPT, **told: str
    ) -> None:
        """Make the networks; `faults` of workers' paths to the master are there before anybody connects.

        The script is `content`, which is told some values by environment variables.
        """
        workers = [f"worker{number}" for number in range(plan.workers)]
        self.folder = Path(tempfile.mkdtemp(prefix="ls-"))
        self.network = FaultyNetwork("operator", "master", "spare", *workers)
        self.workers: dict[int, Worker] = {}
        self.reports: list[tuple[float, pb.RunReport]] = []
        self.losses: list[tuple[float, str]] = []
        self.follower: asyncio.subprocess.Process
        self.master: asyncio.subprocess.Process
        self._content = content
        self._told = told
        self._signer = credentials.authority() if plan.tls is Tls.MUTUAL else None
        self._plan = plan
        self._processes: list[asyncio.subprocess.Process] = []
        self._targets: list[str] = []
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._steered = 0
        for worker, each in (faults or {}).items():
            self.fault(worker, each)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            # A pipe that is left open would outlive the loop.
            await process.communicate()
        self.network.close()
        if sys.exc_info()[0] is not None:
            for log in sorted(self.folder.glob("*.log")):
                print(f"--- {log.stem}", log.read_text(errors="replace")[-3_000:], sep="\n")
        shutil.rmtree(self.folder)

    # --- What a test sees.

    async def until(self, seen: Callable[[pb.RunReport], bool], seconds: float = END_SECONDS) -> float:
        """Wait for a report, those before this call included from the newest on; return when it came."""
        checked = max(0, len(self.reports) - 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    for at, report in self.reports[checked:]:
                        if seen(report):
                            return at
                    checked = len(self.reports)
                    self._news.clear()
                    await self._news.wait()
        newest = self.reports[-1][1] if self.reports else None
        raise AssertionError(f"not within {seconds} s; the newest report is {newest}, losses {self.losses}")

    async def until_load(self, seconds: float = 0) -> None:
        """Wait until the load has run for so long."""
        await self.until(lambda seen: seen.stage == pb.RUNNING_LOAD and seen.progress.elapsed_ns >= seconds * SECOND)

    async def until_state(self, worker: int, state: int, seconds: float = END_SECONDS) -> float:
        """Wait until a worker is reported to be in a state; return when that was."""
        return await self.until(lambda seen: seen.workers[worker].state == state, seconds)

    async def until_lost(self, seconds: float) -> None:
        """Wait until the follower has lost its master once more."""
        before = len(self.losses)
        await until(lambda: len(self.losses) > before, seconds)

    async def until_hung_up(self, worker: int, held: set[str], seconds: float = END_SECONDS) -> float:
        """Wait until the agent of a worker has none of these connections any more; return when that was."""
        assert held
        await until(lambda: not held & self.workers[worker].connections(), seconds)
        return time.monotonic()

    async def finish(self, seconds: float = END_SECONDS) -> dict[str, Any]:
        """Wait for the outcome; return the results with the verdict, and findings as a single text."""
        await self.until(lambda seen: seen.HasField("outcome"), seconds)
        report = self.reports[-1][1]
        outcome = report.outcome
        load, results = json.loads(outcome.load_json), json.loads(outcome.results_json)
        findings = "\n".join([outcome.message, *report.findings])
        return {**results, "load": load, "verdict": outcome.verdict, "reason": outcome.reason, "findings": findings}

    def states(self, worker: int) -> set[int]:
        """Return every state that was ever reported of a worker."""
        return {each.state for _, report in self.reports for each in report.workers if each.worker == worker}

    def counted(self, *nodes: str) -> Counter[int]:
        """Return how often each iteration has reached the targets of these nodes; without any, of all."""
        found: Counter[int] = Counter()
        for node in nodes or tuple(self._targets):
            with self.network.socket(node) as sock:
                sock.settimeout(10)
                sock.connect(("127.0.0.1", TARGET_PORT))
                connection = http.client.HTTPConnection("127.0.0.1")
                connection.sock = sock
                connection.request("GET", "/count")
                by_path = json.load(connection.getresponse())["by_path"]
            found.update({int(path.rpartition("/")[2]): count for path, count in by_path.items()})
        return found

    # --- What a test does.

    def fault(self, worker: int, faults: Faults) -> None:
        """Let both directions between a worker and the master have faults, or none."""
        self.network.both_ways(f"worker{worker}", "master", faults)

    async def kill_master(self) -> None:
        """Kill the master's process alone; it is started again over what it has kept, as a kubelet would."""
        self.master.kill()
        await self.master.wait()
        await self._master()

    async def steer(self, **wanted: Any) -> None:
        """Tell the master what is wanted of the run."""
        self._steered += 1
        steering = pb.Steering(run_uid=RUN_UID, epoch=1, revision=self._steered, **wanted)
        assert self.follower.stdin is not None
        self.follower.stdin.write(base64.b64encode(steering.SerializeToString()) + b"\n")
        await self.follower.stdin.drain()

    async def join(self, number: int, *, attempt: int = 1, node: str = "") -> Worker:
        """Start an attempt of a worker in a node with a target of its own."""
        worker = Worker(number, attempt, node or f"worker{number}")
        target = asyncio.create_task(self._target(worker.node))
        sockets = self.folder / worker.name
        sockets.mkdir()
        worker.launcher = await self._launcher(worker.node, worker.name, sockets, "engine")
        worker.agent = await self._python(
            worker.node,
            f"agent-{worker.name}",
            "agent",
            LOADSTONE_RUN_UID=RUN_UID,
            LOADSTONE_EPOCH="1",
            LOADSTONE_WORKER=str(number),
            LOADSTONE_ATTEMPT=str(attempt),
            LOADSTONE_POD=worker.name,
            LOADSTONE_MASTER=f"{self.network.address('master')}:{MASTER_PORT}",
            LOADSTONE_SCRIPT_DIR=str(self.folder / "scripts"),
            LOADSTONE_ENTRYPOINT="test.py",
            LOADSTONE_METRICS="",
            LOADSTONE_SOCKET_DIR=str(sockets),
            LOADSTONE_TERMINATION_FILE=str(sockets / "termination"),
            LOADSTONE_ENGINES="1",
            LOADSTONE_TLS_DIR=self._mounted(f"tls-{worker.name}", lambda by: credentials.worker(by, RUN_UID, number)),
        )
        await target
        self.workers[number] = worker
        return worker

    # --- How it starts.

    async def _start(self) -> None:
        scripts = self.folder / "scripts"
        scripts.mkdir()
        (scripts / "test.py").write_text(self._content)
        document = json.loads(self._plan.to_json())
        document["script"]["directory"] = str(scripts)
        (self.folder / "run.json").write_text(json.dumps(document))
        # Nobody waits for anybody: all of them have to find each other by themselves.
        await self._master()
        (self.folder / "director").mkdir(exist_ok=True)
        await self._launcher("master", "director", self.folder / "director", "director")
        self.follower = await self._follow()
        self._reading = asyncio.create_task(self._read(self.follower))
        await asyncio.gather(*(self.join(number) for number in range(self._plan.workers)))

    async def _master(self) -> None:
        self.master = await self._python(
            "master",
            "master",
            "master",
            LOADSTONE_RUN_FILE=str(self.folder / "run.json"),
            LOADSTONE_SCRIPT_DIR=str(self.folder / "scripts"),
            LOADSTONE_LISTEN=f"0.0.0.0:{MASTER_PORT}",
            LOADSTONE_METRICS="",
            LOADSTONE_SOCKET_DIR=str(self.folder / "director"),
            LOADSTONE_STATE_DIR=str(self.folder / "state"),
            LOADSTONE_TERMINATION_FILE=str(self.folder / "master.termination"),
            LOADSTONE_LINGER_SECONDS="0",
            LOADSTONE_TLS_DIR=self._mounted("tls-master", lambda by: credentials.master(by, RUN_UID)),
        )

    async def _follow(self) -> asyncio.subprocess.Process:
        tls_dir = self._mounted("tls-operator", lambda by: credentials.operator(by, RUN_UID))
        address = f"{self.network.address('master')}:{MASTER_PORT}"
        words = (sys.executable, str(FOLLOWER), address, RUN_UID, tls_dir)
        return await self._process("operator", "follower", *words, is_spoken_to=True)

    async def _read(self, follower: asyncio.subprocess.Process) -> None:
        assert follower.stdout is not None
        while line := await follower.stdout.readline():
            word, _, content = line.decode().strip().partition(" ")
            now, told = time.monotonic(), base64.b64decode(content)
            if word == "report":
                self.reports.append((now, pb.RunReport.FromString(told)))
            elif word == "lost":
                self.losses.append((now, told.decode()))
            self._news.set()

    async def _target(self, node: str) -> None:
        words = ("setpriv", "--pdeathsig", "KILL", sys.executable, str(SERVER), "--port", str(TARGET_PORT))
        process = await self._process(node, f"target-{node}", *words, is_spoken_to=True)
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        self._targets.append(node)

    async def _launcher(self, node: str, name: str, sockets: Path, role: str) -> asyncio.subprocess.Process:
        return await self._python(
            node,
            name,
            "launcher",
            LOADSTONE_SOCKET_DIR=str(sockets),
            LOADSTONE_ENGINES="1",
            LOADSTONE_ENGINE_ROLE=role,
            LOADSTONE_SCRIPT_DIR=str(self.folder / "scripts"),
            LOADSTONE_ENTRYPOINT="test.py",
            LOADSTONE_TARGET=self._plan.target or "",
            **self._told,
        )

    async def _python(self, node: str, name: str, role: str, **environment: str) -> asyncio.subprocess.Process:
        return await self._process(node, name, sys.executable, "-m", "loadstone_runner", role, **environment)

    async def _process(
        self, node: str, name: str, *command: str, is_spoken_to: bool = False, **environment: str
    ) -> asyncio.subprocess.Process:
        pipe, devnull = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.network.inside(node, *command),
                env={**os.environ, **environment, PARENT: str(os.getpid())},
                stdin=pipe if is_spoken_to else devnull,
                stdout=pipe if is_spoken_to else log,
                stderr=log,
                limit=1 << 22,
            )
        self._processes.append(process)
        return process

    def _mounted(self, name: str, sign: Callable[[credentials.Authority], Pems]) -> str:
        return "" if self._signer is None else credentials.mounted(self.folder / name, sign(self._signer))


async def until(is_so: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.1)
