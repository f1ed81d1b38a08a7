"""Collect what workers hold of a master whose pod was lost, until it is known what that one has decided. Pure.

Until then nothing else is decided here: what followers, the director and the engines say waits. Leases are extended
meanwhile, so that workers keep their load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_protocol.messages import Inheritance as Word

# Workers look for their master five times a second, or every five seconds when it was away for long.
PATIENCE_NS: Final = 8 * SECOND
# By then every worker that nobody has answered has ended its load.
ALONE_NS: Final = 40 * SECOND


class Inheritance:
    """The words of all workers, and what waits for them.

    Attributes:
        words: by worker.
        heard_ns: when each of them came.
    """

    def __init__(self, workers: int, now_ns: int, on_known: Callable[[], None]) -> None:
        """Begin at a moment of the monotonic clock; `on_known` is called once, when enough is known."""
        self.words: dict[int, Word] = {}
        self.heard_ns: dict[int, int] = {}
        self._workers = workers
        self._began_ns = now_ns
        self._first_ns: int | None = None
        self._on_known = on_known
        self._waiting: list[Callable[[], None]] = []

    def hear(self, worker: int, word: Word, now_ns: int) -> None:
        """Take in the word of a worker; the newest counts."""
        self._first_ns = self._first_ns or now_ns
        self.words[worker], self.heard_ns[worker] = word, now_ns
        self.look(now_ns)

    def defer(self, what: Callable[[], None]) -> None:
        """Let something wait."""
        self._waiting.append(what)

    def take(self) -> list[Callable[[], None]]:
        """Return what has waited, oldest first."""
        waited, self._waiting = self._waiting, []
        return waited

    def look(self, now_ns: int) -> None:
        """See whether enough is known: all have spoken, or those that have not will not within reason."""
        is_late = self._first_ns is not None and now_ns - self._first_ns >= PATIENCE_NS
        if self.is_whole or is_late or now_ns - self._began_ns >= ALONE_NS:
            self._on_known()

    @property
    def is_whole(self) -> bool:
        """Whether every worker has spoken."""
        return len(self.words) == self._workers

    @property
    def newest(self) -> Word | None:
        """The word with the newest configuration; None if nobody holds any."""
        held = [word for word in self.words.values() if word.version is not None]
        return max(held, key=lambda word: (word.version.epoch, word.version.revision), default=None)  # type: ignore[union-attr]  # those without are left out

    def start_ns(self) -> int:
        """Return when the load started, on this clock; 0 if it has not, for all that is known.

        What a worker said was a little older when it came, so the earliest moment is the nearest.
        """
        starts = [self.heard_ns[worker] - word.since_start_ns for worker, word in self.words.items() if word.version]
        begun = [word for word in self.words.values() if word.since_start_ns != -SECOND]
        return min(starts) if begun else 0
