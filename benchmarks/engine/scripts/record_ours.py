"""Print the nanoseconds that it takes to count and record one request, the way our engine does for each of them.

With latency and service time, found by method, name and labels, with the time of the first byte, bytes sent and
received, and the counters that survive a SIGKILL. The best of many short runs counts.
"""

import random
import sys
import tempfile
from time import process_time_ns

from loadstone_core.stats.metrics import Phase
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.path import Instruments

RUNS, SAMPLES = 40, 20_000


def main() -> None:
    """Measure and print."""
    chance = random.Random(7)
    latencies = [int(chance.lognormvariate(16, 0.7)) for _ in range(SAMPLES)]
    with tempfile.NamedTemporaryFile() as file:
        instruments = Instruments(CounterFile(file.name))
        print(min(_run(instruments, latencies) for _ in range(RUNS)) / SAMPLES)


def _run(instruments: Instruments, latencies: list[int]) -> int:
    phase = instruments.recorder.phase
    begin, end = instruments.begin_request, instruments.end_request
    started_ns = process_time_ns()
    for latency in latencies:
        begin()
        phase(Phase.FIRST_BYTE, latency, method="GET", name="front page")
        end(
            method="GET",
            name="front page",
            latency_ns=latency,
            service_ns=latency,
            error=None,
            message="",
            unsent=False,
            ambiguous=False,
            interrupted=False,
            sent=60,
            received=180,
        )
    return process_time_ns() - started_ns


if __name__ == "__main__":
    sys.exit(main())
