"""Hold the Lease that lets only one operator act. Another's lease is judged by when it was seen to change last.

A crashed container comes back as the same holder, and a shutdown gives the lease back at once. So its duration is
waited for only where a pod vanished without a word, as with its node.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.clock import rfc3339
from loadstone_operator.cluster.api import LEASES
from loadstone_operator.cluster.errors import ApiError, Conflict, NotFound

if TYPE_CHECKING:
    from loadstone_core.clock import Clock
    from loadstone_operator.cluster.api import Api

DURATION_SECONDS: Final = 6
# Each renewal is a good part of what an operator at rest costs; one that failed is tried again soon instead.
RENEW_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 0.4

_log = logging.getLogger(__name__)
_NANOS: Final = 1_000_000_000


class Lease:
    """The right to act. `is_held` is true only while no other operator can have taken it."""

    def __init__(self, api: Api, clock: Clock, *, namespace: str, name: str, identity: str) -> None:
        self._api = api
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._renewed_ns: int | None = None
        self._other: tuple[str, str] | None = None
        self._other_ends_ns = 0
        self._gained = asyncio.Event()
        self._lease: dict[str, Any] | None = None

    @property
    def is_held(self) -> bool:
        """Say whether this process may act now."""
        if self._renewed_ns is None:
            return False
        return self._clock.boottime_ns() < self._expires_ns()

    async def wait_until_held(self) -> None:
        """Return as soon as the lease is held."""
        while not self.is_held:
            self._gained.clear()
            await self._gained.wait()

    async def wait_while_held(self, seconds: float) -> None:
        """Return after some seconds, or as soon as the lease is no longer held."""
        end_ns = self._clock.boottime_ns() + int(seconds * _NANOS)
        while self.is_held:
            now_ns = self._clock.boottime_ns()
            if now_ns >= end_ns:
                return
            await asyncio.sleep((min(end_ns, self._expires_ns()) - now_ns) / _NANOS)

    async def keep(self) -> None:
        """Take the lease when it is free, and renew it, for ever."""
        while True:
            pause_seconds = await self._attempt()
            await asyncio.sleep(pause_seconds)

    async def release(self) -> None:
        """Give the lease back, so that a successor need not wait."""
        if not self.is_held:
            return
        self._renewed_ns = None
        try:
            lease = await self._api.get(LEASES, self._namespace, self._name)
            if lease.get("spec", {}).get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._api.replace(LEASES, self._namespace, lease)
        except ApiError as error:
            _log.warning("Did not release lease", extra={"error": str(error)})

    async def _attempt(self) -> float:
        """Try to take or renew the lease; return in how many seconds to try again."""
        was_held, is_answered = self.is_held, True
        try:
            # An answer that comes later than this is of no use to anybody.
            async with asyncio.timeout(DURATION_SECONDS):
                await self._step()
        except (ApiError, TimeoutError) as error:
            is_answered = False
            _log.warning("Did not renew lease", extra={"error": str(error) or "no answer"})
        if self.is_held:
            # Even if it was held before: a slow answer may have come after the lease had run out for those who wait.
            self._gained.set()
            if not was_held:
                _log.info("Took lease", extra={"lease": self._name, "identity": self._identity})
        return self._pause_seconds(is_answered=is_answered)

    def _expires_ns(self) -> int:
        return (self._renewed_ns or 0) + DURATION_SECONDS * _NANOS

    def _pause_seconds(self, *, is_answered: bool) -> float:
        """Return when to try next: soon when a lease is about to be lost, and at the moment when another's is."""
        if self.is_held and not is_answered:
            return RETRY_SECONDS
        left = (self._other_ends_ns - self._clock.boottime_ns()) / _NANOS
        return left if not self.is_held and 0.0 < left < RENEW_SECONDS else RENEW_SECONDS

    async def _step(self) -> None:
        # Counted from before the question, so that this side always gives up first.
        asked_ns = self._clock.boottime_ns()
        if self._lease is None:
            try:
                self._lease = await self._api.get(LEASES, self._namespace, self._name)
            except NotFound:
                claim = self._claim({"metadata": {"name": self._name}})
                self._lease = await self._api.create(LEASES, self._namespace, claim)
                self._renewed_ns = asked_ns
                return
        if not self._may_take(self._lease.get("spec") or {}, asked_ns):
            self._lease, self._renewed_ns = None, None
            return
        try:
            self._lease = await self._api.replace(LEASES, self._namespace, self._claim(self._lease))
        except (Conflict, NotFound):
            self._lease = None
            raise
        self._renewed_ns = asked_ns

    def _may_take(self, spec: dict[str, Any], now_ns: int) -> bool:
        holder = str(spec.get("holderIdentity") or "")
        if holder in ("", self._identity):
            return True
        seen = (holder, str(spec.get("renewTime", "")))
        if seen != self._other:
            self._other = seen
            self._other_ends_ns = now_ns + int(spec.get("leaseDurationSeconds") or DURATION_SECONDS) * _NANOS
        return now_ns >= self._other_ends_ns

    def _claim(self, lease: dict[str, Any]) -> dict[str, Any]:
        spec = dict(lease.get("spec") or {})
        now = rfc3339(self._clock.wall_ns())
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec.update(holderIdentity=self._identity, leaseDurationSeconds=DURATION_SECONDS, renewTime=now)
        return {**lease, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
