"""A real master, on one core, with a thousand scripted agents on another: what it costs, and how soon it answers.

Each agent reports 50 series every second, each with 100 new samples; heartbeats come in between. What the agents send
is made beforehand, once for all of them, so that the core of theirs is enough for a thousand. How long heartbeats wait
is measured by a few agents in a process of their own, which has nothing else to do.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from figures import Figure, publish, show
from grpc import aio

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.model import Tls
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_core.units import SECOND
from loadstone_protocol import framing
from loadstone_protocol.channel import CLIENT_OPTIONS
from loadstone_protocol.codec import stream_state_to_message
from loadstone_protocol.v1 import coordination_pb2, engine_pb2, statistics_pb2
from loadstone_runner.agent.uplink import turn_seconds
from loadstone_runner.transport.grpc.client import STATES_MAX

RUN_UID = "benchmark/1"
DIGEST = "sha256:" + "0" * 64
ENDPOINTS = 25  # each has a latency and a service time
SAMPLES = 100  # a second and series
ADDRESS_SECONDS = 30.0
PROBES = 20  # agents that only beat
PROBE_SECONDS = 0.25  # between two beats of one of them
CONTROL = "/loadstone_protocol.v1.Coordination/Control"
STATISTICS = "/loadstone_protocol.v1.Coordination/Statistics"
MEDIAN_MS, SPREAD = 40.0, 0.7  # a lognormal latency: 1 % are above 200 ms


def plan_of(workers: int, seconds: int) -> RunPlan:
    """Return a plan that runs longer than is measured."""
    duration = (seconds + 600) * SECOND
    load = LoadProfile(Model.USERS, Profile((Segment(0, duration, workers, workers),), duration), None)
    return RunPlan(
        run=RunIdentity(uid=RUN_UID, loadtest="benchmark", namespace="default", number=1, epoch=1),
        spec_digest="sha256:00",
        workers=workers,
        engines_per_worker=1,
        scenarios=(Scenario(name="default", load=load, graceful_stop_ns=0, target="http://127.0.0.1:1"),),
        tolerance_ppm=10_000,
        target="http://127.0.0.1:1",
        percentiles=("50", "95", "99"),
        thresholds=(),
        warm_up_ns=0,
        startup_timeout_ns=600 * SECOND,
        script=ScriptRef(digest=DIGEST, directory="/scripts", entrypoint="test.py"),
        # What is measured is the master's arithmetic; a handshake takes both sides of an agent 1.3 ms.
        tls=Tls.DISABLED,
    )


def states_of(seconds: int) -> list[bytes]:
    """Return what an engine says at the end of each second, encoded, without saying whose it is."""
    chance, recorder, made = random.Random(1), Recorder(), []  # noqa: S311 the same samples each time
    for second in range(seconds):
        for _ in range(SAMPLES):
            for endpoint in range(ENDPOINTS):
                latency_ns = int(chance.lognormvariate(0, SPREAD) * MEDIAN_MS * 1_000_000)
                recorder.request(
                    method="GET",
                    name=f"/products/{endpoint}",
                    latency_ns=latency_ns,
                    service_ns=latency_ns - chance.randrange(1_000),
                    failed=False,
                    unsent=False,
                    ambiguous=False,
                    interrupted=False,
                    sent=120,
                    received=4_000,
                )
        done = (second + 1) * SAMPLES * ENDPOINTS
        state = StreamState(
            stream=StreamId(0, 1, 0, 1),
            sequence=1,
            second=second,
            full=False,
            series=recorder.take(second),
            counters=Counters(done, done, 0, 0, done, done, scenarios=((done, done),)),
            users=1,
            scenario_users=(1,),
            final=False,
        )
        message = stream_state_to_message(state)
        message.ClearField("stream")
        message.ClearField("sequence")
        made.append(message.SerializeToString())
    return made


@dataclass
class Measured:
    """What the agents have seen; times in seconds."""

    acknowledged: list[float] = field(default_factory=list)
    merged: int = 0  # states that were not sent, as the next one says it too


class Agent:
    """One worker with one engine, for whom everything was made beforehand."""

    def __init__(self, address: str, worker: int, measured: Measured, *, beat_seconds: float = 1.0) -> None:
        self.peer = coordination_pb2.Peer(run_uid=RUN_UID, worker=worker, attempt=1, boot="b", pod=f"w-{worker}")
        self.stream = statistics_pb2.StreamId(worker=worker, attempt=1, engine=0, start=1)
        self.address = address
        self.measured = measured
        self.beat_seconds = beat_seconds
        self.body = coordination_pb2.CommonBody()
        self.applied: coordination_pb2.Config | None = None
        self.assignment = 0
        self.number = 0
        self.sent: dict[int, float] = {}
        self.sequence = self.received = 0
        self.newest = b""  # a state that waits until the master has taken those before it, as an agent's whole state
        self.is_running = asyncio.Event()
        self.writing, self.reporting = asyncio.Lock(), asyncio.Lock()
        self.tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Join, and obey from then on."""
        options = (*CLIENT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        self.channel = aio.insecure_channel(self.address, options=options)
        self.control = self.channel.stream_stream(
            CONTROL,
            request_serializer=coordination_pb2.AgentMessage.SerializeToString,
            response_deserializer=coordination_pb2.MasterMessage.FromString,
        )()
        hello = coordination_pb2.Hello(
            peer=self.peer, protocol_major=1, script_digest=DIGEST, engines=1, highest_epoch=1
        )
        await self.control.write(coordination_pb2.AgentMessage(hello=hello))
        welcome = await self.control.read()
        assert welcome.WhichOneof("kind") == "welcome", welcome
        self.statistics = self.channel.stream_stream(
            STATISTICS, response_deserializer=coordination_pb2.StatisticsAck.FromString
        )()
        await self.statistics.write(coordination_pb2.StatisticsFrame(peer=self.peer).SerializeToString())
        self.tasks = [asyncio.create_task(each) for each in (self.obey(), self.listen(), self.live())]

    async def obey(self) -> None:
        """Apply every configuration, and note how long heartbeats wait for their answer."""
        while (message := await self.control.read()) is not aio.EOF:
            match message.WhichOneof("kind"):
                case "ack":
                    sent = self.sent.pop(message.ack.number, None)
                    if sent is not None:
                        self.measured.acknowledged.append(time.perf_counter() - sent)
                case "config":
                    self.applied = message.config
                    self.body = coordination_pb2.CommonBody.FromString(message.config.body)
                    if self.body.run_state == engine_pb2.RUNNING_STATE:
                        self.is_running.set()
                    await self.beat()
                case "assignment":
                    self.assignment = message.assignment.version
                case _:
                    pass

    async def listen(self) -> None:
        """Count what the master has."""
        while await self.statistics.read() is not aio.EOF:
            self.received += 1
            if self.newest and self.received == self.sequence:
                self.measured.merged -= 1
                newest, self.newest = self.newest, b""
                await self.send(newest)

    async def live(self) -> None:
        """Beat again and again, each agent at a moment of its own."""
        await asyncio.sleep(random.random() * self.beat_seconds)  # noqa: S311 nothing secret hangs on it
        while True:
            await self.beat()
            await asyncio.sleep(self.beat_seconds)

    async def beat(self) -> None:
        """Send a heartbeat."""
        self.number += 1
        running = engine_pb2.EngineStatus.RUNNING if self.is_running.is_set() else engine_pb2.EngineStatus.READY
        status = engine_pb2.EngineStatus(stage=running if self.applied else engine_pb2.EngineStatus.LOADING, users=1)
        beat = coordination_pb2.Heartbeat(
            number=self.number,
            engines=[coordination_pb2.EngineSummary(engine=0, start=1, status=status)],
            assignment=self.assignment,
            round_trip_ns=1_000_000,
        )
        if self.applied is not None:
            beat.applied.CopyFrom(self.applied.version)
            beat.applied_sha256 = self.applied.sha256
        async with self.writing:
            self.sent[self.number] = time.perf_counter()
            await self.control.write(coordination_pb2.AgentMessage(heartbeat=beat))

    async def report(self, state: bytes) -> None:
        """Send the state of a second, when it is this worker's turn: fields that come later in a message win."""
        await asyncio.sleep(turn_seconds(self.peer.worker))
        if self.newest or self.sequence - self.received >= STATES_MAX:
            self.newest = state
            self.measured.merged += 1
        else:
            await self.send(state)

    async def send(self, state: bytes) -> None:
        """Send a state under the next number."""
        async with self.reporting:
            self.sequence += 1
            mine = statistics_pb2.StreamState(stream=self.stream, sequence=self.sequence).SerializeToString()
            await self.statistics.write(b"\x12" + _varint(len(state) + len(mine)) + state + mine)

    async def close(self) -> None:
        """Leave without a word."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.channel.close()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:  # noqa: PLR2004 the form of a varint
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


class Director:
    """Imports at once and answers setup at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def run(self) -> None:
        """Answer until cancelled."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))

        def say(**kind: object) -> None:
            writer.write(framing.encode(engine_pb2.EngineMessage(**kind).SerializeToString()))

        say(hello=engine_pb2.EngineHello(role=engine_pb2.ENGINE_ROLE_DIRECTOR, engine=0, start=1, pid=1))
        say(script=engine_pb2.ScriptReport(ok=True))
        decoder = framing.Decoder()
        while received := await reader.read(65_536):
            for payload in decoder.feed(received):
                message = engine_pb2.ToEngine.FromString(payload)
                if message.WhichOneof("kind") == "setup":
                    say(setup=engine_pb2.SetupReport(teardown=message.setup.teardown, ok=True))


async def probe(address: str, first: int) -> None:
    """Beat with a few workers until the input ends, then print how long each answer took from the first load on."""
    measured = Measured()
    agents = [Agent(address, worker, measured, beat_seconds=PROBE_SECONDS) for worker in range(first, first + PROBES)]
    await asyncio.gather(*(agent.connect() for agent in agents))
    await asyncio.to_thread(sys.stdin.readline)
    measured.acknowledged.clear()
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(measured.acknowledged))
    await asyncio.gather(*(agent.close() for agent in agents))


@contextlib.asynccontextmanager
async def probes(address: str, first: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a process whose workers only beat, and measure how soon they are answered."""
    command = [sys.executable, __file__, "--probe", address, str(first)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=2**24)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def master_of(plan: RunPlan, folder: Path, core: str) -> AsyncIterator[tuple[str, int]]:
    """Start a master on a core; give its address and its process id."""
    (folder / "run.json").write_text(plan.to_json())
    environment = {
        **os.environ,
        "LOADSTONE_RUN_FILE": str(folder / "run.json"),
        "LOADSTONE_SCRIPT_DIR": str(folder),
        "LOADSTONE_LISTEN": "127.0.0.1:0",
        "LOADSTONE_METRICS": "",
        "LOADSTONE_SOCKET_DIR": str(folder / "s"),
        "LOADSTONE_STATE_DIR": str(folder / "state"),
        "LOADSTONE_TERMINATION_FILE": str(folder / "last-word"),
    }
    command = ["taskset", "-c", core, sys.executable, "-m", "loadstone_runner", "master"]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=log)
    address = folder / "state" / "address"
    try:
        async with asyncio.timeout(ADDRESS_SECONDS):
            while not address.exists():  # noqa: ASYNC110 a file of another process
                await asyncio.sleep(0.02)
        yield address.read_text(), process.pid
    finally:
        process.kill()
        await process.wait()


def processor_seconds(pid: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def measure(workers: int, seconds: int, folder: Path) -> list[Figure]:
    """Let all agents join and report for some seconds; the first five do not count."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    states = states_of(seconds)
    series = len(statistics_pb2.StreamState.FromString(states[-1]).series)
    buckets = statistics.mean(
        len(each.counts) for each in statistics_pb2.StreamState.FromString(states[-1]).series if each.counts
    )
    measured = Measured()
    async with (
        master_of(plan_of(workers, seconds), folder, str(cores[0])) as (address, pid),
        probes(address, workers - PROBES) as probing,
    ):
        director = asyncio.create_task(Director(folder / "s" / "agent.sock").run())
        agents = [Agent(address, worker, measured) for worker in range(workers - PROBES)]
        began = time.monotonic()
        for start in range(0, workers, 100):
            await asyncio.gather(*(agent.connect() for agent in agents[start : start + 100]))
        joined = time.monotonic() - began
        await asyncio.gather(*(agent.is_running.wait() for agent in agents))
        start_ns = agents[0].body.start_at_ns
        counted_from, used, late = 0.0, 0.0, 0
        for second, state in enumerate(states):
            await asyncio.sleep(max(0.0, (start_ns + (second + 1) * SECOND - time.monotonic_ns()) / SECOND))
            if second == 5:  # noqa: PLR2004 what is new in the first seconds costs more, once
                counted_from, used = time.monotonic(), processor_seconds(pid)
                await _say(probing)
            late += time.monotonic_ns() > start_ns + (second + 2) * SECOND
            await asyncio.gather(*(agent.report(state) for agent in agents))
        await asyncio.sleep(1)
        cpu = (processor_seconds(pid) - used) / (time.monotonic() - counted_from)
        memory = memory_mib(pid)
        unanswered, wanted = sum(agent.sequence - agent.received for agent in agents), len(agents) * seconds
        await _say(probing)
        answers = sorted(json.loads(await probing.stdout.readline()))
        director.cancel()
        await asyncio.gather(*(agent.close() for agent in agents))
    return [
        Figure("master_workers", workers, "", 1),
        Figure("master_series", series, "a worker", 1),
        Figure("master_buckets", round(buckets), "a series", 1),
        Figure("master_joined", round(joined, 2), "s", 1),
        Figure("master_cpu_cores", round(cpu, 3), "cores", seconds - 5),
        Figure("master_memory_mib", round(memory, 1), "MiB", 1),
        Figure("heartbeat_ack_p50_ms", round(1e3 * answers[len(answers) // 2], 2), "ms", len(answers)),
        Figure("heartbeat_ack_p99_ms", round(1e3 * answers[len(answers) * 99 // 100], 2), "ms", len(answers)),
        Figure("master_states_unanswered", unanswered, "", wanted),
        Figure("master_states_merged", measured.merged, "", wanted),
        Figure("master_seconds_late", late, "", seconds),
    ]


async def _say(process: asyncio.subprocess.Process) -> None:
    process.stdin.write(b"\n")
    await process.stdin.drain()


def main() -> None:
    """Measure, print, keep."""
    if sys.argv[1:2] == ["--probe"]:
        asyncio.run(probe(sys.argv[2], int(sys.argv[3])))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=40)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ls-"))
    try:
        figures = asyncio.run(measure(asked.workers, asked.seconds, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if (asked.workers, asked.seconds) == (1_000, 40):
        publish("master", figures)
    else:
        show(figures)


if __name__ == "__main__":
    main()
