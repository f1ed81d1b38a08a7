"""Carry one WebSocket, RFC 6455, its frames by the wsproto library. The opening request is `conversing`'s."""

from __future__ import annotations

from binascii import b2a_base64
from collections import deque
from os import urandom
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, Self

import gevent

from loadstone_core.stats.metrics import MESSAGES_RECEIVED, MESSAGES_SENT
from loadstone_runner.engine.http.bodies import BODY_MAX_BYTES
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.patience import DeadlinePassed
from loadstone_runner.engine.http.streaming import patience_ns
from loadstone_runner.engine.http.wire import Duplex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from loadstone.reply import Headers
    from loadstone_runner.engine.http.streaming import Streaming
    from loadstone_runner.engine.http.wire import Wire

METHOD: Final = "WS"

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SECOND_NS: Final = 1_000_000_000
_NEVER: Final = 1 << 62
_GOODBYE_NS: Final = _SECOND_NS
_LOOK_SECONDS: Final = 0.002
# 1005 is sent by nobody: it stands for a goodbye without a code, which is what `close()` says in browsers and Node.
_NORMAL_CODES: Final = frozenset({1000, 1001, 1005})
_ABNORMAL: Final = 1006


def new_key() -> str:
    """Return a nonce for an opening."""
    return b2a_base64(urandom(16), newline=False).decode("ascii")


def check_opening(headers: Headers, key: str) -> None:
    """Accept a server's 101.

    Raises:
        ExchangeError: of kind PROTOCOL: it agreed to something else.
    """
    from hashlib import sha1

    # The protocol's own choice of a hash; it protects nothing.
    digest = sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    wanted = b2a_base64(digest, newline=False).decode("ascii")
    if headers.get("upgrade", "").lower() != "websocket" or headers.get("sec-websocket-accept") != wanted:
        raise ExchangeError(FailureKind.PROTOCOL, "the server switched to something that is no WebSocket")


class Socket:
    """One; see `loadstone.WebSocket` for what scripts may rely on."""

    __slots__ = (
        "_buffer", "_duplex", "_held", "_is_closing", "_machine", "_messages", "_on_close", "_parts", "_recorder",
        "_scenario", "_timeout_ns", "close_code", "error", "name", "status", "subprotocol",
    )  # fmt: skip

    def __init__(self, name: str, status: int, *, error: str | None, client: Streaming, timeout_ns: int) -> None:
        """Make one that is not open, for a client."""
        self.name = name
        self.status = status
        self.error = error
        self.close_code = 0
        self.subprotocol = ""
        self._recorder = client._instruments.recorder  # noqa: SLF001 a part of the client
        self._scenario = client.scenario
        self._timeout_ns = timeout_ns
        self._duplex: Duplex | None = None
        self._machine: Any = None
        self._messages: deque[str | bytes] = deque()
        self._parts: list[Any] = []
        self._held = 0
        self._is_closing = False
        self._buffer = b""
        self._on_close: Callable[[Socket], None] | None = None

    def take_over(self, wire: Wire, rest: bytes, on_close: Callable[[Socket], None]) -> None:
        """Speak over a connection that was opened, of which some bytes have been read already."""
        from wsproto.connection import Connection, ConnectionType

        self._duplex = Duplex(wire)
        self._machine = Connection(ConnectionType.CLIENT)
        self._buffer = rest
        self._on_close = on_close

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent; not while `close` waits for the server's goodbye."""
        return self._duplex is not None and not self._is_closing

    @property
    def ok(self) -> bool:
        """Whether nothing has failed."""
        return self.error is None

    def send(self, message: str | bytes) -> bool:
        """Send a message; return whether it left."""
        from wsproto.events import BytesMessage, TextMessage

        event: Any = TextMessage(message) if isinstance(message, str) else BytesMessage(bytes(message))
        if not self._send(event, monotonic_ns() + self._timeout_ns):
            return False
        self._recorder.messages(MESSAGES_SENT, method=METHOD, name=self.name, scenario=self._scenario)
        return True

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Return the next message; None: there is none in time, or none any more."""
        return self._receive(monotonic_ns() + patience_ns(timeout, self._timeout_ns))

    def ask(self, message: str | bytes, *, name: str | None = None, timeout: float | None = None) -> str | bytes | None:
        """Send a message, return the next one, and record the time between."""
        begin = monotonic_ns()
        answer = None
        if self.send(message):
            answer = self._receive(begin + patience_ns(timeout, self._timeout_ns))
        if answer is not None:
            spent = monotonic_ns() - begin
            self._recorder.message_latency(
                spent, method=METHOD, name=self.name if name is None else str(name), scenario=self._scenario
            )
        elif self.is_open:
            self.error = FailureKind.TIMEOUT.value
            self._recorder.error(FailureKind.TIMEOUT.value, "no message in time", self.name)
        elif self.error is None:
            self._fail(FailureKind.CLOSED, "the connection was closed before an answer")
        return answer

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and close; again is harmless."""
        from wsproto.events import CloseConnection

        self._is_closing = True
        deadline = monotonic_ns() + _GOODBYE_NS
        if self._duplex is not None and self._send(CloseConnection(code, reason), deadline):
            self._await_goodbye(deadline)
        self._shut()

    def abandon(self) -> None:
        """Close without a word, at the end of the user."""
        self._shut()

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield messages until the connection is closed."""
        while (message := self._receive(_NEVER)) is not None:
            yield message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception):
            self.close()
        else:
            self._shut()  # the end of the run waits for nobody's goodbye

    def _await_goodbye(self, deadline_ns: int) -> None:
        while self._duplex is not None and self._duplex.is_receiving and monotonic_ns() < deadline_ns:
            gevent.sleep(_LOOK_SECONDS)  # another greenlet hears it
        while self._more(deadline_ns):
            self._messages.clear()

    def _send(self, event: Any, deadline_ns: int) -> bool:
        from wsproto.utilities import ProtocolError

        duplex = self._duplex
        if duplex is None:
            return False
        try:
            parts = [self._machine.send(event)]
            duplex.send(lambda: parts.pop() if parts else b"", deadline_ns)
        except ProtocolError:
            return False  # the server has begun to close
        except (DeadlinePassed, OSError) as error:
            if self._duplex is None:
                return False  # another greenlet has closed it
            if isinstance(error, OSError):
                self._fail(FailureKind.RESET, (error.strerror or str(error)).lower())
            else:
                self._fail(FailureKind.TIMEOUT, "the server took no message in time")
        return self._duplex is not None

    def _receive(self, deadline_ns: int) -> str | bytes | None:
        while not self._messages and self._duplex is not None:
            if not self._more(deadline_ns):
                break
        if not self._messages:
            return None
        self._recorder.messages(MESSAGES_RECEIVED, method=METHOD, name=self.name, scenario=self._scenario)
        return self._messages.popleft()

    def _more(self, deadline_ns: int) -> bool:
        """Take what comes next; return whether there was something."""
        duplex = self._duplex
        if duplex is None or (self._is_closing and duplex.is_receiving):
            return False
        try:
            received, self._buffer = self._buffer or duplex.receive(deadline_ns), b""
            self._take(received)
        except DeadlinePassed:
            return False
        except ExchangeError as error:
            self._fail(error.kind, str(error))
        except OSError as error:
            self._fail(FailureKind.RESET, (error.strerror or str(error)).lower())
        return True

    def _take(self, received: bytes) -> None:
        from wsproto.connection import ConnectionState
        from wsproto.events import CloseConnection, Message, Ping
        from wsproto.utilities import RemoteProtocolError

        if not received:
            self._end(_ABNORMAL)
            return
        try:
            self._machine.receive_data(received)
            for event in self._machine.events():
                if isinstance(event, Message):
                    self._take_part(event)
                elif isinstance(event, Ping):
                    self._send(event.response(), monotonic_ns() + _SECOND_NS)
                elif isinstance(event, CloseConnection):
                    if self._machine.state is ConnectionState.OPEN:
                        # Not the server's word, but the library's for frames that are none.
                        raise ExchangeError(FailureKind.PROTOCOL, f"no WebSocket: {event.reason or 'broken frames'}")
                    self._send(event.response(), monotonic_ns() + _SECOND_NS)
                    self._end(event.code)
        except RemoteProtocolError as error:
            raise ExchangeError(FailureKind.PROTOCOL, f"no WebSocket: {error}") from error

    def _take_part(self, event: Any) -> None:
        self._parts.append(event.data)
        self._held += len(event.data)
        if self._held > BODY_MAX_BYTES:
            raise ExchangeError(FailureKind.TOO_LARGE, f"a message is longer than {BODY_MAX_BYTES >> 20} MiB")
        if event.message_finished:
            parts, self._parts, self._held = self._parts, [], 0
            self._messages.append("".join(parts) if isinstance(event.data, str) else b"".join(map(bytes, parts)))

    def _end(self, code: int) -> None:
        """Hear that the server has closed the connection."""
        self.close_code = int(code)
        if self.close_code not in _NORMAL_CODES:
            self._fail(FailureKind.CLOSED, f"the server closed with code {self.close_code}")
        self._shut()

    def _fail(self, kind: FailureKind, sentence: str) -> None:
        if self.error is None:
            self.error = kind.value
            self._recorder.error(kind.value, sentence, self.name)
        self._shut()

    def _shut(self) -> None:
        duplex, self._duplex = self._duplex, None
        if duplex is not None:
            duplex.close()
            if self._on_close is not None:
                self._on_close(self)
