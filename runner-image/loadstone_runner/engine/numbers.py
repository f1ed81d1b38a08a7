"""Let users take numbers that were granted to this engine, wait for them, and ask for more.

How a name's numbers are kept belongs to `grants`, what they mean to whoever takes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from gevent.event import Event
from greenlet import getcurrent, greenlet

from loadstone_core.load.grant import of_feeder
from loadstone_core.stats.metrics import storable
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.grants import Grants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadstone_core.load.grant import Grant

_SECOND_NS: Final = 1_000_000_000
# As many as a master takes from one engine; see GRANTS_MAX and GRANT_NAME_MAX of the protocol.
_NAMES_MAX: Final = 128
_NAME_MAX: Final = 256


class Numbers:
    """The numbers of one name, for users.

    Attributes:
        grants: those that are here.
    """

    __slots__ = ("_ask", "grants")

    def __init__(self, ask: Callable[[], None]) -> None:
        self.grants = Grants()
        self._ask = ask

    @property
    def rows(self) -> int:
        """How many of all numbers stand for a row of a feeder; 0: there is no last one, or they are no rows."""
        return 0

    @property
    def steady(self) -> int:
        """How many numbers were taken by those who go on taking: so many are wanted ahead."""
        return self.grants.taken

    def take(self, wait: Callable[[], bool]) -> int | None:
        """Return the next number; while there is none, call `wait`, which says whether it is still wanted."""
        grants = self.grants
        while (number := grants.take()) is None:
            grants.waiting += 1
            self._ask()
            try:
                is_wanted = wait()
            finally:
                grants.waiting -= 1
            if not is_wanted:
                return None
        return number


class Rows(Numbers):
    """The numbers of a feeder's rows. Who takes a first one, for good perhaps, makes nothing come ahead for others."""

    __slots__ = ("_again", "_rows", "_takers", "arrival")

    def __init__(self, ask: Callable[[], None]) -> None:
        super().__init__(ask)
        self.arrival = Event()
        self._again = 0
        self._rows = 0
        self._takers: WeakSet[greenlet] = WeakSet()

    @property
    def rows(self) -> int:
        """How many rows there are; 0: they begin again after the last."""
        return self._rows

    @property
    def steady(self) -> int:
        """How many numbers were taken by those who had taken one before."""
        return self._again

    def next(self, count: int, is_wanted: Callable[[], bool]) -> int | None:
        """Return the next number, waiting for it while `is_wanted`; of `count` rows, or 0 if they begin again."""

        def wait() -> bool:
            self.arrival.clear()
            if is_wanted():
                self.arrival.wait()
            return is_wanted()

        self._rows = max(self._rows, count)
        taker = getcurrent()
        if taker in self._takers:
            self._again += 1
        else:
            self._takers.add(taker)
        return self.take(wait)


class Allotment:
    """All names of which this engine was granted numbers, or wants some."""

    def __init__(self, ask: Callable[[], None]) -> None:
        """Begin without any; `ask` is called when a user waits for a number, so that the master hears of it soon."""
        self._ask = ask
        self._names: dict[str, Numbers] = {}
        self._feeders: dict[str, Rows] = {}
        self._steady_before: dict[str, int] = {}
        self._counted_ns = 0
        self._is_closed = False

    def of(self, name: str) -> Numbers:
        """Return the numbers of a name."""
        if name in self._names:
            return self._names[name]
        if name.startswith(of_feeder("")):
            self._names[name] = self._feeders[name] = Rows(self._ask)
        else:
            self._names[name] = Numbers(self._ask)
        return self._names[name]

    def next_row(self, feeder: str, count: int = 0) -> int | None:
        """Return a row number that no other user of the run gets, waiting for it; None once the load is over.

        `count` is how many rows there are; 0: they begin again after the last.

        Raises:
            ValueError: the name is too long, or one too many.
        """
        name = of_feeder(storable(feeder))
        if name not in self._feeders:
            if len(self._names) >= _NAMES_MAX or len(name) > _NAME_MAX:
                raise ValueError(f"{name[:60]}: rows of {_NAMES_MAX} names of {_NAME_MAX} characters can be granted")
            self.of(name)
        return self._feeders[name].next(count, lambda: not self._is_closed)

    def extend(self, granted: Iterable[Grant]) -> list[str]:
        """Take in what was granted; return the names that have more now.

        Raises:
            ValueError: a grant before these never came.
        """
        fresh = [grant.name for grant in granted if self.of(grant.name).grants.extend(grant.first_range, grant.ranges)]
        for name in fresh:
            if name in self._feeders:
                self._feeders[name].arrival.set()
        return fresh

    def close(self) -> None:
        """Let nobody wait for rows any more."""
        self._is_closed = True
        for rows in self._feeders.values():
            rows.arrival.set()

    def states(self, now_ns: int) -> list[engine_pb2.GrantState]:
        """Return what became of the numbers of each name, with their rate since the last call but a second ago."""
        passed_ns = now_ns - self._counted_ns
        told = []
        for name, numbers in self._names.items():
            grants = numbers.grants
            gained = numbers.steady - self._steady_before.get(name, 0)
            told.append(
                engine_pb2.GrantState(
                    name=name,
                    known=grants.known,
                    left=grants.left,
                    per_second=gained * _SECOND_NS // passed_ns if passed_ns else 0,
                    waiting=grants.waiting,
                    rows=numbers.rows,
                )
            )
        if passed_ns >= _SECOND_NS // 2:
            self._counted_ns = now_ns
            self._steady_before = {name: numbers.steady for name, numbers in self._names.items()}
        return told
