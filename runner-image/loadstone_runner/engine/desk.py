"""Take what a script asks for outside of any client, `check` and the like, to the scenario that its caller belongs to.

What is recorded, and how, belongs to `instruments`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gevent import getcurrent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_runner.engine.instruments import Instruments
    from loadstone_runner.engine.numbers import Allotment

# A script may spawn greenlets that spawn greenlets; nobody goes deeper than this.
_GENERATIONS: Final = 8


class Desk:
    """The `Instruments` of scripts, see `loadstone.seat`, in an engine."""

    __slots__ = ("_allotment", "_common")

    def __init__(self, common: Instruments, allotment: Allotment) -> None:
        """Take what nobody's user asks for to `common`."""
        self._common = common
        self._allotment = allotment

    def check(self, name: str, *, ok: bool, labels: Mapping[str, str]) -> None:
        """Record a check."""
        self.instruments().check(name, ok=ok, labels=labels)

    def next_row(self, feeder: str) -> int | None:
        """Return a row number of a feeder that no other user of the run gets, waiting for it; None: the load is over.

        Numbers are granted from 0 without end: how many rows there are is known to the feeder.
        """
        return self._allotment.next_row(feeder)

    def instruments(self) -> Instruments:
        """Return the instruments of the scenario whose user, or a greenlet that it has spawned, is running."""
        current: Any = getcurrent()
        for _ in range(_GENERATIONS):
            found: Instruments | None = getattr(current, "loadstone_instruments", None)
            if found is not None:
                return found
            parent = getattr(current, "spawning_greenlet", None)
            current = None if parent is None else parent()
            if current is None:
                break
        return self._common
