"""Say for how long a run's master is waited for, by what the run was planned with: it has deadlines of its own. Pure.

What becomes of the run when that time is over is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.units import SECOND
from loadstone_operator.observation import Accepted, Stage

if TYPE_CHECKING:
    from loadstone_operator.observation import Observation

# What a master may still do, beside gracefulStop: 15 s for its workers' last states, 30 s of teardown, its verdict.
LAST_SECONDS: Final = 15.0 + 30.0 + 10.0
_ENDING: Final = frozenset({Stage.STOPPING, Stage.FINISHED})
# Of a run whose status is of an earlier release, and whose spec is not valid any more.
_DEFAULT_GRACE_SECONDS: Final = 30.0


def is_stop_overdue(seen: Observation) -> bool:
    """Say whether a run that is to stop has had all the time that it may take, and is not about to end.

    A master that is heard and says that it stops keeps its own time. Of any other the time counts from when it could
    hear of the stop, or could still say something.
    """
    master = seen.master
    if master is not None and master.connected:
        return master.stage not in _ENDING and min(seen.seconds_stopping, seen.seconds_heard) >= _stop_seconds(seen)
    return min(seen.seconds_stopping, seen.seconds_unheard) >= _stop_seconds(seen)


def _stop_seconds(seen: Observation) -> float:
    planned_ns = seen.held.graceful_stop_ns if seen.held.run == seen.run else None
    if planned_ns is None and isinstance(seen.spec, Accepted):
        planned_ns = seen.spec.graceful_stop_ns
    grace = _DEFAULT_GRACE_SECONDS if planned_ns is None else planned_ns / SECOND
    return grace + LAST_SECONDS
