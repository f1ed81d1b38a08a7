"""Read what the kernel counts for this container, in cgroup v1 or v2: memory, kills for want of it, throttling."""

from __future__ import annotations

import os
from typing import Final

ROOT: Final = "/sys/fs/cgroup"
# What v1 gives as a limit when there is none is near 2^63.
UNLIMITED_FROM: Final = 1 << 60
UNKNOWN: Final = -1
_V1: Final = 1
_V2: Final = 2
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Memory:
    """The memory controller's files of this process' cgroup, as far as there are any."""

    __slots__ = ("_folder", "_version")

    def __init__(self, membership: str, root: str = ROOT) -> None:
        """Find the files for the content of `/proc/self/cgroup`; in a container only the root of the tree is seen."""
        self._folder, self._version = _find(membership, root, "memory", ("memory.events", "memory.oom_control"))

    def out_of_memory_kills(self) -> int:
        """Return how many processes of the cgroup the kernel has killed for want of memory."""
        return _entry(self._file("memory.events", "memory.oom_control"), "oom_kill")

    def limit_bytes(self) -> int:
        """Return the cgroup's limit, UNKNOWN without one."""
        text = _read(self._file("memory.max", "memory.limit_in_bytes")).strip()
        return int(text) if text.isdigit() and int(text) < UNLIMITED_FROM else UNKNOWN

    def used_bytes(self) -> int:
        """Return what counts against the limit and cannot be taken back, as Kubernetes' working set; else UNKNOWN."""
        text = _read(self._file("memory.current", "memory.usage_in_bytes")).strip()
        if not text.isdigit():
            return UNKNOWN
        name = "inactive_file" if self._version == _V2 else "total_inactive_file"
        return max(0, int(text) - _entry(self._file("memory.stat", "memory.stat"), name))

    def _file(self, v2: str, v1: str) -> str:
        return f"{self._folder}/{v2 if self._version == _V2 else v1}" if self._folder else ""


class Processor:
    """The CPU controller's file of this process' cgroup, if there is one."""

    __slots__ = ("_folder", "_version")

    def __init__(self, membership: str, root: str = ROOT) -> None:
        """Find the file; see `Memory`."""
        self._folder, self._version = _find(membership, root, "cpu", ("cpu.stat", "cpu.stat"))

    def throttled_ns(self) -> int:
        """Return how long the cgroup's processes were kept from running by its limit; 0 without one."""
        stat = f"{self._folder}/cpu.stat" if self._folder else ""
        if self._version == _V2:
            return _entry(stat, "throttled_usec") * 1_000
        return _entry(stat, "throttled_time")


def _find(membership: str, root: str, controller: str, files: tuple[str, str]) -> tuple[str, int]:
    """Return the folder of a controller and its version; files are what it has in v2 and in v1 for certain."""
    for line in membership.splitlines():
        number, controllers, path = line.split(":", 2)
        version = _V2 if number == "0" else _V1
        if version == _V1 and controller not in controllers.split(","):
            continue
        # In v1 a mount has the name of one of its controllers or of all.
        tops = (root,) if version == _V2 else (f"{root}/{controller}", f"{root}/{controllers}")
        for folder in (each for top in tops for each in (top + path.rstrip("/"), top)):
            if os.path.exists(f"{folder}/{files[0 if version == _V2 else 1]}"):  # noqa: PTH110 pathlib costs 5 ms
                return folder, version
    return "", _V2


def _entry(path: str, name: str) -> int:
    """Return the number in the line of a flat keyed file that begins with a name; 0 without one."""
    for line in _read(path).splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return 0


def this_memory() -> Memory:
    """Return the memory controller of the cgroup that this process is in."""
    return Memory(_read("/proc/self/cgroup"))


def this_processor() -> Processor:
    """Return the CPU controller of the cgroup that this process is in."""
    return Processor(_read("/proc/self/cgroup"))


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
    if not path:
        return ""
    try:
        # The kernel cuts the name of a process after 15 bytes, amid a letter if need be.
        with open(path, errors="replace") as file:  # noqa: PTH123 pathlib costs 5 ms
            return file.read()
    except OSError:
        return ""
