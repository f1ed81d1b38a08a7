"""Write into a status how often the pods of workers were made, and read it back: nothing of it may be left out. Pure.

Decisions are made from it, so what is too long as a list is written shorter, and says the same.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def list_attempts(attempts: Mapping[int, int]) -> list[dict[str, int]]:
    """Return `status.workers.attempts`."""
    return [{"worker": worker, "attempt": attempt} for worker, attempt in sorted(attempts.items())]


def read_attempts(workers: Mapping[str, Any]) -> dict[int, int]:
    """Return the newest attempt of each worker whose pod was made more than once, from `status.workers`."""
    attempts = {int(each["worker"]): int(each["attempt"]) for each in workers.get("attempts") or ()}
    first = 0
    for word in str(workers.get("attemptsInOrder") or "").split():
        attempt, _, times = word.partition("*")
        last = first + int(times or 1)
        if attempt != "1":
            attempts |= dict.fromkeys(range(first, last), int(attempt))
        first = last
    return attempts


def shorten_attempts(status: dict[str, Any]) -> bool:
    """Write the list of attempts as one text, if there is a list; return whether there was.

    That takes two bytes a worker where each differs from the one before, and next to none where many are alike.
    """
    workers = status.get("workers") or {}
    if not workers.get("attempts"):
        return False
    attempts = read_attempts(workers)
    del workers["attempts"]
    in_order = (attempts.get(worker, 1) for worker in range(max(attempts) + 1))
    workers["attemptsInOrder"] = " ".join(_word(attempt, len(list(alike))) for attempt, alike in groupby(in_order))
    return True


def _word(attempt: int, times: int) -> str:
    return f"{attempt}*{times}" if times > 1 else str(attempt)
