"""Start the processes of a benchmark on the core they belong to, see that they end with it, and read what they cost.

What is started, and why, must not live here.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1
# The number of a process's own CPU clock: its inverted id with the kind of clock below it (clock_getcpuclockid(3)).
_CPU_CLOCK = 2
_LIBC = ctypes.CDLL(None)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_FILES_WANTED = 100_000
_END_SECONDS = 5.0
_ALL_CORES = os.sched_getaffinity(0)


@dataclass(frozen=True, slots=True)
class Cores:
    """The two cores of a run: one for the generator alone, one for its target and for everything else."""

    generator: int
    target: int


def choose_cores() -> Cores:
    """Return two cores that this process may use, and leave the generator's; SystemExit when there are none."""
    allowed = sorted(_ALL_CORES)
    if len(allowed) < 2:  # noqa: PLR2004 one for each side
        sys.exit("bench-engine: needs two cores, one for the generator and one for its target")
    cores = Cores(generator=allowed[1], target=allowed[0])
    os.sched_setaffinity(0, {cores.target})
    return cores


def raise_file_limit() -> int:
    """Allow as many open files as the kernel lets this process have; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < _FILES_WANTED:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, _FILES_WANTED))
            hard = _FILES_WANTED
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def end_on_signals() -> None:
    """Let SIGTERM and a closed terminal end the benchmark as Ctrl-C does: through every `finally`."""

    def leave(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


@contextlib.contextmanager
def started(
    command: Sequence[str | Path],
    *,
    core: int | None,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command on one core (None: on any) for as long as the block lasts.

    It dies with this process, whatever happens to that. A session of its own keeps Ctrl-C away from it: how it ends is
    decided here.
    """

    def prepare() -> None:
        os.sched_setaffinity(0, _ALL_CORES if core is None else {core})
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    with contextlib.ExitStack() as stack:
        written = subprocess.DEVNULL if output is None else stack.enter_context(output.open("ab"))
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 this process has one thread
        )
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, gently first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_END_SECONDS)


def pin(pid: int, core: int) -> None:
    """Move a living process, all its threads, to a core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


def cpu_ns(pid: int) -> int:
    """Return the CPU time that a process has used, all its threads together; 0 when it has ended."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPU_CLOCK)
    except OSError:
        return 0


def resident_bytes(pid: int) -> int:
    """Return the memory that a process has now; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process; none when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []


def variable(pid: int, name: str) -> str:
    """Return a variable of the environment that a process was started with; empty when there is none."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_text(errors="surrogateescape").split("\0")
    except OSError:
        return ""
    return next((entry.partition("=")[2] for entry in entries if entry.startswith(f"{name}=")), "")


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have, as they are now."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            # The command's name stands in brackets and may hold anything.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
