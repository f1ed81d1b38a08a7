"""The rows of a finished run that whoever wants them has not taken yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.component.local_plan import local_plan

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.units import SECOND
from loadstone_protocol.follower import MasterUnreachable
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.local import run as local
from loadstone_runner.local.run import LocalRun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOAD = LoadProfile(Model.USERS, Profile((Segment(0, SECOND, 1, 1),), SECOND), None)
FILES = {"test.py": b"pass"}


class Leaving:
    """A connection to a master that leaves after two rows."""

    async def watch_rows(self, _width: int, second: int) -> AsyncIterator[pb.RowsMessage]:
        for each in (second, second + 1):
            yield pb.RowsMessage(row=pb.Row(second=each))
        raise MasterUnreachable("the master does not answer")


def test_what_came_before_a_master_has_left_is_not_thrown_away(monkeypatch) -> None:
    monkeypatch.setattr(local, "ROWS_SECONDS", 0.1)

    async def story() -> list[int]:
        scenario = Scenario(name="default", user="Shop", load=LOAD, graceful_stop_ns=SECOND)
        plan = local_plan("left", FILES, scenario, workers=1)
        run = LocalRun(plan=plan, files=FILES, environment={}, on_report=lambda _report: None)
        passing = asyncio.create_task(asyncio.Event().wait())
        return [row.second for row in await run._rows_left(Leaving(), passing)]

    assert asyncio.run(story()) == [0, 1]
