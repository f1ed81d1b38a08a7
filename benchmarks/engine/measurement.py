"""Measure any generator in the same way: what its target served between two moments, and its CPU time for it.

Nothing is taken from a generator's own report, and its start does not count. How it is started lives elsewhere.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ours import Result, running
from peers import SCRIPTS, Mode, Peer, Work
from processes import Cores, cpu_ns, resident_bytes, started
from target import Count, Target

SECOND_NS = 1_000_000_000
FIRST_REQUEST_SECONDS = 30.0
ALL_USERS_SECONDS = 20.0
ALL_USERS_SHARE = 0.95
LOOK_SECONDS = 0.1


class GeneratorError(Exception):
    """A generator does not do what it is there for."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured window of one generator.

    Attributes:
        rate: requests per second that the target served.
        per_cpu: requests per CPU second of the generator's process.
        memory: of that process, in MB, at the end of the window.
        busy: the share of the window that it was running.
        resumed: the share of TLS handshakes that resumed a session; 0 where nobody counted.
    """

    rate: float
    per_cpu: float
    memory: float
    busy: float
    resumed: float = 0.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs: the target, the cores, and how long to look.

    Attributes:
        window: seconds that are measured.
        warm: seconds before, from when all users are there.
    """

    target: Target
    cores: Cores
    window: float
    warm: float


def measure_peer(bench: Bench, peer: Peer, work: Work) -> Reading:
    """Start a peer, measure it, end it."""
    before = bench.target.count()
    command, environment = peer.command(work), peer.environment(work)
    core = bench.cores.generator if peer.pinned else None
    with tempfile.TemporaryDirectory(prefix="loadstone-bench-") as folder:
        output = Path(folder, "output.log")
        with started(command, core=core, environment=environment, output=output) as process:
            try:
                _wait_for_users(bench, work, before=before, pid=process.pid)
                return _read(bench, process.pid)
            except GeneratorError as error:
                said = output.read_text(errors="replace").strip()[-800:]
                sys.exit(f"bench-engine: {peer.name} {error}: {said}")


def measure_ours(bench: Bench, work: Work) -> Reading:
    """Run ours, measure it, and hold it to the target's own count when it has ended."""
    before = bench.target.count()
    load = {"target": work.url, "users": work.users, "duration": "5m"}
    told = {"BENCH_PATH": work.path, "BENCH_MODE": work.mode.value}
    with running(SCRIPTS / "visit.py", load, environment=told, cores=bench.cores) as run:
        try:
            _wait_for_users(bench, work, before=before, pid=run.engine)
            reading = _read(bench, run.engine)
        except GeneratorError as error:
            sys.exit(f"bench-engine: our engine {error}: {run.stop().status}")
        result = run.stop()
    require_exact(result, served=bench.target.count().requests - before.requests)
    return reading


def require_exact(result: Result, *, served: int) -> None:
    """End the benchmark when a run's results are not what the target served, or hold failures."""
    found = result.results
    if found.get("failures") or found.get("requests") != served:
        said = {name: result.status.get(name) for name in ("verdict", "reason", "message", "findings")}
        sys.exit(f"bench-engine: our run counted {found}, the target served {served}: {said}")


def _wait_for_users(bench: Bench, work: Work, *, before: Count, pid: int) -> None:
    """Wait for requests, then for as many connections as there are users, then for the time to get warm."""
    deadline = time.monotonic() + FIRST_REQUEST_SECONDS
    while bench.target.count().requests - before.requests < work.users:
        if time.monotonic() > deadline or not cpu_ns(pid):
            raise GeneratorError("sent nothing")
        time.sleep(LOOK_SECONDS)
    deadline = time.monotonic() + ALL_USERS_SECONDS
    while work.mode is not Mode.FRESH and time.monotonic() < deadline:
        if bench.target.count().connections >= work.users * ALL_USERS_SHARE:
            break
        time.sleep(LOOK_SECONDS)
    time.sleep(bench.warm)


def _read(bench: Bench, pid: int) -> Reading:
    first, first_cpu = bench.target.count(), cpu_ns(pid)
    time.sleep(bench.window)
    last, last_cpu = bench.target.count(), cpu_ns(pid)
    wall, cpu = (last.at_ns - first.at_ns) / SECOND_NS, (last_cpu - first_cpu) / SECOND_NS
    if cpu <= 0:
        raise GeneratorError("ended while it was measured")
    requests = last.requests - first.requests
    memory = resident_bytes(pid) / 1e6
    return Reading(rate=requests / wall, per_cpu=requests / cpu, memory=memory, busy=cpu / wall)
