"""What may come in the way of a run's control, and how much it does: handlers that wait or compute, a stuck log.

All processes are real; the figures are taken from the agents' own metrics and in the engines. Nothing is asserted.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "engine"), str(HERE)]

from figures import Figure, publish, show
from processes import command_line, descendants

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.digest import files_digest
from loadstone_core.units import SECOND
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.local.run import LocalResult, LocalRun

SCRIPT = HERE / "engine" / "scripts" / "control.py"
WORKERS = 2
RATE = 500  # iterations, and in one case lines, a second
POLL_SECONDS = 0.02
SLEEP_SECONDS, BUSY_SECONDS, BLOCKED_SECONDS = 70, 30, 10
BEFORE_SECONDS = 6.0  # of the load, until the log is blocked
ANSWERED = re.compile(r"^loadstone_agent_heartbeats_answered_total ([0-9.]+)$", re.MULTILINE)


@dataclass
class Seen:
    """What was seen of one run; moments on this machine's monotonic clock.

    Attributes:
        answers: when each agent was seen to have another answer to a heartbeat, since load began.
        states: of workers, by any report.
        still: the longest that an engine was said to stand still, in seconds.
        engines: what each engine has noted.
        stopped: when the run was asked to stop.
        blocked: from when to when the log was.
    """

    answers: dict[str, list[float]] = field(default_factory=dict)
    states: set[int] = field(default_factory=set)
    still: float = 0.0
    engines: list[dict[str, Any]] = field(default_factory=list)
    started: float = 0.0
    stopped: float = 0.0
    blocked: tuple[float, float] = (0.0, 0.0)
    result: LocalResult | None = None

    def hear(self, report: pb.RunReport) -> None:
        """Take in what the master says of its workers."""
        if report.stage == pb.RUNNING_LOAD and not self.started:
            self.started = time.monotonic()
        for worker in report.workers:
            self.states.add(worker.state)
            if worker.reason == "Degraded":
                self.still = max(self.still, float(worker.message.split()[-2]))

    def gaps_ms(self) -> list[float]:
        """Return the time between two answers, of all agents."""
        return sorted(
            1e3 * (later - earlier) for moments in self.answers.values() for earlier, later in pairwise(moments)
        )

    def lost(self) -> int:
        """Return whether any worker was lost at any time."""
        return int(pb.WorkerReport.LOST in self.states)


async def run_mode(mode: str, seconds: float, beside: Callable[[LocalRun, Seen], Any]) -> Seen:
    """Run the script in a mode while something is done beside it, and then stop the run."""
    seen = Seen()
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        told = {"BENCH_MODE": mode, "BENCH_SECONDS": str(seconds), "BENCH_NOTES": str(notes)}
        metrics = {f"agent-{worker}": f"127.0.0.1:{_free_port()}" for worker in range(WORKERS)}
        files = {"test.py": SCRIPT.read_bytes()}
        run = LocalRun(plan=_plan(files), files=files, environment=told, on_report=seen.hear, metrics=metrics)
        running = asyncio.create_task(run.run())
        while not seen.started and not running.done():  # noqa: ASYNC110 said by a callback
            await asyncio.sleep(0.02)
        polling = [asyncio.create_task(_poll(role, address, seen)) for role, address in metrics.items()]
        await beside(run, seen)
        for each in polling:
            each.cancel()
        seen.stopped = time.monotonic()
        run.stop()
        seen.result = await running
        seen.engines = [json.loads(line) for line in notes.read_text().splitlines()]
    return seen


async def _poll(role: str, address: str, seen: Seen) -> None:
    """Note each answer that an agent has had, until cancelled."""
    newest = 0.0
    while True:
        await asyncio.sleep(POLL_SECONDS)
        answered = await asyncio.to_thread(_answered, address)
        if answered > newest:
            newest = answered
            seen.answers.setdefault(role, []).append(time.monotonic())


def _answered(address: str) -> float:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
        found = ANSWERED.search(reply.read().decode())
        return float(found[1]) if found else 0.0
    return 0.0


def _plan(files: dict[str, bytes]) -> RunPlan:
    end_ns = 600 * SECOND
    load = LoadProfile(Model.RATE, Profile((Segment(0, end_ns, RATE, RATE),), end_ns), None)
    return RunPlan(
        run=RunIdentity(uid="bench/1", loadtest="bench", namespace="local", number=1, epoch=1),
        spec_digest="sha256:00",
        workers=WORKERS,
        engines_per_worker=1,
        scenarios=(Scenario(name="default", user=None, load=load, graceful_stop_ns=5 * SECOND, target=None),),
        tolerance_ppm=10_000,
        target=None,
        percentiles=("50",),
        thresholds=(),
        warm_up_ns=0,
        startup_timeout_ns=60 * SECOND,
        script=ScriptRef(digest=files_digest(files), directory="/scripts", entrypoint="test.py"),
    )


def waiting(seconds: float) -> Callable[[LocalRun, Seen], Any]:
    """Return what lets a run go on for so long."""

    async def beside(_run: LocalRun, _seen: Seen) -> None:
        await asyncio.sleep(seconds)

    return beside


async def block_the_log(_run: LocalRun, seen: Seen) -> None:
    """Freeze everybody who takes the log from an engine's launcher, for a while."""
    await asyncio.sleep(BEFORE_SECONDS)
    takers = [
        each for each in descendants(os.getpid()) if command_line(each)[1:4] in (
            ["-m", "loadstone_runner", "master"], ["-m", "loadstone_runner", "agent"]
        )
    ]  # fmt: skip
    begun = time.monotonic()
    for each in takers:
        os.kill(each, signal.SIGSTOP)
    try:
        await asyncio.sleep(BLOCKED_SECONDS)
    finally:
        for each in takers:
            os.kill(each, signal.SIGCONT)
    seen.blocked = (begun, time.monotonic())
    await asyncio.sleep(BEFORE_SECONDS)


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile of sorted or unsorted values; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def control_figures(prefix: str, seen: Seen) -> list[Figure]:
    """Return what every case says of heartbeats and workers."""
    gaps = seen.gaps_ms()
    return [
        Figure(f"{prefix}heartbeat_gap_p99_ms", round(percentile(gaps, 0.99)), "ms", len(gaps)),
        Figure(f"{prefix}heartbeat_gap_max_ms", round(max(gaps, default=0.0)), "ms", len(gaps)),
        Figure(f"{prefix}workers_lost", seen.lost(), "", WORKERS),
    ]


def sleeping(seen: Seen) -> list[Figure]:
    """Return the figures of handlers that wait, and of the stop beside them."""
    last = max(begun for engine in seen.engines for begun, _ in engine["iterations"])
    return [
        *control_figures("sleep_", seen),
        Figure("sleep_stop_last_iteration_ms", round(1e3 * max(0.0, last - seen.stopped)), "ms", 1),
    ]


def holding(seen: Seen) -> list[Figure]:
    """Return the figures of a handler that holds the interpreter."""
    assert seen.result is not None
    found = re.search(r"stood still for up to ([0-9.]+) s", " ".join(seen.result.report.findings))
    return [
        *control_figures("hold_", seen),
        Figure("hold_lag_told_live", seen.still, "s", 1),
        Figure("hold_lag_told_in_the_end", float(found[1]) if found else 0.0, "s", 1),
    ]


def computing(seen: Seen, seconds: float) -> list[Figure]:
    """Return how late the loop of the engine beside a computing process was, and that of the other worker's."""
    until = seen.started + seconds
    lags = {
        len(engine["late"]): [1e3 * lag for due, lag in engine["late"] if seen.started + 1 < due < until]
        for engine in seen.engines
    }
    worst = max(lags.values(), key=lambda each: percentile(each, 0.99))
    best = min(lags.values(), key=lambda each: percentile(each, 0.99))
    return [
        *control_figures("lane_", seen),
        Figure("lane_loop_lag_p99_ms", round(percentile(worst, 0.99), 2), "ms", len(worst)),
        Figure("lane_loop_lag_max_ms", round(max(worst, default=0.0), 2), "ms", len(worst)),
        Figure("beside_loop_lag_p99_ms", round(percentile(best, 0.99), 2), "ms", len(best)),
    ]


def blocking(seen: Seen) -> list[Figure]:
    """Return how the load was while the log was blocked, against the same run before and after."""
    assert seen.result is not None
    begun, ended = seen.blocked
    inside = [each for engine in seen.engines for each in engine["iterations"] if begun <= each[0] < ended]
    first = begun - BEFORE_SECONDS + 1
    outside = [
        each
        for engine in seen.engines
        for each in engine["iterations"]
        if first <= each[0] < begun or ended + 1 <= each[0] < seen.stopped
    ]
    free_seconds = begun - first + seen.stopped - ended - 1
    rates = len(inside) / (ended - begun), len(outside) / free_seconds
    took = [percentile([each[1] for each in some], 0.99) * 1e3 for some in (inside, outside)]
    logs, printed = json.loads(seen.result.outcome.logs_json), sum(len(each["iterations"]) for each in seen.engines)
    missing = logs.get("missingLines", 0)
    return [
        Figure("log_blocked_rate_change_percent", round(100 * (rates[0] / rates[1] - 1), 3), "%", len(inside)),
        Figure("log_blocked_iteration_p99_ms", round(took[0], 3), "ms", len(inside)),
        Figure("log_blocked_iteration_p99_added_ms", round(took[0] - took[1], 3), "ms", len(inside)),
        Figure("log_blocked_workers_lost", seen.lost(), "", WORKERS),
        Figure("log_lines_unaccounted", max(0, printed - logs["lines"] - missing), "lines", printed),
        Figure("log_lines_dropped", missing, "lines", printed),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="handlers take 8 s each; figures are printed and not kept")
    quick = parser.parse_args().quick
    wait, busy = (8, 8) if quick else (SLEEP_SECONDS, BUSY_SECONDS)
    figures = [
        *sleeping(asyncio.run(run_mode("sleep", wait + 60, waiting(wait)))),
        *holding(asyncio.run(run_mode("hold", busy, waiting(busy + 5)))),
        *computing(asyncio.run(run_mode("lane", busy, waiting(busy + 1))), busy),
        *blocking(asyncio.run(run_mode("log", 0, block_the_log))),
    ]
    if quick:
        show(figures)
    else:
        publish("control", figures)


if __name__ == "__main__":
    main()
