"""What happens to a request on its way out and to its answer on the way in: cookies, the proxy's form, codings.

A client that needs none of it has no passage, so its requests take the short way.
"""

from __future__ import annotations

import re
from time import time
from typing import TYPE_CHECKING, Final

from loadstone_runner.engine.http.failures import ExchangeError
from loadstone_runner.engine.http.proxy import forwarded

if TYPE_CHECKING:
    from loadstone.options import HttpOptions
    from loadstone_runner.engine.http.connection import Answer
    from loadstone_runner.engine.http.cookies import CookieJar
    from loadstone_runner.engine.http.profile import Profile
    from loadstone_runner.engine.http.proxy import Proxies
    from loadstone_runner.engine.http.requests import Written

_OWN_COOKIE: Final = re.compile(rb"\r\ncookie:", re.IGNORECASE)


class Passage:
    """One client's.

    Attributes:
        cookies: of the user; None: they are off.
    """

    __slots__ = ("_encodings", "_forgets", "_proxies", "cookies")

    def __init__(self, options: HttpOptions, proxies: Proxies | None) -> None:
        self.cookies: CookieJar | None = None
        if options.cookies != "off":
            from loadstone_runner.engine.http.cookies import CookieJar

            self.cookies = CookieJar()
        self._forgets = options.cookies == "iteration"
        self._encodings = options.encodings
        self._proxies = proxies

    def outgoing(self, written: Written) -> Written:
        """Return a request as it is sent."""
        if self.cookies is not None:
            line = self.cookies.header_for(written.place, time())
            # A header of the script's own takes the place of the jar's.
            if line and _OWN_COOKIE.search(written.data, 0, written.data.find(b"\r\n\r\n")) is None:
                first, end, rest = written.data.partition(b"\r\n")
                written = written._replace(data=b"".join((first, end, line, rest)))
        if self._proxies is not None and not written.place.origin.is_tls:
            proxy = self._proxies.proxy_for(written.place.origin)
            if proxy is not None:
                return forwarded(written, proxy)
        return written

    def take_cookies(self, written: Written, answer: Answer) -> None:
        """Take from an answer what is meant for the user's next requests."""
        if answer.status and self.cookies is not None:
            self.cookies.take(written.place, answer.head, time())

    def incoming(self, written: Written, answer: Answer) -> None:
        """Take the cookies of a whole answer, and undo its codings."""
        self.take_cookies(written, answer)
        # An answer to HEAD names the coding of a body that it has not.
        if answer.status and answer.body and self._encodings:
            from loadstone_runner.engine.http.encodings import codings_of, decoded

            codings = codings_of(answer.head)
            if codings:
                try:
                    answer.body = decoded(answer.body, codings, self._encodings)
                except ExchangeError as error:
                    # The answer was whole, so it stays one: neither its status nor the target's count is in doubt.
                    answer.failure = error

    def end_iteration(self) -> None:
        """Forget what is kept for one iteration only."""
        if self._forgets and self.cookies is not None:
            self.cookies.clear()


def passage_of(options: HttpOptions, profile: Profile) -> Passage | None:
    """Return what a client's requests pass through; None: nothing."""
    if options.cookies == "off" and not options.encodings and profile.proxies is None:
        return None
    return Passage(options, profile.proxies)
