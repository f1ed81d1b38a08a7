"""Compare what it costs to record one request: ours as the engine does it, against Locust's `log_request`."""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from figures import Figure
from peers import SCRIPTS
from processes import Cores
from toolbox import python_program

ROUNDS = 3


def record_figures(cores: Cores) -> Iterator[Figure]:
    """Yield nanoseconds of both and their ratio, from runs that alternate."""
    ours, theirs = Path(sys.executable), python_program("locust", "python")
    held: dict[str, list[float]] = {"loadstone": [], "pure": [], "locust": []}
    for _ in range(ROUNDS):
        held["loadstone"].append(_nanoseconds(ours, "record_ours.py", cores))
        held["pure"].append(_nanoseconds(ours, "record_ours.py", cores, {"LOADSTONE_PURE_PYTHON": "1"}))
        held["locust"].append(_nanoseconds(theirs, "record_locust.py", cores))
    for name, values in held.items():
        yield Figure(f"record_{name}", round(statistics.median(values)), "ns", ROUNDS)
    for name, line in (("loadstone", "record_vs_locust"), ("pure", "record_pure_vs_locust")):
        ratios = [one / other for one, other in zip(held[name], held["locust"], strict=True)]
        yield Figure(line, round(statistics.median(ratios), 3), "x", ROUNDS)


def _nanoseconds(python: Path, script: str, cores: Cores, environment: Mapping[str, str] | None = None) -> float:
    done = subprocess.run(
        [python, "-W", "ignore", SCRIPTS / script],
        preexec_fn=lambda: os.sched_setaffinity(0, {cores.generator}),
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])
