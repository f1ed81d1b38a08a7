"""Wait for moments of the monotonic clock. What is due then belongs to whoever waits."""

from __future__ import annotations

from time import monotonic_ns
from typing import Final

import gevent

_SECOND_NS: Final = 1_000_000_000


def sleep_until(at_ns: int) -> None:
    """Return at a moment of the monotonic clock, not before."""
    # The loop counts from when it last looked at the clock, so one sleep may be a little short.
    while (left_ns := at_ns - monotonic_ns()) > 0:
        gevent.sleep(left_ns / _SECOND_NS)
