"""Let the script's listeners in the director hear how the run goes. What they then do is the script's affair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from loadstone_core.load.profile import Model
from loadstone_core.units import MICROSECOND, SECOND
from loadstone_runner.master.run import Stage

if TYPE_CHECKING:
    from loadstone_core.load.profile import LoadProfile
    from loadstone_protocol.views import ProgressView


class Listening(Protocol):
    """Who passes it on to the script."""

    def announce(self, event: str, *, worker: int = 0, message: str = "") -> None:
        """Tell an event; worker and message are of a lost worker."""
        ...

    def summarize(self, summary: dict[str, Any]) -> None:
        """Show the run so far; the fields are those of engine.proto."""
        ...


class Announcements:
    """What was announced of one run; each event once, a lost worker each time."""

    def __init__(self, listening: Listening, load: LoadProfile) -> None:
        self._listening = listening
        # Arrivals have no number of users that is to be reached.
        self._peak = 0 if load.model is Model.RATE else load.profile.peak
        self._told: set[str] = set()

    def enter(self, stage: Stage) -> None:
        """Announce that the load begins."""
        if stage is Stage.RUNNING_LOAD:
            self._once("test_start")

    def end_load(self) -> None:
        """Announce that all users have ended, if any have begun."""
        if "test_start" in self._told:
            self._once("test_stop")

    def lose(self, worker: int, message: str) -> None:
        """Announce that a worker is lost."""
        self._listening.announce("worker_lost", worker=worker, message=message)

    def show(self, progress: ProgressView) -> None:
        """Show the run at the end of a second."""
        self._listening.summarize(
            {
                "seconds": progress.elapsed_ns // SECOND,
                "users": progress.users,
                "requests": progress.requests,
                "failures": progress.failures,
                "requestsPerSecond": progress.requests_per_second,
                "failuresPerSecond": progress.failures_per_second,
                "p50Micros": progress.p50_ns // MICROSECOND,
                "p95Micros": progress.p95_ns // MICROSECOND,
                "p99Micros": progress.p99_ns // MICROSECOND,
                "iterations": progress.iterations,
                "dropped": progress.dropped_iterations,
            }
        )
        if progress.users >= self._peak:
            self._once("spawning_complete")

    def _once(self, event: str) -> None:
        if event not in self._told:
            self._told.add(event)
            self._listening.announce(event)
