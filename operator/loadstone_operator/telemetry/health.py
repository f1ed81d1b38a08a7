"""Judge whether the process still makes progress, and answer the probes and Prometheus over HTTP.

A loop that answers proves nothing: what is proved here is that the watches deliver what a list has shown to exist.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from loadstone_operator.telemetry.pages import Page, serve_pages
from loadstone_operator.versions import precedes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from loadstone_core.clock import Clock
    from loadstone_operator.telemetry.metrics import Metrics

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
        if owed is not None and not precedes(version, owed[0]):
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
            if (held is None or precedes(held, version)) and uid not in self._owed:
                self._owed[uid] = (version, now)

    def seconds_behind(self) -> float:
        """Return for how long the watch has owed its oldest debt; 0 without debts."""
        oldest = min((since for _, since in self._owed.values()), default=None)
        return 0.0 if oldest is None else (self._clock.monotonic_ns() - oldest) / _SECOND


async def serve(
    metrics: Metrics, progress: WatchProgress, is_ready: Callable[[], bool], *, metrics_port: int, probes_port: int
) -> list[asyncio.Server]:
    """Serve /metrics on one port and /healthz and /readyz on another, until the servers are closed."""

    def healthz() -> Page:
        behind = progress.seconds_behind()
        if behind > BEHIND_SECONDS:
            _log.error("Watch fell behind", extra={"seconds": behind})
            return Page(HTTPStatus.SERVICE_UNAVAILABLE, f"the watch is {behind:.0f} s behind\n".encode())
        return Page(HTTPStatus.OK, b"ok\n")

    def readyz() -> Page:
        if is_ready():
            return Page(HTTPStatus.OK, b"ok\n")
        return Page(HTTPStatus.SERVICE_UNAVAILABLE, b"waits for lease or API\n")

    def figures() -> Page:
        return Page(HTTPStatus.OK, generate_latest(metrics.registry), CONTENT_TYPE_LATEST)

    return [
        await serve_pages(probes_port, {"/healthz": healthz, "/readyz": readyz}),
        await serve_pages(metrics_port, {"/metrics": figures}),
    ]
