"""Run a script's message handlers: a lane for each kind of message, beside the load and beside the reading of messages.

What becomes of a message is told to whoever put it there; how messages travel belongs to `mailroom`, a handler in a
process of its own to `offloading`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import gevent
from gevent import get_hub
from gevent.lock import Semaphore

from loadstone.messages import Status
from loadstone_core.stats.metrics import HANDLER_ERROR, HANDLER_SLOW
from loadstone_runner.engine.payloads import NOTHING, Payload, encode
from loadstone_runner.engine.tracebacks import Tracebacks, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadstone import Message
    from loadstone.messages import Handling

    CountError = Callable[[str, str, str], None]

log = logging.getLogger("loadstone.engine")

RUNNING_MAX: Final = 256
SLOW_NS: Final = 5_000_000_000
END_SECONDS: Final = 0.5
RUN_OVER: Final = "the run has ended before it was handled"
_TURN_NS: Final = 1_000_000
_SECOND: Final = 1_000_000_000


class HandlerError(Exception):
    """A handler failed; the text says all that is known."""


class HandlerTimeoutError(HandlerError):
    """A handler took longer than its timeout, and was ended unless it never waited."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"took longer than its timeout of {seconds:g} s")


class Outcome(NamedTuple):
    """What became of one message here; `result` is what its handler returned."""

    status: Status
    reason: str = ""
    result: Payload = NOTHING


class Parcel:
    """One message and whoever wants to know what becomes of it.

    Attributes:
        came_ns: when it was put into its lane.
        settle: hears what became of it.
    """

    __slots__ = ("came_ns", "key", "message", "settle")

    def __init__(self, message: Message, settle: Callable[[Outcome], None]) -> None:
        self.message = message
        self.settle = settle
        self.came_ns = monotonic_ns()
        self.key: object = None


class Busy(NamedTuple):
    """A lane has no room, and wants the sender to wait until it says so."""


class LaneFigures(NamedTuple):
    """How a lane is; counters are of its whole life, times in nanoseconds."""

    name: str
    depth: int
    running: int
    oldest_ns: int
    processed: int
    failed: int
    rejected: int
    duration_ns: int
    longest_ns: int


class Work(Protocol):
    """What runs the handler of one message; raises what that raises, HandlerTimeoutError if it took too long."""

    def __call__(self, message: Message) -> Payload:
        """Return what the handler returns."""
        ...


class Lane:
    """The messages of one name: those that wait, and those that run."""

    def __init__(
        self,
        handling: Handling,
        work: Work,
        *,
        slots: Semaphore,
        count: CountError,
        on_room: Callable[[str, int], None],
    ) -> None:
        """Handle messages by `work`, which takes one of `slots` each time; `on_room` hears how much room there is."""
        self.name = handling.name
        self._handling = handling
        self._work = work
        self._slots = slots
        self._count = count
        self._on_room = on_room
        # In each the oldest first, and found at once wherever it is.
        self._order: OrderedDict[Parcel, None] = OrderedDict()  # all that wait
        self._ready: OrderedDict[Parcel, None] = OrderedDict()
        self._held: dict[object, OrderedDict[Parcel, None]] = {}  # behind one of the same key that is ready or runs
        self._running: dict[int, tuple[Parcel, int]] = {}  # by identity of the parcel, with its beginning
        self._workers: set[gevent.Greenlet[..., None]] = set()
        self._is_over = self._was_full = False
        self._told_slow: set[int] = set()
        self._tracebacks = Tracebacks()
        self._processed = self._failed = self._rejected = 0
        self._duration_ns = self._longest_ns = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._depth and not self._running

    @property
    def _depth(self) -> int:
        return len(self._order)

    def put(self, parcel: Parcel) -> Busy | None:
        """Take a message, or settle that it is rejected; Busy: nothing was done, its sender is to wait."""
        if self._is_over:
            self._reject(parcel, RUN_OVER)
            return None
        is_full = self._depth >= self._handling.queue
        if is_full and self._handling.overflow == "block_sender":
            self._was_full = True
            return Busy()
        try:
            parcel.key = self._key_of(parcel)
        except BaseException as error:  # noqa: BLE001 user code
            self.fail(parcel.settle, error, "its key= raised ")
            return None
        if is_full:
            if self._handling.overflow == "reject":
                self._reject(parcel, f"the lane is full: {self._depth} messages wait")
                return None
            self._drop_oldest()
        self._enqueue(parcel)
        return None

    def fail(self, settle: Callable[[Outcome], None], error: BaseException, what: str = "") -> None:
        """Settle that a message has failed, and count it."""
        self._failed += 1
        text = str(error) if isinstance(error, HandlerError) else text_of(error)
        self._count(HANDLER_ERROR, what + text, self.name)
        if self._tracebacks.is_first(error):
            log.error("A handler failed, and more of the kind are only counted: message=%s", self.name, exc_info=error)
        settle(Outcome(Status.FAILED, what + text))

    def ask_for_room(self) -> None:
        """Have it said when there is room, maybe at once: somebody waits for it."""
        self._was_full = True
        get_hub().loop.run_callback(self._tell_room)

    def figures(self, now_ns: int) -> LaneFigures:
        """Return how the lane is, and count handlers that have become slow."""
        oldest = [parcel.came_ns for parcel, _ in self._running.values()]
        oldest += [next(iter(self._order)).came_ns] if self._order else []
        for at, (parcel, since_ns) in self._running.items():
            if now_ns - since_ns > SLOW_NS and at not in self._told_slow:
                self._told_slow.add(at)
                self._count(HANDLER_SLOW, f"took longer than {SLOW_NS // _SECOND} s", parcel.message.name)
        return LaneFigures(
            self.name,
            self._depth,
            len(self._running),
            now_ns - min(oldest) if oldest else 0,
            processed=self._processed,
            failed=self._failed,
            rejected=self._rejected,
            duration_ns=self._duration_ns,
            longest_ns=max([self._longest_ns, *(now_ns - since for _, since in self._running.values())]),
        )

    def end(self) -> None:
        """Take nothing more: what waits is rejected, what runs is ended."""
        self._is_over = True
        for parcel in self._order:
            self._reject(parcel, RUN_OVER)
        self._order.clear()
        self._ready.clear()
        self._held.clear()
        gevent.killall(list(self._workers), block=False)

    def _key_of(self, parcel: Parcel) -> object:
        if self._handling.key is None:
            return None
        key = self._handling.key(parcel.message.data)
        hash(key)
        return key

    def _enqueue(self, parcel: Parcel) -> None:
        self._order[parcel] = None
        if self._handling.key is not None and parcel.key in self._held:
            self._held[parcel.key][parcel] = None
            return
        if self._handling.key is not None:
            self._held[parcel.key] = OrderedDict()
        self._ready[parcel] = None
        self._begin_worker()

    def _begin_worker(self) -> None:
        if self._ready and len(self._workers) < self._handling.pool:
            self._workers.add(gevent.spawn(self._run))

    def _run(self) -> None:
        """Handle messages until none is ready."""
        turn_ns = monotonic_ns()
        try:
            while self._ready:
                with self._slots:
                    # Another of this lane may have taken it, while this one waited.
                    if self._ready:
                        self._take(self._ready.popitem(last=False)[0])
                if monotonic_ns() - turn_ns > _TURN_NS:
                    # A long queue must not keep users and reports from their turn.
                    gevent.sleep(0)
                    turn_ns = monotonic_ns()
        finally:
            # At once, as the next message has to find out that it needs another one.
            self._workers.discard(gevent.getcurrent())
            # One that was ended amid the queue leaves it to another.
            self._begin_worker()

    def _take(self, parcel: Parcel) -> None:
        del self._order[parcel]
        try:
            self._handle(parcel)
        finally:
            self._release(parcel)
            self._tell_room()

    def _handle(self, parcel: Parcel) -> None:
        at, begin_ns = id(parcel), monotonic_ns()
        self._running[at] = (parcel, begin_ns)
        try:
            result = self._work(parcel.message)
        except gevent.GreenletExit:
            if self._is_over:
                self._reject(parcel, "the run has ended before its handler did")
                raise
            self.fail(parcel.settle, HandlerError("its handler was ended by the script"))
        except BaseException as error:  # noqa: BLE001 user code
            self.fail(parcel.settle, error)
        else:
            self._processed += 1
            parcel.settle(Outcome(Status.PROCESSED, result=result))
        finally:
            took_ns = monotonic_ns() - begin_ns
            self._duration_ns += took_ns
            self._longest_ns = max(self._longest_ns, took_ns)
            del self._running[at]
            if took_ns > SLOW_NS and at not in self._told_slow:
                self._count(HANDLER_SLOW, f"took longer than {SLOW_NS // _SECOND} s", self.name)
            self._told_slow.discard(at)

    def _release(self, parcel: Parcel) -> None:
        """Let the next message of the same key be ready."""
        if self._handling.key is None or parcel.key not in self._held:
            return
        held = self._held[parcel.key]
        if held:
            self._ready[held.popitem(last=False)[0]] = None
        else:
            del self._held[parcel.key]

    def _drop_oldest(self) -> None:
        oldest, _ = self._order.popitem(last=False)
        if oldest in self._ready:
            del self._ready[oldest]
            self._release(oldest)
        else:
            del self._held[oldest.key][oldest]
        self._reject(oldest, "it was dropped, as the lane was full and newer ones came")

    def _tell_room(self) -> None:
        # At half, so that senders do not come for one message each time.
        if self._was_full and self._depth <= self._handling.queue // 2:
            self._was_full = False
            self._on_room(self.name, self._handling.queue - self._depth)

    def _reject(self, parcel: Parcel, why: str) -> None:
        self._rejected += 1
        parcel.settle(Outcome(Status.REJECTED, why))


class Lanes:
    """All lanes of one process."""

    def __init__(
        self,
        handlings: Iterable[Handling],
        *,
        work_of: Callable[[Handling], Work],
        count: CountError,
        on_room: Callable[[str, int], None],
    ) -> None:
        slots = Semaphore(RUNNING_MAX)
        self._lanes = {
            each.name: Lane(each, work_of(each), slots=slots, count=count, on_room=on_room) for each in handlings
        }

    def find(self, name: str) -> Lane | None:
        """Return the lane of a kind of message; None if the script does not handle it."""
        return self._lanes.get(name)

    def figures(self) -> list[LaneFigures]:
        """Return how each lane is."""
        now_ns = monotonic_ns()
        return [lane.figures(now_ns) for lane in self._lanes.values()]

    def wait(self, seconds: float) -> None:
        """Wait until everything is handled, but not longer than that."""
        end_ns = monotonic_ns() + round(seconds * _SECOND)
        while not all(lane.is_idle for lane in self._lanes.values()) and monotonic_ns() < end_ns:
            gevent.sleep(0.01)

    def close(self, seconds: float) -> None:
        """Wait so; then nothing more is handled."""
        self.wait(seconds)
        for lane in self._lanes.values():
            lane.end()
        self.wait(END_SECONDS)


def in_engine(handling: Handling) -> Work:
    """Return what calls a handler in this process: ended by its timeout where it waits, failed by it in any case."""
    function, seconds = handling.function, handling.timeout
    if seconds is None:
        return lambda message: encode(function(message))

    def timed_work(message: Message) -> Payload:
        timeout, end_ns = gevent.Timeout(seconds), monotonic_ns() + round(seconds * _SECOND)
        try:
            with timeout:
                result = encode(function(message))
        except gevent.Timeout as raised:
            if raised is timeout:
                raise HandlerTimeoutError(seconds) from raised
            raise
        # What never waits cannot be ended; its sender is to hear the same of it.
        if monotonic_ns() > end_ns:
            raise HandlerTimeoutError(seconds)
        return result

    return timed_work
