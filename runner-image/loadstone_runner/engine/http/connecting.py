"""Open connections: name, TCP, TLS, each timed and each failure named. What is said over them is `connection`'s."""

from __future__ import annotations

import _socket
import errno
import os
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from loadstone_runner.engine.http.connection import Opening
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind, kind_of_connect_error
from loadstone_runner.engine.http.patience import READ, WRITE, DeadlinePassed, Patience
from loadstone_runner.engine.http.tls import TlsSession, context_of

if TYPE_CHECKING:
    from loadstone_runner.engine.http.origin import Origin
    from loadstone_runner.engine.http.resolution import Address, Resolver


class Link(NamedTuple):
    """What a connection is made from.

    Attributes:
        socket: connected, non-blocking; whoever gets it closes it.
        tls: None for plain HTTP.
        phases: how long its parts took.
    """

    socket: _socket.socket
    tls: TlsSession | None
    phases: Opening


def open_link(origin: Origin, resolver: Resolver, *, verify: bool | str, deadline_ns: int) -> Link:
    """Return a link to an origin, ready for a request.

    Args:
        origin: to connect to.
        resolver: of its name.
        verify: how to check certificates, see `tls.context_of`.
        deadline_ns: until when, on the monotonic clock.

    Raises:
        ExchangeError: none could be opened; nothing of the request has been sent.
    """
    begin = monotonic_ns()
    addresses = resolver.addresses(origin.host, origin.port, deadline_ns)
    named = monotonic_ns()
    try:
        sock, patience = _connect(addresses, deadline_ns)
    except DeadlinePassed as error:
        raise ExchangeError(FailureKind.CONNECT_TIMEOUT, f"{origin} did not accept in time") from error
    connected = monotonic_ns()
    session: TlsSession | None = None
    if origin.is_tls:
        try:
            session = _secure(sock, patience, TlsSession(context_of(verify), origin.host))
        except BaseException:
            _discard(sock, patience)
            raise
    secured = monotonic_ns() if origin.is_tls else connected
    patience.close()
    return Link(sock, session, Opening(named - begin, connected - named, secured - connected))


def _connect(addresses: tuple[Address, ...], deadline_ns: int) -> tuple[_socket.socket, Patience]:
    """Return a socket connected to the first address that accepts."""
    for left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
        try:
            sock = _socket.socket(address.family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
        except OSError as error:
            raise _refusal(error.errno or 0) from error
        patience = Patience(sock.fileno())
        try:
            patience.set_deadline(deadline_ns)
            number = sock.connect_ex(address.place)
            if number == errno.EINPROGRESS:
                patience.wait_for(WRITE)
                number = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if not number:
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
                return sock, patience
        except BaseException:
            _discard(sock, patience)
            raise
        _discard(sock, patience)
        if not left:
            raise _refusal(number)
    raise ExchangeError(FailureKind.DNS, "the name has no address")


def _secure(sock: _socket.socket, patience: Patience, session: TlsSession) -> TlsSession:
    received: bytes | None = None
    try:
        while True:
            done, answer = session.handshake(received)
            while answer:
                try:
                    answer = answer[sock.send(answer) :]
                except BlockingIOError:
                    patience.wait_for(WRITE)
            if done:
                return session
            received = _receive(sock, patience)
    except DeadlinePassed as error:
        raise ExchangeError(FailureKind.TLS, "the handshake did not end in time") from error
    except OSError as error:
        raise ExchangeError(FailureKind.TLS, f"the handshake broke off: {os.strerror(error.errno or 0)}") from error


def _receive(sock: _socket.socket, patience: Patience) -> bytes:
    while True:
        try:
            return sock.recv(65_536)
        except BlockingIOError:
            patience.wait_for(READ)


def _refusal(number: int) -> ExchangeError:
    return ExchangeError(kind_of_connect_error(number), os.strerror(number).lower())


def _discard(sock: _socket.socket, patience: Patience) -> None:
    patience.close()
    sock.close()
