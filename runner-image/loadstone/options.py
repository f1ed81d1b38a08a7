"""How a class of users speaks HTTP: TLS, sockets, names, proxies, cookies. Doing any of it belongs to the engine.

class Shop(User):
    http_options = HttpOptions(verify="ca.pem", cookies="iteration", hosts={"shop.test": "10.0.0.7"})
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import inf
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]
Resumption = Literal["off", "user", "engine"]
AddressOrder = Literal["round robin", "first", "random"]
AddressFamily = Literal["any", "prefer ipv4", "prefer ipv6", "only ipv4", "only ipv6"]
Cookies = Literal["off", "user", "iteration"]
Encoding = Literal["gzip", "deflate", "br", "zstd"]

ENVIRONMENT: Final = "environment"
_TIMEOUT_MAX_SECONDS: Final = 86_400
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "tls_resumption": get_args(Resumption),
    "dns_order": get_args(AddressOrder),
    "ip": get_args(AddressFamily),
    "cookies": get_args(Cookies),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """What all users of a class share of their HTTP clients. Every field has a default that fits most tests.

    Attributes:
        timeout: seconds until a request must be answered in full.
        connect_timeout: seconds of it that name, TCP, proxy and TLS may take together.
        tls_timeout: seconds of those that the TLS handshake may take; None: no bound of its own.
        first_byte_timeout: seconds until the first byte of an answer; None: no bound of its own.
        headers: sent with every request, beside those that the script sets later.
        auth: (user, password) for Basic, or a text for Bearer; sent with every request of the script, also to a
            URL elsewhere, and not with a redirect to another origin.
        verify: check certificates: True, False, or the path of a file with trusted ones.
        client_certificate: path of a PEM file with certificate and key, or (certificate, key).
        tls_minimum: oldest version that is accepted; default: what OpenSSL accepts (1.2).
        tls_maximum: newest version that is offered; default: 1.3.
        ciphers: OpenSSL's list for TLS 1.2 and older; the suites of 1.3 are OpenSSL's own choice.
        server_name: sent as SNI and looked for in the certificate, in place of the URL's host.
        alpn: protocols that are offered; default: `http/1.1`, with http2 `h2` before it.
        tls_resumption: who remembers TLS sessions: each `user` as a browser does, the whole `engine`, nobody (`off`).
        http2: speak HTTP/2: by ALPN over TLS, at once (prior knowledge) over plain TCP.
        no_delay: TCP_NODELAY.
        send_buffer: bytes, SO_SNDBUF; None: the kernel's.
        receive_buffer: bytes, SO_RCVBUF; None: the kernel's.
        keepalive_seconds: of TCP's own probes; None: none.
        linger_seconds: SO_LINGER; 0 resets connections when they are closed, which leaves no TIME_WAIT behind.
        source_addresses: of this machine, used in turn for new connections.
        unix_socket: path of a Unix socket to connect to, whatever the URL's host. See also `http+unix://%2Fpath`.
        proxy: `http://user:password@host:port` (or https://) for all requests; `environment`: HTTP_PROXY and the like.
        no_proxy: hosts (`shop.test`: with those below it; `10.0.0.0/8`; `*`) that are asked without the proxy.
        dns_ttl: seconds that an answer is used; `inf`: looked up once. Look-ups before the load count from its start.
        dns_order: which of several addresses a new connection tries first.
        ip: which family of addresses is used, or tried first.
        hosts: addresses by name, in place of a look-up.
        cookies: kept by each `user`, or forgotten after each `iteration`, or ignored (`off`).
        discard_bodies: read bodies over instead of keeping them; `self.http.discard_bodies` changes it for one user.
        encodings: content codings that are asked for and undone, such as ("gzip", "br"); none by default.

    Raises:
        ValueError: a value that cannot be used.
    """

    timeout: float = 60.0
    connect_timeout: float = 10.0
    tls_timeout: float | None = None
    first_byte_timeout: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | str | None = None
    verify: bool | str = True
    client_certificate: str | tuple[str, str] | None = None
    tls_minimum: TlsVersion | None = None
    tls_maximum: TlsVersion | None = None
    ciphers: str | None = None
    server_name: str | None = None
    alpn: tuple[str, ...] | None = None
    tls_resumption: Resumption = "user"
    http2: bool = False
    no_delay: bool = True
    send_buffer: int | None = None
    receive_buffer: int | None = None
    keepalive_seconds: int | None = None
    linger_seconds: int | None = None
    source_addresses: tuple[str, ...] = ()
    unix_socket: str | None = None
    proxy: str | None = None
    no_proxy: tuple[str, ...] = ()
    dns_ttl: float = 5.0
    dns_order: AddressOrder = "round robin"
    ip: AddressFamily = "any"
    hosts: Mapping[str, str] = field(default_factory=dict)
    cookies: Cookies = "off"
    discard_bodies: bool = False
    encodings: tuple[Encoding, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could only fail later, request by request."""
        for name in ("timeout", "connect_timeout", "tls_timeout", "first_byte_timeout"):
            _require_seconds(name, getattr(self, name))
        for name in ("send_buffer", "receive_buffer", "keepalive_seconds", "linger_seconds"):
            _require_whole(name, getattr(self, name), least=0 if name == "linger_seconds" else 1)
        self._require_tuples()
        self._require_choices()
        if not isinstance(self.verify, bool | str):
            raise _wrong("verify", self.verify, "True, False or the path of a file")
        if not 0 <= self.dns_ttl <= inf:
            raise _wrong("dns_ttl", self.dns_ttl, "seconds from 0 on; inf looks a name up once")
        if self.proxy and self.unix_socket:
            raise ValueError("HttpOptions: give either proxy or unix_socket")
        if self.tls_minimum and self.tls_maximum and self.tls_minimum > self.tls_maximum:
            raise ValueError(f"HttpOptions: tls_minimum {self.tls_minimum} is above tls_maximum {self.tls_maximum}")

    def _require_choices(self) -> None:
        """Refuse words that mean nothing."""
        for name, choices in _CHOICES.items():
            _require_choice(name, getattr(self, name), choices)
        for name in ("tls_minimum", "tls_maximum"):
            _require_choice(name, getattr(self, name) or "1.3", get_args(TlsVersion))
        for each in self.encodings:
            _require_choice("encodings", each, get_args(Encoding))

    def _require_tuples(self) -> None:
        """Refuse a text where several are meant, and addresses that are none."""
        for name in ("source_addresses", "no_proxy", "encodings", "alpn"):
            if isinstance(getattr(self, name), str):
                raise _wrong(name, getattr(self, name), "a tuple of texts")
        if self.source_addresses or self.hosts:
            self._require_addresses()

    def _require_addresses(self) -> None:
        from ipaddress import ip_address

        for name, addresses in (("source_addresses", self.source_addresses), ("hosts", self.hosts.values())):
            for each in addresses:
                try:
                    ip_address(each)
                except ValueError as error:
                    raise _wrong(name, each, "an IP address") from error


def _require_seconds(name: str, seconds: float | None) -> None:
    if seconds is not None and not 0 < seconds <= _TIMEOUT_MAX_SECONDS:
        raise _wrong(name, seconds, f"seconds above 0 and at most {_TIMEOUT_MAX_SECONDS}")


def _require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise _wrong(name, value, "one of " + ", ".join(choices))


def _require_whole(name: str, value: object, *, least: int) -> None:
    if value is not None and (not isinstance(value, int) or value < least):
        raise _wrong(name, value, f"a whole number from {least} on")


def _wrong(name: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"HttpOptions: {name} must be {wanted}, not {value!r}")


DEFAULT: Final = HttpOptions()
FIELD_NAMES: Final = tuple(each.name for each in fields(HttpOptions))
