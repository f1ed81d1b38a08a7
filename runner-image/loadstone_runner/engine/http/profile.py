"""How connections are made, as values that can be compared: what a script's HttpOptions mean below a request. No I/O.

What concerns requests (headers, cookies, encodings, timeouts of an answer) stays in `HttpOptions`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_runner.engine.http.origin import ascii_host
from loadstone_runner.engine.http.proxy import Proxies, proxies_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone.options import AddressFamily, AddressOrder, HttpOptions, Resumption

_SECOND_NS: Final = 1_000_000_000
_LONGEST_SECONDS: Final = 1e9  # three decades stand for ever


class TlsTerms(NamedTuple):
    """All that a TLS context is made of: one context a process and value.

    Attributes:
        verify: True, False, or the path of a file with trusted certificates.
        certificate: (path of the certificate, path of its key); None: none is shown.
        minimum: version, such as `1.2`; None: OpenSSL's.
        maximum: likewise.
        ciphers: OpenSSL's list; None: its own.
        alpn: protocols that are offered.
    """

    verify: bool | str = True
    certificate: tuple[str, str] | None = None
    minimum: str | None = None
    maximum: str | None = None
    ciphers: str | None = None
    alpn: tuple[str, ...] = ("http/1.1",)


class SocketTerms(NamedTuple):
    """How TCP sockets are set up; see HttpOptions."""

    no_delay: bool = True
    send_buffer: int | None = None
    receive_buffer: int | None = None
    keepalive_seconds: int | None = None
    linger_seconds: int | None = None
    source_addresses: tuple[str, ...] = ()


class DnsPolicy(NamedTuple):
    """How names become addresses; see HttpOptions.

    Attributes:
        hosts: (name as it is looked up, address), sorted.
    """

    ttl_ns: int = 5 * _SECOND_NS
    order: AddressOrder = "round robin"
    family: AddressFamily = "any"
    hosts: tuple[tuple[str, str], ...] = ()


class Profile(NamedTuple):
    """How one client's connections are made.

    Attributes:
        server_name: for SNI and the certificate's check; None: the URL's host.
        resumption: who remembers TLS sessions.
        tls_timeout_ns: of the handshake; 0: none of its own.
        unix_socket: path to connect to; None: TCP.
        proxies: through which requests go, or none.
        http2: whether HTTP/2 is spoken.
    """

    tls: TlsTerms = TlsTerms()
    sockets: SocketTerms = SocketTerms()
    dns: DnsPolicy = DnsPolicy()
    server_name: str | None = None
    resumption: Resumption = "user"
    tls_timeout_ns: int = 0
    unix_socket: str | None = None
    proxies: Proxies | None = None
    http2: bool = False


DEFAULT: Final = Profile()


def profile_of(options: HttpOptions, environment: Mapping[str, str]) -> Profile:
    """Return the profile that options mean; equal ones are one object.

    Args:
        options: of a class of users.
        environment: of the process, for `proxy="environment"`.

    Raises:
        ValueError: the proxy is no usable URL, or one of the hosts no name.
    """
    certificate = options.client_certificate
    if isinstance(certificate, str):
        certificate = (certificate, certificate)
    alpn = options.alpn
    if alpn is None:
        alpn = ("h2", "http/1.1") if options.http2 else ("http/1.1",)
    return _interned(
        Profile(
            TlsTerms(
                options.verify, certificate, options.tls_minimum, options.tls_maximum, options.ciphers, tuple(alpn)
            ),
            SocketTerms(
                options.no_delay,
                options.send_buffer,
                options.receive_buffer,
                options.keepalive_seconds,
                options.linger_seconds,
                tuple(options.source_addresses),
            ),
            DnsPolicy(
                int(min(options.dns_ttl, _LONGEST_SECONDS) * _SECOND_NS),
                options.dns_order,
                options.ip,
                tuple(sorted((ascii_host(name.lower()), address) for name, address in options.hosts.items())),
            ),
            options.server_name,
            options.tls_resumption,
            int((options.tls_timeout or 0) * _SECOND_NS),
            options.unix_socket,
            proxies_of(options.proxy, options.no_proxy, environment),
            options.http2,
        )
    )


def with_verify(profile: Profile, verify: bool | str) -> Profile:  # noqa: FBT001 True, False or a path, as scripts say it
    """Return a profile with another way to check certificates."""
    return _interned(profile._replace(tls=profile.tls._replace(verify=verify)))


def without_http2(profile: Profile) -> Profile:
    """Return a profile whose connections speak HTTP/1.1."""
    return _interned(profile._replace(http2=False, tls=profile.tls._replace(alpn=("http/1.1",))))


@lru_cache(maxsize=1_024)
def _interned(profile: Profile) -> Profile:
    return profile
