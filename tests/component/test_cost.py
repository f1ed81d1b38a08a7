"""What a sample and a request cost, as ratios of CPU time within one run: generous, for what must not happen is a leap.

How fast the engine is beside others is a benchmark's figure (`make bench-engine`), not a test's.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time_ns

import pytest

from loadstone_core.stats.recorder import Recorder

pytestmark = pytest.mark.alone

SPENDING = Path(__file__).with_name("spending.py")
SAMPLES = 5_000
RUNS = 15


def least_ns(*functions: Callable[[], None]) -> list[int]:
    """Return the least CPU time of each, over runs that alternate: what disturbs one run does not disturb all."""
    least = [2**63] * len(functions)
    for _ in range(RUNS):
        for place, function in enumerate(functions):
            before = process_time_ns()
            function()
            least[place] = min(least[place], process_time_ns() - before)
    return least


def recording(recorder: Recorder, names: list[str]) -> Callable[[], None]:
    chance = random.Random(11)  # noqa: S311 samples are no secret
    values = [int(chance.lognormvariate(16, 1)) for _ in range(SAMPLES)]
    pairs = [(names[number % len(names)], value) for number, value in enumerate(values)]

    def run() -> None:
        for name, value in pairs:
            recorder.request(
                method="GET",
                name=name,
                latency_ns=value,
                service_ns=value,
                failed=False,
                unsent=False,
                ambiguous=False,
                interrupted=False,
                sent=60,
                received=180,
            )

    return run


def counting() -> Callable[[], None]:
    """Return what any recording must do at least: call a function with keywords that finds a name and counts."""
    counts = {"front page": 0}

    def count(*, name: str, value: int, failed: bool) -> None:
        if not failed:
            counts[name] += value

    def run() -> None:
        for number in range(SAMPLES):
            count(name="front page", value=number, failed=False)

    return run


def test_recording_a_request_costs_at_most_twenty_times_counting_it() -> None:
    recorded, counted = least_ns(recording(Recorder(), ["front page"]), counting())

    assert recorded < 20 * counted, (recorded, counted)


def test_the_millionth_sample_costs_about_what_the_first_ones_do() -> None:
    old = Recorder()
    fill = recording(old, ["front page"])
    for _ in range(200):
        fill()
    among_many, among_few = least_ns(recording(old, ["front page"]), recording(Recorder(), ["front page"]))

    assert among_many < 2 * among_few, (among_many, among_few)


def test_a_sample_among_a_thousand_names_costs_about_what_one_of_a_single_name_does() -> None:
    crowd = recording(Recorder(), [f"page {number}" for number in range(900)])
    crowd()
    among_many, alone = least_ns(crowd, recording(Recorder(), ["front page"]))

    assert among_many < 4 * alone, (among_many, alone)


def test_a_request_costs_at_most_four_times_its_bytes_over_bare_sockets() -> None:
    done = subprocess.run([sys.executable, str(SPENDING)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["recorded"] == 10 * 200 * 7
    assert found["ours"] < 4 * found["bare"], found
