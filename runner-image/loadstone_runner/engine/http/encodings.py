"""Undo the content codings of bodies, bounded: gzip and deflate by zlib, br and zstd by their libraries. No I/O."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from loadstone_runner.engine.http.bodies import BODY_MAX_BYTES
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CODINGS_MAX: Final = 5
_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_GZIP_MAGIC: Final = b"\x1f\x8b"
# Each piece of zstd may unfold to 128 KiB every 4 bytes, and its library has no bound of its own.
_ZSTD_PIECE: Final = 1_024
_ZSTD_WINDOW_MAX: Final = 1 << 23  # what RFC 9659 asks clients to accept
_PACKAGES: Final = {"br": "brotli", "zstd": "zstandard"}
_ALIASES: Final = {"x-gzip": "gzip"}


def require(encodings: Iterable[str]) -> None:
    """Make sure that codings can be undone.

    Raises:
        ValueError: a library is missing.
    """
    import importlib.util

    for each in encodings:
        package = _PACKAGES.get(each)
        if package is not None and importlib.util.find_spec(package) is None:
            raise ValueError(f"encodings: {each!r} needs the package {package}: pip install 'loadstone[http]'")


def codings_of(head: bytes) -> list[str]:
    """Return the codings of an answer's body in the order in which they were applied; `identity` is none."""
    found: list[str] = []
    if b"ncoding:" not in head and b"NCODING:" not in head:
        return found
    for line in head.split(b"\r\n"):
        if line[:17].lower() == b"content-encoding:":
            found += [each.strip().lower() for each in line[17:].decode("latin-1").split(",")]
    return [_ALIASES.get(each, each) for each in found if each not in {"", "identity"}]


def decoded(body: bytes, codings: list[str], accepted: Iterable[str]) -> bytes:
    """Return a body without its codings; an empty one is empty in any coding.

    Args:
        body: as it came.
        codings: in the order in which they were applied.
        accepted: those that were asked for.

    Raises:
        ExchangeError: of kind ENCODING, or TOO_LARGE when it unfolds beyond BODY_MAX_BYTES.
    """
    if len(codings) > _CODINGS_MAX:
        raise ExchangeError(FailureKind.ENCODING, f"the body has {len(codings)} codings")
    for coding in reversed(codings):
        decode = _DECODERS.get(coding)
        if decode is None or coding not in accepted:
            raise ExchangeError(FailureKind.ENCODING, f"the body is coded as {coding[:40]!r}, which nobody asked for")
        if body:
            body = decode(body)
    return body


def _gzip(body: bytes) -> bytes:
    parts: list[bytes] = []
    held = 0
    rest = body
    while rest:
        if parts and not rest.startswith(_GZIP_MAGIC):
            break  # padding after the last member, as gzip itself reads it
        part, rest = _inflated(rest, _GZIP, BODY_MAX_BYTES - held)
        held += len(part)
        parts.append(part)
    return b"".join(parts)


def _deflate(body: bytes) -> bytes:
    # RFC 9110 means zlib's form; some servers send the bare stream, and every browser takes it.
    try:
        return _inflated(body, zlib.MAX_WBITS, BODY_MAX_BYTES)[0]
    except ExchangeError as error:
        if error.kind is not FailureKind.ENCODING:
            raise
        return _inflated(body, _RAW, BODY_MAX_BYTES)[0]


def _inflated(body: bytes, form: int, limit: int) -> tuple[bytes, bytes]:
    """Return what one zlib stream says, and what comes after it."""
    machine = zlib.decompressobj(form)
    try:
        plain = machine.decompress(body, limit + 1)
    except zlib.error as error:
        raise _broken("gzip or deflate", error) from error
    if len(plain) > limit:
        raise _too_large()
    if not machine.eof:
        raise ExchangeError(FailureKind.ENCODING, "the compressed body breaks off")
    return plain, machine.unused_data


def _br(body: bytes) -> bytes:
    import brotli  # type: ignore[import-untyped,unused-ignore]

    machine: Any = brotli.Decompressor()
    try:
        plain: bytes = machine.process(body, output_buffer_limit=BODY_MAX_BYTES)
        while not machine.is_finished() and not machine.can_accept_more_data():
            if len(plain) >= BODY_MAX_BYTES:
                raise _too_large()
            plain += machine.process(b"", output_buffer_limit=BODY_MAX_BYTES)
    except brotli.error as error:
        raise _broken("br", error) from error
    if len(plain) > BODY_MAX_BYTES:
        raise _too_large()
    if not machine.is_finished():
        raise ExchangeError(FailureKind.ENCODING, "the compressed body breaks off")
    return plain


def _zstd(body: bytes) -> bytes:
    import zstandard

    parts: list[bytes] = []
    held, rest = 0, body
    try:
        while rest:
            machine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj()
            position = 0
            while not machine.eof and position < len(rest):
                parts.append(machine.decompress(rest[position : position + _ZSTD_PIECE]))
                position += _ZSTD_PIECE
                held += len(parts[-1])
                if held > BODY_MAX_BYTES:
                    raise _too_large()
            if not machine.eof:
                raise ExchangeError(FailureKind.ENCODING, "the compressed body breaks off")
            rest = machine.unused_data + rest[position:]
    except zstandard.ZstdError as error:
        raise _broken("zstd", error) from error
    return b"".join(parts)


def _broken(coding: str, error: Exception) -> ExchangeError:
    return ExchangeError(FailureKind.ENCODING, f"the body is no {coding}: {error}")


def _too_large() -> ExchangeError:
    return ExchangeError(FailureKind.TOO_LARGE, f"the body unfolds to more than {BODY_MAX_BYTES >> 20} MiB")


_DECODERS: Final[dict[str, Callable[[bytes], bytes]]] = {"gzip": _gzip, "deflate": _deflate, "br": _br, "zstd": _zstd}
