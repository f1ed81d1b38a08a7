"""Say where a redirect leads and what is asked there, RFC 9110 section 15.4. No I/O."""

from __future__ import annotations

from typing import Final

from loadstone_runner.engine.http.origin import place_after_redirect
from loadstone_runner.engine.http.requests import OWN_HEADERS, Written, write

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEEPS_METHOD: Final = frozenset({307, 308})
_SEE_OTHER: Final = 303
_NOT_FOR_OTHERS: Final = frozenset({"authorization", "cookie", "host"})
_OF_BODY: Final = frozenset({"content-type", "content-length"})


def location_of(status: int, head: bytes) -> str | None:
    """Return where an answer sends its reader; None if it does not."""
    if status not in _REDIRECTS:
        return None
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"location":
            return _text(value.strip())
    return None


def after_redirect(written: Written, status: int, location: str) -> Written:
    """Return the request that follows a redirect.

    303, and 301 and 302 after POST, become GET without a body, as browsers do it; the other methods stay.
    Authorization, cookies and a Host header of the script's own do not go to another origin.

    Raises:
        ValueError: the location is no http or https URL.
    """
    place = place_after_redirect(written.place, location)
    head, _, body = written.data.partition(b"\r\n\r\n")
    method = written.method
    dropped: frozenset[str] = frozenset()
    if status not in _KEEPS_METHOD and method != "HEAD" and (status == _SEE_OTHER or method == "POST"):
        method, body = "GET", b""
        dropped |= _OF_BODY
    if place.origin is not written.place.origin:
        dropped |= _NOT_FOR_OTHERS
    fields = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:]]
    # What was left out of the first request stays out.
    headers: dict[str, str | None] = dict.fromkeys(OWN_HEADERS)
    headers |= {name: value for name, _, value in fields if name.lower() not in dropped}
    return write(method, place, headers, body)


def _text(location: bytes) -> str:
    # Letters that should have been percent-encoded are UTF-8, as browsers read them; else they can only be Latin-1.
    try:
        return location.decode("utf-8")
    except UnicodeDecodeError:
        return location.decode("latin-1")
