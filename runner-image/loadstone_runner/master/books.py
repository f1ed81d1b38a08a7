"""Keep the book of one name: which of its numbers which engine was given, and which nobody. Pure.

Who is to be given some, and how many at once, is decided in `grants`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from loadstone_protocol.messages import GrantNews


class Place(NamedTuple):
    """One engine of one worker."""

    worker: int
    engine: int


@dataclass(slots=True)
class Ledger:
    """What one engine was given of one name.

    Attributes:
        ranges: those that it may not know yet.
        first_range: number of the first of them.
        last_block: how many numbers this master has given it last; 0: all are from another.
        granted: how many numbers in all.
        end: one more than the highest of them.
        left: how many of them nobody had taken, by its newest word.
    """

    ranges: list[range] = field(default_factory=list)
    first_range: int = 0
    last_block: int = 0
    granted: int = 0
    end: int = 0
    left: int = 0

    @property
    def before(self) -> int:
        """How many numbers were in the ranges that the engine holds for sure."""
        return self.granted - sum(map(len, self.ranges))

    @property
    def is_untouched(self) -> bool:
        """Whether this master has given all of it, and the engine is not known to have heard of any."""
        return self.first_range == 0 and self.last_block > 0

    def learn(self, news: GrantNews) -> int:
        """Forget the ranges that the engine holds for sure; return how many numbers it has, those on the way too."""
        known = min(max(0, news.known - self.first_range), len(self.ranges))
        del self.ranges[:known]
        self.first_range += known
        self.left = news.left + sum(map(len, self.ranges))
        return self.left


@dataclass(slots=True)
class Book:
    """The numbers of one name.

    Attributes:
        total: how many there are; None if there is no last one.
        next: from here on nobody was given any.
        returned: what was given to somebody who never came.
        former: what attempts of workers that were replaced had been granted, and had left by their last word.
        takers: the engines that were given some.
    """

    total: int | None
    next: int = 0
    ledgers: dict[Place, Ledger] = field(default_factory=dict)
    returned: list[range] = field(default_factory=list)
    former: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    takers: set[Place] = field(init=False)

    def __post_init__(self) -> None:
        """Know the takers by what they were given."""
        self.takers = {place for place, ledger in self.ledgers.items() if ledger.granted}

    @property
    def left(self) -> int | None:
        """How many numbers nobody has been given yet; None: there are always more."""
        return None if self.total is None else self.total - self.next + sum(map(len, self.returned))

    def drop(self, place: Place) -> Ledger:
        """Begin anew with an engine; return what it was given."""
        self.takers.discard(place)
        return self.ledgers.pop(place)

    def take(self, count: int) -> list[range]:
        """Return ranges of so many numbers, or of as many as there are."""
        taken = []
        while count > 0 and self.returned:
            first = self.returned.pop(0)
            if first[count:]:
                self.returned.insert(0, first[count:])
            taken.append(first[:count])
            count -= len(taken[-1])
        fresh = range(self.next, self.next + count if self.total is None else min(self.next + count, self.total))
        self.next = max(self.next, fresh.stop)
        return [*taken, fresh] if fresh else taken


def plain_book(name: str, book: Book) -> list[Any]:
    """Return a book as JSON has it, its ledgers as `ledger_of` takes them behind their places."""
    ledgers = [[*place, *_plain(ledger)] for place, ledger in book.ledgers.items()]
    returned = [[each.start, each.stop] for each in book.returned]
    return [name, book.total, book.next, ledgers, returned, [[*each, *gone] for each, gone in book.former.items()]]


def _plain(ledger: Ledger) -> list[Any]:
    ranges = [[each.start, each.stop] for each in ledger.ranges]
    return [ledger.first_range, ledger.last_block, ledger.granted, ledger.end, ledger.left, ranges]


def ledger_of(first_range: int, last_block: int, granted: int, end: int, left: int, ranges: list[list[int]]) -> Ledger:
    """Return the ledger of one place of a plain book."""
    return Ledger([range(*each) for each in ranges], first_range, last_block, granted, end, left)
