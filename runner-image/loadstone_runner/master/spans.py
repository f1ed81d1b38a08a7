"""Count whole seconds of a run: neighbours are one span, and of too many the oldest are but a number. Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Two hours at least, as there is a second between any two spans. A checkpoint of the run is written each two seconds.
SPANS_MAX: Final = 4_000


class Spans:
    """Seconds that were seen, each once."""

    def __init__(self) -> None:
        self._firsts: list[int] = []  # of spans, in order
        self._ends: list[int] = []  # the second behind each
        self._settled = 0  # seconds of spans that are not kept any more
        self._settled_until = 0  # no second before this one changes anything any more

    def add(self, first: int, end: int) -> None:
        """Note the seconds from `first` to the one before `end`."""
        first = max(first, self._settled_until)
        if first >= end:
            return
        # Those that touch it become one with it.
        low, high = bisect_left(self._ends, first), bisect_left(self._firsts, end + 1)
        if low < high:
            first, end = min(first, self._firsts[low]), max(end, self._ends[high - 1])
        self._firsts[low:high], self._ends[low:high] = [first], [end]
        if len(self._firsts) > SPANS_MAX:
            self._settle(SPANS_MAX // 2)

    def count(self, end: int) -> int:
        """Return how many there are before `end`, which is not earlier than an hour before the newest."""
        kept = sum(max(0, min(last, end) - first) for first, last in zip(self._firsts, self._ends, strict=True))
        return self._settled + kept

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        settled = [self._settled, self._settled_until]
        return {"firsts": list(self._firsts), "ends": list(self._ends), "settled": settled}

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another has counted."""
        self._firsts, self._ends = list(held["firsts"]), list(held["ends"])
        self._settled, self._settled_until = held["settled"]

    def _settle(self, oldest: int) -> None:
        self._settled += sum(self._ends[:oldest]) - sum(self._firsts[:oldest])
        self._settled_until = self._ends[oldest - 1]
        del self._firsts[:oldest], self._ends[:oldest]
