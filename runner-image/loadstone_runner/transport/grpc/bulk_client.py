"""An agent's end of the Bulk connection: hold one while there is a master, on a TCP connection of its own."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from grpc import aio

from loadstone_protocol.codec import WireError
from loadstone_protocol.v1 import coordination_pb2, coordination_pb2_grpc
from loadstone_runner.transport.grpc.dialing import open_channel
from loadstone_runner.transport.grpc.ending import end_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_protocol.identity import Pems
    from loadstone_runner.transport.grpc.bulk import BulkEnd

BACKOFF_FIRST_SECONDS: Final = 0.2
BACKOFF_MAX_SECONDS: Final = 5.0


class BulkClient:
    """The connection of one BulkEnd. It is made when the master has welcomed this agent, as that one knows it then."""

    def __init__(
        self, end: BulkEnd, *, run_uid: str, pems: Pems | None, on_bad_frame: Callable[[WireError], None]
    ) -> None:
        """Begin without a connection; with `pems` nobody is a master but this run's, without them TLS is off."""
        self._end = end
        self._run_uid = run_uid
        self._pems = pems
        self._on_bad_frame = on_bad_frame
        self._task: asyncio.Task[None] | None = None

    def open(self, target: str, peer: coordination_pb2.Peer) -> None:
        """Connect to a master, in place of any connection before, and again whenever it breaks, until `close`."""
        self.close()
        self._task = asyncio.create_task(self._keep(target, coordination_pb2.BulkFrame(peer=peer)))

    def close(self) -> None:
        """End the connection; what is not durable stays in its outboxes."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def check(self) -> None:
        """Raise what ended the connection for good, if anything did: without it this agent would lose what it holds."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    async def _keep(self, target: str, hello: coordination_pb2.BulkFrame) -> None:
        pause = BACKOFF_FIRST_SECONDS
        async with open_channel(target, run_uid=self._run_uid, pems=self._pems) as channel:
            stub = coordination_pb2_grpc.CoordinationStub(channel)  # type: ignore[no-untyped-call]  # generated
            # A cancellation that gRPC has swallowed leaves this task to find out by itself that it has a successor.
            while self._task is asyncio.current_task():
                was_heard = await self._connection(stub.Bulk(), hello)
                pause = BACKOFF_FIRST_SECONDS if was_heard else min(pause * 2, BACKOFF_MAX_SECONDS)
                await asyncio.sleep(pause * (0.9 + os.urandom(1)[0] / 1275))

    async def _connection(self, call: Any, hello: coordination_pb2.BulkFrame) -> bool:
        """Hold one call as long as it lasts; return whether the master said anything."""
        was_heard = False
        self._end.begin()
        writing = asyncio.create_task(self._write(call, hello))
        try:
            while (frame := await call.read()) is not aio.EOF:
                was_heard = True
                self._hear(frame)
        except (aio.AioRpcError, asyncio.InvalidStateError, aio.UsageError):
            pass
        finally:
            await end_task(writing)
        return was_heard

    def _hear(self, frame: coordination_pb2.BulkFrame) -> None:
        try:
            self._end.hear(frame)
        except WireError as error:
            self._on_bad_frame(error)

    async def _write(self, call: Any, hello: coordination_pb2.BulkFrame) -> None:
        """Write what is due. When the call breaks, whoever reads from it says so."""
        try:
            await call.write(hello)
            await self._end.pump(call.write)
        except (aio.AioRpcError, asyncio.InvalidStateError, aio.UsageError):
            await asyncio.Event().wait()
