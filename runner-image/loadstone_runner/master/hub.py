"""Route custom messages between the processes that run the script, and their answers back. Everybody has a leg to here.

What is not answered is known by where it went, so that a message to a process that is gone is rejected to its sender.
Who is over is known elsewhere, and how frames travel; what messages say is not looked into.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import DecodeError

from loadstone_protocol.codec import WireError
from loadstone_protocol.legs import Leg
from loadstone_protocol.v1 import engine_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME_MAX: Final = 128
REASON_MAX: Final = 1_024
DATA_MAX_BYTES: Final = 256 * 1024
# Of one sender: answers that are still to come, and how many messages a second.
AWAITED_MAX: Final = 100_000
RATE_PER_SECOND: Final = 5_000
BURST: Final = 10_000
NUMBER_MAX: Final = 2**53
_SECOND: Final = 1_000_000_000

_Audience = engine_pb2.CustomMessage
_Answer = engine_pb2.MessageAnswer
_FINAL: Final = frozenset({_Answer.PROCESSED, _Answer.REJECTED, _Answer.FAILED})
_PASSING: Final = frozenset({_Answer.BUSY, _Answer.RESUME})


class Post(NamedTuple):
    """A place for one process that runs the script: an engine of a worker; the director is worker -1."""

    worker: int
    engine: int

    def __str__(self) -> str:
        """Return it for people."""
        return "the director" if self == DIRECTOR else f"worker {self.worker} engine {self.engine}"


DIRECTOR: Final = Post(-1, 0)


class Start(NamedTuple):
    """Which process is at a post: the attempt of its worker, and which start of the engine."""

    attempt: int
    start: int


NOBODY: Final = Start(0, 0)


class _Member:
    """Whoever is at a post, and what it was sent and has not answered, by (sender's post, sender's start, id)."""

    __slots__ = ("allowance", "awaited", "filled_ns", "leg", "open", "start", "unsaid")

    def __init__(self, hub: str) -> None:
        self.start = NOBODY
        self.leg = Leg(hub)
        self.open: dict[tuple[Post, Start, int], None] = {}
        self.awaited = 0
        self.allowance = float(BURST)
        self.filled_ns = 0
        self.unsaid: deque[bytes] = deque()


class Hub:
    """The legs of one run, by post."""

    def __init__(
        self,
        name: str,
        *,
        workers: int,
        engines: int,
        send: Callable[[Post, engine_pb2.MessageFrame], None],
        absence: Callable[[int], str],
    ) -> None:
        """Begin without anybody.

        Args:
            name: tells this start of a master from any other.
            workers: how many the run has.
            engines: how many each of them has.
            send: passes a frame on.
            absence: says why a worker (-1: the director) is over; empty: it is not.
        """
        self._name = name
        self._legs = 0
        self._workers = self._most = workers
        self._engines = engines
        self._send = send
        self._absence = absence
        self._members: dict[Post, _Member] = {}
        self._unflushed: dict[Post, _Member] = {}

    def hear(self, post: Post, start: Start, frame: engine_pb2.MessageFrame, now_ns: int) -> None:
        """Take in a frame of a process.

        Raises:
            WireError: it cannot be meant, or some of its entries cannot, which it says; the others were taken in.
        """
        if not self._is_place(post):
            raise WireError(f"there is no {post} in this run")
        member = self._arrive(post, start)
        if member is None:
            return
        self._unflushed[post] = member
        problems: list[WireError] = []
        if frame.hub != member.leg.hub:
            # It does not know this leg yet, so what it says was not meant for it.
            member.leg.rewind()
        else:
            # The leg has all of them, so nobody sends again what stands behind one that cannot be meant.
            for content in member.leg.hear(frame, now_ns):
                try:
                    self._take(post, member, content, now_ns)
                except WireError as error:
                    problems.append(error)
        self.flush(now_ns)
        if problems:
            raise WireError(f"{len(problems)} of its {len(frame.entries)} entries: {problems[0]}") from problems[0]

    def lose(self, worker: int, why: str) -> None:
        """Reject whatever a worker (-1: the director) has not answered."""
        for post, member in list(self._members.items()):
            if post.worker == worker:
                self._clear(post, member, why)

    def rewind(self, worker: int) -> None:
        """Send a worker's engines again what they have not received: the way to them was made anew."""
        for post, member in self._members.items():
            if post.worker == worker:
                member.leg.rewind()
                self._unflushed[post] = member

    def look(self, now_ns: int) -> None:
        """Send again what seems to be lost; called each second."""
        for post, member in self._members.items():
            member.leg.look(now_ns)
            self._unflushed[post] = member
        self.flush(now_ns)

    def flush(self, now_ns: int) -> None:
        """Send what is due."""
        unflushed, self._unflushed = self._unflushed, {}
        for post, member in unflushed.items():
            if member.start == NOBODY:
                continue
            while member.unsaid and member.leg.put(member.unsaid[0]):
                member.unsaid.popleft()
            while (frame := member.leg.next_frame(now_ns)) is not None:
                frame.engine, frame.start = post.engine, member.start.start
                self._send(post, frame)

    # Who is there.

    def resize(self, workers: int) -> None:
        """Send what is for all workers to so many from now on; those beyond them are still heard."""
        self._workers, self._most = workers, max(self._most, workers)

    def _is_place(self, post: Post) -> bool:
        return post == DIRECTOR or (0 <= post.worker < self._most and 0 <= post.engine < self._engines)

    def _at(self, post: Post) -> _Member:
        """Return whoever is at a post, or will be."""
        if post not in self._members:
            self._members[post] = self._fresh()
        return self._members[post]

    def _fresh(self) -> _Member:
        # A leg has a name of its own, so that whoever comes back to another one begins anew as well.
        self._legs += 1
        return _Member(f"{self._name}.{self._legs}")

    def _arrive(self, post: Post, start: Start) -> _Member | None:
        """Return who is at a post; None if the frame is of a process that is over."""
        member = self._at(post)
        if start < member.start or self._absence(post.worker):
            return None
        if member.start not in {NOBODY, start}:
            member = self._clear(post, member, f"{post} was started anew")
            # Nobody waits any more for answers to what the former one has sent.
            member.awaited = 0
        member.start = start
        return member

    def _clear(self, post: Post, member: _Member, why: str) -> _Member:
        """Reject what a post has not answered, and begin with it anew."""
        fresh = self._members[post] = self._fresh()
        # It stays who it is for what it has sent itself: answers to that may still come.
        fresh.start, fresh.awaited = member.start, member.awaited
        for sender, start, number in tuple(member.open):
            self._settle(sender, start, self._rejection(number, post, member.start, why))
        return fresh

    # What is said.

    def _take(self, post: Post, member: _Member, content: bytes, now_ns: int) -> None:
        try:
            entry = engine_pb2.MessageEntry.FromString(content)
        except DecodeError as error:
            raise WireError("an entry holds no message") from error
        match entry.WhichOneof("kind"):
            case "message":
                self._route(post, member, entry, now_ns)
            case "answer":
                self._pass_back(post, member, entry.answer)
            case _:
                raise WireError("an entry says nothing that is known here")

    def _route(self, post: Post, member: _Member, entry: engine_pb2.MessageEntry, now_ns: int) -> None:
        message = entry.message
        if not 0 < message.id <= NUMBER_MAX:
            raise WireError("a message has a number")
        try:
            places = self._places(message)
        except WireError as error:
            self._refuse(post, member, message.id, str(error))
            raise
        message.sender.CopyFrom(_peer(post, member.start))
        if refusal := self._refusal(member, message, places, now_ns=now_ns):
            self._refuse(post, member, message.id, refusal)
            return
        self._say(post, member, _Answer(id=message.id, status=_Answer.ROUTED, expected=len(places)))
        content = entry.SerializeToString()
        for place in places:
            self._deliver(post, member, message.id, place=place, content=content)

    def _refuse(self, post: Post, member: _Member, number: int, why: str) -> None:
        """Tell a sender that a message goes nowhere."""
        self._say(post, member, _Answer(id=number, status=_Answer.ROUTED, expected=1))
        self._say(post, member, _Answer(id=number, status=_Answer.REJECTED, reason=why))

    def _deliver(self, post: Post, sender: _Member, number: int, *, place: Post, content: bytes) -> None:
        member, key = self._at(place), (post, sender.start, number)
        why = self._absence(place.worker)
        if not why and not member.leg.put(content):
            why = f"too many messages wait for {place}"
        if why:
            self._say(post, sender, self._rejection(number, place, member.start, why))
            return
        if key not in member.open:
            member.open[key] = None
            sender.awaited += 1
        self._unflushed[place] = member

    def _refusal(
        self, member: _Member, message: engine_pb2.CustomMessage, places: tuple[Post, ...], *, now_ns: int
    ) -> str:
        """Return why a message goes nowhere; empty if it goes."""
        if not places:
            there = f"{self._workers} workers with {self._engines} engines each, counted from 0"
            return f"there is no {Post(message.worker, message.engine)}: the run has {there}"
        passed = max(0, now_ns - member.filled_ns) / _SECOND if member.filled_ns else 0.0
        member.filled_ns = now_ns
        member.allowance = min(BURST, member.allowance + passed * RATE_PER_SECOND) - 1
        if member.allowance < 0:
            member.allowance = 0.0
            return f"more than {RATE_PER_SECOND} messages a second came from here"
        # One to all that there are goes, however many these are.
        if member.awaited and member.awaited + len(places) > AWAITED_MAX:
            return f"more than {AWAITED_MAX} answers are still to come"
        return ""

    def _places(self, message: engine_pb2.CustomMessage) -> tuple[Post, ...]:
        """Return where a message goes; raise WireError if it cannot be meant."""
        if not 0 < len(message.name) <= NAME_MAX or len(message.data) > DATA_MAX_BYTES:
            raise WireError(f"a message has a name of 1 to {NAME_MAX} characters and at most 256 KiB of data")
        workers: Iterable[int] = range(self._workers)
        engines: Iterable[int] = range(self._engines)
        match message.to:
            case _Audience.DIRECTOR:
                return (DIRECTOR,)
            case _Audience.WORKERS:
                pass
            case _Audience.WORKER:
                workers = (message.worker,)
            case _Audience.ENGINE:
                workers, engines = (message.worker,), (message.engine,)
            case _:
                raise WireError("a message says whom it is for")
        places = (Post(worker, engine) for worker in workers for engine in engines)
        return tuple(each for each in places if self._is_place(each))

    def _pass_back(self, post: Post, member: _Member, answer: engine_pb2.MessageAnswer) -> None:
        if answer.status not in _FINAL | _PASSING or len(answer.result) > DATA_MAX_BYTES:
            raise WireError("an answer says what became of a message, in at most 256 KiB")
        sender, start = _post(answer.sender)
        key = (sender, start, answer.id)
        if key not in member.open:
            return
        if answer.status in _FINAL:
            del member.open[key]
        answer.by.CopyFrom(_peer(post, member.start))
        answer.reason = answer.reason[:REASON_MAX]
        self._settle(sender, start, answer)

    def _settle(self, sender: Post, start: Start, answer: engine_pb2.MessageAnswer) -> None:
        """Pass an answer to who sent the message, if that is still there."""
        member = self._members.get(sender)
        if member is None or member.start != start:
            return
        if answer.status in _FINAL:
            member.awaited -= 1
        self._say(sender, member, answer)

    def _rejection(self, number: int, post: Post, start: Start, why: str) -> engine_pb2.MessageAnswer:
        return _Answer(id=number, by=_peer(post, start), status=_Answer.REJECTED, reason=why[:REASON_MAX])

    def _say(self, post: Post, member: _Member, answer: engine_pb2.MessageAnswer) -> None:
        """Tell a sender something; later, if its leg is full."""
        if len(member.unsaid) >= 2 * max(AWAITED_MAX, self._most * self._engines):
            # More than it can have asked for: it sends and never reads.
            return
        content = engine_pb2.MessageEntry(answer=answer).SerializeToString()
        if member.unsaid or not member.leg.put(content):
            member.unsaid.append(content)
        self._unflushed[post] = member


def _peer(post: Post, start: Start) -> engine_pb2.MessagePeer:
    if post == DIRECTOR:
        return engine_pb2.MessagePeer(director=True, attempt=start.attempt, start=start.start)
    return engine_pb2.MessagePeer(worker=post.worker, engine=post.engine, attempt=start.attempt, start=start.start)


def _post(peer: engine_pb2.MessagePeer) -> tuple[Post, Start]:
    post = DIRECTOR if peer.director else Post(peer.worker, peer.engine)
    return post, Start(peer.attempt, peer.start)
