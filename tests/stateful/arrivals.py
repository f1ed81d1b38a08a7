"""The arrival rate of one scripted engine: its lots of the iterations, each begun when it is due.

It does what `loadstone_runner.engine.arrivals` does, without gevent: what came due while an engine stood still is begun
late, and what was due more than a second before it had come is dropped. What an iteration is belongs to `engine`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from tests.stateful.clockwork import SECOND

from loadstone_core.load.profile import FOREVER_NS, dues, next_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.stateful.clockwork import Process

    from loadstone_core.load.lots import Lot
    from loadstone_core.load.profile import Profile
    from loadstone_core.load.scenario import Scenario

LATE_NS = SECOND


class Arrival(NamedTuple):
    """One iteration of a rate: which load it is of, by the moment of the run at which that began, and its number."""

    begin_ns: int
    number: int


@dataclass(eq=False)
class Strand:
    """What one lot of a load has begun, until a moment of the machine's clock."""

    until_ns: int
    driver: asyncio.Task[None] | None = None


class Arrivals:
    """The load by rate of one engine. `begin(arrival, seconds)` begins an iteration that was due so long ago."""

    def __init__(
        self, process: Process, *, begin: Callable[[Arrival, float], None], drop: Callable[[int], None]
    ) -> None:
        self._process = process
        self._machine = process.machine
        self._begin = begin
        self._drop = drop
        self._strands: dict[Lot, Strand] = {}
        self._given_up: list[Strand] = []
        self._scenario: Scenario | None = None
        self._begin_ns = 0
        self._until_ns = FOREVER_NS  # when another load begins

    def end_at(self, until_ns: int) -> None:
        """Hear that another load begins at a moment."""
        self._until_ns = until_ns
        for strand in self._strands.values():
            strand.until_ns = until_ns

    def follow(self, scenario: Scenario, begin_ns: int, lots: Mapping[Lot, int]) -> None:
        """Follow another load, which begins now or began before."""
        self.stop()
        self._scenario, self._begin_ns, self._until_ns = scenario, begin_ns, FOREVER_NS
        for lot, from_ns in lots.items():
            self._drive(lot, from_ns)

    def hold(self, lots: Mapping[Lot, int]) -> None:
        """Have the iterations of these lots, each from a moment on, and no others."""
        if self._scenario is None:
            return
        lots = dict(lots)
        for lot in self._strands.keys() - lots.keys():
            strand = self._strands.pop(lot)
            strand.until_ns = min(strand.until_ns, self._machine.monotonic_ns())
            self._given_up.append(strand)
            for piece in lots.keys() - self._strands.keys():
                if lot.has(piece):
                    lots[piece] = max(lots[piece], strand.until_ns)
        for lot in sorted(lots.keys() - self._strands.keys()):
            self._drive(lot, lots[lot])

    def stop(self) -> None:
        """Begin nothing more."""
        for strand in (*self._strands.values(), *self._given_up):
            if strand.driver is not None:
                strand.driver.cancel()
        self._strands.clear()
        self._given_up.clear()

    def _drive(self, lot: Lot, from_ns: int) -> None:
        assert self._scenario is not None
        strand = self._strands[lot] = Strand(self._until_ns)
        strand.driver = self._process.spawn(self._hand_out(strand, lot, from_ns, self._scenario, self._begin_ns))

    async def _hand_out(self, strand: Strand, lot: Lot, from_ns: int, scenario: Scenario, begin_ns: int) -> None:
        profile, start_ns = scenario.load.profile, scenario.start_ns or 0
        first = self._first(profile, lot, max(begin_ns, from_ns) - begin_ns, begin_ns)
        for number, after_ns in zip(count(first, lot.parts), dues(profile, first, lot.parts), strict=False):
            while (left := self._machine.seconds_until(begin_ns + after_ns)) > 0:  # noqa: ASYNC110 a clock sets no event
                await asyncio.sleep(left + 1e-6)
            if begin_ns + after_ns >= strand.until_ns:
                return
            self._begin(Arrival(start_ns, number), -left)

    def _first(self, profile: Profile, lot: Lot, from_ns: int, begin_ns: int) -> int:
        """Return where to begin; what was due long before is dropped."""
        now_ns = self._machine.monotonic_ns() - begin_ns
        first = next_number(profile, from_ns, *lot) if from_ns else lot.first
        if now_ns - from_ns <= LATE_NS:
            return first
        later = next_number(profile, now_ns, *lot)
        if later > first:
            self._drop((later - first) // lot.parts)
        return later
