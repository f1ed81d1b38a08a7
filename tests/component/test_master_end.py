"""A real master process whose own end goes wrong: the run has one all the same."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING

from tests.component.master_process import master_of, plan_of, scenario, users
from tests.component.scripted_agent import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.component.master_process import Master

FAILING = {"ok": False, "problem": "KeyError: 'token'", "requests": 1}


async def left(master: Master) -> int:
    assert master.process is not None
    return await asyncio.wait_for(master.process.wait(), 20)


def test_a_run_that_cannot_be_concluded_ends_as_an_error_that_says_why(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1), percentiles=("no number",)), tmp_path) as master:
            await master.direct(setup=FAILING)
            follower = master.follow()
            outcome = (await master.outcome(follower)).outcome

            assert (outcome.verdict, outcome.reason, outcome.exit_code) == ("Error", "MasterLost", 1)
            assert "failed to work out what it means: ValueError: " in outcome.message
            assert "no number" in outcome.message
            # Followers may hear of it a moment before the kubelet could.
            await until((tmp_path / "last-word").exists)
            assert master.last_word == {
                "verdict": "Error",
                "reason": "MasterLost",
                "message": outcome.message,
                "exitCode": 1,
                "requests": 0,
            }
            assert await follower.fetch_report() == b""
            await follower.stored(outcome.report_sha256)
            assert await left(master) == 0

    scenario(run())


def test_a_report_that_the_disk_does_not_take_is_handed_over_and_the_verdict_stays(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(1, 1)), tmp_path) as master:
            (tmp_path / "state" / ".report.json.gz.new").mkdir()
            await master.direct(setup=FAILING)
            follower = master.follow()
            outcome = (await master.outcome(follower)).outcome

            assert outcome.reason == "SetupFailed"
            report = json.loads(gzip.decompress(await follower.fetch_report()))
            assert report["verdict"]["reason"] == "SetupFailed"
            await follower.stored(outcome.report_sha256)
            assert await left(master) == 0

    scenario(run())
