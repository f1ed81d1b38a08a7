"""Divide whole numbers of users and iterations among slots, so that the parts always sum to the whole.

When a slot gets more or less belongs to `pacing`; who owns a slot belongs to the master.
"""

from __future__ import annotations


def share(whole: int, index: int, parts: int) -> int:
    """Return how many of `whole` things the part `index` (0-based) of `parts` has.

    Things are dealt out one by one, so part `index` has exactly the things `interleave` names. The parts sum to the
    whole and differ by one at most, and a part never shrinks while the whole grows: nobody is moved by a ramp.
    """
    return (whole + parts - 1 - index) // parts


def interleave(whole: int, index: int, parts: int) -> range:
    """Return the numbers below `whole` that belong to the part `index`: those with `number % parts == index`."""
    return range(index, whole, parts)


def slot_of(worker: int, engine: int, workers: int) -> int:
    """Return the slot of an engine: all workers' first engines come before any second one.

    So a load that is smaller than the number of slots still spreads over all workers.
    """
    return engine * workers + worker
