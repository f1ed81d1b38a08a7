"""Which requests go through a proxy, and what is said to it: CONNECT for https, absolute URLs for http. No I/O.

RFC 9110 section 9.3.6 (CONNECT) and RFC 9112 section 3.2.2 (absolute-form).
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.head import read_head
from loadstone_runner.engine.http.origin import Origin, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadstone_runner.engine.http.requests import Written

_ENVIRONMENT: Final = "environment"
_FIRST_REFUSAL: Final = 300
_PORTS: Final = {"http": 80, "https": 443}


class Proxy(NamedTuple):
    """One proxy.

    Attributes:
        origin: of the proxy itself.
        authorization: the header line that it is shown, with its line end; empty: none.
    """

    origin: Origin
    authorization: bytes = b""


class Proxies(NamedTuple):
    """Which proxy is for what.

    Attributes:
        http: for http URLs; None: they go directly.
        https: for https URLs; None: they go directly.
        no_proxy: what goes directly, in lower case.
    """

    http: Proxy | None
    https: Proxy | None
    no_proxy: tuple[str, ...]

    def proxy_for(self, origin: Origin) -> Proxy | None:
        """Return the proxy through which an origin is reached; None: directly."""
        proxy = self.https if origin.is_tls else self.http
        if proxy is None or origin.unix or any(_covers(each, origin) for each in self.no_proxy):
            return None
        return proxy


def proxies_of(proxy: str | None, no_proxy: Sequence[str], environment: Mapping[str, str]) -> Proxies | None:
    """Return what an option says; None: no request goes through a proxy.

    Args:
        proxy: its URL, or `environment`; None: none.
        no_proxy: hosts, domains, networks, or `*`.
        environment: variables of the process, read only if they are asked for.

    Raises:
        ValueError: no usable URL.
    """
    if not proxy:
        return None
    direct = tuple(each.strip().lower() for each in no_proxy if each.strip())
    if proxy != _ENVIRONMENT:
        one = _parsed(proxy)
        return Proxies(one, one, direct)
    told = {name.lower(): value for name, value in environment.items() if value}
    both = told.get("all_proxy")
    # As curl does it: HTTP_PROXY in capitals may be a header of a CGI request, but no engine runs as a CGI script.
    plain, secure = told.get("http_proxy", both), told.get("https_proxy", both)
    if not plain and not secure:
        return None
    direct += tuple(each.strip().lower() for each in told.get("no_proxy", "").split(",") if each.strip())
    return Proxies(_parsed(plain) if plain else None, _parsed(secure) if secure else None, direct)


def forwarded(written: Written, proxy: Proxy) -> Written:
    """Return a request to an http URL as a proxy wants it: with the whole URL, and with who is asking."""
    line, end, rest = written.data.partition(b"\r\n")
    method, _, _ = line.partition(b" ")
    first = b"%b %b HTTP/1.1" % (method, written.place.url.encode("ascii"))
    return written._replace(data=b"".join((first, end, proxy.authorization, rest)))


def connect_request(origin: Origin, proxy: Proxy) -> bytes:
    """Return what asks a proxy for a tunnel to an origin."""
    place = f"[{origin.host}]" if ":" in origin.host else origin.host
    authority = f"{place}:{origin.port}".encode("ascii")
    return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (authority, authority, proxy.authorization)


def check_tunnel(head: bytes, proxy: Proxy) -> None:
    """Accept a proxy's answer to CONNECT.

    Raises:
        ExchangeError: of kind PROXY: it said no, or something that is no answer.
    """
    try:
        status = read_head(head).status
    except ExchangeError as error:
        raise ExchangeError(FailureKind.PROXY, f"{proxy.origin} is no proxy: {error}") from error
    if status >= _FIRST_REFUSAL:
        raise ExchangeError(FailureKind.PROXY, f"{proxy.origin} refused the tunnel with status {status}")


def _parsed(url: str) -> Proxy:
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        origin = origin_of(parts.scheme if port else "", parts.hostname or "", port)
    except ValueError as error:
        # Without the URL itself: it may hold a password.
        raise ValueError(f"the proxy {text.rpartition('@')[2]!r} is no usable URL: {error}") from error
    if parts.username is None:
        return Proxy(origin)
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return Proxy(origin, b"Proxy-Authorization: Basic " + b2a_base64(pair, newline=False) + b"\r\n")


def _covers(pattern: str, origin: Origin) -> bool:
    from ipaddress import ip_address, ip_network

    if pattern == "*":
        return True
    host = origin.host
    try:
        return ip_address(host) in ip_network(pattern, strict=False)
    except ValueError:
        name, _, port = pattern.partition(":") if pattern.count(":") == 1 else (pattern, "", "")
        name = name.removeprefix("*").removeprefix(".")
        return (not port or port == str(origin.port)) and (host == name or host.endswith(f".{name}"))
