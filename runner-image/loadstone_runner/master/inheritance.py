"""Collect what workers hold of a master whose pod was lost, until it is known what that one has decided. Pure.

Until then nothing else is decided here: what followers, the director and the engines say waits. Leases are extended
meanwhile, so that workers keep their load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from loadstone_protocol.messages import Inheritance as Word

# Workers look for their master five times a second, or every five seconds when it was away for long.
PATIENCE_NS: Final = 8 * SECOND
# A worker that nobody has answered has ended its load so much after its lease, and its slack, at the latest.
ALONE_NS: Final = 5 * SECOND


class Inheritance:
    """The words of all workers, and what waits for them.

    Attributes:
        words: by worker.
        attempts: of the workers when they spoke.
        heard_ns: when each of them came.
        is_awaited: enough is not known yet.
        is_hurried: whoever knows anything is enough, as the run is to be killed.
    """

    def __init__(self) -> None:
        """Begin without a master before: nothing is awaited."""
        self.words: dict[int, Word] = {}
        self.attempts: dict[int, int] = {}
        self.heard_ns: dict[int, int] = {}
        self.is_awaited = self.is_hurried = False
        self._workers: Collection[int] = ()
        self._is_changed = False
        self._alone_at_ns = 0
        self._first_ns: int | None = None
        self._on_known: Callable[[], None] = _do_nothing
        self._waiting: list[Callable[[], None]] = []

    def begin(
        self,
        workers: Collection[int],
        now_ns: int,
        on_known: Callable[[], None],
        *,
        lost_ns: int,
        is_changed: bool = False,
    ) -> None:
        """Wait for these workers from a moment of the monotonic clock on; `on_known` is called once, with enough known.

        `is_changed`: others may be about that were wanted before. `lost_ns` is how long after its last word a worker
        has ended its load, if nobody has answered it.
        """
        self.is_awaited, self._workers, self._on_known = True, workers, on_known
        self._is_changed = is_changed
        self._alone_at_ns = now_ns + lost_ns + ALONE_NS

    def hear(self, worker: int, attempt: int, word: Word, *, now_ns: int) -> None:
        """Take in the word of a worker; the newest counts, and one that comes too late does not."""
        if self.is_awaited:
            if word.version is not None:
                self._first_ns = self._first_ns or now_ns
            self.words[worker], self.attempts[worker], self.heard_ns[worker] = word, attempt, now_ns
            self.look(now_ns)

    def when_known(self, what: Callable[[], None]) -> None:
        """Do something, once enough is known; what waits is done in order."""
        if self.is_awaited:
            self._waiting.append(what)
        else:
            what()

    def hurry(self, now_ns: int) -> None:
        """Wait for nobody else as soon as one has spoken that knows."""
        self.is_hurried = True
        if self.is_awaited:
            self.look(now_ns)

    def look(self, now_ns: int) -> None:
        """See whether enough is known: all have spoken, or one that knows, and the others will not within reason."""
        patience_ns = 0 if self.is_hurried else PATIENCE_NS
        is_late = self._first_ns is not None and now_ns - self._first_ns >= patience_ns
        if self.is_whole or is_late or now_ns >= self._alone_at_ns:
            self.is_awaited = False
            self._on_known()
            waiting, self._waiting = self._waiting, []
            for what in waiting:
                what()

    @property
    def is_whole(self) -> bool:
        """Whether every worker that is wanted has spoken."""
        return all(worker in self.words for worker in self._workers)

    @property
    def is_of_first_attempts(self) -> bool:
        """Whether every worker has spoken, and none of them was ever replaced: there is nobody else."""
        return self.is_whole and not self._is_changed and all(attempt == 1 for attempt in self.attempts.values())

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


def _do_nothing() -> None:
    return
