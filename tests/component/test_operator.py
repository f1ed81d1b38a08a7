"""The operator's process, beside an API server that has no objects but the Lease, and what it answers itself."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession, web
from tests.component.ports import free_port

from loadstone_operator.telemetry import pages
from loadstone_operator.telemetry.pages import Page, serve_pages

LEASE = "/apis/coordination.k8s.io/v1/namespaces/ops/leases/loadstone-operator"
VERBS = ["get", "list", "watch", "create", "patch", "delete"]


def kind(name: str, plural: str, *, is_namespaced: bool = True) -> dict[str, Any]:
    return {"name": plural, "singularName": "", "kind": name, "namespaced": is_namespaced, "verbs": VERBS}


# kopf asks for these however little it is to watch.
GROUPS = {
    ("/api", "", "v1"): [kind("Pod", "pods"), kind("Namespace", "namespaces", is_namespaced=False)],
    ("/apis", "loadstone.dev", "v1alpha1"): [kind("LoadTest", "loadtests")],
    ("/apis", "apiextensions.k8s.io", "v1"): [
        kind("CustomResourceDefinition", "customresourcedefinitions", is_namespaced=False)
    ],
}


def discovery() -> dict[str, Any]:
    """Return what the API server says of itself, by path."""
    told: dict[str, Any] = {"/api": {"versions": ["v1"]}, "/apis": {"groups": []}}
    for (root, group, version), kinds in GROUPS.items():
        told["/".join(part for part in (root, group, version) if part)] = {"resources": kinds}
        if group:
            only = {"groupVersion": f"{group}/{version}", "version": version}
            told["/apis"]["groups"].append({"name": group, "versions": [only], "preferredVersion": only})
    return told


ALL_RIGHTS = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
# Of all the waits at the end the longest is kopf's, of five seconds for tasks that are not its own.
LEAVING_SECONDS = 4.0


class ApiServer:
    """Empty lists, watches on which nothing comes, and the Lease with who has held it."""

    def __init__(self) -> None:
        self.told = discovery()
        self.lease: dict[str, Any] | None = None
        self.holders: list[tuple[float, str]] = []
        self.is_watched = asyncio.Event()
        self.is_over = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "/leases" in request.path:
            return await self._answer_lease(request)
        if request.path in self.told:
            return web.json_response(self.told[request.path])
        if request.method == "POST":
            return web.json_response({"status": {"resourceRules": [ALL_RIGHTS]}}, status=201)
        if "watch" not in request.query:
            return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})
        stream = web.StreamResponse()
        await stream.prepare(request)
        self.is_watched.set()
        await self.is_over.wait()
        return stream

    async def _answer_lease(self, request: web.Request) -> web.Response:
        if request.method != "GET":
            self.lease = {**await request.json()}
            self.holders.append((time.monotonic(), self.lease["spec"]["holderIdentity"]))
        if self.lease is None:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        return web.json_response(self.lease)


async def beside_an_operator(
    folder: Path, story: Callable[[ApiServer, asyncio.subprocess.Process, str], Awaitable[None]]
) -> None:
    """Run a story with the API server, the operator's process, and where its probes are."""
    server, port, probes = ApiServer(), free_port(), free_port()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    environment = {
        "KUBECONFIG": str(folder / "config"),
        "LOADSTONE_NAMESPACE": "ops",
        "LOADSTONE_POD_NAME": "pod-1",
        "LOADSTONE_RUNNER_IMAGE": "runner:1",
        "LOADSTONE_METRICS_PORT": str(free_port()),
        "LOADSTONE_PROBES_PORT": str(probes),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadstone_operator", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            await server.is_watched.wait()
            await story(server, process, f"http://127.0.0.1:{probes}")
    finally:
        if process.returncode is None:
            process.kill()
        print((await process.communicate())[1].decode())
        server.is_over.set()
        await runner.cleanup()


def test_an_operator_that_is_told_to_end_gives_its_lease_back_and_is_gone_before_it_would_be_killed(
    tmp_path: Path,
) -> None:
    async def story(server: ApiServer, process: asyncio.subprocess.Process, probes: str) -> None:
        async with ClientSession() as session:
            while (await session.get(f"{probes}/readyz")).status != HTTPStatus.OK:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)
            assert (await session.get(f"{probes}/healthz")).status == HTTPStatus.OK
        assert server.holders[-1][1] == "pod-1"
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert time.monotonic() - told < LEAVING_SECONDS
        assert server.holders[-1][1] == ""

    asyncio.run(beside_an_operator(tmp_path, story))


def test_the_operator_loads_no_synchronous_client() -> None:
    code = "import sys, json, loadstone_operator.__main__; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(done.stdout.splitlines()[-1]) if name != "kubernetes.client"}

    assert "kubernetes.aio.dynamic" in loaded
    assert loaded & {"requests", "oauthlib", "kubernetes.config", "kubernetes.client.api_client"} == set()
    assert [name for name in loaded if name.startswith("kubernetes.aio.client.models.v1_")] == []


# Pages


async def ask(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Return the status line and the body of an answer; both empty when there was none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        answer = await reader.read()
    except ConnectionError:
        answer = b""
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], body


def asked(*requests: bytes) -> list[tuple[bytes, bytes]]:
    async def story() -> list[tuple[bytes, bytes]]:
        port = free_port()
        shown = {"/healthz": lambda: Page(HTTPStatus.SERVICE_UNAVAILABLE, b"behind\n")}
        server = await serve_pages(port, shown, host="127.0.0.1")
        async with server, asyncio.timeout(30):
            return [await ask(port, request) for request in requests]

    return asyncio.run(story())


def test_a_page_is_answered_with_its_status_whatever_else_the_request_says() -> None:
    answers = asked(
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz?verbose HTTP/1.0\r\n\r\n",
        b"HEAD /healthz X\r\n\r\n",
    )

    assert answers == [
        (b"HTTP/1.1 503 Service Unavailable", b"behind\n"),
        (b"HTTP/1.1 503 Service Unavailable", b"behind\n"),
        (b"HTTP/1.1 503 Service Unavailable", b""),
    ]


def test_what_is_no_page_and_what_is_no_question_are_refused() -> None:
    (no_page, where), (no_question, _), (noise, _) = asked(
        b"GET / HTTP/1.1\r\n\r\n", b"POST /healthz HTTP/1.1\r\n\r\n", b"\xff\xfe\r\n\r\n"
    )

    assert (no_page, where) == (b"HTTP/1.1 404 Not Found", b"here are: /healthz\n")
    assert no_question == noise == b"HTTP/1.1 405 Method Not Allowed"


def test_a_peer_that_talks_on_or_falls_silent_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "REQUEST_SECONDS", 0.2)

    assert asked(b"GET /healthz HTTP/1.1\r\n") == [(b"", b"")]
    monkeypatch.setattr(pages, "REQUEST_SECONDS", 600.0)
    assert asked(b"GET " + b"x" * (pages.HEAD_MAX_BYTES + 1)) == [(b"", b"")]
