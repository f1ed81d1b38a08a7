"""Connect the hub of custom messages with the processes of a run: engines by their agents, the director by its link.

What becomes of messages is decided in `hub`.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_core.units import SECOND
from loadstone_protocol.codec import WireError
from loadstone_runner.master.hub import DIRECTOR, Hub, Post, Start
from loadstone_runner.master.member import WorkerState

if TYPE_CHECKING:
    from loadstone_core.clock import Clock
    from loadstone_core.plan.model import RunPlan
    from loadstone_protocol.v1 import engine_pb2
    from loadstone_runner.master.director import Director
    from loadstone_runner.master.exchange import Exchange
    from loadstone_runner.master.roster import Roster
    from loadstone_runner.transport.grpc.bulk import BulkEnd

log = logging.getLogger(__name__)

LOOK_NS: Final = SECOND
BAD_FRAMES_LOGGED: Final = 20


class Mail:
    """The custom messages of one run.

    Attributes:
        bad_frames: how many could not be meant, or not all of their entries, by "worker" and "director".
    """

    def __init__(self, plan: RunPlan, *, clock: Clock, roster: Roster, exchange: Exchange, director: Director) -> None:
        self.bad_frames: Counter[str] = Counter()
        self._clock = clock
        self._roster = roster
        self._director = director
        self._ends: dict[int, BulkEnd] = {}  # of each worker's newest attempt
        self._looked_ns = 0
        self._hub = Hub(
            f"{plan.run.epoch}-{os.urandom(4).hex()}",
            workers=plan.workers,
            engines=plan.engines_per_worker,
            send=self._send,
            absence=self._absence,
        )
        exchange.equip(self._equip)

    def resize(self, workers: int) -> None:
        """Send what is for all workers to so many from now on, and reject what waits for others that never came."""
        self._hub.resize(workers)
        for member in self._roster.members[workers:]:
            if member.state is WorkerState.EXPECTED:
                self.lose(member.worker)

    def look(self) -> None:
        """Look after what may be lost on its way; called a few times a second."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            self._hub.look(now_ns)

    def lose(self, worker: int) -> None:
        """Reject what a worker that is over has not answered."""
        self._hub.lose(worker, self._absence(worker) or f"worker {worker} was lost")
        self._hub.flush(self._clock.monotonic_ns())

    def lose_director(self, why: str) -> None:
        """Reject what the director has not answered."""
        self._hub.lose(DIRECTOR.worker, why)
        self._hub.flush(self._clock.monotonic_ns())

    def hear_director(self, start: int, frame: engine_pb2.MessageFrame) -> None:
        """Take in a frame of the director."""
        self._hear(DIRECTOR, Start(1, start), frame)

    def hear(self, worker: int, attempt: int, frame: engine_pb2.MessageFrame) -> None:
        """Take in a frame of an engine."""
        self._hear(Post(worker, frame.engine), Start(attempt, frame.start), frame)

    def rewind(self, worker: int) -> None:
        """Send a worker again what may have been lost with its connection."""
        self._hub.rewind(worker)
        self._hub.flush(self._clock.monotonic_ns())

    def _equip(self, end: BulkEnd, worker: int, attempt: int) -> None:
        end.passage = _Passage(self, worker, attempt)
        self._ends[worker] = end

    def _hear(self, post: Post, start: Start, frame: engine_pb2.MessageFrame) -> None:
        try:
            self._hub.hear(post, start, frame, self._clock.monotonic_ns())
        except WireError as error:
            # It harms neither the logs on the same connection nor other engines of the same worker.
            self.bad_frames["director" if post == DIRECTOR else "worker"] += 1
            if self.bad_frames.total() <= BAD_FRAMES_LOGGED:
                log.warning("Left out what cannot be meant of a frame of messages: from=%s reason=%s", post, error)

    def _send(self, post: Post, frame: engine_pb2.MessageFrame) -> None:
        if post == DIRECTOR:
            self._director.pass_on(frame)
        elif (end := self._ends.get(post.worker)) is not None:
            end.pass_on(frame)

    def _absence(self, worker: int) -> str:
        if worker == DIRECTOR.worker:
            return "the director's process has ended" if self._director.is_gone else ""
        member = self._roster.members[worker]
        if member.state is WorkerState.EXPECTED and self._roster.is_leaving(member):
            return f"worker {worker} is not wanted any more"
        if not member.state.is_over:
            return ""
        if member.departure is None:
            return f"worker {worker} has ended"
        return f"worker {worker} was lost: {member.departure.message or member.departure.reason}"


class _Passage(NamedTuple):
    """What one worker's attempt says; a `Passage` of its BulkEnd."""

    mail: Mail
    worker: int
    attempt: int

    def on_frame(self, frame: engine_pb2.MessageFrame) -> None:
        """Take in a frame."""
        self.mail.hear(self.worker, self.attempt, frame)

    def on_begin(self) -> None:
        """Send again what may be lost."""
        self.mail.rewind(self.worker)
