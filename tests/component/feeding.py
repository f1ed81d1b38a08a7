"""Feed samples straight into a recorder and its states into a master's measurement, second by simulated second.

A process of its own, so that its memory is that of what it measures: `python feeding.py SECONDS SAMPLES_A_SECOND`
prints one JSON object: resident bytes after the first minute, the most after it, and what was counted in the end.
"""

import json
import os
import random
import sys
from pathlib import Path

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_core.units import SECOND
from loadstone_runner.master.measurement import Measurement

STREAM = StreamId(0, 1, 0, 1)
ENDPOINTS = ("front page", "article", "basket", "order")
FIRST_MINUTE = 60
USERS = 1_000


def main() -> None:
    seconds, per_second = int(sys.argv[1]), int(sys.argv[2])
    profile = Profile((Segment(0, seconds * SECOND, USERS, USERS),), seconds * SECOND)
    recorder, measurement = (
        Recorder(),
        Measurement([Scenario(name="default", load=LoadProfile(Model.USERS, profile, None), graceful_stop_ns=0)]),
    )
    values = latencies(per_second)
    settled = most = 0
    for second in range(seconds):
        record_second(recorder, values, requests=per_second <= len(ENDPOINTS) * 100)
        measurement.apply(closed(recorder, second, per_second), since_start_ns=(second + 1) * SECOND)
        measurement.close_seconds()
        if second == FIRST_MINUTE:
            settled = most = resident_bytes()
        elif second > FIRST_MINUTE and second % 10 == 0:
            most = max(most, resident_bytes())
    counted = {key.metric: 0 for key in measurement.merge.series}
    for key, series in measurement.merge.series.items():
        counted[key.metric] += series.count
    rows = len(measurement.timeline.rows())
    print(json.dumps({"settled": settled, "most": max(most, resident_bytes()), "counted": counted, "rows": rows}))


def latencies(count: int) -> list[int]:
    """Return samples with a long tail, so that every bucket that will ever be used is used in the first minute."""
    chance = random.Random(20)  # noqa: S311 samples are no secret
    return [int(chance.lognormvariate(16, 1)) for _ in range(count)]


def record_second(recorder: Recorder, values: list[int], *, requests: bool) -> None:
    if not requests:
        record = recorder.iteration
        for value in values:
            record("Visitor.front_page", value)
        return
    for number, value in enumerate(values):
        recorder.request(
            method="GET",
            name=ENDPOINTS[number % len(ENDPOINTS)],
            latency_ns=value,
            service_ns=value,
            failed=False,
            unsent=False,
            ambiguous=False,
            interrupted=False,
            sent=60,
            received=180,
        )


def closed(recorder: Recorder, second: int, per_second: int) -> StreamState:
    done = (second + 1) * per_second
    counters = Counters(started=done, completed=done, iterations_started=done, iterations_completed=done)
    series = recorder.take(second)
    return StreamState(STREAM, second + 1, second, full=False, series=series, counters=counters, users=USERS)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
