"""Give out numbers in blocks, by name: each number of a name to exactly one engine of the run, and never twice. Pure.

Iterations of a scenario have a last number; rows of a feeder have none here, as only engines know how many there are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.load.grant import Grant
from loadstone_core.load.share import share
from loadstone_runner.master.books import Book, Ledger, Place, ledger_of, plain_book

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from loadstone_protocol.messages import Granted, GrantNews

# A block lasts this long, so that an engine asks once in two heartbeats and a lost one takes little with it.
SECONDS_AHEAD: Final = 2
# Below this many for each engine nothing is worth a second round.
SMALL_BLOCK: Final = 100
# Rows of a feeder that an engine holds and never uses are missing elsewhere: near the end each gets what it waits for.
AMPLE: Final = 10
NAMES_MAX: Final = 16_384  # of rows, in the whole run: an engine has at most 128


class Grants:
    """The numbers of one run by name, and who has which. Before `open` no iterations are given out.

    Attributes:
        given: how often numbers were given to an engine: as long as it stays, so does everything that was granted.
        has_left_out: there were more names than NAMES_MAX, and those who wait for the others wait in vain.
        untold: workers of which it is not known what another master has granted them.
    """

    def __init__(
        self, totals: Mapping[str, int], workers: int, engines: int, *, users: Mapping[str, int] | None = None
    ) -> None:
        """Take how many numbers there are by name, for those names that have a last number.

        Where only so many `users` take them, engines that have none of these are granted nothing: nobody would do it.
        """
        self._users = users or {}
        self._engines = engines
        self._places = _places(workers, engines)
        self._books = {name: Book(total) for name, total in totals.items()}
        self._closed = set(totals)
        self._versions = [1] * workers
        self.given = 0
        self.has_left_out = False
        self.untold: set[int] = set()
        self._awaited: set[int] = set()  # those of them for whose word everybody waits

    def resize(self, workers: int) -> None:
        """Know so many workers, if these are more than before: the new ones have nothing yet."""
        more = workers - len(self._versions)
        if more > 0:
            self._versions += [max(self._versions)] * more
            self._places = _places(workers, self._engines)

    def remember(self) -> dict[str, Any]:
        """Return who has which numbers, for `recall`, as JSON has it."""
        return {
            "closed": sorted(self._closed),
            "untold": sorted(self.untold),
            "awaited": sorted(self._awaited),
            "books": [plain_book(name, book) for name, book in self._books.items()],
        }

    def recall(self, held: Mapping[str, Any]) -> None:
        """Give out what another has not, and tell every engine again what it may not know yet."""
        self._closed = set(held["closed"])
        self.untold, self._awaited = set(held["untold"]), set(held["awaited"])
        for name, total, following, ledgers, returned, former in held["books"]:
            places = {Place(*each[:2]): ledger_of(*each[2:]) for each in ledgers}
            gone = {(worker, attempt): (granted, left) for worker, attempt, granted, left in former}
            self._books[name] = Book(total, following, places, [range(*each) for each in returned], gone)

    def await_words(self) -> None:
        """Give out nothing until every worker has told what another master has granted it, or is forsaken."""
        self.untold, self._awaited = set(range(len(self._versions))), set(range(len(self._versions)))

    def learn(self, worker: int, granted: Iterable[Granted], *, is_all: bool) -> bool:
        """Take in what a worker was granted by another master; return whether that was the last word awaited.

        If it is not `is_all` that was granted to this worker or to one before it, nothing more is given of what has a
        last number: nobody knows what is left of it.
        """
        for each in granted:
            self._learn(Place(worker, each.engine), each)
        self.untold.discard(worker)
        if not is_all:
            self._close()
        return self._await_no_more({worker})

    def forsake(self, workers: set[int]) -> bool:
        """Wait for the words of these workers no longer; return whether they were the last that were awaited."""
        if self._awaited & workers:
            self._close()
        return self._await_no_more(workers)

    def _await_no_more(self, workers: set[int]) -> bool:
        was_awaited = bool(self._awaited)
        self._awaited -= workers
        return was_awaited and not self._awaited

    def _learn(self, place: Place, granted: Granted) -> None:
        if granted.name not in self._books and len(self._books) < NAMES_MAX:
            self._books[granted.name] = Book(total=None)
        book = self._books.get(granted.name)
        self.has_left_out |= book is None
        if book is not None and self._knows(place):
            self._closed.discard(granted.name)
            end = granted.end if book.total is None else min(granted.end, book.total)
            book.next = max(book.next, end)
            latest, before = [*granted.latest], granted.ranges - len(granted.latest)
            book.ledgers[place] = Ledger(latest, before, granted=granted.numbers, end=granted.end)
            book.takers.add(place)
            self.given += 1

    def _close(self) -> None:
        for book in self._books.values():
            book.next = book.next if book.total is None else book.total
        self.given += 1

    def forsaken(self, name: str) -> int:
        """Return how many numbers of a name are not to be given any more, and were given to nobody that is known.

        A master before may have meant them for a worker that has never heard of it, or that is gone.
        """
        book = self._books.get(name)
        if book is None or book.total is None or self._awaited:
            return 0
        known = sum(each.granted for each in book.ledgers.values()) + sum(map(len, book.returned))
        return max(0, book.next - known - sum(granted for granted, _ in book.former.values()))

    def number_from(self, version: int) -> None:
        """Number assignments from a version on, as those of another are held by workers."""
        self._versions = [version] * len(self._versions)

    def left(self, name: str) -> int | None:
        """Return how many numbers of a name nobody has been given yet; None: there are always more."""
        return self._books[name].left

    def granted_to(self, name: str, worker: int) -> int:
        """Return how many numbers of a name the engines of a worker have been given so far, used or not."""
        return sum(ledger.granted for each, _, ledger in self._ledgers_of(worker) if each == name)

    def former(self, name: str) -> dict[tuple[int, int], int]:
        """Return how many numbers of a name attempts of workers had been given that were replaced."""
        book = self._books.get(name)
        return {} if book is None else {each: granted for each, (granted, _) in book.former.items()}

    def unused_by(self, worker: int) -> dict[str, int]:
        """Return how many numbers of each name a worker had left by its last word."""
        unused: Counter[str] = Counter()
        for name, _, ledger in self._ledgers_of(worker):
            unused[name] += ledger.left
        return {name: count for name, count in unused.items() if count}

    def unused_by_former(self) -> dict[str, int]:
        """Return how many numbers of each name attempts had left that were replaced."""
        return {
            name: sum(left for _, left in book.former.values()) for name, book in self._books.items() if book.former
        }

    def replace(self, worker: int, attempt: int, *, was_idle: bool = False) -> None:
        """Begin anew with a worker: what this attempt was given is not given again, and its successor has none.

        One that `was_idle` has begun nothing: its successor has the same, as far as this master knows what that is.
        """
        for book in self._books.values():
            places = [each for each in self._places_of(worker) if each in book.ledgers]
            gone = [each for each in places if not (was_idle and book.ledgers[each].is_untouched)]
            ledgers = [book.drop(place) for place in gone]
            if ledgers:
                granted, left = book.former.get((worker, attempt), (0, 0))
                granted += sum(each.granted for each in ledgers)
                book.former[(worker, attempt)] = (granted, left + sum(each.left for each in ledgers))
                self.given += 1
        self._versions[worker] += 1

    def take_back(self, worker: int) -> None:
        """Let others have what was meant for a worker that never came, and so has never heard of it."""
        for book in self._books.values():
            for place in self._places_of(worker):
                if place in book.ledgers:
                    book.returned += book.drop(place).ranges
        self._versions[worker] += 1

    def open(self, name: str) -> tuple[int, ...]:
        """Give every engine its first block of a name that has a last number; return whose assignment has changed."""
        if name not in self._closed or self._awaited:
            return ()
        self._closed.discard(name)
        book = self._books[name]
        total, places = book.total or 0, self._places[: max(1, self._users.get(name, len(self._places)))]
        each = max(1, total // (len(places) * 20), min(SMALL_BLOCK, total // len(places)))
        if total <= each * len(places) + len(places):
            return self._divide(book, places)
        for place in places:
            self._give(book, place, each)
        return tuple(range(len(self._versions)))

    def hear(
        self, place: tuple[int, int], news: Iterable[GrantNews], *, living: Collection[tuple[int, int]]
    ) -> set[int]:
        """Take in what an engine has left and how fast it is; return the workers whose assignment has changed.

        When little remains of a name, all of it is divided at once over the living engines: they end together. A worker
        that has still to tell what it holds gets nothing: that would be numbered as if it held nothing.

        Every engine asks once in two heartbeats, so nothing here looks at all of them but near that end: of the
        `living` ones only the number is asked before, which need not be the newest.
        """
        changed: set[int] = set()
        if place[0] in self.untold or not self._knows(Place(*place)):
            return changed
        for each in news:
            book = self._books.get(each.name)
            if book is None and len(self._books) < NAMES_MAX:
                book = self._books[each.name] = Book(total=None)
            if book is None:
                self.has_left_out = True
            else:
                changed.update(self._look(book, Place(*place), each, living))
        return changed

    def of(self, worker: int) -> tuple[int, tuple[Grant, ...]]:
        """Return what a worker is to know now: the version of its assignment, and what its engines were granted."""
        return self._versions[worker], tuple(
            Grant(name, engine, tuple(ledger.ranges), ledger.first_range, ledger.before, ledger.end)
            for name, engine, ledger in self._ledgers_of(worker)
            if ledger.granted
        )

    def _ledgers_of(self, worker: int) -> Iterator[tuple[str, int, Ledger]]:
        places = self._places_of(worker)
        for name, book in self._books.items():
            for place in places:
                if place in book.ledgers:
                    yield name, place.engine, book.ledgers[place]

    def _knows(self, place: Place) -> bool:
        return place.worker < len(self._versions) and place.engine < self._engines

    def _places_of(self, worker: int) -> list[Place]:
        return [Place(worker, engine) for engine in range(self._engines)]

    def _look(self, book: Book, place: Place, news: GrantNews, living: Collection[tuple[int, int]]) -> Collection[int]:
        ledger = book.ledgers.setdefault(place, Ledger())
        has = ledger.learn(news)
        if not (ledger.granted or news.waiting or news.per_second):
            # It has no user that would take one.
            return ()
        ahead = SECONDS_AHEAD * news.per_second
        is_waiting = news.name in self._closed or self._awaited
        if book.left == 0 or has >= max(1, ahead, news.waiting) or is_waiting:
            return ()
        if book.left is None:
            rest = news.rows - book.next
            is_ample = not news.rows or rest >= AMPLE * ahead * len(living)
            count = max(ahead if is_ample else 0, news.waiting) - has
            self._give(book, place, count)
            return (place.worker,) if count > 0 else ()
        # Who ran dry between two heartbeats is faster than the last figure says.
        wanted = max(ahead, ledger.last_block * (1 if has else 4), 1)
        if book.left <= wanted * (len(book.takers) + 1):
            takers = {each for each in book.takers if each in living}
            sharers = [each for each in self._places if each in takers or each == place]
            if book.left <= wanted * len(sharers):
                return self._divide(book, sharers)
        self._give(book, place, wanted)
        return (place.worker,)

    def _divide(self, book: Book, places: Collection[Place]) -> tuple[int, ...]:
        rest, changed = book.left or 0, []
        for turn, place in enumerate(places):
            if count := share(rest, turn, len(places)):
                self._give(book, place, count)
                changed.append(place.worker)
        return tuple(changed)

    def _give(self, book: Book, place: Place, count: int) -> None:
        given = book.take(count)
        if not given:
            return
        ledger = book.ledgers.setdefault(place, Ledger())
        book.takers.add(place)
        ledger.ranges += given
        ledger.last_block = count
        ledger.end = max(ledger.end, *(each.stop for each in given))
        ledger.granted += sum(map(len, given))
        ledger.left += sum(map(len, given))
        self._versions[place.worker] += 1
        self.given += 1


def _places(workers: int, engines: int) -> tuple[Place, ...]:
    """Return all engines: all workers' first ones come before any second, so that few numbers spread over workers."""
    return tuple(Place(worker, engine) for engine in range(engines) for worker in range(workers))
