"""Let only those call a master whose certificate says that they may: this run, the right role, the right worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from loadstone_protocol.credentials import peer_identity
from loadstone_protocol.identity import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpc import aio

    from loadstone_runner.transport.grpc.doorstep import Doorstep


class Gate:
    """Stands before every method of a master. Where TLS is off, there is no doorstep and everybody is who he says."""

    def __init__(self, run_uid: str, doorstep: Doorstep | None, on_refused: Callable[[], None]) -> None:
        """Tell the doorstep of whoever calls, and `on_refused` of each call that is not the caller's to make."""
        self._run_uid = run_uid
        self._doorstep = doorstep
        self._on_refused = on_refused

    def meet(self, context: aio.ServicerContext[Any, Any]) -> None:
        """Note that somebody calls, whatever may come of it."""
        if self._doorstep is not None:
            self._doorstep.meet(context.peer())

    async def admit_worker(self, context: aio.ServicerContext[Any, Any], worker: int) -> None:
        """Go on if the caller, who was met before he said so, is this worker; else abort the call."""
        await self._admit(context, Identity(self._run_uid, Role.WORKER, worker))

    async def admit_operator(self, context: aio.ServicerContext[Any, Any]) -> None:
        """Go on if the caller is the operator; else abort the call."""
        self.meet(context)
        await self._admit(context, Identity(self._run_uid, Role.OPERATOR))

    async def _admit(self, context: aio.ServicerContext[Any, Any], wanted: Identity) -> None:
        if self._doorstep is None:
            return
        shown = peer_identity(context)
        if shown != wanted:
            self._on_refused()
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"this call is for {wanted}; the certificate is of {shown or 'nobody of a run'}",
            )
