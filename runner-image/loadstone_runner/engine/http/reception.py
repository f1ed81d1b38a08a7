"""One exchange in Python, from its first byte out to its last byte in, bit by bit. Connections are `courier`'s."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol

from loadstone_runner.engine.http.bodies import body_of
from loadstone_runner.engine.http.connection import HEAD_MAX_BYTES, Answer
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind, broken_off, cut_off
from loadstone_runner.engine.http.head import FIRST_FINAL_STATUS, read_head
from loadstone_runner.engine.http.patience import ClosedMeanwhile, DeadlinePassed
from loadstone_runner.engine.http.requests import framed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_runner.engine.http.bodies import Body
    from loadstone_runner.engine.http.head import Head
    from loadstone_runner.engine.http.origin import Origin
    from loadstone_runner.engine.http.requests import Pieces, Written
    from loadstone_runner.engine.http.wire import Wire

_HEAD_END: Final = b"\r\n\r\n"
_SWITCHING_PROTOCOLS: Final = 101


class UnmadeBodyError(Exception):
    """What makes a body while it is sent has raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Closable(Protocol):
    """What can be closed, again and again."""

    def close(self) -> None:
        """Close it."""
        ...


class Keeper(Protocol):
    """Who has connections beyond one exchange: the courier."""

    def keep(self, origin: Origin, wire: Wire) -> None:
        """Keep a connection for the next exchange."""
        ...

    def adopt(self, connection: Closable) -> None:
        """Close a connection of a longer conversation with all others."""
        ...

    def disown(self, connection: Closable) -> None:
        """Forget a connection that is closed."""
        ...


class Reception:
    """One exchange, from its first byte out to its last byte in.

    Attributes:
        answer: how it went; its body is not kept here.
        courier: that carries it.
        origin: that was asked.
        wire: the connection; None: there is none, or it was given back.
        rest: bytes after the head, until they are asked for.
    """

    __slots__ = (
        "_body", "_is_reusable", "_is_whole", "_limit", "_switches", "_written",
        "answer", "courier", "origin", "rest", "wire",
    )  # fmt: skip

    def __init__(self, courier: Keeper, written: Written, *, limit: int, switches: bool) -> None:
        self.answer = Answer(monotonic_ns())
        self.origin = written.place.origin
        self.wire: Wire | None = None
        self.rest = b""
        self.courier = courier
        self._written = written
        self._limit = limit
        self._switches = switches
        self._body: Body | None = None
        self._is_whole = False
        self._is_reusable = False

    def begin(self, wire: Wire, deadline_ns: int, first_byte_ns: int) -> None:
        """Send the request and read the head of its answer."""
        self.wire = wire
        wire.sent = 0
        answer = self.answer
        answer.begin_ns = monotonic_ns()
        first_by = answer.begin_ns + first_byte_ns if first_byte_ns else deadline_ns
        wire.patience.set_deadline(min(deadline_ns, first_by))
        try:
            early = self._send(wire)
            if not early:
                early = self._receive(wire)
        except DeadlinePassed as error:
            if first_by < deadline_ns:
                raise ExchangeError(FailureKind.FIRST_BYTE_TIMEOUT, "no first byte in time") from error
            raise
        wire.patience.set_deadline(deadline_ns)
        self._read_head(wire, early)

    def next_piece(self) -> bytes:
        """Return the next bytes of the body; b"": it is whole, or it has failed, as the answer says. Never raises."""
        try:
            return self._next_piece()
        except BaseException as error:  # noqa: BLE001 as in `Courier.open`
            self.fail(error)
            return b""

    def next_piece_by(self, deadline_ns: int) -> bytes | None:
        """Return the next bytes likewise; None: there were none until then, which is no failure."""
        if self.wire is not None:
            self.wire.patience.set_deadline(deadline_ns)
        try:
            return self._next_piece()
        except DeadlinePassed:
            return None
        except BaseException as error:  # noqa: BLE001 as in `Courier.open`
            self.fail(error)
            return b""

    def _next_piece(self) -> bytes:
        wire, body = self.wire, self._body
        while wire is not None and body is not None and not self._is_whole:
            received = self.rest or wire.receive()
            self._count(b"" if self.rest else received)
            self.rest = b""
            if received:
                self._is_whole = body.feed(received)
            elif body.ends_with_connection:
                self._is_whole, self._is_reusable = True, False
            else:
                raise ExchangeError(FailureKind.TRUNCATED, "the connection ended inside the answer")
            if self._is_whole:
                self.answer.end_ns = monotonic_ns()
            if part := body.take():
                return part
        return b""

    def fail(self, error: BaseException) -> None:
        """Say in the answer why there is no whole one, and end it."""
        name_failure(self.answer, error)
        self._is_reusable = False
        self.close()

    def close(self) -> None:
        """End the exchange: its connection is kept if the answer is whole. Again is harmless."""
        wire, self.wire = self.wire, None
        answer = self.answer
        if not answer.end_ns:
            answer.end_ns = monotonic_ns()
        if wire is None:
            return
        answer.sent = answer.sent or wire.sent
        body = self._body
        if self._is_whole and self._is_reusable and (body is None or not body.has_excess):
            self.courier.keep(self.origin, wire)
        else:
            wire.close()

    def _send(self, wire: Wire) -> bytes:
        """Send head and body; return what the peer said before it had all."""
        pieces = self._written.pieces
        self._is_reusable = True
        if pieces is None:
            wire.send(self._written.data)
            return b""
        wire.send(self._written.data)
        return self._send_pieces(wire, pieces)

    def _send_pieces(self, wire: Wire, pieces: Pieces) -> bytes:
        parts = framed(pieces)
        while (each := next_of(parts)) is not None:
            wire.patience.require_time(monotonic_ns())
            try:
                early = wire.poll()
                if early is None:
                    wire.send(each)
                    continue
            except OSError:
                # The peer reads no more, but may have said why: what came from it before the reset is still there.
                early = b""
            self._is_reusable = False
            return self._counted(early)
        return b""

    def _read_head(self, wire: Wire, held: bytes) -> None:
        while True:
            end = held.find(_HEAD_END)
            while end < 0:
                if len(held) > HEAD_MAX_BYTES:
                    raise ExchangeError(FailureKind.PROTOCOL, f"the head is longer than {HEAD_MAX_BYTES} bytes")
                held += self._receive(wire)
                end = held.find(_HEAD_END)
            raw, held = held[:end], held[end + 4 :]
            head = read_head(raw)
            if head.status >= FIRST_FINAL_STATUS or (self._switches and head.status == _SWITCHING_PROTOCOLS):
                break
            if head.status == _SWITCHING_PROTOCOLS:
                raise ExchangeError(FailureKind.PROTOCOL, "the server switched protocols, which nobody asked for")
        self.answer.status, self.answer.head = head.status, raw
        self._await_body(head, held)

    def _await_body(self, head: Head, held: bytes) -> None:
        self.rest = held
        if head.status == _SWITCHING_PROTOCOLS:
            return
        length = 0 if self._written.is_head else head.length
        self._body = body = body_of(length, self._limit)
        self._is_reusable = self._is_reusable and head.keeps_alive
        if not length:
            self._is_whole = True
            self.answer.end_ns = monotonic_ns()
            if held:
                body.feed(held)

    def _receive(self, wire: Wire) -> bytes:
        """Return bytes; the end of the connection is a failure."""
        received = wire.receive()
        if received:
            return self._counted(received)
        if self.answer.received:
            raise ExchangeError(FailureKind.TRUNCATED, "the connection ended inside the answer")
        raise ExchangeError(FailureKind.RESET, "the connection ended before an answer")

    def _counted(self, received: bytes) -> bytes:
        self._count(received)
        return received

    def _count(self, received: bytes) -> None:
        answer = self.answer
        if received and not answer.first_byte_ns:
            answer.first_byte_ns = monotonic_ns()
        answer.received += len(received)


def name_failure(answer: Answer, error: BaseException) -> None:
    """Say in an answer why there is no whole one."""
    match error:
        case ExchangeError():
            answer.failure = error
        case ClosedMeanwhile():
            answer.failure = ExchangeError(FailureKind.RESET, "the connection was closed before an answer")
        case DeadlinePassed():
            answer.failure = ExchangeError(FailureKind.TIMEOUT, "no whole answer in time")
        case UnmadeBodyError():
            answer.failure, answer.raised = cut_off(error.cause), error.cause
        case OSError():
            answer.failure = broken_off(error, answer.received)
        case _:
            answer.failure = cut_off(error)
            answer.raised = error
    answer.status = 0


def next_of(parts: Iterator[bytes]) -> bytes | None:
    """Return the next part of a body that is made while it is sent; None: that was all.

    Raises:
        UnmadeBodyError: what makes it has raised.
    """
    try:
        return next(parts, None)
    except Exception as error:
        # An OSError of the script's own must not pass for one of the connection.
        raise UnmadeBodyError(error) from error
