"""Know what of each log stream has arrived, whether that is all that was written, and the last lines of it. Pure.

Where lines are kept for good is the affair of `log_store`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from loadstone_runner.spool import Kind, LogStream, Tally, digested

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loadstone_protocol.messages import LogEnd
    from loadstone_runner.spool import Record

TAIL_LINES: Final = 10_000
TAIL_BYTES: Final = 8 * 1024 * 1024
DIRECTOR: Final = -1
STREAMS_MAX: Final = 100_000  # four of each of 5,000 workers, five times over


class Source(NamedTuple):
    """Whose log it is: one start of the launcher of one attempt of a worker, or of the director."""

    worker: int
    attempt: int
    boot: str


class Piece(NamedTuple):
    """Lines as they are shown, and how many they are."""

    text: bytes
    lines: int


@dataclass(slots=True)
class Counts:
    """What of one stream has arrived, and what was written to it as far as that was told.

    Attributes:
        newest: the number of the record that was taken in last.
    """

    newest: int = 0
    lines: int = 0
    size: int = 0
    lost_lines: int = 0
    lost_size: int = 0
    told: Tally | None = None

    def take(self, record: Record) -> None:
        """Take in the next record of the stream."""
        self.newest = record.number
        match record.kind:
            case Kind.LINES:
                self.lines += record.lines
                self.size += len(record.payload)
            case Kind.GAP:
                self.lost_lines += record.lines
                self.lost_size += record.lost_size
            case Kind.END:
                self.told = record.tally
            case Kind.MARK:
                pass

    def add(self, other: Counts) -> None:
        """Take in what other records of the stream came to."""
        self.newest = max(self.newest, other.newest)
        self.lines += other.lines
        self.size += other.size
        self.lost_lines += other.lost_lines
        self.lost_size += other.lost_size
        self.told = self.told or other.told


@dataclass(slots=True)
class _Stream(Counts):
    """The same, and the digest of it, unless something of it is not at hand."""

    digest: Any = field(default_factory=sha256)
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSummary:
    """What `status.logs` says.

    Attributes:
        lines: that have arrived.
        missing_lines: that were written and have not.
        is_at_least: some worker ended without saying how much it had written, so there may be more.
        damaged: streams whose lines are not the ones that were written.
    """

    lines: int
    size: int
    missing_lines: int
    missing_size: int
    is_at_least: bool
    damaged: int

    @property
    def is_complete(self) -> bool:
        """Whether everything that was written has arrived as it was."""
        return not (self.missing_lines or self.missing_size or self.is_at_least or self.damaged)

    def to_status(self) -> dict[str, Any]:
        """Return `status.logs`."""
        status: dict[str, Any] = {"complete": self.is_complete, "lines": self.lines, "bytes": self.size}
        if not self.is_complete:
            status |= {"missingLines": self.missing_lines, "missingBytes": self.missing_size}
        if self.is_at_least:
            status["missingAtLeast"] = True
        return status

    def complaint(self) -> str:
        """Return one sentence on what is missing, nothing if nothing is."""
        if self.is_complete:
            return ""
        said = []
        if self.missing_lines or self.missing_size:
            said.append(f"{self.missing_lines} lines ({self.missing_size} bytes) of {self.lines + self.missing_lines}")
        if self.is_at_least:
            said.append("whatever a worker that was lost had not sent yet")
        if self.damaged:
            said.append(f"what {self.damaged} streams really said, as their digests differ")
        return (
            f"the log lacks {', and '.join(said)}; in a cluster kubectl logs may still have it while the pods are there"
        )


# Of streams beyond the bound, which no honest run has; it never ends, so the log is not complete then.
OVERFLOW: Final = (Source(0, 0, ""), LogStream(0, 0, 0))


class LogBook:
    """All streams of a run, and the tail of what they said."""

    def __init__(self) -> None:
        self._streams: dict[tuple[Source, LogStream], _Stream] = {}
        self._newest: dict[Source, int] = {}
        self._tail: deque[Piece] = deque()
        self._tail_lines = 0
        self._tail_bytes = 0

    def newest(self, source: Source) -> int:
        """Return the newest record of a source that was applied; 0 before the first."""
        return self._newest.get(source, 0)

    def apply(self, source: Source, record: Record) -> None:
        """Take in a record; one that was taken in before changes nothing."""
        if record.number <= self.newest(source):
            return
        self._newest[source] = record.number
        stream = self._stream(source, record.stream)
        stream.take(record)
        stream.digest.update(digested(record))
        self._remember(render(source, record))

    def recall_cut(self, source: Source, stream: LogStream, cut: Counts) -> None:
        """Take in what records of a stream came to that have arrived and are not kept; what they said is not known."""
        self._newest[source] = max(self.newest(source), cut.newest)
        known = self._stream(source, stream)
        known.add(cut)
        known.is_cut = known.is_cut or bool(cut.lines or cut.lost_lines)

    def hear_end(self, worker: int, attempt: int, end: LogEnd) -> None:
        """Take in how much was written to a stream, as its agent says when it leaves; what the lines say counts."""
        key = (Source(worker, attempt, end.boot), LogStream(end.engine, end.start, end.fd))
        stream = self._stream(*key)
        if stream.told is None and end.has_ended:
            stream.told = Tally(end.lines, end.size, end.lost_lines, end.lost_size, end.digest)

    def attempts(self) -> set[tuple[int, int]]:
        """Return the workers, and which attempts of them, of whose logs anything is known."""
        return {(source.worker, source.attempt) for source, _ in self._streams}

    def summary(self, *, is_silent: bool) -> LogSummary:
        """Return what has arrived; `is_silent`: some worker never said how its log ended."""
        told = [each for each in self._streams.values() if each.told is not None]
        open_streams = [key for key, each in self._streams.items() if each.told is None and key[0].worker != DIRECTOR]
        missing = [self._missing(each) for each in self._streams.values()]
        return LogSummary(
            lines=sum(each.lines for each in self._streams.values()),
            size=sum(each.size for each in self._streams.values()),
            missing_lines=sum(lines for lines, _ in missing),
            missing_size=sum(size for _, size in missing),
            is_at_least=is_silent or bool(open_streams),
            damaged=sum(1 for each in told if self._is_damaged(each)),
        )

    def tail(self, lines: int) -> tuple[bytes, int]:
        """Return the last lines, and how many they are."""
        wanted: deque[bytes] = deque()
        count = 0
        for piece in reversed(self._tail):
            if count + piece.lines >= lines:
                cut = piece.text.split(b"\n")[piece.lines - (lines - count) :]
                wanted.appendleft(b"\n".join(cut))
                return b"".join(wanted), lines
            wanted.appendleft(piece.text)
            count += piece.lines
        return b"".join(wanted), count

    def _stream(self, source: Source, stream: LogStream) -> _Stream:
        key = (source, stream)
        if key not in self._streams and len(self._streams) >= STREAMS_MAX:
            key = OVERFLOW
        return self._streams.setdefault(key, _Stream())

    def _missing(self, stream: _Stream) -> tuple[int, int]:
        if stream.told is None:
            return stream.lost_lines, stream.lost_size
        return max(0, stream.told.lines - stream.lines), max(0, stream.told.size - stream.size)

    def _is_damaged(self, stream: _Stream) -> bool:
        """Say whether a stream that has as many lines as it should has others."""
        told = stream.told
        if told is None or stream.is_cut:
            return False
        if (stream.lines + stream.lost_lines, stream.lost_lines) != (told.lines, told.lost_lines):
            return False
        return bool(stream.digest.digest() != told.digest)

    def _remember(self, piece: Piece) -> None:
        if not piece.lines:
            return
        self._tail.append(piece)
        self._tail_lines += piece.lines
        self._tail_bytes += len(piece.text)
        while len(self._tail) > 1 and (
            self._tail_lines - self._tail[0].lines >= TAIL_LINES or self._tail_bytes > TAIL_BYTES
        ):
            gone = self._tail.popleft()
            self._tail_lines -= gone.lines
            self._tail_bytes -= len(gone.text)


def label_of(source: Source, engine: int) -> str:
    """Return the name of a log's source as it stands before each of its lines."""
    if source.worker == DIRECTOR:
        return "director"
    attempt = f"#{source.attempt}" if source.attempt > 1 else ""
    return f"worker-{source.worker}{attempt}" + (f"/{engine}" if engine else "")


def render(source: Source, record: Record) -> Piece:
    """Return a record as people read it: each line behind its source, a gap in brackets."""
    label = label_of(source, record.stream.engine)
    match record.kind:
        case Kind.LINES:
            head = f"{label} | ".encode()
            text = head + record.payload[:-1].replace(b"\n", b"\n" + head) + b"\n"
            return Piece(text, record.payload.count(b"\n", 0, -1) + 1)
        case Kind.GAP:
            gap = f"{label} | [{record.lines} lines, {record.lost_size} bytes are missing here: no room]\n"
            return Piece(gap.encode(), 1)
        case _:
            return Piece(b"", 0)


def rendered(records: Iterable[tuple[Source, Record]]) -> Iterator[bytes]:
    """Yield records as people read them."""
    for source, record in records:
        if (piece := render(source, record)).lines:
            yield piece.text
