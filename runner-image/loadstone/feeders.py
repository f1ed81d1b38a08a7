"""Feed users with rows of a file. Which rows of a unique feeder an engine may use belongs to the engine.

    accounts = csv_feeder("accounts.csv", order="unique")

    class Customer(User):
        def on_start(self):
            self.account = accounts.next()   # {"name": "ada", "password": "..."}

All users of an engine share the file; of a large one only an index of at most 8 MiB is in memory.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from random import randrange
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar
from weakref import WeakSet

from loadstone import seat
from loadstone.flow import StopUser
from loadstone.records import Records
from loadstone_core.stats.metrics import FEEDER_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Order = Literal["sequential", "random", "unique"]

_ORDERS: Final = ("sequential", "random", "unique")
_TRIED: Final = 1_000
# What the master grants by name: "feeder/" before it, and beside the scenarios of a test.
_NAME_MAX: Final = 249
_UNIQUE_MAX: Final = 96
_T = TypeVar("_T")
_unique: WeakSet[Feeder[Any]] = WeakSet()


class Feeder(Generic[_T]):
    """Rows of a file, one at a time: `feeder.next()`, or `next(feeder)`. Each call gives a new object.

    | order | which row | when all are used |
    |---|---|---|
    | sequential | the next one of this engine | begins again, unless `loop=False` |
    | random | any | there is no end |
    | unique | one that no other user of the whole run gets | the user ends, unless `loop=True` |

    When rows are used up the user that asks is ended as by `raise StopUser`, and that is counted as an error of the
    kind `feeder`. With `loop=True` a unique feeder gives no row a second time before each was given once.

    Attributes:
        name: of the feeder in the whole run.
        count: rows that there are.
    """

    def __init__(
        self, records: Records, parse: Callable[[bytes, int], _T], *, name: str, order: Order, loop: bool | None
    ) -> None:
        if order not in _ORDERS:
            raise ValueError(f"{name}: order must be one of {', '.join(_ORDERS)}, not {order!r}")
        if order == "random" and loop is False:
            raise ValueError(f"{name}: a random order has no end, so loop=False means nothing")
        self.name = name
        if order == "unique":
            _register(self)
        self.count = records.count
        self._records = records
        self._parse = parse
        self._order = order
        self._loops = order != "unique" if loop is None else loop
        self._given = 0
        self._is_used_up = False
        for number in range(min(self.count, _TRIED)):
            self.row(number)

    def next(self) -> _T:
        """Return the next row.

        Raises:
            StopUser: all rows are used; let it through.
            ValueError: the row cannot be read.
        """
        number = randrange(self.count) if self._order == "random" else self._next_number()  # noqa: S311 no secret
        return self.row(number)

    def row(self, number: int) -> _T:
        """Return a row by its number, from 0.

        Raises:
            ValueError: the row cannot be read.
        """
        return self._parse(self._records.read(number), number)

    def close(self) -> None:
        """Let the file go; rows can be read no more."""
        self._records.close()
        _unique.discard(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T:
        return self.next()

    def __len__(self) -> int:
        return self.count

    def _next_number(self) -> int:
        number = self.count if self._is_used_up else self._take()
        if number is None:
            raise StopUser(f"{self.name}: rows that nobody else gets are given to users only, while the load lasts")
        if self._is_used_up or (number >= self.count and not self._loops):
            self._is_used_up = True
            sentence = f"all {self.count} rows are used up"
            if seat.taken is not None:
                seat.taken.count_error(FEEDER_ERROR, sentence, self.name)
            raise StopUser(f"{self.name}: {sentence}")
        return number % self.count

    def _take(self) -> int | None:
        if self._order == "unique" and seat.taken is not None:
            return seat.taken.next_row(self.name, 0 if self._loops else self.count)
        number, self._given = self._given, self._given + 1
        return number


def csv_feeder(
    path: str,
    *,
    order: Order = "sequential",
    loop: bool | None = None,
    fields: Sequence[str] | None = None,
    delimiter: str = ",",
    name: str | None = None,
) -> Feeder[dict[str, str]]:
    """Return a feeder of a CSV file (UTF-8, quotes as RFC 4180 has them): a dict for each row.

    Args:
        path: relative to the file that calls this, or absolute.
        order: see `Feeder`.
        loop: begin again when all rows are used; default: unless the order is unique.
        fields: names of the columns; default: the first row has them.
        delimiter: between two columns.
        name: of the feeder in the whole run; default: the path. Two of one name share their unique rows.

    Raises:
        ValueError: the file has no rows, one of the first 1,000 cannot be read, or an argument makes no sense.
        OSError: the file cannot be read.
    """
    records = Records(_found(path), quoted=True, skipped=0 if fields else 1)
    with _kept(records):
        names = list(fields) if fields else _columns(records.first(), delimiter, where=f"{path}, the first line")
        if len(set(names)) < len(names):
            raise ValueError(f"{path}: the columns {names} have a name twice")

        def parse(record: bytes, number: int) -> dict[str, str]:
            values = _columns(record, delimiter, where=f"{path} row {number + 1}")
            if len(values) != len(names):
                raise ValueError(f"{path} row {number + 1} has {len(values)} columns instead of {len(names)}")
            return dict(zip(names, values, strict=True))

        return Feeder(records, parse, name=name or path, order=order, loop=loop)


def jsonl_feeder(
    path: str, *, order: Order = "sequential", loop: bool | None = None, name: str | None = None
) -> Feeder[Any]:
    """Return a feeder of a file with a JSON value on each line; arguments and errors as those of `csv_feeder`."""
    records = Records(_found(path), quoted=False)

    def parse(record: bytes, number: int) -> Any:
        try:
            return json.loads(record.decode("utf-8-sig"))
        except ValueError as error:
            raise ValueError(f"{path} row {number + 1} is no JSON: {error}") from error

    with _kept(records):
        return Feeder(records, parse, name=name or path, order=order, loop=loop)


def _register(feeder: Feeder[Any]) -> None:
    """Remember a unique feeder while it lives; refuse one whose rows could not be granted."""
    name = feeder.name
    if len(name) > _NAME_MAX:
        raise ValueError(f"{name[:40]}...: a unique feeder's name has at most {_NAME_MAX} characters; give it a name=")
    names = {each.name for each in _unique}
    if name not in names and len(names) >= _UNIQUE_MAX:
        raise ValueError(f"{name}: a script has at most {_UNIQUE_MAX} unique feeders; let some share a file or a name")
    _unique.add(feeder)


@contextmanager
def _kept(records: Records) -> Iterator[None]:
    """Let the file go again if nothing comes of it."""
    try:
        yield
    except BaseException:
        records.close()
        raise


def _found(path: str) -> Path:
    """Return the file: beside the script's file that asks for it."""
    caller = sys._getframe(2).f_globals.get("__file__") or "."  # noqa: SLF001 the only way to know who asks
    # Not resolved: a mounted file is a link into a folder that has another name after each change.
    return Path(caller).absolute().parent / path


def _columns(record: bytes, delimiter: str, *, where: str) -> list[str]:
    import csv

    try:
        text = record.decode("utf-8-sig").strip("\r\n")
        return next(csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: {error}") from error
