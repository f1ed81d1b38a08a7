"""Say for how long a run's master is waited for, by what the run was planned with: it has deadlines of its own. Pure.

What becomes of the run when that time is over is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.units import SECOND
from loadstone_operator.observation import DEFAULT_LEASE_NS, Accepted, Stage

if TYPE_CHECKING:
    from loadstone_operator.observation import Observation

# What a master may still do, beside gracefulStop: 15 s for its workers' last states, 30 s of teardown, its verdict.
LAST_SECONDS: Final = 15.0 + 30.0 + 10.0
_ENDING: Final = frozenset({Stage.STOPPING, Stage.FINISHED})
# Of a run whose status is of an earlier release, and whose spec is not valid any more.
_DEFAULT_GRACE_SECONDS: Final = 30.0
_DEFAULT_STARTUP_SECONDS: Final = 600.0
# A master counts startupTimeout from its own start, so it ends the run later than startupTimeout after the beginning.
# One that starts later than that is not waited for, so by twice that time the latest has ended its run; 60 s are for
# the difference between its start and the moment at which it is heard, and for its tick. On a full disk it may need
# longer, and one that was started again counts anew.
_OVERTIME_SECONDS: Final = 60.0
# Beyond its lease a worker waits 120 s for a master that takes what it has measured, counted from the end of its
# engines, which are killed 2 s after the lease and have some to end. No master is given up before all workers are gone.
_BEYOND_A_LEASE_SECONDS: Final = 120.0 + 10.0


def is_master_given_up(seen: Observation) -> bool:
    """Say whether a master was not heard for so long that no worker waits for one any more."""
    lease_ns = max((pod.lease_ns for pod in seen.pods if pod.run == seen.run), default=DEFAULT_LEASE_NS)
    return seen.seconds_unheard >= lease_ns / SECOND + _BEYOND_A_LEASE_SECONDS


def is_left_alone(seen: Observation) -> bool:
    """Say whether a master hangs: nobody hears it, its workers are over, and it would have ended its run by now."""
    return is_master_given_up(seen) and seen.held.has_ordered_load and seen.seconds_alone >= LAST_SECONDS


def is_stop_overdue(seen: Observation) -> bool:
    """Say whether a run that is to stop has had all the time that it may take, and is not about to end.

    A master that is heard and says that it stops keeps its own time. Of any other the time counts from when it could
    hear of the stop, or could still say something.
    """
    master = seen.master
    if master is not None and master.connected:
        return master.stage not in _ENDING and min(seen.seconds_stopping, seen.seconds_heard) >= _stop_seconds(seen)
    return min(seen.seconds_stopping, seen.seconds_unheard) >= _stop_seconds(seen)


def is_masters_to_end(seen: Observation) -> bool:
    """Say whether a start that takes too long is the master's to end, for only it can undo what setup has made.

    With a quorum it does not even end then: the load begins.
    """
    master = seen.master
    if master is None or master.stage is None:
        return False
    return master.connected or seen.seconds_unheard < LAST_SECONDS


def most_seconds_of_start(seen: Observation) -> float:
    """Return after how much time, from the beginning of the run, the operator itself ends a start."""
    startup_seconds = seconds_of_start(seen)
    return 2 * startup_seconds + _OVERTIME_SECONDS if is_masters_to_end(seen) else startup_seconds


def seconds_of_start(seen: Observation) -> float:
    """Return how long a start may take, as the run was planned."""
    planned_ns = seen.held.startup_timeout_ns if seen.held.run == seen.run else None
    if planned_ns is None and isinstance(seen.spec, Accepted):
        planned_ns = seen.spec.startup_timeout_ns
    return _DEFAULT_STARTUP_SECONDS if planned_ns is None else planned_ns / SECOND


def _stop_seconds(seen: Observation) -> float:
    planned_ns = seen.held.graceful_stop_ns if seen.held.run == seen.run else None
    if planned_ns is None and isinstance(seen.spec, Accepted):
        planned_ns = seen.spec.graceful_stop_ns
    grace = _DEFAULT_GRACE_SECONDS if planned_ns is None else planned_ns / SECOND
    return grace + LAST_SECONDS
