"""Reconcile what an engine's counters say with what its histograms hold: nothing lost is silent, nothing is negative.

What a number of lost requests does to the verdict is decided in `loadstone_core.verdict`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import TYPE_CHECKING

from loadstone_core.stats.stream import Counters

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Account:
    """What one stream did, or several together.

    Attributes:
        requests: completed ones.
        started: requests begun.
        unsent: completed without having reached the target.
        ambiguous: completed, and the target may or may not have counted them.
        measured: completed, and measured by hand: no client of ours sent them.
        iterations: completed ones.
        unaccounted: requests completed that no histogram holds.
        iterations_unaccounted: iterations completed that no histogram holds.
        counters_behind: requests that a histogram holds and the counters lack; the histogram was believed.
        unknown_streams: streams that ended without anybody knowing their counters: `unaccounted` means at least.
        warm_up: requests completed in the warm-up, in no other number.
    """

    requests: int = 0
    started: int = 0
    unsent: int = 0
    ambiguous: int = 0
    measured: int = 0
    iterations: int = 0
    unaccounted: int = 0
    iterations_unaccounted: int = 0
    counters_behind: int = 0
    unknown_streams: int = 0
    warm_up: int = 0


@dataclass(slots=True)
class Recorded:
    """What the histograms of one stream hold, in the words of its counters."""

    completed: int = 0
    unsent: int = 0
    ambiguous: int = 0
    iterations_completed: int = 0


def reconcile(counters: Counters, recorded: Recorded, *, ended: bool, known: bool) -> Account:
    """Return the account of one stream.

    The engine counts a request before it records it, so its counters are ahead or equal; where the last write raced
    with a kill and the histograms hold more, they are believed and the difference is stated.

    Args:
        counters: the newest of the stream.
        recorded: what its merged histograms hold.
        ended: no more will come, so what the histograms lack is unaccounted; before that it is only not reported yet.
        known: the counters are those of the stream's end.
    """
    completed = max(counters.completed, recorded.completed)
    iterations = max(counters.iterations_completed, recorded.iterations_completed)
    return Account(
        requests=completed,
        started=max(counters.started, completed),
        unsent=max(counters.unsent, recorded.unsent),
        ambiguous=max(counters.ambiguous, recorded.ambiguous),
        measured=counters.measured,
        iterations=iterations,
        unaccounted=completed - recorded.completed if ended else 0,
        iterations_unaccounted=iterations - recorded.iterations_completed if ended else 0,
        counters_behind=completed - counters.completed,
        unknown_streams=int(ended and not known),
        warm_up=counters.warm_up,
    )


def sum_of(accounts: Iterable[Account]) -> Account:
    """Return one account of several."""
    names = [field.name for field in fields(Account)]
    rows = [[getattr(account, name) for name in names] for account in accounts]
    return Account(*map(sum, zip(*rows, strict=True))) if rows else Account()


def latest(one: Counters, other: Counters) -> Counters:
    """Return the newer of two readings of the same counters, field by field: they only grow."""
    names = (field.name for field in fields(Counters) if field.name != "scenarios")
    newest = {name: max(getattr(one, name), getattr(other, name)) for name in names}
    pairs = zip_longest(one.scenarios, other.scenarios, fillvalue=(0, 0))
    iterations = tuple((max(left[0], right[0]), max(left[1], right[1])) for left, right in pairs)
    return Counters(**newest, scenarios=iterations)
