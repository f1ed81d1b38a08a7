"""Write a line into the run's log, and wait, if asked, until nothing can lose it. The way it takes is the engine's."""

from __future__ import annotations

import sys
from typing import Final

from loadstone import seat
from loadstone_core.stats.metrics import storable

DURABLE_SECONDS: Final = 30.0


def log(message: object, *, durable: bool = False, timeout: float = DURABLE_SECONDS) -> bool:
    """Write a line into the log, as `print` does, which `loadstone logs` shows.

    With `durable` it waits, in its caller only, until the master has the line on its disk: then a crash of this
    engine, of its pod or of its node cannot lose it any more. Other users go on meanwhile. It is for what must not be
    lost (the order that was placed twice), not for every line: a second has room for some ten of them in a user.

    Args:
        message: what to write; it may have several lines. Half a character (a lone surrogate) is shown as `?`.
        durable: wait until the master holds it.
        timeout: seconds to wait at most.

    Returns:
        True; False if `durable` and it is not known to be safe: there was no room for it, or no master in time. It is
        in the pod's own log all the same. Outside of a run nothing is waited for.
    """
    text, taken = storable(str(message)), seat.taken
    if durable and taken is not None:
        return taken.log_durably(text, timeout)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return True
