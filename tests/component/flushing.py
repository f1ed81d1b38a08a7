"""Flush what many workers have recorded into a master's merge, second by simulated second, by way of the wire's bytes.

A process of its own, so that its memory is the master's: `python flushing.py SECONDS` prints one JSON object: resident
bytes once every series has come, the most after that, and what was counted in the end.
"""

import json
import sys

from tests.component.feeding import latencies, resident_bytes

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_core.units import SECOND
from loadstone_protocol.codec import stream_state_from_message, stream_state_to_message
from loadstone_protocol.v1 import statistics_pb2
from loadstone_runner.master.measurement import Measurement
from loadstone_runner.master.shelf import new_merge, read_series

WORKERS, ENDPOINTS = 50, 100
EACH_SECOND = 2  # endpoints that a worker has used in it
SETTLED_SECONDS = 300


class Worker:
    """One worker's recorder, which uses its endpoints one after the other."""

    def __init__(self, number: int, samples: list[int]) -> None:
        self.stream = StreamId(number, 1, 0, 1)
        self.recorder = Recorder()
        self.samples = samples
        self.done = 0

    def flush(self, second: int) -> bytes:
        """Record a second and return its state as it is sent."""
        for _ in range(EACH_SECOND):
            latency_ns = self.samples[(self.done * 7 + self.stream.worker) % len(self.samples)]
            self.recorder.request(
                method="GET",
                name=f"/products/{(self.done + self.stream.worker) % ENDPOINTS}",
                latency_ns=latency_ns,
                service_ns=latency_ns,
                failed=False,
                unsent=False,
                ambiguous=False,
                interrupted=False,
                sent=60,
                received=180,
            )
            self.done += 1
        counters = Counters(self.done, self.done, 0, 0, self.done, self.done, scenarios=((self.done, self.done),))
        series = self.recorder.take(second)
        state = StreamState(
            self.stream, second + 1, second, full=False, series=series, counters=counters, users=1, scenario_users=(1,)
        )
        return stream_state_to_message(state).SerializeToString()


def main() -> None:
    seconds = int(sys.argv[1])
    profile = Profile((Segment(0, seconds * SECOND, WORKERS, WORKERS),), seconds * SECOND)
    load = LoadProfile(Model.USERS, profile, None)
    measurement = Measurement([Scenario(name="default", load=load, graceful_stop_ns=0)], merge=new_merge())
    # Few, so that recorders, which are in this process too, have all of their buckets soon.
    samples = latencies(4)
    workers = [Worker(number, samples) for number in range(WORKERS)]
    settled = most = 0
    for second in range(seconds):
        for worker in workers:
            message = statistics_pb2.PackedStreamState.FromString(worker.flush(second))
            state = stream_state_from_message(message, read_series)
            measurement.apply(state, since_start_ns=(second + 1) * SECOND)
        measurement.close_seconds()
        if second == SETTLED_SECONDS:
            settled = most = resident_bytes()
        elif second > SETTLED_SECONDS and second % 60 == 0:
            most = max(most, resident_bytes())
    totals = measurement.merge.totals()
    counted = sum(each.count for key, each in totals.series.items() if key.metric == "latency")
    names = len({key.name for key in totals.series if key.metric == "latency"})
    most = max(most, resident_bytes())
    print(json.dumps({"settled": settled, "most": most, "counted": counted, "names": names}))


if __name__ == "__main__":
    main()
