"""Judge whether the process still makes progress, and answer the probes and Prometheus over HTTP.

A loop that answers proves nothing: what is proved here is that the watches deliver what a list has shown to exist.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from loadstone_core.clock import Clock
    from loadstone_operator.telemetry.metrics import Metrics

    _Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BEHIND_SECONDS: Final = 180.0

_SECOND: Final = 1_000_000_000
_log = logging.getLogger(__name__)


class WatchProgress:
    """Whether what a list showed was also delivered by the watch, by object and resource version."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched: dict[str, str] = {}
        self._owed: dict[str, tuple[str, int]] = {}

    def watched(self, uid: str, version: str) -> None:
        """Note what a watch delivered."""
        self._watched[uid] = version
        owed = self._owed.get(uid)
        if owed is not None and not _precedes(version, owed[0]):
            del self._owed[uid]

    def vanished(self, uid: str) -> None:
        """Forget an object that is gone."""
        self._watched.pop(uid, None)
        self._owed.pop(uid, None)

    def listed(self, objects: Iterable[tuple[str, str]]) -> None:
        """Note what a list showed, as (UID, resource version): the watch owes it from now on."""
        now, shown = self._clock.monotonic_ns(), dict(objects)
        for uid in set(self._watched) - set(shown):
            self.vanished(uid)
        for uid in set(self._owed) - set(shown):
            del self._owed[uid]
        for uid, version in shown.items():
            held = self._watched.get(uid)
            if (held is None or _precedes(held, version)) and uid not in self._owed:
                self._owed[uid] = (version, now)

    def seconds_behind(self) -> float:
        """Return for how long the watch has owed its oldest debt; 0 without debts."""
        oldest = min((since for _, since in self._owed.values()), default=None)
        return 0.0 if oldest is None else (self._clock.monotonic_ns() - oldest) / _SECOND


async def serve(
    metrics: Metrics, progress: WatchProgress, is_ready: Callable[[], bool], *, metrics_port: int, probes_port: int
) -> list[web.AppRunner]:
    """Serve /metrics on one port and /healthz and /readyz on another, until the runners are cleaned up."""

    async def healthz(_: web.Request) -> web.Response:
        behind = progress.seconds_behind()
        if behind > BEHIND_SECONDS:
            _log.error("Watch fell behind", extra={"seconds": behind})
            return web.Response(status=503, text=f"the watch is {behind:.0f} s behind")
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok") if is_ready() else web.Response(status=503, text="waits for lease or API")

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    probes = {"/healthz": healthz, "/readyz": readyz}
    sites = ((probes_port, probes), (metrics_port, {"/metrics": figures}))
    return list(await asyncio.gather(*(_listen(port, routes) for port, routes in sites)))


async def _listen(port: int, routes: Mapping[str, _Handler]) -> web.AppRunner:
    application = web.Application()
    application.add_routes([web.get(path, handler) for path, handler in routes.items()])
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner


def _precedes(one: str, other: str) -> bool:
    return one.isdigit() and other.isdigit() and int(one) < int(other)
