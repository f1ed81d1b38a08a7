"""Serve what followers of a run call: the operator, and `loadstone run`. Nothing of the run is decided here."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import grpc

from loadstone_protocol import coordination
from loadstone_protocol.channel import MESSAGE_MAX_BYTES
from loadstone_protocol.codec import WireError
from loadstone_protocol.control import run_report
from loadstone_protocol.v1 import control_pb2, control_pb2_grpc
from loadstone_protocol.version import may_talk
from loadstone_protocol.views import differ_in_figures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpc import aio

    from loadstone_protocol.views import RunView
    from loadstone_runner.transport.grpc.gate import Gate
    from loadstone_runner.transport.grpc.port import MasterPort

LOG_LINES: Final = 10_000
LOG_BYTES: Final = 256 * 1024


class Run(control_pb2_grpc.RunServicer):
    """What followers call."""

    def __init__(self, port: MasterPort, gate: Gate) -> None:
        """Serve those whom the gate lets in."""
        self._port = port
        self._gate = gate

    async def Watch(  # noqa: N802 the name in the proto
        self, request: control_pb2.WatchRequest, context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[control_pb2.RunReport]:
        """Yield the run's state: now, then when it changes."""
        await self._check(request.run_uid, context, request.epoch)
        if complaint := may_talk(request.protocol_major, request.protocol_minor, request.version):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, complaint)
        loop = asyncio.get_running_loop()
        told: RunView | None = None
        sequence, figures_due = 0, 0.0
        with self._port.followed():
            while True:
                view = await self._port.changed(sequence)
                sequence = view.sequence
                # Figures that are left out come with the next view, as a run that goes on makes one twice a second.
                if told is not None and loop.time() < figures_due and differ_in_figures(told, view):
                    continue
                told, figures_due = view, loop.time() + _until_figures(request.figures_every_ms)
                yield run_report(view)

    async def Steer(  # noqa: N802 the name in the proto
        self, request: control_pb2.Steering, context: aio.ServicerContext[Any, Any]
    ) -> control_pb2.SteeringAck:
        """Take in what the follower wants; the revision that is held is the answer."""
        await self._check(request.run_uid, context, request.epoch)
        try:
            steering = coordination.steering_from_message(request)
        except WireError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return control_pb2.SteeringAck(revision=self._port.steer(steering))

    async def FetchReport(  # noqa: N802 the name in the proto
        self, request: control_pb2.ReportRequest, context: aio.ServicerContext[Any, Any]
    ) -> control_pb2.Report:
        """Return the report of a finished run; empty before."""
        await self._check(request.run_uid, context)
        gzip_json, sha256 = self._port.report_file()
        return control_pb2.Report(gzip_json=gzip_json, sha256=sha256)

    async def FetchLogs(  # noqa: N802 the name in the proto
        self, request: control_pb2.LogsRequest, context: aio.ServicerContext[Any, Any]
    ) -> control_pb2.Logs:
        """Return the last lines of the log."""
        await self._check(request.run_uid, context)
        lines, size = request.lines or LOG_LINES, min(request.bytes or LOG_BYTES, MESSAGE_MAX_BYTES // 2)
        gzip_text, count = self._port.log_tail(lines=lines, size=size)
        return control_pb2.Logs(gzip_text=gzip_text, lines=count)

    async def Stored(  # noqa: N802 the name in the proto
        self, request: control_pb2.StoredNotice, context: aio.ServicerContext[Any, Any]
    ) -> control_pb2.StoredAck:
        """Note that the follower holds the report."""
        await self._check(request.run_uid, context)
        if not self._port.stored(request.sha256):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this is not the digest of the run's report")
        return control_pb2.StoredAck()

    async def _check(self, run_uid: str, context: aio.ServicerContext[Any, Any], epoch: int | None = None) -> None:
        await self._gate.admit_operator(context)
        if run_uid != self._port.run_uid or epoch not in {None, self._port.epoch}:
            ours = f"run {self._port.run_uid}, epoch {self._port.epoch}"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"this master serves {ours}")


def _until_figures(every_ms: int) -> float:
    """Return the seconds until figures are due: all masters tell them at once, so who follows many rests between."""
    return (every_ms - time.time() * 1_000 % every_ms) / 1_000 if every_ms else 0.0
