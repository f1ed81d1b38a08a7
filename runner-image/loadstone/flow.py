"""End something from within a script: one user, a task set, or the whole run. Obeying belongs to the engine."""

from __future__ import annotations

from typing import Final

from loadstone import seat

WHY_MAX: Final = 500


class StopUser(Exception):  # noqa: N818 the name that Locust users know; it is no error
    """Raise it in a user's code to end that user: the iteration counts as completed, nobody takes its place."""


class InterruptTaskSet(Exception):  # noqa: N818 the same
    """Leave the innermost task set; `TaskSet.interrupt()` raises it.

    Attributes:
        reschedule: go on at once with the parent's next task, without the pause in between.
    """

    def __init__(self, *, reschedule: bool = True) -> None:
        super().__init__("interrupt() leaves a task set, so it belongs into a task of one")
        self.reschedule = reschedule


def stop_run(why: str) -> None:
    """End the whole run gracefully: no new iterations, running ones may finish, teardown runs, results are kept.

    The verdict is Aborted with the reason Stopped and `why` as its sentence. Works in engines (tasks, listeners) and in
    the director (setup, listeners, `every`); whoever asks first is the one that is quoted. This returns at once, so
    `raise StopUser` or return after it if the user should do nothing more. Outside of an engine nothing happens.

    Args:
        why: one sentence for the status; at most 500 characters are kept.
    """
    taken = seat.taken
    if taken is not None:
        taken.stop_run(str(why)[:WHY_MAX] or "the script gave no reason")
