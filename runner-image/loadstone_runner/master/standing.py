"""Know whether this master may be one of two of its run, as when a network falls apart. Pure.

Only then can a worker that has fallen silent hold a lease that this master knows nothing of. See decision 0030.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

# A follower that has vanished without a word is noticed by then: 20 s until it is asked, and 5 s for its answer.
FOLLOWER_GONE_NS: Final = 26 * SECOND


class Standing:
    """What this master knows of others of its run.

    Attributes:
        is_sole: every one before it is known to have ended.
        has_begun: one before it had ordered the load to begin, as far as the operator knows.
        has_successor: when it is lost, its follower makes another.
    """

    def __init__(self) -> None:
        """Begin as the only one."""
        self.is_sole = True
        self.has_begun = False
        self.has_successor = False
        self._followers = 0

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Note that somebody follows this master, as long as the context lasts: there is no later one meanwhile."""
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1

    def is_last(self, *, silent_ns: int) -> bool:
        """Say whether a worker that has been silent for so long cannot have gone to a later master of the run."""
        if not self.has_successor:
            return True
        return self._followers > 0 and silent_ns >= FOLLOWER_GONE_NS
