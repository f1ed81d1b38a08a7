"""Send messages to the director, in one of two ways: all that get through, or some to see how long one takes."""

import json
import os
import time
from pathlib import Path

from loadstone import User, constant, events, on_message, send_message, task

SECONDS = float(os.environ["BENCH_SECONDS"])
IN_FLIGHT = 500


def note(**fields):
    """Leave something for whoever measures."""
    with Path(os.environ["BENCH_NOTES"]).open("a") as file:
        file.write(json.dumps(fields) + "\n")


@on_message("count", concurrent=True, queue=10_000)
def count(message):
    """Do nothing with it."""


@events.test_start.add_listener
def begin(environment):
    """Send for as long as is measured."""
    if environment.is_director:
        return
    note(begins=True)
    flood() if os.environ["BENCH_MODE"] == "flood" else pace()


def flood():
    """Keep so many on their way, and count those that were processed."""
    begun, done, sent = time.monotonic(), 0, []
    while time.monotonic() < begun + SECONDS:
        sent.append(send_message("count", {"number": done}))
        if len(sent) >= IN_FLIGHT:
            sent[0].wait()
            while sent and sent[0].is_done:
                done += sent.pop(0).wait().is_processed
    note(rate=done / (time.monotonic() - begun))


def pace():
    """Send one after the other, and note how long each takes until its answer."""
    begun, took = time.monotonic(), []
    while time.monotonic() < begun + SECONDS:
        at = time.perf_counter()
        send_message("count", {"number": 1}).wait()
        took.append(time.perf_counter() - at)
        time.sleep(0.005)
    took.sort()
    note(rate=len(took) / SECONDS, p50=took[len(took) // 2], p99=took[len(took) * 99 // 100])


class Idler(User):
    """Lets the run last."""

    wait = constant(1)

    @task
    def turn(self):
        """Do nothing."""
