"""Count how often the process of a master was started again, and how long it was away. Pure; one finding says it all.

That a master in another pod has taken over is another finding, said in `takeover`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Cause, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Restarts:
    """The restarts of the masters of one run with which its load went on.

    Attributes:
        count: how many.
        longest_ns: how long a master was away at most; 0 if no start before had lasted long enough to say.
    """

    count: int = 0
    longest_ns: int = 0

    def remember(self) -> list[int]:
        """Return what `recall` needs, as JSON has it."""
        return [self.count, self.longest_ns]

    def recall(self, held: Iterable[int]) -> None:
        """Go on where another master of the run was."""
        self.count, self.longest_ns = held

    def note(self, away_ns: int | None) -> None:
        """Count one more, after so long at most; None: nobody knows."""
        self.count += 1
        self.longest_ns = max(self.longest_ns, away_ns or 0)

    def causes(self) -> tuple[Cause, ...]:
        """Return the finding: one, however many there were."""
        if not self.count:
            return ()
        often, gap = ("", "a gap") if self.count == 1 else (f" {self.count} times", "gaps")
        each = "" if self.count == 1 else " each time"
        away = f" It was away for at most {self.longest_ns / SECOND:.1f} s{each}." if self.longest_ns else ""
        text = (
            f"the master's process ended and was started again{often}; the load went on, and the totals are whole: "
            f"the timeline has {gap} there.{away}"
        )
        return (Cause(Reason.MASTER_RESTARTED, text),)
