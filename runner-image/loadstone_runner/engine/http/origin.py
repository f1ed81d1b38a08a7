"""Split URLs into where to connect and what to ask for. No I/O, no names are looked up."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

_PORTS: Final = {"http": 80, "https": 443}
_UNIX: Final = "http+unix"
_PRINTABLE: Final = re.compile(r"[!-~]*\Z")
# What may stand in a path or a query, RFC 3986; a percent sign stays, as what follows it is encoded already.
_IN_TARGET: Final = "!#$%&'()*+,/:;=?@[]~"
_PLAIN_TARGET: Final = re.compile(rf"[{re.escape(_IN_TARGET)}\w.-]*\Z", re.ASCII)
_SCHEME: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")
_WITH_CREDENTIALS: Final = re.compile(r"\s*https?://[^/?#]*@", re.IGNORECASE)
_ORIGINS_MAX: Final = 4_096


class Origin:
    """Where requests of one scheme, host and port go. There is one object of each, so identity is equality.

    Attributes:
        host: name or address, without brackets, in lower case.
        port: of TCP.
        is_tls: whether the scheme is https.
        authority: as the Host header says it, without the scheme's own port.
        unix: path of a Unix socket; empty: TCP.
    """

    __slots__ = ("authority", "host", "is_tls", "port", "unix")

    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.is_tls = scheme == "https"
        self.unix = host if scheme == _UNIX else ""
        self.host = "localhost" if self.unix else host
        self.port = port
        name = f"[{host}]" if ":" in self.host else self.host
        self.authority = name if self.unix or port == _PORTS[scheme] else f"{name}:{port}"

    def __str__(self) -> str:
        if self.unix:
            return f"{_UNIX}://{quote(self.unix, safe='')}"
        return f"{'https' if self.is_tls else 'http'}://{self.authority}"


class Place(NamedTuple):
    """Where one request goes.

    Attributes:
        origin: to connect to.
        target: path and query as they are sent.
        url: the whole, for people.
    """

    origin: Origin
    target: str
    url: str

    @property
    def path(self) -> str:
        """The path without its query."""
        return self.target.partition("?")[0]


_origins: dict[tuple[str, str, int], Origin] = {}


def place_of(base: str, path: str) -> Place:
    """Return where a path below `base` is, or a whole URL.

    A path is appended to the path of the base, as `target: http://host/api` and `/orders` mean `/api/orders`. What no
    URL may hold (spaces, quotes, braces, what is not ASCII) is percent-encoded; a fragment is dropped.

    Raises:
        ValueError: there is no usable URL, or one with credentials: nothing would send them.
    """
    if _is_url(path):
        url = path
    elif not base:
        raise ValueError(f"{path!r} is no URL and there is no target: set load.target, or `host` in the User class")
    else:
        url = base.rstrip("/") + ("" if path.startswith(("/", "?")) or not path else "/") + path
    if _WITH_CREDENTIALS.match(url):
        # Without the URL itself: it holds a password.
        raise ValueError("a URL with user and password in it: give them as auth=(user, password) instead")
    return _place_of_url(url)


def place_after_redirect(place: Place, location: str) -> Place:
    """Return where a Location header points to.

    Raises:
        ValueError: it is no http or https URL; a socket of this machine is nothing that a target may send to.
    """
    if place.origin.unix and not _is_url(location):
        # urljoin knows nothing of the scheme; a path is a path there, too.
        below = urljoin(f"http://localhost{place.target}", location)
        return _place_of_url(f"{place.origin}{below.removeprefix('http://localhost')}")
    onward = _place_of_url(urljoin(place.url, location))
    if onward.origin.unix and onward.origin is not place.origin:
        raise ValueError(f"{onward.url!r} is no http or https URL")
    return onward


def origin_of(scheme: str, host: str, port: int) -> Origin:
    """Return the one origin of a scheme (`http`, `https`), a host and a port.

    Raises:
        ValueError: there is no such host.
    """
    if scheme not in _PORTS or not host:
        raise ValueError("it must be http or https, with a host")
    return _origin(scheme, ascii_host(host), port)


def ascii_host(host: str) -> str:
    """Return a host's name as it is looked up: letters beyond ASCII in the form of IDNA.

    Raises:
        ValueError: it is no name.
    """
    if host.isascii():
        if not _PRINTABLE.match(host):
            raise ValueError(f"{host!r} is no host name")
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{host!r} is no host name: {error}") from error


def _is_url(text: str) -> bool:
    """Return whether this is a whole URL; one that stands in a path, as proxies of images have it, makes it none."""
    return _SCHEME.match(text) is not None


def _place_of_url(url: str) -> Place:
    try:
        parts = urlsplit(url)
        # A socket's path is no port, whatever its colons say.
        port = None if parts.scheme == _UNIX else parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no URL: {error}") from error
    if parts.scheme == _UNIX and parts.netloc:
        origin = _origin(_UNIX, unquote(parts.netloc), 0)
    elif parts.scheme in _PORTS and parts.hostname:
        host = ascii_host(parts.hostname)
        origin = _origin(parts.scheme, host, _PORTS[parts.scheme] if port is None else port)
    else:
        raise ValueError(f"{url!r} is no http or https URL")
    target = _encoded(parts.path or "/") + (f"?{_encoded(parts.query)}" if parts.query else "")
    return Place(origin, target, f"{origin}{target}")


def _origin(scheme: str, host: str, port: int) -> Origin:
    key = (scheme, host, port)
    held = _origins.get(key)
    if held is None:
        if len(_origins) >= _ORIGINS_MAX:
            _origins.clear()
        held = _origins[key] = Origin(scheme, host, port)
    return held


def _encoded(text: str) -> str:
    return text if _PLAIN_TARGET.match(text) else quote(text, safe=_IN_TARGET)
