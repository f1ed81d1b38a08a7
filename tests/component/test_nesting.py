"""What the API server shows of a LoadTest that is nested deeply, over real connections: nobody ends who reads it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import ClientSession, ClientTimeout, web
from kopf._cogs.clients.api import iter_jsonlines

from loadstone_operator.cluster.api import LOADTESTS, Api
from loadstone_operator.cluster.credentials import Credentials
from loadstone_operator.cluster.echoes import Echoes, lean_answers

DEEP = '{"a":' * 5_000 + "1" + "}" * 5_000
METADATA = '{"name":"deep","namespace":"shop","uid":"u-1","resourceVersion":"1"}'
BODY = f'{{"metadata":{METADATA},"spec":{{"workers":{{"template":{{"spec":{{"affinity":{DEEP}}}}}}}}}}}'
OTHER = BODY.replace("deep", "other").replace(DEEP, "{}")
LIST = f'{{"metadata":{{}},"items":[{BODY},{OTHER}]}}'
WATCH = "".join(f'{{"type":"ADDED","object":{body}}}\n' for body in (BODY, OTHER))


@asynccontextmanager
async def server(text: str) -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/json")

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (address,) = runner.addresses
    try:
        yield f"http://127.0.0.1:{address[1]}"
    finally:
        await runner.cleanup()


def names(text: str, read: Callable[[str], Awaitable[list[str]]]) -> list[str]:
    async def story() -> list[str]:
        async with server(text) as url:
            return await read(url)

    return asyncio.run(story())


def test_a_list_with_a_loadtest_that_is_nested_deeply_is_read_whole() -> None:
    async def read(url: str) -> list[str]:
        api = Api(lambda: Credentials(server=url))
        try:
            return [body["metadata"]["name"] for body in await api.list(LOADTESTS, None)]
        finally:
            await api.close()

    assert names(LIST, read) == ["deep", "other"]


def test_kopf_lists_and_watches_beside_a_loadtest_that_is_nested_deeply() -> None:
    echoes = Echoes(lambda *_: None)
    before = (
        b'{"type":"MODIFIED","object":{"metadata":{"name":"x","managedFields":[],"resourceVersion":"1","uid":"u-9"}}}'
    )
    assert [echoes.is_echo(before), echoes.is_echo(before)] == [False, True]

    def session() -> ClientSession:
        kind = lean_answers(echoes)
        return ClientSession(response_class=kind, timeout=ClientTimeout(total=30))

    async def listed(url: str) -> list[str]:
        async with session() as client, client.get(f"{url}/loadtests") as response:
            return [body["metadata"]["name"] for body in (await response.json())["items"]]

    async def watched(url: str) -> list[str]:
        async with session() as client, client.get(f"{url}/loadtests", params={"watch": "true"}) as response:
            # As kopf does it.
            events = [json.loads(line.decode()) async for line in iter_jsonlines(response.content)]
        return [event["object"]["metadata"]["name"] for event in events]

    assert names(LIST, listed) == ["deep", "other"]
    # Of what has gone before it, no watch that follows the list will tell.
    assert not echoes.is_echo(before)
    assert names(WATCH, watched) == ["deep", "other"]
