"""One stream of an HTTP/2 connection: what has come of an answer, and why there will be none. No I/O."""

from __future__ import annotations

from collections import deque
from time import monotonic_ns
from typing import Any, Final

from gevent.event import Event

from loadstone_runner.engine.http.bodies import BODY_MAX_BYTES
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind

Header = tuple[str, str]

_FRAME_HEAD: Final = 9


class NotProcessedError(ExchangeError):
    """The server has said that it did nothing of a request, so a fresh connection may carry it: this is no retry."""


class Stream:
    """One exchange as its connection sees it.

    Attributes:
        number: of the stream.
        headers: of the final answer; empty: there is none yet.
        parts: of the body, until they are taken.
        held: bytes of the body so far.
        received: bytes of its frames, headers as they read uncompressed.
        first_byte_ns: when the answer began; 0: it has not.
        is_sent: whether the request is whole.
        is_done: whether the answer is whole.
        failure: why there will be none.
        news: set when anything of this has changed.
    """

    __slots__ = (
        "failure",
        "first_byte_ns",
        "headers",
        "held",
        "is_done",
        "is_sent",
        "news",
        "number",
        "parts",
        "received",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.headers: list[Header] = []
        self.parts: deque[bytes] = deque()
        self.held = 0
        self.received = 0
        self.first_byte_ns = 0
        self.is_sent = False
        self.is_done = False
        self.failure: ExchangeError | None = None
        self.news = Event()

    def take(self, event: Any) -> None:
        """Take what h2 has made of the server's frames, and wake who waits for it."""
        import h2.events

        match event:
            case h2.events.ResponseReceived():
                self.first_byte_ns = self.first_byte_ns or monotonic_ns()
                self.headers = [(str(name), str(value)) for name, value in event.headers]
                self.received += _FRAME_HEAD + sum(len(name) + len(value) for name, value in self.headers)
            case h2.events.DataReceived():
                self.received += _FRAME_HEAD + event.flow_controlled_length
                self._take_data(event.data)
            case h2.events.StreamEnded():
                self.is_done = True
            case h2.events.StreamReset():
                self.failure = _reset(event.error_code)
        self.news.set()

    def _take_data(self, data: bytes) -> None:
        self.parts.append(data)
        self.held += len(data)
        if self.held > BODY_MAX_BYTES:
            self.parts.clear()
            self.failure = ExchangeError(FailureKind.TOO_LARGE, f"the body is longer than {BODY_MAX_BYTES >> 20} MiB")


def _reset(code: int) -> ExchangeError:
    from h2.errors import ErrorCodes

    try:
        name = ErrorCodes(code).name.lower().replace("_", " ")
    except ValueError:
        name = f"code {code}"
    if code == ErrorCodes.REFUSED_STREAM:
        return NotProcessedError(FailureKind.RESET, "the server refused the stream")
    return ExchangeError(FailureKind.RESET, f"the server reset the stream: {name}")
