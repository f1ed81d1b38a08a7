"""Ask the script's shape each second how many users there are to be. Making them so belongs to the master."""

from __future__ import annotations

import json
import logging
import math
from typing import TYPE_CHECKING, Final

from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.events import Lane
from loadstone_runner.engine.tracebacks import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone import Shape
    from loadstone_runner.engine.events import CountError

log = logging.getLogger("loadstone.director")

USERS_MOST: Final = 100_000_000


class Shaping:
    """The shape of one script.

    Attributes:
        lane: in which it is asked, so that one that blocks keeps nobody else waiting.
        wanted: what it has said last; None before its first word.
    """

    def __init__(self, made: type[Shape], *, count: CountError, on_change: Callable[[], None]) -> None:
        """Be ready to ask a shape; `on_change` is called when it wants something else."""
        self.lane = Lane(self._ask, f"{made.__name__}.tick", count=count, queue_max=1)
        self.wanted: engine_pb2.ShapeState | None = None
        self._made = made
        self._shape: Shape | None = None
        self._on_change = on_change

    def hear(self, content: bytes) -> None:
        """Take the newest summary, see engine.proto: it is time to ask again, if the load is not paused."""
        told = json.loads(content)
        is_done = self.wanted is not None and (self.wanted.over or self.wanted.failed)
        if not is_done and not told.get("paused") and self.lane.is_idle:
            self.lane.put({"seconds": told.get("loadSeconds", 0.0), "users": told.get("users", 0)})

    def _ask(self, seconds: float, users: int) -> None:
        try:
            if self._shape is None:
                self._shape = self._made()
            self._shape._seconds, self._shape._users = seconds, users  # noqa: SLF001 the engine's side of the class
            wanted = wanted_of(self._shape.tick())
        except Exception as error:
            log.exception("The shape raised")
            wanted = engine_pb2.ShapeState(failed=f"{self._made.__name__}.tick: {text_of(error)}")
        if wanted != self.wanted:
            self.wanted = wanted
            self._on_change()


def wanted_of(told: object) -> engine_pb2.ShapeState:
    """Return what a tick has returned as it travels: whole users, and a whole number of them started a second.

    Raises:
        ValueError: it is neither None nor a number of users with a spawn rate above zero.
    """
    if told is None:
        return engine_pb2.ShapeState(over=True)
    if not isinstance(told, tuple | list) or len(told) != 2:  # noqa: PLR2004 users and spawn rate
        raise ValueError(f"it returned {told!r}; it must return (users, spawn_rate), or None to end the load")
    users, spawn_rate = told
    is_number = all(isinstance(each, int | float) and not isinstance(each, bool) for each in told)
    if not is_number or not 0 <= users <= USERS_MOST or not 0 < spawn_rate < math.inf:
        raise ValueError(f"it returned {told!r}; users are 0 to {USERS_MOST}, and the spawn rate is above 0")
    return engine_pb2.ShapeState(users=int(users), spawn_rate=min(USERS_MOST, math.ceil(spawn_rate)))
