"""Let the script's listeners in the director hear how the run goes. What they then do is the script's affair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from loadstone_core.load.profile import Model
from loadstone_core.units import SECOND
from loadstone_runner.master.run import Stage

if TYPE_CHECKING:
    from loadstone_core.load.profile import LoadProfile
    from loadstone_protocol.views import ProgressView

_MILLI: Final = 1_000_000


class Listening(Protocol):
    """Who passes it on to the script."""

    def announce(self, event: str, **told: Any) -> None:
        """Tell an event with a listener's keyword arguments."""
        ...

    def summarize(self, summary: dict[str, Any]) -> None:
        """Show the run so far; the fields are those of `loadstone.Summary`."""
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

    def lose(self, worker: int, reason: str, message: str) -> None:
        """Announce that a worker is lost."""
        self._listening.announce("worker_lost", worker=worker, reason=reason, message=message)

    def show(self, progress: ProgressView) -> None:
        """Show the run at the end of a second."""
        if progress.users >= self._peak:
            self._once("spawning_complete", user_count=progress.users)
        self._listening.summarize(
            {
                "seconds": progress.elapsed_ns / SECOND,
                "users": progress.users,
                "requests": progress.requests,
                "failures": progress.failures,
                "rate": progress.requests_per_second,
                "p50": progress.p50_ns / _MILLI,
                "p95": progress.p95_ns / _MILLI,
                "p99": progress.p99_ns / _MILLI,
                "iterations": progress.iterations,
                "dropped": progress.dropped_iterations,
            }
        )

    def _once(self, event: str, **told: Any) -> None:
        if event not in self._told:
            self._told.add(event)
            self._listening.announce(event, **told)
