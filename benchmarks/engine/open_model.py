"""Measure the open model: iterations at a very high rate that only yield, and how exactly arrivals start."""

import time
from collections.abc import Iterator, Mapping

from figures import Figure
from measurement import SECOND_NS, Bench, require_exact
from ours import Result, Run, running
from peers import SCRIPTS, Mode
from processes import cpu_ns, resident_bytes

from loadstone_core.spec.fields import SPEC
from loadstone_core.spec.shape import Record

YIELD_RATE = 100_000
ARRIVAL_RATE = 5_000
WARM_SECONDS = 1.0
START_SECONDS = 30.0
# Where the LoadTest can say so; else the engine makes as many users as it thinks right.
_BOUNDS = {"preallocatedUsers": 1_000, "maxUsers": 1_000}


def thousand_users() -> dict[str, int]:
    """Return the fields of an open model that has 1,000 users from the start and never more."""
    load = SPEC.fields["load"]
    known = load.fields if isinstance(load, Record) else {}
    return {name: users for name, users in _BOUNDS.items() if name in known}


def yield_iterations(bench: Bench, seconds: int) -> Iterator[Figure]:
    """Yield what 100,000 iterations a second that yield once cost, how many were dropped, and how many never began."""
    load = {"rate": YIELD_RATE, **thousand_users(), "duration": f"{seconds}s", "gracefulStop": "5s"}
    with running(SCRIPTS / "turn.py", load, environment={}, cores=bench.cores) as run:
        rate, core, others, memory = _steady(run, seconds - 2 * WARM_SECONDS)
        result = run.result()
    yield Figure("yield_iterations_rate", round(rate), "iterations/s", 1)
    yield Figure("yield_iterations_dropped", result.total("dropped_iterations"), "iterations", 1)
    missing = YIELD_RATE * seconds - result.total("iterations")
    yield Figure("yield_iterations_missing", missing, f"of {YIELD_RATE * seconds} iterations", 1)
    yield Figure("yield_iterations_core", round(core, 3), "cores", 1)
    yield Figure("yield_iterations_others_core", round(others, 3), "cores", 1)
    yield Figure("yield_iterations_memory", round(memory / 1e6, 1), "MB", 1)


def arrivals(bench: Bench, seconds: int) -> Iterator[Figure]:
    """Yield how late iterations started at 5,000 a second with a request each, and how many there were."""
    before = bench.target.count()
    load = {"target": bench.target.url, "rate": ARRIVAL_RATE, "duration": f"{seconds}s", "gracefulStop": "5s"}
    told: Mapping[str, str] = {"BENCH_PATH": "/", "BENCH_MODE": Mode.KEEP_ALIVE.value}
    with running(SCRIPTS / "visit.py", load, environment=told, cores=bench.cores) as run:
        _, core, _, _ = _steady(run, seconds - 2 * WARM_SECONDS)
        result = run.result()
    require_exact(result, served=bench.target.count().requests - before.requests)
    yield Figure("arrival_5000_error_p99", round(result.quantile_ns("schedule_slip", 0.99) / 1e6, 3), "ms", 1)
    yield Figure("arrival_5000_achieved", round(_achieved(result, seconds), 5), "of the planned", 1)
    yield Figure("arrival_5000_core", round(core, 3), "cores", 1)


def _achieved(result: Result, seconds: int) -> float:
    return result.total("iterations") / (ARRIVAL_RATE * seconds)


def _steady(run: Run, seconds: float) -> tuple[float, float, float, int]:
    """Return iterations a second, cores of the engine and of the others, and the engine's bytes, once it is warm."""
    deadline = time.monotonic() + START_SECONDS
    while not run.counters().iterations_started and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(WARM_SECONDS)
    first_ns, first = (
        time.monotonic_ns(),
        (run.counters().iterations_completed, cpu_ns(run.engine), run.others_cpu_ns()),
    )
    time.sleep(seconds)
    last_ns, last = time.monotonic_ns(), (run.counters().iterations_completed, cpu_ns(run.engine), run.others_cpu_ns())
    done, engine, others = (after - before for before, after in zip(first, last, strict=True))
    wall = last_ns - first_ns
    return done * SECOND_NS / wall, engine / wall, others / wall, resident_bytes(run.engine)
