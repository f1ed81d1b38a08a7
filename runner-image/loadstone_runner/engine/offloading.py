"""Let a process of its own run a message handler, so that what it computes keeps nobody in the engine waiting.

The launcher starts it; what happens in it is known to `lane_process`.
"""

from __future__ import annotations

import json
import signal
from collections import deque
from contextlib import suppress
from os import kill
from time import monotonic
from typing import TYPE_CHECKING, Final

import gevent
from gevent import socket

from loadstone import Place, seat
from loadstone_protocol import framing
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.lanes import HandlerError, HandlerTimeoutError, in_engine
from loadstone_runner.engine.payloads import Payload, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadstone import Message
    from loadstone.messages import Handling
    from loadstone_runner.engine.lanes import Work

# The kernel ends the handler in time; this is for one that has made itself deaf to that.
GRACE_SECONDS: Final = 1.0
START_SECONDS: Final = 60.0
_READ_BYTES: Final = 65_536
_OUTPUTS: Final = (1, 2)


def work_by(launcher_fd: int) -> Callable[[Handling], Work]:
    """Return what chooses how a handling runs; `launcher_fd` is where processes are asked for, 0 if nowhere."""
    asking = socket.socket(fileno=launcher_fd) if launcher_fd else None
    return lambda handling: Offloaded(handling, asking) if handling.where == "process" else in_engine(handling)


class Offloaded:
    """The handler of one kind of message in its process, which is made for the first message; a `Work`."""

    def __init__(self, handling: Handling, asking: socket.socket | None) -> None:
        self._handling = handling
        self._asking = asking
        self._way: socket.socket | None = None
        self._decoder = framing.Decoder()
        self._process = 0
        self._config: Mapping[str, str] = {}  # that the process has been told
        self._answers: deque[engine_pb2.MessageAnswer] = deque()

    def __call__(self, message: Message) -> Payload:
        """Have a message handled; raise HandlerError with what went wrong."""
        way = self._way or self._start()
        begun, timeout = monotonic(), self._handling.timeout
        limit = None if timeout is None else gevent.Timeout.start_new(timeout + GRACE_SECONDS)
        try:
            self._tell_config(way)
            way.sendall(framing.encode(_told(message).SerializeToString()))
            answer = self._answer(way)
        except BaseException as error:
            self._end(way)
            if timeout is not None and (error is limit or monotonic() - begun >= timeout):
                raise HandlerTimeoutError(timeout) from error
            if isinstance(error, OSError):
                raise HandlerError("the process of its handler ended; the log of the container says why") from error
            raise
        finally:
            if limit is not None:
                limit.close()
        return _result(answer)

    def _start(self) -> socket.socket:
        """Return the way to a new process, in which the script is imported."""
        if self._asking is None:
            raise HandlerError("there is no launcher here that could start a process for it")
        ours, theirs = socket.socketpair()
        request = json.dumps({"lane": self._handling.name}).encode()
        with theirs:
            socket.send_fds(self._asking, [request], [theirs.fileno(), *_OUTPUTS])
        self._decoder, self._process, self._config = framing.Decoder(), 0, {}
        limit = gevent.Timeout.start_new(START_SECONDS)
        try:
            self._process = self._answer(ours).id
            _result(self._answer(ours))
        except BaseException as error:
            self._end(ours)
            if error is limit or isinstance(error, OSError):
                raise HandlerError("no process could be started for its handler; the log may say why") from error
            raise
        finally:
            limit.close()
        self._way = ours
        return ours

    def _tell_config(self, way: socket.socket) -> None:
        """Let the process have the newest values of the script, if it has others."""
        newest = seat.config
        if newest != self._config:
            told = engine_pb2.ToEngine(config=engine_pb2.EngineConfig(config=newest))
            way.sendall(framing.encode(told.SerializeToString()))
            self._config = newest

    def _answer(self, way: socket.socket) -> engine_pb2.MessageAnswer:
        """Return the next answer; raise OSError if there will be none."""
        while not self._answers:
            received = way.recv(_READ_BYTES)
            if not received:
                self._process = 0
                raise ConnectionResetError("the process has ended")
            self._answers.extend(map(engine_pb2.MessageAnswer.FromString, self._decoder.feed(received)))
        return self._answers.popleft()

    def _end(self, way: socket.socket) -> None:
        """End the process: it is of no use any more, or computes for nobody."""
        self._way = None
        self._answers.clear()
        way.close()
        if self._process:
            with suppress(ProcessLookupError):
                kill(self._process, signal.SIGKILL)
            self._process = 0


def _told(message: Message) -> engine_pb2.ToEngine:
    payload = encode(message.data)
    told = engine_pb2.CustomMessage(name=message.name, data=payload.data, is_bytes=payload.is_bytes)
    if isinstance(message.sender, Place):
        told.sender.worker, told.sender.engine = message.sender
    else:
        told.sender.director = True
    entry = engine_pb2.MessageEntry(message=told)
    return engine_pb2.ToEngine(messages=engine_pb2.MessageFrame(entries=[entry.SerializeToString()]))


def _result(answer: engine_pb2.MessageAnswer) -> Payload:
    if answer.status != engine_pb2.MessageAnswer.PROCESSED:
        raise HandlerError(answer.reason)
    return Payload(answer.result, answer.is_bytes)
