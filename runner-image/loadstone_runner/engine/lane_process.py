"""Be the process of one message handler: import the script, handle what comes from the engine, one after another.

It knows nothing of the run but the values of `loadstone.config`. When the timeout of a message is over the kernel ends
it, whatever it does.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from typing import TYPE_CHECKING, Final

from loadstone import Message, Place, seat
from loadstone.messages import handlings
from loadstone_protocol import framing
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.apart import Apart
from loadstone_runner.engine.payloads import Payload, decode, encode
from loadstone_runner.engine.script import ScriptError, load_script
from loadstone_runner.engine.tracebacks import Tracebacks, text_of
from loadstone_runner.parent_death import end_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone.messages import Handling, Sender
    from loadstone_runner.settings import LaneSettings

log = logging.getLogger("loadstone.engine")

# Users and reports of the engine come first where there are too few processors.
NICENESS: Final = 5
_READ_BYTES: Final = 65_536
_Answer = engine_pb2.MessageAnswer


def serve(settings: LaneSettings) -> int:
    """Handle messages until the engine hangs up; return the exit code."""
    os.nice(NICENESS)
    # What a handler has started, and what that starts, computes for nobody once this process has been ended.
    os.register_at_fork(after_in_child=lambda: end_with(os.getppid()))
    engine = socket.socket(fileno=settings.engine_fd)
    # First, so that the engine can end this process whatever the script does.
    engine.sendall(_frame(_Answer(id=os.getpid(), status=_Answer.BUSY)))
    try:
        load_script(settings.script_dir, settings.entrypoint)
    except ScriptError as error:
        engine.sendall(_frame(_Answer(status=_Answer.FAILED, reason=str(error))))
        return 1
    handling = next((each for each in handlings() if each.name == settings.lane), None)
    if handling is None:
        reason = f"the script has no handler {settings.lane!r} in a process of its own"
        engine.sendall(_frame(_Answer(status=_Answer.FAILED, reason=reason)))
        return 1
    # Not before: what a script does while it is imported is done by its engine.
    seat.take(Apart())
    engine.sendall(_frame(_Answer(status=_Answer.PROCESSED)))
    tracebacks = Tracebacks()
    for message in _messages(engine):
        engine.sendall(_frame(_handle(handling, message, tracebacks)))
    return 0


def _messages(engine: socket.socket) -> Iterator[engine_pb2.CustomMessage]:
    """Yield what is to be handled; the values of the configuration that come in between are taken in."""
    decoder = framing.Decoder()
    while received := engine.recv(_READ_BYTES):
        for payload in decoder.feed(received):
            told = engine_pb2.ToEngine.FromString(payload)
            if told.HasField("config"):
                seat.set_config(told.config.config)
            for entry in told.messages.entries:
                yield engine_pb2.MessageEntry.FromString(entry).message


def _handle(handling: Handling, message: engine_pb2.CustomMessage, tracebacks: Tracebacks) -> engine_pb2.MessageAnswer:
    by = message.sender
    sender: Sender = "director" if by.director else Place(by.worker, by.engine)
    # Whatever a script has made of it: its default action is the end of the process.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, handling.timeout or 0)
    try:
        data = decode(Payload(message.data, message.is_bytes))
        result = encode(handling.function(Message(message.name, data, sender)))
    except BaseException as error:
        if tracebacks.is_first(error):
            log.exception("A handler failed: message=%s", handling.name)
        return _Answer(status=_Answer.FAILED, reason=text_of(error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return _Answer(status=_Answer.PROCESSED, result=result.data, is_bytes=result.is_bytes)


def _frame(answer: engine_pb2.MessageAnswer) -> bytes:
    return framing.encode(answer.SerializeToString())
