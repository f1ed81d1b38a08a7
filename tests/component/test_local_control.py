"""Who watches a local run at its socket hears how it ends, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.component.local_plan import local_plan
from tests.component.processes import descendants

from loadstone_client.asynchronous import connect
from loadstone_client.errors import Unreachable
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.units import SECOND
from loadstone_runner.local import run as local
from loadstone_runner.local.run import LocalResult, LocalRun

if TYPE_CHECKING:
    from loadstone_client.values import Outcome, State

FILES = {"test.py": b"from loadstone import User, task\nclass Idle(User):\n    @task\n    def rest(self): ...\n"}
LOAD = LoadProfile(Model.RATE, Profile((Segment(0, 60 * SECOND, 5, 5),), 60 * SECOND), None)


def master() -> int:
    commands = {each: Path(f"/proc/{each}/cmdline").read_bytes() for each in descendants(os.getpid())}
    (found,) = [each for each, command in commands.items() if command.endswith(b"\0master\0")]
    return found


async def state_at(address: str) -> State:
    while True:
        try:
            return await connect(address).state()
        except Unreachable:
            await asyncio.sleep(0.05)


async def watched(path: str) -> tuple[LocalResult, Outcome | None]:
    alone = Scenario(name="default", user="Idle", load=LOAD, graceful_stop_ns=SECOND)
    plan = local_plan("lost", FILES, alone, workers=1)
    running = asyncio.create_task(
        LocalRun(plan=plan, files=FILES, environment={}, on_report=lambda _report: None, control=path).run()
    )
    address = f"unix:{path}"
    async with asyncio.timeout(60):
        while (await state_at(address)).stage != "running":  # noqa: ASYNC110 (on the other side of a socket)
            await asyncio.sleep(0.05)
    run = connect(address)
    async for row in run.watch(patience_seconds=5):
        if row.second == 0:
            os.kill(master(), signal.SIGKILL)
    return await running, run.outcome


@pytest.mark.promise("local-control")
def test_a_watcher_hears_that_the_master_is_lost(monkeypatch) -> None:
    monkeypatch.setattr(local, "MASTER_RESTARTS", 0)
    # A socket's path is short.
    with tempfile.TemporaryDirectory() as folder:
        result, heard = asyncio.run(watched(f"{folder}/control.sock"))

    assert heard is not None
    assert (heard.verdict, heard.reason) == (result.outcome.verdict, result.outcome.reason) == ("Error", "MasterLost")
    assert heard.message == result.outcome.message
