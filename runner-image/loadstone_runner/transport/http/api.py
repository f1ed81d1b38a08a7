"""Answer the requests of the control API: JSON, and server-sent events for rows. Nothing of the run is decided here."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from aiohttp import web

from loadstone_core.errors import UserError
from loadstone_core.load.change import Aim
from loadstone_protocol.documents import TIERS, outcome_document, row_document
from loadstone_runner.transport.http.description import describe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from loadstone_protocol.v1 import control_pb2
    from loadstone_runner.transport.admission import Admission

    _Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# The connections on which somebody was let in.
ADMITTED: Final = web.AppKey("admitted", WeakSet[asyncio.Transport])
WATCHERS_MAX: Final = 32
ALIVE_SECONDS: Final = 10.0
BODY_MAX_BYTES: Final = 16 * 1024
VALUE_MAX: Final = 1_000_000_000
SECOND_MAX: Final = 2**53  # what JSON carries exactly
SECOND_DIGITS: Final = len(str(SECOND_MAX))
IN_A_CLUSTER: Final = (
    "in a cluster desired state changes only through the LoadTest: edit it with kubectl or the API server"
)


class Shown(Protocol):
    """What is shown of a run."""

    async def state(self) -> dict[str, Any]:
        """Return the whole state as a document."""
        ...

    def rows(self, width: int, second: int) -> AsyncGenerator[control_pb2.RowsMessage, None]:
        """Yield closed rows of a width from a second on, and last the outcome."""
        ...

    async def report(self) -> bytes:
        """Return the report as gzip JSON; empty before the run is finished."""
        ...


class Steered(Protocol):
    """What can be asked of a local run; each raises UserError for what cannot be."""

    def aim(self, aim: Aim) -> None:
        """Let a scenario reach another load."""
        ...

    def pause(self, *, is_paused: bool) -> None:
        """Begin or end a pause."""
        ...

    def stop(self, *, is_immediate: bool) -> None:
        """End the run."""
        ...


def application(shown: Shown, *, admission: Admission | None, steered: Steered | None) -> web.Application:
    """Return the API of one run.

    Args:
        shown: the run.
        admission: who may ask; None: everybody who can reach it, as with a socket that only its owner can open.
        steered: what may be changed; None: nothing.
    """
    api = _Api(shown, steered)
    app = web.Application(client_max_size=BODY_MAX_BYTES, middlewares=[_explained, _admitted(admission)])
    app[ADMITTED] = WeakSet()
    app.add_routes(
        [
            web.get("/v1/run", api.state),
            web.get("/v1/run/watch", api.watch, allow_head=False),
            web.get("/v1/run/report", api.report),
            web.get("/v1/openapi.json", api.description),
            web.post("/v1/run/{wish:load|pause|resume|stop}", api.change),
        ]
    )
    return app


class _Api:
    def __init__(self, shown: Shown, steered: Steered | None) -> None:
        self._shown = shown
        self._steered = steered
        self._watchers = 0

    async def state(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(await self._shown.state())

    async def description(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(describe(can_steer=self._steered is not None))

    async def report(self, request: web.Request) -> web.StreamResponse:
        content = await self._shown.report()
        if not content:
            return _problem(404, "there is no report before the run is finished")
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=content, content_type="application/json", headers={"Content-Encoding": "gzip"})
        return web.Response(body=gzip.decompress(content), content_type="application/json")

    async def change(self, request: web.Request) -> web.StreamResponse:
        if self._steered is None:
            return _problem(403, IN_A_CLUSTER)
        body = await _body(request)
        match request.match_info["wish"]:
            case "load":
                self._steered.aim(_aim(body))
            case "pause" | "resume" as wish:
                _nothing_but(body)
                self._steered.pause(is_paused=wish == "pause")
            case _:
                _nothing_but(body, "immediate")
                if not isinstance(is_immediate := body.get("immediate", False), bool):
                    raise _BadRequest("immediate is true or false")
                self._steered.stop(is_immediate=is_immediate)
        return web.json_response({}, status=202)

    async def watch(self, request: web.Request) -> web.StreamResponse:
        tier = request.query.get("tier", "1s")
        if tier not in TIERS:
            return _problem(400, f"tier is one of {', '.join(TIERS)}, not {tier!r}")
        second = _first_second(request)
        if self._watchers >= WATCHERS_MAX:
            return _problem(503, f"{WATCHERS_MAX} watchers are served at once; try again later")
        self._watchers += 1
        try:
            return await self._stream(request, tier, second)
        finally:
            self._watchers -= 1

    async def _stream(self, request: web.Request, tier: str, second: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        messages = _or_nothing(self._shown.rows(TIERS[tier], second), ALIVE_SECONDS)
        async with contextlib.aclosing(messages):
            with contextlib.suppress(ConnectionError):
                async for message in messages:
                    # Its reader's pace is this loop's pace: nothing is kept for it.
                    await response.write(b": alive\n\n" if message is None else _event(message, tier))
        return response


class _BadRequest(UserError):  # noqa: N818 the name of the answer
    """What was sent cannot be meant."""


@web.middleware
async def _explained(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer in JSON whatever goes wrong."""
    try:
        return await handler(request)
    except _BadRequest as error:
        return _problem(400, str(error))
    except UserError as error:
        return _problem(409, str(error))
    except web.HTTPException as error:
        answer = _problem(error.status, error.reason)
        answer.headers.update({name: value for name, value in error.headers.items() if name == "Allow"})
        return answer


def _admitted(admission: Admission | None) -> Any:
    @web.middleware
    async def admit(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if admission is None or admission.lets_in(request.headers.get("Authorization", "")):
            if request.transport is not None:
                request.app[ADMITTED].add(request.transport)
            return await handler(request)
        answer = _problem(401, "say Authorization: Bearer and the token of spec.control.tokenSecret")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    return admit


async def _or_nothing(
    messages: AsyncGenerator[control_pb2.RowsMessage, None], seconds: float
) -> AsyncGenerator[control_pb2.RowsMessage | None, None]:
    """Yield what comes, and None whenever nothing has come for some seconds."""
    following = asyncio.ensure_future(anext(messages, None))
    try:
        while True:
            await asyncio.wait({following}, timeout=seconds)
            if not following.done():
                yield None
                continue
            message = following.result()
            if message is None:
                return
            yield message
            following = asyncio.ensure_future(anext(messages, None))
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await messages.aclose()


def _event(message: control_pb2.RowsMessage, tier: str) -> bytes:
    """Return a server-sent event; its id is the second from which one may ask again to get what comes after it."""
    if message.HasField("outcome"):
        return f"event: outcome\ndata: {json.dumps(outcome_document(message.outcome))}\n\n".encode()
    row = message.row
    return f"event: row\nid: {row.second + 1}\ndata: {json.dumps(row_document(row, tier))}\n\n".encode()


def _first_second(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID") or request.query.get("from", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= SECOND_DIGITS and int(text) <= SECOND_MAX):
        raise _BadRequest(f"from is a second of the load, from 0 on, not {text[:40]!r}")
    return int(text)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError, web.RequestPayloadError) as error:
        raise _BadRequest(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise _BadRequest("the body is a JSON object")
    return body


def _aim(body: dict[str, Any]) -> Aim:
    _nothing_but(body, "users", "rate", "spawnRate", "scenario")
    wanted = [name for name in ("users", "rate") if name in body]
    if len(wanted) != 1:
        raise _BadRequest("exactly one of users and rate is to be set")
    for name in {"users", "rate", "spawnRate"} & set(body):
        if type(body[name]) is not int or not 1 <= body[name] <= VALUE_MAX:
            raise _BadRequest(f"{name} is a whole number from 1 to {VALUE_MAX}")
    scenario = body.get("scenario", "")
    if not isinstance(scenario, str):
        raise _BadRequest("scenario is the name of one")
    return Aim(scenario, body[wanted[0]], body.get("spawnRate"), is_rate="rate" in body)


def _nothing_but(body: dict[str, Any], *names: str) -> None:
    if unknown := sorted(set(body) - set(names)):
        known = f"; known are {', '.join(names)}" if names else ""
        raise _BadRequest(f"{', '.join(unknown)} means nothing here{known}")


def _problem(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)
