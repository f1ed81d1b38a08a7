"""What time is, for everybody who needs it as a collaborator and not as an argument.

The real clock lives at the edges; this room holds its shape, a hand-moved one and the one text form of an instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Three readings; none of them may be mixed with another."""

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC in nanoseconds: for load, statistics and deadlines within a process."""
        ...

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME in nanoseconds, which counts a suspended machine: for leases."""
        ...

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch: only to be shown to people."""
        ...


@dataclass(slots=True)
class ManualClock:
    """A `Clock` that stands still until `advance` moves all three readings."""

    monotonic: int = 0
    boottime: int = 0
    wall: int = 0

    def monotonic_ns(self) -> int:
        """Return the monotonic reading."""
        return self.monotonic

    def boottime_ns(self) -> int:
        """Return the boot-time reading."""
        return self.boottime

    def wall_ns(self) -> int:
        """Return the wall reading."""
        return self.wall

    def advance(self, duration_ns: int) -> None:
        """Move every reading on by the same nanoseconds."""
        self.monotonic += duration_ns
        self.boottime += duration_ns
        self.wall += duration_ns


def rfc3339(wall_ns: int) -> str:
    """Return an instant in UTC with microseconds, as Kubernetes' MicroTime: `2026-11-20T12:00:00.000000Z`."""
    instant = _UNIX_EPOCH + timedelta(microseconds=wall_ns // 1_000)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
