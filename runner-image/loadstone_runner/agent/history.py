"""Remember how many users a stream had in each second, as the runs of seconds in which nothing changed. Pure.

A master counts them itself, second by second; one that has missed some is told all of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# With a change in each second more than five hours, and less than half of what a message may hold.
MOST: Final = 20_000


class Moment(NamedTuple):
    """One report of a stream: the second that it closed, its number, and the live users of each scenario."""

    second: int
    sequence: int
    users: tuple[int, ...]


class History:
    """The reports of a stream that are not like the one before, and each of these: between two there was no change."""

    __slots__ = ("_newest", "moments")

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self._newest: Moment | None = None

    def note(self, newest: Moment) -> None:
        """Take in the next report."""
        before = self._newest
        if newest.second < 0 or (before is not None and newest.second <= before.second):
            return
        self._newest = newest
        if before is None:
            self.moments.append(newest)
            return
        is_next = (newest.second, newest.sequence) == (before.second + 1, before.sequence + 1)
        if is_next and newest.users == before.users:
            return
        if self.moments[-1] is not before:
            self.moments.append(before)
        self.moments.append(newest)
        if len(self.moments) > MOST:
            del self.moments[: MOST // 10]
