"""Show the run to platforms, over HTTP and gRPC: imported only where spec.control asks for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from loadstone_protocol.control import run_report
from loadstone_protocol.documents import run_document
from loadstone_runner.transport.admission import Admission
from loadstone_runner.transport.grpc.control import serve_platforms, watch

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncGenerator

    from loadstone_protocol.v1 import control_pb2
    from loadstone_runner.master.desk import Desk
    from loadstone_runner.settings import ControlSettings
    from loadstone_runner.transport.grpc.control import ControlPort

GRACE_SECONDS = 0.5


async def open_control(settings: ControlSettings, port: Desk, stack: contextlib.AsyncExitStack) -> None:
    """Listen for platforms until the stack is left; raise ControlError or ListenError where that cannot be."""
    # Beside the event loop: it takes a sixth of a second of CPU.
    await asyncio.to_thread(_import)
    from loadstone_runner.transport.http.api import application
    from loadstone_runner.transport.http.serving import at_port

    admission = Admission(settings.token, port.count_refused_platform)
    app = application(_Shown(port), admission=admission, steered=None)
    await stack.enter_async_context(at_port(app, settings.rest.host, settings.rest.port))
    server = await serve_platforms(str(settings.grpc), port, admission)
    stack.push_async_callback(server.stop, GRACE_SECONDS)


def _import() -> None:
    import loadstone_runner.transport.http.serving  # noqa: F401 for the modules' cache


class _Shown:
    """The run, as the HTTP API shows it."""

    def __init__(self, port: ControlPort) -> None:
        self._port = port

    async def state(self) -> dict[str, Any]:
        return run_document(run_report(await self._port.changed(0)))

    def rows(self, width: int, second: int) -> AsyncGenerator[control_pb2.RowsMessage, None]:
        return watch(self._port, width, second)

    async def report(self) -> bytes:
        return self._port.report_file()[0]
