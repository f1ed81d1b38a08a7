"""Follow messages that were sent until it is known what became of them, and read what says so from the wire.

When they are sent, and to whom, belongs to `mailroom`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent.event import Event

from loadstone.messages import Answer, Message, Place, Receipt, Status
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.payloads import Payload, decode

if TYPE_CHECKING:
    from loadstone.messages import Sender

Origin = tuple[bool, int, int, int, int]  # of one process: director, worker, attempt, engine, start


class Sent:
    """A message on its way; a `loadstone.messages.Delivery`."""

    __slots__ = ("_answers", "_event", "_expected", "_receipt", "message", "size")

    def __init__(self, message: engine_pb2.CustomMessage, size: int) -> None:
        self.message = message
        self.size = size
        self._expected = -1
        self._answers: dict[Origin, Answer] = {}
        self._receipt: Receipt | None = None
        self._event: Event | None = None

    @property
    def is_done(self) -> bool:
        """Whether it is known what became of the message."""
        return self._receipt is not None

    def wait(self, timeout: float | None = None) -> Receipt:
        """Return what became of the message; raise TimeoutError if that is not known in time."""
        if self._receipt is None:
            self._event = self._event or Event()
            self._event.wait(timeout)
        if self._receipt is None:
            raise TimeoutError(f"what became of a message {self.message.name!r} is not known within {timeout} s")
        return self._receipt

    def expect(self, count: int) -> None:
        """Hear how many processes it went to; once more is about a part of it."""
        if self._expected < 0:
            self._expected = count
        self._look()

    def begin_anew(self) -> None:
        """Forget what was heard: it is told to another hub, which asks all that there are now, and knows how many."""
        self._expected = -1
        self._answers.clear()

    def take(self, origin: Origin, answer: Answer) -> None:
        """Hear what became of it in one of them."""
        self._answers[origin] = answer
        self._look()

    def end(self, reason: str) -> None:
        """Know that nothing more will be heard of it."""
        self._done(Answer(None, Status.REJECTED, reason))

    def _look(self) -> None:
        if 0 <= self._expected <= len(self._answers):
            self._done()

    def _done(self, *more: Answer) -> None:
        if self._receipt is not None:
            return
        answers = (*(self._answers[by] for by in sorted(self._answers)), *more)
        others = sorted((each for each in answers if each.status is not Status.PROCESSED), key=_by_weight)
        status = others[0].status if others else Status.PROCESSED
        self._receipt = Receipt(status, others[0].reason if others else "", answers)
        if self._event is not None:
            self._event.set()


def direct(message: engine_pb2.CustomMessage, by: Origin) -> None:
    """Let a message go to one process only."""
    is_director, worker, _, engine, _ = by
    message.to = engine_pb2.CustomMessage.DIRECTOR if is_director else engine_pb2.CustomMessage.ENGINE
    message.worker, message.engine = worker, engine


def _by_weight(answer: Answer) -> bool:
    return answer.status is not Status.FAILED


def decoded(payload: Payload) -> Any:
    """Return what a handler has returned; None if it cannot be read, which no sender of ours sends."""
    try:
        return decode(payload)
    except ValueError:
        return None


def message_of(message: engine_pb2.CustomMessage) -> Message:
    """Return a message as its handler gets it; raise ValueError if its data cannot be read."""
    return Message(message.name, decode(Payload(message.data, message.is_bytes)), sender_of(message.sender))


def sender_of(peer: engine_pb2.MessagePeer) -> Sender:
    """Return a process as a script names it."""
    return "director" if peer.director else Place(peer.worker, peer.engine)


def origin_of(peer: engine_pb2.MessagePeer) -> Origin:
    """Return a process as it is told from all others."""
    return (peer.director, peer.worker, peer.attempt, peer.engine, peer.start)


def peer_of(origin: Origin) -> engine_pb2.MessagePeer:
    """Return a process as it travels."""
    director, worker, attempt, engine, start = origin
    return engine_pb2.MessagePeer(director=director, worker=worker, attempt=attempt, engine=engine, start=start)
