"""Put exceptions of user code into words, and tell the first of each kind and place, which is worth a traceback.

Counting them all belongs to whoever caught them.
"""

from __future__ import annotations

from typing import Final

from loadstone_core.stats.metrics import storable

TEXT_MAX: Final = 4_096  # characters of what is sent of one exception
_KINDS_MAX: Final = 100


class Tracebacks:
    """What was logged so far."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def is_first(self, error: BaseException) -> bool:
        """Note an exception; return whether it is the first of its kind from its place, and to be logged."""
        kind = (type(error).__name__, _place_of(error))
        if kind in self._seen or len(self._seen) >= _KINDS_MAX:
            return False
        self._seen.add(kind)
        return True


def text_of(error: BaseException) -> str:
    """Return what an exception says, as it can be sent; its kind alone if its own text cannot be had."""
    try:
        return storable(f"{type(error).__name__}: {error}"[:TEXT_MAX])
    except (Exception, SystemExit, KeyboardInterrupt):  # noqa: BLE001 whatever a script's own exceptions do instead
        return type(error).__name__


def _place_of(error: BaseException) -> str:
    """Return where an exception was raised; empty if it was not."""
    frame = error.__traceback__
    if frame is None:
        return ""
    while frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
