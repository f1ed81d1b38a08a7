"""Know which streams there are and how each of them ended, until its worker may leave. No I/O of its own.

A worker is done when its Bye has come and the last state of each of its engines, in whatever order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.stats.stream import StreamId
from loadstone_runner.master.logbook import LogBook
from loadstone_runner.master.member import OUT_OF_MEMORY, Departure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loadstone_core.stats.stream import StreamState
    from loadstone_protocol.messages import Bye, EngineEnd
    from loadstone_runner.master.measurement import Measurement

TERMINATED = Departure("Terminated", "the worker was told to end before the load was over: pod deleted or evicted", 143)


class Farewells:
    """The streams of a run by worker and attempt, their last states, and the Byes that wait for one.

    Attributes:
        logs: what was written, and what of it has come.
        has_former: whether an earlier start of this master may have met workers that this one has never seen.
    """

    def __init__(self, measurement: Measurement, engines: int) -> None:
        """Begin with nothing heard; `engines` is how many each worker has."""
        self.logs = LogBook()
        self.has_former = False
        self._measurement = measurement
        self._engines = engines
        self._streams: dict[tuple[int, int], set[StreamId]] = {}
        self._unknown: set[tuple[int, int]] = set()  # attempts of which something may never be known
        self._met: set[tuple[int, int]] = set()
        self._parted: set[tuple[int, int]] = set()  # have said Bye
        self._wordless: set[tuple[int, int]] = set()  # were here, and are lost without having said how they ended
        self._finals: dict[StreamId, int] = {}
        self._byes: dict[tuple[int, int], Bye] = {}

    def see(self, state: StreamState) -> None:
        """Remember whose stream has reported, and whether that was its last word, merged or not."""
        self.meet(state.stream.worker, state.stream.attempt)
        self._of(state.stream.worker, state.stream.attempt).add(state.stream)
        if state.final:
            self._finals[state.stream] = state.sequence

    def end_engine(self, end: EngineEnd, *, has_begun: bool = True) -> Departure | None:
        """Take in how an engine ended; return why its worker is lost, or None after a clean end."""
        self._of(end.stream.worker, end.stream.attempt).add(end.stream)
        if end.is_clean:
            return None
        self._end(end, has_begun=has_begun)
        return departure_of(end)

    def hear_bye(self, worker: int, attempt: int, bye: Bye) -> None:
        """Take in a Bye; `take_complete` says when it holds."""
        self._parted.add((worker, attempt))
        self._byes[(worker, attempt)] = bye
        for end in bye.logs:
            self.logs.hear_end(worker, attempt, end)

    def take_complete(self, worker: int, attempt: int, *, has_begun: bool = True) -> frozenset[StreamId] | None:
        """Close all streams of a worker if its Bye and every last state have come; return them, else None."""
        bye = self._byes.get((worker, attempt))
        if bye is None or not all(map(self._has_final, bye.engines)):
            return None
        del self._byes[(worker, attempt)]
        for end in bye.engines:
            self._end(end, has_begun=has_begun)
        told = {end.stream for end in bye.engines}
        streams = self._of(worker, attempt)
        for stream in streams - told:
            self._lose(stream, has_begun=has_begun)
        streams |= told
        return frozenset(streams)

    def lose(self, worker: int, attempt: int, *, has_begun: bool) -> None:
        """Close what a lost worker has reported; what it did beyond that nobody knows, and never will."""
        attempt = max(1, attempt)
        if self.has_former or {(worker, attempt)} & (self._met | self._unknown):
            self._wordless.add((worker, attempt))
        streams = self._of(worker, attempt)
        if has_begun := has_begun or (worker, attempt) in self._unknown:
            self._unknown.add((worker, attempt))
            silent = {*range(self._engines)} - {each.engine for each in streams}
            streams |= {StreamId(worker, attempt, engine, 1) for engine in silent}
        for stream in streams:
            self._lose(stream, has_begun=has_begun)

    def doubt(self, workers: int, attempts: Mapping[int, int]) -> None:
        """Take what workers did that were there before this master for unknown, until they come to it.

        `attempts` is how often the pods were made of those that had more than one by then.
        """
        for worker in range(workers):
            self._unknown |= {(worker, attempt) for attempt in range(1, attempts.get(worker, 1) + 1)}

    def meet(self, worker: int, attempt: int) -> None:
        """Hear of a worker: what it did, it says."""
        self._met.add((worker, attempt))
        self._unknown.discard((worker, attempt))

    def lose_unknown(self) -> None:
        """Close what nobody knows: of attempts that only a master before this one can have heard as well."""
        for worker, attempt in sorted(self._unknown):
            self.lose(worker, attempt, has_begun=True)

    @property
    def lacks_logs(self) -> bool:
        """Whether a worker was lost before anything of its log came: nothing else tells that there was one."""
        return bool(self._wordless - self._parted - self.logs.attempts())

    def remember(self) -> list[tuple[int, int]]:
        """Return who was lost without a word, for `recall`, as JSON has it."""
        return sorted(self._wordless - self._parted)

    def recall(self, held: Iterable[Sequence[int]]) -> None:
        """Go on where another was."""
        self._wordless |= {(worker, attempt) for worker, attempt in held}

    def _lose(self, stream: StreamId, *, has_begun: bool) -> None:
        if has_begun:
            self._measurement.lose(stream)
        else:
            self._measurement.end_early(stream)

    def _end(self, end: EngineEnd, *, has_begun: bool) -> None:
        if has_begun:
            self._measurement.end(end)
        else:
            self._measurement.end_early(end.stream)

    def _of(self, worker: int, attempt: int) -> set[StreamId]:
        return self._streams.setdefault((worker, attempt), set())

    def _has_final(self, end: EngineEnd) -> bool:
        """Say whether the last state of an engine that ended has arrived, as far as there is one."""
        return not end.is_clean or self._finals.get(end.stream, 0) >= end.final_sequence


def departure_of(end: EngineEnd) -> Departure:
    """Return why a worker is lost whose engine ended without a last report of its own."""
    how = f"signal {end.signal}" if end.signal else f"exit code {end.exit_code}"
    last = end.tail.strip().rsplit("\n", 1)[-1][:300]
    message = f"engine {end.stream.engine} of worker {end.stream.worker} died with {how}" + (
        f": {last}" if last else ""
    )
    exit_code = 128 + end.signal if end.signal else end.exit_code
    return Departure(OUT_OF_MEMORY if end.is_out_of_memory else "EngineDied", message, exit_code)
