"""Give out the workers that an installation may have, first come first served. Values only; nobody is woken here.

Looking and taking happen without a pause between them, so two tests at once never exceed the limits. A run holds its
workers from the decision to make their pods to its end; beyond that each pod counts until it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from loadstone_operator.permission import Capacity

if TYPE_CHECKING:
    from collections.abc import Mapping

# How many workers' pods have not ended, by UID of the LoadTest and number of its run.
Alive: TypeAlias = "Mapping[tuple[str, int], int]"


@dataclass(frozen=True, slots=True)
class Limits:
    """The installation's limits; 0 means none."""

    workers_per_test: int = 0
    total_workers: int = 0
    users: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What one test wants, and since when it exists (RFC 3339)."""

    uid: str
    workers: int
    users: int
    created: str


class Ledger:
    """Who holds how many workers, and who waits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: dict[str, tuple[int, int]] = {}
        self._waiting: dict[str, Claim] = {}

    def ask(self, claim: Claim, alive: Alive) -> Capacity:
        """Return whether the claim could be taken now; one that must wait keeps its place in the line."""
        refused = self._refusal(claim)
        if refused:
            self._waiting.pop(claim.uid, None)
            return Capacity(refused=refused)
        total = self._limits.total_workers
        if not total or claim.uid in self._held:
            return Capacity()
        used = self._used(alive)
        ahead = self._ahead(claim)
        if not ahead and used + claim.workers <= total:
            return Capacity()
        self._waiting[claim.uid] = claim
        line = f", and {len(ahead)} older tests wait too" if ahead else ""
        return Capacity(
            waiting=f"Waits for {claim.workers} workers: {used} of the installation's {total} are in use{line}. "
            "It starts by itself when other runs end."
        )

    def hold(self, uid: str, run: int, workers: int) -> bool:
        """Take workers for a run; taking again replaces the run and the number.

        Return whether others may have been waiting for what is given back by that.
        """
        before = self._held.get(uid, (run, 0))[1]
        self._held[uid] = (run, workers)
        return self._waiting.pop(uid, None) is not None or workers < before

    def grow(self, claim: Claim, run: int, now: int, alive: Alive) -> Capacity:
        """Take more workers than it has `now` for a run that goes on; it keeps those if they are not to be had."""
        total, refused = self._limits.total_workers, self._refusal(replace(claim, users=0))
        others = self._used({place: count for place, count in alive.items() if place != (claim.uid, run)}, claim.uid)
        needed = max(claim.workers, alive.get((claim.uid, run), 0))
        ahead = self._ahead(claim)
        if not refused and (not total or (not ahead and others + needed <= total)):
            self.hold(claim.uid, run, claim.workers)
            return Capacity()
        self._held[claim.uid] = (run, now)
        keeps = "1 worker" if now == 1 else f"{now} workers"
        if refused:
            self._waiting.pop(claim.uid, None)
            return Capacity(refused=f"The run goes on with {keeps}: {refused}")
        self._waiting[claim.uid] = claim
        line = f", and {len(ahead)} older tests wait too" if ahead else ""
        return Capacity(
            waiting=f"The run goes on with {keeps} and waits for {claim.workers - now} more: others use {others} of "
            f"the installation's {total}{line}. It gets them by itself when other runs end."
        )

    def release(self, uid: str) -> bool:
        """Note that no run of a test goes on; return whether others may have been waiting for that."""
        return self._held.pop(uid, None) is not None

    def withdraw(self, uid: str) -> bool:
        """Leave the line; return whether others may have stood behind."""
        return self._waiting.pop(uid, None) is not None

    def waiting(self) -> tuple[str, ...]:
        """Return the UIDs of the tests that wait, oldest first."""
        line = sorted(self._waiting.values(), key=lambda claim: (claim.created, claim.uid))
        return tuple(claim.uid for claim in line)

    def _ahead(self, claim: Claim) -> list[Claim]:
        """Return who waits and is older."""
        place = (claim.created, claim.uid)
        return [other for other in self._waiting.values() if (other.created, other.uid) < place]

    def _used(self, alive: Alive, but: str = "") -> int:
        """Return how many workers all have together; what is held for one may be left out."""
        held = {(uid, run): workers for uid, (run, workers) in self._held.items() if uid != but}
        return sum(max(held.get(place, 0), alive.get(place, 0)) for place in held.keys() | alive.keys())

    def _refusal(self, claim: Claim) -> str:
        limits = self._limits
        most = limits.workers_per_test or limits.total_workers
        most = min(most, limits.total_workers) if limits.total_workers else most
        if most and claim.workers > most:
            return (
                f"spec.workers.replicas is {claim.workers}, and this installation allows {most} in one test. "
                "Ask for fewer, or have the chart's limits raised."
            )
        if limits.users and claim.users > limits.users:
            return (
                f"spec.load asks for {claim.users} users, and this installation allows {limits.users} in one test. "
                "Ask for fewer, or have the chart's value limits.users raised."
            )
        return ""
