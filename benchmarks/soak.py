"""Hold 100,000 iterations a second for 17 minutes and see whether any process grows: `make soak`.

Each iteration yields once and asks for nothing, so that what is left is our own bookkeeping. `soak_growth_ROLE` is by
how much the process of that role was ever larger than after its first minute. The command fails above 5 MB, and when
the rate was not held: a soak with less load proves less.
Master and agent are scraped all the while, as Prometheus would.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "engine"), str(HERE)]

import yaml
from figures import Figure, publish, show
from open_model import YIELD_RATE, thousand_users
from peers import SCRIPTS
from processes import command_line, cpu_ns, descendants, end_on_signals, resident_bytes, variable

from loadstone_cli.documents import choose_loadtest, read_documents
from loadstone_cli.run import plan_local
from loadstone_cli.sources import local_script
from loadstone_core.admission import admit
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.local.run import LocalResult, LocalRun

MINUTES = 17
GROWTH_MOST_MB = 5.0
ACHIEVED_LEAST = 0.999
FIRST_MINUTE = 60
SCRAPE_EVERY_SECONDS = 5
INTERRUPTED = 130


@dataclass(slots=True)
class Watch:
    """What the processes of a run had in memory and used of the processor, second by second of the load.

    Attributes:
        sizes: bytes by process, one each second from the first report of users on.
        cpu: nanoseconds by process, newest.
        scrapes: how many pages were served.
    """

    sizes: dict[str, list[int]] = field(default_factory=dict)
    cpu: dict[str, int] = field(default_factory=dict)
    scrapes: int = 0
    is_loaded: bool = False

    def hear(self, report: pb.RunReport) -> None:
        """Begin to watch when the load has begun."""
        self.is_loaded = self.is_loaded or report.progress.iterations > 0

    async def follow(self, pid: int, addresses: Mapping[str, str]) -> None:
        """Look each second, until cancelled; ask for metrics every few."""
        second = 0
        while True:
            await asyncio.sleep(1.0)
            if not self.is_loaded:
                continue
            for child in sorted(descendants(pid)):
                self._note(child)
            second += 1
            if second % SCRAPE_EVERY_SECONDS == 0:
                for address in addresses.values():
                    self.scrapes += await asyncio.to_thread(_scrape, address)

    def growth_mb(self, role: str) -> float:
        """Return by how much a process was ever larger than after its first minute."""
        sizes = self.sizes[role]
        settled = min(FIRST_MINUTE, len(sizes) - 1)
        return (max(sizes[settled:]) - sizes[settled]) / 1e6

    def _note(self, pid: int) -> None:
        words = command_line(pid)
        size = resident_bytes(pid)
        if words[1:3] == ["-m", "loadstone_runner"] and size:
            # There are two launchers, each named after what it starts.
            role = words[3] if words[3] != "launcher" else f"launcher_of_{variable(pid, 'LOADSTONE_ENGINE_ROLE')}"
            self.sizes.setdefault(role, []).append(size)
            self.cpu[role] = cpu_ns(pid)


async def run_watched(run: LocalRun, watch: Watch) -> LocalResult:
    """Run to the end and watch meanwhile."""
    watching = asyncio.create_task(watch.follow(os.getpid(), run.metrics))
    try:
        return await run.run()
    finally:
        watching.cancel()


def main() -> int:
    """Run, print, publish; return 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=MINUTES, help="default: %(default)s; fewer are only printed")
    minutes = parser.parse_args().minutes
    end_on_signals()
    watch = Watch()
    try:
        result = asyncio.run(run_watched(_local_run(minutes, watch), watch))
    except KeyboardInterrupt:
        return INTERRUPTED
    figures = [*_growth(watch), *_load(result, watch, minutes)]
    if minutes >= MINUTES:
        publish("soak", figures)
    else:
        show(figures)
    complaints = list(_complaints(figures, planned=YIELD_RATE * minutes * 60))
    print("\n".join(f"soak: {one}" for one in complaints or ["all is flat"]), file=sys.stderr)
    return int(bool(complaints))


def _local_run(minutes: int, watch: Watch) -> LocalRun:
    spec = {
        "source": {"inline": {"content": (SCRIPTS / "turn.py").read_text()}},
        "load": {"rate": YIELD_RATE, **thousand_users(), "duration": f"{minutes}m"},
        "workers": {"replicas": 1},
    }
    body = {"apiVersion": "loadstone.dev/v1alpha1", "kind": "LoadTest", "metadata": {"name": "soak"}, "spec": spec}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(body, file)
        file.flush()
        documents = read_documents(Path(file.name))
    document = choose_loadtest(documents, None)
    test = admit(document.body)
    script = local_script(test.spec, document, documents)
    metrics = {role: f"127.0.0.1:{_free_port()}" for role in ("master", "agent-0")}
    return LocalRun(
        plan=plan_local(test, script), files=script.files, environment={}, on_report=watch.hear, metrics=metrics
    )


def _growth(watch: Watch) -> list[Figure]:
    found: list[Figure] = []
    for role in sorted(watch.sizes):
        found.append(Figure(f"soak_growth_{role}", round(watch.growth_mb(role), 2), "MB", len(watch.sizes[role])))
        found.append(Figure(f"soak_memory_{role}", round(watch.sizes[role][-1] / 1e6, 1), "MB", 1))
    return found


def _load(result: LocalResult, watch: Watch, minutes: int) -> list[Figure]:
    results = json.loads(result.outcome.results_json)
    planned = YIELD_RATE * minutes * 60
    return [
        Figure("soak_iterations", results["iterations"], f"of {planned}", 1),
        Figure("soak_dropped", results["droppedIterations"], "iterations", 1),
        *(
            Figure(f"soak_core_{role}", round(used / 1e9 / len(watch.sizes[role]), 3), "cores", 1)
            for role, used in sorted(watch.cpu.items())
        ),
        Figure("soak_scrapes", watch.scrapes, "pages", 1),
    ]


def _complaints(figures: Sequence[Figure], *, planned: int) -> Iterator[str]:
    for figure in figures:
        if figure.name.startswith("soak_growth_") and figure.value > GROWTH_MOST_MB:
            yield f"{figure.name} is {figure.value} MB, more than {GROWTH_MOST_MB}"
        if figure.name == "soak_iterations" and figure.value < planned * ACHIEVED_LEAST:
            yield f"only {figure.value:.0f} of {planned} iterations were done: the engine needs a core for itself"


def _scrape(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
            return bool(reply.read())
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    sys.exit(main())
