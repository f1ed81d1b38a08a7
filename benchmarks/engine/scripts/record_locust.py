"""Print the nanoseconds of Locust's `log_request` for one request: the best of many short runs. No user, no event."""

import random
import sys
from time import process_time_ns

from locust.stats import RequestStats

RUNS, SAMPLES = 40, 20_000


def main() -> None:
    """Measure and print."""
    chance = random.Random(7)
    latencies = [chance.lognormvariate(16, 0.7) / 1e6 for _ in range(SAMPLES)]
    stats = RequestStats()
    print(min(_run(stats, latencies) for _ in range(RUNS)) / SAMPLES)


def _run(stats: RequestStats, latencies: list[float]) -> int:
    log_request = stats.log_request
    started_ns = process_time_ns()
    for latency in latencies:
        log_request("GET", "front page", latency, 11)
    return process_time_ns() - started_ns


if __name__ == "__main__":
    sys.exit(main())
