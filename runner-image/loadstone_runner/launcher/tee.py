"""Pass on what engines print, whole lines at a time, and keep the last of them. Never waits for whoever reads it."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import Final

TAIL_LINES: Final = 20
LINE_MAX_BYTES: Final = 16 * 1024
TAIL_LINE_MAX: Final = 1_000
QUEUE_MAX_BYTES: Final = 1024 * 1024
# POSIX: a pipe that polls as writable takes this much without blocking.
PIPE_BUF: Final = 4096
READ_BYTES: Final = 64 * 1024
REST_READS: Final = 64


class Tail:
    """The last lines of one engine, from both of its outputs in the order in which they came."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: bytes) -> None:
        """Remember a line."""
        self._lines.append(line.decode(errors="replace").rstrip()[:TAIL_LINE_MAX])

    def text(self) -> str:
        """Return the lines, newline between them."""
        return "\n".join(self._lines)


class Output:
    """One of the launcher's own outputs: takes any amount at once, writes as its reader can follow.

    When the reader is too slow, whole lines are dropped and counted: an engine that waits to print is no load.
    """

    __slots__ = ("_dropped", "_fd", "_queue")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue = bytearray()
        self._dropped = 0

    @property
    def is_waiting(self) -> bool:
        """Whether something is left to write."""
        return bool(self._queue)

    def put(self, line: bytes) -> None:
        """Queue a line."""
        if len(self._queue) + len(line) > QUEUE_MAX_BYTES:
            self._dropped += 1
            return
        if self._dropped:
            self._queue += b"launcher: %d lines of output were dropped, nobody read them in time\n" % self._dropped
            self._dropped = 0
        self._queue += line

    def write_some(self) -> None:
        """Write what the reader takes without blocking; call it when the descriptor polls as writable."""
        try:
            written = os.write(self._fd, self._queue[:PIPE_BUF])
        except BlockingIOError:
            return
        except OSError:
            # The reader is gone for good.
            written = len(self._queue)
        del self._queue[:written]


class Source:
    """One output of one engine, read to its end."""

    __slots__ = ("_fd", "_partial", "_tail", "_to")

    def __init__(self, fd: int, tail: Tail, to: Output) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._tail = tail
        self._to = to
        self._partial = b""

    def read_some(self) -> bool:
        """Pass on what is there; return whether there may be more to come."""
        try:
            received = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return True
        if not received:
            self.finish()
            return False
        self._split(received)
        return True

    def read_rest(self) -> None:
        """Pass on all that is there, also a line without its end: the engine has ended."""
        # A bound, as a process that the engine left behind may print for ever.
        with contextlib.suppress(BlockingIOError):
            for _ in range(REST_READS):
                if not (received := os.read(self._fd, READ_BYTES)):
                    break
                self._split(received)
        self.finish()

    def finish(self) -> None:
        """Pass on a line without its end."""
        if self._partial:
            self._pass(self._partial)
            self._partial = b""

    def _split(self, received: bytes) -> None:
        *lines, self._partial = (self._partial + received).split(b"\n")
        for line in lines:
            self._pass(line)
        if len(self._partial) > LINE_MAX_BYTES:
            self.finish()

    def _pass(self, line: bytes) -> None:
        self._tail.add(line)
        self._to.put(line + b"\n")
