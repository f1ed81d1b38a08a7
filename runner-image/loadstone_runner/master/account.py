"""Count what was achieved of a scenario's planned load, and in how many seconds the generator was saturated. Pure.

What falling short means is the verdict's affair.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, astuple, dataclass
from fractions import Fraction
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from loadstone_core.load.profile import FOREVER_NS, Model, due_ns
from loadstone_core.plan.model import scenario_from
from loadstone_core.stats.stream import StreamId, UsersAt
from loadstone_core.units import SECOND
from loadstone_core.verdict.causes import SATURATED_LAG_NS
from loadstone_runner.master.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from loadstone_core.load.scenario import Scenario
    from loadstone_core.stats.stream import Counters, StreamState

# A worker is lost 35 s after its last word: no second older than this is reported any more.
SECONDS_OPEN: Final = 120
# Of a ramp each second is one, and a hundred take 3 ms: heartbeats want their answer meanwhile.
SPANS_AT_ONCE: Final = 200


@dataclass(slots=True)
class _LastSeen:
    second: int
    users: int
    sequence: int


class _Span(NamedTuple):
    end: int  # the second behind it
    users: int
    achieved_ns: int


class UserSeconds:
    """The integral of min(planned, live) users, from the users that each stream reports at the end of each second.

    A count at the end of a second does not say when in that second users came or went, so the larger of its two ends
    is taken: an engine is never blamed for ramping within a second. Seconds between two reports hold the smaller of
    both: the counts in between were lost, not the users. The last report of an engine says that it has none, and not
    since when: seconds before it hold what the one before said.

    An engine numbers its reports, one a second. Seconds for which it has made none were no load: it stood still.

    A master that takes over is told of weeks at once, so seconds are never walked one by one: users are kept as steps,
    and seconds that hold as many users as the one before, and are planned to, count like that.

    Attributes:
        scenario: whose plan it is, as it is now.
        is_open: any second may still be reported, however long ago it was.
    """

    def __init__(self, scenario: Scenario, warm_up_ns: int = 0) -> None:
        """Count from the end of the warm-up on."""
        self.scenario = scenario
        self.is_open = False
        self._past: list[tuple[Scenario, int]] = []  # earlier loads of it, and when each was replaced
        self._past_planned = Fraction(0)  # of loads that are not kept any more; see `_rounded`
        self._past_warm_up = Fraction(0)  # what of it was in the warm-up
        self._warm_up_ns = warm_up_ns
        self._seen: dict[StreamId, _LastSeen] = {}
        self._steps: dict[int, int] = {}  # by how many the users of a second are more than those of the one before
        self._level = 0  # users of all streams in the last second before _settled
        self._closed = 0  # nobody reports seconds before this any more
        self._settled = 0  # seconds before this are in _sum_ns
        self._sum_ns = 0
        self._peak = 0
        self._gone: set[StreamId] = set()

    def follow(self, scenario: Scenario) -> None:
        """Count by the scenario as it is from now on; what was planned until a change stays so."""
        before = self.scenario
        if None not in (before.start_ns, scenario.start_ns) and before.start_ns != scenario.start_ns:
            self._past.append((before, scenario.start_ns or 0))
        self.scenario = scenario

    def remember_plan(self) -> dict[str, Any]:
        """Return what was asked for so far, for `recall_plan`, as JSON has it: it is kept whenever that changes."""
        return {
            "scenario": asdict(self.scenario),
            "past": [[asdict(old), end] for old, end in self._past],
            "planned": [str(self._past_planned), str(self._past_warm_up)],
            "settled": [self._settled, self._sum_ns, self._peak],
        }

    def recall_plan(self, held: Mapping[str, Any]) -> None:
        """Count by what was asked for so far.

        Loads that are not kept any more were all before the seconds that were settled, so these count as they did,
        whatever streams say of them again.
        """
        self.scenario = scenario_from(held["scenario"])
        self._past = [(scenario_from(old), end) for old, end in held["past"]]
        self._past_planned, self._past_warm_up = (_rounded(Fraction(each)) for each in held["planned"])
        if "settled" in held:
            # Masters of earlier releases did not keep that.
            self._resettle(*held["settled"])

    def remember(self) -> dict[str, Any]:
        """Return what was achieved so far, for `recall`, as JSON has it."""
        return {
            "seen": [[*astuple(stream), *astuple(last)] for stream, last in self._seen.items()],
            "steps": sorted(self._steps.items()),
            "level": self._level,
            "closed": self._closed,
            "settled": [self._settled, self._sum_ns, self._peak],
            "gone": [astuple(stream) for stream in self._gone],
        }

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another has counted."""
        told = self._settled, self._sum_ns, self._peak
        self._seen = {StreamId(*each[:4]): _LastSeen(*each[4:]) for each in held["seen"]}
        self._settled, self._sum_ns, self._peak = held["settled"]
        self._closed, self._level = held.get("closed", self._settled), held.get("level", 0)
        self._steps = dict(held.get("steps", ()))
        for second, users in held.get("live", ()):
            # Masters of earlier releases kept users by the second.
            self._add(second, second + 1, users)
        self._gone = {StreamId(*each) for each in held["gone"]}
        if told[0] > self._settled:  # what was asked for is kept at once, and counts now and then
            self._resettle(*told)

    def planned(self) -> Fraction:
        """Return what is planned of the scenario after the warm-up, in the unit of its model."""
        whole = self._past_planned + self.scenario.planned()
        warm_up = self._past_warm_up + self.scenario.planned(self._warm_up_ns)
        if self.scenario.load.model is not Model.ITERATIONS:
            whole += sum(old.planned(end) for old, end in self._past)
            warm_up += sum(old.planned(min(end, self._warm_up_ns)) for old, end in self._past)
        return whole - warm_up if self._warm_up_ns else whole

    def observe(self, stream: StreamId, second: int, users: int, *, sequence: int, is_final: bool = False) -> None:
        """Take in how many users of a stream were live at the end of a second; an older second changes nothing."""
        last = self._seen.setdefault(stream, _LastSeen(-1, 0, 0))
        lost = max(0, sequence - last.sequence - 1)
        last.sequence = max(last.sequence, sequence)
        if second <= last.second:
            return
        # The last report closes the second that still runs, so one more may lie before it.
        stood_still = max(0, second - last.second - 1 - lost - int(is_final))
        self._add(last.second + 1 + stood_still, second, last.users if is_final else min(last.users, users))
        self._add(second, second + 1, max(users, last.users if last.second == second - 1 else 0))
        last.second, last.users = second, users
        self._gone.discard(stream)
        self._settle(second - SECONDS_OPEN)

    def replay(self, stream: StreamId, history: Iterable[UsersAt], place: int) -> None:
        """Take in what a stream says of its past, of the scenario at a place; what is known of it stays."""
        for each in history:
            users = each.users[place] if place < len(each.users) else 0
            self.observe(stream, each.second, users, sequence=each.sequence)

    def achieved_ns(self, until_ns: int) -> int:
        """Return the achieved user-nanoseconds up to a moment."""
        return self._sum_ns + sum(each.achieved_ns for each in self._spans(until_ns))

    @property
    def peak(self) -> int:
        """The most users of a second."""
        levels = accumulate((by for _, by in sorted(self._steps.items())), initial=self._level)
        return max(self._peak, *levels)

    @property
    def users(self) -> int:
        """The users of all streams that have not ended, by their newest reports."""
        return sum(each.users for stream, each in self._seen.items() if stream not in self._gone)

    def leave(self, stream: StreamId) -> None:
        """Note that a stream has ended without saying that its users have gone."""
        self._gone.add(stream)

    def _add(self, first: int, end: int, users: int) -> None:
        """Count users in the seconds from `first` to the one before `end` that may still be reported."""
        first = max(first, self._closed)
        if first < end:
            self._step(first, users)
            self._step(end, -users)

    def _step(self, second: int, by: int) -> None:
        self._steps[second] = self._steps.get(second, 0) + by
        if not self._steps[second]:
            del self._steps[second]

    def _settle(self, before: int) -> None:
        """Add up the seconds that nobody will report any more, and forget them; of many some, the others soon."""
        if not self.is_open:
            self._closed = max(self._closed, before)
        if self._settled < self._closed:
            for each in list(islice(self._spans(self._closed * SECOND), SPANS_AT_ONCE)):
                self._peak = max(self._peak, each.users)
                self._sum_ns += each.achieved_ns
                self._settled = each.end
            self._level_out()
        self._forget()

    def _resettle(self, settled: int, sum_ns: int, peak: int) -> None:
        """Take the seconds before that number for settled, as another has added them up."""
        self._settled, self._sum_ns, self._peak = settled, sum_ns, peak
        self._closed = max(self._closed, settled)
        self._level_out()

    def _level_out(self) -> None:
        """Forget the steps of seconds that are settled, and keep what they come to."""
        for second in [each for each in self._steps if each < self._settled]:
            self._level += self._steps.pop(second)

    def _forget(self) -> None:
        """Add up what was planned of loads that no open second falls into: a shape makes one each second."""
        settled_ns = self._settled * SECOND
        while self._past and self._past[0][1] <= settled_ns:
            old, end = self._past.pop(0)
            if self.scenario.load.model is not Model.ITERATIONS:
                self._past_planned += _rounded(old.planned(end))
                self._past_warm_up += _rounded(old.planned(min(end, self._warm_up_ns)))

    def _spans(self, until_ns: int) -> Iterator[_Span]:
        """Yield what was achieved in the seconds that are not settled, up to a moment, oldest first."""
        first, users, last = self._settled, self._level, -(-until_ns // SECOND)
        for second in [*sorted(self._steps), last]:
            end = min(second, last)
            while first < end:
                span = self._span(first, end, users, until_ns)
                yield span
                first = span.end
            users += self._steps.get(second, 0)

    def _span(self, first: int, end: int, users: int, until_ns: int) -> _Span:
        """Return what so many users achieved in the first seconds of some: in as many as are planned alike."""
        idle = end if not users else min(end, self._warm_up_ns // SECOND)
        if first < idle:
            return _Span(idle, users, 0)
        start_ns = max(first * SECOND, self._warm_up_ns)
        end_ns = max(start_ns, min((first + 1) * SECOND, until_ns))
        # The same steps as the plan's: what was asked for in this second is all that can be achieved in it.
        achieved_ns = min(int(self._planned_ns(start_ns, end_ns)), users * (end_ns - start_ns))
        if end_ns - start_ns < SECOND:
            return _Span(first + 1, users, achieved_ns)
        alike = min(self._steady_until(start_ns), until_ns) // SECOND
        seconds = max(1, min(alike, end) - first)
        return _Span(first + seconds, users, seconds * achieved_ns)

    def _planned_ns(self, since_ns: int, until_ns: int) -> Fraction:
        loads = [(self.scenario, until_ns), *((old, min(end, until_ns)) for old, end in self._past if end > since_ns)]
        return sum((load.planned_user_ns(end_ns, since_ns=since_ns) for load, end_ns in loads), Fraction(0))

    def _steady_until(self, at_ns: int) -> int:
        """Return until when as many users are planned as just after a moment."""
        past = [min(end, old.steady_until(at_ns)) for old, end in self._past if end > at_ns]
        return min(self.scenario.steady_until(at_ns), *past, FOREVER_NS)


def _rounded(planned: Fraction) -> Fraction:
    """Return user-seconds to the nearest user-nanosecond, iterations as they are.

    A ramp plans a fraction of which the denominator is its own: the exact sum of thousands, as a shape makes them, has
    thousands of digits. So it is off by at most half a user-nanosecond for each load that is not kept any more, and
    what is planned after the warm-up by less than one.
    """
    return Fraction(round(planned * SECOND), SECOND)


class Iterations:
    """How many iterations all streams have begun and completed, by their newest counters."""

    def __init__(self) -> None:
        self._started: dict[StreamId, int] = {}
        self._completed: dict[StreamId, int] = {}
        self._completed_by: Counter[tuple[int, int]] = Counter()  # worker and attempt
        self.started = 0
        self.completed = 0

    def observe(self, stream: StreamId, started: int, completed: int) -> None:
        """Take in the counters of a stream; they only grow, so older ones change nothing."""
        begun = max(started, self._started.get(stream, 0))
        ended = max(completed, self._completed.get(stream, 0))
        more = ended - self._completed.get(stream, 0)
        self.started += begun - self._started.get(stream, 0)
        self.completed += more
        self._completed_by[stream.worker, stream.attempt] += more
        self._started[stream], self._completed[stream] = begun, ended

    def completed_by(self, worker: int, attempt: int) -> int:
        """Return how many iterations the streams of an attempt of a worker have completed."""
        return self._completed_by[worker, attempt]


class Account:
    """What was achieved of the scenario at one place of the plan."""

    def __init__(self, scenario: Scenario, place: int, warm_up_ns: int = 0) -> None:
        self.user_seconds = UserSeconds(scenario, warm_up_ns)
        self._warm_up_ns = warm_up_ns
        self.iterations = Iterations()
        self._place = place
        load = scenario.load
        # A rate with a number of iterations is over when the last of them was due, started in time or not.
        last = load.iterations - 1 if load.model is Model.RATE and load.iterations else None
        self._last_due_ns = None if last is None else due_ns(load.profile, last)

    @property
    def scenario(self) -> Scenario:
        """The scenario as it is now."""
        return self.user_seconds.scenario

    def observe(self, state: StreamState) -> None:
        """Take in what a stream says of the scenario."""
        self.end(state.stream, state.counters)
        if state.second >= 0 and self._place < len(state.scenario_users):
            self.user_seconds.replay(state.stream, state.history, self._place)
            users = state.scenario_users[self._place]
            self.user_seconds.observe(state.stream, state.second, users, sequence=state.sequence, is_final=state.final)

    def end(self, stream: StreamId, counters: Counters) -> None:
        """Take in the last counters of a stream."""
        if self._place < len(counters.scenarios):
            self.iterations.observe(stream, *counters.scenarios[self._place])

    def is_done(self, since_start_ns: int, *, abandoned: int = 0) -> bool:
        """Say whether every iteration is done but `abandoned` ones that nobody will do, or was due."""
        load, start_ns = self.scenario.load, self.scenario.start_ns
        if self._last_due_ns is not None and start_ns is not None:
            return since_start_ns - start_ns > self._last_due_ns
        return load.model is Model.ITERATIONS and self.iterations.completed + abandoned >= (load.iterations or 0)

    def achieved(self, until_ns: int) -> Fraction | int:
        """Return what was achieved up to a moment of the run, in the unit of `LoadProfile.planned`."""
        match self.scenario.load.model:
            case Model.USERS:
                return Fraction(self.user_seconds.achieved_ns(until_ns), SECOND)
            case Model.RATE:
                return self.iterations.started
            case Model.ITERATIONS:
                return self.iterations.completed

    def planned(self) -> Fraction:
        """Return what is planned after the warm-up."""
        return self.user_seconds.planned()

    def percent(self, since_start_ns: int) -> int:
        """Return how much of the scenario is done, by its time or its iterations."""
        scenario = self.scenario
        if scenario.is_over:
            return 100
        if scenario.start_ns is None or since_start_ns <= scenario.start_ns:
            return 0
        shares = []
        if scenario.load.profile.end_ns:
            shares.append((since_start_ns - scenario.start_ns) * 100 // scenario.load.profile.end_ns)
        if scenario.load.iterations:
            shares.append(self.iterations.completed * 100 // scenario.load.iterations)
        return min(100, max(shares, default=0))


class Saturation:
    """The seconds of load in which an engine could not do what was asked of it.

    Its loop lagged, or its schedule slipped, by more than 100 ms; or its machine gave it no further connection.
    """

    def __init__(self) -> None:
        self._saturated = Spans()
        self._exhausted = Spans()

    def seconds(self, end: int) -> int:
        """Return how many seconds before that number were saturated; what came after the load says nothing of it."""
        return self._saturated.count(end)

    def exhausted_seconds(self, end: int) -> int:
        """Return in how many of them connections were not opened for want of ports, files or memory."""
        return self._exhausted.count(end)

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        return {"saturated": self._saturated.remember(), "exhausted": self._exhausted.remember()}

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another has counted."""
        self._saturated.recall(held["saturated"])
        self._exhausted.recall(held["exhausted"])

    def observe(self, second: int, lag_ns: int, slip_ns: int, exhausted: int = 0) -> None:
        """Take in the figures of one engine for a second of the load; one that is late by seconds was late in each."""
        if exhausted:
            self._exhausted.add(second, second + 1)
            self._saturated.add(second, second + 1)
        late_ns = max(lag_ns, slip_ns)
        if late_ns > SATURATED_LAG_NS:
            self._saturated.add(max(0, second - late_ns // SECOND), second + 1)
