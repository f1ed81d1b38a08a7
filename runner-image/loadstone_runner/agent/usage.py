"""Turn what the launcher has counted so far into what was used in the last second. Pure: moments are arguments.

Named tuples, as an agent starts in a tenth of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

PERMILLE_MAX = 2**31  # what a heartbeat holds
COUNT_MAX = 2**62  # bytes and nanoseconds that no machine has


class Reading(NamedTuple):
    """What the launcher read at one moment; times are sums since the start, negative is unknown.

    Attributes:
        now_ns: of the reading.
        memory_limit_bytes: of the engines' container.
        cgroup_bytes: memory of that container which cannot be taken back.
        throttled_ns: how long that container was not allowed to run.
        processes: by engine its processor time and resident memory.
    """

    now_ns: int
    memory_limit_bytes: int = -1
    cgroup_bytes: int = -1
    throttled_ns: int = 0
    processes: Mapping[int, tuple[int, int]] = {}


class Usage:
    """The newest reading, beside the one before."""

    def __init__(self) -> None:
        self._newest: Reading | None = None
        self._before: Reading | None = None

    def take(self, reading: Reading) -> None:
        """Take in a reading; one that is not newer than the newest says nothing."""
        if self._newest is None or reading.now_ns > self._newest.now_ns:
            self._before, self._newest = self._newest, reading

    @property
    def memory_limit_bytes(self) -> int:
        """The limit of the engines' container; 0 if none is known."""
        return max(0, self._newest.memory_limit_bytes) if self._newest else 0

    @property
    def cgroup_bytes(self) -> int:
        """The memory of the engines' container; 0 if it is not known."""
        return max(0, self._newest.cgroup_bytes) if self._newest else 0

    @property
    def memory_bytes(self) -> int | None:
        """The resident memory of all engines; None if it is not known."""
        return sum(memory for _, memory in self._newest.processes.values()) if self._newest else None

    @property
    def throttled_permille(self) -> int:
        """How much of the time between the readings the container was not allowed to run."""
        if self._newest is None or self._before is None:
            return 0
        return min(1_000, self._permille(self._newest.throttled_ns - self._before.throttled_ns))

    def cpu_permille(self, engine: int | None = None) -> int:
        """Return how much of a core an engine used between the readings, or all engines together.

        A process that was not there before has used nothing before.
        """
        if self._newest is None or self._before is None:
            return 0
        used_ns = 0
        for number, (cpu_ns, _) in self._newest.processes.items():
            if engine in {None, number}:
                before_ns, _ = self._before.processes.get(number, (0, 0))
                # A new start of an engine counts from zero again.
                used_ns += cpu_ns - before_ns if cpu_ns >= before_ns else cpu_ns
        return self._permille(used_ns)

    def _permille(self, used_ns: int) -> int:
        if self._newest is None or self._before is None:
            return 0
        return min(PERMILLE_MAX, max(0, used_ns) * 1_000 // (self._newest.now_ns - self._before.now_ns))


def reading_of(event: Mapping[str, object], now_ns: int) -> Reading | None:
    """Return the reading in a launcher's event; None if it is none. What it does not know is unknown."""
    match event:
        case {
            "memory_limit_bytes": int(limit),
            "cgroup_bytes": int(cgroup),
            "throttled_ns": int(throttled),
            "engines": list(engines),
        } if are_counts(limit, cgroup, throttled):
            return Reading(now_ns, limit, cgroup, throttled, dict(filter(None, map(_process_of, engines))))
    return None


def _process_of(entry: object) -> tuple[int, tuple[int, int]] | None:
    match entry:
        case [int(number), int(cpu_ns), int(memory)] if are_counts(number, cpu_ns, memory):
            return number, (cpu_ns, memory)
    return None


def are_counts(*numbers: int) -> bool:
    """Return whether these are what a machine can count; to Python's patterns True is an int."""
    return all(type(each) is int and abs(each) < COUNT_MAX for each in numbers)
