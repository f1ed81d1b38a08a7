"""A worker that has it too hard is named with figures, and one whose memory runs out before the kernel kills it."""

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lacking import lacks

ROOT = Path("/sys/fs/cgroup")
IS_V2 = (ROOT / "cgroup.controllers").exists()
MIB = 1024 * 1024
LIMIT_BYTES = 700 * MIB
promise = pytest.mark.promise

HOARDER = """
from loadstone import User, constant, task

class Hoarder(User):
    wait = constant(0.2)

    def on_start(self):
        self.kept = [b"x" * (1024 * 1024) for _ in range(2)]

    @task
    def nothing(self):
        pass
"""
THINKER = """
import time
from loadstone import User, constant, task

class Thinker(User):
    wait = constant(0.2)
    thoughts = 0

    @task
    def think(self):
        Thinker.thoughts += 1
        if Thinker.thoughts == 5:
            end = time.monotonic() + 6
            while time.monotonic() < end:
                pass
"""
BUSY = """
from loadstone import User, constant, task

class Busy(User):
    wait = constant(0.001)

    @task
    def compute(self):
        sum(range(200_000))
"""


@contextlib.contextmanager
def limited(controller: str, limits: dict[str, str], wishes: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """Make a cgroup with limits; give what a process has to be started with to be in it."""
    name = f"loadstone-test-{uuid.uuid4().hex[:8]}"
    folder = (ROOT if IS_V2 else ROOT / controller) / name
    try:
        folder.mkdir()
        for file, limit in limits.items():
            (folder / file).write_text(limit)
        for file, wish in wishes.items():
            with contextlib.suppress(OSError):
                (folder / file).write_text(wish)
    except OSError as error:
        lacks(f"no cgroup with a limit of {controller} can be made here: {error}")
    yield ("sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh")
    # What is left of the run ends first.
    for _ in range(100):
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106 a cgroup, not a folder of files
            return
        time.sleep(0.1)


@pytest.fixture
def cramped() -> Iterator[tuple[str, ...]]:
    """Have little memory."""
    file, swap = ("memory.max", "memory.swap.max") if IS_V2 else ("memory.limit_in_bytes", "memory.swappiness")
    # Where there is no swap there is nothing to be said of it.
    with limited("memory", {file: str(LIMIT_BYTES)}, {swap: "0"}) as before:
        yield before


@pytest.fixture
def throttled() -> Iterator[tuple[str, ...]]:
    """Have less than a third of a processor."""
    limits = {"cpu.max": "30000 100000"} if IS_V2 else {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "30000"}
    with limited("cpu", limits, {}) as before:
        yield before


def run(script: str, folder: Path, load: dict, before: tuple[str, ...] = ()) -> dict:
    body = {
        "apiVersion": "loadstone.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {"name": "hard"},
        "spec": {"source": {"inline": {"content": script}}, "load": {"gracefulStop": "1s", **load}},
    }
    file, status = folder / "hard.yaml", folder / "status.json"
    file.write_text(json.dumps(body))
    options = ["--quiet", "--status", str(status), "--results", str(folder)]
    done = subprocess.run(
        [*before, sys.executable, "-m", "loadstone_cli", "run", str(file), *options],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert status.exists(), (done.returncode, done.stderr)
    return json.loads(status.read_text())


@promise("memory-high", "worker-oom")
def test_who_owns_the_memory_is_told_before_the_kernel_kills(cramped, tmp_path) -> None:
    status = run(HOARDER, tmp_path, {"users": 500, "spawnRate": 25, "duration": "60s"}, cramped)

    assert (status["verdict"], status["reason"]) == ("Error", "WorkerOOM"), status
    (high,) = [finding for finding in status["findings"] if finding.startswith("MemoryHigh: ")]
    assert f"of {LIMIT_BYTES // MIB} MiB (" in high
    assert int(high.split(" MiB (")[1].split(" %")[0]) >= 85
    # The users have it, and they come first.
    owners = high.split("): ")[1]
    assert owners.split(" ", 1)[1].startswith("users and what the script keeps about")


@promise("saturation-told")
def test_a_loop_that_stood_still_is_named_with_its_lag(tmp_path) -> None:
    status = run(THINKER, tmp_path, {"users": 1, "duration": "9s"})

    assert (status["verdict"], status["reason"]) == ("Inconclusive", "GeneratorSaturated"), status
    told = [each for each in status["findings"] if each.startswith("WorkerDegraded: ") and "loop lag" in each]
    assert len(told) == 1, status["findings"]
    (degraded,) = told
    lag = degraded.split("loop lag up to ")[1].split("s")[0]
    assert 5.5 < float(lag) < 60, degraded
    assert "CPU up to" in degraded


@promise("saturation-told")
def test_what_a_limit_of_the_processor_keeps_from_running_is_told(throttled, tmp_path) -> None:
    status = run(BUSY, tmp_path, {"users": 2, "duration": "8s"}, throttled)

    (degraded,) = [each for each in status["findings"] if each.startswith("WorkerDegraded: ")]
    share = degraded.split("kept from running by its CPU limit up to ")[1].split(" %")[0]
    assert int(share) > 10, degraded
