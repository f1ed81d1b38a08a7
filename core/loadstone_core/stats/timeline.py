"""Keep what the run did second by second: rows of 1 s, of 10 s, of 1 min, of 10 min and wider, in bounded memory.

Which second a sample belongs to is decided in `merge`; windows for thresholds live in `loadstone_core.verdict`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from fractions import Fraction
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.stats.histogram import Histogram
from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FINE_SECONDS: Final = 600
MIDDLE_SECONDS: Final = 6 * 3_600
COARSE_SECONDS: Final = 24 * 3_600
LONG_SECONDS: Final = 7 * 24 * 3_600
MIDDLE_WIDTH: Final = 10
COARSE_WIDTH: Final = 60
LONG_WIDTH: Final = 600
# Even, so that they join two by two.
PAST_ROWS_MOST: Final = 500

QUANTILES = (Fraction(50, 100), Fraction(95, 100), Fraction(99, 100))


@dataclass(frozen=True, slots=True)
class Second:
    """What happened in one second of the run: the difference of two cumulative states of every stream.

    Attributes:
        second: of the master's clock, 0 for the first of the run.
        requests: completed.
        failures: of these.
        iterations: completed.
        dropped: iterations that could not be started in time.
        users: alive at its end.
        latency: of its requests, in nanoseconds.
        gap: some stream did not report at its end, so part of it may be missing here or stand in a later second.
    """

    second: int
    requests: int = 0
    failures: int = 0
    iterations: int = 0
    dropped: int = 0
    users: int = 0
    latency: Histogram = field(default_factory=Histogram)
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What happened in `width` seconds from `second` on.

    Attributes:
        second: the first one.
        width: 1, 10, 60, 600, or that doubled as often as the length of the run asks for.
        requests: completed.
        failures: of these.
        users: the most at the end of any of its seconds.
        p50: nanoseconds, of all requests of the row together, if it is not joined; 0 without requests.
        p95: likewise.
        p99: likewise.
        iterations: completed.
        dropped: iterations that could not be started in time.
        gaps: how many of its seconds have a gap.
    """

    second: int
    width: int
    requests: int
    failures: int
    users: int
    p50: int
    p95: int
    p99: int
    iterations: int
    dropped: int
    gaps: int


def join(rows: Sequence[Row]) -> Row:
    """Return one row of consecutive ones: counts are added; percentiles have no exact sum, so the largest is kept."""
    return Row(
        second=rows[0].second,
        width=sum(row.width for row in rows),
        requests=sum(row.requests for row in rows),
        failures=sum(row.failures for row in rows),
        users=max(row.users for row in rows),
        p50=max(row.p50 for row in rows),
        p95=max(row.p95 for row in rows),
        p99=max(row.p99 for row in rows),
        iterations=sum(row.iterations for row in rows),
        dropped=sum(row.dropped for row in rows),
        gaps=sum(row.gaps for row in rows),
    )


def join_pairs(rows: Sequence[Row]) -> list[Row]:
    """Return half as many rows, the last one alone if their number is odd."""
    return [join(rows[at : at + 2]) for at in range(0, len(rows), 2)]


class Timeline:
    """Turn seconds into rows: the last 10 min by the second, 6 h by 10 s, a day by the minute, 7 days by 10 min.

    All four widths are made as the seconds come, each with percentiles of its own samples: folding loses nothing. What
    is older is joined, wider and wider. Rows follow without a hole; a second that never came is a row with a gap and
    nothing in it.

    Attributes:
        peak_requests: the most requests of any second without a gap.
        stalled_seconds: the most seconds in a row in which no request was done and at least one was under way.
    """

    __slots__ = ("_next", "_past", "_silent", "_tiers", "peak_requests", "stalled_seconds")

    def __init__(self) -> None:
        self._tiers = {width: _Tier(width) for width in (1, MIDDLE_WIDTH, COARSE_WIDTH, LONG_WIDTH)}
        self._past = _Past()
        self._next: int | None = None
        self._silent = 0
        self.peak_requests = 0
        self.stalled_seconds = 0

    def observe(self, second: Second) -> Row:
        """Add the next second and return its row; those left out before it become gaps.

        Raises:
            ValueError: the second, or a later one, was observed before.
        """
        # The first row starts on a full minute, so that rows of all widths begin and end together.
        due = second.second - second.second % COARSE_WIDTH if self._next is None else self._next
        if second.second < due:
            raise ValueError(f"second {second.second} was observed before; the next one is {due}")
        for missing in range(due, second.second):
            self._add(Second(missing, gap=True))
        if not second.gap:
            self.peak_requests = max(self.peak_requests, second.requests)
        self._listen(second)
        self._add(second)
        self._next = second.second + 1
        return self._tiers[1].rows[-1]

    def rows(self) -> tuple[Row, ...]:
        """Return the whole run, oldest and widest first."""
        rows: tuple[Row, ...] = ()
        for tier in self._tiers.values():
            rows = (*(row for row in tier.rows if not rows or row.second < rows[0].second), *rows)
        return (*self._past.rows, *rows)

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        tiers = [tier.remember() for tier in self._tiers.values()]
        numbers = {"next": self._next, "silent": self._silent, "past": self._past.remember()}
        return numbers | {"tiers": tiers, "peak": self.peak_requests, "stalled": self.stalled_seconds}

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another timeline was."""
        self._next, self._silent = held["next"], held["silent"]
        self.peak_requests, self.stalled_seconds = held["peak"], held["stalled"]
        for tier, rows in zip(self._tiers.values(), held["tiers"], strict=True):
            tier.recall(rows)
        self._past.recall(held["past"])

    def since(self, width: int, second: int, *, is_over: bool = False) -> tuple[Row, ...]:
        """Return the rows of a tier's width that begin in a second or later and are still kept, oldest first.

        Once the run is over, seconds that do not fill a row of the width are one that is narrower.
        """
        tier = self._tiers[width]
        newest = takewhile(lambda row: row.second >= second, reversed(tier.rows))
        rest = tier.rest() if is_over else ()
        return (*reversed(tuple(newest)), *(row for row in rest if row.second >= second))

    def _listen(self, second: Second) -> None:
        """Tell a stall from users that had nothing to ask for: it is over with a request that took as long."""
        if not second.requests:
            self._silent = 0 if second.gap else self._silent + 1
            return
        if self._silent and second.latency.maximum >= self._silent * SECOND:
            self.stalled_seconds = max(self.stalled_seconds, self._silent)
        self._silent = 0

    def _add(self, second: Second) -> None:
        for tier in self._tiers.values():
            tier.add(second)
        self._tiers[1].drop(FINE_SECONDS, to=MIDDLE_WIDTH)
        self._tiers[MIDDLE_WIDTH].drop(MIDDLE_SECONDS, to=COARSE_WIDTH)
        self._tiers[COARSE_WIDTH].drop(COARSE_SECONDS, to=LONG_WIDTH)
        for row in self._tiers[LONG_WIDTH].drop(LONG_SECONDS, to=LONG_WIDTH):
            self._past.add(row)


class _Tier:
    """The rows of one width."""

    __slots__ = ("_open", "_width", "rows")

    def __init__(self, width: int) -> None:
        self._width = width
        self._open: _Sum | None = None
        self.rows: deque[Row] = deque()

    def add(self, second: Second) -> None:
        """Take one second; every `width` of them make a row."""
        self._open = self._open or _Sum(second.second)
        self._open.add(second)
        if self._open.width == self._width:
            self.rows.append(self._open.row())
            self._open = None

    def remember(self) -> dict[str, Any]:
        return {"rows": _listed(self.rows), "open": self._open.remember() if self._open else None}

    def recall(self, held: Mapping[str, Any]) -> None:
        self.rows = deque(Row(*row) for row in held["rows"])
        self._open = _Sum.recalled(held["open"]) if held["open"] else None

    def rest(self) -> tuple[Row, ...]:
        """Return the row of the seconds that do not make a whole one, if there are any."""
        return (self._open.row(),) if self._open else ()

    def drop(self, seconds: int, *, to: int) -> list[Row]:
        """Give away rows beyond the newest `seconds`, as many at once as make one row of the next width."""
        if len(self.rows) * self._width < seconds + to:
            return []
        return [self.rows.popleft() for _ in range(to // self._width)]


class _Past:
    """The rows before those of all tiers: some hundreds, however long the run is."""

    __slots__ = ("_width", "rows")

    def __init__(self) -> None:
        self._width = LONG_WIDTH
        self.rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Take the row that follows; the newest one of all may be narrower than the others."""
        if self.rows and self.rows[-1].width < self._width:
            self.rows[-1] = join((self.rows[-1], row))
            return
        if len(self.rows) == PAST_ROWS_MOST:
            self.rows = join_pairs(self.rows)
            self._width *= 2
        self.rows.append(row)

    def remember(self) -> dict[str, Any]:
        return {"width": self._width, "rows": _listed(self.rows)}

    def recall(self, held: Mapping[str, Any]) -> None:
        self._width = held["width"]
        self.rows = [Row(*row) for row in held["rows"]]


@dataclass(slots=True)
class _Sum:
    """Consecutive seconds together, from the first one on."""

    second: int
    width: int = 0
    requests: int = 0
    failures: int = 0
    users: int = 0
    iterations: int = 0
    dropped: int = 0
    gaps: int = 0
    latency: Histogram = field(default_factory=Histogram)

    def add(self, second: Second) -> None:
        self.width += 1
        self.requests += second.requests
        self.failures += second.failures
        self.users = max(self.users, second.users)
        self.iterations += second.iterations
        self.dropped += second.dropped
        self.gaps += second.gap
        self.latency.merge(second.latency)

    def row(self) -> Row:
        has_any = self.latency.count
        p50, p95, p99 = (self.latency.quantile(quantile) if has_any else 0 for quantile in QUANTILES)
        return Row(
            second=self.second,
            width=self.width,
            requests=self.requests,
            failures=self.failures,
            users=self.users,
            p50=p50,
            p95=p95,
            p99=p99,
            iterations=self.iterations,
            dropped=self.dropped,
            gaps=self.gaps,
        )

    def remember(self) -> dict[str, Any]:
        latency = self.latency
        bounds = {name: getattr(latency, name) for name in ("total", "minimum", "maximum", "zeros")}
        packed = {"indexes": list(latency.buckets), "counts": list(latency.buckets.values()), **bounds}
        return {name: getattr(self, name) for name in _SUM} | {"latency": packed}

    @classmethod
    def recalled(cls, held: Mapping[str, Any]) -> _Sum:
        return cls(**{**held, "latency": Histogram.unpack(**held["latency"])})


_ROW = tuple(field.name for field in fields(Row))
_SUM = tuple(field.name for field in fields(_Sum))


def _listed(rows: Iterable[Row]) -> list[list[int]]:
    return [[getattr(row, name) for name in _ROW] for row in rows]
