"""Run our engine as a user would, by `loadstone run` with one worker, and reach its processes while it runs.

The engine has the generator's core for itself; master, agent, launchers and the command share the target's core.
"""

import contextlib
import gzip
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from processes import Cores, command_line, cpu_ns, descendants, pin, started, variable

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.stream import COUNTER_BYTES, Counters, read_counters

START_SECONDS = 60.0
END_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a run has ended: what the resource's status would say, and its report."""

    status: Mapping[str, Any]
    report: Mapping[str, Any]

    @property
    def results(self) -> Mapping[str, Any]:
        """Totals of requests."""
        found: Mapping[str, Any] = self.status.get("results", {})
        return found

    def total(self, metric: str) -> int:
        """Return the sum of a counter, or of a trend's samples, over all its series."""
        return sum(int(entry["total"]) for entry in self._series(metric))

    def quantile_ns(self, metric: str, share: float) -> int:
        """Return a quantile of a trend, of all its series together."""
        merged = Histogram()
        for entry in self._series(metric):
            if "histogram" in entry:
                packed = entry["histogram"]
                merged.merge(
                    Histogram.unpack(
                        packed["indexes"],
                        packed["counts"],
                        zeros=packed["zeros"],
                        total=entry["total"],
                        minimum=entry["min"],
                        maximum=entry["max"],
                    )
                )
        return merged.quantile(share)

    def _series(self, metric: str) -> list[dict[str, Any]]:
        return [entry for entry in self.report.get("series", ()) if entry["metric"] == metric]


class Run:
    """One run of ours that is going on.

    Attributes:
        engine: process id of the engine.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, engine: int) -> None:
        self.engine = engine
        self._process = process
        self._folder = folder
        self._counters = _counter_file(engine)

    @property
    def others(self) -> list[int]:
        """Process ids of all processes of ours but the engine: command, master, agent, launchers, director."""
        return [self._process.pid, *(pid for pid in descendants(self._process.pid) if pid != self.engine)]

    def counters(self) -> Counters:
        """Return what the engine has counted until now, from the file that it keeps."""
        with self._counters.open("rb") as file:
            return read_counters(file.read(COUNTER_BYTES))

    def others_cpu_ns(self) -> int:
        """Return the CPU time of all processes of ours but the engine."""
        return sum(cpu_ns(pid) for pid in self.others)

    def stop(self) -> Result:
        """Ask for a stop as Ctrl-C does, and return the result."""
        self._process.send_signal(signal.SIGINT)
        return self.result()

    def result(self) -> Result:
        """Wait for the end by itself, and return the result; SystemExit when it left none."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=END_SECONDS)
        status, reports = self._folder / "status.json", list(self._folder.glob("results/*.json.gz"))
        if not status.exists() or not reports:
            sys.exit(f"bench-engine: our run left no result: {_tail(self._folder)}")
        return Result(json.loads(status.read_text()), json.loads(gzip.decompress(reports[0].read_bytes())))


@contextlib.contextmanager
def running(script: Path, load: Mapping[str, Any], *, environment: Mapping[str, str], cores: Cores) -> Iterator[Run]:
    """Run a script under a load for as long as the block lasts, with its engine on the generator's core."""
    with tempfile.TemporaryDirectory(prefix="loadstone-bench-") as name:
        folder = Path(name)
        (folder / "loadtest.yaml").write_text(yaml.safe_dump(_document(script, load, environment)))
        kept = ("--status", folder / "status.json", "--results", folder / "results")
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "loadstone_cli",
            "run",
            folder / "loadtest.yaml",
            "--quiet",
            *kept,
        ]
        with started(command, core=cores.target, output=folder / "output.log") as process:
            engine = _wait_for_engine(process, folder)
            pin(engine, cores.generator)
            yield Run(process, folder, engine)


def flavour() -> str:
    """Return which request path runs: `compiled` or `pure`."""
    asked = "from loadstone_runner.engine import path; print(path.FLAVOUR)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "pure"


def _document(script: Path, load: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "loadstone.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {"name": "bench"},
        "spec": {
            "source": {"inline": {"content": script.read_text()}},
            "env": [{"name": key, "value": value} for key, value in environment.items()],
            "load": dict(load),
            "workers": {"replicas": 1},
        },
    }


def _wait_for_engine(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Return the engine's process id as soon as it counts, which is before the load begins."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for pid in descendants(process.pid):
            if command_line(pid)[-2:] == ["loadstone_runner", "engine"] and _counter_file(pid).exists():
                return pid
        time.sleep(0.02)
    sys.exit(f"bench-engine: our engine did not start: {_tail(folder)}")


def _counter_file(engine: int) -> Path:
    return Path(variable(engine, "LOADSTONE_SOCKET_DIR")) / "engine-0-1.counters"


def _tail(folder: Path) -> str:
    return (folder / "output.log").read_text(errors="replace").strip()[-800:]
