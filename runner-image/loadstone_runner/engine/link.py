"""Talk to the agent (a director: to the master) over the Unix socket: frames out, frames in, again after a break.

What the messages mean belongs to `host` and `director`.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import gevent
from gevent.event import Event

from loadstone_protocol.framing import Decoder, FrameError, encode
from loadstone_protocol.v1 import engine_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("loadstone.engine")

_FAST_RETRY_SECONDS: Final = 0.02
_FAST_RETRIES_NS: Final = 1_000_000_000
_SLOW_RETRY_SECONDS: Final = 0.2
_TURN_SECONDS: Final = 0.001
_QUEUE_MAX_BYTES: Final = 16 * 1024 * 1024
_READ_BYTES: Final = 65_536
_EXIT_REFUSED: Final = 76  # EX_PROTOCOL of sysexits.h


class AgentLink:
    """The connection to the agent, made anew whenever it breaks. A broken one is no order to end."""

    def __init__(
        self,
        path: str,
        *,
        on_connect: Callable[[], None],
        on_message: Callable[[engine_pb2.ToEngine], None],
        hide: Callable[[str], str] = str,
    ) -> None:
        """Call `on_connect` whenever there is a new connection, to say who this is and how it stands.

        Of sentences that people are to read only what `hide` leaves of them is said.
        """
        self._path = path
        self._on_connect = on_connect
        self._on_message = on_message
        self._hide = hide
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._has_queued = Event()
        self._is_connected = False

    def send(self, message: engine_pb2.EngineMessage) -> None:
        """Queue a message, never waiting. While there is no connection it is dropped: `on_connect` says it anew."""
        if not self._is_connected:
            return
        self._hide_in(message)
        frame = encode(message.SerializeToString())
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        self._has_queued.set()

    def _hide_in(self, message: engine_pb2.EngineMessage) -> None:
        match message.WhichOneof("kind"):
            case "script" | "setup" as kind:
                said = getattr(message, kind)
                said.problem, said.traceback = self._hide(said.problem), self._hide(said.traceback)
            case "status" if message.status.stop_asked:
                message.status.stop_asked = self._hide(message.status.stop_asked)

    @property
    def queued_bytes(self) -> int:
        """How much the agent has not taken yet."""
        return self._queued_bytes

    def run(self) -> None:
        """Keep connected, for ever."""
        while True:
            with self._connect() as connection:
                self._queue, self._queued_bytes = [], 0
                self._is_connected = True
                self._on_connect()
                writer = gevent.spawn(self._write, connection)
                try:
                    self._read(connection)
                except (OSError, FrameError) as error:
                    log.warning("Lost the agent: %s", error)
                finally:
                    self._is_connected = False
                    writer.kill()

    def give_turn(self) -> None:
        """Let `run`, which was spawned, say its first words to an agent that is there.

        Bounded by time: gevent.idle() would wait for ever in a loop that always has something to do.
        """
        gevent.sleep(_TURN_SECONDS)

    def _connect(self) -> socket.socket:
        begin = monotonic_ns()
        while True:
            try:
                return self._connect_once()
            except OSError:
                is_fast = monotonic_ns() - begin < _FAST_RETRIES_NS
                gevent.sleep(_FAST_RETRY_SECONDS if is_fast else _SLOW_RETRY_SECONDS)

    def _connect_once(self) -> socket.socket:
        # Also this may raise: a script may have left no file to be opened.
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection

    def _read(self, connection: socket.socket) -> None:
        decoder = Decoder()
        while received := connection.recv(_READ_BYTES):
            for payload in decoder.feed(received):
                try:
                    message = engine_pb2.ToEngine.FromString(payload)
                except Exception as error:
                    raise FrameError(f"a frame holds no message: {error}") from error
                if message.HasField("refused"):
                    _end_refused(message.refused.detail)
                self._on_message(message)
            # An agent that reads nothing must not fill this process's memory; it gets the whole state later.
            if self._queued_bytes > _QUEUE_MAX_BYTES:
                return

    def _write(self, connection: socket.socket) -> None:
        while True:
            self._has_queued.wait()
            self._has_queued.clear()
            frames, self._queue = self._queue, []
            try:
                connection.sendall(b"".join(frames))
            except OSError:
                connection.shutdown(socket.SHUT_RDWR)  # ends the reader, which makes the next connection
                return
            self._queued_bytes -= sum(map(len, frames))


def _end_refused(detail: str) -> None:
    """End this process, whatever the script has under way: nothing of it would be counted."""
    sys.stderr.write(f"this engine was refused by its agent: {detail}\n")
    sys.stderr.flush()
    os._exit(_EXIT_REFUSED)
