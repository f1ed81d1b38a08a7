"""What is known of a master to which wishes are handed over while its connection comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from loadstone_core.clock import ManualClock
from loadstone_operator.control.followers import Followers
from loadstone_operator.ports import Key, MasterRef
from loadstone_operator.wishes import Steer
from loadstone_protocol.follower import MasterUnreachable
from loadstone_protocol.v1 import control_pb2 as wire

RUNNING = wire.RunReport(stage=wire.RUNNING_LOAD)
Hears = Callable[[wire.RunReport | None], Awaitable[None]]  # a report, or that the line breaks
KEY, RESUMED, PAUSED = Key("shop", "checkout"), Steer(1, "", ()), Steer(1, "", (), paused=True)


class Line:
    """A master behind a line that a test breaks; it takes what it is sent, whether its answer comes back or not."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[wire.RunReport | None] = asyncio.Queue()
        self.held = wire.Steering()
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_deaf = False

    async def watch(self, **_: Any) -> AsyncIterator[wire.RunReport]:
        while (report := await self.reports.get()) is not None:
            yield report
        raise MasterUnreachable("broken")

    async def steer(self, steering: wire.Steering) -> int:
        self.held = steering
        await self.answers.wait()
        if self.is_deaf:
            raise MasterUnreachable("too late")
        return int(steering.revision)

    async def close(self) -> None:
        pass


def drive(story: Callable[[Line, Followers, Hears], Awaitable[None]]) -> None:
    async def whole() -> None:
        line, heard = Line(), asyncio.Event()
        followers = Followers(ManualClock(wall=1_000_000), None, lambda _: heard.set())  # type: ignore[arg-type]

        async def opened(_: MasterRef) -> Any:
            return line

        followers._open = opened  # type: ignore[method-assign]
        followers.follow(KEY, MasterRef("uid-1", 1, 1, "10.0.0.1:8650"))

        async def hears(report: wire.RunReport | None) -> None:
            heard.clear()
            line.reports.put_nowait(report)
            await asyncio.wait_for(heard.wait(), 10)

        try:
            await hears(RUNNING)
            await story(line, followers, hears)
        finally:
            await followers.close()

    asyncio.run(whole())


def test_what_the_master_has_acknowledged_is_known_until_the_connection_breaks() -> None:
    async def story(_: Line, followers: Followers, hears: Hears) -> None:
        await followers.steer("uid-1", RESUMED)
        assert followers.steered("uid-1") == RESUMED
        await hears(None)
        assert followers.steered("uid-1") is None
        await hears(RUNNING)
        assert followers.steered("uid-1") is None

    drive(story)


def test_of_a_wish_without_an_answer_nobody_knows_whether_the_master_has_taken_it() -> None:
    async def story(line: Line, followers: Followers, _: Any) -> None:
        await followers.steer("uid-1", RESUMED)
        line.is_deaf = True
        with pytest.raises(MasterUnreachable):
            await followers.steer("uid-1", PAUSED)
        assert line.held.paused
        assert followers.steered("uid-1") is None, "so that the same as before is said again"

    drive(story)


@pytest.mark.parametrize("comes_back", [True, False])
def test_an_answer_from_before_the_connection_broke_says_nothing_of_who_answers_now(*, comes_back: bool) -> None:
    async def story(line: Line, followers: Followers, hears: Hears) -> None:
        line.answers.clear()
        asked = asyncio.create_task(followers.steer("uid-1", PAUSED))
        await asyncio.sleep(0)
        await hears(None)
        if comes_back:
            await hears(RUNNING)
        line.answers.set()
        await asked
        assert followers.steered("uid-1") is None

    drive(story)
