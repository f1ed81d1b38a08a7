"""Merge the states of all streams into exact totals, whatever is lost, repeated, late or out of order.

Values in, values out: who is alive, what is durable and when a second is over is the master's to know.

The law: the totals are the sum, over streams and series, of the state with the highest sequence that has arrived.
States are cumulative, so a lost one is made good by the next. A state that is not full carries every series that
changed since the last acknowledged sequence, so a series that it leaves out is held here in its newest form already,
and taking the highest sequence for each series by itself is right, in any order of arrival. The merged series are kept
up to date by the differences; they equal the sum at every moment. Which series get a place of their own once the cap
is reached depends on who comes first; the sums do not.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from loadstone_core.stats.account import Account, Recorded, latest, reconcile, sum_of
from loadstone_core.stats.held import Growth, Held
from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import ITERATION_DURATION, LATENCY, USERS, Kind, Outcome, SeriesKey
from loadstone_core.stats.seconds import SECONDS_SHOW, Seconds
from loadstone_core.stats.series import SERIES_CAP, SeriesTable, cell_of, merged_histogram
from loadstone_core.stats.stream import Counters, ErrorCount, ErrorTable, StreamId, StreamState
from loadstone_core.stats.totals import Totals
from loadstone_core.stats.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from loadstone_core.stats.series import Series, Tally
    from loadstone_core.stats.stream import SeriesState
    from loadstone_core.stats.timeline import Second

__all__ = ["Merge", "Totals"]

MERGED_ERRORS_CAP = 1_000
ACCOUNTS_SHOW = frozenset({LATENCY, ITERATION_DURATION})


@dataclass(slots=True)
class _Stream:
    """What is known of one stream. `ended`: no load comes from it any more; `known`: its last counters are."""

    series: dict[SeriesKey, Held] = field(default_factory=dict)
    recorded: Recorded = field(default_factory=Recorded)
    sequence: int = 0
    second: int = -1
    counters: Counters = field(default_factory=Counters)
    errors: tuple[ErrorCount, ...] = ()
    users: int = 0
    final: bool = False
    ended: bool = False
    clean: bool = False
    known: bool = False

    def account(self) -> Account:
        """Return what it did, reconciled."""
        return reconcile(self.counters, self.recorded, ended=self.ended, known=self.known or self.clean)

    @property
    def is_settled(self) -> bool:
        """Say whether nothing that may still come could change its account."""
        account = self.account()
        return self.clean and self.final and not account.unaccounted and not account.iterations_unaccounted


class Merge:
    """The sum of all streams of a run.

    States from outside must be `sound` (stream.unsound) and not ahead of the master's clock; here they are trusted.

    Attributes:
        windows: what each series gained in the newest tens of seconds, once `keep_windows` was called.
    """

    __slots__ = (
        "_awaited",
        "_errors",
        "_folded",
        "_folded_streams",
        "_gap_until",
        "_is_late",
        "_known",
        "_lost",
        "_make_held",
        "_seconds",
        "_streams",
        "_table",
        "_users",
        "windows",
    )

    def __init__(
        self,
        cap: int = SERIES_CAP,
        *,
        make_held: Callable[[Series], Held] = Held,
        make_cell: Callable[[Kind], Histogram | Tally] = cell_of,
    ) -> None:
        """Begin with nothing; a master brings cells, and what holds the newest states, that are faster."""
        self._make_held = make_held
        self._table = SeriesTable(cap, make_cell)
        self._users = self._table.get(SeriesKey(USERS), Kind.GAUGE)
        self._errors = ErrorTable(MERGED_ERRORS_CAP)
        self._streams: dict[StreamId, _Stream] = {}
        self._folded = Account()
        self._folded_streams: set[StreamId] = set()
        self._seconds = Seconds(make_cell)
        self.windows = Windows(make_cell)
        self._awaited: set[StreamId] = set()  # that another knew, and that have not been heard since
        self._gap_until = -1
        self._is_late = False
        self._known: set[StreamId] = set()  # that another knew, and that were not alive
        self._lost: set[StreamId] = set()  # that ended otherwise than clean, and have changed since `take_lost`

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs of the seconds that were taken and of the streams, as JSON has it.

        Who began late tells the others, too: of a stream that is not among them nothing was counted.
        """
        live = {name for name, each in self._streams.items() if not each.ended and not each.final}
        others = ((self._streams.keys() | self._folded_streams) - live) | self._known if self._is_late else None
        return {
            "live": [list(astuple(name)) for name in live],
            "others": None if others is None else [list(astuple(name)) for name in others],
            "seconds": self._seconds.remember(),
        }

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another was, before any state comes: every stream that lives will say everything anew.

        Until each of those that were known has come, or is closed, no second is taken.
        """
        self._seconds.recall(held["seconds"])
        self.windows.begin_anew(self._seconds.untouched)
        for name in held["live"]:
            stream = StreamId(*name)
            self.open(stream)
            self._awaited.add(stream)
        self._is_late = held["others"] is not None
        self._known = {StreamId(*name) for name in held["others"] or ()}

    def begin_late(self, second: int) -> None:
        """Begin at a second of a load of which nothing is known: what streams counted before is in no second."""
        self._is_late = True
        self._seconds.begin_at(second)

    @property
    def gap_until(self) -> int:
        """The last second of the gap that `recall` has left; -1 without one, and while its end is not known."""
        return self._gap_until if not self._awaited else -1

    def take_lost(self) -> list[tuple[StreamState, bool]]:
        """Return the whole state of every stream that was lost, if it has changed since the last call.

        Beside it stands whether its counters are those of its end.
        """
        lost, self._lost = self._lost & self._streams.keys(), set()
        return [(self._state_of(stream, self._streams[stream]), self._streams[stream].known) for stream in sorted(lost)]

    def open(self, stream: StreamId) -> None:
        """Expect a stream: no second is closed before its first state. Without this a stream opens with that state."""
        if stream not in self._folded_streams and stream not in self._streams:
            self._streams[stream] = _Stream()
            self._users.count += 1

    def apply(self, state: StreamState) -> bool:
        """Merge a state; return whether it held anything new. An old or repeated one changes nothing.

        A stream that was closed as lost may still report: what was unaccounted becomes less.
        """
        if state.stream in self._folded_streams:
            return False
        self.open(state.stream)
        stream = self._streams[state.stream]
        # After a gap nobody knows when what a stream has counted before its first word was done.
        reunion = None if stream.sequence else self._seconds.reunion
        second = state.second if reunion is None else reunion
        is_late = self._is_late and not stream.sequence and state.sequence > 1 and not self._was_counted(state.stream)
        is_new = self._apply_series(stream, state, None if is_late else second)
        if stream.ended:
            self._lost.add(state.stream)
        if state.sequence <= stream.sequence:
            return is_new
        if reunion is not None or is_late:
            self._reunite(state, state.second if reunion is None else reunion)
        elif state.second > stream.second + 1 and not (stream.sequence == 0 and state.sequence == 1):
            missed_from = stream.second + 1 if stream.sequence else state.second
            self._seconds.mark_gap(missed_from, state.second)
        self._errors.extend(_more_errors(stream.errors, state.errors))
        stream.sequence = state.sequence
        stream.second = state.second
        stream.counters = latest(stream.counters, state.counters)
        stream.errors = state.errors
        stream.final = state.final
        self._seconds.reach(state.second)
        self._set_users(stream, 0 if stream.ended else state.users, second=second)
        self._fold_if_settled(state.stream)
        return True

    def close(self, stream: StreamId, counters: Counters | None, *, clean: bool = False) -> None:
        """End a stream: its users are gone, and what its counters hold beyond its series is unaccounted.

        Closing again may add what was not known the first time; it takes nothing back. A stream that ended clean, with
        its final state and nothing unaccounted is folded: only its sums are kept.

        Args:
            stream: which; it may never have sent a state.
            counters: at its end, from its Bye or its counters file; None if nobody knows them.
            clean: its Bye came; else it is a lost peer.
        """
        if stream in self._folded_streams:
            return
        self.open(stream)
        ended = self._streams[stream]
        if not clean and not ended.ended:
            self._seconds.mark_gap(ended.second + 1, max(ended.second + 1, self._seconds.newest))
        ended.ended = True
        ended.clean = ended.clean or clean
        self._awaited.discard(stream)
        if not ended.clean:
            self._lost.add(stream)
        if counters is not None:
            ended.known = True
            ended.counters = latest(ended.counters, counters)
        self._set_users(ended, 0, second=ended.second + 1)
        self._fold_if_settled(stream)

    def totals(self) -> Totals:
        """Return a copy of the sum over all streams."""
        account = sum_of((self._folded, *(stream.account() for stream in self._streams.values())))
        return Totals(
            series={series.key: series.copy() for series in self._table if series.count},
            errors=self._errors.counts(),
            requests=account.requests,
            started=account.started,
            unsent=account.unsent,
            ambiguous=account.ambiguous,
            measured=account.measured,
            iterations=account.iterations,
            unaccounted=account.unaccounted,
            unaccounted_at_least=account.unknown_streams > 0,
            iterations_unaccounted=account.iterations_unaccounted,
            counters_behind=account.counters_behind,
            warm_up=account.warm_up,
            users=self.users,
            series_complete=self._table.is_complete,
        )

    @property
    def series(self) -> dict[SeriesKey, Series]:
        """Return the merged series themselves, which change with the next state: for what is read each second."""
        return {series.key: series for series in self._table if series.count}

    @property
    def users(self) -> int:
        """Return how many users are alive in all streams that have not ended."""
        return self._users.total

    def run_latency(self) -> Histogram:
        """Return one histogram of all requests of the run, in nanoseconds."""
        return merged_histogram(series for series in self._table if series.key.metric == LATENCY)

    def second_closed(self) -> int:
        """Return the newest second that every live stream has closed, or any stream when none lives; -1 before T."""
        return min((stream.second for stream in self._live()), default=self._seconds.newest)

    def take_seconds(self, lag: int | None = None) -> tuple[Second, ...]:
        """Return the seconds that were closed since the last call, oldest first, without a hole.

        Each is the sum of the differences that the streams' states closed with it. What comes for a second already
        taken is counted in the next one, so that the rows always add up to the totals.

        Args:
            lag: wait at most so many seconds for a stream that does not report; the seconds without it are gaps.
        """
        closed = self.second_closed()
        if lag is not None and not self._awaited and self._seconds.newest - lag > closed:
            self._seconds.mark_gap(closed + 1, self._seconds.newest - lag)
            closed = self._seconds.newest - lag
        seconds = self._seconds.take(closed)
        if seconds:
            self.windows.drop(seconds[-1].second)
        return seconds

    def keep_windows(self) -> None:
        """Keep what each series gains in each ten seconds from now on."""
        self.windows.begin(self._seconds.untouched)

    def _was_counted(self, stream: StreamId) -> bool:
        """Say whether the one before, from which this one goes on, had heard of a stream."""
        return stream in self._awaited or stream in self._known

    def _live(self) -> Iterator[_Stream]:
        return (stream for stream in self._streams.values() if not stream.ended and not stream.final)

    def _reunite(self, state: StreamState, reunion: int) -> None:
        """Note the first word of a stream after a gap."""
        self._awaited.discard(state.stream)
        self._gap_until = max(self._gap_until, reunion, state.second)
        self._seconds.mark_gap(reunion, max(reunion, state.second))

    @staticmethod
    def _state_of(name: StreamId, stream: _Stream) -> StreamState:
        return StreamState(
            stream=name,
            sequence=max(1, stream.sequence),
            second=stream.second,
            full=True,
            series=tuple(held.state(key) for key, held in stream.series.items()),
            counters=stream.counters,
            errors=stream.errors,
            final=stream.final,
        )

    def _apply_series(self, stream: _Stream, state: StreamState, second: int | None) -> bool:
        """Replace every series of a stream that the state knows better; return whether there was one."""
        # The master's hot path: every call here is made 50,000 times a second in a large run.
        is_new, sequence, known = False, state.sequence, stream.series
        place = self._seconds.place(second) if second is not None and self.windows.is_kept else None
        for series in state.series:
            key = series.key
            held = known.get(key)
            if held is None:
                held = known[key] = self._make_held(self._table.get(key, series.kind))
            target, metric = held.target, key.metric
            # Users come from the state itself, and a stream cannot change the kind of a series.
            if held.sequence < sequence and target.kind is series.kind and metric != USERS:
                is_new = True
                growth = held.replace(series, sequence=sequence)
                _add(target, series, growth)
                if metric in SECONDS_SHOW:
                    if second is None:
                        self._seconds.leave_out(metric, growth)
                    else:
                        self._seconds.add(second, metric, growth)
                if metric in ACCOUNTS_SHOW:
                    _note(stream.recorded, metric, growth)
                if place is not None:
                    self.windows.add(place, target, growth)
        return is_new

    def _set_users(self, stream: _Stream, users: int, *, second: int) -> None:
        self._seconds.change_users(second, users - stream.users)
        self._users.total += users - stream.users
        stream.users = users

    def _fold_if_settled(self, stream: StreamId) -> None:
        settled = self._streams[stream]
        if settled.is_settled:
            self._folded = sum_of((self._folded, settled.account()))
            self._folded_streams.add(stream)
            del self._streams[stream]


def _add(target: Series, state: SeriesState, growth: Growth) -> None:
    """Add to a merged series what a newer state holds more than the older one."""
    cell, (samples, total, zeros, buckets, outcomes) = target.cell, growth
    if isinstance(cell, Histogram):
        is_first = not cell.count
        cell.grow(buckets, count=samples, total=total, zeros=zeros)
        if state.count:
            cell.reach(state.minimum, state.maximum, first=is_first)
    else:
        cell.count += samples
        cell.total += total
    if outcomes:
        held = target.outcomes
        for outcome, count in outcomes.items():
            held[outcome] = held.get(outcome, 0) + count


def _note(recorded: Recorded, metric: str, growth: Growth) -> None:
    """Keep, for one stream, what its counters will be compared with; of metrics that `ACCOUNTS_SHOW`."""
    if metric == LATENCY:
        recorded.completed += growth.samples
        recorded.unsent += growth.outcomes.get(Outcome.UNSENT, 0)
        recorded.ambiguous += growth.outcomes.get(Outcome.AMBIGUOUS, 0)
    else:
        recorded.iterations_completed += growth.samples


def _more_errors(older: tuple[ErrorCount, ...], newer: tuple[ErrorCount, ...]) -> Iterable[ErrorCount]:
    """Return how much oftener each error came."""
    if newer == older:
        return ()
    counts = {(error.kind, error.message, error.name): error.count for error in older}
    return [
        replace(error, count=error.count - counts.get((error.kind, error.message, error.name), 0)) for error in newer
    ]
