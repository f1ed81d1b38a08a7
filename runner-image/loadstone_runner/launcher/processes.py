"""Start engines as processes that die with their parent, and find out how they ended. When to end them: `switch`."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
from typing import TYPE_CHECKING, Final

from loadstone_runner.launcher.tee import Output, Source, Tail
from loadstone_runner.redaction import Redactor, secrets_of
from loadstone_runner.spool import LogStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadstone_runner.launcher.spool import Mark, Spool

    # Takes the environment, gives the exit code.
    Program = Callable[[Mapping[str, str]], int]

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
EXIT_NOT_STARTED: Final = 127
KEPT: Final = 3
_ABOVE: Final = 10
DEFAULT_SIGNALS: Final = (signal.SIGTERM, signal.SIGCHLD)
_LIBC = ctypes.CDLL(None)


class Engine:
    """One process of one engine, and how it ended.

    Attributes:
        number: index of the engine in this worker.
        start: how often it has been started, from 1.
        asking: on which it asks for processes of its own.
        sources: its outputs by descriptor.
        was_killed: SIGKILL was sent from here, so a death by it says nothing about memory.
        out_of_memory: the kernel killed it for want of memory.
        status: what waitpid(2) gave; None while it lives.
    """

    __slots__ = (
        "_spool",
        "asking",
        "number",
        "out_of_memory",
        "pid",
        "sources",
        "start",
        "status",
        "tail",
        "was_killed",
    )

    def __init__(self, number: int, *, start: int, pid: int, spool: Spool, asking: socket.socket) -> None:
        self.asking = asking
        self.number = number
        self.start = start
        self.pid = pid
        self.tail = Tail()
        self.sources: dict[int, Source] = {}
        self.was_killed = False
        self.out_of_memory = False
        self.status: int | None = None
        self._spool = spool

    def hear(self, reader: int, output: Output, *, fd: int, redact: Redactor) -> None:
        """Read what the process writes to its descriptor `fd` from `reader`, and pass it on."""
        stream = LogStream(self.number, self.start, fd)

        def sink(block: bytes, lines: int, marks: list[Mark]) -> None:
            self.tail.add(block)
            output.put(block, lines)
            self._spool.put(stream, block, lines, marks=marks)

        self.sources[reader] = Source(reader, sink, redact)

    @property
    def code(self) -> int | None:
        """The exit code, None if a signal ended it."""
        if self.status is None or os.WIFSIGNALED(self.status):
            return None
        return os.waitstatus_to_exitcode(self.status)

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended it, None if none did."""
        return os.WTERMSIG(self.status) if self.status is not None and os.WIFSIGNALED(self.status) else None

    def terminate(self) -> None:
        """Ask the process to end. What it has started itself is its own to end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process with everything in its process group."""
        self.was_killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def ended(self, status: int) -> None:
        """Take note of the end: kill what it has left behind, pass on its last words."""
        self.status = status
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for fd, source in self.sources.items():
            source.read_rest()
            os.close(fd)
        self.sources.clear()
        for written_to in (1, 2):
            self._spool.end(LogStream(self.number, self.start, written_to))


def start_engine(
    number: int,
    *,
    program: Program,
    environment: Mapping[str, str],
    outputs: tuple[Output, Output],
    spool: Spool,
    memory_limit_bytes: int = 0,
) -> Engine:
    """Start an engine for the first time, with `outputs` (standard output and error) and `spool` taking what it prints.

    In the child this does not return: SystemExit with the exit code of `program` leaves through the caller.

    Raises:
        OSError: no process or no pipe is to be had.
    """
    told = {**environment, "LOADSTONE_ENGINE": str(number), "LOADSTONE_START": "1"}
    told["LOADSTONE_LAUNCHER_FD"] = str(KEPT)
    if memory_limit_bytes > 0:
        told["LOADSTONE_MEMORY_LIMIT"] = str(memory_limit_bytes)
    parent = os.getpid()
    pipes = [os.pipe() for _ in outputs]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        become(told, parent=parent, writers=[writer for _, writer in pipes], kept=theirs.fileno())
        show_as(told.get("LOADSTONE_ENGINE_ROLE", "engine"))
        raise SystemExit(program(told))
    theirs.close()
    engine = Engine(number, start=1, pid=pid, spool=spool, asking=ours)
    redact = Redactor(secrets_of(environment))
    for fd, ((reader, writer), output) in enumerate(zip(pipes, outputs, strict=True), start=1):
        os.close(writer)
        engine.hear(reader, output, fd=fd, redact=redact)
    return engine


def become(environment: Mapping[str, str], *, parent: int, writers: Sequence[int], kept: int, group: int = 0) -> None:
    """Leave nothing of the launcher in the child: it is as an interpreter that has just been started.

    Args:
        environment: beside the launcher's own.
        parent: the launcher, with which it dies.
        writers: what become its outputs.
        kept: what it keeps, as descriptor KEPT.
        group: the process whose group it joins; 0: it begins one.
    """
    try:
        # First, as what a handler writes to this pipe would wake the parent.
        signal.set_wakeup_fd(-1)
        for number in DEFAULT_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, group)
        # It fires when the thread that forked ends, and the launcher has only one.
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(EXIT_NOT_STARTED)
        # Out of the way of those that come first.
        kept = fcntl.fcntl(kept, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
        writers = [fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for writer in writers]
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for target, writer in enumerate(writers, start=1):
            os.dup2(writer, target)
        os.dup2(kept, KEPT, inheritable=False)
        for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 pathlib costs 5 ms
            if descriptor > KEPT:
                with contextlib.suppress(OSError):  # the listing's own
                    os.close(descriptor)
        os.environ.update(environment)
    except OSError as error:
        os.write(2, f"launcher: cannot start an engine: {error.strerror}\n".encode())
        os._exit(EXIT_NOT_STARTED)


def adopt_orphans() -> None:
    """Be the parent of whatever loses its own below this process, so that nobody leaves by a second fork."""
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_children() -> bool:
    """Kill every process that has this one for its parent; say whether one of them lived."""
    own, found = str(os.getpid()), False
    for entry in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 pathlib costs 5 ms
        with contextlib.suppress(OSError):
            # The kernel cuts names after 15 bytes, amid a letter if need be.
            with open(f"/proc/{entry}/stat", errors="replace") as file:  # noqa: PTH123 pathlib costs 5 ms
                state, parent, *_ = file.read().rpartition(")")[2].split()
            if parent == own and state not in "ZX":
                os.kill(int(entry), signal.SIGKILL)
                found = True
    return found


def show_as(role: str) -> None:
    """Let process lists show the role of an engine instead of `launcher`, where the arguments have room for it."""
    try:
        with open("/proc/self/stat") as file:  # noqa: PTH123 pathlib costs 5 ms
            fields = file.read().rpartition(")")[2].split()
        # arg_start and arg_end, fields 48 and 49 of proc(5), the first after the name being number 3.
        start, end = int(fields[45]), int(fields[46])
    except (OSError, ValueError, IndexError):
        return
    held, old, new = ctypes.string_at(start, end - start), b"\0launcher\0", b"\0" + role.encode() + b"\0"
    if len(new) <= len(old) and held.endswith(old):
        ctypes.memmove(end - len(old), new.ljust(len(old), b"\0"), len(old))
