"""Compare what it costs to record one request: ours as the engine does it, against Locust's `log_request`."""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from figures import Figure
from peers import SCRIPTS
from processes import Cores
from toolbox import python_program

ROUNDS = 3


def record_figures(cores: Cores) -> Iterator[Figure]:
    """Yield nanoseconds of both and their ratio, from runs that alternate."""
    pythons = {"loadstone": Path(sys.executable), "locust": python_program("locust", "python")}
    held: dict[str, list[float]] = {name: [] for name in pythons}
    for _ in range(ROUNDS):
        held["loadstone"].append(_nanoseconds(pythons["loadstone"], "record_ours.py", cores))
        held["locust"].append(_nanoseconds(pythons["locust"], "record_locust.py", cores))
    for name, values in held.items():
        yield Figure(f"record_{name}", round(statistics.median(values)), "ns", ROUNDS)
    ratios = [ours / theirs for ours, theirs in zip(held["loadstone"], held["locust"], strict=True)]
    yield Figure("record_vs_locust", round(statistics.median(ratios), 3), "x", ROUNDS)


def _nanoseconds(python: Path, script: str, cores: Cores) -> float:
    done = subprocess.run(
        [python, "-W", "ignore", SCRIPTS / script],
        preexec_fn=lambda: os.sched_setaffinity(0, {cores.generator}),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])
