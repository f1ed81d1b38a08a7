"""Whole local runs of scripts that send each other messages, and what these have noted. No test is here."""

import asyncio
import contextlib
import gzip
import json
import os
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.component.local_plan import local_plan
from tests.component.ports import free_port
from tests.component.scraping import figure, page

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.units import SECOND
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.local.run import LocalResult, LocalRun

# What takes a minute or more is in the soak; what is promised holds for any length.
IS_SOAK = "LOADSTONE_SOAK" in os.environ
SLOW_SECONDS = 75 if IS_SOAK else 8
COMPUTE_SECONDS = 30 if IS_SOAK else 2
HOLD_SECONDS = 30 if IS_SOAK else 8
POLL_SECONDS = 0.05
PAGE_SECONDS = 0.5

HEAD = """
import json, os, time
import gevent
from gevent.event import Event
from loadstone import *

hold = Event()  # users wait for it, and the load with them
hold.set()


def note(**fields):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps(fields, default=str) + chr(10))


class Visitor(User):
    wait = constant(0.05)

    @task
    def turn(self):
        hold.wait()
        with measure("turn"):
            pass

"""


@dataclass
class Ran:
    """A run that is over: its end, its reports, and what its script has noted.

    Attributes:
        answered: when each agent was seen to have another answer to a heartbeat, while the load ran.
        log: what its processes have said.
        pages: what each of its processes that have metrics showed last while the load ran, by role.
    """

    result: LocalResult
    log: str
    reports: list[Any] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    answered: list[list[float]] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)

    def noted(self, what: str) -> list[Any]:
        return [each[what] for each in self.notes if what in each]

    def gaps(self) -> list[float]:
        """Return the seconds between two answers to heartbeats of one agent, of all of them, the shortest first."""
        return sorted(later - earlier for moments in self.answered for earlier, later in pairwise(moments))


def run(
    folder: Path,
    script: str,
    *,
    seconds: int | None = 3,
    workers: int = 2,
    engines: int = 1,
    users: int = 4,
    **plan: Any,
) -> Ran:
    files = {"test.py": (HEAD + textwrap.dedent(script)).encode()}
    if seconds is None:
        # As long as the script lets its users wait.
        load = LoadProfile(Model.ITERATIONS, Profile((Segment(0, FOREVER_NS, users, users),), None), users)
    else:
        end_ns = seconds * SECOND
        load = LoadProfile(Model.USERS, Profile((Segment(0, end_ns, users, users),), end_ns), None)
    alone = Scenario(
        name="default", user=None, load=load, graceful_stop_ns=plan.pop("graceful_seconds", 5) * SECOND, target=None
    )
    made = local_plan(
        "messages", files, alone, workers=workers, engines_per_worker=engines, tolerance_ppm=50_000, **plan
    )
    notes, reports = folder / "notes", []
    notes.touch()
    ports = {"master": free_port(), **{f"agent-{worker}": free_port() for worker in range(workers)}}
    local = LocalRun(
        plan=made,
        files=files,
        environment={"NOTES": str(notes), "COMPUTE": str(COMPUTE_SECONDS), "HOLD": str(HOLD_SECONDS)},
        on_report=reports.append,
        log_file=folder / "log.gz",
        metrics={role: f"127.0.0.1:{port}" for role, port in ports.items()},
    )
    answered: list[list[float]] = []
    pages: dict[str, str] = {}

    def is_running() -> bool:
        return bool(reports) and reports[-1].stage == pb.RUNNING_LOAD

    async def watched() -> LocalResult:
        watching = [asyncio.create_task(watch_pages(ports, is_running, pages))]
        for worker in range(workers):
            answered.append([])
            watching.append(asyncio.create_task(watch_beats(ports[f"agent-{worker}"], is_running, answered[-1])))
        try:
            return await local.run()
        finally:
            for each in watching:
                each.cancel()
            # What went wrong there is told.
            await asyncio.wait(watching)
            assert all(each.cancelled() for each in watching), watching

    result = asyncio.run(asyncio.wait_for(watched(), 100 + (seconds or 0)))
    noted = [json.loads(line) for line in notes.read_text().splitlines()]
    log = gzip.decompress((folder / "log.gz").read_bytes()).decode()
    return Ran(result, log, reports, noted, answered, pages)


async def watch_beats(port: int, is_running: Callable[[], bool], moments: list[float]) -> None:
    """Note when an agent has had another answer to a heartbeat, while the load runs; until cancelled."""
    newest = 0.0
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if not is_running():
            continue
        # An agent that comes or goes shows nothing, or half of it.
        with contextlib.suppress(OSError, AssertionError):
            told = figure(await page(port), "loadstone_agent_heartbeats_answered_total")
            if told > newest:
                newest = told
                moments.append(time.monotonic())


async def watch_pages(ports: Mapping[str, int], is_running: Callable[[], bool], pages: dict[str, str]) -> None:
    """Keep what was shown last at each port, by the same name, while the load runs; until cancelled."""
    while True:
        await asyncio.sleep(PAGE_SECONDS)
        for role, port in ports.items():
            with contextlib.suppress(OSError):
                shown = await page(port)
                if is_running():
                    pages[role] = shown
