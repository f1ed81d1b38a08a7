"""Describe what one engine process reports: who it is, its cumulative state, and the counters that survive its death.

Values only: recording them is `recorder`, adding them up is `merge`, their form on the wire is the protocol package's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadstone_core.errors import WorldError
from loadstone_core.stats.histogram import LARGEST_INDEX
from loadstone_core.stats.metrics import OVERFLOW_NAME, Kind, SeriesKey, storable

if TYPE_CHECKING:
    from collections.abc import Iterable

COUNTER_MAGIC: Final = 0x4C53_0001
COUNTER_LAYOUT: Final = (
    "magic",
    "started",
    "completed",
    "unsent",
    "ambiguous",
    "iterations_started",
    "iterations_completed",
    "reported",
    "measured",
)
"""The unsigned 64-bit little-endian slots of an engine's mmap file; the low half of the magic is the version."""

_COUNTERS = struct.Struct(f"<{len(COUNTER_LAYOUT)}Q")
COUNTER_BYTES: Final = _COUNTERS.size

ERRORS_CAP: Final = 200
MESSAGE_CAP: Final = 300


@dataclass(frozen=True, order=True, slots=True)
class StreamId:
    """Name one start of one engine: the unit of statistics.

    Attributes:
        worker: index of the worker in the run.
        attempt: how often the operator has made this worker's pod.
        engine: index of the engine in the worker.
        start: how often the launcher has started this engine, from 1.
    """

    worker: int
    attempt: int
    engine: int
    start: int


@dataclass(frozen=True, slots=True)
class Counters:
    """What an engine has done since its start; counts of requests unless named otherwise.

    Attributes:
        started: counted before the first byte is sent.
        completed: their answer is whole, or they have failed.
        unsent: completed without having reached the target.
        ambiguous: completed, and the target may or may not have counted them.
        iterations_started: iterations begun.
        iterations_completed: iterations ended, however they ended.
        reported: completed requests that the newest report held.
        measured: completed ones that a script measured by hand: no client of ours sent them.
    """

    started: int = 0
    completed: int = 0
    unsent: int = 0
    ambiguous: int = 0
    iterations_started: int = 0
    iterations_completed: int = 0
    reported: int = 0
    measured: int = 0


def pack_counters(counters: Counters) -> bytes:
    """Return the content of an engine's counters file."""
    return _COUNTERS.pack(COUNTER_MAGIC, *(getattr(counters, name) for name in COUNTER_LAYOUT[1:]))


def read_counters(content: bytes) -> Counters:
    """Return the counters in the content of an engine's counters file; what follows them is ignored.

    Raises:
        WorldError: the content is too short, or another program's or version's.
    """
    if len(content) < COUNTER_BYTES:
        raise WorldError(
            f"an engine's counters file has {len(content)} bytes instead of {COUNTER_BYTES}; was the disk full?"
        )
    magic, *counts = _COUNTERS.unpack_from(content)
    if magic != COUNTER_MAGIC:
        raise WorldError(
            f"an engine's counters file starts with {magic:#x} instead of {COUNTER_MAGIC:#x}; it is not ours"
        )
    return Counters(*counts)


@dataclass(frozen=True, slots=True)
class SeriesState:
    """Hold everything that one series has recorded since its stream began. Immutable and cumulative.

    `count`, `total` and `outcomes` mean what they mean in `Series`; the rest is a TREND's histogram.

    Attributes:
        outcomes: name and count, sorted by name, without zeros.
        indexes: of the buckets, ascending.
        counts: of the buckets, as many.
    """

    key: SeriesKey
    kind: Kind
    count: int
    total: int
    minimum: int = 0
    maximum: int = 0
    zeros: int = 0
    indexes: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    outcomes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Count one error of requests or iterations.

    Attributes:
        kind: its class, such as `ConnectionRefused` or `HTTP 503`.
        message: its text, cut to `MESSAGE_CAP` characters.
        name: of the request or task in which it came.
        count: how often.
    """

    kind: str
    message: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class StreamState:
    """Report what a stream has done since it began. The newest sequence wins; losing or repeating one harms nothing.

    Attributes:
        stream: whose state it is.
        sequence: 1 for the first, then ever greater.
        second: the second of the master's clock that it closes, 0 for the first of the run; -1 before the run.
        full: whether `series` holds every series, or only those that changed since an acknowledged sequence.
        series: each whole, never a difference.
        counters: taken at the same moment as the series.
        errors: all of them, cumulative.
        users: alive at that moment.
        final: no later state will come.
    """

    stream: StreamId
    sequence: int
    second: int
    full: bool
    series: tuple[SeriesState, ...] = ()
    counters: Counters = Counters()
    errors: tuple[ErrorCount, ...] = ()
    users: int = 0
    final: bool = False


def unsound(state: StreamState) -> str:
    """Return what is wrong with a state that came from outside, one sentence, or nothing when it may be merged."""
    if state.sequence < 1 or state.second < -1 or state.users < 0:
        return f"sequence {state.sequence}, second {state.second} or users {state.users} is below its least value"
    if len({series.key for series in state.series}) < len(state.series):
        return "a series comes twice"
    return next((f"series {series.key.metric}: {fault}" for series in state.series if (fault := _fault(series))), "")


def _fault(series: SeriesState) -> str:
    """Return what is wrong with one series, or nothing."""
    if series.count < 0 or any(count < 0 for _, count in series.outcomes):
        return "a count is negative"
    if series.kind is not Kind.TREND:
        return "only a trend has buckets" if series.indexes or series.counts or series.zeros else ""
    if len(series.indexes) != len(series.counts):
        return f"{len(series.indexes)} bucket indexes for {len(series.counts)} counts"
    if series.zeros < 0 or any(count < 1 for count in series.counts):
        return "a bucket's count is below 1"
    if series.zeros + sum(series.counts) != series.count:
        return f"the buckets hold {series.zeros + sum(series.counts)} samples, the count says {series.count}"
    if any(
        left >= right for left, right in zip((-1, *series.indexes), (*series.indexes, LARGEST_INDEX + 1), strict=True)
    ):
        return f"bucket indexes do not ascend from 0 to {LARGEST_INDEX}"
    return ""


class ErrorTable:
    """Count errors by kind, message and name; beyond the cap they are counted together under `__overflow__`."""

    __slots__ = ("_cap", "_counts")

    def __init__(self, cap: int = ERRORS_CAP) -> None:
        self._cap = cap
        self._counts: dict[tuple[str, str, str], int] = {}

    def add(self, kind: str, message: str, *, name: str, count: int = 1) -> None:
        """Count an error; of its message only the first `MESSAGE_CAP` characters are kept."""
        key = (storable(kind), storable(message[:MESSAGE_CAP]), storable(name))
        if key not in self._counts and len(self._counts) >= self._cap:
            key = (OVERFLOW_NAME, "", "")
        self._counts[key] = self._counts.get(key, 0) + count

    def extend(self, errors: Iterable[ErrorCount]) -> None:
        """Count everything that another table held."""
        for error in errors:
            self.add(error.kind, error.message, name=error.name, count=error.count)

    def counts(self) -> tuple[ErrorCount, ...]:
        """Return all errors, the most frequent first, then by name and text."""
        held = ((key, count) for key, count in self._counts.items() if count)
        ranked = sorted(held, key=lambda item: (-item[1], item[0]))
        return tuple(ErrorCount(kind, message, name, count) for (kind, message, name), count in ranked)
