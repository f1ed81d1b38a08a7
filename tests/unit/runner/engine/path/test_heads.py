"""What is read in C of a head is what `read_head` says of it; the rest is left to it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from loadstone_runner.engine.http.failures import ExchangeError
from loadstone_runner.engine.http.head import read_head

NGINX = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 03:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 11\r\nConnection: keep-alive"
)
STATUS_LINES = some.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 404",
        b"HTTP/1.1 204 ",
        b"HTTP/1.1 999 x",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 304 A",
    ]
)
LINES = some.sampled_from(
    [
        b"Content-Length: 5", b"content-length:\t5 ", b"CONTENT-LENGTH:", b"Content-Length: 5, 5",
        b"Content-Length: -1",
        b"Content-Length: 999999999999999999", b"Content-Length: 9999999999999999999", b"Content-Length: 0x5",
        b"Content-Length : 5", b"Transfer-Encoding: chunked", b"transfer-encoding: gzip", b"Connection: close",
        b"connection:Keep-Alive", b"Connection: upgrade, close", b"Connection: ", b"X-A: b\0c", b"X-A: b\rc",
        b"X-A: b\nc",
        b"X-A: \x7f\xff\x01", b": x", b"no colon", b" folded: x", b"x-content-le: 1", b"transfer_encoding: chunked",
        b"content\rlength: 5", b"\x43ontent\x0dlength: 5",
    ]
)  # fmt: skip
HEADS = some.builds(lambda first, rest: b"\r\n".join([first, *rest]), STATUS_LINES, some.lists(LINES, max_size=5))


@pytest.fixture(scope="session")
def regular_head(flavours):
    assert flavours["compiled"]
    from loadstone_runner.engine.path._compiled import regular_head

    return regular_head


def agrees(regular_head, head: bytes) -> bool:
    read = regular_head(head)
    if read is None:
        return True
    try:
        return read == tuple(read_head(head))
    except ExchangeError:
        return False


@given(head=HEADS)
@example(head=NGINX)
def test_a_regular_head_is_read_as_read_head_reads_it(regular_head, head) -> None:
    assert agrees(regular_head, head)


@given(head=some.binary(max_size=100))
def test_any_bytes_are_left_or_read_alike(regular_head, head) -> None:
    assert agrees(regular_head, head)


@given(place=some.integers(0, len(NGINX) - 1), byte=some.integers(0, 255), size=some.integers(0, len(NGINX)))
def test_one_wrong_byte_or_a_missing_end_never_makes_a_difference(regular_head, place, byte, size) -> None:
    assert agrees(regular_head, NGINX[:place] + bytes([byte]) + NGINX[place + 1 :])
    assert agrees(regular_head, NGINX[:size])


@pytest.mark.parametrize(
    ("head", "read"),
    [
        (NGINX, (200, 11, True)),
        (b"HTTP/1.1 204 No Content", (204, 0, True)),
        (b"HTTP/1.0 404 Not Found\r\ncontent-length:7", (404, 7, False)),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\nConnection: close", (200, 5, False)),
    ],
)
def test_what_servers_send_is_regular(regular_head, head, read) -> None:
    assert regular_head(head) == read
