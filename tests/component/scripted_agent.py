"""A worker's agent as its master sees it: it obeys over gRPC and reports what a test records. No test is here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Any

from grpc import aio

from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_core.units import SECOND
from loadstone_protocol.codec import counters_to_message, stream_id_to_message, stream_state_to_message
from loadstone_protocol.v1 import coordination_pb2, coordination_pb2_grpc, engine_pb2
from loadstone_runner.agent.history import History, Moment
from loadstone_runner.transport.grpc.dialing import open_channel

if TYPE_CHECKING:
    from loadstone_protocol.identity import Pems

DIGEST = "sha256:" + "ab" * 32
RUN_UID = "uid-1/1"
MILLISECOND = 1_000_000
IN_TIME = 30.0

ITERATIONS = "iterations/default"


class Agent:
    """One worker with one engine: does what its configuration says, and reports what the test records."""

    def __init__(
        self,
        address: str,
        worker: int,
        *,
        digest: str = DIGEST,
        attempt: int = 1,
        pems: Pems | None = None,
        **beat: Any,
    ):
        self.pems = pems
        self.worker = worker
        self.attempt = attempt
        self.digest = digest
        self.address = address
        self.beat_fields = beat
        self.stream = StreamId(worker, attempt, 0, 1)
        self.recorder = Recorder()
        self.counters = Counters()
        self.users = 0
        self.sequence = 0
        self.second = -1
        self.history = History()
        self.number = 0
        self.acknowledged = 0
        self.known = 0
        self.left = 0
        self.rate = 0
        self.leaving = 0
        self.applied: coordination_pb2.Config | None = None
        self.body = coordination_pb2.CommonBody()
        self.assignments: list[coordination_pb2.Assignment] = []
        self.refused = coordination_pb2.Refused()
        self.left_with: bool | None = None
        self.acks: dict[int, coordination_pb2.StatisticsAck] = {}
        self.pongs: list[coordination_pb2.Pong] = []
        self.revisions: list[int] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.writing = asyncio.Lock()

    @property
    def peer(self) -> coordination_pb2.Peer:
        return coordination_pb2.Peer(
            run_uid=RUN_UID, worker=self.worker, attempt=self.attempt, boot="b1", pod=f"pod-{self.worker}"
        )

    @property
    def lots(self) -> set[tuple[int, int]]:
        """What it is to do of the load: every so manieth number, from the first on."""
        return {(each.index, each.parts) for each in self.assignments[-1].shares} if self.assignments else set()

    async def connect(self, *, major: int = 1, minor: int = 0, version: str = "") -> None:
        self.channel = open_channel(self.address, run_uid=RUN_UID, pems=self.pems)
        stub = coordination_pb2_grpc.CoordinationStub(self.channel)  # type: ignore[no-untyped-call]  # generated
        self.control = stub.Control()
        hello = coordination_pb2.Hello(
            peer=self.peer,
            protocol_major=major,
            protocol_minor=minor,
            version=version,
            script_digest=self.digest,
            engines=1,
            highest_epoch=1,
        )
        await self.say(hello=hello)
        first = await self.control.read()
        if first.WhichOneof("kind") == "refused":
            self.refused = first.refused
            return
        assert first.WhichOneof("kind") == "welcome"
        if first.welcome.wants_inheritance:
            await self.say(inheritance=self.inheritance())
        self.statistics = stub.Statistics()
        await self.statistics.write(coordination_pb2.StatisticsFrame(peer=self.peer))
        self.tasks = [asyncio.create_task(each) for each in (self.obey(), self.listen(), self.live())]
        await self.heartbeat()

    async def say(self, **word: Any) -> None:
        # gRPC breaks a call when a second write begins before the first has ended, and several tasks write here.
        async with self.writing:
            await self.control.write(coordination_pb2.AgentMessage(**word))

    def inheritance(self) -> coordination_pb2.Inheritance:
        since_start_ns = time.monotonic_ns() - self.body.start_at_ns if self.body.start_at_ns else -SECOND
        granted: dict[str, coordination_pb2.Granted] = {}
        for grant in (grant for assignment in self.assignments for grant in assignment.grants):
            held = granted.setdefault(grant.name, coordination_pb2.Granted(name=grant.name))
            for place, each in enumerate(grant.ranges, start=grant.first_range):
                if place >= held.ranges:
                    held.ranges, held.numbers, held.end = place + 1, held.numbers + each.count, each.start + each.count
        return coordination_pb2.Inheritance(
            config=self.applied,
            since_start_ns=since_start_ns,
            granted=granted.values(),
            shares=self.assignments[-1].shares if self.assignments else (),
        )

    async def obey(self) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            while (message := await self.control.read()) is not aio.EOF:
                match message.WhichOneof("kind"):
                    case "config":
                        assert hashlib.sha256(message.config.body).digest() == message.config.sha256
                        self.revisions.append(message.config.version.revision)
                        self.applied = message.config
                        self.body = coordination_pb2.CommonBody.FromString(message.config.body)
                        await self.heartbeat()
                    case "assignment":
                        self.assignments.append(message.assignment)
                        await self.heartbeat()
                    case "pong":
                        self.pongs.append(message.pong)
                    case "leave":
                        self.left_with = message.leave.run_over
                    case "refused":
                        self.refused = message.refused
                    case "ack":
                        self.acknowledged = message.ack.number
                    case _:
                        pass

    async def listen(self) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            while (ack := await self.statistics.read()) is not aio.EOF:
                self.acks[ack.received] = ack

    async def live(self) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await asyncio.sleep(0.5)
                await self.heartbeat()

    async def heartbeat(self) -> None:
        self.number += 1
        stages = {engine_pb2.RUNNING_STATE: "RUNNING", engine_pb2.STOPPED_STATE: "STOPPING"}
        stage = "READY" if self.applied else "LOADING"
        stage = stages.get(self.body.run_state, stage)
        status = engine_pb2.EngineStatus(
            stage=stage,
            users=self.users,
            grants=[engine_pb2.GrantState(name=ITERATIONS, known=self.known, left=self.left, per_second=self.rate)],
            holding=self.assignments[-1].holding if self.assignments else 0,
            leaving=self.leaving,
        )
        engine = coordination_pb2.EngineSummary(engine=0, start=1, status=status)
        fields: dict[str, Any] = {"engines": [engine], **self.beat_fields}
        if self.applied is not None:
            fields |= {"applied": self.applied.version, "applied_sha256": self.applied.sha256}
        if self.assignments:
            fields["assignment"] = self.assignments[-1].version
        beat = coordination_pb2.Heartbeat(number=self.number, round_trip_ns=MILLISECOND, **fields)
        await self.say(heartbeat=beat)

    def request(self, times: int, *, name: str = "front", latency_ms: int = 10, failed: bool = False) -> None:
        for _ in range(times):
            self.recorder.request(
                method="GET",
                name=name,
                latency_ns=latency_ms * MILLISECOND,
                service_ns=latency_ms * MILLISECOND,
                failed=failed,
                unsent=False,
                ambiguous=False,
                interrupted=False,
                sent=50,
                received=100,
            )
        self.count(started=times, completed=times)

    def iterate(self, times: int) -> None:
        for _ in range(times):
            self.recorder.iteration(name="visit", duration_ns=20 * MILLISECOND, failed=False)
        self.count(iterations_started=times, iterations_completed=times)

    def count(self, **added: int) -> None:
        old = self.counters
        names = [name for name in Counters.__dataclass_fields__ if name not in {"scenarios", "warm_up"}]
        fields = {name: getattr(old, name) + added.get(name, 0) for name in names}
        iterations = (fields["iterations_started"], fields["iterations_completed"])
        self.counters = Counters(**fields, scenarios=(iterations,))

    def state(self, second: int, *, final: bool = False) -> coordination_pb2.StatisticsFrame:
        self.sequence += 1
        self.second = second
        if not final:
            self.history.note(Moment(second, self.sequence, (self.users,)))
        state = StreamState(
            stream=self.stream,
            sequence=self.sequence,
            second=second,
            full=final,
            series=self.recorder.take(second) if not final else self.recorder.whole(),
            counters=self.counters,
            users=0 if final else self.users,
            scenario_users=(0 if final else self.users,),
            final=final,
        )
        return coordination_pb2.StatisticsFrame(state=stream_state_to_message(state))

    async def retell(self, second: int) -> None:
        """Say everything anew, as an agent does on each connection, without beginning a new state."""
        self.sequence += second - self.second - 1
        frame = self.state(second, final=True).state
        frame.final = False
        frame.users, frame.scenario_users[:] = self.users, [self.users]
        for moment in self.history.moments:
            frame.history.add(second=moment.second, sequence=moment.sequence, scenario_users=moment.users)
        await self.send(coordination_pb2.StatisticsFrame(state=frame))

    async def send(self, *frames: coordination_pb2.StatisticsFrame) -> None:
        for frame in frames:
            await self.statistics.write(frame)
        await until(lambda: frames[-1].state.sequence in self.acks)

    async def running(self) -> None:
        await until(lambda: self.body.run_state == engine_pb2.RUNNING_STATE)
        await asyncio.sleep(max(0, (self.body.start_at_ns - time.monotonic_ns()) / SECOND))

    async def stopped(self) -> None:
        await until(lambda: self.body.run_state == engine_pb2.STOPPED_STATE)

    async def load(self, *, seconds: int, users: int, requests: int, latency_ms: int = 10, first: int = 0) -> None:
        """Do `requests` requests in each second of load from `first` to `seconds`, reporting at the end of each."""
        self.users = users
        for second in range(first, seconds):
            self.request(requests, latency_ms=latency_ms)
            self.iterate(requests)
            end_ns = self.body.start_at_ns + (second + 1) * SECOND
            await asyncio.sleep(max(0, (end_ns - time.monotonic_ns()) / SECOND))
            await self.send(self.state(second))

    def end(self, *, clean: bool = True, **fields: Any) -> coordination_pb2.EngineEnd:
        return coordination_pb2.EngineEnd(
            stream=stream_id_to_message(self.stream),
            clean=clean,
            counters_known=True,
            counters=counters_to_message(self.counters),
            final_sequence=self.sequence,
            **fields,
        )

    async def bye(self) -> None:
        """Say everything, and leave when that is durable."""
        self.users = 0
        await self.send(self.final())
        await self.say_bye(self.end())

    def final(self) -> coordination_pb2.StatisticsFrame:
        passed = time.monotonic_ns() - self.body.start_at_ns if self.body.start_at_ns else -SECOND
        return self.state(max(-1, passed // SECOND), final=True)

    async def say_bye(self, *ends: coordination_pb2.EngineEnd) -> None:
        await self.say(bye=coordination_pb2.Bye(engines=ends))
        await until(lambda: self.left_with is not None)
        await self.close()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.channel.close()


async def until(holds: Any, seconds: float = IN_TIME) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        await asyncio.sleep(0.005)
