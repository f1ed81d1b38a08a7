"""The operator's connection to a master: a real gRPC server on loopback, with a scripted master behind it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from grpc import aio
from tests.component.ports import free_port

from loadstone_core.clock import ManualClock
from loadstone_operator.control.followers import Followers, NotFollowed
from loadstone_operator.observation import Stage
from loadstone_operator.ports import Key, MasterRef
from loadstone_operator.wishes import Steer, WorkerEnd
from loadstone_protocol.follower import MasterUnreachable
from loadstone_protocol.identity import Pems
from loadstone_protocol.v1 import control_pb2 as wire
from loadstone_protocol.v1 import control_pb2_grpc

KEY = Key("shop", "checkout")
REPORT = b"a gzip report"


class Trust:
    """The operator's end of the port; these masters ask nobody who he is."""

    async def sign_operator(self, run_uid: str, *, authority: str) -> Pems:
        raise AssertionError(f"asked to sign for {run_uid} as {authority}")


class ScriptedMaster(control_pb2_grpc.RunServicer):
    def __init__(self) -> None:
        self.report = wire.RunReport(stage=wire.GATHERING, waiting_for="2 workers")
        self.changed = asyncio.Condition()
        self.held = wire.Steering()
        self.stored: bytes | None = None
        self.watchers = 0
        self.paces: list[int] = []

    async def say(self, report: wire.RunReport) -> None:
        async with self.changed:
            self.report = report
            self.changed.notify_all()

    async def Watch(self, request: wire.WatchRequest, _: Any) -> AsyncIterator[wire.RunReport]:  # noqa: N802 (gRPC's name)
        assert (request.run_uid, request.epoch) == ("uid-1/1", 1)
        self.watchers += 1
        self.paces.append(request.figures_every_ms)
        while True:
            yield self.report
            async with self.changed:
                await self.changed.wait()

    async def Steer(self, request: wire.Steering, _: Any) -> wire.SteeringAck:  # noqa: N802
        if request.revision > self.held.revision:
            self.held = request
        return wire.SteeringAck(revision=self.held.revision)

    async def FetchReport(self, _request: wire.ReportRequest, _: Any) -> wire.Report:  # noqa: N802
        return wire.Report(gzip_json=REPORT, sha256=hashlib.sha256(REPORT).digest())

    async def Stored(self, request: wire.StoredNotice, _: Any) -> wire.StoredAck:  # noqa: N802
        self.stored = request.sha256
        return wire.StoredAck()


async def serve(master: ScriptedMaster, port: int | None = None) -> tuple[aio.Server, int]:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    control_pb2_grpc.add_RunServicer_to_server(master, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port or free_port()}")
    await server.start()
    return server, bound


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 (what is waited for is on the other side of a socket)
            await asyncio.sleep(0.01)


def drive(story: Callable[[ScriptedMaster, Followers, aio.Server, int], Awaitable[None]]) -> None:
    async def whole() -> None:
        master = ScriptedMaster()
        server, port = await serve(master)
        followers = Followers(ManualClock(wall=1_000_000), Trust(), lambda _: None)
        followers.follow(KEY, MasterRef("uid-1", 1, 1, f"127.0.0.1:{port}"))
        try:
            await until(lambda: is_at(followers, Stage.GATHERING))
            await story(master, followers, server, port)
        finally:
            await followers.close()
            await server.stop(None)

    asyncio.run(whole())


def is_at(followers: Followers, stage: Stage) -> bool:
    view = followers.view("uid-1", 1)
    return view is not None and view.connected and view.stage is stage


def over(sha256: bytes) -> wire.RunReport:
    outcome = wire.RunOutcome(verdict="Passed", reason="Passed", report_sha256=sha256)
    return wire.RunReport(stage=wire.FINISHED, outcome=outcome)


def test_what_the_master_says_is_heard_of_this_run_only() -> None:
    async def story(master: ScriptedMaster, followers: Followers, *_: Any) -> None:
        view = followers.view("uid-1", 1)
        assert view is not None
        assert view.waiting_for == "2 workers"
        await master.say(wire.RunReport(stage=wire.RUNNING_LOAD))
        await until(lambda: is_at(followers, Stage.RUNNING))
        assert followers.view("uid-1", 2) is None
        assert followers.view("uid-2", 1) is None

    drive(story)


def test_a_master_that_comes_back_is_found_again() -> None:
    async def story(master: ScriptedMaster, followers: Followers, server: aio.Server, port: int) -> None:
        await server.stop(None)
        await until(lambda: not is_at(followers, Stage.GATHERING))
        view = followers.view("uid-1", 1)
        assert view is not None
        assert view.stage is Stage.GATHERING
        master.report = wire.RunReport(stage=wire.ARMED)
        again, _ = await serve(master, port)
        try:
            await until(lambda: is_at(followers, Stage.ARMED))
        finally:
            await again.stop(None)

    drive(story)


def test_a_master_whose_reports_cannot_be_read_is_asked_seldom_and_people_are_told() -> None:
    async def story(master: ScriptedMaster, followers: Followers, *_: Any) -> None:
        await followers.steer("uid-1", Steer(1, "", ()))
        await master.say(wire.RunReport(stage=17))  # type: ignore[arg-type]  # of a later release
        await until(lambda: not is_at(followers, Stage.GATHERING))
        view = followers.view("uid-1", 1)
        assert view is not None
        assert "cannot be read" in view.waiting_for
        assert "spec.image" in view.waiting_for
        assert followers.steered("uid-1") is None
        await asyncio.sleep(1)
        assert master.watchers <= 2
        await master.say(wire.RunReport(stage=wire.ARMED))
        await until(lambda: is_at(followers, Stage.ARMED))

    drive(story)


def test_following_the_same_master_twice_is_one_connection() -> None:
    async def story(master: ScriptedMaster, followers: Followers, _: aio.Server, port: int) -> None:
        followers.follow(KEY, MasterRef("uid-1", 1, 1, f"127.0.0.1:{port}"))
        await master.say(wire.RunReport(stage=wire.ARMED))
        await until(lambda: is_at(followers, Stage.ARMED))
        assert master.watchers == 1

    drive(story)


def test_a_wish_is_newer_than_whatever_the_master_holds() -> None:
    async def story(master: ScriptedMaster, followers: Followers, *_: Any) -> None:
        master.held = wire.Steering(revision=10**15)
        wish = Steer(1, "Stopped", (WorkerEnd(1, 1, "OOMKilled", "", 137),))
        await followers.steer("uid-1", wish)
        assert master.held.stop
        assert master.held.ended[0].reason == "OOMKilled"
        assert followers.steered("uid-1") == wish
        await followers.steer("uid-1", Steer(1, "Stopped", ()))
        assert len(master.held.ended) == 0

    drive(story)


def test_a_report_is_taken_with_its_digest_and_the_master_told_which_was_stored() -> None:
    async def story(master: ScriptedMaster, followers: Followers, *_: Any) -> None:
        await master.say(over(hashlib.sha256(REPORT).digest()))
        await until(lambda: is_at(followers, Stage.FINISHED))
        assert await followers.fetch_report("uid-1") == REPORT
        await followers.tell_stored("uid-1")
        assert master.stored == hashlib.sha256(REPORT).digest()
        view = followers.view("uid-1", 1)
        assert view is not None
        assert view.stored

    drive(story)


def test_a_report_that_does_not_match_its_digest_is_refused() -> None:
    async def story(master: ScriptedMaster, followers: Followers, *_: Any) -> None:
        await master.say(over(b"another"))
        await until(lambda: is_at(followers, Stage.FINISHED))
        with pytest.raises(MasterUnreachable):
            await followers.fetch_report("uid-1")

    drive(story)


def test_a_forgotten_master_cannot_be_reached() -> None:
    async def story(_: ScriptedMaster, followers: Followers, *__: Any) -> None:
        followers.forget("uid-1")
        assert followers.view("uid-1", 1) is None
        with pytest.raises(NotFollowed):
            await followers.tell_stored("uid-1")

    drive(story)


def test_a_master_is_asked_anew_when_another_pace_of_figures_is_wanted() -> None:
    async def whole() -> None:
        master, wanted, heard = ScriptedMaster(), [2.0], []
        server, port = await serve(master)
        followers = Followers(ManualClock(wall=1_000_000), Trust(), heard.append, lambda: wanted[0])
        followers.follow(KEY, MasterRef("uid-1", 1, 1, f"127.0.0.1:{port}"))
        try:
            await until(lambda: is_at(followers, Stage.GATHERING))
            await master.say(wire.RunReport(stage=wire.ARMED))
            await until(lambda: is_at(followers, Stage.ARMED))
            assert master.paces == [2_000]
            wanted[0] = 20.0
            await master.say(wire.RunReport(stage=wire.RUNNING_LOAD))
            # Each stage, and each new watch with its first report.
            await until(lambda: len(heard) == 4)
            assert master.paces == [2_000, 20_000]
            assert is_at(followers, Stage.RUNNING)
            wanted[0] = 2.0
            await master.say(wire.RunReport(stage=wire.STOPPING_LOAD))
            await until(lambda: len(heard) == 6)
            assert master.paces == [2_000, 20_000, 2_000]
            assert is_at(followers, Stage.STOPPING)
        finally:
            await followers.close()
            await server.stop(None)

    asyncio.run(whole())
