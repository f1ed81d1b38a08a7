"""A master shows its run to platforms that know the token, over HTTP and gRPC, and to nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
from grpc import aio
from tests.component.master_process import master_of, plan_of, scenario, steering, users
from tests.component.ports import free_port
from tests.component.scripted_agent import RUN_UID

from loadstone_client.asynchronous import connect
from loadstone_client.errors import Refused
from loadstone_protocol.v1 import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.component.master_process import Master
    from tests.component.scripted_agent import Agent

    from loadstone_core.load.profile import LoadProfile

TOKEN = "s3cret"
promise = pytest.mark.promise


class Ports:
    def __init__(self) -> None:
        self.rest, self.grpc = free_port(), free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LOADSTONE_CONTROL": f"127.0.0.1:{self.rest}",
            "LOADSTONE_CONTROL_GRPC": f"127.0.0.1:{self.grpc}",
            "LOADSTONE_CONTROL_TOKEN": TOKEN,
        }


@contextlib.asynccontextmanager
async def watched_master(load: LoadProfile, folder: Path) -> AsyncIterator[tuple[Master, Ports]]:
    ports = Ports()
    async with master_of(plan_of(load), folder, more=ports.environment) as master:
        # Agents need not wait until platforms can be let in.
        async with asyncio.timeout(20):
            for port in (ports.rest, ports.grpc):
                while not await is_open(port):  # noqa: ASYNC110 (on the other side of a socket)
                    await asyncio.sleep(0.02)
        yield master, ports


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def told(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


async def everything(call: Any) -> list[control_pb2.RowsMessage]:
    return [message async for message in call]


async def work(agent: Agent) -> None:
    await agent.running()
    await agent.load(seconds=3, users=2, requests=7)
    await agent.stopped()
    await agent.bye()


@promise("control-api", "exact-totals")
def test_a_platform_that_knows_the_token_watches_a_run_over_http(tmp_path) -> None:
    async def story() -> None:
        async with watched_master(users(4, 3.0), tmp_path) as (master, ports):
            run = connect(ports.url, token=TOKEN)
            assert (await run.state()).stage == "gathering"
            with pytest.raises(Refused, match="before the run is finished"):
                await run.report()
            await master.direct()
            working = asyncio.gather(*[work(await master.join(worker)) for worker in range(2)])

            rows = [row async for row in run.watch()]

            await working
            assert run.outcome is not None
            assert sum(row.requests for row in rows) == run.outcome.results["requests"] == 42
            assert max(row.users for row in rows) == 4
            assert (await run.report())["results"] == run.outcome.results
            assert (await run.state()).outcome == run.outcome
            await master.finish()

    scenario(story())


@promise("control-api", "exact-totals")
def test_a_platform_that_knows_the_token_watches_a_run_over_grpc(tmp_path) -> None:
    async def story() -> None:
        async with (
            watched_master(users(4, 3.0), tmp_path) as (master, ports),
            aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
        ):
            await master.direct()
            stub = control_pb2_grpc.ControlStub(channel)
            wanted = (control_pb2.RowsRequest(), control_pb2.RowsRequest(run_uid=RUN_UID, width_seconds=10))
            calls = [stub.Watch(request, metadata=told(TOKEN)) for request in wanted]
            watching = asyncio.gather(*map(everything, calls))
            await asyncio.gather(*[work(await master.join(worker)) for worker in range(2)])

            (*fine, last), (coarse, _) = await watching

            assert sum(each.row.requests for each in fine) == coarse.row.requests == 42
            assert [each.row.second for each in fine] == list(range(coarse.row.width_seconds))
            held = await stub.Get(control_pb2.GetRequest(), metadata=told(TOKEN))
            assert (held.stage, held.outcome) == (control_pb2.FINISHED, last.outcome)
            content = await stub.FetchReport(control_pb2.ReportRequest(), metadata=told(TOKEN))
            assert json.loads(gzip.decompress(content.gzip_json))["results"]["requests"] == 42
            with pytest.raises(aio.AioRpcError, match="1 or 10 seconds wide"):
                await everything(stub.Watch(control_pb2.RowsRequest(width_seconds=5), metadata=told(TOKEN)))
            with pytest.raises(aio.AioRpcError, match="this master serves run"):
                await stub.Get(control_pb2.GetRequest(run_uid="another"), metadata=told(TOKEN))
            await master.finish()

    scenario(story())


@promise("control-api")
def test_nobody_else_sees_anything_and_nobody_changes_a_run(tmp_path) -> None:
    async def story() -> None:
        async with (
            watched_master(users(4, 60.0), tmp_path) as (_, ports),
            aiohttp.ClientSession(ports.url) as session,
        ):
            for headers in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": f"Basic {TOKEN}"}):
                for path in ("/v1/run", "/v1/run/watch", "/v1/run/report", "/v1/openapi.json", "/nothing"):
                    async with session.get(path, headers=headers) as answer:
                        assert answer.status == 401, path
                        assert answer.headers["WWW-Authenticate"] == "Bearer"
                        assert "tokenSecret" in (await answer.json())["error"]
            async with aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
                stub = control_pb2_grpc.ControlStub(channel)
                for metadata in (None, told("s3cre")):
                    with pytest.raises(aio.AioRpcError) as refused:
                        await stub.Get(control_pb2.GetRequest(), metadata=metadata)
                    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
                    with pytest.raises(aio.AioRpcError) as refused:
                        await everything(stub.Watch(control_pb2.RowsRequest(), metadata=metadata))
                    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
                # What agents and the operator call is not here.
                steer = control_pb2_grpc.RunStub(channel).Steer
                with pytest.raises(aio.AioRpcError) as refused:
                    await steer(steering(1, stop_reason="Stopped"), metadata=told(TOKEN))
                assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
            run = connect(ports.url, token=TOKEN)
            for change in (run.stop(), run.pause(), run.resume(), run.set_load(users=5)):
                with pytest.raises(Refused, match="only through the LoadTest") as forbidden:
                    await change
                assert forbidden.value.status == 403
            assert (await run.state()).stage == "gathering"

    scenario(story())


@promise("control-api")
def test_what_cannot_be_meant_is_told(tmp_path) -> None:
    async def story() -> None:
        async with (
            watched_master(users(4, 60.0), tmp_path) as (_, ports),
            aiohttp.ClientSession(ports.url, headers={"Authorization": f"Bearer {TOKEN}"}) as session,
        ):
            for path, status, words in (
                ("/v1/run/watch?tier=5s", 400, "tier is one of 1s, 10s"),
                ("/v1/run/watch?from=-1", 400, "from is a second of the load"),
                (f"/v1/run/watch?from={'9' * 500}", 400, "from is a second of the load"),
                ("/v2/run", 404, "Not Found"),
            ):
                async with session.get(path) as answer:
                    assert (answer.status, words in (await answer.json())["error"]) == (status, True), path

    scenario(story())


@promise("control-api")
def test_a_master_that_nobody_may_watch_listens_for_nobody(tmp_path) -> None:
    async def story() -> None:
        ports = Ports()
        async with master_of(plan_of(users(4, 60.0)), tmp_path) as master:
            assert not await is_open(ports.rest)
            assert not await is_open(ports.grpc)
            assert master.process is not None
            loaded = await asyncio.to_thread(Path(f"/proc/{master.process.pid}/maps").read_text)
            assert "multidict" not in loaded
            assert "libssl" not in loaded

    scenario(story())
