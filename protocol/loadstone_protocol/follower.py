"""Follow one run from outside: the gRPC client of a master's service Run. What a report means is not decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
from grpc import aio

from loadstone_core import __version__
from loadstone_core.errors import WorldError
from loadstone_protocol.channel import FOLLOWER_OPTIONS
from loadstone_protocol.credentials import open_channel
from loadstone_protocol.v1 import control_pb2, control_pb2_grpc
from loadstone_protocol.version import PROTOCOL_MAJOR, PROTOCOL_MINOR, may_talk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable
    from typing import TypeVar

    from loadstone_protocol.identity import Pems

    _Answer = TypeVar("_Answer")

CALL_SECONDS: Final = 10.0

_REFUSALS: Final = frozenset(
    {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED}
)


class MasterUnreachable(WorldError):  # noqa: N818 a state of the world that passes, named as such in the status
    """The master does not answer now; it may again."""


class MasterRefused(WorldError):  # noqa: N818 the sibling of MasterUnreachable
    """The master answers, and this follower is not one of its run: asking again is of no use."""


class Follower:
    """One connection to one master. It reconnects by itself; each call says whether it went through."""

    def __init__(self, address: str, run_uid: str, epoch: int, *, pems: Pems | None = None) -> None:
        """Connect to a master; with `pems` it must show that it is this run's, without them TLS is off."""
        self._address = address
        self._run_uid = run_uid
        self._epoch = epoch
        self._channel = open_channel(address, FOLLOWER_OPTIONS, run_uid=run_uid, pems=pems)
        self._run = control_pb2_grpc.RunStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._control = control_pb2_grpc.ControlStub(self._channel)  # type: ignore[no-untyped-call]  # generated

    async def watch(self, *, figures_every_seconds: float = 0) -> AsyncGenerator[control_pb2.RunReport, None]:
        """Yield the run's whole state, at once and at each change, until the master ends the stream.

        Args:
            figures_every_seconds: how often changes of mere figures are wanted at most; 0: as often as they are made.

        Raises:
            MasterUnreachable: the connection broke; watch again, the next first report holds everything.
            MasterRefused: the master is of another run, epoch or protocol.
        """
        every_ms = round(figures_every_seconds * 1_000)
        request = control_pb2.WatchRequest(
            run_uid=self._run_uid,
            epoch=self._epoch,
            figures_every_ms=every_ms,
            protocol_major=PROTOCOL_MAJOR,
            protocol_minor=PROTOCOL_MINOR,
            version=__version__,
        )
        call = self._run.Watch(request)
        try:
            async for report in call:
                if complaint := may_talk(report.protocol_major, report.protocol_minor, report.version):
                    raise MasterRefused(f"the master at {self._address} cannot be followed: {complaint}")
                yield report
        except aio.AioRpcError as error:
            raise self._explain(error) from error
        finally:
            call.cancel()

    async def watch_rows(self, width: int, from_second: int = 0) -> AsyncGenerator[control_pb2.RowsMessage, None]:
        """Yield the closed rows of a width (1 or 10 seconds) from a second of the load on, last the outcome.

        Raises:
            MasterUnreachable: the connection broke; watch again from the second behind the last row.
            MasterRefused: the master is of another run.
        """
        request = control_pb2.RowsRequest(run_uid=self._run_uid, width_seconds=width, from_second=from_second)
        call = self._control.Watch(request)
        try:
            async for message in call:
                yield message
        except aio.AioRpcError as error:
            raise self._explain(error) from error
        finally:
            call.cancel()

    async def steer(self, steering: control_pb2.Steering) -> int:
        """Hand over the desired state; return the newest revision that the master holds."""
        ack = await self._ask(self._run.Steer(steering, timeout=CALL_SECONDS))
        return int(ack.revision)

    async def fetch_report(self) -> bytes:
        """Return the report as gzip JSON; it is complete once a RunReport with an outcome was seen."""
        request = control_pb2.ReportRequest(run_uid=self._run_uid)
        report = await self._ask(self._run.FetchReport(request, timeout=CALL_SECONDS))
        return bytes(report.gzip_json)

    async def fetch_logs(self, *, lines: int = 0, size: int = 0) -> bytes:
        """Return the newest lines of the run's log as gzip text; see LogsRequest for the bounds."""
        request = control_pb2.LogsRequest(run_uid=self._run_uid, lines=lines, bytes=size)
        logs = await self._ask(self._run.FetchLogs(request, timeout=CALL_SECONDS))
        return bytes(logs.gzip_text)

    async def stored(self, sha256: bytes) -> None:
        """Tell the master that outcome and report are safe: it may leave."""
        notice = control_pb2.StoredNotice(run_uid=self._run_uid, sha256=sha256)
        await self._ask(self._run.Stored(notice, timeout=CALL_SECONDS))

    async def close(self) -> None:
        """Close the connection; streams that are open end with MasterUnreachable."""
        await self._channel.close()

    async def _ask(self, call: Awaitable[_Answer]) -> _Answer:
        try:
            return await call
        except aio.AioRpcError as error:
            raise self._explain(error) from error

    def _explain(self, error: aio.AioRpcError) -> MasterRefused | MasterUnreachable:
        detail = error.details() or error.code().name
        if error.code() in _REFUSALS:
            return MasterRefused(f"the master at {self._address} refused: {detail}")
        return MasterUnreachable(f"the master at {self._address} does not answer: {detail}")
