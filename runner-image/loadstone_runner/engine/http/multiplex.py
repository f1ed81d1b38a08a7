"""One HTTP/2 connection, RFC 9113 by the h2 library: many streams of one user over one link, one greenlet that reads.

Which connection is used, and what an Answer says, is `http2`'s.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import gevent

from loadstone_runner.engine.http.connection import HEAD_MAX_BYTES
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.http2_stream import NotProcessedError, Stream
from loadstone_runner.engine.http.patience import DeadlinePassed
from loadstone_runner.engine.http.wire import Duplex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_runner.engine.http.connecting import Link
    from loadstone_runner.engine.http.http2_stream import Header

_SECOND_NS: Final = 1_000_000_000
_STREAM_WINDOW: Final = 1 << 20
_CONNECTION_WINDOW: Final = 1 << 24
_NEVER: Final = 1 << 62
_PATIENCE_NS: Final = 60 * _SECOND_NS


class Session:
    """One connection.

    Attributes:
        is_open: whether it takes another stream.
    """

    __slots__ = ("_duplex", "_events", "_machine", "_reader", "_streams", "_waiting", "is_open")

    def __init__(self, link: Link) -> None:
        """Begin to speak over a link, which is the session's from now on.

        Raises:
            OSError, DeadlinePassed: the preface could not be sent.
        """
        import h2.config
        import h2.connection
        import h2.events
        import h2.settings

        self._events = h2.events
        configuration = h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        self._machine = h2.connection.H2Connection(configuration)
        self._duplex = Duplex(link.wire)
        self._waiting = b""
        self._streams: dict[int, Stream] = {}
        self.is_open = True
        codes = h2.settings.SettingCodes
        self._machine.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                codes.ENABLE_PUSH: 0,
                codes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
                codes.MAX_HEADER_LIST_SIZE: HEAD_MAX_BYTES,
            },
        )
        self._machine.initiate_connection()
        self._machine.increment_flow_control_window(_CONNECTION_WINDOW)
        self._reader = gevent.spawn(self._read)

    @property
    def is_idle(self) -> bool:
        """Whether it carries no stream at the moment."""
        return not self._streams

    def begin(self, headers: list[Header], deadline_ns: int, *, has_body: bool) -> tuple[Stream, int]:
        """Open a stream and send its headers; return it with how many bytes that took.

        Raises:
            NotProcessedError: the connection takes no more streams.
            DeadlinePassed: there was no room for it in time.
            OSError: the connection is broken.
        """
        import h2.exceptions

        while self.is_open and self._machine.open_outbound_streams >= self._most_streams():
            self._wait_for_room(deadline_ns)
        if not self.is_open:
            raise NotProcessedError(FailureKind.RESET, "the connection was closed before the request")
        try:
            stream = Stream(self._machine.get_next_available_stream_id())
            self._machine.send_headers(stream.number, headers, end_stream=not has_body)
        except h2.exceptions.H2Error as error:
            self.is_open = False
            raise NotProcessedError(FailureKind.RESET, f"the connection takes no more requests: {error}") from error
        self._streams[stream.number] = stream
        stream.is_sent = not has_body
        return stream, self.flush(deadline_ns)

    def send_body(self, stream: Stream, parts: Iterator[bytes], deadline_ns: int) -> int:
        """Send a body as fast as the server's windows allow; return how many bytes that took.

        Ends early when the server has answered, which is no failure.

        Raises:
            DeadlinePassed, OSError: as for `begin`.
        """
        import h2.exceptions

        sent = 0
        try:
            for part in parts:
                if monotonic_ns() >= deadline_ns:
                    raise DeadlinePassed
                left = memoryview(part)
                while left and not stream.is_done and stream.failure is None:
                    window = self._machine.local_flow_control_window(stream.number)
                    room = min(window, self._machine.max_outbound_frame_size)
                    if room <= 0:
                        self.wait(stream, deadline_ns)
                        continue
                    self._machine.send_data(stream.number, bytes(left[:room]))
                    left = left[room:]
                    sent += self.flush(deadline_ns)
            if not stream.is_done and stream.failure is None:
                self._machine.end_stream(stream.number)
                stream.is_sent = True
                sent += self.flush(deadline_ns)
        except h2.exceptions.H2Error as error:
            raise ExchangeError(FailureKind.RESET, f"the stream takes no more: {type(error).__name__}") from error
        return sent

    def wait(self, stream: Stream, deadline_ns: int) -> None:
        """Wait until there is something new of a stream.

        Raises:
            DeadlinePassed: nothing came in time.
        """
        stream.news.clear()
        if not stream.news.wait(timeout=max(deadline_ns - monotonic_ns(), 0) / _SECOND_NS):
            raise DeadlinePassed

    def end(self, stream: Stream) -> None:
        """Forget a stream; the server hears of it if it is not done."""
        import h2.errors
        import h2.exceptions

        self._streams.pop(stream.number, None)
        if not (stream.is_done and stream.is_sent) and self.is_open:
            try:
                self._machine.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)
                self.flush(monotonic_ns() + _SECOND_NS)
            except (h2.exceptions.H2Error, OSError, DeadlinePassed):
                self.close()
        for other in self._streams.values():
            other.news.set()

    def flush(self, deadline_ns: int) -> int:
        """Send what the machine wants to send; return how many bytes.

        Raises:
            DeadlinePassed, OSError: as for `begin`; half a frame may have left, so the connection is lost.
        """
        before = self._duplex.sent
        try:
            self._duplex.send(self._next_data, deadline_ns)
        except BaseException:
            self._reader.kill(block=False)
            self._lose(ExchangeError(FailureKind.RESET, "the connection broke off"))
            raise
        return self._duplex.sent - before

    def close(self) -> None:
        """Close the connection; streams under way fail. Again is harmless."""
        if self._reader is not gevent.getcurrent():
            self._reader.kill(block=False)
        self._lose(ExchangeError(FailureKind.RESET, "the connection was closed"))

    def _most_streams(self) -> int:
        return int(self._machine.remote_settings.max_concurrent_streams)

    def _wait_for_room(self, deadline_ns: int) -> None:
        if monotonic_ns() >= deadline_ns:
            raise DeadlinePassed
        gevent.sleep(0.001)

    def _read(self) -> None:
        """Take what comes until the connection ends; run by a greenlet of its own."""
        import h2.exceptions

        is_first = True
        try:
            while self.is_open or self._streams:
                received = self._duplex.receive(_NEVER)
                if not received:
                    self._lose(ExchangeError(FailureKind.RESET, "the connection ended before an answer"))
                    return
                if is_first:
                    _require_settings(received)
                    is_first = False
                for event in self._machine.receive_data(received):
                    self._take(event)
                self._answer()
        except h2.exceptions.ProtocolError as error:
            self._lose(ExchangeError(FailureKind.PROTOCOL, f"no HTTP/2: {str(error) or type(error).__name__}"))
        except ExchangeError as error:
            self._lose(error)
        except (OSError, DeadlinePassed) as error:
            self._lose(ExchangeError(FailureKind.RESET, str(getattr(error, "strerror", None) or error).lower()))
        self.close()

    def _answer(self) -> None:
        """Send what reading has brought about. Who reads never waits until the peer reads, or both would for ever."""
        self._waiting += self._machine.data_to_send()
        if self._waiting and not self._duplex.is_sending:
            gevent.spawn(self._flush_aside)

    def _next_data(self) -> bytes:
        data, self._waiting = self._waiting, b""
        return data + self._machine.data_to_send()

    def _flush_aside(self) -> None:
        try:
            self.flush(monotonic_ns() + _PATIENCE_NS)
        except (OSError, DeadlinePassed, ExchangeError):
            return  # the streams have heard of it

    def _take(self, event: Any) -> None:
        events = self._events
        if isinstance(event, events.ConnectionTerminated):
            self._take_goodbye(event)
            return
        if isinstance(event, events.RemoteSettingsChanged | events.WindowUpdated):
            for each in self._streams.values():
                each.news.set()
            return
        if isinstance(event, events.DataReceived):
            # Also of a stream that nobody waits for any more: the connection's window is everybody's.
            self._machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        stream = self._streams.get(getattr(event, "stream_id", 0) or 0)
        if stream is not None:
            stream.take(event)

    def _take_goodbye(self, event: Any) -> None:
        """The server takes no further streams, and says which it still answers."""
        self.is_open = False
        last = event.last_stream_id or 0
        for stream in self._streams.values():
            if stream.number > last:
                stream.failure = NotProcessedError(FailureKind.RESET, "the server was about to close the connection")
                stream.news.set()

    def _lose(self, failure: ExchangeError) -> None:
        self.is_open = False
        for stream in self._streams.values():
            if not stream.is_done and stream.failure is None:
                stream.failure = failure
            stream.news.set()
        self._duplex.close()


def _require_settings(received: bytes) -> None:
    """Refuse a server that does not begin with SETTINGS, as every one must; others would be waited for in vain."""
    if received[3:4] not in {b"", b"\x04"}:
        raise ExchangeError(FailureKind.PROTOCOL, f"no HTTP/2: the server began with {received[:16]!r}")
