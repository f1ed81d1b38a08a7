"""The place that an engine takes while it runs a script, so that `check` and the like reach its statistics.

What is recorded, and how, must not live here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Instruments(Protocol):
    """What an engine offers to functions that belong to no user."""

    def check(self, name: str, *, ok: bool, labels: Mapping[str, str]) -> None:
        """Count one check."""
        ...


# One script runs in one engine in one process, so one place is enough.
taken: Instruments | None = None


def take(instruments: Instruments | None) -> None:
    """Let `instruments` record from now on; None: nothing is recorded."""
    global taken  # noqa: PLW0603 a script calls plain functions, so the place they look at is the module's
    taken = instruments
