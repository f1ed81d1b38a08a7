"""Say who an engine or director is and what became of its script, in messages. When to say it belongs to them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from loadstone.messages import handlings
from loadstone_core import __version__
from loadstone_protocol.v1 import engine_pb2
from loadstone_protocol.version import PROTOCOL_MAJOR, PROTOCOL_MINOR
from loadstone_runner.engine.ahead import import_ahead
from loadstone_runner.engine.script import Script, ScriptError, load_script

if TYPE_CHECKING:
    from loadstone_runner.settings import EngineSettings


def hello(settings: EngineSettings, role: engine_pb2.EngineRole, counters_path: str) -> engine_pb2.EngineMessage:
    """Return the first message of a connection."""
    return engine_pb2.EngineMessage(
        hello=engine_pb2.EngineHello(
            role=role,
            engine=settings.engine,
            start=settings.start,
            pid=os.getpid(),
            counters_path=counters_path,
            protocol_major=PROTOCOL_MAJOR,
            protocol_minor=PROTOCOL_MINOR,
            version=__version__,
        )
    )


def load_and_report(settings: EngineSettings) -> tuple[Script | None, engine_pb2.ScriptReport]:
    """Import the script; return it, or None if that did not work, and what to tell of it."""
    try:
        script = load_script(settings.script_dir, settings.entrypoint)
    except ScriptError as error:
        return None, engine_pb2.ScriptReport(ok=False, problem=str(error), traceback=error.trace)
    import_ahead(settings.script_dir, settings.target)
    names = [each.__name__ for each in script.users]
    report = engine_pb2.ScriptReport(
        ok=True, user_classes=names, has_shape=script.shape is not None, handles_messages=bool(handlings())
    )
    return script, report
