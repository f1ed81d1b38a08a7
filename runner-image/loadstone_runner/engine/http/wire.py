"""Send and receive over one link as if it blocked, a greenlet waiting until a deadline. What is said is not known here.

For what is not the request path: handshakes, tunnels, streams, HTTP/2, WebSocket.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import gevent
from gevent.lock import BoundedSemaphore

from loadstone_runner.engine.http.failures import ExchangeError
from loadstone_runner.engine.http.patience import WRITE, Patience

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from loadstone_runner.engine.http.tls import Tls

_READ_BYTES: Final = 65_536
_TURN: Final = 16


class Wire:
    """One open connection, plain or TLS.

    Attributes:
        socket: non-blocking.
        tls: None on a plain connection.
        patience: that waits for the socket.
        sent: bytes that the kernel has taken since it was last set to 0, with TLS those of records.
    """

    __slots__ = ("_in_a_row", "_turned_ns", "patience", "sent", "socket", "tls")

    def __init__(self, sock: _socket.socket, tls: Tls | None = None, patience: Patience | None = None) -> None:
        self.socket = sock
        self.tls = tls
        self.patience = Patience(sock.fileno()) if patience is None else patience
        self.sent = 0
        self._in_a_row = 0  # reads without waiting
        self._turned_ns = 0  # when others last had their turn for that

    def send(self, plain: bytes | bytearray | memoryview) -> None:
        """Send all of it.

        Raises:
            DeadlinePassed: the peer did not take it in time.
            OSError: the connection is broken.
        """
        if plain:
            self.send_raw(plain if self.tls is None else self.tls.seal(bytes(plain)))

    def receive(self) -> bytes:
        """Return what has come, waiting for it if need be; b"" is the end.

        Raises:
            DeadlinePassed: nothing came in time.
            ExchangeError: of kind TLS.
            OSError: the connection is broken.
        """
        while True:
            received = self.receive_raw()
            tls = self.tls
            if tls is None:
                return received
            plain = tls.open(received)
            self.send_raw(tls.answer())
            if plain or tls.is_closed:
                return plain

    def send_raw(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes as they are, below TLS."""
        left = memoryview(data)
        while left:
            try:
                count = self.socket.send(left)
            except BlockingIOError:
                self.patience.wait_for(WRITE)
                continue
            self.sent += count
            left = left[count:]

    def receive_raw(self) -> bytes:
        """Return bytes as they are, below TLS; b"" is the end."""
        self._in_a_row += 1
        if self._in_a_row >= _TURN:
            # A peer that is always ahead must not keep the other users from their sockets.
            self._in_a_row = 0
            gevent.sleep(0)
            # Not now: who only looks has a deadline of now, and is to get what is there.
            self.patience.require_time(self._turned_ns)
            self._turned_ns = monotonic_ns()
        while True:
            try:
                return self.socket.recv(_READ_BYTES)
            except BlockingIOError:
                self._in_a_row = 0
                self.patience.wait_readable()

    def poll(self) -> bytes | None:
        """Return what has come without waiting; None: nothing to read has, b"": the end.

        Raises:
            ExchangeError: of kind TLS.
            OSError: the connection is broken.
        """
        try:
            received = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        tls = self.tls
        if tls is None:
            return received
        # Session tickets come whenever the server likes, and are nothing to read.
        plain = tls.open(received)
        return plain if plain or tls.is_closed else None

    def is_stale(self) -> bool:
        """Return whether the peer has closed this idle connection or sent what nobody asked for. Never blocks."""
        try:
            return self.poll() is not None
        except (OSError, ExchangeError):
            return True

    def close(self) -> None:
        """Close the connection; again is harmless."""
        if self.socket.fileno() >= 0:
            self.patience.close()
            self.socket.close()


class Duplex:
    """One link that a greenlet reads while others write: each waits for the socket with a patience of its own.

    Attributes:
        is_receiving: whether a greenlet is in `receive`, be it that it waits or lets others have their turn.
    """

    __slots__ = ("_reading", "_turn", "_writing", "is_receiving")

    def __init__(self, wire: Wire) -> None:
        """Take a wire over."""
        self._reading = wire
        self._writing = Wire(wire.socket, wire.tls)
        self._turn = BoundedSemaphore(1)
        self.is_receiving = False

    @property
    def sent(self) -> int:
        """Bytes that the kernel has taken from `send`."""
        return self._writing.sent

    @property
    def is_sending(self) -> bool:
        """Whether somebody writes at the moment."""
        return self._turn.locked()

    def send(self, next_data: Callable[[], bytes], deadline_ns: int) -> None:
        """Send what a function returns until it returns nothing, in one piece beside what others send.

        Raises:
            DeadlinePassed, OSError: as for `Wire.send`; a part may have left, so the connection is lost.
        """
        with self._turn:
            self._writing.patience.set_deadline(deadline_ns)
            while data := next_data():
                self._writing.send(data)

    def receive(self, deadline_ns: int) -> bytes:
        """Return what has come; b"" is the end.

        Raises:
            DeadlinePassed: nothing came in time; nothing is lost.
            ExchangeError: of kind TLS.
            OSError: the connection is broken.
            RuntimeError: another greenlet receives.
        """
        if self.is_receiving:
            raise RuntimeError("a connection is for one greenlet at a time")
        self.is_receiving = True
        try:
            return self._receive(deadline_ns)
        finally:
            self.is_receiving = False

    def close(self) -> None:
        """Close the connection; again is harmless."""
        self._writing.patience.close()
        self._reading.close()

    def _receive(self, deadline_ns: int) -> bytes:
        wire = self._reading
        wire.patience.set_deadline(deadline_ns)
        while True:
            received = wire.receive_raw()
            tls = wire.tls
            if tls is None:
                return received
            plain = tls.open(received)
            if answer := tls.answer():
                with self._turn:
                    self._writing.patience.set_deadline(deadline_ns)
                    self._writing.send_raw(answer)
            if plain or tls.is_closed:
                return plain
