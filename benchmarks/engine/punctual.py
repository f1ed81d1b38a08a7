"""Measure how punctual the statistics of each second are while very many users open TLS connections."""

import math
import time
from collections.abc import Iterator
from itertools import pairwise

from figures import Figure
from measurement import SECOND_NS, Bench, require_exact
from ours import Run, running
from peers import SCRIPTS, Mode

USERS = 1_000
A_SECOND = 100
SECONDS_AFTER = 5
START_SECONDS = 30.0
LOOK_SECONDS = 0.002


def statistics_under_tls(bench: Bench) -> Iterator[Figure]:
    """Yield the time between two statistics of the engine while 1,000 HTTPS users come, 100 a second, and go on."""
    seconds = USERS // A_SECOND + SECONDS_AFTER
    before = bench.target.count()
    load = {
        "target": bench.target.tls_url,
        "users": USERS,
        "spawnRate": A_SECOND,
        "duration": f"{seconds}s",
        "gracefulStop": "5s",
    }
    told = {"BENCH_PATH": "/", "BENCH_MODE": Mode.KEEP_ALIVE.value}
    with running(SCRIPTS / "visit.py", load, environment=told, cores=bench.cores) as run:
        distances = sorted(_distances(run, seconds))
        result = run.result()
    require_exact(result, served=bench.target.count().requests - before.requests)
    yield Figure(
        "tls_statistics_every_p99", round(distances[math.ceil(len(distances) * 0.99) - 1], 3), "s", len(distances)
    )


def _distances(run: Run, seconds: int) -> list[float]:
    """Return the seconds between one report of the engine and the next."""
    deadline = time.monotonic() + START_SECONDS
    while not run.counters().started and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    end_ns = time.monotonic_ns() + (seconds - 1) * SECOND_NS
    moments: list[int] = []
    newest = run.counters().reported
    while (now_ns := time.monotonic_ns()) < end_ns:
        reported = run.counters().reported
        if reported != newest:
            newest = reported
            moments.append(now_ns)
        time.sleep(LOOK_SECONDS)
    return [(later - earlier) / SECOND_NS for earlier, later in pairwise(moments)]
