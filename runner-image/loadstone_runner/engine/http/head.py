"""Read the head of an answer: status, how its body ends, whether the connection lives on. RFC 9110 and 9112; no I/O."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
LENGTH_MAX_DIGITS: Final = 18
NO_CONTENT: Final = 204
NOT_MODIFIED: Final = 304
FIRST_FINAL_STATUS: Final = 200

# Heads of one server differ in little more than the second of their Date, so most are seen again.
_CACHE_ENTRIES: Final = 512
_CACHED_HEAD_BYTES: Final = 1_024

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n\0]*)?\Z")
_FIELD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\Z")


class Head(NamedTuple):
    """What the request path must know of a head.

    Attributes:
        status: 100 to 999.
        length: bytes of the body, or CHUNKED, or UNTIL_CLOSE; what a HEAD request means for it is the caller's affair.
        keeps_alive: whether the connection may carry another request.
    """

    status: int
    length: int
    keeps_alive: bool


_seen: dict[bytes, Head] = {}


def read_head(head: bytes) -> Head:
    """Return the meaning of a head, given without the empty line that ends it.

    Raises:
        ExchangeError: of kind PROTOCOL, when it is none or its framing is ambiguous.
    """
    known = _seen.get(head)
    if known is not None:
        return known
    read = _parse(head)
    if len(head) <= _CACHED_HEAD_BYTES:
        if len(_seen) >= _CACHE_ENTRIES:
            _seen.clear()
        _seen[head] = read
    return read


def _parse(head: bytes) -> Head:
    first, *lines = head.split(b"\r\n")
    status_line = _STATUS_LINE.match(first)
    if status_line is None:
        raise ExchangeError(FailureKind.PROTOCOL, f"no HTTP/1.1 status line: {_excerpt(first)}")
    status = int(status_line[2])
    lengths, codings, options = _framing_fields(lines)
    keeps_alive = b"close" not in options and (status_line[1] == b"1" or b"keep-alive" in options)
    if status < FIRST_FINAL_STATUS or status in {NO_CONTENT, NOT_MODIFIED}:
        return Head(status, 0, keeps_alive)
    if codings:
        # A length beside a coding is how requests are smuggled: the coding counts, and the connection is given up.
        chunked = codings[-1] == b"chunked"
        return Head(status, CHUNKED if chunked else UNTIL_CLOSE, keeps_alive and chunked and not lengths)
    if not lengths:
        return Head(status, UNTIL_CLOSE, keeps_alive=False)
    return Head(status, _length(lengths), keeps_alive)


def _framing_fields(lines: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the values of Content-Length, Transfer-Encoding and Connection, split at commas, in lower case."""
    found: dict[bytes, list[bytes]] = {b"content-length": [], b"transfer-encoding": [], b"connection": []}
    for line in lines:
        if _FIELD.match(line) is None:
            raise ExchangeError(FailureKind.PROTOCOL, f"no header line: {_excerpt(line)}")
        name, _, value = line.partition(b":")
        held = found.get(name.lower())
        if held is not None:
            held += [each.strip(b" \t").lower() for each in value.split(b",")]
    return found[b"content-length"], found[b"transfer-encoding"], found[b"connection"]


def _length(lengths: list[bytes]) -> int:
    first = lengths[0]
    if not first.isdigit() or len(first) > LENGTH_MAX_DIGITS or any(each != first for each in lengths):
        raise ExchangeError(FailureKind.PROTOCOL, f"no usable Content-Length: {_excerpt(b', '.join(lengths))}")
    return int(first)


def _excerpt(text: bytes) -> str:
    return repr(text[:60])[1:]
