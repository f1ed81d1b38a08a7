"""Carry a client's requests over HTTP/2 where the server speaks it, and over HTTP/1.1 where not. RFC 9113.

The requests of one user share a connection, also those at the same time. Frames and streams are `multiplex`'s.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from gevent.lock import BoundedSemaphore

from loadstone_runner.engine.http.connection import Answer
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.http2_stream import NotProcessedError
from loadstone_runner.engine.http.multiplex import Session
from loadstone_runner.engine.http.patience import DeadlinePassed
from loadstone_runner.engine.http.pool import IDLE_MAX
from loadstone_runner.engine.http.reception import name_failure, next_of
from loadstone_runner.engine.http.requests import whole_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_runner.engine.http.connecting import Dialer
    from loadstone_runner.engine.http.courier import Courier
    from loadstone_runner.engine.http.http2_stream import Header, Stream
    from loadstone_runner.engine.http.origin import Origin
    from loadstone_runner.engine.http.reception import Reception
    from loadstone_runner.engine.http.requests import Written

_SECOND_NS: Final = 1_000_000_000
_PROTOCOL: Final = "h2"
# Far more than connections of HTTP/1.1 are kept to: what is forgotten costs a handshake and no connection.
_OLD_MAX: Final = 16 * IDLE_MAX
# Of one connection, RFC 9113 section 8.2.2; the length of a body is told by its frames, too, but servers like it.
_OF_HTTP1: Final = frozenset({"connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})


class Http2Courier:
    """One user's; takes the place of the courier, which it uses for all that is HTTP/1.1."""

    __slots__ = ("_connecting", "_courier", "_dialer", "_first_byte_ns", "_old", "_sessions")

    def __init__(self, dialer: Dialer, courier: Courier, first_byte_ns: int) -> None:
        """Take what opens connections that may speak h2, and what carries requests where they do not."""
        self._dialer = dialer
        self._courier = courier
        self._first_byte_ns = first_byte_ns
        self._sessions: dict[Origin, Session] = {}
        self._old: dict[Origin, None] = {}  # that chose HTTP/1.1, in the order in which they did
        self._connecting = BoundedSemaphore(1)

    def send(self, written: Written, *, deadline_ns: int, connect_by_ns: int, keeps_body: bool) -> Answer:
        """Send a request and return its whole answer, or what came of it. Never raises."""
        answer = Answer(monotonic_ns())
        try:
            while True:
                session = self._session_to(written.place.origin, connect_by_ns, answer)
                if session is None:
                    old = self._courier.send(
                        written, deadline_ns=deadline_ns, connect_by_ns=connect_by_ns, keeps_body=keeps_body
                    )
                    old.opening = old.opening or answer.opening
                    return old
                try:
                    self._exchange(session, written, answer, deadline_ns)
                except NotProcessedError:
                    answer.sent = answer.received = answer.first_byte_ns = 0
                    if written.pieces is not None or monotonic_ns() >= deadline_ns or answer.opening is not None:
                        raise
                    continue
                if not keeps_body:
                    answer.body = b""
                return answer
        except BaseException as error:  # noqa: BLE001 whatever it is, it is recorded before it is raised
            name_failure(answer, error)
            answer.end_ns = monotonic_ns()
            return answer

    def open(
        self, written: Written, *, deadline_ns: int, connect_by_ns: int, limit: int = 1 << 62, switches: bool = False
    ) -> Reception:
        """Begin an exchange that is read bit by bit: over HTTP/1.1, see `Courier.open`."""
        return self._courier.open(
            written, deadline_ns=deadline_ns, connect_by_ns=connect_by_ns, limit=limit, switches=switches
        )

    def close(self) -> None:
        """Close all connections."""
        sessions, self._sessions = self._sessions, {}
        for each in sessions.values():
            each.close()
        self._courier.close()

    def _session_to(self, origin: Origin, connect_by_ns: int, answer: Answer) -> Session | None:
        """Return a connection that takes a stream; None: HTTP/1.1 is spoken there."""
        held = self._sessions.get(origin)
        if held is not None and held.is_open:
            return held
        if not self._connecting.acquire(timeout=max(connect_by_ns - monotonic_ns(), 0) / _SECOND_NS):
            raise ExchangeError(FailureKind.CONNECT_TIMEOUT, f"{origin} did not accept in time")
        try:
            # Another request of this user may have opened it meanwhile.
            held = self._sessions.get(origin)
            if held is not None and held.is_open:
                return held
            if origin in self._old or self._is_forwarded(origin):
                return None
            link = self._dialer.connect(origin, connect_by_ns)
            answer.opening = link.phases
            if origin.is_tls and link.protocol != _PROTOCOL:
                self._old[origin] = None
                if len(self._old) > _OLD_MAX:
                    del self._old[next(iter(self._old))]
                self._courier.keep(origin, link.wire)
                return None
            try:
                session = Session(link)
            except BaseException:
                link.wire.close()
                raise
            self._sessions.pop(origin, None)
            self._make_room(IDLE_MAX - 1)
            self._sessions[origin] = session
            return session
        finally:
            self._connecting.release()

    def _make_room(self, most: int) -> None:
        """Close connections that carry nothing: all that take nothing either, and of too many those known longest."""
        for origin, session in list(self._sessions.items()):
            if session.is_idle and (len(self._sessions) > most or not session.is_open):
                del self._sessions[origin]
                session.close()

    def _is_forwarded(self, origin: Origin) -> bool:
        """Return whether a proxy forwards requests there, which it is asked for in HTTP/1.1."""
        proxies = self._dialer.profile.proxies
        return not origin.is_tls and proxies is not None and proxies.proxy_for(origin) is not None

    def _exchange(self, session: Session, written: Written, answer: Answer, deadline_ns: int) -> None:
        headers, body = _as_http2(written)
        answer.begin_ns = monotonic_ns()
        first_by = answer.begin_ns + self._first_byte_ns if self._first_byte_ns else deadline_ns
        stream, answer.sent = session.begin(headers, deadline_ns, has_body=body is not None)
        try:
            if body is not None:
                answer.sent += session.send_body(stream, _made(body), deadline_ns)
            self._receive(session, stream, deadline_ns, min(first_by, deadline_ns))
            self._conclude(stream, answer)
        finally:
            answer.first_byte_ns, answer.received = stream.first_byte_ns, stream.received
            session.end(stream)
            if len(self._sessions) > IDLE_MAX:
                self._make_room(IDLE_MAX)

    @staticmethod
    def _receive(session: Session, stream: Stream, deadline_ns: int, first_by_ns: int) -> None:
        """Wait until an answer is whole."""
        while not stream.is_done and stream.failure is None:
            try:
                session.wait(stream, deadline_ns if stream.first_byte_ns else first_by_ns)
            except DeadlinePassed as error:
                if not stream.first_byte_ns and first_by_ns < deadline_ns:
                    raise ExchangeError(FailureKind.FIRST_BYTE_TIMEOUT, "no first byte in time") from error
                raise
        if stream.failure is not None:
            raise stream.failure

    @staticmethod
    def _conclude(stream: Stream, answer: Answer) -> None:
        fields = dict(stream.headers)
        status = fields.get(":status", "")
        if not status.isdigit():
            raise ExchangeError(FailureKind.PROTOCOL, "an answer without a status")
        lines = [f"HTTP/2 {status}", *(f"{name}: {value}" for name, value in stream.headers if name[:1] != ":")]
        answer.head = "\r\n".join(lines).encode("latin-1", "replace")
        answer.body = b"".join(stream.parts)
        answer.status = int(status)
        answer.end_ns = monotonic_ns()


def _as_http2(written: Written) -> tuple[list[Header], Iterator[bytes] | None]:
    """Return a request's fields in HTTP/2's form, and its body; None: it has none."""
    head, _, body = written.data.partition(b"\r\n\r\n")
    request_line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = request_line.split(" ")
    origin = written.place.origin
    fields: list[Header] = []
    authority = origin.authority
    for line in lines:
        name, _, value = line.partition(": ")
        name = name.lower()
        if name == "host":
            authority = value
        elif name not in _OF_HTTP1:
            fields.append((name, value))
    pseudo = [
        (":method", method),
        (":scheme", "https" if origin.is_tls else "http"),
        (":authority", authority),
        (":path", target),
    ]
    if written.pieces is not None:
        return [*pseudo, *fields], whole_parts(written.pieces)
    return [*pseudo, *fields], iter((body,)) if body else None


def _made(parts: Iterator[bytes]) -> Iterator[bytes]:
    while (part := next_of(parts)) is not None:
        yield part
