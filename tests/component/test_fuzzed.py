"""Nonsense on every port and socket of a run: it is refused and counted, and whoever makes sense does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio
from tests.component.agent_process import Pod, series_of
from tests.component.agent_process import run as run_agent
from tests.component.master_process import master_of, plan_of, scenario, steering, users
from tests.component.nonsense import OPENINGS, chatter
from tests.component.ports import free_port
from tests.component.processes import resident_bytes
from tests.component.scraping import figure, page, refused
from tests.component.scripted_agent import DIGEST, until
from tests.component.wild import spoiled, wild

from loadstone_protocol import framing
from loadstone_protocol.v1 import control_pb2, coordination_pb2, engine_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.descriptor import Descriptor, MethodDescriptor
    from tests.component.scripted_agent import Agent

pytestmark = pytest.mark.promise("hostile-port")

SEED = 20_261_128
FRAMES = 200
GROWTH_MOST_BYTES = 24 * 2**20
NUMBERS = (0, 1, -1, 2**40, 2**70, "x", None, [], True)
TOKEN = "s3cret"
COORDINATION = "/loadstone_protocol.v1.Coordination/"


def chances(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 nonsense is no secret


def words(kind: Descriptor, chance: random.Random, **options: Any) -> bytes:
    """Return a message that says nonsense, or what is left of one."""
    content = wild(kind, chance, **options).SerializeToString()
    return spoiled(content, chance) if chance.random() < 0.3 else content


def lines(chance: random.Random) -> bytes:
    """Return what a launcher could write if it were out of its mind, or something else."""
    event = {
        "event": chance.choice(("exited", "started", "usage", "other", None, 5)),
        "tail": chance.choice(("x", "\ud800", "y" * 70_000, 5)),
        "oom": chance.choice((True, False, "x")),
        "engines": chance.choice(([[0, 1, 2**80], [5]], {}, 7)),
    }
    for name in ("engine", "start", "code", "signal", "memory_limit_bytes", "cgroup_bytes", "throttled_ns"):
        event[name] = chance.choice(NUMBERS)
    line = json.dumps(event).encode()
    return chance.choice((line, line, b"[" * 10_000, b"{}", chance.randbytes(50), b'{"event": "exited"}')) + b"\n"


class Socket:
    """Says one piece of nonsense after the other on a Unix socket, and connects anew when it has been sent away."""

    def __init__(self, path: Path, hello: bytes) -> None:
        self.path = path
        self.hello = hello
        self.connected = 0
        self.writer: asyncio.StreamWriter | None = None

    async def say(self, content: bytes) -> None:
        if self.writer is None or self.writer.is_closing():
            _, self.writer = await asyncio.open_unix_connection(self.path)
            self.connected += 1
            self.writer.write(self.hello)
        with contextlib.suppress(ConnectionError):
            self.writer.write(content)
            await self.writer.drain()
        # Whoever reads it may send this connection away before the next piece.
        await asyncio.sleep(0.001)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


async def opened(port: int) -> None:
    """Wait until somebody listens: who serves platforms need not be the first thing that a master does."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


async def blurt(port: int, chance: random.Random) -> None:
    """Say some bytes on many connections, and go away without waiting for what they do."""
    for _ in range(FRAMES // 4):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chance.choice(OPENINGS) + chance.randbytes(chance.choice((0, 1, 300, 20_000))))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def scold(port: int, chance: random.Random) -> None:
    """Ask the control API over HTTP for anything, without its token; each of it is answered or ended."""
    for _ in range(FRAMES // 10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        path = chance.choice(("/v1/run", "/v1/run/watch?from=x", "/v1/run/stop", "/" + "x" * 9_000, "*", "/%00"))
        verb, header = chance.choice(("GET", "POST", "\0")), chance.choice(("Bearer wrong", "x" * 9_000, "\xff"))
        head = f"{verb} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\nContent-Length: 40\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            writer.write(head.encode("latin-1") + chance.randbytes(40))
            async with asyncio.timeout(20):
                assert b"200 OK" not in await reader.read(65_536)
        writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/run HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"401" in await reader.readline()
    writer.close()


def engine_hello(engine: int, role: int = engine_pb2.ENGINE_ROLE_ENGINE) -> bytes:
    hello = engine_pb2.EngineHello(role=role, engine=engine, start=1, pid=1)
    return framing.encode(engine_pb2.EngineMessage(hello=hello).SerializeToString())


LAUNCHER_HELLO = json.dumps({"event": "hello", "protocol": 1, "engines": 2}).encode() + b"\n"


async def fuzz_sockets(folder: Path, chance: random.Random, *, hello: bytes) -> int:
    """Talk nonsense on both sockets of a pod; return how often somebody had to connect."""
    engine, stranger = Socket(folder / "agent.sock", hello), Socket(folder / "agent.sock", b"")
    launcher, other = Socket(folder / "launcher.sock", LAUNCHER_HELLO), Socket(folder / "launcher.sock", b"")
    for _ in range(FRAMES):
        await engine.say(framing.encode(words(engine_pb2.EngineMessage.DESCRIPTOR, chance)))
        await stranger.say(chance.randbytes(chance.choice((1, 40, 5_000))))
        await launcher.say(lines(chance))
        await other.say(lines(chance))
    for each in (engine, stranger, launcher, other):
        each.close()
    return sum(each.connected for each in (engine, stranger, launcher, other))


def test_the_sockets_and_the_metrics_port_of_an_agent_take_no_nonsense_and_its_heartbeats_go_on(tmp_path: Path) -> None:
    async def story() -> None:
        port = free_port()
        async with Pod(tmp_path, engines=2, LOADSTONE_METRICS=f"127.0.0.1:{port}") as pod:
            connection, _, (good, _) = await pod.running()

            async def assault(seed: int) -> int:
                chance = chances(seed)
                made, _ = await asyncio.gather(
                    fuzz_sockets(pod.sockets, chance, hello=engine_hello(1)), blurt(port, chance)
                )
                return made

            await asyncio.gather(assault(SEED), chatter("127.0.0.1", port, connections=20, seed=SEED))
            before, beats = resident_bytes(pod.process.pid), len(connection.all("heartbeat"))
            connections = await assault(SEED + 1)
            assert resident_bytes(pod.process.pid) - before < GROWTH_MOST_BYTES
            assert connections > 50
            refused = figure(await page(port), "loadstone_agent_bad_messages_total")
            assert refused >= connections
            await until(lambda: len(connection.all("heartbeat")) > beats + 2)
            good.state(1, [series_of("a", 5)], second=0)
            assert (await good.hear("ack")).received == 1
            assert (await pod.master.state(lambda state: state.stream.engine == 0)).series[0].count == 5
            assert not connection.ended.is_set()
            assert pod.process.returncode is None

    run_agent(story())


def test_an_agent_whose_master_talks_nonsense_counts_it_and_obeys_what_makes_sense(tmp_path: Path) -> None:
    async def story() -> None:
        chance, port = chances(SEED), free_port()
        async with Pod(tmp_path, LOADSTONE_METRICS=f"127.0.0.1:{port}") as pod:
            engine = await pod.engine()
            connection = await pod.master.connection()
            pod.configure(connection, engine_pb2.READY_STATE)
            # These would be obeyed: another epoch, a lease of nanoseconds, the end.
            told = {"welcome", "refused", "leave", "epoch", "stop_reason"}
            for _ in range(FRAMES):
                connection.down.put_nowait(wild(coordination_pb2.MasterMessage.DESCRIPTOR, chance, without=told))  # type: ignore[arg-type]  # of that type
            await until(connection.down.empty)
            pod.configure(connection, engine_pb2.READY_STATE, revision=2**32 - 1, setup_json=b"[1]")
            connection.say(assignment=coordination_pb2.Assignment(epoch=1, version=2**32 - 1, slot=0, slots=1))
            assert await engine.hear("config", lambda config: config.setup_json == b"[1]")
            assert figure(await page(port), "loadstone_agent_bad_messages_total") > FRAMES / 10
            beats = len(connection.all("heartbeat"))
            await until(lambda: len(connection.all("heartbeat")) > beats + 2)

    run_agent(story())


class Wild:
    """A worker of the run that says who it is, and then nonsense on all of its streams."""

    # It would be obeyed: a worker may end the run.
    UNSAID = frozenset({"stop_asked"})

    def __init__(self, agent: Agent, chance: random.Random) -> None:
        self.agent = agent
        self.chance = chance

    def word(self, kind: Descriptor) -> bytes:
        return words(kind, self.chance, without=self.UNSAID)

    async def rave(self, method: str, kind: Descriptor, first: Any) -> None:
        """Call a method anew, as often as it takes, until all is said."""
        said = 0
        async with aio.insecure_channel(self.agent.address) as channel:
            while said < FRAMES:
                call = channel.stream_stream(COORDINATION + method)()
                listening = asyncio.create_task(listen(call))
                with contextlib.suppress(aio.AioRpcError, asyncio.InvalidStateError):
                    await call.write(first.SerializeToString())
                    while said < FRAMES:
                        said += 1
                        await call.write(self.word(kind))
                        await asyncio.sleep(0.001)
                call.cancel()
                await listening
                said += 1

    async def rave_everywhere(self) -> None:
        peer = self.agent.peer
        hello = coordination_pb2.Hello(peer=peer, protocol_major=1, script_digest=DIGEST, engines=1, highest_epoch=1)
        frame, bulk = coordination_pb2.StatisticsFrame, coordination_pb2.BulkFrame
        await asyncio.gather(
            self.rave("Statistics", frame.DESCRIPTOR, frame(peer=peer)),
            self.rave("Bulk", bulk.DESCRIPTOR, bulk(peer=peer)),
        )
        message = coordination_pb2.AgentMessage
        await self.rave("Control", message.DESCRIPTOR, message(hello=hello))


async def listen(call: Any) -> None:
    with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
        while await call.read() is not aio.EOF:
            pass


async def ask_wildly(address: str, chance: random.Random) -> None:
    """Call the methods of followers and platforms with nonsense; none of it is an order, as no run is named."""

    async def ask(channel: aio.Channel, method: MethodDescriptor) -> None:
        call = channel.unary_stream if method.server_streaming else channel.unary_unary
        asked = call(f"/{method.containing_service.full_name}/{method.name}")(
            words(method.input_type, chance, without={"run_uid"})
        )
        # Who is let in to watch hears nothing until there is something new.
        with contextlib.suppress(aio.AioRpcError, TimeoutError):
            async with asyncio.timeout(1):
                await (asked.read() if method.server_streaming else asked)

    services = control_pb2.DESCRIPTOR.services_by_name.values()
    async with aio.insecure_channel(address) as channel:
        await asyncio.gather(
            *(ask(channel, method) for service in services for method in service.methods for _ in range(20))
        )


async def director_raves(folder: Path, chance: random.Random) -> None:
    """Talk nonsense where the director is awaited: as an engine, as nobody, as its launcher."""
    await fuzz_sockets(folder, chance, hello=engine_hello(0))


@pytest.mark.once
def test_nonsense_on_all_ports_of_a_master_is_counted_and_the_run_of_the_others_is_exact(tmp_path: Path) -> None:
    async def story() -> None:
        metrics, rest, control = free_port(), free_port(), free_port()
        more = {
            "LOADSTONE_CONTROL": f"127.0.0.1:{rest}",
            "LOADSTONE_CONTROL_GRPC": f"127.0.0.1:{control}",
            "LOADSTONE_CONTROL_TOKEN": TOKEN,
        }
        plan = plan_of(users(2, 600), workers=3, max_lost_percent=100)
        async with master_of(plan, tmp_path, metrics_port=metrics, more=more) as master:
            await master.direct()
            *good, bad = await master.crew(3)
            assert master.process is not None
            pid, address = master.process.pid, master.address
            for port in (rest, control, metrics):
                await opened(port)

            async def assault(seed: int) -> None:
                chance = chances(seed)
                await asyncio.gather(
                    Wild(bad, chance).rave_everywhere(),
                    ask_wildly(address, chance),
                    ask_wildly(f"127.0.0.1:{control}", chance),
                    director_raves(tmp_path / "s", chance),
                    blurt(control, chance),
                    blurt(metrics, chance),
                    scold(rest, chance),
                )

            await asyncio.gather(assault(SEED), chatter("127.0.0.1", metrics, connections=20, seed=SEED))
            before, beats = resident_bytes(pid), [agent.acknowledged for agent in good]
            await assault(SEED + 1)
            assert resident_bytes(pid) - before < GROWTH_MOST_BYTES
            await until(lambda: all(each.acknowledged > beat + 2 for each, beat in zip(good, beats, strict=True)))
            for agent in good:
                agent.request(50)
                await agent.send(agent.state(0))
            seen = await page(metrics)
            for peer in ("worker", "director", "platform"):
                assert refused(seen, peer) >= 20, peer
            await master.follow().steer(steering(2**50, stop_reason="Stopped"))
            await asyncio.gather(*(agent.stopped() for agent in good))
            await asyncio.gather(*(agent.bye() for agent in good))
            _, document = await master.finish()
            (front,) = (each for each in document["series"] if each["name"] == "front" and each["metric"] == "latency")
            assert front["count"] == 100

    scenario(story())
