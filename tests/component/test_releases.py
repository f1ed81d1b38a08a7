"""Peers of another protocol are refused with a sentence that names both releases, between each two that talk."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import aio
from tests.component.agent_process import PATIENCE, Pod, run
from tests.component.engine_process import VISITOR, engines  # noqa: F401 a fixture
from tests.component.master_process import master_of, plan_of, scenario, users
from tests.component.scripted_agent import RUN_UID, Agent, until
from tests.component.test_followers import KEY, ScriptedMaster, Trust, serve
from tests.component.test_launcher import SLEEPER, agent, launch  # noqa: F401 fixtures

from loadstone_core import __version__
from loadstone_core.clock import ManualClock
from loadstone_operator.control.followers import Followers
from loadstone_operator.ports import MasterRef
from loadstone_protocol import framing
from loadstone_protocol.follower import Follower, MasterRefused
from loadstone_protocol.v1 import control_pb2, control_pb2_grpc, coordination_pb2
from loadstone_protocol.v1 import engine_pb2 as epb

if TYPE_CHECKING:
    from pathlib import Path

promise = pytest.mark.promise
THEIRS = "9.1.0"


def names_both(sentence: str) -> bool:
    """Say whether a refusal names both releases, both protocols, and what to do."""
    words = (f"Loadstone {THEIRS}", "protocol 9.1", f"Loadstone {__version__}", "1.0", "use the same release")
    return all(word in sentence for word in words)


@promise("releases-talk")
def test_a_master_refuses_an_operator_of_another_protocol(tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            master_of(plan_of(users(1, 30), workers=1), tmp_path) as master,
            aio.insecure_channel(master.address) as channel,
        ):
            request = control_pb2.WatchRequest(run_uid=RUN_UID, epoch=1, protocol_major=9, protocol_minor=1)
            request.version = THEIRS
            with pytest.raises(aio.AioRpcError) as refused:
                await anext(aiter(control_pb2_grpc.RunStub(channel).Watch(request)))
            assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            assert names_both(refused.value.details())
            # One that only knows more, or that does not say, is understood.
            for fields in ({"protocol_major": 1, "protocol_minor": 7}, {}):
                newer = control_pb2.WatchRequest(run_uid=RUN_UID, epoch=1, **fields)
                report = await anext(aiter(control_pb2_grpc.RunStub(channel).Watch(newer)))
                assert (report.protocol_major, report.version) == (1, __version__)

    scenario(story())


@promise("releases-talk")
def test_an_operator_refuses_a_master_of_another_protocol_and_says_so_for_the_run() -> None:
    async def story() -> None:
        master = ScriptedMaster()
        master.report = control_pb2.RunReport(stage=control_pb2.GATHERING, protocol_major=9, protocol_minor=1)
        master.report.version = THEIRS
        server, port = await serve(master)
        follower = Follower(f"127.0.0.1:{port}", "uid-1/1", 1)
        followers = Followers(ManualClock(wall=1_000_000), Trust(), lambda _: None)
        try:
            with pytest.raises(MasterRefused) as refused:
                await anext(aiter(follower.watch()))
            assert names_both(str(refused.value))
            followers.follow(KEY, MasterRef("uid-1", 1, 1, f"127.0.0.1:{port}"))
            await until(lambda: names_both(followers.view("uid-1", 1).waiting_for))
            assert not followers.view("uid-1", 1).connected
        finally:
            await follower.close()
            await followers.close()
            await server.stop(None)

    scenario(story())


@promise("releases-talk")
def test_a_master_ends_the_run_at_once_when_its_only_worker_speaks_another_protocol(tmp_path: Path) -> None:
    async def story() -> None:
        async with master_of(plan_of(users(1, 30), workers=1), tmp_path) as master:
            await master.direct()
            foreign = Agent(master.address, 0)
            master.agents.append(foreign)
            await foreign.connect(major=9, minor=1, version=THEIRS)
            assert foreign.refused.code == coordination_pb2.Refused.PROTOCOL
            assert names_both(foreign.refused.detail)
            report = await master.outcome(master.follow())
            assert (report.outcome.verdict, report.outcome.reason) == ("Error", "ConfigConflict")
            assert names_both(report.outcome.message)
            assert "worker 0 (pod-0)" in report.outcome.message

    scenario(story())


@promise("releases-talk")
def test_an_agent_that_its_master_refuses_makes_no_load_and_says_why(tmp_path: Path, capfd: Any) -> None:
    async def story() -> None:
        async with Pod(tmp_path) as pod:
            launcher = await pod.launcher()
            connection = await pod.master.connection()
            connection.say(refused=coordination_pb2.Refused(code=coordination_pb2.Refused.PROTOCOL, detail="too old"))
            await launcher.order("deadline")
            launcher.exited(code=0)
            assert (await launcher.order("exit"))["code"] == 143
            launcher.close()
            assert await pod.wait() == 1

    run(story())
    assert "the master refused this worker: too old" in capfd.readouterr().err


@promise("releases-talk")
def test_an_agent_refuses_an_engine_and_a_launcher_of_another_protocol(tmp_path: Path) -> None:
    async def story() -> None:
        async with Pod(tmp_path) as pod:
            reader, writer = await connected(pod.sockets / "agent.sock")
            hello = epb.EngineHello(role=epb.ENGINE_ROLE_ENGINE, start=1, protocol_major=9, protocol_minor=1)
            hello.version = THEIRS
            writer.write(framing.encode(epb.EngineMessage(hello=hello).SerializeToString()))
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            (payload,) = framing.Decoder().feed(answer)
            assert names_both(epb.ToEngine.FromString(payload).refused.detail)
            writer.close()

            reader, writer = await connected(pod.sockets / "launcher.sock")
            writer.write(b'{"event": "hello", "pid": 1, "engines": 1, "role": "engine", "protocol": 9}\n')
            order = json.loads(await asyncio.wait_for(reader.readline(), PATIENCE))
            assert (order["do"], order["code"]) == ("exit", 76)
            assert f"speaks version 9 of the lines to its agent, which is Loadstone {__version__}" in order["why"]
            assert "must have the same image" in order["why"]
            writer.close()

    run(story())


@promise("releases-talk")
def test_an_engine_that_is_refused_says_why_and_ends(engines: Any) -> None:  # noqa: F811 the fixture
    engine = engines(VISITOR)
    engine.agent.wait(lambda each: each.HasField("hello") and each.hello.protocol_major == 1)
    engine.agent.send(epb.ToEngine(refused=epb.EngineRefused(detail="too new for this agent")))

    assert engine.process.wait(20) == 76
    assert "this engine was refused by its agent: too new for this agent" in engine.output()


@promise("releases-talk")
def test_a_launcher_that_is_refused_says_why_and_ends_its_engines(agent: Any, launch: Any) -> None:  # noqa: F811 fixtures
    launcher = launch(SLEEPER)
    agent.accept()
    assert agent.wait_for("hello")["protocol"] == 1
    agent.order(do="exit", code=76, why="this launcher is too new")

    assert launcher.wait() == 76
    assert b"launcher: this launcher is too new" in launcher.process.stderr.read()


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(OSError):
                return await asyncio.open_unix_connection(str(path))
            await asyncio.sleep(0.02)
