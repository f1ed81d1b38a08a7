"""How many users there are at each moment of a load, said in code. Asking a shape belongs to the director.

class Steps(Shape):
    def tick(self):
        if self.get_run_time() > 600:
            return None
        return (10 * (1 + int(self.get_run_time() // 60)), 5)
"""

from __future__ import annotations


class Shape:
    """The shape of a load: derive a class, and let `load.shape` of the LoadTest name the most users that it may have.

    One object of it lives in the director of a run. What it says holds for all workers together.
    """

    _seconds: float = 0.0
    _users: int = 0

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there are to be, and how many of them are started a second; None ends the load.

        It is asked each second of the load, and not while that is paused. Users that are too many go at once.
        """
        raise NotImplementedError(f"{type(self).__name__} has no tick()")

    def get_run_time(self) -> float:
        """Return how many seconds the load has run, without pauses."""
        return self._seconds

    def get_current_user_count(self) -> int:
        """Return how many users there are now."""
        return self._users
