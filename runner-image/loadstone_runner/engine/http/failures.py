"""The closed list of what can go wrong with a request. Statuses are no part of it, nor is deciding what is recorded."""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Final

from greenlet import GreenletExit


class FailureKind(StrEnum):
    """Why a request got no whole answer, in the words of statistics, checks and documentation."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect timeout"
    PROXY = "proxy"
    TLS = "tls"
    TLS_TIMEOUT = "tls timeout"
    CERTIFICATE = "certificate"
    NO_FILES = "too many open files"
    NO_PORTS = "no free port"
    NO_MEMORY = "no memory for sockets"
    RESET = "reset"
    FIRST_BYTE_TIMEOUT = "first byte timeout"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"
    PROTOCOL = "protocol"
    TOO_LARGE = "too large"
    ENCODING = "bad encoding"
    TOO_MANY_REDIRECTS = "too many redirects"
    CLOSED = "closed"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


class ExchangeError(Exception):
    """A request failed in a way that has a name."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def cut_off(error: BaseException) -> ExchangeError:
    """Return the failure of a request whose greenlet was interrupted by an exception from outside.

    The end of the run comes as GreenletExit; what is no `Exception` beside it is a gevent.Timeout of the script.
    """
    if isinstance(error, GreenletExit):
        return ExchangeError(FailureKind.INTERRUPTED, "cut off by the end of the run")
    if isinstance(error, Exception):
        return ExchangeError(FailureKind.INTERNAL, f"{type(error).__name__}: {error}")
    return ExchangeError(FailureKind.TIMEOUT, "cut off by the script's own timeout")


def broken_off(error: OSError, received: int) -> ExchangeError:
    """Return the failure of a connection that broke, by whether bytes of an answer had come."""
    kind = FailureKind.TRUNCATED if received else FailureKind.RESET
    return ExchangeError(kind, (error.strerror or str(error)).lower())


_BY_ERRNO: Final = {
    errno.ECONNREFUSED: FailureKind.REFUSED,
    errno.ECONNRESET: FailureKind.RESET,
    errno.ECONNABORTED: FailureKind.RESET,
    errno.EPIPE: FailureKind.RESET,
    errno.ETIMEDOUT: FailureKind.CONNECT_TIMEOUT,
    errno.EMFILE: FailureKind.NO_FILES,
    errno.ENFILE: FailureKind.NO_FILES,
    errno.EADDRNOTAVAIL: FailureKind.NO_PORTS,
    errno.ENOBUFS: FailureKind.NO_MEMORY,
    errno.ENOMEM: FailureKind.NO_MEMORY,
}
# What this machine has too little of, whatever the target does.
EXHAUSTION: Final = frozenset({FailureKind.NO_FILES, FailureKind.NO_PORTS, FailureKind.NO_MEMORY})


class _Tally:
    """Counts for the whole process, which is one engine."""

    __slots__ = ("exhausted",)

    def __init__(self) -> None:
        self.exhausted = 0


_tally: Final = _Tally()


def kind_of_connect_error(number: int) -> FailureKind:
    """Return the failure that an errno of socket or connect stands for; unknown ones are `unreachable`."""
    return _BY_ERRNO.get(number, FailureKind.UNREACHABLE)


def connect_error(number: int, message: str) -> ExchangeError:
    """Return the failure of a connection that an errno kept from being opened, and count it if the lack is ours."""
    kind = kind_of_connect_error(number)
    if kind in EXHAUSTION:
        _tally.exhausted += 1
    return ExchangeError(kind, message)


def take_exhausted() -> int:
    """Return how many connections were not opened for want of something of this machine's since the last call."""
    taken, _tally.exhausted = _tally.exhausted, 0
    return taken
