"""Put what was recorded into states of the stream: each second what changed and is not acknowledged, or everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.stats.stream import StreamState
from loadstone_runner.engine.counters import COMPLETED, REPORTED

if TYPE_CHECKING:
    from loadstone_core.stats.metrics import SeriesKey
    from loadstone_core.stats.stream import SeriesState, StreamId
    from loadstone_runner.engine.instruments import Instruments


class Reports:
    """The states of one stream.

    Attributes:
        sequence: of the newest state; 0 before the first.
        acknowledged: the newest sequence that the other side has received.
    """

    __slots__ = ("_instruments", "_open", "_stream", "acknowledged", "sequence")

    def __init__(self, instruments: Instruments, stream: StreamId) -> None:
        self.sequence = 0
        self.acknowledged = 0
        self._instruments = instruments
        self._stream = stream
        # Series that changed and may not be known yet, with the sequence of the state that held them last.
        self._open: dict[SeriesKey, tuple[int, SeriesState]] = {}

    def next_state(self, second: int, *, users: int, is_full: bool = False, is_final: bool = False) -> StreamState:
        """Return the state that closes a second of the load (-1: before it)."""
        self.sequence += 1
        instruments = self._instruments
        for state in instruments.recorder.take(second):
            self._open[state.key] = (self.sequence, state)
        series = instruments.recorder.whole() if is_full else tuple(state for _, state in self._open.values())
        instruments.slots[REPORTED] = instruments.slots[COMPLETED]
        return StreamState(
            stream=self._stream,
            sequence=self.sequence,
            second=second,
            full=is_full,
            series=series,
            counters=instruments.counters.read(),
            errors=instruments.recorder.errors(),
            users=users,
            final=is_final,
        )

    def acknowledge(self, sequence: int) -> None:
        """Hear that all states up to a sequence are known; an earlier one than before says nothing new."""
        if not self.acknowledged < sequence <= self.sequence:
            return
        self.acknowledged = sequence
        self._open = {key: held for key, held in self._open.items() if held[0] > sequence}
