import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.engine.http.bodies import BODY_MAX_BYTES
from loadstone_runner.engine.http.encodings import codings_of, decoded, require
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind

ALL = ("gzip", "deflate", "br", "zstd")


def raw_deflate(body: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(body) + machine.flush()


WRITERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@given(st.binary(max_size=5_000), st.lists(st.sampled_from(ALL), max_size=3))
def test_what_was_coded_comes_back(body: bytes, codings: list[str]) -> None:
    coded = body
    for each in codings:
        coded = WRITERS[each](coded)

    assert decoded(coded, codings, ALL) == body


@given(st.binary(min_size=1, max_size=2_000), st.sampled_from(ALL), st.data())
def test_a_coded_body_that_breaks_off_is_a_failure_at_every_byte(body: bytes, coding: str, data) -> None:
    coded = WRITERS[coding](body)
    cut = data.draw(st.integers(min_value=1, max_value=len(coded) - 1))

    with pytest.raises(ExchangeError) as raised:
        decoded(coded[:cut], [coding], ALL)
    assert raised.value.kind is FailureKind.ENCODING


@given(st.binary(min_size=1, max_size=300), st.sampled_from(ALL))
def test_garbage_is_a_named_failure_or_a_body(body: bytes, coding: str) -> None:
    try:
        kind = None if decoded(body, [coding], ALL) is not None else "none"
    except ExchangeError as error:
        kind = error.kind

    assert kind in {None, FailureKind.ENCODING, FailureKind.TOO_LARGE}


@pytest.mark.parametrize("coding", ALL)
def test_a_bomb_is_stopped_at_the_bound(coding) -> None:
    bomb = WRITERS[coding](bytes(BODY_MAX_BYTES + 1))
    assert len(bomb) < 100_000

    with pytest.raises(ExchangeError) as raised:
        decoded(bomb, [coding], ALL)
    assert raised.value.kind is FailureKind.TOO_LARGE


def test_members_frames_padding_and_the_bare_stream_are_read_as_everybody_does() -> None:
    assert decoded(gzip.compress(b"one") + gzip.compress(b"two") + b"\0\0", ["gzip"], ALL) == b"onetwo"
    assert decoded(WRITERS["zstd"](b"one") + WRITERS["zstd"](b"two"), ["zstd"], ALL) == b"onetwo"
    assert decoded(raw_deflate(b"bare"), ["deflate"], ALL) == b"bare"
    assert decoded(b"", ["gzip"], ALL) == b""


@pytest.mark.parametrize("codings", [["br"], ["lzma"], ["gzip"] * 6])
def test_a_coding_that_nobody_asked_for_is_a_failure(codings) -> None:
    with pytest.raises(ExchangeError) as raised:
        decoded(b"x", codings, ("gzip",))
    assert raised.value.kind is FailureKind.ENCODING


def test_the_codings_of_a_head_are_those_of_its_lines_in_order() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: X-GZIP, identity\r\nX: y\r\nContent-Encoding: br"

    assert codings_of(head) == ["gzip", "br"]
    assert codings_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked") == []


def test_a_missing_library_is_said_with_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    require(("gzip", "deflate"))
    with pytest.raises(ValueError, match=r"'br' needs the package brotli: pip install 'loadstone\[http\]'"):
        require(("br",))
