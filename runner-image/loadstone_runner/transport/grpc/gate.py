"""Let only those call a master whose certificate says that they may: this run, the right role, the right worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from loadstone_protocol.credentials import peer_identity
from loadstone_protocol.identity import Identity, Role

if TYPE_CHECKING:
    from grpc import aio


class Gate:
    """Stands before every method of a master. Where TLS is off, everybody is who he says."""

    def __init__(self, run_uid: str, *, is_open: bool) -> None:
        self._run_uid = run_uid
        self._is_open = is_open

    async def admit_worker(self, context: aio.ServicerContext[Any, Any], worker: int) -> None:
        """Go on if the caller is this worker; else abort the call."""
        await self._admit(context, Identity(self._run_uid, Role.WORKER, worker))

    async def admit_operator(self, context: aio.ServicerContext[Any, Any]) -> None:
        """Go on if the caller is the operator; else abort the call."""
        await self._admit(context, Identity(self._run_uid, Role.OPERATOR))

    async def _admit(self, context: aio.ServicerContext[Any, Any], wanted: Identity) -> None:
        if self._is_open:
            return
        shown = peer_identity(context)
        if shown != wanted:
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"this call is for {wanted}; the certificate is of {shown or 'nobody of a run'}",
            )
