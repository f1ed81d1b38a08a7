"""Describe what one engine process reports: who it is, its cumulative state, and the counters that survive its death.

Values only: recording them is `recorder`, adding them up is `merge`, their form on the wire is the protocol package's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_core.errors import WorldError
from loadstone_core.stats.histogram import LARGEST_INDEX
from loadstone_core.stats.metrics import OVERFLOW_NAME, Kind, Outcome, SeriesKey, named, storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COUNTER_MAGIC: Final = 0x4C53_0002
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
"""The unsigned 64-bit little-endian slots of a block; the low half of the magic is the version."""

_BLOCK = struct.Struct(f"<{len(COUNTER_LAYOUT)}Q")
BLOCK_BYTES: Final = _BLOCK.size
BLOCKS: Final = 32
"""An engine's mmap file has a block for each scenario, by its place in the plan; one without magic was never used."""
COUNTER_BYTES: Final = 2 * BLOCKS * BLOCK_BYTES
"""Behind them are as many blocks with what each had counted when the warm-up ended, then with a magic of their own."""
WARMING_UP: Final = 1
"""Instead of the magic of such a block: the warm-up is not over, and everything counted so far belongs to it."""

LARGEST_COUNT: Final = 1 << 48
"""Of samples of one series of one stream: sums over all streams of a run stay within 64 bits."""
LARGEST_SUM: Final = 1 << 62
"""Of what the samples of one series of one stream add up to, and of their bytes; more is not counted."""
BYTES: Final = frozenset({Outcome.BYTES_SENT.value, Outcome.BYTES_RECEIVED.value})
"""The outcomes that are sums."""
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
    """What an engine has done since its start or its warm-up, in all scenarios; of requests unless named otherwise.

    Attributes:
        started: counted before the first byte is sent.
        completed: their answer is whole, or they have failed.
        unsent: completed without having reached the target.
        ambiguous: completed, and the target may or may not have counted them.
        iterations_started: iterations begun.
        iterations_completed: iterations ended, however they ended.
        reported: completed requests that the newest report held.
        measured: completed ones that a script measured by hand: no client of ours sent them.
        scenarios: iterations begun and ended of each scenario, by its place in the plan, as far as any has begun. Those
            that were begun in the warm-up and ended after it are among the latter only.
        warm_up: requests that were completed in the warm-up, and are in no other number.
    """

    started: int = 0
    completed: int = 0
    unsent: int = 0
    ambiguous: int = 0
    iterations_started: int = 0
    iterations_completed: int = 0
    reported: int = 0
    measured: int = 0
    scenarios: tuple[tuple[int, int], ...] = ()
    warm_up: int = 0


def pack_counters(*blocks: Counters) -> bytes:
    """Return the content of an engine's counters file, from what each scenario's block says."""
    packed = [_BLOCK.pack(COUNTER_MAGIC, *_row(block)) for block in blocks]
    return b"".join(packed).ljust(COUNTER_BYTES, b"\0")


def read_counters(content: bytes) -> Counters:
    """Return the counters in the content of an engine's counters file; what follows them is ignored.

    Raises:
        WorldError: the content is too short, or another program's or version's.
    """
    if len(content) < COUNTER_BYTES:
        raise WorldError(
            f"an engine's counters file has {len(content)} bytes instead of {COUNTER_BYTES}; was the disk full?"
        )
    made: list[Counters] = []
    for place in range(BLOCKS):
        magic, *counts = _BLOCK.unpack_from(content, place * _BLOCK.size)
        if not magic and made:
            break  # scenarios take their places in order
        if magic != COUNTER_MAGIC:
            raise WorldError(f"an engine's counters file has {magic:#x} instead of {COUNTER_MAGIC:#x}; it is not ours")
        warmth, *before = _BLOCK.unpack_from(content, (BLOCKS + place) * _BLOCK.size)
        made.append(_since(Counters(*counts), Counters(*before), warmth))
    return _sum(made)


def _row(block: Counters) -> list[int]:
    return [getattr(block, name) for name in COUNTER_LAYOUT[1:]]


def _since(counts: Counters, before: Counters, warmth: int) -> Counters:
    """Return what one scenario has counted since its warm-up; the requests that were open at its end belong to it."""
    if warmth == WARMING_UP:
        return Counters(warm_up=counts.completed)
    return Counters(
        started=counts.started - before.completed,
        completed=counts.completed - before.completed,
        unsent=counts.unsent - before.unsent,
        ambiguous=counts.ambiguous - before.ambiguous,
        iterations_started=counts.iterations_started - before.iterations_completed,
        iterations_completed=counts.iterations_completed - before.iterations_completed,
        reported=max(0, counts.reported - before.completed),
        measured=counts.measured - before.measured,
        scenarios=(
            (
                counts.iterations_started - before.iterations_started,
                counts.iterations_completed - before.iterations_completed,
            ),
        ),
        warm_up=before.completed,
    )


def _sum(blocks: Sequence[Counters]) -> Counters:
    """Return the sum of each scenario's own counters, and the iterations of each up to the last that has any."""
    rows = [(*_row(block), block.warm_up) for block in blocks]
    sums = [sum(column) for column in zip(*rows, strict=True)]
    iterations = [block.scenarios[0] if block.scenarios else (0, 0) for block in blocks]
    while iterations and iterations[-1] == (0, 0):
        iterations.pop()
    counted = dict(zip((*COUNTER_LAYOUT[1:], "warm_up"), sums, strict=True))
    return Counters(**counted, scenarios=tuple(iterations))


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

    @property
    def fault(self) -> str:
        """What is wrong with it, if it came from outside: one sentence, or nothing when it may be merged."""
        return fault_of(self)


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


class UsersAt(NamedTuple):
    """How many users a stream had at the end of a second, by scenario, and the sequence of the state that said so."""

    second: int
    sequence: int
    users: tuple[int, ...]


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
        scenario_users: the same users by scenario, each at its place in the plan.
        history: of a whole state: the first and the last second of each time in which there was a state a second and
            users did not change, oldest first.
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
    scenario_users: tuple[int, ...] = ()
    history: tuple[UsersAt, ...] = ()


def unsound(state: StreamState) -> str:
    """Return what is wrong with a state that came from outside, one sentence, or nothing when it may be merged."""
    if state.sequence < 1 or state.second < -1 or state.users < 0:
        return f"sequence {state.sequence}, second {state.second} or users {state.users} is below its least value"
    if any(users < 0 for users in state.scenario_users) or len(state.scenario_users) > BLOCKS:
        return f"users by scenario are {state.scenario_users[:BLOCKS]}: more scenarios than {BLOCKS}, or users below 0"
    if any(len(each.users) > BLOCKS or not 0 <= each.second <= state.second for each in state.history):
        return "its history has more scenarios than there can be, or seconds that are none of its own"
    if any(one.second >= two.second or one.sequence >= two.sequence for one, two in pairwise(state.history)):
        return "its history does not ascend"
    if len({series.key for series in state.series}) < len(state.series):
        return "a series comes twice"
    return next((f"series {series.key.metric}: {fault}" for series in state.series if (fault := series.fault)), "")


def fault_of(series: SeriesState) -> str:
    """Return what is wrong with one series, or nothing."""
    sums = [count for name, count in series.outcomes if name in BYTES]
    others = (count for name, count in series.outcomes if name not in BYTES)
    counts = (series.count, series.zeros, *series.counts, *others)
    if min(*counts, *sums) < 0 or max(counts) > LARGEST_COUNT or max(sums, default=0) > LARGEST_SUM:
        return f"a count is below 0 or above {LARGEST_COUNT}, or bytes are above {LARGEST_SUM}"
    if series.kind is not Kind.TREND:
        return "only a trend has buckets" if series.indexes or series.counts or series.zeros else ""
    if len(series.indexes) != len(series.counts):
        return f"{len(series.indexes)} bucket indexes for {len(series.counts)} counts"
    if 0 in series.counts:
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
        key = (named(kind), storable(message[:MESSAGE_CAP]), named(name))
        if key not in self._counts and len(self._counts) >= self._cap:
            key = (OVERFLOW_NAME, "", "")
        self._counts[key] = self._counts.get(key, 0) + count

    def clear(self) -> None:
        """Forget everything."""
        self._counts.clear()

    def extend(self, errors: Iterable[ErrorCount]) -> None:
        """Count everything that another table held."""
        for error in errors:
            self.add(error.kind, error.message, name=error.name, count=error.count)

    def counts(self) -> tuple[ErrorCount, ...]:
        """Return all errors, the most frequent first, then by name and text."""
        held = ((key, count) for key, count in self._counts.items() if count)
        ranked = sorted(held, key=lambda item: (-item[1], item[0]))
        return tuple(ErrorCount(kind, message, name, count) for (kind, message, name), count in ranked)
