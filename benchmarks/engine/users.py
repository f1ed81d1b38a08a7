"""Measure what users cost beside their requests: the memory of one, and the time until very many are there."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from figures import Figure
from measurement import SECOND_NS, Bench, require_exact
from ours import Run, running
from peers import SCRIPTS
from processes import resident_bytes

USERS = 10_000
USERS_BEFORE = 100
STARTED = 20_000
# What an engine needs open beside its users' connections.
FILES_BESIDE = 500
SETTLE_SECONDS = 2.0
ALL_SECONDS = 120.0
LOOK_SECONDS = 0.05


def memory_per_user(bench: Bench) -> Iterator[Figure]:
    """Yield the memory that one more user with an open connection takes: from 100 users to 10,000."""
    stages = [
        {"users": USERS_BEFORE, "duration": "2s", "ramp": "Step"},
        {"users": USERS_BEFORE, "duration": "5s"},
        {"users": USERS, "duration": "8s"},
        {"users": USERS, "duration": "5m"},
    ]
    before = bench.target.count()
    with _running(bench, stages=stages) as run:
        _wait(lambda: bench.target.count().connections >= USERS_BEFORE)
        time.sleep(SETTLE_SECONDS)
        few = resident_bytes(run.engine)
        _wait(lambda: bench.target.count().connections >= USERS)
        time.sleep(SETTLE_SECONDS)
        many = resident_bytes(run.engine)
        result = run.stop()
    require_exact(result, served=bench.target.count().requests - before.requests)
    yield Figure("memory_per_user", round((many - few) / (USERS - USERS_BEFORE) / 1000, 2), "KB", 1)
    yield Figure("memory_10000_users", round(many / 1e6, 1), "MB", 1)


def start_of_many(bench: Bench) -> Iterator[Figure]:
    """Yield how long it takes from the first to the last of 20,000 users, started at once, having had an answer.

    Of fewer users, where the limit of open files does not allow so many: `users_20000_start_users` says of how many.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    users = min(STARTED, files - FILES_BESIDE)
    before = bench.target.count()
    with _running(bench, users=users, duration="5m") as run:
        _wait(lambda: run.counters().iterations_started > 0)
        first_ns = time.monotonic_ns()
        _wait(lambda: run.counters().completed >= users)
        seconds = (time.monotonic_ns() - first_ns) / SECOND_NS
        open_connections = bench.target.count().connections
        result = run.stop()
    require_exact(result, served=bench.target.count().requests - before.requests)
    yield Figure("users_20000_start", round(seconds, 2), "s", 1)
    yield Figure("users_20000_start_users", users, "users", 1)
    yield Figure("users_20000_start_connections", open_connections, "connections", 1)


def _running(bench: Bench, **model: object) -> AbstractContextManager[Run]:
    load = {"target": bench.target.url, "gracefulStop": "5s", **model}
    told = {"BENCH_PORT": str(bench.target.port)}
    return running(SCRIPTS / "idle.py", load, environment=told, cores=bench.cores)


def _wait(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ALL_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            sys.exit(f"bench-engine: not all users were there after {ALL_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
