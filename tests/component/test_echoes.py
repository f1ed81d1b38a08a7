"""The watch that kopf reads, over a real connection: echoes of written statuses are missing from it, and no more."""

import asyncio
import json
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web
from kopf._cogs.clients.api import iter_jsonlines

from loadstone_operator.cluster.echoes import Echoes, answers_without_echoes

PATH = "/apis/loadstone.dev/v1alpha1/namespaces/shop/loadtests"


def event(kind: str, version: int, *, generation: int = 1) -> bytes:
    metadata = {
        "generation": generation,
        "managedFields": [{"manager": "loadstone-operator"}],
        "name": "checkout",
        "resourceVersion": str(version),
        "uid": "u-1",
    }
    told = {"type": kind, "object": {"metadata": metadata, "status": {"message": "long " * 5_000}}}
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


EVENTS = (
    event("ADDED", 1),
    event("MODIFIED", 2),
    event("MODIFIED", 3),
    event("MODIFIED", 4),
    event("MODIFIED", 5, generation=2),
    event("MODIFIED", 6, generation=2),
    event("DELETED", 7, generation=2),
)


async def serve(pieces: list[bytes], query: dict[str, str], plural: str = "loadtests") -> tuple[list[str], list[str]]:
    """Return the versions that a reader gets of an answer in these pieces, and those that were left out."""

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        for piece in pieces:
            await stream.write(piece)
            await asyncio.sleep(0)
        return stream

    left_out: list[str] = []
    application = web.Application()
    application.router.add_get(PATH, answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    kind = answers_without_echoes(Echoes(lambda _, version: left_out.append(version)), plural)
    try:
        async with (
            ClientSession(response_class=kind, timeout=ClientTimeout(total=30)) as session,
            session.get(f"http://127.0.0.1:{address[1]}{PATH}", params=query) as response,
        ):
            told = [json.loads(line) async for line in iter_jsonlines(response.content)]
    finally:
        await runner.cleanup()
    return [each["object"]["metadata"]["resourceVersion"] for each in told], left_out


def heard(pieces: list[bytes], query: dict[str, str], plural: str = "loadtests") -> Any:
    return asyncio.run(serve(pieces, query, plural))


def test_echoes_are_left_out_however_the_stream_is_cut_into_pieces() -> None:
    whole = b"".join(EVENTS)
    for size in (777, 4_096, len(whole)):
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]

        assert heard(pieces, {"watch": "true"}) == (["1", "2", "5", "7"], ["3", "4", "6"])


def test_lists_and_watches_of_other_kinds_are_left_as_they_are() -> None:
    everything = [str(version) for version in range(1, 8)]

    assert heard(list(EVENTS), {}) == (everything, [])
    assert heard(list(EVENTS), {"watch": "true"}, "pods") == (everything, [])


def test_a_last_line_without_an_end_is_passed_on() -> None:
    assert heard([EVENTS[0], EVENTS[1][:-1]], {"watch": "true"}) == (["1", "2"], [])
