"""Five thousand scripted agents that come to one master at once: how long until the last of them is taken in.

The master has a core, the agents share another. An agent is in when its control stream was welcomed and its statistics
stream stands; one whose connection fails tries again, as agents do. It answers what it is told and does not beat by
itself meanwhile: the one core of all these agents is not what is measured.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "engine"), str(HERE)]

import master
from figures import Figure, publish, show
from grpc import aio
from processes import raise_file_limit

from loadstone_core.spec.model import Tls
from loadstone_operator.trust.authority import Authority, make_authority
from loadstone_protocol.channel import CLIENT_OPTIONS
from loadstone_protocol.credentials import open_channel, read_pems
from loadstone_protocol.identity import AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE, Identity, Role
from loadstone_protocol.v1 import coordination_pb2
from loadstone_runner.transport.grpc.client import BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS, FIRST_WORD_SECONDS

AGENTS = 5_000
PROCESSES = 5
# Of each process: all of them share a core here, on which handshakes would only wait for each other.
AT_ONCE = 100
OPTIONS = (*CLIENT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


class Agent(master.Agent):
    """One agent, with certificates if it has a folder of them."""

    def __init__(self, address: str, worker: int, folder: str) -> None:
        """Read what it shows."""
        super().__init__(address, worker, master.Measured())
        self.pems = read_pems(f"{folder}/{worker}" if folder else "")

    async def join(self) -> int:
        """Connect as often as it takes, as agents do; return how often that was."""
        for attempt in count(1):
            with contextlib.suppress(aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                await self.connect()
                return attempt
            await self.channel.close()
            pause = min(BACKOFF_FIRST_SECONDS * 2**attempt, BACKOFF_MAX_SECONDS)
            await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 nothing secret hangs on it
        raise AssertionError

    async def connect(self) -> None:
        """Join, and obey from then on."""
        self.channel = open_channel(self.address, OPTIONS, run_uid=master.RUN_UID, pems=self.pems)
        self.control = self.channel.stream_stream(
            master.CONTROL,
            request_serializer=coordination_pb2.AgentMessage.SerializeToString,
            response_deserializer=coordination_pb2.MasterMessage.FromString,
        )()
        hello = coordination_pb2.Hello(
            peer=self.peer, protocol_major=1, script_digest=master.DIGEST, engines=1, highest_epoch=1
        )
        await self.control.write(coordination_pb2.AgentMessage(hello=hello))
        welcome = await asyncio.wait_for(self.control.read(), FIRST_WORD_SECONDS)
        assert welcome.WhichOneof("kind") == "welcome", welcome
        self.statistics = self.channel.stream_stream(
            master.STATISTICS, response_deserializer=coordination_pb2.StatisticsAck.FromString
        )()
        await self.statistics.write(coordination_pb2.StatisticsFrame(peer=self.peer).SerializeToString())
        self.tasks = [asyncio.create_task(each) for each in (self.obey(), self.listen())]


async def be_agents(address: str, first: int, last: int, folder: str) -> None:
    """Connect these agents when told to, say when the last is in, and stay until told to go."""
    agents = [Agent(address, worker, folder) for worker in range(first, last)]
    turns = asyncio.Semaphore(AT_ONCE)

    async def join(agent: Agent) -> int:
        async with turns:
            return await agent.join()

    print(json.dumps("ready"), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    attempts = await asyncio.gather(*map(join, agents))
    print(json.dumps([time.monotonic(), sum(attempts), max(attempts)]), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    # Nobody is told: the master is about to be killed.
    os._exit(0)


@contextlib.contextmanager
def crowd(address: str, agents: int, folder: str, core: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start the processes of agents, ready to connect."""
    share = -(-agents // PROCESSES)
    started = []
    try:
        for first in range(0, agents, share):
            part = [str(first), str(min(agents, first + share)), address, folder]
            command = ["taskset", "-c", str(core), sys.executable, __file__, "--part", *part]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for each in started:
            hear(each)
        yield started
    finally:
        for each in started:
            each.kill()
            each.communicate()


def hear(process: subprocess.Popen[str]) -> Any:
    """Return what a process of agents says next."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def tell(process: subprocess.Popen[str]) -> None:
    """Let a process of agents go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def certificates(folder: Path, agents: int) -> str:
    """Sign for everybody; return where."""
    authority = make_authority(time.time_ns())
    _mount(folder / "master", authority, Identity(master.RUN_UID, Role.MASTER))
    for worker in range(agents):
        _mount(folder / str(worker), authority, Identity(master.RUN_UID, Role.WORKER, worker))
    return str(folder)


def _mount(folder: Path, authority: Authority, identity: Identity) -> None:
    folder.mkdir(parents=True)
    signed = authority.sign(identity, time.time_ns())
    (folder / AUTHORITY_FILE).write_bytes(authority.certificate_pem)
    (folder / CERTIFICATE_FILE).write_bytes(signed.certificate)
    (folder / KEY_FILE).write_bytes(signed.key)


async def measure(agents: int, name: str, folder: Path, *, tls: Tls) -> list[Figure]:
    """Let all agents come; return how long that took, and what it cost the master."""
    cores = sorted(os.sched_getaffinity(0))
    plan = replace(master.plan_of(agents, 60), tls=tls)
    shown = certificates(folder / "tls", agents) if tls is Tls.MUTUAL else ""
    os.environ["LOADSTONE_TLS_DIR"] = f"{shown}/master" if shown else ""
    async with master.master_of(plan, folder, str(cores[0])) as (address, pid):
        director = asyncio.create_task(master.Director(folder / "s" / "agent.sock").run())
        with crowd(address, agents, shown, cores[-1]) as parts:
            used, began = master.processor_seconds(pid), time.monotonic()
            for part in parts:
                tell(part)
            told = await asyncio.gather(*(asyncio.to_thread(hear, part) for part in parts))
            cpu = master.processor_seconds(pid) - used
            memory = master.memory_mib(pid)
        director.cancel()
    moments, attempts, most = zip(*told, strict=True)
    took = max(moments) - began
    return [
        Figure(f"{name}_seconds", round(took, 2), "s", 1),
        Figure(f"{name}_attempts", sum(attempts), f"of {agents} agents", 1),
        Figure(f"{name}_attempts_most", max(most), "of one agent", 1),
        Figure(f"{name}_master_cpu_seconds", round(cpu, 2), "s", 1),
        Figure(f"{name}_master_memory_mib", round(memory, 1), "MiB", 1),
    ]


def main() -> None:
    """Measure, print, keep; or be a part of the agents."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agents", type=int, default=AGENTS, help="default: %(default)s; other figures are not kept")
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    limit = raise_file_limit()
    if asked.part:
        first, last, address, folder = asked.part
        asyncio.run(be_agents(address, int(first), int(last), folder))
        return
    figures = [Figure("connect_open_files", limit, "", 1)]
    for suffix, tls in (("", Tls.MUTUAL), ("_plain", Tls.DISABLED)):
        folder = Path(tempfile.mkdtemp(prefix="ls-"))
        try:
            figures += asyncio.run(measure(asked.agents, f"connect_{asked.agents}{suffix}", folder, tls=tls))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if asked.agents == AGENTS:
        publish("connect", figures)
    else:
        show(figures)


if __name__ == "__main__":
    main()
