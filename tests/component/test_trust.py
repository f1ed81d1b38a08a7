"""A real master and a real agent over TLS: whom they talk to, whom they refuse, and that refusing disturbs nobody."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from tests.component import credentials
from tests.component.agent_process import Pod
from tests.component.agent_process import run as run_agent
from tests.component.master_process import Master, iterations, master_of, plan_of, scenario, users
from tests.component.nonsense import chatter, settle, silence
from tests.component.ports import free_port
from tests.component.scraping import page, refused
from tests.component.scripted_agent import RUN_UID, Agent, until

from loadstone_core.spec.model import Tls
from loadstone_operator.trust.authority import LEAF_DAYS
from loadstone_protocol.channel import CLIENT_OPTIONS, FOLLOWER_OPTIONS
from loadstone_protocol.credentials import open_channel
from loadstone_protocol.follower import Follower, MasterRefused, MasterUnreachable
from loadstone_protocol.identity import Identity, Pems, Role, server_name
from loadstone_protocol.v1 import control_pb2, coordination_pb2
from loadstone_runner.transport.grpc.doorstep import STRANGE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from loadstone_operator.trust.authority import Authority

promise = pytest.mark.promise

OTHER_RUN = "uid-1/2"
DAY_NS = 24 * 3600 * 10**9
SERVICES = (coordination_pb2.DESCRIPTOR.services_by_name, control_pb2.DESCRIPTOR.services_by_name)
Method = tuple[str, bool, bool, Descriptor]
METHODS: list[Method] = [
    (f"/{service.full_name}/{method.name}", method.client_streaming, method.server_streaming, method.input_type)
    for services in SERVICES
    for service in services.values()
    for method in service.methods
]
KINDS = {(True, True): "stream_stream", (False, True): "unary_stream", (False, False): "unary_unary"}
AGENTS_METHODS = {method[0] for method in METHODS if ".Coordination/" in method[0]}
OPERATORS_METHODS = {method[0] for method in METHODS if ".Run/" in method[0] or ".Control/" in method[0]}


@contextlib.asynccontextmanager
async def trusting(folder: Path, signer: Authority, *, workers: int = 2, **plan: Any) -> AsyncIterator[Master]:
    tls_dir = credentials.mounted(folder / "tls", credentials.master(signer, RUN_UID))
    load = plan.pop("load", iterations(100))
    made = plan_of(load, workers=workers, tls=Tls.MUTUAL, **plan)
    async with master_of(made, folder, tls_dir=tls_dir, metrics_port=free_port()) as master:
        yield master


async def crew(master: Master, signer: Authority, count: int) -> list[Agent]:
    agents = [await master.join(index, pems=credentials.worker(signer, RUN_UID, index)) for index in range(count)]
    await asyncio.gather(*(agent.running() for agent in agents))
    return agents


async def end(master: Master, signer: Authority, agents: list[Agent]) -> str:
    for agent in agents:
        agent.iterate(50)
        agent.request(50)
        await agent.send(agent.state(0))
    await asyncio.gather(*(agent.stopped() for agent in agents))
    await asyncio.gather(*(agent.bye() for agent in agents))
    report, _ = await master.finish(pems=credentials.operator(signer, RUN_UID))
    assert report.progress.requests == 50 * len(agents)
    return str(report.outcome.verdict)


def opening(kind: Descriptor) -> bytes:
    """Return a message of this type that says what worker 0, or a follower, of this run would say."""
    message = GetMessageClass(kind)()
    peer = coordination_pb2.Peer(run_uid=RUN_UID, worker=0, attempt=1, boot="b", pod="p")
    hello = coordination_pb2.Hello(peer=peer, protocol_major=1, script_digest="x", engines=1)
    for name, said in (("peer", peer), ("hello", hello)):
        if name in kind.fields_by_name:
            getattr(message, name).CopyFrom(said)
    for name, value in (("run_uid", RUN_UID), ("epoch", 1), ("revision", 2**40), ("stop_reason", "Stopped")):
        if name in kind.fields_by_name:
            setattr(message, name, value)
    return bytes(message.SerializeToString())


async def call(channel: aio.Channel, method: Method) -> grpc.StatusCode:
    """Call any method with its opening; return how that ended."""
    path, sends_many, hears_many, kind = method
    ask = getattr(channel, KINDS[sends_many, hears_many])(path)
    request = opening(kind)
    try:
        if hears_many:
            async with asyncio.timeout(10):
                stream = ask(iter([request]) if sends_many else request)
                async for _ in stream:
                    return grpc.StatusCode.OK
        else:
            await ask(request, timeout=20)
    except aio.AioRpcError as error:
        return error.code()
    except TimeoutError:
        # It was let in, and there is nothing to say yet.
        return grpc.StatusCode.OK
    return grpc.StatusCode.OK


async def say_all(channel: aio.Channel, method: Method, messages: list[bytes]) -> None:
    """Call a method with these bytes, or with the last of them where it takes one message, and hear what it says."""
    path, sends_many, hears_many, _ = method
    ask = getattr(channel, KINDS[sends_many, hears_many])(path)
    async with asyncio.timeout(20):
        if not hears_many:
            await ask(messages[-1])
            return
        async for _ in ask(iter(messages) if sends_many else messages[-1]):
            pass


@promise("mutual-tls")
def test_a_run_is_done_by_those_who_show_that_they_are_of_it(tmp_path: Path) -> None:
    signer = credentials.authority()

    async def run() -> None:
        async with trusting(tmp_path, signer) as master:
            await master.direct()
            assert await end(master, signer, await crew(master, signer, 2)) == "Passed"

    scenario(run())


@promise("mutual-tls")
def test_who_has_no_certificate_of_the_authority_does_not_get_past_the_handshake(tmp_path: Path) -> None:
    signer, stranger = credentials.authority(), credentials.authority()
    name = (*CLIENT_OPTIONS, ("grpc.ssl_target_name_override", server_name(RUN_UID)))
    late = signer.sign(Identity(RUN_UID, Role.WORKER, 0), time.time_ns() - (LEAF_DAYS + 1) * DAY_NS)
    foreign = credentials.worker(stranger, RUN_UID, 0)

    def channels(address: str) -> dict[str, aio.Channel]:
        def secured(own: Pems) -> aio.Channel:
            return open_channel(address, CLIENT_OPTIONS, run_uid=RUN_UID, pems=own)

        return {
            "plain gRPC": aio.insecure_channel(address, options=CLIENT_OPTIONS),
            "no certificate": aio.secure_channel(
                address, grpc.ssl_channel_credentials(signer.certificate_pem), options=name
            ),
            "another authority's": secured(Pems(signer.certificate_pem, foreign.certificate, foreign.key)),
            "one that has ended": secured(Pems(signer.certificate_pem, late.certificate, late.key)),
            "a master's, which is for servers": secured(credentials.master(signer, RUN_UID)),
            "the authority's own, which is for nobody": secured(
                Pems(signer.certificate_pem, signer.signed.certificate, signer.signed.key)
            ),
        }

    async def run() -> None:
        async with trusting(tmp_path, signer) as master:
            await master.direct()
            for who, channel in channels(master.address).items():
                async with channel:
                    codes = {await call(channel, method) for method in METHODS}
                    assert codes == {grpc.StatusCode.UNAVAILABLE}, who
            assert await end(master, signer, await crew(master, signer, 2)) == "Passed"

    scenario(run())


@promise("mutual-tls")
@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        pytest.param(Identity(OTHER_RUN, Role.WORKER, 0), set(), id="a worker of another run"),
        pytest.param(Identity(OTHER_RUN, Role.OPERATOR), set(), id="the operator, for another run"),
        pytest.param(Identity(RUN_UID, Role.WORKER, 1), set(), id="another worker than the message says"),
        pytest.param(Identity(RUN_UID, Role.WORKER, 0), AGENTS_METHODS, id="the worker"),
        pytest.param(Identity(RUN_UID, Role.OPERATOR), OPERATORS_METHODS, id="the operator"),
    ],
)
def test_every_method_of_a_master_is_for_one_role_of_its_own_run(
    tmp_path: Path, who: Identity, allowed: set[str]
) -> None:
    signer = credentials.authority()

    async def run() -> None:
        async with trusting(tmp_path, signer, load=users(1, 60)) as master:
            await master.direct()
            for method in METHODS:
                own = credentials.pems(signer, who)
                async with open_channel(master.address, FOLLOWER_OPTIONS, run_uid=RUN_UID, pems=own) as channel:
                    code = await call(channel, method)
                is_refused = code is grpc.StatusCode.PERMISSION_DENIED
                assert is_refused is (method[0] not in allowed), (method[0], code)
            assert refused(await page(master.metrics_port), "worker") == len(METHODS) - len(allowed)

    scenario(run())


@promise("mutual-tls")
def test_a_follower_takes_no_other_master_for_its_own(tmp_path: Path) -> None:
    signer, stranger = credentials.authority(), credentials.authority()

    async def heard(address: str, run_uid: str, own: Pems) -> bool:
        follower = Follower(address, run_uid, 1, pems=own)
        try:
            async with asyncio.timeout(20):
                async for _ in follower.watch():
                    return True
        except (MasterUnreachable, MasterRefused):
            return False
        finally:
            await follower.close()
        return False

    async def run() -> None:
        async with trusting(tmp_path, signer) as master:
            assert await heard(master.address, RUN_UID, credentials.operator(signer, RUN_UID))
            assert not await heard(master.address, OTHER_RUN, credentials.operator(signer, OTHER_RUN))
            assert not await heard(master.address, RUN_UID, credentials.operator(stranger, RUN_UID))

    scenario(run())


@promise("mutual-tls")
def test_an_agent_says_nothing_to_a_master_of_another_run_role_or_authority(tmp_path: Path) -> None:
    signer, stranger = credentials.authority(), credentials.authority()
    tls_dir = credentials.mounted(tmp_path / "tls", credentials.worker(signer, "uid/1", 3))

    async def scenario() -> None:
        true = credentials.master(signer, "uid/1")
        async with Pod(tmp_path, pems=true, LOADSTONE_TLS_DIR=tls_dir) as pod:
            await pod.master.connection()
            port = pod.master.port
            foreign = credentials.master(stranger, "uid/1")
            for false in (
                credentials.master(signer, "uid/2"),
                credentials.worker(signer, "uid/1", 4),
                Pems(signer.certificate_pem, foreign.certificate, foreign.key),
                None,
            ):
                await pod.master.stop()
                pod.master.pems = false
                await pod.master.start(port)
                tried = asyncio.create_task(pod.master.connection())
                await asyncio.sleep(1.5)
                assert not tried.done()
                tried.cancel()
            await pod.master.stop()
            pod.master.pems = true
            await pod.master.start(port)
            # It has become slower in the meantime: up to 5 s between two attempts.
            connection = await asyncio.wait_for(pod.master.connections.get(), 60)
            assert await connection.wait_for("hello")

    run_agent(scenario())


@promise("mutual-tls")
def test_a_master_without_its_certificate_does_not_listen(tmp_path: Path) -> None:
    async def run() -> None:
        master = Master(plan_of(iterations(1), tls=Tls.MUTUAL), tmp_path)
        starting = asyncio.create_task(master.start())
        try:
            await until((tmp_path / "last-word").exists, seconds=50)
            assert "LOADSTONE_TLS_DIR" in master.last_word["message"]
            assert master.process is not None
            assert await asyncio.wait_for(master.process.wait(), 20) == 1
            assert not (tmp_path / "state" / "address").exists()
        finally:
            starting.cancel()
            await master.stop()

    scenario(run())


@promise("hostile-port")
@pytest.mark.timeout(240)
def test_garbage_on_the_port_disturbs_nobody(tmp_path: Path) -> None:
    signer = credentials.authority()

    seeds: list[int] = []

    async def assault(host: str, port: int, *, seed: int) -> None:
        await asyncio.gather(silence(host, port, connections=200), chatter(host, port, connections=200, seed=seed))
        seeds.append(seed)

    async def run() -> None:
        async with trusting(tmp_path, signer) as master:
            await master.direct()
            agents = await crew(master, signer, 2)
            assert master.process is not None
            host, _, port = master.address.rpartition(":")
            beats = [agent.acknowledged for agent in agents]
            await settle(master.process.pid, lambda seed: assault(host, int(port), seed=seed))
            assert all(agent.acknowledged > beat for agent, beat in zip(agents, beats, strict=True))
            # The last are given their time to say who they are. Each counts once, and nobody who was met.
            await asyncio.sleep(STRANGE_SECONDS + 1)
            assert refused(await page(master.metrics_port), "stranger") == 400 * len(seeds)
            assert await end(master, signer, agents) == "Passed"

    scenario(run(), seconds=200)


@promise("hostile-port")
def test_a_worker_that_sends_garbage_ends_its_own_calls_and_nobody_elses(tmp_path: Path) -> None:
    signer = credentials.authority()
    chance = random.Random(20_261_128)  # noqa: S311 (bytes of nothing)

    async def sends(address: str, method: Method) -> None:
        own = credentials.worker(signer, RUN_UID, 1)
        messages = [chance.randbytes(chance.choice((0, 1, 40, 5_000))) for _ in range(30)]
        async with open_channel(address, CLIENT_OPTIONS, run_uid=RUN_UID, pems=own) as channel:
            with pytest.raises(aio.AioRpcError):
                await say_all(channel, method, messages)

    async def run() -> None:
        async with trusting(tmp_path, signer) as master:
            await master.direct()
            agents = await crew(master, signer, 2)
            await asyncio.gather(*(sends(master.address, method) for method in METHODS for _ in range(5)))
            assert await end(master, signer, agents) == "Passed"

    scenario(run())
