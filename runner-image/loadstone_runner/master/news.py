"""Decide what a director is told of how its run is and what happens to it. Pure; sending it is `director`'s affair."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from loadstone_core.load.profile import Model
from loadstone_core.units import MICROSECOND, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_protocol.views import ProgressView
    from loadstone_runner.master.account import Account


class Happened(StrEnum):
    """What may happen to a run that its director is told."""

    TEST_START = "test_start"
    SPAWNING_COMPLETE = "spawning_complete"
    WORKER_LOST = "worker_lost"
    TEST_STOP = "test_stop"


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that has happened; worker and message are of a lost worker."""

    happened: Happened
    worker: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """How the run is, as JSON; see engine.proto."""

    json: bytes


class News:
    """What a director was told of its run: each second once, each event once."""

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        self._accounts = accounts
        self._second = -1
        self._has_spawned = False

    def remember(self) -> tuple[int, bool]:
        """Return what `recall` needs."""
        return self._second, self._has_spawned

    def recall(self, second: int, has_spawned: bool) -> None:  # noqa: FBT001 as `remember` returns it
        """Go on where another was: what it has told is no news."""
        self._second, self._has_spawned = second, has_spawned

    def each_second(
        self, progress: ProgressView, *, idle_ns: int = 0, is_paused: bool = False
    ) -> Iterator[Incident | Summary]:
        """Yield what is new in a load of which `progress` is the newest view; nothing within the same second."""
        second = progress.elapsed_ns // SECOND
        if second <= self._second:
            return
        self._second = second
        load_ns = progress.elapsed_ns - idle_ns
        paused = {"paused": is_paused, "loadSeconds": load_ns / SECOND}
        yield Summary(json.dumps(self._summary(progress) | paused, separators=(",", ":")).encode())
        if not self._has_spawned and not is_paused and self._have_all_come():
            self._has_spawned = True
            yield Incident(Happened.SPAWNING_COMPLETE)

    def _have_all_come(self) -> bool:
        """Say whether every closed scenario has the most users that it asks for; arrivals have none to wait for."""
        loads = [(each.scenario.load, each.user_seconds.users) for each in self._accounts]
        closed = [(load, users) for load, users in loads if load.model is not Model.RATE]
        # A shape asks for nobody before its first word.
        return all(users >= load.profile.peak + (load.is_shaped and not users) for load, users in closed)

    def _summary(self, progress: ProgressView) -> dict[str, Any]:
        return {
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
            "scenarios": {
                account.scenario.name: {
                    "users": account.user_seconds.users,
                    "iterations": account.iterations.completed,
                    "percent": account.percent(progress.elapsed_ns),
                }
                for account in self._accounts
            },
        }
