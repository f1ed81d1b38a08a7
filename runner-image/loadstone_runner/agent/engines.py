"""Know the engines of one worker: who lives, who has applied what, what of theirs the master holds. Pure.

What follows from it is decided in `session`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadstone_protocol.messages import EngineStage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_protocol.messages import EngineEnd
    from loadstone_runner.agent.effects import EngineStatus, ProcessEnd

# The launcher may say that a process has ended before the last of what it sent has been read from its own socket.
LAST_WORDS_NS: Final = 1_000_000_000
START_MAX: Final = 2**32 - 1  # what the messages to the master can name


@dataclass(slots=True)
class EngineView:
    """One start of one engine.

    Attributes:
        sequence: of the newest state that this agent holds.
        received: the newest sequence that the master on the present connection says it has.
        start_at_ns: when the load starts that it follows, by its own word; 0 = it knows of none.
        first_start_ns: when its load began, on this machine's clock; 0 = not yet.
        process_end: the process has ended, at `process_end_ns`.
        end: what the master is told about it.
    """

    engine: int
    start: int
    is_connected: bool = False
    stage: EngineStage = EngineStage.LOADING
    users: int = 0
    applied_revision: int = 0
    leaving: int = 0
    sequence: int = 0
    has_final: bool = False
    received: int = 0
    start_at_ns: int = 0
    first_start_ns: int = 0
    process_end: ProcessEnd | None = None
    process_end_ns: int = 0
    is_concluding: bool = False
    end: EngineEnd | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the master has the newest state."""
        return self.received >= self.sequence

    def may_conclude(self, now_ns: int) -> bool:
        """Return whether the process has ended and everything it said has been heard."""
        if self.process_end is None or self.is_concluding:
            return False
        return not self.is_connected or now_ns - self.process_end_ns >= LAST_WORDS_NS


class Engines:
    """The engines 0 to `expected` - 1, each in all of its starts."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self._views: dict[tuple[int, int], EngineView] = {}

    def __iter__(self) -> Iterator[EngineView]:
        return iter(self._views.values())

    def get(self, engine: int, start: int) -> EngineView:
        """Return what is known of one start of an engine; nothing yet, if it is new."""
        return self._views.setdefault((engine, start), EngineView(engine, start))

    def find(self, engine: int, start: int) -> EngineView | None:
        """Return what is known of one start of an engine, None if that is nothing."""
        return self._views.get((engine, start))

    def accepts(self, engine: int, start: int) -> bool:
        """Return whether there is such an engine, and no later start of it is known."""
        is_one = 0 <= engine < self.expected and 0 < start <= START_MAX
        return is_one and all(view.start <= start for view in self if view.engine == engine)

    def current(self) -> list[EngineView]:
        """Return the newest start of each engine that is known, in the order of the engines."""
        newest: dict[int, EngineView] = {}
        for view in self:
            if view.engine not in newest or newest[view.engine].start < view.start:
                newest[view.engine] = view
        return [newest[engine] for engine in sorted(newest)]

    def living(self) -> list[int]:
        """Return the numbers of the engines that have not ended, also of those that have not come yet."""
        ended = {view.engine for view in self.current() if view.process_end is not None}
        return [engine for engine in range(self.expected) if engine not in ended]

    def have_applied(self, revision: int) -> bool:
        """Return whether every engine has come and has applied a revision, or has ended."""
        current = self.current()
        return len(current) == self.expected and all(
            view.process_end is not None or view.applied_revision >= revision for view in current
        )

    def have_ended(self) -> bool:
        """Return whether every engine has come and ended, and every end is known."""
        return len(self.current()) == self.expected and all(view.end is not None for view in self)

    def ends(self) -> tuple[EngineEnd, ...]:
        """Return all ends that are known, in the order of their streams."""
        return tuple(sorted((view.end for view in self if view.end is not None), key=lambda end: end.stream))

    def hear(self, view: EngineView, status: EngineStatus) -> bool:
        """Take in what an engine says of itself; return whether the master should know at once."""
        told = (status.stage, status.applied_revision, status.leaving)
        is_news = (view.stage, view.applied_revision, view.leaving) != told
        view.stage = status.stage
        view.users = status.users
        view.applied_revision = status.applied_revision
        view.leaving = status.leaving
        view.start_at_ns = status.start_at_ns
        return is_news
