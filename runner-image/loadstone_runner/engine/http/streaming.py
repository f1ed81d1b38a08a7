"""The part of a client that reads answers bit by bit: streams. Whole answers are `client`'s, bytes `courier`'s."""

from __future__ import annotations

from time import monotonic_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from loadstone.streams import StreamReply
from loadstone_runner.engine.http.composing import compose
from loadstone_runner.engine.http.connection import NO_SLOTS
from loadstone_runner.engine.http.courier import Courier

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from loadstone.reply import Reply
    from loadstone_runner.engine.http.connecting import Dialer
    from loadstone_runner.engine.http.connection import Answer
    from loadstone_runner.engine.http.http2 import Http2Courier
    from loadstone_runner.engine.http.passage import Passage
    from loadstone_runner.engine.http.reception import Reception
    from loadstone_runner.engine.http.requests import Written
    from loadstone_runner.engine.instruments import Instruments

TIMEOUT_MAX_SECONDS: Final = 86_400
FIRST_FAILED_STATUS: Final = 400
NO_CONTEXT: Final[Mapping[str, Any]] = MappingProxyType({})

_SECOND_NS: Final = 1_000_000_000
_FOR_EVER_SECONDS: Final = 1e9  # three decades


class Streaming:
    """What a client of any flavour inherits; the fields are the flavour's."""

    __slots__ = NO_SLOTS

    _connect_timeout_ns: int
    _courier: Courier | Http2Courier | None
    _dialer: Dialer
    _instruments: Instruments
    _open_replies: list[Reply]
    _passage: Passage | None
    _renamed: str | None
    _target: str
    _timeout_ns: int
    exchanges: int
    scenario: str
    headers: dict[str, str]
    start_delay_ns: int

    def _record(
        self,
        answer: Answer,
        method: str,
        name: str,
        *,
        error: str | None,
        url: str,
        context: Mapping[str, Any] = NO_CONTEXT,
    ) -> None:
        raise NotImplementedError

    def stream(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        timeout: float | None = None,
        expect_status: int | Collection[int] | None = None,
        context: Mapping[str, Any] | None = None,
        **content: Any,
    ) -> StreamReply:
        """Send a request whose answer is read bit by bit; see `loadstone.HttpClient.stream`."""
        # Codings are undone of whole bodies only, so none is asked for.
        content["headers"] = {"Accept-Encoding": None, **(content.get("headers") or {})}
        written = compose(method, self._target, path, self.headers, **content)
        expected = statuses(expect_status)
        timeout_ns = self._timeout_ns if timeout is None else nanoseconds(timeout)
        reception = self._open(written, timeout_ns)
        answer = reception.answer
        reply = StreamReply(
            answer.status,
            answer.head,
            error=error_of(answer, expected),
            url=written.place.url,
            name=str(name or self._renamed or written.name),
            next_piece=lambda: _next_piece(reception, reply),
        )

        def decide(settled: Reply) -> None:
            if reply in self._open_replies:
                self._open_replies.remove(reply)
            reception.close()
            if answer.failure is not None:
                settled.error = answer.failure.kind.value
            settled.elapsed = (answer.end_ns - answer.begin_ns) / _SECOND_NS
            url, told = written.place.url, context or NO_CONTEXT
            self._record(answer, written.method, settled.name, error=settled.error, url=url, context=told)
            if answer.raised is not None:
                raise answer.raised

        reply.leave_open(decide)
        self._open_replies.append(reply)
        if answer.failure is not None:
            reply.settle()
        return reply

    def _open(self, written: Written, timeout_ns: int, *, switches: bool = False) -> Reception:
        """Count a request as started, send it and return its answer while it comes in."""
        delay, self.start_delay_ns = self.start_delay_ns, 0
        self._instruments.begin_request()
        if self._passage is not None:
            written = self._passage.outgoing(written)
        begin = monotonic_ns()
        connect_by = begin + min(timeout_ns, self._connect_timeout_ns)
        reception = self._couriered().open(
            written, deadline_ns=begin + timeout_ns, connect_by_ns=connect_by, switches=switches
        )
        reception.answer.delay_ns = delay
        self.exchanges += 1
        if self._passage is not None:
            self._passage.take_cookies(written, reception.answer)
        return reception

    def _couriered(self) -> Courier | Http2Courier:
        if self._courier is None:
            self._courier = Courier(self._dialer, 0)
        return self._courier


def _next_piece(reception: Reception, reply: StreamReply) -> bytes:
    piece = reception.next_piece()
    if not piece and reception.answer.failure is not None:
        reply.settle()  # which also raises what has cut the greenlet off
    return piece


def error_of(answer: Answer, expected: Collection[int] | None) -> str | None:
    """Return what an answer fails with by the ordinary rule; None: it passes."""
    status = answer.status
    if answer.failure is not None:
        return answer.failure.kind.value
    if status >= FIRST_FAILED_STATUS if expected is None else status not in expected:
        return f"status {status}"
    return None


def statuses(expected: Any) -> Collection[int] | None:
    """Return the statuses that a script expects, one or several; None: it says nothing.

    Raises:
        TypeError: they are none.
    """
    if isinstance(expected, int):
        return (expected,)
    is_text = isinstance(expected, str | bytes | bytearray)
    # The values of a mapping have no __contains__, and are looked through all the same.
    if is_text or not (expected is None or hasattr(expected, "__contains__") or hasattr(expected, "__iter__")):
        raise TypeError(f"expect_status must be a status or several, not {expected!r}")
    found: Collection[int] | None = expected
    return found


def nanoseconds(seconds: float) -> int:
    """Return a timeout of a script.

    Raises:
        ValueError: it is none.
    """
    if not 0 < seconds <= TIMEOUT_MAX_SECONDS:
        raise ValueError(f"a timeout must be seconds above 0 and at most {TIMEOUT_MAX_SECONDS}, not {seconds}")
    return int(seconds * _SECOND_NS)


def patience_ns(timeout: float | None, otherwise_ns: int) -> int:
    """Return how long to wait for a message; `inf` is for ever, None what the client has."""
    return otherwise_ns if timeout is None else int(min(timeout, _FOR_EVER_SECONDS) * _SECOND_NS)
