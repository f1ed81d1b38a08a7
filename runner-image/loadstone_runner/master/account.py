"""Count what was achieved of the planned load, and in how many seconds the generator was saturated. Pure.

What falling short means is the verdict's affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadstone_core.units import SECOND
from loadstone_core.verdict.causes import SATURATED_LAG_NS

if TYPE_CHECKING:
    from loadstone_core.load.profile import Profile
    from loadstone_core.stats.stream import Counters, StreamId

# A worker is lost 35 s after its last word: no second older than this is reported any more.
SECONDS_OPEN: Final = 120


@dataclass(slots=True)
class _LastSeen:
    second: int
    users: int
    sequence: int


class UserSeconds:
    """The integral of min(planned, live) users, from the users that each stream reports at the end of each second.

    A count at the end of a second does not say when in that second users came or went, so the larger of its two ends
    is taken: an engine is never blamed for ramping within a second. Seconds between two reports hold the smaller of
    both: the counts in between were lost, not the users. The last report of an engine says that it has none, and not
    since when: seconds before it hold what the one before said.

    An engine numbers its reports, one a second. Seconds for which it has made none were no load: it stood still.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._seen: dict[StreamId, _LastSeen] = {}
        self._live: dict[int, int] = {}
        self._settled = 0  # seconds before this are in _sum
        self._sum_ns = 0

    def observe(self, stream: StreamId, second: int, users: int, *, sequence: int, is_final: bool = False) -> None:
        """Take in how many users of a stream were live at the end of a second; an older second changes nothing."""
        last = self._seen.setdefault(stream, _LastSeen(-1, 0, 0))
        lost = max(0, sequence - last.sequence - 1)
        last.sequence = max(last.sequence, sequence)
        if second <= last.second:
            return
        # The last report closes the second that still runs, so one more may lie before it.
        stood_still = max(0, second - last.second - 1 - lost - int(is_final))
        for between in range(max(last.second + 1 + stood_still, self._settled), second):
            self._add(between, last.users if is_final else min(last.users, users))
        self._add(second, max(users, last.users if last.second == second - 1 else 0))
        last.second, last.users = second, users
        self._settle(second - SECONDS_OPEN)

    def achieved_ns(self, until_ns: int) -> int:
        """Return the achieved user-nanoseconds up to a moment."""
        return self._sum_ns + sum(
            self._of_second(second, live, until_ns) for second, live in self._live.items() if second * SECOND < until_ns
        )

    def _add(self, second: int, users: int) -> None:
        if second >= self._settled:
            self._live[second] = self._live.get(second, 0) + users

    def _settle(self, before: int) -> None:
        """Add up the seconds that nobody will report any more, and forget them."""
        while self._settled < before:
            live = self._live.pop(self._settled, 0)
            self._sum_ns += self._of_second(self._settled, live, (self._settled + 1) * SECOND)
            self._settled += 1

    def _of_second(self, second: int, live: int, until_ns: int) -> int:
        start_ns, end_ns = second * SECOND, min((second + 1) * SECOND, until_ns)
        # The same steps as the plan's: what was asked for in this second is all that can be achieved in it.
        planned_ns = self._profile.whole_integral(end_ns) - self._profile.whole_integral(start_ns)
        return min(int(planned_ns), live * (end_ns - start_ns))


class Iterations:
    """How many iterations all streams have begun and completed, by their newest counters."""

    def __init__(self) -> None:
        self._started: dict[StreamId, int] = {}
        self._completed: dict[StreamId, int] = {}
        self.started = 0
        self.completed = 0

    def observe(self, stream: StreamId, counters: Counters) -> None:
        """Take in the counters of a stream; they only grow, so older ones change nothing."""
        begun = max(counters.iterations_started, self._started.get(stream, 0))
        ended = max(counters.iterations_completed, self._completed.get(stream, 0))
        self.started += begun - self._started.get(stream, 0)
        self.completed += ended - self._completed.get(stream, 0)
        self._started[stream], self._completed[stream] = begun, ended

    def completed_by(self, worker: int) -> int:
        """Return how many iterations the streams of a worker have completed."""
        return sum(done for stream, done in self._completed.items() if stream.worker == worker)


class Saturation:
    """The seconds of load in which an engine's loop lagged, or its schedule slipped, by more than 100 ms."""

    def __init__(self) -> None:
        self._saturated: set[int] = set()

    @property
    def seconds(self) -> int:
        """How many seconds were saturated."""
        return len(self._saturated)

    def observe(self, second: int, lag_ns: int, slip_ns: int) -> None:
        """Take in the figures of one engine for a second of the load; one that is late by seconds was late in each."""
        late_ns = max(lag_ns, slip_ns)
        if late_ns > SATURATED_LAG_NS:
            self._saturated.update(range(max(0, second - late_ns // SECOND), second + 1))
