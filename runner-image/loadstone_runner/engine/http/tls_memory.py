"""Remember TLS sessions, so that later connections can take them up. Handshakes are made elsewhere.

To copy a session out of a connection takes OpenSSL as long as half a handshake, and so does each hand-over. So one that
a server takes up again and again is copied once, and where none is ever taken up few connections are asked for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ssl

    from loadstone_runner.engine.http.tls import Tls

_PLACES_MAX: Final = 1_024
# After so many connections in a row that led to nothing, only each so many is tried.
_FRUITLESS_MAX: Final = 16
_TRY_EACH: Final = 8


class TlsMemory:
    """What one user, or one engine, remembers of its TLS sessions, by where they were held."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[Any, _Place] | None = None  # as users of plain HTTP never need one

    def recall(self, where: object) -> ssl.SSLSession | None:
        """Return what a new connection may take up."""
        place = None if self._places is None else self._places.get(where)
        return None if place is None else place.recall()

    def keep(self, where: object, tls: Tls, offered: ssl.SSLSession | None) -> None:
        """Hear of a new connection to somewhere, and which session it was to take up."""
        if self._places is None:
            self._places = {}
        place = self._places.get(where)
        if place is None:
            if len(self._places) >= _PLACES_MAX:
                self._places.clear()
            place = self._places[where] = _Place()
        place.keep(tls, offered)


class _Place:
    """The sessions of one place."""

    __slots__ = ("_fruitless", "_is_single_use", "_newest", "_resumed", "_session")

    def __init__(self) -> None:
        self._newest: Tls | None = None  # a connection that may hold a session: tickets come late, so it is asked late
        self._session: ssl.SSLSession | None = None
        self._resumed = 0  # how often the session was taken up
        self._is_single_use = False
        self._fruitless = 0

    def recall(self) -> ssl.SSLSession | None:
        if self._session is not None or self._newest is None:
            return self._session
        if self._fruitless >= _FRUITLESS_MAX and self._fruitless % _TRY_EACH:
            self._fruitless += 1
            return None
        found = self._newest.remembered
        self._fruitless += 1  # until one was taken up
        if found is not None and (found.has_ticket or found.id):
            self._session, self._resumed = found, 0
        return self._session

    def keep(self, tls: Tls, offered: ssl.SSLSession | None) -> None:
        if offered is not None and offered is self._session:
            if tls.is_resumed:
                self._resumed += 1
                self._fruitless = 0
            elif self._resumed == 1:
                self._is_single_use = True
            if self._is_single_use or not tls.is_resumed:
                self._session = None
        self._newest = tls if self._session is None else None
