"""The place that an engine takes while it runs a script, so that `check` and the like reach it.

What is recorded, and how, must not live here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone.messages import Delivery, To
    from loadstone.metrics import MetricKind


class Engine(Protocol):
    """What an engine, a director or a debugger offers to functions that belong to no user."""

    def check(self, name: str, *, ok: bool, labels: Mapping[str, str]) -> None:
        """Count one check."""
        ...

    def record(self, kind: MetricKind, name: str, value: object, labels: Mapping[str, object]) -> None:
        """Record a sample of the script's own metric; what cannot be recorded is counted as an error."""
        ...

    def begin_measured(self) -> int:
        """Count a measured call as started and return the nanoseconds by which its iteration was started late."""
        ...

    def end_measured(  # noqa: PLR0913 the fields of one sample
        self,
        *,
        protocol: str,
        name: str,
        service_ns: int,
        delay_ns: int,
        error: str | None,
        message: str,
        interrupted: bool,
        size: int,
        context: Mapping[str, object],
    ) -> None:
        """Record a measured call that was begun; `error` is None for a success, else its kind."""
        ...

    def next_row(self, feeder: str, count: int = 0) -> int | None:
        """Return the next row's number that no other user of the run gets, waiting for it; None: the load is over.

        `count` is how many rows there are; 0: they begin again after the last.
        """
        ...

    def count_error(self, kind: str, message: str, name: str) -> None:
        """Count something that went wrong and raised nothing."""
        ...

    def stop_run(self, why: str) -> None:
        """Ask for the end of the run."""
        ...

    def send_message(self, name: str, data: Any, to: To | None) -> Delivery:
        """Send a custom message."""
        ...

    def log_durably(self, text: str, timeout: float) -> bool:
        """Write a line and wait until the master holds it, at most so many seconds; return whether it does."""
        ...


# One script runs in one engine in one process, so one place is enough.
taken: Engine | None = None
config: Mapping[str, str] = {}


def take(engine: Engine | None) -> None:
    """Let `engine` serve the script from now on; None: nothing is recorded."""
    global taken  # noqa: PLW0603 a script calls plain functions, so the place they look at is the module's
    taken = engine


def set_config(values: Mapping[str, str]) -> None:
    """Let `loadstone.config` have these values from now on."""
    global config  # noqa: PLW0603 the same
    config = dict(values)
