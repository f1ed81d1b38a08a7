"""A target that answers nobody for two seconds: an open load shows it in its latency, a closed one says it cannot."""

import gzip
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadstone_core.stats.histogram import Histogram

ROOT = Path(__file__).resolve().parents[2]
STALL_SECONDS = 2.3
RATE = 40
MANIFEST = """
apiVersion: loadstone.dev/v1alpha1
kind: LoadTest
metadata: {{name: stall}}
spec:
  source:
    inline:
      content: |
        from loadstone import User, constant, task

        class Visitor(User):
            wait = constant(0.02)

            @task
            def front_page(self):
                self.http.get("/")
  load: {{target: {target}, duration: 8s, {load}}}
"""


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    path = ROOT / "examples" / "target" / "server.py"
    process = subprocess.Popen([sys.executable, str(path), "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        yield process, f"http://{process.stdout.readline().split()[-1]}"
        process.kill()


def start(folder: Path, target: str, load: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    (folder / "run.yaml").write_text(MANIFEST.format(target=target, load=load))
    kept = ["--status", str(folder / "status.json"), "--results", str(folder / "results")]
    return subprocess.Popen([sys.executable, "-m", "loadstone_cli", "run", str(folder / "run.yaml"), "--quiet", *kept])


def outcome(run: subprocess.Popen[bytes], folder: Path) -> tuple[dict[str, Any], Histogram]:
    """Return the status of a run that has ended, and the latency of its requests."""
    run.wait(timeout=60)
    (report,) = (folder / "results").glob("*.json.gz")
    (latency,) = (
        each for each in json.loads(gzip.decompress(report.read_bytes()))["series"] if each["metric"] == "latency"
    )
    packed = latency["histogram"]
    status: dict[str, Any] = json.loads((folder / "status.json").read_text())
    return status, Histogram.unpack(
        packed["indexes"],
        packed["counts"],
        zeros=packed["zeros"],
        total=latency["total"],
        minimum=latency["min"],
        maximum=latency["max"],
    )


def wait_for_requests(url: str) -> None:
    while True:
        with urllib.request.urlopen(f"{url}/count", timeout=5) as reply:
            if json.load(reply)["requests"] > RATE:
                return
        time.sleep(0.05)


def test_a_stall_is_in_the_latency_of_the_open_model_and_the_closed_one_says_that_it_cannot_show_it(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, url = server
    runs = {
        name: start(tmp_path / name, url, load)
        for name, load in {"open": f"rate: {RATE}", "closed": "users: 2"}.items()
    }
    wait_for_requests(url)
    time.sleep(1)
    process.send_signal(signal.SIGSTOP)
    time.sleep(STALL_SECONDS)
    process.send_signal(signal.SIGCONT)
    (is_open, shown), (closed, hidden) = (outcome(runs[name], tmp_path / name) for name in runs)

    # Of those due in the stall, all that had to wait for longer than half a second.
    waited = shown.count - shown.below(1 << 29)
    assert waited >= (STALL_SECONDS - 0.6) * RATE
    assert shown.maximum > 1_700_000_000
    assert not any("TargetStalled" in each for each in is_open["findings"])
    # One request of each user, however many would have come.
    assert hidden.count - hidden.below(1 << 29) < waited // 3
    assert sum(each.startswith("TargetStalled") for each in closed["findings"]) == 1
