"""Write requests as bytes: head and body, RFC 9112. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loadstone_runner.engine.http.origin import Place

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE: Final = re.compile(r"[^\r\n\0]*\Z")
_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})
_USUAL_METHODS: Final = _BODY_METHODS | {"GET", "HEAD", "OPTIONS", "DELETE"}

OWN_HEADERS: Final[Mapping[str, str]] = {"User-Agent": "loadstone", "Accept": "*/*"}


class Pieces(NamedTuple):
    """A body that is made while it is sent.

    Attributes:
        parts: in order; they can be had once.
        length: in bytes; None: nobody knows, so it is sent in chunks.
    """

    parts: Iterable[bytes]
    length: int | None

    @property
    def headers(self) -> dict[str, str]:
        """Those that say how the body ends."""
        return {"Transfer-Encoding": "chunked"} if self.length is None else {"Content-Length": str(self.length)}


class Written(NamedTuple):
    """A request that is ready to be sent again and again.

    Attributes:
        name: of its series, unless the script gives one.
        data: head and body.
        is_head: its answer has no body, whatever the answer's head says.
        pieces: of a body that follows `data` bit by bit; None: `data` is all.
    """

    method: str
    place: Place
    name: str
    data: bytes
    is_head: bool
    pieces: Pieces | None = None


def method_of(method: str) -> str:
    """Return a method as it is sent: the usual ones in capitals, however a script writes them, as in every client.

    A member of an enumeration is its value: some say their own name as text, and none is what C takes for one.
    """
    capitals = method.upper()
    return capitals if capitals in _USUAL_METHODS else str.__str__(method)


def whole_parts(pieces: Pieces) -> Iterator[bytes]:
    """Yield the parts of a body that are not empty.

    Raises:
        ValueError: it is not as long as was announced.
    """
    sent = 0
    for each in pieces.parts:
        sent += len(each)
        if pieces.length is not None and sent > pieces.length:
            raise ValueError(f"the body is longer than the {pieces.length} bytes that were announced")
        if each:
            yield each
    if pieces.length is not None and sent < pieces.length:
        raise ValueError(f"the body is {sent} bytes and not the {pieces.length} that were announced")


def framed(pieces: Pieces) -> Iterator[bytes]:
    """Yield a body as it goes over the wire: in chunks if its length is not known; see `whole_parts`."""
    if pieces.length is not None:
        yield from whole_parts(pieces)
        return
    for each in whole_parts(pieces):
        yield b"%x\r\n%b\r\n" % (len(each), each)
    yield b"0\r\n\r\n"


def write(method: str, place: Place, headers: Mapping[str, str | None], body: bytes) -> Written:
    """Return a request; `headers` as for `write_head`, with those that describe the body.

    Raises:
        ValueError: a method or header that would break the head.
    """
    return Written(method, place, place.path, write_head(method, place, headers) + body, method == "HEAD")


def write_head(method: str, place: Place, headers: Mapping[str, str | None]) -> bytes:
    """Return the head of a request up to and with its empty line.

    `headers` take the place of the client's own of the same name, whatever the case; None leaves one out.

    Raises:
        ValueError: a method or header that would break the head.
    """
    if not _TOKEN.match(method):
        raise ValueError(f"{method!r} is no HTTP method")
    fields = {"host": ("Host", place.origin.authority)}
    fields |= {name.lower(): (name, value) for name, value in OWN_HEADERS.items()}
    for name, value in headers.items():
        if value is None:
            fields.pop(name.lower(), None)
        else:
            fields[name.lower()] = (name, _checked(name, value))
    lines = [f"{method} {place.target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.values())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def write_body(method: str, json: Any, data: Any) -> tuple[bytes, dict[str, str]]:
    """Return a body and the headers that describe it.

    Args:
        method: POST, PUT and PATCH say that their body is empty, others say nothing.
        json: a value to be sent as JSON; None: there is none.
        data: bytes, text, or a mapping to be sent as a form.

    Raises:
        ValueError: both are given, or json is no JSON.
        TypeError: data is something else.
    """
    if json is not None and data is not None:
        raise ValueError("give either json or data")
    if json is not None:
        from json import dumps

        content = dumps(json, separators=(",", ":"), allow_nan=False).encode()
        kind = {"Content-Type": "application/json"}
    elif data is None:
        return b"", ({"Content-Length": "0"} if method in _BODY_METHODS else {})
    else:
        content, kind = _data(data)
    return content, {**kind, "Content-Length": str(len(content))}


def with_query(path: str, params: Any) -> str:
    """Return a path with query parameters added to those that it has."""
    added = urlencoded(params)
    if not added:
        return path
    return f"{path}{'&' if '?' in path else '?'}{added}"


def urlencoded(fields: Any) -> str:
    """Return parameters or fields of a form; a value that is None leaves its name out."""
    if isinstance(fields, Mapping):
        # No dict: a MultiDict has some names more than once.
        fields = [(name, value) for name, value in fields.items() if value is not None]
    return urlencode(fields, doseq=True)


def _data(data: Any) -> tuple[bytes, dict[str, str]]:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), {}
    if isinstance(data, str):
        return data.encode(), {"Content-Type": "text/plain; charset=utf-8"}
    if isinstance(data, Mapping):
        return urlencoded(data).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    raise TypeError(f"data must be bytes, text or a mapping, not {type(data).__name__}")


def _checked(name: str, value: object) -> str:
    if not _TOKEN.match(name):
        raise ValueError(f"{name!r} is no name of a header")
    if not isinstance(value, str) or not _VALUE.match(value):
        raise ValueError(f"the header {name} must be text without line breaks, not {value!r}")
    return value
