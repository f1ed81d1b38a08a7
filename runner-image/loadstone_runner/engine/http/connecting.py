"""Open connections: name, TCP, tunnel, TLS, each timed and each failure named. What is said over them is others'."""

from __future__ import annotations

import _socket
import errno
import os
from functools import cache
from itertools import count
from sys import byteorder
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from loadstone_runner.engine.http.connection import Opening
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind, connect_error
from loadstone_runner.engine.http.patience import WRITE, DeadlinePassed
from loadstone_runner.engine.http.profile import TlsTerms
from loadstone_runner.engine.http.proxy import check_tunnel, connect_request
from loadstone_runner.engine.http.resolution import Address
from loadstone_runner.engine.http.tls import NestedTls, TlsSession, context_of
from loadstone_runner.engine.http.wire import Wire

if TYPE_CHECKING:
    from loadstone_runner.engine.http.origin import Origin
    from loadstone_runner.engine.http.profile import Profile, SocketTerms
    from loadstone_runner.engine.http.proxy import Proxy
    from loadstone_runner.engine.http.resolution import Resolver
    from loadstone_runner.engine.http.tls import Tls
    from loadstone_runner.engine.http.tls_memory import TlsMemory

_SECOND_NS: Final = 1_000_000_000
_TUNNEL_HEAD_MAX: Final = 16_384
# Lets connect choose the port, so that one source address reaches 28,000 ports of each target and not of all together.
_IP_BIND_ADDRESS_NO_PORT: Final = 24
# Without a range of its own a socket gets an even port while there is one: once 14,000 are taken each connect looks
# through all of them in vain, which takes 1.4 ms of the engine's only thread. This range is the system's own.
_IP_LOCAL_PORT_RANGE: Final = 51
_ALL_PORTS: Final = 0xFFFF_0001.to_bytes(4, byteorder)

_source_turns: Final = count()


class Link(NamedTuple):
    """An open connection that is ready for a request.

    Attributes:
        wire: the connection.
        phases: how long its parts took.
        protocol: what ALPN agreed on; empty: nothing.
    """

    wire: Wire
    phases: Opening
    protocol: str

    def release(self) -> tuple[_socket.socket, Tls | None]:
        """Return the non-blocking socket, and what seals and opens what goes over it, to whoever waits by himself."""
        self.wire.patience.close()
        return self.wire.socket, self.wire.tls


class Dialer:
    """Opens the connections of one client. Clients without TLS sessions of their own may share one.

    Attributes:
        profile: how.
        resolver: of names, of the whole engine.
        memory: of TLS sessions; None: nothing is remembered.
    """

    __slots__ = ("memory", "profile", "resolver")

    def __init__(self, profile: Profile, resolver: Resolver, memory: TlsMemory | None) -> None:
        self.profile = profile
        self.resolver = resolver
        self.memory = memory

    def connect(self, origin: Origin, deadline_ns: int) -> Link:
        """Return a connection to an origin; see `connect`."""
        return connect(origin, self.profile, self.resolver, deadline_ns=deadline_ns, memory=self.memory)


def connect(
    origin: Origin, profile: Profile, resolver: Resolver, *, deadline_ns: int, memory: TlsMemory | None = None
) -> Link:
    """Return a connection to an origin, ready for a request, and how long its parts took.

    Args:
        origin: to connect to.
        profile: how.
        resolver: of its name, or of its proxy's.
        deadline_ns: until when, on the monotonic clock.
        memory: of TLS sessions; None: each handshake is a full one.

    Raises:
        ExchangeError: none could be opened; nothing of the request has been sent.
    """
    proxy = None if profile.proxies is None else profile.proxies.proxy_for(origin)
    begin = monotonic_ns()
    addresses = _addresses(origin if proxy is None else proxy.origin, profile, resolver, deadline_ns)
    named = monotonic_ns()
    try:
        wire = _connect(addresses, profile.sockets, deadline_ns)
    except DeadlinePassed as error:
        raise ExchangeError(FailureKind.CONNECT_TIMEOUT, f"{proxy or origin} did not accept in time") from error
    try:
        if proxy is not None:
            _reach_through(wire, proxy, origin, profile)
        connected = secured = monotonic_ns()
        if origin.is_tls:
            if profile.tls_timeout_ns:
                wire.patience.set_deadline(min(deadline_ns, connected + profile.tls_timeout_ns))
            _secure(wire, origin, profile, memory)
            secured = monotonic_ns()
    except BaseException:
        wire.close()
        raise
    tls = wire.tls if origin.is_tls else None
    is_resumed = tls is not None and tls.is_resumed
    phases = Opening(named - begin, connected - named, secured - connected, is_resumed)
    return Link(wire, phases, "" if tls is None else tls.protocol)


def _addresses(origin: Origin, profile: Profile, resolver: Resolver, deadline_ns: int) -> tuple[Address, ...]:
    path = origin.unix or profile.unix_socket
    if path:
        return (Address(_socket.AF_UNIX, path),)
    return resolver.addresses(origin.host, origin.port, deadline_ns, profile.dns)


def _connect(addresses: tuple[Address, ...], terms: SocketTerms, deadline_ns: int) -> Wire:
    """Return a wire to the first address that accepts."""
    number = 0
    for address in addresses:
        try:
            sock = _socket.socket(address.family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
        except OSError as error:
            raise _refusal(error.errno or 0) from error
        wire = Wire(sock)
        try:
            _set_up(sock, terms, address.family)
            wire.patience.set_deadline(deadline_ns)
            number = sock.connect_ex(address.place)
            if number == errno.EINPROGRESS:
                _await_connected(wire, deadline_ns)
                number = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if not number:
                return wire
        except OSError as error:
            number = error.errno or 0
        except BaseException:
            wire.close()
            raise
        wire.close()
    if not addresses:
        raise ExchangeError(FailureKind.DNS, "the name has no address")
    raise _refusal(number)


def _await_connected(wire: Wire, deadline_ns: int) -> None:
    """Return when a connection is open or has failed.

    Raises:
        DeadlinePassed: neither in time.
    """
    try:
        wire.patience.wait_for(WRITE)
    except DeadlinePassed:
        # Of thousands that connect at once some are looked at late: what is open then was opened in time.
        try:
            wire.socket.getpeername()
        except OSError:
            raise DeadlinePassed from None
        wire.patience.set_deadline(deadline_ns)


def _set_up(sock: _socket.socket, terms: SocketTerms, family: int) -> None:
    """Set a socket's options before it connects: buffers decide what TCP announces."""
    level = _socket.SOL_SOCKET
    if terms.send_buffer is not None:
        sock.setsockopt(level, _socket.SO_SNDBUF, terms.send_buffer)
    if terms.receive_buffer is not None:
        sock.setsockopt(level, _socket.SO_RCVBUF, terms.receive_buffer)
    if terms.linger_seconds is not None:
        import struct

        sock.setsockopt(level, _socket.SO_LINGER, struct.pack("ii", 1, terms.linger_seconds))
    if family == _socket.AF_UNIX:
        return
    if _may_use_any_port():
        sock.setsockopt(_socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, _ALL_PORTS)
    if terms.no_delay:
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    if terms.keepalive_seconds is not None:
        sock.setsockopt(level, _socket.SO_KEEPALIVE, 1)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, terms.keepalive_seconds)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPINTVL, terms.keepalive_seconds)
    if terms.source_addresses:
        wanted = [each for each in terms.source_addresses if (":" in each) == (family == _socket.AF_INET6)]
        if wanted:
            sock.setsockopt(_socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((wanted[next(_source_turns) % len(wanted)], 0))


@cache
def _may_use_any_port() -> bool:
    """Say whether the kernel (Linux 6.3 or later) takes the option that `_ALL_PORTS` is for."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(_socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, _ALL_PORTS)
    except OSError:
        return False
    finally:
        sock.close()
    return True


def _reach_through(wire: Wire, proxy: Proxy, origin: Origin, profile: Profile) -> None:
    """Make a connection to a proxy one that carries requests to an origin.

    Raises:
        ExchangeError: of kind PROXY; or of TLS and CERTIFICATE, for an https proxy.
    """
    if proxy.origin.is_tls:
        # No ALPN and no certificate of the client: those are meant for the target.
        terms = TlsTerms(verify=profile.tls.verify)
        session = TlsSession(context_of(terms), proxy.origin.host)
        _shake_hands(wire, session)
        wire.tls = session
    if not origin.is_tls:
        return
    try:
        wire.send(connect_request(origin, proxy))
        head = b""
        while b"\r\n\r\n" not in head:
            received = wire.receive()
            if not received:
                raise ExchangeError(FailureKind.PROXY, f"{proxy.origin} hung up instead of opening a tunnel")
            head += received
            if len(head) > _TUNNEL_HEAD_MAX:
                raise ExchangeError(FailureKind.PROXY, f"{proxy.origin} answered CONNECT without an end")
    except DeadlinePassed as error:
        raise ExchangeError(FailureKind.PROXY, f"{proxy.origin} opened no tunnel in time") from error
    except OSError as error:
        raise ExchangeError(FailureKind.PROXY, f"{proxy.origin} broke off: {_reason(error)}") from error
    check_tunnel(head.partition(b"\r\n\r\n")[0], proxy)


def _secure(wire: Wire, origin: Origin, profile: Profile, memory: TlsMemory | None) -> None:
    where: Any = (origin, profile.server_name, profile.tls)
    remembered = None if memory is None else memory.recall(where)
    inner = TlsSession(context_of(profile.tls), profile.server_name or origin.host, remembered)
    session: Tls = inner if not isinstance(wire.tls, TlsSession) else NestedTls(wire.tls, inner)
    _shake_hands(wire, session)
    wire.tls = session
    if memory is not None:
        memory.keep(where, session, remembered)


def _shake_hands(wire: Wire, session: Tls) -> None:
    received: bytes | None = None
    try:
        while True:
            done, answer = session.handshake(received)
            wire.send_raw(answer)
            if done:
                return
            received = wire.receive_raw()
    except DeadlinePassed as error:
        raise ExchangeError(FailureKind.TLS_TIMEOUT, "the handshake did not end in time") from error
    except OSError as error:
        raise ExchangeError(FailureKind.TLS, f"the handshake broke off: {_reason(error)}") from error


def _refusal(number: int) -> ExchangeError:
    return connect_error(number, os.strerror(number).lower())


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
