"""Ship what the launcher has spooled to the master, and know when all of it is durable. What lines say is not known."""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_core.outbox import Outbox
from loadstone_runner.spool import RECORD_MAX_BYTES, Kind, LogStream, Record, SpoolError, SpoolReader, segments_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_runner.spool import Tally
    from loadstone_runner.transport.grpc.bulk import BulkEnd

CHANNEL: Final = "logs"
# A master may hold as much of each worker that it has not written down yet.
OUTBOX_BYTES: Final = 2 * RECORD_MAX_BYTES
OUTBOX_ENTRIES: Final = 1_024
READ_BYTES: Final = 128 * 1024


class LogEnd(NamedTuple):
    """One stream of this worker's log; the tally is None while nobody knows how much was written."""

    boot: str
    stream: LogStream
    tally: Tally | None


class LogShipper:
    """The spools of a pod: one for each start of its launcher, which is one."""

    def __init__(
        self,
        folder: str,
        end: BulkEnd,
        *,
        on_kept: Callable[[LogStream, int, bool], None],
        on_settled: Callable[[], None],
    ) -> None:
        """Begin without reading.

        Args:
            folder: where the launcher writes.
            end: to the master.
            on_kept: `on_kept(stream, number, is_lost)` is told what became of each mark.
            on_settled: told when more has become durable.
        """
        self._on_settled = on_settled
        self._folder = folder
        self._end = end
        self._on_kept = on_kept
        self._boots: dict[str, _Boot] = {}

    @property
    def owes(self) -> bool:
        """Whether there is something that the master does not hold for good."""
        return any(boot.owes for boot in self._boots.values())

    def pump(self) -> None:
        """Read what has come since, as far as there is room for it on the way."""
        for name, segments in segments_in(self._folder).items():
            if name not in self._boots:
                reader = SpoolReader(self._folder, name, segments[0][0])
                boot = self._boots[name] = _Boot(reader, self._on_kept)
                self._end.send_from(f"{CHANNEL}/{name}", boot.outbox, partial(self._settle, boot))
        for boot in self._boots.values():
            if boot.fill():
                self._end.wake()

    def _settle(self, boot: _Boot, durable: int) -> None:
        boot.settle(durable)
        self._on_settled()

    def ends(self) -> list[LogEnd]:
        """Return every stream that is known, and how it ended, also of what has not been sent."""
        for boot in self._boots.values():
            boot.look_ahead()
        return [
            LogEnd(name, stream, tally) for name, boot in self._boots.items() for stream, tally in boot.streams.items()
        ]


class _Boot:
    """One start of the launcher."""

    def __init__(self, reader: SpoolReader, on_kept: Callable[[LogStream, int, bool], None]) -> None:
        self.outbox = Outbox(entries_max=OUTBOX_ENTRIES, bytes_max=OUTBOX_BYTES, first=reader.next_number)
        self.streams: dict[LogStream, Tally | None] = {}
        self._reader = reader
        self._on_kept = on_kept
        self._held: deque[Record] = deque()  # read, and without room
        self._marks: deque[Record] = deque()  # of what is in the outbox
        self._is_damaged = False
        self._has_skipped = False

    @property
    def owes(self) -> bool:
        return self._has_skipped or bool(self._held) or self.outbox.durable < self.outbox.last

    def fill(self) -> bool:
        """Fill the outbox; return whether there is something new in it."""
        last = self.outbox.last
        while not (self._is_damaged or self._has_skipped):
            if not self._held:
                self._read()
            if not self._held:
                break
            encoded = self._held[0].encode()
            if not self.outbox.has_room(len(encoded)):
                break
            record = self._held.popleft()
            self._note(record)
            if record.kind is Kind.MARK:
                self._marks.append(record)
            self.outbox.put(encoded)
        return self.outbox.last > last

    def look_ahead(self) -> None:
        """Note how streams ended whose records have to stay here; nothing is sent any more after that."""
        while not self._is_damaged:
            if not self._held:
                self._read()
            if not self._held:
                return
            self._note(self._held.popleft())
            self._has_skipped = True

    def settle(self, durable: int) -> None:
        """Note up to which record the master holds everything; there is room for more then."""
        while self._marks and self._marks[0].number <= durable:
            mark = self._marks.popleft()
            self._on_kept(mark.stream, int(mark.payload[1:]), mark.payload[:1] == b"-")
        try:
            self._reader.release(durable)
        except OSError as error:
            _say(f"a segment of the log's spool cannot be removed: {error.strerror}")
        self.fill()

    def _read(self) -> None:
        try:
            self._held.extend(self._reader.read(READ_BYTES))
        except (SpoolError, OSError) as error:
            # Its streams stay without an end, which is how the master learns that their log is not complete.
            self._is_damaged = True
            _say(f"the rest of the log is not sent: {error}")

    def _note(self, record: Record) -> None:
        match record.kind:
            case Kind.END:
                self.streams[record.stream] = record.tally
            case Kind.LINES | Kind.GAP:
                self.streams.setdefault(record.stream)


def _say(sentence: str) -> None:
    sys.stderr.write(f"agent: {sentence}\n")
