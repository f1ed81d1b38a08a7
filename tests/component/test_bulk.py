"""Outboxes on a real gRPC connection: an agent's end and a master's, which come and go."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, cast

import pytest
from grpc import aio
from tests.component.ports import free_port
from tests.component.scripted_agent import until

from loadstone_core.outbox import Entry, Inbox, Outbox, Phase
from loadstone_protocol.v1 import coordination_pb2, coordination_pb2_grpc
from loadstone_runner.transport.grpc.bulk import BulkEnd
from loadstone_runner.transport.grpc.bulk_client import BulkClient
from loadstone_runner.transport.grpc.server import serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loadstone_protocol.codec import WireError
    from loadstone_protocol.messages import Peer
    from loadstone_runner.transport.grpc.port import MasterPort

PEER = coordination_pb2.Peer(run_uid="u/1", worker=3, attempt=1, boot="b", pod="pod-3")


STARTED: list[aio.Server] = []


def on_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    async def live(*args: Any, **kwargs: Any) -> None:
        try:
            await test(*args, **kwargs)
        finally:
            # One that a failed test has left would disturb those behind it.
            for server in STARTED:
                await server.stop(None)
            STARTED.clear()

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(live(*args, **kwargs))

    return run


class Desk:
    """A MasterPort as far as Bulk asks it."""

    run_uid, epoch = "u/1", 1

    def __init__(self, end: BulkEnd) -> None:
        self.end = end
        self.knows = True
        self.blamed: list[str] = []

    def may_report(self, _peer: Peer) -> bool:
        return self.knows

    def join_bulk(self, peer: Peer) -> BulkEnd | None:
        assert peer.worker == 3
        return self.end if self.knows else None

    def blame(self, _peer: Peer, error: WireError) -> None:
        self.blamed.append(str(error))

    def count_refused(self) -> None:
        raise AssertionError("nobody calls here who may not")


class Master:
    """A served end that keeps what it has applied, as a disk would."""

    def __init__(self) -> None:
        self.port = free_port()
        self.kept: list[tuple[str, bytes]] = []
        self.applied: list[tuple[str, bytes]] = []

    async def start(self, *, keeps: bool = True) -> None:
        self.applied = list(self.kept)
        self.keeps = keeps
        self.end = BulkEnd()
        self.end.receive("logs", self.apply, lambda channel: Inbox(sum(each[0] == channel for each in self.kept)))
        self.desk = Desk(self.end)
        self.server, _ = await serve(f"127.0.0.1:{self.port}", cast("MasterPort", self.desk), workers=4, pems=None)
        STARTED.append(self.server)

    async def stop(self) -> None:
        await self.server.stop(None)

    def apply(self, channel: str, entries: tuple[Entry, ...]) -> None:
        self.applied += [(channel, entry.payload) for entry in entries]
        if self.keeps:
            self.kept = list(self.applied)
            self.end.keep(channel, self.end.received(channel))


def connect(end: BulkEnd, master: Master) -> BulkClient:
    client = BulkClient(end, run_uid="uid-1/1", pems=None, on_bad_frame=lambda error: pytest.fail(str(error)))
    client.open(f"ipv4:127.0.0.1:{master.port}", PEER)
    return client


@on_a_loop
async def test_everything_arrives_once_although_the_master_is_started_again_and_again() -> None:
    master, end = Master(), BulkEnd()
    await master.start()
    outbox = Outbox(entries_max=100_000, bytes_max=10**8)
    end.send_from("logs/a", outbox)
    client = connect(end, master)
    for life in range(3):
        for number in range(2_000):
            outbox.put(b"%d" % (life * 2_000 + number))
            if number % 100 == 0:
                end.wake()
                await asyncio.sleep(0)
        await until(lambda: outbox.durable > 0)
        await master.stop()
        await master.start()
    outbox.drain()
    end.wake()
    await until(lambda: outbox.phase is Phase.CLOSED)
    client.close()
    await master.stop()

    assert [int(payload) for _, payload in master.kept] == list(range(6_000))


@on_a_loop
async def test_what_the_master_received_and_had_not_kept_when_it_died_is_sent_again() -> None:
    master, end = Master(), BulkEnd()
    await master.start(keeps=False)
    outbox = Outbox(entries_max=100, bytes_max=10**6)
    outbox.put(b"a")
    end.send_from("logs/a", outbox)
    client = connect(end, master)
    await until(lambda: master.applied)
    assert outbox.durable == 0
    await master.stop()
    await master.start()

    await until(lambda: outbox.durable == 1)
    client.close()
    await master.stop()
    assert master.kept == [("logs/a", b"a")]


@on_a_loop
async def test_both_sides_send_and_each_channel_has_its_own_numbers() -> None:
    master, end = Master(), BulkEnd()
    await master.start()
    down, heard = Outbox(entries_max=10, bytes_max=1_000), []
    master.end.send_from("messages", down)
    end.receive("messages", lambda channel, entries: heard.append((channel, entries)))
    down.put(b"hello")
    up = [Outbox(entries_max=10, bytes_max=1_000) for _ in range(2)]
    durable: list[int] = []
    for number, outbox in enumerate(up):
        outbox.put(b"from %d" % number)
        end.send_from(f"logs/{number}", outbox, durable.append)
    client = connect(end, master)

    await until(lambda: heard and durable == [1, 1])
    assert heard == [("messages", (Entry(b"hello"),))]
    assert down.durable == 0
    end.keep("messages", 1)
    await until(lambda: down.durable == 1)
    client.close()
    await master.stop()
    assert sorted(master.kept) == [("logs/0", b"from 0"), ("logs/1", b"from 1")]


@on_a_loop
async def test_a_kind_that_the_master_does_not_know_stays_where_it_is_and_holds_up_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    master, end = Master(), BulkEnd()
    await master.start()
    unknown, known = (Outbox(entries_max=10, bytes_max=1_000) for _ in range(2))
    end.send_from("artifacts", unknown)
    end.send_from("logs", known)
    for outbox in (unknown, known, unknown, known):
        outbox.put(b"x")
    client = connect(end, master)

    await until(lambda: known.durable == 2)
    assert unknown.durable == 0
    assert "'artifacts', which is not known" in capsys.readouterr().err
    client.close()
    await master.stop()


@on_a_loop
async def test_an_agent_that_was_not_taken_in_or_was_replaced_is_refused() -> None:
    master, end = Master(), BulkEnd()
    await master.start()
    master.desk.knows = False
    outbox = Outbox(entries_max=10, bytes_max=1_000)
    outbox.put(b"x")
    end.send_from("logs", outbox)
    client = connect(end, master)
    await asyncio.sleep(0.3)
    assert not master.applied

    master.desk.knows = True
    await until(lambda: outbox.durable == 1)
    client.close()
    await master.stop()


@on_a_loop
async def test_a_newer_connection_of_a_worker_ends_the_older_one() -> None:
    master, ends = Master(), (BulkEnd(), BulkEnd())
    await master.start()
    first, second = (Outbox(entries_max=10, bytes_max=1_000) for _ in range(2))
    ends[0].send_from("logs/a", first)
    ends[1].send_from("logs/b", second)
    first.put(b"x")
    clients = [connect(ends[0], master)]
    await until(lambda: first.durable == 1)
    clients[0].close()
    clients.append(connect(ends[1], master))
    second.put(b"y")
    ends[1].wake()

    await until(lambda: second.durable == 1)
    for client in clients:
        client.close()
    await master.stop()


@on_a_loop
async def test_frames_that_cannot_be_meant_end_their_own_call_only() -> None:
    master = Master()
    await master.start()
    bad = coordination_pb2.BulkFrame(batch=coordination_pb2.OutboxBatch(channel="logs", first=0, oldest=0))
    async with aio.insecure_channel(f"127.0.0.1:{master.port}") as channel:
        call = coordination_pb2_grpc.CoordinationStub(channel).Bulk()  # type: ignore[no-untyped-call]  # generated
        await call.write(coordination_pb2.BulkFrame(peer=PEER))
        for _ in range(11):
            await call.write(bad)
        assert "too many bad messages" in await call.details()

    end, outbox = BulkEnd(), Outbox(entries_max=10, bytes_max=1_000)
    outbox.put(b"x")
    end.send_from("logs", outbox)
    client = connect(end, master)
    await until(lambda: outbox.durable == 1)
    client.close()
    await master.stop()
    assert len(master.desk.blamed) >= 10
