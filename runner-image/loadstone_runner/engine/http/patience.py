"""Let a greenlet wait for its socket, at most until a deadline. What is sent or received is not known here."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub, getcurrent

if TYPE_CHECKING:
    from greenlet import greenlet

READ: Final = 1  # libev's EV_READ and EV_WRITE
WRITE: Final = 2
_SECOND_NS: Final = 1_000_000_000


class DeadlinePassed(Exception):  # noqa: N818 no error yet: whoever waits decides what it means
    """The deadline came before the socket did."""


class ClosedMeanwhile(DeadlinePassed):
    """Another greenlet has closed the connection: nothing will come any more."""


class Patience:
    """Waiting on one socket, by one greenlet at a time.

    A timer a request would cost a microsecond of libev's heap each time. So one timer stays armed over many requests:
    when it fires it looks at the deadline of the moment, and goes to sleep again until then.
    """

    __slots__ = ("_armed_ns", "_deadline_ns", "_fd", "_hub", "_reader", "_timer", "_waiting")

    def __init__(self, fd: int) -> None:
        self._hub = get_hub()
        self._fd = fd
        self._reader: Any = self._hub.loop.io(fd, READ)
        self._timer: Any = None
        self._armed_ns = 0  # when the timer fires; 0: it does not
        self._deadline_ns = 0
        self._waiting: greenlet | None = None

    def set_deadline(self, deadline_ns: int) -> None:
        """Let every wait from now on end at a moment of the monotonic clock."""
        self._deadline_ns = deadline_ns
        if not self._armed_ns or deadline_ns < self._armed_ns:
            self._arm(deadline_ns - monotonic_ns(), deadline_ns)

    def wait_readable(self) -> None:
        """Wait until there is something to read, or something else woke the greenlet: look, and wait again.

        Raises:
            DeadlinePassed: nothing came in time.
        """
        self._require_turn()
        current = self._waiting = getcurrent()
        reader = self._reader
        reader.start(current.switch)
        try:
            self._hub.switch()
        finally:
            self._waiting = None
            reader.stop()

    def wait_for(self, events: int) -> None:
        """Wait likewise for READ, WRITE or both; for what is rare, as each wait makes a watcher of its own.

        Raises:
            DeadlinePassed: nothing came in time.
        """
        self._require_turn()
        current = self._waiting = getcurrent()
        watcher = self._hub.loop.io(self._fd, events)
        watcher.start(current.switch)
        try:
            self._hub.switch()
        finally:
            self._waiting = None
            watcher.stop()
            watcher.close()

    def require_time(self, at_ns: int) -> None:
        """Go on only if the deadline was still to come at a moment; for who is never made to wait.

        Raises:
            DeadlinePassed: it had come.
        """
        if at_ns >= self._deadline_ns:
            raise DeadlinePassed

    def close(self) -> None:
        """Stop watching, before the socket is closed; who still waits, or is about to, hears that."""
        self._reader.close()
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._armed_ns = self._deadline_ns = 0
        if self._waiting is not None:
            self._hub.loop.run_callback(self._release)

    def _release(self) -> None:
        """Run in the hub after the end of the connection, unless something else was quicker."""
        if self._waiting is not None:
            self._waiting.throw(ClosedMeanwhile)

    def _require_turn(self) -> None:
        if self._waiting is not None:
            raise RuntimeError("a connection is for one greenlet at a time")
        # A timer that fired while nobody waited, as the script did something else, will not fire again.
        if not self._armed_ns:
            raise DeadlinePassed

    def _arm(self, wait_ns: int, deadline_ns: int) -> None:
        if self._timer is not None:
            self._timer.close()
        self._timer = self._hub.loop.timer(max(wait_ns, 0) / _SECOND_NS)
        self._armed_ns = deadline_ns
        self._timer.start(self._look, update=True)

    def _look(self) -> None:
        """Run in the hub when the timer fires."""
        self._armed_ns = 0
        left_ns = self._deadline_ns - monotonic_ns()
        if left_ns > 0:
            self._arm(left_ns, self._deadline_ns)
        elif self._waiting is not None:
            self._waiting.throw(DeadlinePassed)
