"""What all clients of one class of users and one target have in common, worked out once. Sending is `client`'s.

What few tests use is imported when one asks for it: each module that an engine imports delays its start.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from loadstone.options import DEFAULT
from loadstone_runner.engine.http.auth import authorization
from loadstone_runner.engine.http.connecting import Dialer
from loadstone_runner.engine.http.courier import Courier
from loadstone_runner.engine.http.failures import ExchangeError
from loadstone_runner.engine.http.origin import place_of
from loadstone_runner.engine.http.passage import passage_of
from loadstone_runner.engine.http.profile import profile_of, without_http2
from loadstone_runner.engine.http.tls import context_of
from loadstone_runner.engine.http.tls_memory import TlsMemory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadstone.options import HttpOptions
    from loadstone_runner.engine.http.http2 import Http2Courier
    from loadstone_runner.engine.http.passage import Passage
    from loadstone_runner.engine.http.requests import Written
    from loadstone_runner.engine.http.resolution import Resolver

_SECOND_NS: Final = 1_000_000_000
# One process is one engine, and its contexts are the process's as well.
_ENGINE_MEMORY: Final = TlsMemory()


class Outfit:
    """What clients share.

    Attributes:
        has_courier: whether the request path carries none of their requests.
        target: that paths are relative to; may be empty.
        options: of the class.
        profile: how connections are made.
        headers: sent with every request.
        written: requests that are ready to be sent, by method and path.
    """

    __slots__ = ("has_courier", "headers", "options", "profile", "target", "written")

    def __init__(self, target: str, options: HttpOptions = DEFAULT) -> None:
        """Work out what options mean.

        Raises:
            ValueError: an option that cannot be used here, such as a coding without its library.
        """
        self.target = target
        self.options = options
        self.profile = profile_of(options, os.environ)
        self.has_courier = options.http2 or options.first_byte_timeout is not None
        self.headers: dict[str, str] = dict(options.headers)
        if options.auth is not None:
            self.headers["Authorization"] = authorization(options.auth)
        if options.http2 and find_spec("h2") is None:
            raise ValueError("http2 needs the package h2: pip install 'loadstone[http]'")
        if options.encodings:
            from loadstone_runner.engine.http.encodings import require

            require(options.encodings)
            self.headers["Accept-Encoding"] = ", ".join(options.encodings)
        self.written: dict[tuple[str, str], Written] = {}

    def dialer(self, resolver: Resolver) -> Dialer:
        """Return what opens the connections of one client."""
        match self.profile.resumption:
            case "user":
                return Dialer(self.profile, resolver, TlsMemory())
            case "engine":
                return Dialer(self.profile, resolver, _ENGINE_MEMORY)
        return Dialer(self.profile, resolver, None)

    def courier(self, dialer: Dialer) -> Courier | Http2Courier | None:
        """Return what carries every request of one client; None: the request path does."""
        first_byte_ns = int((self.options.first_byte_timeout or 0) * _SECOND_NS)
        if self.profile.http2:
            from loadstone_runner.engine.http.http2 import Http2Courier

            # What it carries over HTTP/1.1 must not be offered as anything else.
            old = Dialer(without_http2(dialer.profile), dialer.resolver, dialer.memory)
            return Http2Courier(dialer, Courier(old, first_byte_ns), first_byte_ns)
        return Courier(dialer, first_byte_ns) if first_byte_ns else None

    def passage(self) -> Passage | None:
        """Return what the requests of one client pass through; None: nothing."""
        return passage_of(self.options, self.profile)


def prepare(outfits: Iterable[Outfit], resolver: Resolver, within_seconds: float) -> None:
    """Do before the load what its first requests would wait for: look targets up, read certificates.

    Nothing of it fails here: what is not there in time, or cannot be had, is the requests' to say.

    Args:
        outfits: of all classes.
        resolver: of the engine.
        within_seconds: that the look-ups may take.
    """
    places: list[tuple[str, int]] = []
    for outfit in outfits:
        try:
            origin = place_of(outfit.target, "").origin
            if origin.is_tls:
                context_of(outfit.profile.tls)
        except (ValueError, ExchangeError):
            continue
        proxy = None if outfit.profile.proxies is None else outfit.profile.proxies.proxy_for(origin)
        near = origin if proxy is None else proxy.origin
        is_pinned = any(name == near.host for name, _ in outfit.profile.dns.hosts)
        if not (near.unix or outfit.profile.unix_socket or is_pinned):
            places.append((near.host, near.port))
    resolver.prepare(places, within_seconds)
