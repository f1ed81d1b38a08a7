"""Write bodies that are more than a value: multipart/form-data (RFC 7578), files, and what a script yields bit by bit.

Small ones are bytes; files from disk are read while they are sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import TextIOBase
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from loadstone_runner.engine.http.requests import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_READ_BYTES: Final = 65_536
_DEFAULT_TYPE: Final = "application/octet-stream"
_WITH_TYPE: Final = 3
_ESCAPES: Final = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})  # as the WHATWG's forms do it


def multipart(fields: Mapping[str, Any] | None, files: Mapping[str, Any]) -> tuple[bytes | Pieces, dict[str, str]]:
    """Return a form with files, and the headers that describe it.

    Args:
        fields: name to value, or to several values; None leaves the name out.
        files: name to content, or (file name, content), or (file name, content, type); a content is bytes, text,
            a path, or an open binary file.

    Raises:
        ValueError: a file is none of these.
        OSError: a path cannot be read.
    """
    boundary = os.urandom(16).hex()
    parts: list[bytes | Pieces] = []
    for name, value in (fields or {}).items():
        if value is None:
            continue
        for each in value if isinstance(value, list | tuple) else (value,):
            parts += [_part_head(boundary, f'name="{_escaped(name)}"', None), _text(each), b"\r\n"]
    for name, given in files.items():
        file_name, content, kind = _file(name, given)
        disposition = f'name="{_escaped(name)}"; filename="{_escaped(file_name)}"'
        parts += [_part_head(boundary, disposition, kind), _content(name, content), b"\r\n"]
    parts.append(b"--%b--\r\n" % boundary.encode())
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    if all(isinstance(each, bytes) for each in parts):
        whole = b"".join(cast("list[bytes]", parts))
        return whole, {**headers, "Content-Length": str(len(whole))}
    pieces = _joined(parts)
    return pieces, {**headers, **pieces.headers}


def pieces_of(data: object) -> Pieces | None:
    """Return a body that a script gives bit by bit: an open file, or an iterable of bytes. None: it is neither."""
    if hasattr(data, "read"):
        return _file_pieces(cast("BinaryIO", data))
    if isinstance(data, bytes | bytearray | memoryview | str | Mapping) or not hasattr(data, "__iter__"):
        return None
    return Pieces(_encoded(cast("Iterable[bytes | str]", data)), None)


def _encoded(parts: Iterable[bytes | str]) -> Iterator[bytes]:
    for each in parts:
        if not isinstance(each, bytes | bytearray | memoryview | str):
            told = type(each).__name__
            raise TypeError(f"data: an iterable must give bytes, not a {told}; a form is a mapping of names to values")
        yield each.encode() if isinstance(each, str) else bytes(each)


def _part_head(boundary: str, disposition: str, kind: str | None) -> bytes:
    lines = [f"--{boundary}", f"Content-Disposition: form-data; {disposition}"]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join([*lines, "", ""]).encode()


def _file(name: str, given: Any) -> tuple[str, Any, str]:
    if isinstance(given, tuple):
        if not 1 < len(given) <= _WITH_TYPE:
            raise ValueError(f"files: {name} must be a content, (file name, content) or (file name, content, type)")
        kind = str(given[2]) if len(given) == _WITH_TYPE else _DEFAULT_TYPE
        if "\r" in kind or "\n" in kind:
            raise ValueError(f"files: the type of {name} must be one line, not {kind!r}")
        return str(given[0]), given[1], kind
    path = given if isinstance(given, Path) else getattr(given, "name", name)
    return Path(str(path)).name, given, _DEFAULT_TYPE


def _content(name: str, content: Any) -> bytes | Pieces:
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, Path):
        return Pieces(_read_path(content), content.stat().st_size)
    if hasattr(content, "read"):
        pieces = _file_pieces(content)
        # Of a stream without a length all is read now: a form in chunks is what few servers take.
        return pieces if pieces.length is not None else b"".join(pieces.parts)
    raise ValueError(f"files: {name} must be bytes, text, a path or an open file, not a {type(content).__name__}")


def _file_pieces(file: BinaryIO) -> Pieces:
    if isinstance(file, TextIOBase):
        raise ValueError("a file that is sent must be open for bytes: open(path, 'rb')")  # noqa: TRY004 as for other contents
    try:
        here = file.tell()
        length = file.seek(0, os.SEEK_END) - here
        file.seek(here)
    except (OSError, AttributeError):
        return Pieces(_read(file), None)
    return Pieces(_read(file), length)


def _read(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(_READ_BYTES):
        yield part


def _read_path(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from _read(file)


def _joined(parts: list[bytes | Pieces]) -> Pieces:
    length = sum(len(each) if isinstance(each, bytes) else each.length or 0 for each in parts)
    streams = ((each,) if isinstance(each, bytes) else each.parts for each in parts)
    return Pieces(chain.from_iterable(streams), length)


def _text(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
