"""What the control API of a local run shows when its master is no longer there."""

import asyncio

from loadstone_protocol.follower import MasterUnreachable
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.local.control import LocalControl

OUTCOME = pb.RunOutcome(verdict="Passed", reason="Passed")


class Gone:
    """A connection to a master that has left."""

    async def fetch_report(self) -> bytes:
        raise MasterUnreachable("the master does not answer")


async def rows_of(control: LocalControl) -> list[pb.RowsMessage]:
    return [message async for message in control.rows(1, 0)]


def test_a_report_can_be_had_until_the_end_though_the_master_has_left() -> None:
    control = LocalControl(lambda _change: None)
    control.follower = Gone()
    control.newest = pb.RunReport(stage=pb.FINISHED, outcome=OUTCOME)
    assert asyncio.run(control.report()) == b""

    control.report_gzip = b"report"
    assert asyncio.run(control.report()) == b"report"
    control.follower = None
    assert asyncio.run(control.report()) == b"report"


def test_who_begins_to_watch_then_hears_how_the_run_ended() -> None:
    control = LocalControl(lambda _change: None)
    control.newest = pb.RunReport(stage=pb.FINISHED, outcome=OUTCOME)

    assert asyncio.run(rows_of(control)) == [pb.RowsMessage(outcome=OUTCOME)]
