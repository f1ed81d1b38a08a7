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
from loadstone_client.errors import Refused, Unreachable
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.units import SECOND
from loadstone_runner.local import run as local
from loadstone_runner.local.run import LocalResult, LocalRun
from loadstone_runner.transport.http.api import WATCHERS_MAX

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


async def begun(path: str) -> asyncio.Task[LocalResult]:
    """Return a run whose load has begun."""
    alone = Scenario(name="default", user="Idle", load=LOAD, graceful_stop_ns=SECOND)
    plan = local_plan("watched", FILES, alone, workers=1)
    running = asyncio.create_task(
        LocalRun(plan=plan, files=FILES, environment={}, on_report=lambda _report: None, control=path).run()
    )
    async with asyncio.timeout(60):
        while (await state_at(f"unix:{path}")).stage != "running":  # noqa: ASYNC110 (on the other side of a socket)
            await asyncio.sleep(0.05)
    return running


async def lost(path: str) -> tuple[LocalResult, Outcome | None]:
    running = await begun(path)
    run = connect(f"unix:{path}")
    async for row in run.watch(patience_seconds=5):
        if row.second == 0:
            os.kill(master(), signal.SIGKILL)
    return await running, run.outcome


async def crowded(path: str) -> LocalResult:
    running = await begun(path)
    waiting = [asyncio.Event() for _ in range(WATCHERS_MAX)]

    async def watch(has_row: asyncio.Event) -> str:
        run = connect(f"unix:{path}")
        async for _ in run.watch():
            has_row.set()
        return run.outcome.reason if run.outcome else ""

    watching = [asyncio.create_task(watch(each)) for each in waiting]
    async with asyncio.timeout(30):
        await asyncio.gather(*[each.wait() for each in waiting])
        with pytest.raises(Refused, match="32 watchers are served at once"):
            await anext(connect(f"unix:{path}").watch())
        await connect(f"unix:{path}").stop()
        assert set(await asyncio.gather(*watching)) == {"Stopped"}
        return await running


@pytest.mark.promise("local-control")
def test_a_run_that_as_many_watch_as_may_shows_all_of_them_its_rows_and_can_be_stopped() -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(crowded(f"{folder}/control.sock")).outcome.reason == "Stopped"


@pytest.mark.promise("local-control")
def test_a_watcher_hears_that_the_master_is_lost(monkeypatch) -> None:
    monkeypatch.setattr(local, "MASTER_RESTARTS", 0)
    # A socket's path is short.
    with tempfile.TemporaryDirectory() as folder:
        result, heard = asyncio.run(lost(f"{folder}/control.sock"))

    assert heard is not None
    assert (heard.verdict, heard.reason) == (result.outcome.verdict, result.outcome.reason) == ("Error", "MasterLost")
    assert heard.message == result.outcome.message
