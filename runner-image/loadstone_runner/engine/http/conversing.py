"""The part of a client that opens connections which carry messages: WebSocket and server-sent events.

The opening is a request like any other; what comes over the connection is counted and timed apart from requests.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, Self

from loadstone.conversations import EventParser, ServerEvent
from loadstone.reply import Headers
from loadstone_core.stats.metrics import MESSAGES_RECEIVED
from loadstone_runner.engine.http.composing import compose
from loadstone_runner.engine.http.connection import NO_SLOTS
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.streaming import Streaming, error_of, nanoseconds, patience_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from loadstone_runner.engine.http.reception import Reception
    from loadstone_runner.engine.http.websocket import Socket

EVENTS_METHOD: Final = "SSE"

_SWITCHED: Final = 101
_PLAIN_SCHEMES: Final = {"ws://": "http://", "wss://": "https://"}


class Conversing(Streaming):
    """What a client of any flavour inherits."""

    __slots__ = NO_SLOTS

    def websocket(
        self,
        path: str,
        *,
        name: str | None = None,
        timeout: float | None = None,
        subprotocols: str | Sequence[str] = (),
        **content: Any,
    ) -> Socket:
        """Open a WebSocket; see `loadstone.HttpClient.websocket`."""
        require_wsproto()
        from loadstone_runner.engine.http.websocket import METHOD, Socket, check_opening, new_key

        for scheme, plain in _PLAIN_SCHEMES.items():
            if path.startswith(scheme):
                path = plain + path.removeprefix(scheme)
        key = new_key()
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Accept-Encoding": None}
        headers |= {"Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
        if subprotocols:
            headers["Sec-WebSocket-Protocol"] = _listed(subprotocols)
        content["headers"] = {**headers, **(content.get("headers") or {})}
        written = compose("GET", self._target, path, self.headers, **content)
        timeout_ns = self._timeout_ns if timeout is None else nanoseconds(timeout)
        reception = self._open(written, timeout_ns, switches=True)
        answer = reception.answer
        answered = Headers(answer.head)
        if answer.status == _SWITCHED:
            try:
                check_opening(answered, key)
            except ExchangeError as failure:
                answer.failure = failure
        series = str(name or self._renamed or written.name)
        error = self._conclude_opening(reception, METHOD, series, wanted=_SWITCHED, url=written.place.url)
        made = Socket(series, answer.status, error=error, client=self, timeout_ns=timeout_ns)
        wire = reception.wire
        if error is not None or wire is None:
            reception.close()
            return made
        made.subprotocol = answered.get("sec-websocket-protocol", "")
        made.take_over(wire, reception.rest, reception.courier.disown)
        reception.courier.adopt(made)
        return made

    def server_events(
        self, path: str, *, name: str | None = None, timeout: float | None = None, **content: Any
    ) -> Events:
        """Open a stream of server-sent events; see `loadstone.HttpClient.server_events`."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Accept-Encoding": None}
        content["headers"] = {**headers, **(content.get("headers") or {})}
        written = compose("GET", self._target, path, self.headers, **content)
        timeout_ns = self._timeout_ns if timeout is None else nanoseconds(timeout)
        reception = self._open(written, timeout_ns)
        answer = reception.answer
        kind = Headers(answer.head).get("content-type", "").partition(";")[0].strip().lower()
        if answer.status == 200 and kind != "text/event-stream":  # noqa: PLR2004 OK
            answer.failure = ExchangeError(FailureKind.PROTOCOL, f"no event stream but {kind or 'nothing named'}")
        series = str(name or self._renamed or written.name)
        error = self._conclude_opening(reception, EVENTS_METHOD, series, wanted=200, url=written.place.url)
        made = Events(series, reception, error=error, client=self, timeout_ns=timeout_ns)
        if error is not None:
            reception.close()
        else:
            reception.courier.adopt(made)
        return made

    def _conclude_opening(self, reception: Reception, method: str, name: str, *, wanted: int, url: str) -> str | None:
        """Record an opening, which ends with the head of its answer; return its error."""
        answer = reception.answer
        answer.end_ns = answer.end_ns or monotonic_ns()
        if reception.wire is not None:
            answer.sent = reception.wire.sent
        error = error_of(answer, (wanted,))
        self._record(answer, method, name, error=error, url=url)
        if answer.raised is not None:
            reception.close()
            raise answer.raised
        return error


class Events:
    """One stream of events; see `loadstone.ServerEvents` for what scripts may rely on."""

    __slots__ = ("_events", "_parser", "_reception", "_recorder", "_scenario", "_timeout_ns", "error", "name", "status")

    def __init__(
        self, name: str, reception: Reception, *, error: str | None, client: Streaming, timeout_ns: int
    ) -> None:
        self.name = name
        self.status = reception.answer.status
        self.error = error
        self._reception: Reception | None = reception if error is None else None
        self._recorder = client._instruments.recorder  # noqa: SLF001 a part of the client
        self._scenario = client.scenario
        self._timeout_ns = timeout_ns
        self._parser = EventParser()
        self._events: list[ServerEvent] = []

    @property
    def ok(self) -> bool:
        """Whether nothing has failed."""
        return self.error is None

    def receive(self, timeout: float | None = None) -> ServerEvent | None:
        """Return the next event; None: there is none in time, or none any more."""
        return self._receive(monotonic_ns() + patience_ns(timeout, self._timeout_ns))

    def close(self) -> None:
        """Close the connection; again is harmless."""
        reception, self._reception = self._reception, None
        if reception is not None:
            reception.close()
            reception.courier.disown(self)

    def __iter__(self) -> Iterator[ServerEvent]:
        """Yield events until the stream ends."""
        while (event := self._receive(1 << 62)) is not None:
            yield event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, deadline_ns: int) -> ServerEvent | None:
        while not self._events:
            reception = self._reception
            if reception is None:
                return None
            piece = reception.next_piece_by(deadline_ns)
            if piece is None:
                return None
            if not piece:
                self._end(reception)
                return None
            try:
                self._events = self._parser.feed(piece)
            except ValueError as error:
                self._fail(FailureKind.TOO_LARGE, str(error))
        self._recorder.messages(MESSAGES_RECEIVED, method=EVENTS_METHOD, name=self.name, scenario=self._scenario)
        return self._events.pop(0)

    def _end(self, reception: Reception) -> None:
        answer = reception.answer
        if answer.failure is None:
            self.close()
            return
        self._fail(answer.failure.kind, str(answer.failure))
        if answer.raised is not None:
            raise answer.raised

    def _fail(self, kind: FailureKind, sentence: str) -> None:
        self.error = kind.value
        self._recorder.error(kind.value, sentence, self.name)
        self.close()


def _listed(subprotocols: str | Sequence[str]) -> str:
    # A text is a sequence, too: of its letters.
    return subprotocols if isinstance(subprotocols, str) else ", ".join(subprotocols)


def require_wsproto() -> None:
    """Make sure that frames can be written.

    Raises:
        ValueError: the library is missing.
    """
    from importlib.util import find_spec

    if find_spec("wsproto") is None:
        raise ValueError("a WebSocket needs the package wsproto: pip install 'loadstone[http]'")
