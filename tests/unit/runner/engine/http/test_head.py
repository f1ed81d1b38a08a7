import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.head import CHUNKED, UNTIL_CLOSE, Head, read_head


@pytest.mark.parametrize(
    ("head", "read"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", Head(200, 5, keeps_alive=True)),
        (b"HTTP/1.1 200\r\ncontent-length:5 ", Head(200, 5, keeps_alive=True)),
        (b"HTTP/1.1 200 \r\nContent-Length: 5, 5", Head(200, 5, keeps_alive=True)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", Head(200, 5, keeps_alive=True)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close", Head(200, 5, keeps_alive=False)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Upgrade, CLOSE", Head(200, 5, keeps_alive=False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5", Head(200, 5, keeps_alive=False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive", Head(200, 5, keeps_alive=True)),
        (b"HTTP/1.1 200 OK", Head(200, UNTIL_CLOSE, keeps_alive=False)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Head(200, CHUNKED, keeps_alive=True)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", Head(200, CHUNKED, keeps_alive=True)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", Head(200, UNTIL_CLOSE, keeps_alive=False)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
            Head(200, CHUNKED, keeps_alive=False),
        ),
        (b"HTTP/1.1 204 No Content", Head(204, 0, keeps_alive=True)),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7", Head(304, 0, keeps_alive=True)),
        (b"HTTP/1.1 100 Continue", Head(100, 0, keeps_alive=True)),
        (b"HTTP/1.1 999 Odd\r\nContent-Length: 0", Head(999, 0, keeps_alive=True)),
    ],
)
def test_a_head_says_status_framing_and_whether_the_connection_lives_on(head, read) -> None:
    assert read_head(head) == read
    assert read_head(head) == read


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/2 200 OK",
        b"HTTP/1.2 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1  200 OK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5 6",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x5",
        b"HTTP/1.1 200 OK\r\nContent-Length:",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\n folded: yes",
        b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5",
        b"HTTP/1.1 200 OK\r\nA: \0",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(head) -> None:
    with pytest.raises(ExchangeError) as raised:
        read_head(head)

    assert raised.value.kind is FailureKind.PROTOCOL


@given(some.binary(max_size=200))
@example(b"HTTP/1.1 200 OK\r\n:")
def test_any_bytes_are_read_or_refused_and_never_anything_else(head) -> None:
    try:
        read = read_head(head)
    except ExchangeError as error:
        assert error.kind is FailureKind.PROTOCOL  # noqa: PT017 both ways are right, and only these
    else:
        assert 100 <= read.status <= 999
        assert read.length >= UNTIL_CLOSE


@given(some.integers(0, 10**18 - 1), some.integers(200, 999).filter(lambda status: status not in {204, 304}))
def test_a_length_is_what_it_says(length, status) -> None:
    assert read_head(b"HTTP/1.1 %d X\r\nContent-Length: %d" % (status, length)) == Head(
        status, length, keeps_alive=True
    )


def test_many_different_heads_do_not_fill_the_memory() -> None:
    from loadstone_runner.engine.http import head as module

    for number in range(3_000):
        read_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Request-Id: %d" % number)

    assert len(module._seen) <= 512
