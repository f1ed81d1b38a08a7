"""What records and merges stays as large as it is after the first minute, however much and however long it goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

FEEDING = Path(__file__).with_name("feeding.py")
FLAT_BYTES = 5_000_000
FLUSHING = "tests.component.flushing"
ROOT = Path(__file__).resolve().parents[2]
# A master with many workers; a day of it takes twenty minutes and is in `make soak`.
FLUSHED_SECONDS = int(float(os.environ.get("FLUSHED_HOURS", "0.17")) * 3600)
FLUSHED_BYTES = 20_000_000


def feed(seconds: int, per_second: int) -> dict:
    done = subprocess.run(
        [sys.executable, str(FEEDING), str(seconds), str(per_second)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Two minutes of a shared machine's core; ten times as long before it counts as hanging.
@pytest.mark.timeout(1200)
def test_seventeen_minutes_of_100000_samples_a_second_leave_memory_flat_after_the_first() -> None:
    found = feed(17 * 60, 100_000)

    assert found["counted"]["iterations"] == found["counted"]["iteration_duration"] == 102_000_000
    assert found["most"] - found["settled"] < FLAT_BYTES, found


@pytest.mark.timeout(1200)
def test_a_day_of_simulated_seconds_leaves_memory_flat_after_the_first_minute() -> None:
    found = feed(24 * 3600, 12)

    assert found["counted"]["latency"] == 24 * 3600 * 12
    assert found["most"] - found["settled"] < FLAT_BYTES, found
    # Ten minutes by the second, six hours by ten of them, the rest by the minute.
    assert found["rows"] < 600 + 6 * 360 + 24 * 60 + 60


@pytest.mark.timeout(7200)
def test_flushes_of_fifty_workers_with_a_hundred_endpoints_leave_a_masters_memory_flat() -> None:
    done = subprocess.run(
        [sys.executable, "-m", FLUSHING, str(FLUSHED_SECONDS)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    print(f"flushed {FLUSHED_SECONDS} s: grew by {(found['most'] - found['settled']) / 1e6:.1f} MB")
    assert (found["counted"], found["names"]) == (FLUSHED_SECONDS * 50 * 2, 100)
    assert found["most"] - found["settled"] < FLUSHED_BYTES, found
