"""Bring the phase of one run on by what is seen of it, and never back.

How the seen phase is derived from pods and master belongs to the operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadstone_core.lifecycle.phases import Phase


def advance(held: Phase, seen: Phase) -> Phase:
    """Return the phase of a run that was in `held` and is seen in `seen`.

    The later one wins, so a stale look changes nothing; Running and Paused may alternate; a terminal phase stays.
    """
    if held.is_terminal or seen.order < held.order:
        return held
    return seen
