"""Keep what the run did second by second: exact rows of 1 s, then 10 s, then 60 s, in bounded memory.

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
    from collections.abc import Mapping

FINE_SECONDS: Final = 600
MIDDLE_SECONDS: Final = 6 * 3_600
MIDDLE_WIDTH: Final = 10
COARSE_WIDTH: Final = 60

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
        width: 1, 10 or 60.
        requests: completed.
        failures: of these.
        users: the most at the end of any of its seconds.
        p50: nanoseconds, of all requests of the row together; 0 without requests.
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


class Timeline:
    """Turn seconds into rows: the last 10 minutes by the second, 6 hours by ten seconds, the rest by the minute.

    All three widths are made as the seconds come, each with percentiles of its own samples: folding loses nothing.
    Rows join without a hole; a second that never came is a row with a gap and nothing in it.

    Attributes:
        peak_requests: the most requests of any second without a gap.
        stalled_seconds: the most seconds in a row in which no request was done and at least one was under way.
    """

    __slots__ = ("_coarse", "_fine", "_middle", "_next", "_silent", "peak_requests", "stalled_seconds")

    def __init__(self) -> None:
        self._fine = _Tier(1)
        self._middle = _Tier(MIDDLE_WIDTH)
        self._coarse = _Tier(COARSE_WIDTH)
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
        return self._fine.rows[-1]

    def rows(self) -> tuple[Row, ...]:
        """Return the whole run, oldest first: minutes, then tens of seconds, then seconds."""
        rows = tuple(self._fine.rows)
        for tier in (self._middle, self._coarse):
            rows = (*(row for row in tier.rows if row.second < rows[0].second), *rows)
        return rows

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        tiers = [tier.remember() for tier in (self._fine, self._middle, self._coarse)]
        numbers = {"next": self._next, "silent": self._silent}
        return numbers | {"tiers": tiers, "peak": self.peak_requests, "stalled": self.stalled_seconds}

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another timeline was."""
        self._next, self._silent = held["next"], held["silent"]
        self.peak_requests, self.stalled_seconds = held["peak"], held["stalled"]
        for tier, rows in zip((self._fine, self._middle, self._coarse), held["tiers"], strict=True):
            tier.recall(rows)

    def since(self, width: int, second: int, *, is_over: bool = False) -> tuple[Row, ...]:
        """Return the rows of a width (1, 10 or 60) that begin in a second or later and are still kept, oldest first.

        Once the run is over, seconds that do not fill a row of the width are one that is narrower.
        """
        tier = {1: self._fine, MIDDLE_WIDTH: self._middle, COARSE_WIDTH: self._coarse}[width]
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
        for tier in (self._fine, self._middle, self._coarse):
            tier.add(second)
        self._fine.drop(FINE_SECONDS, to=MIDDLE_WIDTH)
        self._middle.drop(MIDDLE_SECONDS, to=COARSE_WIDTH)


class _Tier:
    """The rows of one width."""

    __slots__ = ("_open", "_width", "rows")

    def __init__(self, width: int) -> None:
        self._width = width
        self._open: list[Second] = []
        self.rows: deque[Row] = deque()

    def add(self, second: Second) -> None:
        """Take one second; every `width` of them make a row."""
        self._open.append(second)
        if len(self._open) == self._width:
            self.rows.append(_row(self._open))
            self._open = []

    def remember(self) -> dict[str, Any]:
        rows = [[getattr(row, name) for name in _ROW] for row in self.rows]
        return {"rows": rows, "open": list(map(_plain, self._open))}

    def recall(self, held: Mapping[str, Any]) -> None:
        self.rows = deque(Row(*row) for row in held["rows"])
        self._open = [Second(**second | {"latency": Histogram.unpack(**second["latency"])}) for second in held["open"]]

    def rest(self) -> tuple[Row, ...]:
        """Return the row of the seconds that do not make a whole one, if there are any."""
        return (_row(self._open),) if self._open else ()

    def drop(self, seconds: int, *, to: int) -> None:
        """Forget rows beyond the newest `seconds`, by as many at once as make one row of the next width."""
        if len(self.rows) * self._width >= seconds + to:
            for _ in range(to // self._width):
                self.rows.popleft()


_ROW = tuple(field.name for field in fields(Row))
_SECOND = tuple(field.name for field in fields(Second))


def _plain(second: Second) -> dict[str, Any]:
    latency = second.latency
    bounds = {name: getattr(latency, name) for name in ("total", "minimum", "maximum", "zeros")}
    return {name: getattr(second, name) for name in _SECOND} | {
        "latency": {"indexes": list(latency.buckets), "counts": list(latency.buckets.values()), **bounds}
    }


def _row(seconds: list[Second]) -> Row:
    """Return the row of consecutive seconds."""
    latency = Histogram()
    for second in seconds:
        latency.merge(second.latency)
    p50, p95, p99 = (latency.quantile(quantile) if latency.count else 0 for quantile in QUANTILES)
    return Row(
        second=seconds[0].second,
        width=len(seconds),
        requests=sum(second.requests for second in seconds),
        failures=sum(second.failures for second in seconds),
        users=max(second.users for second in seconds),
        p50=p50,
        p95=p95,
        p99=p99,
        iterations=sum(second.iterations for second in seconds),
        dropped=sum(second.dropped for second in seconds),
        gaps=sum(second.gap for second in seconds),
    )
