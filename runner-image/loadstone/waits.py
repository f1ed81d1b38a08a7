"""How long a user pauses between two iterations. Sleeping belongs to the engine; in open models it does not.

Each function returns one that takes the user and returns seconds: `wait = between(0.5, 2)` in the class of a user.
"""

from __future__ import annotations

from random import uniform
from time import monotonic_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone.users import User

_SECOND_NS = 1_000_000_000


def between(least: float, most: float) -> Callable[[User], float]:
    """Pause for a random time, evenly spread from `least` to `most` seconds.

    Raises:
        ValueError: a bound is negative, or they are the wrong way round.
    """
    if not 0 <= least <= most:
        raise ValueError(f"between({least}, {most}): give two durations in seconds, the shorter one first")

    def wait(_user: User) -> float:
        return uniform(least, most)  # noqa: S311 a pause is no secret

    return wait


def constant(seconds: float) -> Callable[[User], float]:
    """Pause for always the same time.

    Raises:
        ValueError: the duration is negative.
    """
    if not seconds >= 0:
        raise ValueError(f"constant({seconds}): give a duration in seconds")

    def wait(_user: User) -> float:
        return seconds

    return wait


def constant_pacing(seconds: float) -> Callable[[User], float]:
    """Start an iteration every `seconds`, however long it takes; at once if it took longer.

    The starts follow a fixed grid, so small delays do not add up. A user that is late by more than a whole
    distance begins a new grid: missed iterations are not made up for.

    Raises:
        ValueError: the duration is not above zero.
    """
    if not seconds > 0:
        raise ValueError(f"constant_pacing({seconds}): give a duration above zero in seconds")
    distance_ns = round(seconds * _SECOND_NS)

    def wait(user: User) -> float:
        now = monotonic_ns()
        due = max((user.pace_ns or user.iteration_start_ns) + distance_ns, now)
        user.pace_ns = due
        return (due - now) / _SECOND_NS

    return wait


def constant_throughput(per_second: float) -> Callable[[User], float]:
    """Start `per_second` iterations a second and user: `constant_pacing` of the reciprocal.

    Raises:
        ValueError: the rate is not above zero.
    """
    if not per_second > 0:
        raise ValueError(f"constant_throughput({per_second}): give a rate above zero, per second and user")
    return constant_pacing(1 / per_second)
