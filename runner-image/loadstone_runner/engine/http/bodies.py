"""Collect the body of an answer as its bytes come in, whichever way its end is told. No I/O."""

from __future__ import annotations

import re
from typing import Final, Protocol

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.head import CHUNKED, UNTIL_CLOSE

BODY_MAX_BYTES: Final = 64 * 1024 * 1024
_SIZE_LINE_MAX: Final = 1_024
_TRAILERS_MAX: Final = 16_384
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\Z")


class Body(Protocol):
    """A body that is being received."""

    def feed(self, received: bytes) -> bool:
        """Take bytes; return whether the body is whole.

        Raises:
            ExchangeError: of kind PROTOCOL or TOO_LARGE.
        """
        ...

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the body."""
        ...

    @property
    def has_excess(self) -> bool:
        """Whether bytes came after the end: nobody asked for them."""
        ...

    def content(self) -> bytes:
        """Return what the body says, without its framing."""
        ...

    def take(self) -> bytes:
        """Return what came since the last call, without its framing, and hold it no longer."""
        ...


def body_of(length: int, limit: int = BODY_MAX_BYTES, *, keeps: bool = True) -> Body:
    """Return an empty body of `Head.length`, of at most `limit` bytes; one that `keeps` nothing is only counted.

    Raises:
        ExchangeError: of kind TOO_LARGE, for a length above the limit.
    """
    if length == CHUNKED:
        return ChunkedBody(limit, keeps=keeps)
    if length > limit:
        raise _too_large()
    return PlainBody(length, limit, keeps=keeps)


class PlainBody:
    """A body of known length, or one that lasts until the connection ends."""

    __slots__ = ("_held", "_keeps", "_length", "_limit", "_parts", "_taken")

    def __init__(self, length: int, limit: int = BODY_MAX_BYTES, *, keeps: bool = True) -> None:
        self._length = length
        self._limit = limit
        self._keeps = keeps
        self._taken = 0
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, received: bytes) -> bool:
        """Take bytes; return whether the body is whole."""
        if self._keeps:
            self._parts.append(received)
        self._held += len(received)
        if self._held > self._limit and self._length == UNTIL_CLOSE:
            raise _too_large()
        return 0 <= self._length <= self._held

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the body."""
        return self._length == UNTIL_CLOSE

    @property
    def has_excess(self) -> bool:
        """Whether bytes came after the end."""
        return 0 <= self._length < self._held

    def content(self) -> bytes:
        """Return the bytes up to the end."""
        whole = b"".join(self._parts)
        return whole[: self._length] if self.has_excess else whole

    def take(self) -> bytes:
        """Return what came since the last call."""
        new = b"".join(self._parts)
        self._parts.clear()
        if self._length >= 0:
            new = new[: self._length - self._taken]
        self._taken += len(new)
        return new


class ChunkedBody:
    """A body in chunks, RFC 9112 section 7.1; extensions and trailers are read over."""

    __slots__ = (
        "_chunk_left", "_chunks", "_held", "_in_trailers", "_keeps", "_limit", "_total", "_trailer_bytes", "_whole",
    )  # fmt: skip

    def __init__(self, limit: int = BODY_MAX_BYTES, *, keeps: bool = True) -> None:
        self._limit = limit
        self._keeps = keeps
        self._held = bytearray()
        self._chunks: list[bytes] = []
        self._total = 0
        self._chunk_left = 0  # bytes of the running chunk's data and its CRLF that are to come; 0: a size line is next
        self._in_trailers = False
        self._trailer_bytes = 0
        self._whole = False

    def feed(self, received: bytes) -> bool:
        """Take bytes; return whether the body is whole."""
        self._held += received
        while not self._whole and (self._take_data() if self._chunk_left else self._take_line()):
            pass
        return self._whole

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the body: never, the last chunk is."""
        return False

    @property
    def has_excess(self) -> bool:
        """Whether bytes came after the end."""
        return self._whole and bool(self._held)

    def content(self) -> bytes:
        """Return the data of all chunks."""
        return b"".join(self._chunks)

    def take(self) -> bytes:
        """Return the data that came since the last call."""
        new = self.content()
        self._chunks.clear()
        return new

    def _take_data(self) -> bool:
        """Take what there is of a chunk; return whether the chunk and its CRLF are through."""
        data_left = self._chunk_left - 2
        if data_left > 0:
            part = bytes(self._held[:data_left])
            del self._held[: len(part)]
            if self._keeps:
                self._chunks.append(part)
            self._chunk_left -= len(part)
            data_left -= len(part)
        if data_left > 0 or len(self._held) < self._chunk_left:
            return False
        if self._held[:2] != b"\r\n":
            raise ExchangeError(FailureKind.PROTOCOL, "a chunk is longer than its size says")
        del self._held[:2]
        self._chunk_left = 0
        return True

    def _take_line(self) -> bool:
        """Take a size line or a trailer; return whether there was a whole one."""
        end = self._held.find(b"\r\n")
        if end < 0:
            if len(self._held) > _SIZE_LINE_MAX:
                raise ExchangeError(FailureKind.PROTOCOL, "a chunk's size line does not end")
            return False
        line = bytes(self._held[:end])
        del self._held[: end + 2]
        if self._in_trailers:
            self._trailer_bytes += end + 2
            if self._trailer_bytes > _TRAILERS_MAX:
                raise ExchangeError(FailureKind.PROTOCOL, f"trailers are longer than {_TRAILERS_MAX} bytes")
            self._whole = not line
            return True
        size = _SIZE.match(line)
        if size is None:
            raise ExchangeError(FailureKind.PROTOCOL, f"no chunk size: {line[:40]!r}")
        self._begin_chunk(int(size[1], 16))
        return True

    def _begin_chunk(self, size: int) -> None:
        self._total += size
        if self._total > self._limit:
            raise _too_large()
        self._in_trailers = not size
        self._chunk_left = size + 2 if size else 0


def _too_large() -> ExchangeError:
    return ExchangeError(FailureKind.TOO_LARGE, f"the body is longer than {BODY_MAX_BYTES >> 20} MiB")
