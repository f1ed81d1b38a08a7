"""Serve what there is to see of a run over gRPC: service Control, for platforms and for `loadstone run`.

Who may ask is decided in `admission` and `gate`; nothing here changes a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
from grpc import aio

from loadstone_core.errors import WorldError
from loadstone_core.stats.timeline import MIDDLE_WIDTH
from loadstone_protocol.channel import SERVER_OPTIONS
from loadstone_protocol.control import last_message, row_message, run_report
from loadstone_protocol.v1 import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from loadstone_core.stats.timeline import Row
    from loadstone_core.stats.windows import SeriesRow
    from loadstone_protocol.views import OutcomeView, RunView
    from loadstone_runner.transport.admission import Admission

    Admit = Callable[[aio.ServicerContext[Any, Any]], Awaitable[None]]

WIDTHS: Final = (1, MIDDLE_WIDTH)
CALLS_MAX: Final = 64


class ListenError(WorldError):
    """The master cannot listen where it was told to."""


class ControlPort(Protocol):
    """What is shown."""

    run_uid: str

    @property
    def load_started_ns(self) -> int:
        """The wall clock at the start of load; 0 before it is known."""
        ...

    @property
    def outcome(self) -> OutcomeView | None:
        """How the run ended; None before."""
        ...

    async def changed(self, sequence: int) -> RunView:
        """Return the run's state once it is newer than `sequence`."""
        ...

    async def rows(self, width: int, second: int) -> tuple[Row, ...]:
        """Return closed rows of a width from a second on, once there is one; none once the run is over."""
        ...

    async def series(self, row: Row) -> list[SeriesRow]:
        """Return what each series gained in a row of ten seconds; none if it is none of the newest."""
        ...

    def report_file(self) -> tuple[bytes, bytes]:
        """Return the gzip JSON of the report and its sha256; empty before the run is finished."""
        ...


async def serve_platforms(listen: str, port: ControlPort, admission: Admission) -> aio.Server:
    """Listen on `host:port` for platforms alone; raise ListenError if the address is taken or not of this machine."""
    server = aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=CALLS_MAX)

    async def admit(context: aio.ServicerContext[Any, Any]) -> None:
        told = dict(context.invocation_metadata() or ()).get("authorization", "")
        if not admission.lets_in(str(told)):
            sentence = "say the metadata authorization: Bearer and the token of spec.control.tokenSecret"
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, sentence)

    control_pb2_grpc.add_ControlServicer_to_server(Control(port, admit), server)  # type: ignore[no-untyped-call]  # generated
    try:
        server.add_insecure_port(listen)
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {listen}; is the port taken?") from error
    await server.start()
    return server


async def watch(port: ControlPort, width: int, second: int) -> AsyncGenerator[control_pb2.RowsMessage, None]:
    """Yield each row of a width from a second on when it is closed, and last the outcome."""
    while rows := await port.rows(width, second):
        for row in rows:
            series = await port.series(row) if width == MIDDLE_WIDTH else []
            yield row_message(row, load_started_ns=port.load_started_ns, series=series)
        second = rows[-1].second + 1
    if port.outcome is not None:
        yield last_message(port.outcome)


class Control(control_pb2_grpc.ControlServicer):
    """What platforms call."""

    def __init__(self, port: ControlPort, admit: Admit) -> None:
        """Show a run to whoever is let in by `admit`, which aborts the calls of others."""
        self._port = port
        self._admit = admit

    async def Get(  # noqa: N802 the name in the proto
        self, request: control_pb2.GetRequest, context: aio.ServicerContext[Any, Any]
    ) -> control_pb2.RunReport:
        """Return the whole state of the run."""
        await self._check(request.run_uid, context)
        return run_report(await self._port.changed(0))

    async def Watch(  # noqa: N802 the name in the proto
        self, request: control_pb2.RowsRequest, context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[control_pb2.RowsMessage]:
        """Yield rows of a tier, and last the outcome."""
        await self._check(request.run_uid, context)
        width = request.width_seconds or 1
        if width not in WIDTHS:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"rows are 1 or 10 seconds wide, not {width}")
        async for message in watch(self._port, width, request.from_second):
            yield message

    async def FetchReport(  # noqa: N802 the name in the proto
        self, request: control_pb2.ReportRequest, context: aio.ServicerContext[Any, Any]
    ) -> control_pb2.Report:
        """Return the report of a finished run."""
        await self._check(request.run_uid, context)
        gzip_json, sha256 = self._port.report_file()
        if not gzip_json:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no report before the run is finished")
        return control_pb2.Report(gzip_json=gzip_json, sha256=sha256)

    async def _check(self, run_uid: str, context: aio.ServicerContext[Any, Any]) -> None:
        await self._admit(context)
        if run_uid not in {"", self._port.run_uid}:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"this master serves run {self._port.run_uid}")
