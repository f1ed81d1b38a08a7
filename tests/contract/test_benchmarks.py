"""Benchmarks do not rot unseen: their modules can be imported, and the engine takes the scripts that they run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = BENCHMARKS / "engine" / "scripts"


@pytest.mark.parametrize("name", ["connect", "control", "engine", "master", "messages", "soak"])
def test_a_benchmark_can_be_asked_what_it_does(name) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


@pytest.mark.parametrize(
    ("script", "user", "mode"),
    [
        ("visit.py", "Visitor", "keep_alive"),
        ("visit.py", "Visitor", "fresh"),
        ("visit.py", "Visitor", "parsed"),
        ("idle.py", "Idler", "keep_alive"),
        ("turn.py", "Turner", "keep_alive"),
        ("control.py", "Visitor", "log"),
        ("messages.py", "Idler", "flood"),
    ],
)
def test_the_engine_takes_a_benchmarks_script(script, user, mode) -> None:
    told = {
        "LOADSTONE_SCRIPT_DIR": str(SCRIPTS),
        "LOADSTONE_ENTRYPOINT": script,
        "BENCH_PATH": "/",
        "BENCH_PORT": "80",
        "BENCH_MODE": mode,
        "BENCH_SECONDS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "loadstone_runner", "check"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **told},
    )

    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["ok"], report["problem"], report["user_classes"]) == (True, "", [user])
