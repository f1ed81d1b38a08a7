"""The operator's process beside an API server that has no objects but the Lease. No test is here."""

from __future__ import annotations

import asyncio
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from aiohttp import ClientSession, web
from tests.component.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

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


class Operator(NamedTuple):
    """What a story is told with."""

    server: ApiServer
    process: asyncio.subprocess.Process
    probes: int
    metrics: int

    async def until_ready(self) -> None:
        """Wait until it says that it may act."""
        async with ClientSession() as session:
            while (await session.get(f"http://127.0.0.1:{self.probes}/readyz")).status != HTTPStatus.OK:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)


async def beside_an_operator(
    folder: Path, story: Callable[[Operator], Awaitable[None]], *, seconds: float = 30
) -> None:
    """Run a story with the API server, the operator's process, and the ports of its probes and metrics."""
    server, port, probes, metrics = ApiServer(), free_port(), free_port(), free_port()
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
        "LOADSTONE_METRICS_PORT": str(metrics),
        "LOADSTONE_PROBES_PORT": str(probes),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadstone_operator", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds):
            await server.is_watched.wait()
            await story(Operator(server, process, probes, metrics))
    finally:
        if process.returncode is None:
            process.kill()
        print((await process.communicate())[1].decode())
        server.is_over.set()
        await runner.cleanup()
