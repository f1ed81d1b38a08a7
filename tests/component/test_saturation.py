"""A worker that has it too hard is named with figures, and one whose memory runs out before the kernel kills it."""

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from tests.lacking import lacks

ROOT = Path("/sys/fs/cgroup")
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


@pytest.fixture
def cramped():
    """A cgroup with little memory; give what a process has to be started with to be in it."""
    name = f"loadstone-test-{uuid.uuid4().hex[:8]}"
    is_v2 = (ROOT / "cgroup.controllers").exists()
    folder = (ROOT if is_v2 else ROOT / "memory") / name
    try:
        folder.mkdir()
        (folder / ("memory.max" if is_v2 else "memory.limit_in_bytes")).write_text(str(LIMIT_BYTES))
        with contextlib.suppress(OSError):  # where there is no swap there is nothing to be said of it
            (folder / ("memory.swap.max" if is_v2 else "memory.swappiness")).write_text("0")
    except OSError as error:
        lacks(f"no cgroup with a limit of memory can be made here: {error}")
    yield ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh"]
    # What is left of the run ends first.
    for _ in range(100):
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106 a cgroup, not a folder of files
            return
        time.sleep(0.1)


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
    assert status.exists(), done.stderr
    return json.loads(status.read_text())


@promise("memory-high", "worker-oom")
def test_who_owns_the_memory_is_told_before_the_kernel_kills(cramped, tmp_path) -> None:
    status = run(HOARDER, tmp_path, {"users": 500, "spawnRate": 25, "duration": "60s"}, tuple(cramped))

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
