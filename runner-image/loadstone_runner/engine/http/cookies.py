"""Keep one user's cookies, RFC 6265: which an answer sets, and which a request carries. No I/O.

There is no list of public suffixes: a domain needs a dot, and an attacker among the targets is no user of load tests.
"""

from __future__ import annotations

import re
from time import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_runner.engine.http.origin import Origin, Place

COOKIES_MAX: Final = 180
COOKIE_MAX_BYTES: Final = 4_096
_CACHED_MAX: Final = 64
_FOR_EVER: Final = float("inf")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME: Final = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})")
_DAY: Final = re.compile(r"(?<![\d:])(\d{1,2})(?![\d:])")
_MONTH: Final = re.compile("|".join(_MONTHS))
_YEAR: Final = re.compile(r"(?<![\d:])(\d{4})(?![\d:])")
_SHORT_YEAR: Final = re.compile(r"[- ](\d{2})(?= \d{1,2}:)")
_ADDRESS: Final = re.compile(r"[\d.]+\Z|.*:")
_CONTROL: Final = re.compile(r"[\0-\x08\x0a-\x1f\x7f]")


class Cookie:
    """One cookie, and where it goes."""

    __slots__ = ("domain", "expires", "is_host_only", "is_secure", "name", "path", "value")

    def __init__(self, name: str, value: str, *, domain: str, path: str) -> None:
        self.name = name
        self.value = value
        self.domain = domain
        self.path = path
        self.is_host_only = True
        self.is_secure = False
        self.expires = _FOR_EVER

    def goes_to(self, origin: Origin, path: str) -> bool:
        """Return whether a request there carries it, section 5.4."""
        if self.is_secure and not origin.is_tls:
            return False
        return _domain_matches(origin.host, self.domain, self.is_host_only) and _path_matches(path, self.path)


class CookieJar:
    """The cookies of one user; what a script finds as `self.http.cookies`."""

    __slots__ = ("_cached", "_cached_until", "_cookies")

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}  # by domain, path and name, oldest first
        self._cached: dict[tuple[Origin, str], bytes] = {}
        self._cached_until = _FOR_EVER

    def __len__(self) -> int:
        return len(self._cookies)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(each.name for each in self._cookies.values()))

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of a cookie, whatever its domain: the newest of that name."""
        for each in reversed(self._cookies.values()):
            if each.name == name and each.expires > time():
                return each.value
        return default

    def set(self, name: str, value: str, *, domain: str, path: str = "/") -> None:
        """Put a cookie in by hand; it goes to `domain` and the hosts below it.

        Raises:
            ValueError: a name or value that would break the header.
        """
        if not name or re.search(r"[\s;=,\0-\x1f]", name) or re.search(r"[;\r\n\0]", value):
            raise ValueError(f"{name!r} with the value {value!r} is no cookie")
        cookie = Cookie(name, value, domain=domain.lower().lstrip("."), path=path)
        cookie.is_host_only = False
        self._store(cookie)

    def clear(self) -> None:
        """Forget all cookies."""
        self._cookies.clear()
        self._forget_cached()

    def header_for(self, place: Place, now: float) -> bytes:
        """Return the Cookie line of a request, with its line end; empty: there is none."""
        if not self._cookies:
            return b""
        if now >= self._cached_until:
            self._drop_expired(now)
        key = (place.origin, place.path)
        held = self._cached.get(key)
        if held is None:
            if len(self._cached) >= _CACHED_MAX:
                self._cached.clear()
            held = self._cached[key] = self._line(place)
        return held

    def take(self, place: Place, head: bytes, now: float) -> None:
        """Keep what the head of an answer sets."""
        if b"et-" not in head and b"ET-" not in head:
            return
        for line in head.split(b"\r\n"):
            if line[:11].lower() == b"set-cookie:":
                cookie = _parsed(line[11:].decode("latin-1"), place, now)
                if cookie is not None:
                    self._keep(cookie, now)

    def _keep(self, cookie: Cookie, now: float) -> None:
        if cookie.expires > now:
            self._store(cookie)
        elif self._cookies.pop((cookie.domain, cookie.path, cookie.name), None) is not None:
            self._forget_cached()

    def _store(self, cookie: Cookie) -> None:
        key = (cookie.domain, cookie.path, cookie.name)
        held = self._cookies.get(key)
        # Many servers set the same cookie with every answer: nothing that was worked out becomes wrong by that.
        is_new = held is None or (held.value, held.is_secure, held.is_host_only) != (
            cookie.value,
            cookie.is_secure,
            cookie.is_host_only,
        )
        if held is None and len(self._cookies) >= COOKIES_MAX:
            del self._cookies[next(iter(self._cookies))]
        self._cookies[key] = cookie
        if is_new:
            self._forget_cached()
        self._cached_until = min(self._cached_until, cookie.expires)

    def _line(self, place: Place) -> bytes:
        path = place.path
        found = [each for each in self._cookies.values() if each.goes_to(place.origin, path)]
        if not found:
            return b""
        # Longer paths first, older ones before newer ones: dict and sort keep their order.
        found.sort(key=lambda each: -len(each.path))
        return f"Cookie: {'; '.join(f'{each.name}={each.value}' for each in found)}\r\n".encode("latin-1", "replace")

    def _drop_expired(self, now: float) -> None:
        self._cookies = {key: each for key, each in self._cookies.items() if each.expires > now}
        self._forget_cached()

    def _forget_cached(self) -> None:
        self._cached.clear()
        self._cached_until = min((each.expires for each in self._cookies.values()), default=_FOR_EVER)


def seconds_of(date: str) -> float | None:
    """Return the moment of a cookie's date, section 5.1.1, which is no strict form; None: it is none."""
    from calendar import timegm

    text = date.lower()
    clock, day, month, year = (each.search(text) for each in (_TIME, _DAY, _MONTH, _YEAR))
    year = year or _SHORT_YEAR.search(text)
    if clock is None or day is None or month is None or year is None:
        return None
    full = int(year[1])
    if full < 100:  # noqa: PLR2004 two digits, and the century that the RFC reads into them
        full += 2_000 if full < 70 else 1_900  # noqa: PLR2004 the same
    numbers = (full, _MONTHS.index(month[0]) + 1, int(day[1]), *(int(each) for each in clock.groups()))
    limits = ((1_601, 9_999), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59))
    if not all(least <= number <= most for number, (least, most) in zip(numbers, limits, strict=True)):
        return None
    return float(timegm((*numbers, 0, 0, 0)))


def _parsed(text: str, place: Place, now: float) -> Cookie | None:
    """Return what one Set-Cookie says, section 5.2 and 5.3; None: nothing that may be kept."""
    pair, *attributes = text.split(";")
    name, equals, value = pair.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name or len(name) + len(value) > COOKIE_MAX_BYTES or _CONTROL.search(name + value):
        return None
    host = place.origin.host
    cookie = Cookie(name, value, domain=host, path=_default_path(place.path))
    ages: dict[str, str] = {}
    for attribute in attributes:
        key, _, told = attribute.partition("=")
        key, told = key.strip().lower(), told.strip()
        if key == "domain" and told.lstrip("."):
            cookie.domain, cookie.is_host_only = told.lstrip(".").lower(), False
        elif key == "path":
            cookie.path = told if told.startswith("/") else _default_path(place.path)
        elif key == "secure":
            cookie.is_secure = True
        elif key in {"max-age", "expires"}:
            ages[key] = told
    cookie.expires = _expiry(ages, now)
    return cookie if _may_set(host, cookie) else None


def _expiry(ages: dict[str, str], now: float) -> float:
    """Return when a cookie ends; Max-Age counts before Expires."""
    age = ages.get("max-age", "")
    if age.removeprefix("-").isdecimal():
        return now + int(age[:12])
    moment = seconds_of(ages["expires"]) if "expires" in ages else None
    return _FOR_EVER if moment is None else moment


def _may_set(host: str, cookie: Cookie) -> bool:
    """Return whether a host may set a cookie for its domain; a domain that is the host itself is always its own."""
    if cookie.domain == host:
        return True
    return "." in cookie.domain and _domain_matches(host, cookie.domain, is_host_only=False)


def _domain_matches(host: str, domain: str, is_host_only: bool) -> bool:  # noqa: FBT001 a field of the cookie
    if host == domain:
        return True
    return not is_host_only and host.endswith(f".{domain}") and _ADDRESS.match(host) is None


def _path_matches(path: str, of_cookie: str) -> bool:
    if not path.startswith(of_cookie):
        return False
    return len(path) == len(of_cookie) or of_cookie.endswith("/") or path[len(of_cookie)] == "/"


def _default_path(path: str) -> str:
    return path[: path.rfind("/")] or "/"
