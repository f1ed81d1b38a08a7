"""The launcher and the director of a pod, scripted, and how a process finds a Unix socket of its pod.

The launcher's switch and its lease file are the real ones.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from loadstone_protocol import framing
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.launcher.lease import LeaseFile
from loadstone_runner.launcher.switch import Due, Switch
from loadstone_runner.settings import LAUNCHER_PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.stateful.clockwork import Process
    from tests.stateful.network import LocalTransport, Network

RETRY_SECONDS = 0.2


class Peer(asyncio.Protocol):
    """A process' way to a Unix socket of its pod: found again whenever it is lost."""

    def __init__(self, network: Network, path: str, process: Process) -> None:
        self._network = network
        self._path = path
        self._process = process
        self._transport: LocalTransport | None = None
        self._is_over = False
        process.call(self._dial)

    def _dial(self) -> None:
        self._transport = self._network.dial_locally(self._path, self)
        if self._transport is None:
            self._process.call_later(RETRY_SECONDS, self._dial)

    def connection_made(self, transport: Any) -> None:  # noqa: ARG002 it is known
        self.introduce()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the cause changes nothing
        self._transport = None
        if not self._is_over:
            self._process.call_later(RETRY_SECONDS, self._dial)

    def put(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def introduce(self) -> None:
        raise NotImplementedError


class Launcher(Peer):
    """The parent of the engines of one pod: starts them, kills them when the switch says so, tells of their ends."""

    def __init__(
        self, network: Network, folder: Path, process: Process, *, engines: Mapping[int, Process], role: str = "engine"
    ) -> None:
        self._switch = Switch()
        self._lease = LeaseFile(f"{folder}/lease")
        self._engines = engines
        self._role = role
        self._exit_code: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._held = b""
        self._machine = process.machine
        super().__init__(network, f"{folder}/launcher.sock", process)
        for number, engine in engines.items():
            engine.on_end.append(lambda _process, number=number: process.call(self._reap, number))
        process.on_end.append(lambda _process: [each.kill() for each in engines.values()])

    def terminate(self) -> None:
        """Obey SIGTERM."""
        self._switch.terminate(self._machine.boottime_ns())
        self._throw()

    def introduce(self) -> None:
        engines, role = len(self._engines), self._role
        self._say(event="hello", pid=1, engines=engines, role=role, protocol=LAUNCHER_PROTOCOL)
        for number in self._engines:
            self._say(event="started", engine=number, start=1, pid=2 + number)
        for number, engine in self._engines.items():
            if not engine.is_alive:
                self._tell_end(number)

    def data_received(self, data: bytes) -> None:
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        self._throw()

    def _obey(self, order: dict[str, Any]) -> None:
        now_ns = self._machine.boottime_ns()
        match order["do"]:
            case "lease":
                self._switch.renew(now_ns, seconds=order["seconds"])
                if self._switch.lease_ns is not None:
                    self._lease.write(self._switch.lease_ns)
            case "deadline":
                self._switch.limit(now_ns, seconds=order["seconds"])
            case "kill":
                self._switch.limit(now_ns, seconds=0)
            case "exit":
                self._exit_code = order["code"]
                self._switch.limit(now_ns, seconds=0)
                self._end_if_done()

    def _throw(self) -> None:
        """Do what is due, and come again when the next thing is."""
        due = self._switch.take(self._machine.boottime_ns())
        for engine in [each for each in self._engines.values() if each.is_alive]:
            if due is Due.TERMINATE:
                engine.signal(15)
            elif due is Due.KILL:
                engine.kill()
        if self._timer is not None:
            self._timer.cancel()
        next_ns = self._switch.next_ns()
        if next_ns is not None and any(each.is_alive for each in self._engines.values()):
            self._timer = self._process.call_later(self._machine.seconds_until(next_ns) + 0.001, self._throw)

    def _reap(self, number: int) -> None:
        self._tell_end(number)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._exit_code is not None and not any(each.is_alive for each in self._engines.values()):
            self._process.end(self._exit_code)

    def _tell_end(self, number: int) -> None:
        code = self._engines[number].exit_code
        killed = 9 if code is None else None
        self._say(event="exited", engine=number, start=1, code=code, signal=killed, tail="", oom=False)

    def _say(self, **event: Any) -> None:
        self.put(json.dumps(event).encode() + b"\n")


class Director(Peer):
    """The script's process beside the master: setup does nothing for a while, teardown nothing, and that is said."""

    def __init__(self, network: Network, folder: Path, process: Process, setup_seconds: float) -> None:
        self._setup_seconds = setup_seconds
        self._decoder = framing.Decoder()
        super().__init__(network, f"{folder}/agent.sock", process)

    def introduce(self) -> None:
        self._decoder = framing.Decoder()
        self._say(hello=engine_pb2.EngineHello(role=engine_pb2.ENGINE_ROLE_DIRECTOR, start=1, pid=1))
        self._say(script=engine_pb2.ScriptReport(ok=True))

    def data_received(self, data: bytes) -> None:
        for payload in self._decoder.feed(data):
            message = engine_pb2.ToEngine.FromString(payload)
            if message.WhichOneof("kind") == "setup":
                answer = engine_pb2.SetupReport(teardown=message.setup.teardown, ok=True, result_json=b"null")
                seconds = 0.05 if answer.teardown else self._setup_seconds
                self._process.call_later(seconds, lambda answer=answer: self._say(setup=answer))

    def _say(self, **kind: Any) -> None:
        self.put(framing.encode(engine_pb2.EngineMessage(**kind).SerializeToString()))
