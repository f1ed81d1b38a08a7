"""What the kernel says of other processes. No test is here."""

import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Say whether a process lives; one that has ended may wait for whoever takes note of it."""
    try:
        return _fields(pid)[0] not in {"Z", "X"}
    except OSError:
        return False


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
