"""A real agent and launcher, and the master's log behind a scripted control stream. Engines are small programs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

from tests.component.agent_process import Master
from tests.component.ports import free_port
from tests.component.scripted_agent import RUN_UID, until

from loadstone_protocol import coordination
from loadstone_protocol.messages import Bye
from loadstone_protocol.v1 import coordination_pb2 as cpb
from loadstone_protocol.v1 import engine_pb2 as epb
from loadstone_runner.master.exchange import Exchange
from loadstone_runner.master.log_desk import LogDesk, recall
from loadstone_runner.master.log_reading import whole
from loadstone_runner.master.log_store import LogStore
from loadstone_runner.master.logbook import LogBook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from loadstone_runner.master.logbook import LogSummary

# The launcher is a real one; only what it starts is a small program instead of an engine.
LAUNCHER = """
import os, sys
from loadstone_runner.launcher.service import supervise
from loadstone_runner.launcher.spool import Spool
from loadstone_runner.settings import read_launcher
Spool.__init__.__kwdefaults__["limit"] = int(os.environ["SPOOL_BYTES"])
def program(environment):
    exec(environment["ENGINE_CODE"], {"__name__": "engine"})
    return 0
sys.exit(supervise(read_launcher(os.environ), program))
"""
PATIENCE = 60.0


class LogMaster(Master):
    """The log of one start of a master, over what an earlier one has kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.book = LogBook()
        recall(self.book, folder)
        self.exchange = Exchange()
        self.desk = LogDesk(
            self.book, LogStore(folder), exchange=self.exchange, on_director_kept=lambda _number, _is_lost: None
        )

    async def Bulk(self, requests: AsyncIterator[cpb.BulkFrame], context: Any) -> None:  # noqa: N802 the name in the proto
        end = None
        writing = None
        try:
            async for frame in requests:
                if end is None:
                    end = self.exchange.end_of(frame.peer.worker, frame.peer.attempt)
                    end.begin()
                    writing = asyncio.create_task(end.pump(context.write))
                else:
                    end.hear(frame)
        finally:
            if writing is not None:
                writing.cancel()


class Rig:
    """One worker with its master."""

    def __init__(self, folder: Path, code: str, *, engines: int = 1, spool_bytes: int = 64 * 1024 * 1024, **env: str):
        self.folder = folder
        self.code = code
        self.engines = engines
        self.spool_bytes = spool_bytes
        self.env = env
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.serving: LogMaster
        for name in ("w", "scripts"):
            (folder / name).mkdir(parents=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        if hasattr(self, "serving"):
            await self.serving.stop()

    async def master(self) -> None:
        self.serving = LogMaster(self.folder / "log")
        await self.serving.start(self.port)

    async def agent(self) -> None:
        environment = {
            **os.environ,
            "LOADSTONE_RUN_UID": RUN_UID,
            "LOADSTONE_EPOCH": "1",
            "LOADSTONE_WORKER": "0",
            "LOADSTONE_MASTER": f"127.0.0.1:{self.port}",
            "LOADSTONE_SOCKET_DIR": str(self.folder / "w"),
            "LOADSTONE_ENGINES": str(self.engines),
            "LOADSTONE_SCRIPT_DIR": str(self.folder / "scripts"),
            "LOADSTONE_METRICS": "",
            "LOADSTONE_TERMINATION_FILE": str(self.folder / "last-word"),
        }
        self._start("agent", [sys.executable, "-m", "loadstone_runner", "agent"], environment)

    async def launcher(self) -> None:
        environment = {
            **os.environ,
            **self.env,
            "LOADSTONE_SOCKET_DIR": str(self.folder / "w"),
            "LOADSTONE_ENGINES": str(self.engines),
            "ENGINE_CODE": self.code,
            "SPOOL_BYTES": str(self.spool_bytes),
        }
        self._start("launcher", [sys.executable, "-c", LAUNCHER], environment)

    async def kill(self, role: str) -> None:
        if role == "master":
            await self.serving.stop()
            return
        self.processes[role].kill()
        self.processes[role].wait()

    async def summary(self, patience_seconds: float = PATIENCE) -> LogSummary:
        """Wait for the worker's Bye, let it leave, and return what its log lacks."""
        async with asyncio.timeout(patience_seconds):
            message = await self._bye()
        bye = coordination.word_from_message(cpb.AgentMessage(bye=message))
        assert isinstance(bye, Bye)
        for end in bye.logs:
            self.serving.book.hear_end(0, 1, end)
        await until(lambda: self.processes["agent"].poll() is not None)
        await self.serving.desk.finish()
        return self.serving.book.summary(is_silent=False)

    async def launched(self) -> None:
        """Wait until the agent has heard of its launcher."""
        connection = await self.serving.connection()
        await connection.wait_for("heartbeat", lambda beat: len(beat.engines) > 0)
        self.serving.connections.put_nowait(connection)

    async def configured(self) -> None:
        """Give the worker a load, with time to finish in; its small engines know nothing of it."""
        connection = await self.serving.connection()
        body = cpb.CommonBody(run_state=epb.READY_STATE, graceful_stop_ns=10 * 10**9).SerializeToString()
        version, digest = cpb.Version(epoch=1, revision=1), hashlib.sha256(body).digest()
        connection.say(assignment=cpb.Assignment(epoch=1, version=1, slot=0, slots=1))
        connection.say(config=cpb.Config(version=version, sha256=digest, body=body))
        beats = self.heard(connection)
        await until(lambda: self.heard(connection) > beats + 1)
        self.serving.connections.put_nowait(connection)

    @staticmethod
    def heard(connection: Any) -> int:
        """Return how many heartbeats have come over a connection."""
        return len(connection.all("heartbeat"))

    def beats(self) -> int:
        """Return how many heartbeats have come over the newest connection."""
        return self.heard(self.connection)

    async def _bye(self) -> Any:
        while True:
            connection = self.connection = await self.serving.connections.get()
            while not connection.ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        message = await connection.wait_for("bye")
                        connection.say(leave=cpb.Leave(run_over=True))
                        return message

    def kept(self) -> list[str]:
        """Return the log as the master keeps it, without the names before its lines."""
        text = b"".join(whole(self.folder / "log")).decode()
        return [line.partition(" | ")[2] for line in text.splitlines()]

    def _start(self, role: str, command: list[str], environment: dict[str, str]) -> None:
        with (self.folder / f"{role}.log").open("ab") as out:
            self.processes[role] = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
