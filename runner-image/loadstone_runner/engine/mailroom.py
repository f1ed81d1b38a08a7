"""Send a script's messages, take in those for it, and answer both ways. Handlers run in `lanes`; frames are `link`'s.

A message is kept until everybody that it went to has said what became of it, so that a new master can be told again;
whoever gets it twice handles it once.
"""

from __future__ import annotations

import bisect
import logging
from collections import OrderedDict, deque
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent import get_hub
from gevent.event import Event

from loadstone.messages import NAME_MAX, Answer, Place, Status, is_name
from loadstone_core.stats.metrics import storable
from loadstone_protocol.codec import WireError
from loadstone_protocol.legs import Leg
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.deliveries import Sent, decoded, direct, message_of, origin_of, peer_of, sender_of
from loadstone_runner.engine.lanes import RUN_OVER, Busy, HandlerError, Lanes, Outcome, Parcel
from loadstone_runner.engine.payloads import Payload, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadstone.messages import Handling, To
    from loadstone_runner.engine.deliveries import Origin
    from loadstone_runner.engine.lanes import CountError, Lane, Work

log = logging.getLogger("loadstone.engine")

PENDING_MAX: Final = 10_000
PENDING_BYTES_MAX: Final = 16 * 1024 * 1024
ANSWERED_MAX: Final = 10_000
REASON_MAX: Final = 1_024
DRAIN_SECONDS: Final = 2.0
_FULL: Final = f"{PENDING_MAX} messages, or {PENDING_BYTES_MAX >> 20} MiB of them, wait here for their answers"
_STATUSES: Final = {
    Status.PROCESSED: engine_pb2.MessageAnswer.PROCESSED,
    Status.REJECTED: engine_pb2.MessageAnswer.REJECTED,
    Status.FAILED: engine_pb2.MessageAnswer.FAILED,
}
_WORDS: Final = {number: status for status, number in _STATUSES.items()}
_AUDIENCE = engine_pb2.CustomMessage


class _Queue:
    """Messages of one sender that a full lane has sent away, in order, and how many of them may come again now."""

    __slots__ = ("credit", "ids")

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.credit = 0


class Mailroom:
    """The messages of one process: of its script to others, and of others to its script."""

    def __init__(
        self,
        handlings: Iterable[Handling],
        *,
        is_director: bool,
        send: Callable[[engine_pb2.EngineMessage], None],
        work_of: Callable[[Handling], Work],
        count: CountError,
    ) -> None:
        """Serve a script that is loaded; `send` passes a frame on, `count` counts an error by kind, message, name."""
        self.lanes = Lanes(handlings, work_of=work_of, count=count, on_room=self._tell_room)
        self._is_director = is_director
        self._send = send
        self._leg = Leg("")
        self._is_closed = False
        self._last_id = 0
        self._pending: dict[int, Sent] = {}
        self._pending_bytes = 0
        # Those that a full lane has sent back, by who that was and name: whether they are kept here, or on their way
        # again; and whoever waits for room.
        self._blocked: dict[tuple[Origin, str], dict[int, bool]] = {}
        self._room: dict[str, Event] = {}
        self._is_flush_due = False
        self._unsaid: deque[engine_pb2.MessageAnswer] = deque()
        # Messages of others: those in lanes, and what became of the newest of the rest.
        self._handled: set[tuple[Origin, int]] = set()
        self._answered: OrderedDict[tuple[Origin, int], engine_pb2.MessageAnswer] = OrderedDict()
        # Those that full lanes have sent away, by lane and sender.
        self._queues: dict[tuple[str, Origin], _Queue] = {}

    # What the script wants.

    def send_message(self, name: str, data: Any, to: To | None) -> Sent:
        """Send a message; see `loadstone.send_message`."""
        if not is_name(name):
            raise ValueError(f"send_message({name!r}): a name has 1 to {NAME_MAX} printable characters")
        payload = encode(data)
        message = engine_pb2.CustomMessage(name=name, data=payload.data, is_bytes=payload.is_bytes)
        self._address(message, to)
        while (room := self._room.get(name)) is not None and not self._is_closed:
            room.wait()
        sent = Sent(message, len(payload.data))
        if self._is_closed:
            sent.end(RUN_OVER)
            return sent
        if len(self._pending) >= PENDING_MAX or self._pending_bytes + sent.size > PENDING_BYTES_MAX:
            sent.end(_FULL)
            return sent
        self._last_id += 1
        message.id = self._last_id
        if not self._put(engine_pb2.MessageEntry(message=message)):
            sent.end(_FULL)
            return sent
        self._pending[message.id] = sent
        self._pending_bytes += sent.size
        self._flush_soon()
        return sent

    # The way to the hub.

    def introduce(self) -> None:
        """Let the hub know of this process, over a connection that is new."""
        self._leg.rewind()
        self._flush()

    def hear(self, frame: engine_pb2.MessageFrame) -> None:
        """Take in a frame of the hub."""
        try:
            if not frame.hub:
                # An agent that has found its master again: of what was on its way nothing is known.
                self.introduce()
                return
            if frame.hub != self._leg.hub:
                self._begin_anew(frame.hub)
            entries = self._leg.hear(frame, monotonic_ns())
        except WireError as error:
            log.warning("Left out a frame of messages: %s", error)
            return
        for content in entries:
            self._take(content)
        self._flush()

    def look(self) -> None:
        """Send again what seems to be lost; called each second."""
        self._leg.look(monotonic_ns())
        self._flush()

    def states(self) -> list[engine_pb2.LaneState]:
        """Return how the lanes are, for a status."""
        return [engine_pb2.LaneState(**each._asdict()) for each in self.lanes.figures()]

    def close(self, seconds: float = DRAIN_SECONDS) -> None:
        """End: handlers get so long, then nothing more is handled or sent, and the hub gets so long to hear of it."""
        self.lanes.close(seconds)
        self._is_closed = True
        self._free(tuple(self._room))
        end_ns = monotonic_ns() + round(seconds * 1_000_000_000)
        while not self._leg.is_delivered and monotonic_ns() < end_ns:
            self._flush()
            gevent.sleep(0.01)
        for sent in self._pending.values():
            sent.end(RUN_OVER)

    def _begin_anew(self, hub: str) -> None:
        """Tell a new hub everything that is open: it knows of nothing."""
        self._leg = Leg(hub)
        self._leg.rewind()
        for sent in self._pending.values():
            sent.begin_anew()
            self._put(engine_pb2.MessageEntry(message=sent.message))
        self._blocked.clear()
        self._free(tuple(self._room))

    def _say(self, answer: engine_pb2.MessageAnswer) -> None:
        """Send an answer; without its result, and later, if too much waits to be sent."""
        if self._unsaid or not self._put(engine_pb2.MessageEntry(answer=answer)):
            late = engine_pb2.MessageAnswer()
            late.CopyFrom(answer)
            late.ClearField("result")
            self._unsaid.append(late)

    def _put(self, entry: engine_pb2.MessageEntry) -> bool:
        return self._leg.put(entry.SerializeToString())

    def _flush_soon(self) -> None:
        """Send what is said in this turn of the loop in as few frames as it needs."""
        if not self._is_flush_due:
            self._is_flush_due = True
            get_hub().loop.run_callback(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        while self._unsaid and self._put(engine_pb2.MessageEntry(answer=self._unsaid[0])):
            self._unsaid.popleft()
        while (frame := self._leg.next_frame(monotonic_ns())) is not None:
            self._send(engine_pb2.EngineMessage(messages=frame))

    def _address(self, message: engine_pb2.CustomMessage, to: To | None) -> None:
        match ("workers" if self._is_director else "director") if to is None else to:
            case "director":
                message.to = _AUDIENCE.DIRECTOR
            case "workers":
                message.to = _AUDIENCE.WORKERS
            case Place(worker, engine) if worker >= 0 and engine >= 0:
                message.to, message.worker, message.engine = _AUDIENCE.ENGINE, worker, engine
            case int(worker) if worker >= 0 and not isinstance(to, bool):
                message.to, message.worker = _AUDIENCE.WORKER, worker
            case _:
                raise ValueError(f"to={to!r}: give 'director', 'workers', the number of a worker, or a Place")

    # What comes in.

    def _take(self, content: bytes) -> None:
        try:
            entry = engine_pb2.MessageEntry.FromString(content)
        except Exception:  # noqa: BLE001 the parser's own error is no part of its interface
            log.warning("Left out an entry that holds no message")
            return
        match entry.WhichOneof("kind"):
            case "message":
                self._receive(entry.message)
            case "answer":
                self._hear_answer(entry.answer)

    def _receive(self, message: engine_pb2.CustomMessage) -> None:
        """Take in a message, once."""
        key = (origin_of(message.sender), message.id)
        if key in self._handled:
            return
        if (answer := self._answered.get(key)) is not None:
            self._say(answer)
            return
        lane = self.lanes.find(message.name)
        if lane is None:
            reason = f"nothing handles messages of the name {message.name!r} there: see @on_message"
            self._answer(message, Outcome(Status.REJECTED, reason))
            return
        settle = partial(self._answer, message)
        try:
            parcel = Parcel(message_of(message), settle)
        except ValueError as error:
            lane.fail(settle, HandlerError(f"its data cannot be read there: {error}"))
            return
        self._put_into(lane, message, parcel)

    def _put_into(self, lane: Lane, message: engine_pb2.CustomMessage, parcel: Parcel) -> None:
        """Put a message into its lane, or send it away if the lane or the order of its sender has no place for it."""
        origin = origin_of(message.sender)
        queue = self._queues.setdefault((message.name, origin), _Queue())
        may_come = queue.credit > 0
        queue.credit -= may_come
        if queue.ids and (message.id != queue.ids[0] or not may_come):
            # Those that were sent away before it come first, so that the order of a sender stays.
            self._send_away(message, queue)
            if may_come and not queue.credit:
                lane.ask_for_room()
            return
        # At once, as the lane may settle it in the same breath.
        self._handled.add((origin, message.id))
        if isinstance(lane.put(parcel), Busy):
            self._handled.discard((origin, message.id))
            self._send_away(message, queue)
            queue.credit = 0
            return
        if queue.ids:
            del queue.ids[0]
        if not queue.ids:
            del self._queues[message.name, origin]
        elif not queue.credit:
            lane.ask_for_room()

    def _answer(self, message: engine_pb2.CustomMessage, outcome: Outcome) -> None:
        answer = engine_pb2.MessageAnswer(
            id=message.id,
            sender=message.sender,
            status=_STATUSES[outcome.status],
            reason=storable(outcome.reason[:REASON_MAX]),
            result=outcome.result.data,
            is_bytes=outcome.result.is_bytes,
        )
        self._say(answer)
        # What was returned may be large, so it is told once.
        answer.ClearField("result")
        key = (origin_of(message.sender), message.id)
        self._handled.discard(key)
        self._answered[key] = answer
        if len(self._answered) > ANSWERED_MAX:
            self._answered.popitem(last=False)
        self._flush_soon()

    def _send_away(self, message: engine_pb2.CustomMessage, queue: _Queue) -> None:
        """Let a sender keep a message until there is room, and what follows of that name."""
        if message.id not in queue.ids:
            bisect.insort(queue.ids, message.id)
        status = engine_pb2.MessageAnswer.BUSY
        self._say(engine_pb2.MessageAnswer(id=message.id, sender=message.sender, status=status))

    def _tell_room(self, name: str, room: int) -> None:
        """Let the senders that a full lane has sent away come again, each with its share of the room."""
        waiting = [(origin, queue) for (lane, origin), queue in self._queues.items() if lane == name and queue.ids]
        for origin, queue in waiting:
            queue.credit = min(len(queue.ids), max(1, room // len(waiting)))
            answer = engine_pb2.MessageAnswer(id=queue.ids[0], sender=peer_of(origin), expected=queue.credit)
            answer.status = engine_pb2.MessageAnswer.RESUME
            self._say(answer)
        self._flush_soon()

    # What becomes of what was sent.

    def _hear_answer(self, answer: engine_pb2.MessageAnswer) -> None:
        sent = self._pending.get(answer.id)
        if sent is None:
            return
        by = origin_of(answer.by)
        match answer.status:
            case engine_pb2.MessageAnswer.ROUTED:
                sent.expect(answer.expected)
            case engine_pb2.MessageAnswer.BUSY:
                self._blocked.setdefault((by, sent.message.name), {})[answer.id] = True
                self._room.setdefault(sent.message.name, Event())
            case engine_pb2.MessageAnswer.RESUME:
                self._send_kept(by, sent.message.name, first=answer.id, count=answer.expected)
            case status if status in _WORDS:
                word, payload = _WORDS[status], Payload(answer.result, answer.is_bytes)
                who = sender_of(answer.by) if answer.HasField("by") else None
                sent.take(by, Answer(who, word, answer.reason, decoded(payload)))
                self._settle(by, sent.message.name, answer.id)
        if sent.is_done:
            del self._pending[answer.id]
            self._pending_bytes -= sent.size

    def _send_kept(self, by: Origin, name: str, *, first: int, count: int) -> None:
        """Send again, to the one that sent them back and in order, those that it has room for.

        It has room for `count` from `first` on; of these some may be on their way already.
        """
        blocked = self._blocked.get((by, name), {})
        for number in sorted(number for number in blocked if number >= first)[:count]:
            sent = self._pending.get(number)
            if blocked[number] and sent is not None:
                blocked[number] = False
                again = engine_pb2.CustomMessage()
                again.CopyFrom(sent.message)
                direct(again, by)
                self._put(engine_pb2.MessageEntry(message=again))
        self._look_for_room(name)

    def _settle(self, by: Origin, name: str, number: int) -> None:
        """Forget a message that was sent back, as it is known what became of it there."""
        blocked = self._blocked.get((by, name))
        if blocked is not None and blocked.pop(number, None) is not None:
            if not blocked:
                del self._blocked[by, name]
            self._look_for_room(name)

    def _look_for_room(self, name: str) -> None:
        if not any(any(blocked.values()) for (_, other), blocked in self._blocked.items() if other == name):
            self._free((name,))

    def _free(self, names: tuple[str, ...]) -> None:
        """Let those go on who wait to send messages of these names."""
        for name in names:
            if (room := self._room.pop(name, None)) is not None:
                room.set()
