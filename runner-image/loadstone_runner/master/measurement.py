"""Everything that a run has measured: merged streams, timeline, achieved load, saturation. Pure, one for each run.

Thresholds are judged in `judge`, the verdict is made in `conclusion`; whom to believe was decided before.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from loadstone_core.load.profile import Model, due_ns
from loadstone_core.stats.merge import Merge
from loadstone_core.stats.timeline import Timeline
from loadstone_core.stats.totals import Totals
from loadstone_core.units import SECOND
from loadstone_protocol.views import ProgressView
from loadstone_runner.master.account import Iterations, Saturation, UserSeconds

if TYPE_CHECKING:
    from loadstone_core.load.profile import LoadProfile
    from loadstone_core.stats.stream import StreamId, StreamState
    from loadstone_core.stats.timeline import Row
    from loadstone_core.verdict.evaluation import Measured
    from loadstone_protocol.messages import EngineEnd, Heartbeat

# A second is shown at the latest when it is this much older than the newest one, whoever has not reported it.
LAG_SECONDS: Final = 5
# Clocks of agents are known to a millisecond; a second further ahead than this is an error.
AHEAD_SECONDS: Final = 5


class Measurement:
    """What all streams of a run have reported so far; seconds count from the start of load."""

    def __init__(self, load: LoadProfile) -> None:
        self.merge = Merge()
        self.timeline = Timeline()
        self.saturation = Saturation()
        self.iterations = Iterations()
        self._load = load
        self._user_seconds = UserSeconds(load.profile)
        self._progress = ProgressView()
        # A rate with a number of iterations is over when the last of them was due, started in time or not.
        last = load.iterations - 1 if load.model is Model.RATE and load.iterations else None
        self._last_due_ns = None if last is None else due_ns(load.profile, last)

    def apply(self, state: StreamState, *, since_start_ns: int) -> None:
        """Merge a state. A second that lies in the future is taken for the present one: what it counts has happened."""
        present = max(-1, since_start_ns // SECOND)
        if state.second > present + AHEAD_SECONDS:
            state = replace(state, second=present)
        self.merge.apply(state)
        self.iterations.observe(state.stream, state.counters)
        if state.second >= 0:
            self._user_seconds.observe(
                state.stream, state.second, state.users, sequence=state.sequence, is_final=state.final
            )

    def end(self, end: EngineEnd) -> None:
        """Close the stream of an engine that has ended."""
        self.merge.close(end.stream, end.counters, clean=end.is_clean)
        if end.counters is not None:
            self.iterations.observe(end.stream, end.counters)

    def lose(self, stream: StreamId) -> None:
        """Close a stream of which nothing more will be heard."""
        self.merge.close(stream, None)

    def hear(self, beat: Heartbeat, *, since_start_ns: int) -> None:
        """Take in how late the engines of a worker were in the last second of load."""
        second = since_start_ns // SECOND - 1
        if second >= 0:
            for engine in beat.engines:
                self.saturation.observe(second, engine.loop_lag_ns, engine.schedule_slip_ns)

    def close_seconds(self) -> tuple[Row, ...]:
        """Return the rows of the seconds that are closed now and were not before, oldest first."""
        return tuple(self.timeline.observe(second) for second in self.merge.take_seconds(LAG_SECONDS))

    @property
    def measured(self) -> Measured:
        """The merged series as they are, for thresholds: not a copy."""
        return Totals(series=self.merge.series)

    def progress(self, newest: Row | None, *, since_start_ns: int, users: int) -> ProgressView:
        """Return how far the load is; `newest` is the row of the last second that was closed, if there is a new one."""
        old = self._progress
        if newest is not None:
            old = ProgressView(
                requests=old.requests,
                requests_per_second=newest.requests,
                failures_per_second=newest.failures,
                p50_ns=newest.p50,
                p95_ns=newest.p95,
                p99_ns=newest.p99,
            )
        latency = [series for key, series in self.merge.series.items() if key.metric == "latency"]
        dropped = sum(series.total for key, series in self.merge.series.items() if key.metric == "dropped_iterations")
        self._progress = ProgressView(
            percent=self._percent(since_start_ns),
            elapsed_ns=max(0, since_start_ns),
            users=users,
            requests=sum(series.count for series in latency),
            failures=sum(series.outcomes.get("failed", 0) for series in latency),
            requests_per_second=old.requests_per_second,
            failures_per_second=old.failures_per_second,
            p50_ns=old.p50_ns,
            p95_ns=old.p95_ns,
            p99_ns=old.p99_ns,
            iterations=self.iterations.completed,
            dropped_iterations=dropped,
        )
        return self._progress

    def overall(self, load_ns: int) -> ProgressView:
        """Return the figures of the whole load in place of its last second's: the most users, and average rates."""
        users = max((row.users for row in self.timeline.rows()), default=0)
        last = self.progress(None, since_start_ns=load_ns, users=users)
        return replace(
            last,
            requests_per_second=_per_second(last.requests, load_ns),
            failures_per_second=_per_second(last.failures, load_ns),
        )

    def is_load_done(self, since_start_ns: int, *, abandoned: int = 0) -> bool:
        """Say whether the profile is over, or every iteration is done but `abandoned` ones that nobody will do."""
        end_ns = self._load.profile.end_ns
        if end_ns is not None and since_start_ns >= end_ns:
            return True
        if self._last_due_ns is not None:
            return since_start_ns > self._last_due_ns
        done = self.iterations.completed + abandoned
        return self._load.model is Model.ITERATIONS and done >= (self._load.iterations or 0)

    def achieved(self, until_ns: int) -> Fraction | int:
        """Return what was achieved up to a moment, in the unit of `LoadProfile.planned`."""
        match self._load.model:
            case Model.USERS:
                return Fraction(self._user_seconds.achieved_ns(until_ns), SECOND)
            case Model.RATE:
                return self.iterations.started
            case Model.ITERATIONS:
                return self.iterations.completed

    def _percent(self, since_start_ns: int) -> int:
        if since_start_ns <= 0:
            return 0
        shares = []
        if self._load.profile.end_ns:
            shares.append(since_start_ns * 100 // self._load.profile.end_ns)
        if self._load.iterations:
            shares.append(self.iterations.completed * 100 // self._load.iterations)
        return min(100, max(shares, default=0))


def _per_second(count: int, duration_ns: int) -> int:
    return round(Fraction(count * SECOND, duration_ns)) if duration_ns > 0 else 0
