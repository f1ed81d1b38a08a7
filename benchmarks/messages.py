"""Custom messages: how many a core does, how long one takes, and what a lane costs beside a direct call.

End to end: users of one engine send to the director, so each message passes engine, agent, master and director, and its
answer the same way back. CPU time is that of all processes of the run. In a lane: this process alone.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from figures import Figure, publish, ratio, spread

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.digest import files_digest
from loadstone_runner.local.run import LocalRun

RUNS = 3
SECONDS = 8
CALLS = 100_000
SECOND = 1_000_000_000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SCRIPT = Path(__file__).resolve().parent / "engine" / "scripts" / "messages.py"


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how often each is measured (default: {RUNS})")
    runs = parser.parse_args().runs
    floods = [measure("flood") for _ in range(runs)]
    paces = [measure("pace") for _ in range(runs)]
    direct, lane = map(list, zip(*(one_lane() for _ in range(runs)), strict=True))
    publish(
        "messages",
        [
            Figure("messages_per_core", round(statistics.median(each["per_core"] for each in floods)), "/s", runs),
            Figure("messages_rate", round(statistics.median(each["rate"] for each in floods)), "/s", runs),
            *spread("message_p50", [each["p50"] * 1_000 for each in paces], "ms"),
            *spread("message_p99", [each["p99"] * 1_000 for each in paces], "ms"),
            *spread("direct_call", [each * 1e6 for each in direct], "us"),
            *spread("lane_call", [each * 1e6 for each in lane], "us"),
            ratio("lane_vs_direct", lane, direct),
            Figure("lane_costs", round(1e6 * (min(lane) - min(direct)), 3), "us", runs),
        ],
    )


def measure(mode: str) -> dict[str, float]:
    """Run the script in one mode; return what it found out, and with what CPU time."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        environment = {"BENCH_MODE": mode, "BENCH_SECONDS": str(SECONDS), "BENCH_NOTES": str(notes)}
        plan = _plan()
        files = {"test.py": SCRIPT.read_bytes()}
        spent: dict[str, Any] = {}
        run = LocalRun(plan=plan, files=files, environment=environment, on_report=lambda _report: None)
        asyncio.run(_beside(run, notes, spent))
        told = json.loads(notes.read_text().splitlines()[-1])
    cores = spent["cpu"] / spent["wall"]
    return {**told, "per_core": told["rate"] / cores if cores else 0.0}


async def _beside(run: LocalRun, notes: Path, spent: dict[str, Any]) -> None:
    """Run, and take the CPU time between the script's begin and its end."""
    running = asyncio.create_task(run.run())
    while not notes.exists():  # noqa: ASYNC240 nothing else runs here
        await asyncio.sleep(0.02)
        if running.done():
            raise SystemExit(f"the run ended before it began: {running.result().outcome}")
    cpu, begin = _cpu_of_children(), time.monotonic()
    await asyncio.sleep(SECONDS * 0.8)
    spent.update(cpu=_cpu_of_children() - cpu, wall=time.monotonic() - begin)
    await running


def _cpu_of_children() -> float:
    """Return the CPU seconds of all processes below this one that live."""
    parents, times = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            times[int(entry.name)] = int(fields[11]) + int(fields[12])
    ours, grows = {os.getpid()}, True
    while grows:
        more = {process for process, parent in parents.items() if parent in ours} - ours
        ours, grows = ours | more, bool(more)
    return sum(times[process] for process in ours - {os.getpid()} if process in times) / TICKS_PER_SECOND


def _plan() -> RunPlan:
    end_ns = (SECONDS + 2) * SECOND
    load = LoadProfile(Model.USERS, Profile((Segment(0, end_ns, 1, 1),), end_ns), None)
    return RunPlan(
        run=RunIdentity(uid="bench/1", loadtest="bench", namespace="local", number=1, epoch=1),
        spec_digest="sha256:00",
        workers=1,
        engines_per_worker=1,
        scenarios=(Scenario(name="default", user=None, load=load, graceful_stop_ns=SECOND, target=None),),
        tolerance_ppm=10_000,
        target=None,
        percentiles=("50",),
        thresholds=(),
        warm_up_ns=0,
        startup_timeout_ns=60 * SECOND,
        script=ScriptRef(
            digest=files_digest({"test.py": SCRIPT.read_bytes()}), directory="/scripts", entrypoint="test.py"
        ),
    )


def one_lane() -> tuple[float, float]:
    """Return the seconds of one direct call of a handler, and of one through a lane."""
    import gevent

    from loadstone import Message, messages, on_message
    from loadstone_runner.engine.lanes import Lanes, Parcel, in_engine

    messages.forget()
    count = 0

    @on_message("a", queue=CALLS)
    def handle(_message: Message) -> None:
        nonlocal count
        count += 1

    lanes = Lanes(messages.handlings(), work_of=in_engine, count=print, on_room=print)
    lane, message = lanes.find("a"), Message("a", {"number": 1}, "director")
    begin = time.perf_counter()
    for _ in range(CALLS):
        handle(message)
    direct = time.perf_counter() - begin
    begin = time.perf_counter()
    for _ in range(CALLS):
        lane.put(Parcel(message, lambda _outcome: None))
    while count < 2 * CALLS:
        gevent.sleep(0)
    return direct / CALLS, (time.perf_counter() - begin) / CALLS


if __name__ == "__main__":
    main()
