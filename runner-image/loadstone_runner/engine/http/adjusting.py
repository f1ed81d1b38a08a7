"""The part of a client that scripts may change for one user: timeouts, certificates, cookies. Sending is `client`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_runner.engine.http.connection import NO_SLOTS
from loadstone_runner.engine.http.profile import with_verify
from loadstone_runner.engine.http.streaming import nanoseconds

if TYPE_CHECKING:
    from loadstone_runner.engine.http.connecting import Dialer
    from loadstone_runner.engine.http.cookies import CookieJar
    from loadstone_runner.engine.http.courier import Courier
    from loadstone_runner.engine.http.http2 import Http2Courier
    from loadstone_runner.engine.http.outfit import Outfit
    from loadstone_runner.engine.http.passage import Passage

_SECOND_NS: Final = 1_000_000_000


class Adjustable:
    """What a client of any flavour inherits; the fields are the flavour's."""

    __slots__ = NO_SLOTS

    _connect_timeout_ns: int
    _courier: Courier | Http2Courier | None
    _dialer: Dialer
    _outfit: Outfit
    _passage: Passage | None
    _timeout_ns: int

    def close(self) -> None:
        """Close all connections."""
        raise NotImplementedError

    @property
    def timeout(self) -> float:
        """Seconds until a request must be answered in full."""
        return self._timeout_ns / _SECOND_NS

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._timeout_ns = nanoseconds(seconds)

    @property
    def connect_timeout(self) -> float:
        """Seconds that DNS, TCP and TLS may take of it."""
        return self._connect_timeout_ns / _SECOND_NS

    @connect_timeout.setter
    def connect_timeout(self, seconds: float) -> None:
        self._connect_timeout_ns = nanoseconds(seconds)

    @property
    def verify(self) -> bool | str:
        """How certificates are checked: True, False, or the path of a file with trusted ones."""
        return self._dialer.profile.tls.verify

    @verify.setter
    def verify(self, verify: bool | str) -> None:
        if not isinstance(verify, bool | str):
            raise ValueError(f"verify must be True, False or the path of a file, not {verify!r}")  # noqa: TRY004 as documented
        self.close()
        self._dialer.profile = with_verify(self._dialer.profile, verify)
        self._courier = self._outfit.courier(self._dialer)

    @property
    def cookies(self) -> CookieJar:
        """This user's cookies.

        Raises:
            RuntimeError: they are off.
        """
        if self._passage is None or self._passage.cookies is None:
            raise RuntimeError('cookies are off: set http_options = HttpOptions(cookies="user") in the User class')
        return self._passage.cookies
