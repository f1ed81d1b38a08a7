"""Read this machine's clocks, for whoever is handed a `Clock`. What is done with a moment is not known here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def machine_boot() -> str:
    """Return which boot of which machine CLOCK_BOOTTIME counts from; empty where nobody says."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class SystemClock:
    """This machine's clocks."""

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME, which goes on while a machine is suspended."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_ns(self) -> int:
        """Return the wall clock, for people."""
        return time.time_ns()
