"""Read what the kernel counts for this container: kills for want of memory, the limit of memory. cgroup v1 and v2."""

from __future__ import annotations

import os
from typing import Final

ROOT: Final = "/sys/fs/cgroup"
# What v1 gives as a limit when there is none is near 2^63.
UNLIMITED_FROM: Final = 1 << 60
UNKNOWN: Final = -1
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Memory:
    """The memory controller's files of this process' cgroup, as far as there are any."""

    __slots__ = ("_events", "_limit")

    def __init__(self, membership: str, root: str = ROOT) -> None:
        """Find the files for the content of `/proc/self/cgroup`; in a container only the root of the tree is seen."""
        self._events = ""
        self._limit = ""
        for line in membership.splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                self._choose(root, path, events="memory.events", limit="memory.max")
            elif "memory" in controllers.split(","):
                self._choose(f"{root}/memory", path, events="memory.oom_control", limit="memory.limit_in_bytes")

    def out_of_memory_kills(self) -> int:
        """Return how many processes of the cgroup the kernel has killed for want of memory."""
        for line in _read(self._events).splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def limit_bytes(self) -> int:
        """Return the cgroup's limit, UNKNOWN without one."""
        text = _read(self._limit).strip()
        return int(text) if text.isdigit() and int(text) < UNLIMITED_FROM else UNKNOWN

    def _choose(self, root: str, path: str, *, events: str, limit: str) -> None:
        for folder in (root + path.rstrip("/"), root):
            if not self._events and os.path.exists(f"{folder}/{events}"):  # noqa: PTH110 pathlib costs 5 ms
                self._events = f"{folder}/{events}"
                self._limit = f"{folder}/{limit}"


def this_memory() -> Memory:
    """Return the memory controller of the cgroup that this process is in."""
    return Memory(_read("/proc/self/cgroup"))


def processor_ns(pid: int) -> int:
    """Return the processor time of a process and its reaped children so far; 0 if it is gone. See proc(5)."""
    _, _, fields = _read(f"/proc/{pid}/stat").rpartition(")")
    # utime, stime, cutime, cstime: fields 14 to 17, the first after the name being number 3.
    return sum(map(int, fields.split()[11:15])) * _TICK_NS


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 if it is gone."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE_BYTES if fields else 0


def _read(path: str) -> str:
    """Return a file's text; nothing if it is not there."""
    try:
        with open(path) as file:  # noqa: PTH123 pathlib costs 5 ms
            return file.read()
    except OSError:
        return ""
