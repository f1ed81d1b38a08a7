"""Everything that a run has measured: merged streams, timeline, achieved load, saturation. Pure, one for each run.

Thresholds are judged in `judge`, the verdict is made in `conclusion`; whom to believe was decided before.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.load.scenario import end_of
from loadstone_core.stats.merge import Merge
from loadstone_core.stats.stream import Counters
from loadstone_core.stats.timeline import Timeline
from loadstone_core.stats.totals import Totals
from loadstone_core.units import SECOND
from loadstone_protocol.views import ProgressView
from loadstone_runner.master.account import Account, Saturation
from loadstone_runner.master.strain import Strain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadstone_core.load.scenario import Scenario
    from loadstone_core.stats.stream import StreamId, StreamState
    from loadstone_core.stats.timeline import Row
    from loadstone_core.verdict.evaluation import Measured
    from loadstone_protocol.messages import EngineEnd, EngineNews

# A second is shown at the latest when it is this much older than the newest one, whoever has not reported it.
LAG_SECONDS: Final = 5
# Clocks of agents are known to a millisecond; a second further ahead than this is an error.
AHEAD_SECONDS: Final = 5


class Measurement:
    """What all streams of a run have reported so far; seconds count from the start of load."""

    def __init__(self, scenarios: Iterable[Scenario], warm_up_ns: int = 0, *, merge: Merge | None = None) -> None:
        """Begin with nothing; a master brings a merge that is faster."""
        self.merge = merge or Merge()
        self.timeline = Timeline()
        self.saturation = Saturation()
        self.strain = Strain()
        self.accounts = tuple(Account(scenario, place, warm_up_ns) for place, scenario in enumerate(scenarios))
        self._warm_up_ns = warm_up_ns
        self._progress = ProgressView()

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it, but for what streams say anew."""
        return {
            "merge": self.merge.remember(),
            "timeline": self.timeline.remember(),
            "saturation": self.saturation.remember(),
            "strain": self.strain.remember(),
            "accounts": [account.user_seconds.remember() for account in self.accounts],
        }

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another was, before any state comes."""
        self.merge.recall(held["merge"])
        self.timeline.recall(held["timeline"])
        self.saturation.recall(held["saturation"])
        if "strain" in held:
            # Masters of earlier releases did not keep that.
            self.strain.recall(held["strain"])
        for account, each in zip(self.accounts, held["accounts"], strict=True):
            account.user_seconds.recall(each)

    def begin_late(self, since_start_ns: int) -> None:
        """Take over a load of which nobody knows what was counted before; what streams say of it is in the totals."""
        self.merge.begin_late(max(0, since_start_ns // SECOND))
        for account in self.accounts:
            account.user_seconds.is_open = True

    def settle(self) -> None:
        """Note that whoever has a past to tell has told it."""
        for account in self.accounts:
            account.user_seconds.is_open = False

    def follow(self, scenarios: Iterable[Scenario]) -> None:
        """Count by the scenarios as they are from now on."""
        for account, scenario in zip(self.accounts, scenarios, strict=True):
            account.user_seconds.follow(scenario)

    def apply(self, state: StreamState, *, since_start_ns: int) -> None:
        """Merge a state. A second that lies in the future is taken for the present one: what it counts has happened."""
        present = max(-1, since_start_ns // SECOND)
        if state.second > present + AHEAD_SECONDS:
            state = replace(state, second=present)
        self.merge.apply(state)
        for account in self.accounts:
            account.observe(state)

    def end(self, end: EngineEnd) -> None:
        """Close the stream of an engine that has ended."""
        self.merge.close(end.stream, end.counters, clean=end.is_clean)
        self._leave(end.stream)
        if end.counters is not None:
            for account in self.accounts:
                account.end(end.stream, end.counters)

    def end_early(self, stream: StreamId) -> None:
        """Close the stream of an engine that ended before it had any load: nothing of it is missing."""
        self.merge.close(stream, Counters(), clean=True)
        self._leave(stream)

    def lose(self, stream: StreamId) -> None:
        """Close a stream of which nothing more will be heard."""
        self.merge.close(stream, None)
        self._leave(stream)

    def _leave(self, stream: StreamId) -> None:
        for account in self.accounts:
            account.user_seconds.leave(stream)

    def hear(self, engines: Iterable[EngineNews], *, since_start_ns: int) -> None:
        """Take in how late engines were in the last second of load."""
        second = since_start_ns // SECOND - 1
        if second * SECOND >= self._warm_up_ns and second >= 0:
            for engine in engines:
                self.saturation.observe(second, engine.loop_lag_ns, engine.schedule_slip_ns, engine.exhausted)

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
            iterations=sum(account.iterations.completed for account in self.accounts),
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

    def _percent(self, since_start_ns: int) -> int:
        """Return how much of the run is done: of its time, if that is known, else of its scenarios on the average."""
        if since_start_ns <= 0:
            return 0
        done = [account.percent(since_start_ns) for account in self.accounts]
        end_ns = end_of(tuple(account.scenario for account in self.accounts))
        by_time = since_start_ns * 100 // end_ns if end_ns else 0
        return min(100, max(by_time, sum(done) // len(done)))


def _per_second(count: int, duration_ns: int) -> int:
    return round(Fraction(count * SECOND, duration_ns)) if duration_ns > 0 else 0
