"""The request path: write a request, wait, read the whole answer, say how it went and how long it took.

`Exchange` is what every flavour of a connection does the same way, `Connection` the flavour that needs no compiler.
Names, redirects and what counts as a failure must not live here.
"""

from __future__ import annotations

import _socket
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_runner.engine.http.bodies import body_of
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind, broken_off, cut_off
from loadstone_runner.engine.http.head import FIRST_FINAL_STATUS, read_head
from loadstone_runner.engine.http.patience import READ, WRITE, DeadlinePassed, Patience

if TYPE_CHECKING:
    from _socket import socket

    from loadstone_runner.engine.http.bodies import Body
    from loadstone_runner.engine.http.tls import Tls

HEAD_MAX_BYTES: Final = 65_536
# Of a class whose fields are the flavours': slots of their own, or fields of C. By a name, as they are none of its own.
NO_SLOTS: Final[tuple[str, ...]] = ()
_READ_BYTES: Final = 65_536
_HEAD_END: Final = b"\r\n\r\n"
_SWITCHING_PROTOCOLS: Final = 101


class Opening(NamedTuple):
    """How long the parts of opening a connection took; without TLS its part is 0.

    Attributes:
        tls_resumed: whether the handshake took up a session of before.
    """

    dns_ns: int
    connect_ns: int
    tls_ns: int
    tls_resumed: bool = False


class Answer:
    """How one exchange went, whole answer or not.

    Attributes:
        status: of the answer; 0 without a whole one.
        head: status line and header lines, without the empty line.
        body: without its framing.
        begin_ns: before the first byte was sent, monotonic.
        first_byte_ns: when the first bytes came; 0: none did.
        end_ns: when the last byte was there, or it failed.
        sent: bytes that were handed to the kernel, with TLS those of its records; 0: the target knows nothing of it.
        received: bytes of the answer, interim ones included.
        failure: None if the answer is whole.
        delay_ns: how late the iteration was started whose first request this is; the caller's.
        opening: of the connection, if it was opened for this request; the caller's.
        raised: what else interrupted the greenlet; to be raised again once everything is recorded.
    """

    __slots__ = (
        "begin_ns", "body", "delay_ns", "end_ns", "failure", "first_byte_ns",
        "head", "opening", "raised", "received", "sent", "status",
    )  # fmt: skip

    def __init__(self, begin_ns: int) -> None:
        self.status = 0
        self.head = b""
        self.body = b""
        self.begin_ns = begin_ns
        self.delay_ns = 0
        self.first_byte_ns = 0
        self.end_ns = 0
        self.sent = 0
        self.received = 0
        self.failure: ExchangeError | None = None
        self.opening: Opening | None = None
        self.raised: BaseException | None = None


class Exchange:
    """One exchange over an open connection: everything but how a greenlet waits for the socket.

    Attributes:
        is_reusable: whether another request may follow.
        idle_since_ns: when the newest answer ended.
    """

    __slots__ = NO_SLOTS

    _socket: socket
    _tls: Tls | None
    _unsent: memoryview | None
    is_reusable: bool
    idle_since_ns: int

    def __init__(self, sock: socket, session: Tls | None) -> None:
        """Make a connection of a connected socket, with TLS if there is a session."""
        raise NotImplementedError

    def exchange(self, request: bytes, *, is_head: bool, deadline_ns: int, keeps_body: bool = True) -> Answer:
        """Send a request and return its whole answer, or what came of it. Never raises.

        Afterwards the connection carries another request if `is_reusable`, else it must be closed.

        Args:
            request: head and body.
            is_head: its answer has no body, whatever the answer's head says.
            deadline_ns: when all of the answer must be there, on the monotonic clock.
            keeps_body: whether the body is wanted; else it is read over.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection; again is harmless."""
        raise NotImplementedError

    def _wait_readable(self) -> None:
        """Wait until there is something to read, or something else woke the greenlet.

        Raises:
            DeadlinePassed: nothing came in time.
        """
        raise NotImplementedError

    def _wait_for(self, events: int) -> None:
        """Wait likewise for READ, WRITE or both."""
        raise NotImplementedError

    def is_stale(self) -> bool:
        """Return whether the peer has closed this idle connection or sent what nobody asked for. Never blocks."""
        try:
            peeked = self._socket.recv(1, _socket.MSG_PEEK)
            if not peeked or self._tls is None:
                return True
            # Session tickets come whenever the server likes, and say nothing of the connection's end.
            return bool(self._tls.open(self._socket.recv(_READ_BYTES))) or self._tls.is_closed
        except BlockingIOError:
            return False
        except (OSError, ExchangeError):
            return True

    def _send(self, request: bytes, answer: Answer) -> None:
        data = request if self._tls is None else self._tls.seal(request)
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        answer.sent = sent
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]

    def _send_more(self, unsent: memoryview, answer: Answer) -> None:
        """Send of a long request what the kernel takes now; the peer may answer before it has everything."""
        try:
            sent = self._socket.send(unsent)
        except BlockingIOError:
            return
        except OSError:
            # The peer reads no more, but may have said why: what came from it before the reset is still there.
            self._unsent = None
            return
        answer.sent += sent
        self._unsent = unsent[sent:] if sent < len(unsent) else None

    def _receive(self, answer: Answer, held: bytes, *, is_head: bool, keeps_body: bool) -> None:
        """Read the final answer, of which the first bytes may be there."""
        held = held or self._read(answer)
        while True:
            end = held.find(_HEAD_END)
            while end < 0:
                if len(held) > HEAD_MAX_BYTES:
                    raise ExchangeError(FailureKind.PROTOCOL, f"the head is longer than {HEAD_MAX_BYTES} bytes")
                held += self._read(answer)
                end = held.find(_HEAD_END)
            raw = held[:end]
            held = held[end + 4 :]
            head = read_head(raw)
            if head.status >= FIRST_FINAL_STATUS:
                break
            if head.status == _SWITCHING_PROTOCOLS:
                raise ExchangeError(FailureKind.PROTOCOL, "the server switched protocols, which nobody asked for")
        length = 0 if is_head else head.length
        if len(held) == length:
            answer.body = held if keeps_body else b""
            is_clean = True
        else:
            is_clean = self._read_body(answer, held, body_of(length, keeps=keeps_body))
        answer.end_ns = monotonic_ns()
        answer.head = raw
        answer.status = head.status
        self.is_reusable = is_clean and head.keeps_alive and self._unsent is None
        self.idle_since_ns = answer.end_ns

    def _read_body(self, answer: Answer, held: bytes, body: Body) -> bool:
        """Read the rest of a body; return whether the connection stands where an answer has just ended."""
        whole = body.feed(held) if held else False
        while not whole:
            if body.ends_with_connection:
                received = self._read_or_end(answer)
                if not received:
                    break
            else:
                received = self._read(answer)
            whole = body.feed(received)
        answer.body = body.content()
        return not body.has_excess and not body.ends_with_connection

    def _read(self, answer: Answer) -> bytes:
        """Return bytes; the end of the connection is a failure."""
        received = self._read_or_end(answer)
        if received:
            return received
        if answer.received:
            raise ExchangeError(FailureKind.TRUNCATED, "the connection ended inside the answer")
        raise ExchangeError(FailureKind.RESET, "the connection ended before an answer")

    def _read_or_end(self, answer: Answer) -> bytes:
        """Return bytes, or none at the end of the connection."""
        while True:
            if self._unsent is None:
                self._wait_readable()
            else:
                self._wait_for(READ | WRITE)
                self._send_more(self._unsent, answer)
            try:
                received = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            if self._tls is not None:
                received = self._open(self._tls, received)
                if not received and not self._tls.is_closed:
                    continue
            if not answer.first_byte_ns:
                answer.first_byte_ns = monotonic_ns()
            answer.received += len(received)
            return received

    def _open(self, session: Tls, received: bytes) -> bytes:
        plain = session.open(received)
        reply = session.answer()
        if reply:
            # A key update is a few dozen bytes: if the kernel has no room for them the connection is as good as dead.
            self._socket.send(reply)
        return plain

    @staticmethod
    def _fail(answer: Answer, error: BaseException) -> None:
        """Say in the answer why there is none."""
        match error:
            case ExchangeError():
                failure = error
            case DeadlinePassed():
                failure = ExchangeError(FailureKind.TIMEOUT, "no whole answer in time")
            case OSError():
                failure = broken_off(error, answer.received)
            case _:  # the end of the run, or a timeout of the script
                failure = cut_off(error)
                answer.raised = error
        answer.end_ns = monotonic_ns()
        answer.failure = failure
        answer.status = 0


class Connection(Exchange):
    """One open connection; carries one exchange at a time."""

    __slots__ = ("_patience", "_socket", "_tls", "_unsent", "idle_since_ns", "is_reusable")

    def __init__(self, sock: socket, session: Tls | None) -> None:
        self._socket = sock
        self._patience = Patience(sock.fileno())
        self._tls = session
        self._unsent: memoryview | None = None
        self.is_reusable = True
        self.idle_since_ns = 0

    def exchange(self, request: bytes, *, is_head: bool, deadline_ns: int, keeps_body: bool = True) -> Answer:
        """Send a request and return its whole answer, or what came of it; see `Exchange`."""
        self.is_reusable = False
        answer = Answer(monotonic_ns())
        try:
            self._patience.set_deadline(deadline_ns)
            self._send(request, answer)
            self._receive(answer, b"", is_head=is_head, keeps_body=keeps_body)
        except BaseException as error:  # noqa: BLE001 whatever it is, it is recorded before it is raised
            self._fail(answer, error)
        return answer

    def close(self) -> None:
        """Close the connection; again is harmless."""
        if self._socket.fileno() >= 0:
            self._patience.close()
            self._socket.close()

    def _wait_readable(self) -> None:
        self._patience.wait_readable()

    def _wait_for(self, events: int) -> None:
        self._patience.wait_for(events)
