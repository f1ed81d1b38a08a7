"""Find out whether load may still be made, after this process has stood still. Who grants it is known to the agent."""

from __future__ import annotations

import contextlib
from pathlib import Path


def is_over(path: str, now_ns: int) -> bool:
    """Say whether the lease that the launcher has written down has run out by CLOCK_BOOTTIME; none never does."""
    until_ns = 0
    with contextlib.suppress(OSError, ValueError):
        until_ns = int(Path(path).read_bytes())
    return 0 < until_ns <= now_ns
