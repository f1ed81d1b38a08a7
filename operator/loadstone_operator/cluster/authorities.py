"""Keep the operator's authorities in a Secret of its own namespace, and sign with them. Nothing of a key is logged.

The Secret is read when the first run needs it: an operator at rest does without, and without the library that signs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from loadstone_operator.cluster.api import SECRETS
from loadstone_operator.cluster.errors import ApiError, Conflict, NotFound

if TYPE_CHECKING:
    from loadstone_core.clock import Clock
    from loadstone_operator.cluster.api import Api
    from loadstone_operator.trust.authority import Authority
    from loadstone_operator.trust.issued import RunCredentials
    from loadstone_operator.trust.keyring import Keyring
    from loadstone_protocol.identity import Pems

_log = logging.getLogger(__name__)


class AuthorityUnusable(ApiError):  # noqa: N818 (what somebody has made of a Secret)
    """The Secret does not hold what is needed; the message says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(0, message)


class Authorities:
    """The operator's authorities. Every method raises `ApiError` when they are not to be had."""

    def __init__(self, api: Api, clock: Clock, *, namespace: str, name: str) -> None:
        self._api = api
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._reading = asyncio.Lock()
        self._keyring: Keyring | None = None

    async def sign_run(self, run_uid: str, workers: int, *, authority: str = "") -> RunCredentials:
        """Return certificates for the processes of a run: by this authority, or by the newest for a new run."""
        signer = await self._signer(authority)
        # A thousand signatures take a seventh of a second, in which the loop has other things to do.
        return await asyncio.to_thread(signer.sign_run, run_uid, workers, self._clock.wall_ns())

    async def sign_worker(self, run_uid: str, worker: int, *, authority: str) -> Pems:
        """Return a certificate for a worker that is added to a run which this authority has signed for."""
        signer = await self._signer(authority)
        return signer.sign_worker(run_uid, worker, self._clock.wall_ns())

    async def sign_operator(self, run_uid: str, *, authority: str) -> Pems:
        """Return what the operator shows the master of a run that this authority has signed for."""
        signer = await self._signer(authority)
        return signer.sign_operator(run_uid, self._clock.wall_ns())

    async def _signer(self, authority: str) -> Authority:
        async with self._reading:
            now_ns = self._clock.wall_ns()
            keyring = await self._current(now_ns)
            found = keyring.find(authority) if authority else keyring.newest(now_ns)
            if found is None:
                # Another operator may have made one since.
                self._keyring = None
                found = (await self._current(now_ns)).find(authority)
        if found is None:
            raise AuthorityUnusable(
                f"the authority {authority} of a run is not in Secret {self._namespace}/{self._name} any more; "
                "put the Secret back, or delete the LoadTest"
            )
        return found

    async def _current(self, now_ns: int) -> Keyring:
        """Return the keyring, read and renewed where that is due."""
        while self._keyring is None or self._keyring.renewed(now_ns) is not self._keyring:
            held = await self._fetch()
            keyring = self._read(held)
            renewed = keyring.renewed(now_ns)
            try:
                if renewed is not keyring:
                    await self._keep(held, renewed)
                    _log.info("Made authority", extra={"secret": self._name, "authority": renewed.newest(now_ns).id})
            except Conflict:
                # Another operator was first: what it has made is as good.
                continue
            self._keyring = renewed
        return self._keyring

    async def _fetch(self) -> dict[str, Any] | None:
        try:
            return await self._api.get(SECRETS, self._namespace, self._name)
        except NotFound:
            return None

    def _read(self, held: dict[str, Any] | None) -> Keyring:
        from loadstone_operator.trust.authority import AuthorityInvalid
        from loadstone_operator.trust.keyring import read_keyring

        try:
            return read_keyring((held or {}).get("data") or {})
        except AuthorityInvalid as error:
            raise AuthorityUnusable(
                f"Secret {self._namespace}/{self._name} cannot be used ({error}); delete it, and a new one is made"
            ) from error

    async def _keep(self, held: dict[str, Any] | None, keyring: Keyring) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "type": "Opaque",
        }
        if held is None:
            await self._api.create(SECRETS, self._namespace, {**body, "data": keyring.to_data()})
        else:
            # With the version that was read, so that nobody's renewal is overwritten.
            await self._api.replace(SECRETS, self._namespace, {**body, **held, "data": keyring.to_data()})
