from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone_runner.engine.http.bodies import BODY_MAX_BYTES, ChunkedBody, PlainBody, body_of
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.head import CHUNKED, UNTIL_CLOSE


def chunked(parts, extension=b"", trailers=b"") -> bytes:
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts if part)
    return chunks + b"0\r\n" + trailers + b"\r\n"


def feed_cut(body, data: bytes, cuts) -> list[bool]:
    """Feed data in the pieces that the cuts make; return what each piece was answered."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [body.feed(data[left:right]) for left, right in pairwise(edges)]


cuts = some.lists(some.integers(0, 10_000), max_size=12)


@given(
    some.lists(some.binary(max_size=50), max_size=8),
    cuts,
    some.sampled_from([b"", b";a=b", b' ; q="x"', b" "]),
    some.sampled_from([b"", b"X: y\r\n", b"A: 1\r\nB: 2\r\n"]),
)
def test_a_chunked_body_is_its_chunks_however_they_are_cut(parts, cuts, extension, trailers) -> None:
    body = ChunkedBody()

    answers = feed_cut(body, chunked(parts, extension, trailers), cuts)

    assert answers == [False] * (len(answers) - 1) + [True]
    assert body.content() == b"".join(parts)
    assert not body.has_excess
    assert not body.ends_with_connection


@given(some.lists(some.binary(max_size=20), max_size=4), some.binary(min_size=1, max_size=5), cuts)
def test_what_comes_after_the_last_chunk_is_excess_and_no_body(parts, more, cuts) -> None:
    body = ChunkedBody()
    feed_cut(body, chunked(parts), cuts)

    body.feed(more)

    assert body.has_excess
    assert body.content() == b"".join(parts)


@given(some.binary(max_size=200), cuts)
def test_any_bytes_are_taken_or_refused_as_no_protocol(data, cuts) -> None:
    body = ChunkedBody()
    try:
        feed_cut(body, data, cuts)
    except ExchangeError as error:
        assert error.kind in {FailureKind.PROTOCOL, FailureKind.TOO_LARGE}  # noqa: PT017 both ways are right
    assert len(body.content()) <= len(data)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"5\r\nhelloX\r\n", FailureKind.PROTOCOL),
        (b"-5\r\nhello\r\n", FailureKind.PROTOCOL),
        (b"\r\nhello\r\n", FailureKind.PROTOCOL),
        (b"0x5\r\nhello\r\n", FailureKind.PROTOCOL),
        (b"5" * 2_000, FailureKind.PROTOCOL),
        (b"0\r\n" + b"X: y\r\n" * 5_000, FailureKind.PROTOCOL),
        (b"fffffff\r\n", FailureKind.TOO_LARGE),
        (b"fffffffffffffff\r\n", FailureKind.TOO_LARGE),
    ],
)
def test_broken_and_boundless_chunks_are_refused(data, kind) -> None:
    with pytest.raises(ExchangeError) as raised:
        ChunkedBody().feed(data)

    assert raised.value.kind is kind


@given(some.binary(min_size=1, max_size=100), some.binary(max_size=10), cuts)
def test_a_body_of_known_length_ends_there(content, more, cuts) -> None:
    body = PlainBody(len(content))

    answers = feed_cut(body, content, cuts)
    if more:
        body.feed(more)

    assert answers == [False] * (len(answers) - 1) + [True]
    assert body.content() == content
    assert body.has_excess == bool(more)


@given(some.binary(max_size=100), cuts)
def test_a_body_without_length_never_says_that_it_is_whole(content, cuts) -> None:
    body = body_of(UNTIL_CLOSE)

    assert not any(feed_cut(body, content, cuts))
    assert body.content() == content
    assert body.ends_with_connection


def test_a_body_beyond_the_limit_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ExchangeError) as raised:
        body_of(BODY_MAX_BYTES + 1)
    assert raised.value.kind is FailureKind.TOO_LARGE

    endless, piece = body_of(UNTIL_CLOSE), b"x" * (16 << 20)
    for _ in range(4):
        endless.feed(piece)
    with pytest.raises(ExchangeError, match="64 MiB"):
        endless.feed(b"x")


def test_the_length_decides_which_body_it_is() -> None:
    assert isinstance(body_of(CHUNKED), ChunkedBody)
    assert isinstance(body_of(3), PlainBody)
