"""What the kernel says of other processes. No test is here."""

import contextlib
import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Say whether a process lives; one that has ended may wait for whoever takes note of it."""
    try:
        return _fields(pid)[0] not in {"Z", "X"}
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    """Return the processes that live and that a process has started, or one of those."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(_fields(int(folder.name))[1])
    found, left = set(), {pid}
    while left:
        left = {child for child, parent in parents.items() if parent in left} - found
        found |= left
    return found


def processor_seconds(pid: int) -> float:
    """Return how much processor time a process has taken, its own and the kernel's for it."""
    fields = _fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _fields(pid: int) -> list[str]:
    """Return what stands behind the name in its `stat`: proc_pid_stat(5), from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
