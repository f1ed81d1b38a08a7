"""Know which engines of a run live, for whoever asks with each of thousands of heartbeats. Pure.

What a worker is, alive or not, is said in `member`; what follows from it, elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_runner.master.roster import Roster


class Living(Collection[tuple[int, int]]):
    """The engines of living workers, as (worker, engine), as far as they have come.

    Whether one is among them is known at once; how many there are is counted once between two looks.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._count: int | None = None

    def look(self) -> None:
        """Let them be counted when somebody asks next."""
        self._count = None

    def __contains__(self, place: object) -> bool:
        """Say whether an engine lives now."""
        match place:
            case (int(worker), int(engine)) if 0 <= worker < len(self._roster.members):
                member = self._roster.members[worker]
                return member.is_living and any(each.engine == engine for each in member.engines)
        return False

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Return those that live now."""
        return (
            (worker, each.engine) for worker in self._roster.living() for each in self._roster.members[worker].engines
        )

    def __len__(self) -> int:
        """Return how many there were when somebody asked first after the last look."""
        if self._count is None:
            self._count = sum(1 for _ in self)
        return self._count
