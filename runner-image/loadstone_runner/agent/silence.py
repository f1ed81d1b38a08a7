"""Decide when a master has said nothing for so long that it is better looked for anew. Pure.

A connection can be alive though nobody at its other end reads what is said: gRPC answers pings by itself.
"""

from __future__ import annotations

from typing import Final

# What this process slept through, frozen or without a processor, is no silence of its master's: between two looks at
# most this much counts.
_COUNTED_NS: Final = 1_000_000_000


class Silence:
    """For how long no heartbeat of this connection was acknowledged."""

    __slots__ = ("_lasted_ns", "_looked_ns")

    def __init__(self) -> None:
        self._lasted_ns = 0
        self._looked_ns: int | None = None

    def end(self) -> None:
        """Note that the master was heard, or that there is none to be heard."""
        self._lasted_ns = 0
        self._looked_ns = None

    def exceeds(self, limit_ns: int, now_ns: int) -> bool:
        """Go on with it; return whether it has lasted longer than `limit_ns`."""
        if self._looked_ns is not None:
            self._lasted_ns += min(now_ns - self._looked_ns, _COUNTED_NS)
        self._looked_ns = now_ns
        return self._lasted_ns > limit_ns
