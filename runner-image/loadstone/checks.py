"""Say whether something that the script expects holds. Counting it belongs to the engine."""

from __future__ import annotations

from loadstone import seat


def check(name: str, ok: object, /, **labels: str) -> bool:
    """Record whether an expectation holds and return it as True or False, so that a task can go on or not.

    A check that does not hold fails neither the request nor the iteration: put a threshold on
    `checks{name="..."}:rate` for that. Outside of an engine nothing is recorded.

    Args:
        name: the same few words each time: every name is a series of its own.
        ok: anything; its truth is what counts.
        labels: divide the check further; few different values, as each combination is a series.
    """
    held = not not ok  # noqa: SIM208 the name `bool` would cost as much as all the rest of this
    taken = seat.taken
    if taken is not None:
        taken.check(name, ok=held, labels=labels)
    return held
