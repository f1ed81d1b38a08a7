"""Know the greenlets that a script starts by itself: how many live, whose they are, and how they end with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import gevent
from gevent import getcurrent

from loadstone_core.stats.metrics import GREENLETS_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable

    CountError = Callable[[str, str, str], None]

FIRST_TOLD: Final = 1_000
LIVING_MAX: Final = 50_000
END_SECONDS: Final = 0.5
_OURS: Final = "loadstone_runner."
_GEVENTS: Final = "gevent."


class Strays:
    """The living greenlets of a script's own; weakly held, so that who has ended is freed as ever."""

    def __init__(self, count: CountError) -> None:
        """Know none yet; `count` counts an error by kind, message and name."""
        self._living: WeakSet[gevent.Greenlet[..., Any]] = WeakSet()
        self._count = count
        self._tell_at = FIRST_TOLD

    def watch(self) -> None:
        """Hear of every greenlet from now on."""
        gevent.Greenlet.add_spawn_callback(self.note)

    def unwatch(self) -> None:
        """Hear of no more."""
        gevent.Greenlet.remove_spawn_callback(self.note)

    def note(self, greenlet: gevent.Greenlet[..., Any]) -> None:
        """Note a greenlet that was started, unless it is the engine's or gevent's; it belongs to its starter's user."""
        module = str(getattr(getattr(greenlet, "_run", None), "__module__", ""))
        if module.startswith(_OURS):
            return
        seat = getattr(getcurrent(), "seat", None)
        if seat is not None:
            greenlet.seat = seat  # type: ignore[attr-defined]  # what it, or who it starts, records is its user's
        if module.startswith(_GEVENTS):
            return
        self._living.add(greenlet)
        if len(self._living) >= self._tell_at:
            self._look()

    def living(self) -> list[gevent.Greenlet[..., Any]]:
        """Return those that have not ended."""
        return [each for each in self._living if not each.dead]

    def end(self) -> int:
        """End those that live and return how many they were; one that does not let itself be ended stays."""
        living = self.living()
        gevent.killall(living, block=False)
        gevent.joinall(living, timeout=END_SECONDS)
        return len(living)

    def _look(self) -> None:
        """Forget who has ended, and say that there are many; from a limit on end some, as memory is bounded."""
        living = self.living()
        self._living = WeakSet(living)
        if len(living) >= LIVING_MAX:
            gevent.killall(living[: LIVING_MAX // 2], block=False)
            self._count(GREENLETS_ERROR, f"{LIVING_MAX} greenlets of the script lived: half of them were ended", "")
            self._tell_at = LIVING_MAX
        elif len(living) >= self._tell_at:
            self._count(GREENLETS_ERROR, f"more than {self._tell_at} greenlets of the script live", "")
            self._tell_at = min(2 * self._tell_at, LIVING_MAX)
        # Else many had ended: look again when as many have come.
        elif len(self._living) * 2 > self._tell_at:
            self._tell_at *= 2
