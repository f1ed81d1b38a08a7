"""Print the nanoseconds that it takes to count and record one request in our engine, called from Python.

Found by method and name, with a latency and a service time that differ, the time of the first byte and of the body,
bytes sent and received, a check that is found by its label, and the counters that survive a SIGKILL. So are requests
recorded that are not plain; what passes plainly is recorded by the same C functions without the calls from Python. The
best of many short runs counts. LOADSTONE_PURE_PYTHON=1 measures the flavour that needs no compiler.
"""

import random
import sys
import tempfile
from time import process_time_ns

from loadstone_core.stats.metrics import Phase
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.path import Instruments

RUNS, SAMPLES = 40, 20_000
DELAY_NS = 1_500
FIRST_BYTE, BODY = Phase.FIRST_BYTE, Phase.BODY


def main() -> None:
    """Measure and print."""
    chance = random.Random(7)
    latencies = [int(chance.lognormvariate(16, 0.7)) for _ in range(SAMPLES)]
    with tempfile.NamedTemporaryFile() as file:
        instruments = Instruments(CounterFile(file.name))
        print(min(_run(instruments, latencies) for _ in range(RUNS)) / SAMPLES)


def _run(instruments: Instruments, latencies: list[int]) -> int:
    begin, end, check = instruments.begin_request, instruments.end_request, instruments.check
    started_ns = process_time_ns()
    for latency in latencies:
        begin()
        end(
            method="GET",
            name="front page",
            latency_ns=latency + DELAY_NS,
            service_ns=latency,
            error=None,
            message="",
            unsent=False,
            ambiguous=False,
            interrupted=False,
            sent=60,
            received=180,
            phases=((FIRST_BYTE, latency), (BODY, 0)),
        )
        check("answered", ok=True, labels={"page": "front"})
    return process_time_ns() - started_ns


if __name__ == "__main__":
    sys.exit(main())
