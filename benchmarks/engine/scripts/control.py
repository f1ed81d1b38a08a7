"""Do what might come in the way of heartbeats, loops and stops, as BENCH_MODE says, and note how late everything is."""

import atexit
import json
import os
import re
import time
from pathlib import Path

import gevent

from loadstone import User, events, measure, on_message, send_message, task

MODE = os.environ["BENCH_MODE"]
BUSY_SECONDS = float(os.environ["BENCH_SECONDS"])
LOOK_SECONDS = 0.01
LINE = "x" * 80
# A backtracking expression holds the interpreter until it has failed; each more letter doubles its time.
LETTERS = 18

late, iterations = [], []


@on_message("sleep")
def sleep(_message):
    """Wait."""
    time.sleep(BUSY_SECONDS)


@on_message("hold")
def hold(_message):
    """Hold the interpreter, longer each time, for as long as was asked."""
    end, letters = time.monotonic() + BUSY_SECONDS, LETTERS
    while (begun := time.monotonic()) < end:
        re.match(r"(a+)+$", "a" * letters + "b")
        letters += time.monotonic() - begun < (end - begun) / 3


@on_message("compute", where="process", timeout=600)
def compute(_message):
    """Compute in a process of its own."""
    end = time.monotonic() + BUSY_SECONDS
    while time.monotonic() < end:
        pass


@events.test_start.add_listener
def begin(environment):
    """Send what is to be handled, and look how late the loop is."""
    if environment.is_director:
        for name in {"sleep": ("sleep",), "hold": ("hold",), "lane": ("compute",)}.get(MODE, ()):
            send_message(name, to=0)
        return
    if MODE == "sleep":
        send_message("sleep")
    gevent.spawn(look)


def look():
    """Note how late each turn of the loop is."""
    while True:
        due = time.monotonic() + LOOK_SECONDS
        gevent.sleep(LOOK_SECONDS)
        late.append((due, time.monotonic() - due))


@atexit.register
def tell():
    """Leave what was seen."""
    if iterations:
        told = {"pid": os.getpid(), "late": late, "iterations": iterations}
        with Path(os.environ["BENCH_NOTES"]).open("a") as file:
            file.write(json.dumps(told) + "\n")


class Visitor(User):
    """Prints a line and does nothing else."""

    @task
    def turn(self):
        """Note when it began and how long it took."""
        begun = time.monotonic()
        with measure("turn"):
            if MODE == "log":
                print(LINE)
        iterations.append((begun, time.monotonic() - begun))
