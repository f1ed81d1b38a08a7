"""Hand entries over so that none is lost silently: an outbox keeps them until durable, an inbox applies in order.

What entries mean and how batches travel is known elsewhere. Both ends survive loss, duplication and reordering of what
is between them, and the end of either process: an outbox is as durable as whoever fills it, an inbox as what it kept.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from loadstone_core.errors import InternalError


class OutboxError(InternalError):
    """The peer acknowledges what it was never sent."""


class Entry(NamedTuple):
    """One entry, or a gap: what had to be dropped between its neighbours.

    Attributes:
        lost: how many entries were dropped here; 0 for an entry that is none of that.
        lost_bytes: of their payloads.
    """

    payload: bytes
    lost: int = 0
    lost_bytes: int = 0


class Batch(NamedTuple):
    """Entries `first`, `first + 1`, ... of one outbox, as they travel.

    Attributes:
        oldest: the oldest number that the sender still has; everything before was durable once.
    """

    first: int
    oldest: int
    entries: tuple[Entry, ...]


class Receipt(NamedTuple):
    """How far the receiver is.

    Attributes:
        received: the newest entry that was applied; the next batch may go on behind it.
        durable: the newest entry that survives the end of the receiver.
        resend: what came did not follow `received`: go on from there.
    """

    received: int
    durable: int
    resend: bool = False


class Phase(Enum):
    """How far the life of an outbox is."""

    OPEN = 0  # takes entries
    DRAINING = 1  # takes no more, and waits until those it has are durable
    CLOSED = 2  # everything is durable, or was given up


class Outbox:
    """The sending end. Putting never raises and never blocks: what has no room becomes a gap that says how much.

    Attributes:
        durable: the newest entry that the receiver cannot lose any more.
        late: entries that came after `drain` or `close`; they are nowhere else.
        dropped: entries that had no room; gaps tell the receiver.
        dropped_bytes: of their payloads.
    """

    __slots__ = (
        "_base",
        "_bytes_max",
        "_ends",
        "_entries_max",
        "_highest",
        "_kept",
        "_lost",
        "_lost_bytes",
        "_phase",
        "_received",
        "_sent",
        "dropped",
        "dropped_bytes",
        "durable",
        "late",
    )

    def __init__(self, *, entries_max: int, bytes_max: int, first: int = 1) -> None:
        """Begin with entry `first`; hold at most so many entries, of so many bytes together."""
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._kept: deque[Entry] = deque()  # number `durable + 1` and on
        self._ends: deque[int] = deque()  # of each of those: the bytes of all entries up to it
        self._base = 0  # of all that are durable
        self._phase = Phase.OPEN
        self._lost = 0  # since the newest entry
        self._lost_bytes = 0
        self.durable = first - 1
        self._received = self._sent = self._highest = self.durable
        self.late = 0
        self.dropped = 0
        self.dropped_bytes = 0

    @property
    def phase(self) -> Phase:
        """How far its life is."""
        return self._phase

    @property
    def last(self) -> int:
        """The newest number that was given out."""
        return self.durable + len(self._kept)

    @property
    def unsent(self) -> int:
        """How many entries no connection has had yet, or has to have again."""
        return self.last - self._sent

    def has_room(self, size: int) -> bool:
        """Say whether an entry of `size` bytes would be held now."""
        gaps = 1 if self._lost else 0
        return (
            len(self._kept) + gaps < self._entries_max and self._end(self.last) - self._base + size <= self._bytes_max
        )

    def put(self, payload: bytes) -> int:
        """Take an entry; return its number, 0 if there was no room or it was too late, which is counted."""
        if self._phase is not Phase.OPEN:
            self.late += 1
            return 0
        if not self.has_room(len(payload)):
            self.lose(1, len(payload))
            return 0
        self._end_gap()
        self._keep(Entry(payload))
        return self.last

    def lose(self, entries: int, size: int) -> None:
        """Note that entries were dropped before they came here; the next one that is held comes behind a gap."""
        self._lost += entries
        self._lost_bytes += size
        self.dropped += entries
        self.dropped_bytes += size

    def take(self, *, bytes_max: int, entries_max: int, in_flight_max: int) -> Batch | None:
        """Return what is to be sent next, at least one entry of it; None if there is nothing, or too much on its way.

        Args:
            bytes_max: of one batch.
            entries_max: of one batch; a receiver refuses one of more.
            in_flight_max: bytes that were sent and not received.
        """
        self._end_gap_if_alone()
        begin = self._sent - self.durable
        in_flight = self._end(self._sent) - self._end(self._received)
        room = min(bytes_max, in_flight_max - in_flight)
        taken: list[Entry] = []
        # Not islice: a deque finds what is near one of its ends at once.
        for at in range(begin, min(begin + entries_max, len(self._kept))):
            entry = self._kept[at]
            room -= len(entry.payload)
            if room < 0 and (taken or in_flight):
                break
            taken.append(entry)
        if not taken:
            return None
        batch = Batch(self._sent + 1, self.durable + 1, tuple(taken))
        self._sent += len(taken)
        self._highest = max(self._highest, self._sent)
        return batch

    def acknowledge(self, receipt: Receipt) -> int:
        """Forget what is durable; return how many entries became so. An old receipt changes nothing for the worse.

        Raises:
            OutboxError: the receipt is of entries that were never sent.
        """
        if max(receipt.received, receipt.durable) > self._highest:
            raise OutboxError(f"entry {receipt.received} was acknowledged, and {self._highest} were sent")
        settled = max(0, receipt.durable - self.durable)
        for _ in range(settled):
            self._kept.popleft()
            self._base = self._ends.popleft()
        self.durable += settled
        if receipt.resend:
            self._received = self._sent = max(receipt.received, self.durable)
        self._received = max(self._received, receipt.received, self.durable)
        self._sent = max(self._sent, self._received)
        if self._phase is Phase.DRAINING:
            self._close_if_durable()
        return settled

    def rewind(self) -> None:
        """Begin anew with what is not durable: there is a new connection, maybe to another receiver."""
        self._received = self._sent = self.durable

    def drain(self) -> None:
        """Take no more entries; closed as soon as all that are held are durable."""
        if self._phase is Phase.OPEN:
            self._end_gap()
            self._phase = Phase.DRAINING
            self._close_if_durable()

    def close(self) -> int:
        """Give up what is not durable; return how many entries that are."""
        self._end_gap()
        given_up = len(self._kept)
        self._phase = Phase.CLOSED
        return given_up

    def _keep(self, entry: Entry) -> None:
        self._ends.append(self._end(self.last) + len(entry.payload))
        self._kept.append(entry)

    def _end(self, number: int) -> int:
        """Return the bytes of all entries up to one that is held, or the newest durable one."""
        return self._ends[number - self.durable - 1] if number > self.durable else self._base

    def _end_gap(self) -> None:
        """Number what was dropped, as what comes behind it is not part of the gap."""
        if self._lost:
            self._keep(Entry(b"", self._lost, self._lost_bytes))
            self._lost = self._lost_bytes = 0

    def _end_gap_if_alone(self) -> None:
        # Nothing may come for long that would end it, and whoever waits should know of the gap.
        if not self._kept and self._phase is Phase.OPEN:
            self._end_gap()

    def _close_if_durable(self) -> None:
        if not self._kept:
            self._phase = Phase.CLOSED


class Inbox:
    """The receiving end: applies each entry once, in order.

    Attributes:
        received: the newest entry that was applied.
        durable: the newest that survives the end of this process, as `keep` was told.
        forgotten: entries that were durable for an earlier receiver, whose memory is lost.
    """

    __slots__ = ("_asked_at", "_resend", "durable", "forgotten", "received")

    def __init__(self, durable: int = 0) -> None:
        """Begin behind what was kept by an earlier receiver."""
        self.received = durable
        self.durable = durable
        self.forgotten = 0
        self._resend = False
        self._asked_at = -1

    def take(self, batch: Batch) -> tuple[Entry, ...]:
        """Return what of a batch is to be applied now: its entries from `received + 1` on, if it reaches so far."""
        if batch.oldest > self.received + 1:
            self.forgotten += batch.oldest - 1 - self.received
            self.received = self.durable = batch.oldest - 1
        if batch.first > self.received + 1:
            # Once for each place: what is on its way already does not follow either.
            self._resend = self._asked_at != self.received
            return ()
        fresh = batch.entries[self.received + 1 - batch.first :]
        self.received += len(fresh)
        return fresh

    def keep(self, number: int) -> None:
        """Note that everything up to `number` is safe; more than was received cannot be."""
        self.durable = max(self.durable, min(number, self.received))

    def receipt(self) -> Receipt:
        """Return how far this end is; a wish for something anew is said once."""
        resend, self._resend = self._resend, False
        if resend:
            self._asked_at = self.received
        return Receipt(self.received, self.durable, resend=resend)
