"""Pass on what engines print, whole lines at a time, and keep the last of them. Never waits for whoever reads it."""

from __future__ import annotations

import contextlib
import os
import select
from typing import TYPE_CHECKING, Final

from loadstone_runner.spool import MARK_DIGITS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_runner.launcher.spool import Mark
    from loadstone_runner.redaction import Redactor

TAIL_LINES: Final = 20
LINE_MAX_BYTES: Final = 16 * 1024
TAIL_LINE_MAX: Final = 1_000
TAIL_BYTES: Final = 4 * TAIL_LINES * TAIL_LINE_MAX  # a character has four bytes at most
QUEUE_MAX_BYTES: Final = 1024 * 1024
# POSIX: a pipe that polls as writable takes this much without blocking.
PIPE_BUF: Final = 4096
WRITES_IN_A_TURN: Final = 32
READ_BYTES: Final = 64 * 1024
REST_READS: Final = 64
# A line of its own, written behind a line for whose sake somebody waits; it goes no further than here.
MARK: Final = b"\x1eloadstone-mark "
MARK_MAX_BYTES: Final = len(MARK) + 2 * MARK_DIGITS_MAX + 2


class Tail:
    """The last lines of one engine, from both of its outputs in the order in which they came."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def add(self, block: bytes) -> None:
        """Remember lines, each with its end."""
        self._held += block[-TAIL_BYTES:]
        if len(self._held) > 2 * TAIL_BYTES:
            del self._held[:-TAIL_BYTES]

    def text(self) -> str:
        """Return the lines, newline between them."""
        lines = self._held.decode(errors="replace").split("\n")[:-1]
        return "\n".join(_shown(line)[:TAIL_LINE_MAX] for line in lines[-TAIL_LINES:])


def _shown(line: str) -> str:
    """Return a line as sentences quote it: what is left where it was written over, and no control characters."""
    last = line.rstrip().rpartition("\r")[2]
    return "".join(each if each.isprintable() else " " for each in last)


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

    def put(self, block: bytes, lines: int = 1) -> None:
        """Queue whole lines."""
        if len(self._queue) + len(block) > QUEUE_MAX_BYTES:
            self._dropped += lines
            return
        if self._dropped:
            self._queue += b"launcher: %d lines of output were dropped, nobody read them in time\n" % self._dropped
            self._dropped = 0
        self._queue += block

    def write_some(self) -> None:
        """Write what the reader takes without blocking; call it when the descriptor polls as writable."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        for _ in range(WRITES_IN_A_TURN):
            try:
                written = os.write(self._fd, self._queue[:PIPE_BUF])
            except BlockingIOError:
                return
            except OSError:
                # The reader is gone for good.
                written = len(self._queue)
            del self._queue[:written]
            if not self._queue or not poll.poll(0):
                return


class Source:
    """One output of one engine, read to its end, in blocks of whole lines."""

    __slots__ = ("_fd", "_partial", "_pass", "_redact")

    def __init__(self, fd: int, sink: Callable[[bytes, int, list[Mark]], None], redact: Redactor) -> None:
        """Read from a descriptor; `sink` takes whole lines, how many they are, and the marks behind them."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._pass = sink
        self._redact = redact
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
            self._give(self._partial + b"\n")
            self._partial = b""

    def _split(self, received: bytes) -> None:
        block, newline, self._partial = (self._partial + received).rpartition(b"\n")
        if newline:
            self._give(block + newline)
        if len(self._partial) > LINE_MAX_BYTES + self._redact.longest:
            # What is not whole yet stays: a secret or a mark that is cut in two would be neither.
            self._partial = self._redact(self._partial)
            kept = self._redact.longest + MARK_MAX_BYTES
            self._give(self._partial[:-kept] + b"\n")
            self._partial = self._partial[-kept:]

    def _give(self, block: bytes) -> None:
        block, marks = take_marks(block)
        block = self._redact(block)
        self._pass(block, block.count(b"\n"), marks)


def take_marks(block: bytes) -> tuple[bytes, list[Mark]]:
    """Return lines without the marks among them, and the marks: their numbers, and what of their lines came before."""
    marks: list[Mark] = []
    at = 0
    while (at := block.find(MARK, at)) >= 0:
        end = block.find(b"\n", at)
        number, _, size = block[at + len(MARK) : end].partition(b" ")
        if not (number.isdigit() and size.isdigit() and len(number) <= MARK_DIGITS_MAX >= len(size)):
            at = end
            continue
        marks.append((number, max(0, int(size) - at)))
        block = block[:at] + block[end + 1 :]
    return block, marks
