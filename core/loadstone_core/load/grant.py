"""Say what a grant is: numbers of one name, each given to one engine of the run and never again.

Iterations of a scenario and unique rows of a feeder are numbered so. Who gets how many is decided by the master.
"""

from __future__ import annotations

from typing import NamedTuple


class Grant(NamedTuple):
    """Ranges of one name that one engine may not know yet, and how much it was granted before them.

    A named tuple, as agents pass many on. There may be no ranges: an agent that was started again knows the rest by it.

    Attributes:
        name: `iterations/<scenario>` or `feeder/<name>`.
        engine: of the worker.
        ranges: oldest first.
        first_range: how many ranges of this name the engine was granted before these.
        before: how many numbers were in those.
        end: one more than the highest number that it was ever granted.
    """

    name: str
    engine: int
    ranges: tuple[range, ...]
    first_range: int
    before: int = 0
    end: int = 0


def of_iterations(scenario: str) -> str:
    """Return the name under which the iterations of a scenario are granted."""
    return f"iterations/{scenario}"


def of_feeder(feeder: str) -> str:
    """Return the name under which the rows of a feeder are granted."""
    return f"feeder/{feeder}"
