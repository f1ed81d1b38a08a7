"""Show a run while it goes on: one line that is rewritten in a terminal, one every five seconds elsewhere."""

import signal
import sys
import time
from types import TracebackType
from typing import Self

from loadstone_cli.outputs import while_it_lasts
from loadstone_core.plan.model import RunPlan
from loadstone_core.units import format_duration, format_latency, format_share
from loadstone_protocol.v1 import control_pb2 as pb

PLAIN_INTERVAL_SECONDS = 5.0
SECOND_NS = 1_000_000_000
_STAGES = {
    pb.GATHERING: "starting",
    pb.ARMED: "armed",
    pb.RUNNING_LOAD: "running",
    pb.STOPPING_LOAD: "stopping",
}


class Progress:
    """The line that tells where a run is."""

    def __init__(self, name: str, plan: RunPlan, *, quiet: bool) -> None:
        self._quiet = quiet
        self._name = name
        self._workers = plan.workers
        self._terminal = sys.stderr.isatty()
        self._last_stage = -1
        self._last_print = 0.0
        self._interrupts = 0

    def __enter__(self) -> Self:
        crew = "1 worker" if self._workers == 1 else f"{self._workers} workers"
        self._say(f"{self._name}: starting master, director and {crew}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._write("\r\x1b[K")

    def show(self, report: pb.RunReport) -> None:
        """Show `report`, if it is time to."""
        if report.stage == pb.FINISHED:
            return  # the table says it all
        now = time.monotonic()
        new_stage = report.stage != self._last_stage
        if not self._terminal and not new_stage and now - self._last_print < PLAIN_INTERVAL_SECONDS:
            return
        self._last_stage, self._last_print = report.stage, now
        self._say(progress_line(report))

    def interrupted(self, number: signal.Signals) -> None:
        """Say what a signal did."""
        self._interrupts += 1
        if self._terminal:
            self._write("\n")
        self._say(f"{self._name}: {self._interruption(number)}")

    def _interruption(self, number: signal.Signals) -> str:
        if number is not signal.SIGINT:
            return f"told to end by {number.name}: stopping now, results are kept"
        if self._interrupts > 1:
            return "interrupted again within ten seconds: stopping now"
        return "interrupted once: stopping, results are kept"

    def _say(self, line: str) -> None:
        self._write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")

    def _write(self, text: str) -> None:
        if self._quiet:
            return
        with while_it_lasts(sys.stderr):
            sys.stderr.write(text)


def progress_line(report: pb.RunReport) -> str:
    """Return one line for people: stage, time, users, rate, 95th percentile and errors."""
    stage = _STAGES.get(report.stage, "starting")
    if report.stage == pb.GATHERING:
        return f"{stage:<9}{report.waiting_for}"
    if report.stage == pb.ARMED:
        return f"{stage:<9}every worker is ready, the load starts"
    seen = report.progress
    elapsed = format_duration(seen.elapsed_ns // SECOND_NS * SECOND_NS)
    return (
        f"{stage:<9}{seen.percent:3d}%  {elapsed:>6}  {seen.users} users  {seen.requests_per_second}/s  "
        f"p95 {format_latency(seen.p95_ns // 1000)}  {seen.requests} requests  "
        f"errors {format_share(seen.failures, seen.requests)}"
    )
