"""Put what was recorded into states of the stream: each second what changed and is not acknowledged, or everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.stats.stream import StreamState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadstone_core.stats.metrics import SeriesKey
    from loadstone_core.stats.stream import SeriesState, StreamId
    from loadstone_runner.engine.instruments import Instruments


class Reports:
    """The states of one stream.

    Attributes:
        sequence: of the newest state; 0 before the first.
        is_warming_up: what is recorded now belongs to no result, and is left out.
        acknowledged: the newest sequence that the other side has received.
    """

    __slots__ = ("_instruments", "_open", "_stream", "acknowledged", "is_warming_up", "sequence")

    def __init__(self, instruments: Instruments, stream: StreamId) -> None:
        self.sequence = 0
        self.acknowledged = 0
        self.is_warming_up = False
        self._instruments = instruments
        self._stream = stream
        # Series that changed and may not be known yet, with the sequence of the state that held them last.
        self._open: dict[SeriesKey, tuple[int, SeriesState]] = {}

    def next_state(
        self, second: int, *, users: Sequence[int], is_full: bool = False, is_final: bool = False
    ) -> StreamState:
        """Return the state that closes a second of the load (-1: before it), with the users of each scenario."""
        self.sequence += 1
        instruments = self._instruments
        series: tuple[SeriesState, ...] = ()
        if not self.is_warming_up:
            for state in instruments.recorder.take(second):
                self._open[state.key] = (self.sequence, state)
            series = instruments.recorder.whole() if is_full else tuple(state for _, state in self._open.values())
        instruments.counters.note_reported()
        return StreamState(
            stream=self._stream,
            sequence=self.sequence,
            second=second,
            full=is_full,
            series=series,
            counters=instruments.counters.read(),
            errors=() if self.is_warming_up else instruments.recorder.errors(),
            users=sum(users),
            scenario_users=tuple(users),
            final=is_final,
        )

    def end_warm_up(self) -> None:
        """Forget what was recorded so far, and report what comes."""
        self.is_warming_up = False
        self._instruments.counters.end_warm_up()
        self._instruments.recorder.clear()

    def acknowledge(self, sequence: int) -> None:
        """Hear that all states up to a sequence are known; an earlier one than before says nothing new."""
        if not self.acknowledged < sequence <= self.sequence:
            return
        self.acknowledged = sequence
        self._open = {key: held for key, held in self._open.items() if held[0] > sequence}
