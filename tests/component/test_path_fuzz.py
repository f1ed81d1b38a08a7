"""Hostile and odd answers, cut at any byte: both flavours say the same of them, and neither says anything but that."""

import _socket
import array
import fcntl
import itertools
import socket
import termios
import time
from types import ModuleType

import gevent
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from loadstone_runner.engine.http.failures import FailureKind

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
NGINX = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 03:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 11\r\nConnection: keep-alive\r\n\r\nhello world"
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES = some.binary(max_size=300) | some.sampled_from([b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 70_000])
NUMBERS = some.integers(-(10**20), 10**20).map(lambda number: b"%d" % number) | some.sampled_from(
    [b"", b"+5", b"0x10", b"5 5", b"5,5", b"5\0", b"\xb2", b"1" * 400]
)


def plain(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(parts: list[bytes]) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return CHUNKED + chunks + b"0\r\n\r\n"


VALID = some.one_of(
    BODIES.map(plain),
    BODIES.map(lambda body: b"HTTP/1.1 103 Early Hints\r\n\r\n" + plain(body)),
    BODIES.map(lambda body: b"HTTP/1.1 200 OK\r\n\r\n" + body),
    some.lists(BODIES, max_size=4).map(chunked),
    some.sampled_from([NGINX, b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n"]),
)
BROKEN = some.one_of(
    some.binary(max_size=200),
    NUMBERS.map(lambda number: b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\nhello" % number),
    NUMBERS.map(
        lambda number: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\nhello\r\n0\r\n\r\n" % number
    ),
    some.builds(lambda answer, at: answer[: at % (len(answer) + 1)], VALID, some.integers(0, 1 << 20)),
    some.builds(
        lambda answer, at, byte: answer[: at % len(answer)] + bytes([byte]) + answer[at % len(answer) + 1 :],
        VALID,
        some.integers(0, 1 << 20),
        some.integers(0, 255),
    ),
    some.builds(bytes.__add__, VALID, VALID),
    some.integers(60_000, 70_000).map(lambda size: b"HTTP/1.1 200 OK\r\nX: " + b"y" * size + b"\r\n\r\n"),
    some.integers(60_000, 70_000).map(lambda size: b"y" * size),
)
CUTS = some.lists(some.integers(0, 1 << 20), max_size=4)


def cut(answer: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(answer), *(each % (len(answer) + 1) for each in cuts)})
    return [answer[begin:end] for begin, end in itertools.pairwise(places)]


def unread(sock: socket.socket) -> int:
    held = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.FIONREAD, held)
    return held[0]


class Peer:
    """The far end of a connection: reads the request, sends the pieces one by one, and closes."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.near, self.far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        for each in (self.near, self.far):
            each.setblocking(False)  # noqa: FBT003 its only parameter
        self.pieces = pieces
        self.is_over = False
        self.greenlet = gevent.spawn(self.answer)

    def answer(self) -> None:
        while unread(self.far) < len(REQUEST):
            gevent.sleep(0)
        self.far.recv(len(REQUEST))  # what is left unread would make a reset of the end
        for piece in self.pieces:
            self.send(piece)
            # The next piece comes only when this one was read: both flavours read the same.
            while not self.is_over and unread(self.near):
                gevent.sleep(0)
        self.far.close()

    def send(self, piece: bytes) -> None:
        left = memoryview(piece)
        while left and not self.is_over:
            try:
                left = left[self.far.send(left) :]
            except BlockingIOError:
                gevent.sleep(0)

    def end(self) -> None:
        self.is_over = True
        self.greenlet.join()


def exchanged(path: ModuleType, pieces: list[bytes], *, is_head: bool, keeps_body: bool) -> tuple[object, ...]:
    """Return all that a connection says of an answer whose pieces come one by one, and then its end."""
    peer = Peer(pieces)
    channel = path.Channel(peer.near, None)
    deadline = time.monotonic_ns() + 20_000_000_000
    said = channel.exchange(REQUEST, is_head=is_head, deadline_ns=deadline, keeps_body=keeps_body)
    is_reusable = channel.is_reusable
    peer.end()
    channel.close()
    assert said.raised is None
    assert said.begin_ns <= said.first_byte_ns <= said.end_ns or not said.received
    failure = None if said.failure is None else (said.failure.kind, str(said.failure))
    return said.status, said.head, said.body, failure, said.sent, said.received, is_reusable


def compared(flavours, pieces: list[bytes], *, is_head: bool = False, keeps_body: bool = True) -> tuple[object, ...]:
    pure, compiled = (
        exchanged(flavours[name], pieces, is_head=is_head, keeps_body=keeps_body) for name in ("pure", "compiled")
    )
    assert compiled == pure
    return compiled


@settings(max_examples=300)
@given(answer=VALID, cuts=CUTS, is_head=some.booleans(), keeps_body=some.booleans())
@example(answer=NGINX, cuts=[], is_head=False, keeps_body=True)
@example(answer=NGINX, cuts=[50, 180], is_head=False, keeps_body=True)
def test_a_valid_answer_is_the_same_however_it_is_cut(flavours, answer, cuts, is_head, keeps_body) -> None:
    whole = compared(flavours, [answer], is_head=is_head, keeps_body=keeps_body)
    pieces = compared(flavours, cut(answer, cuts), is_head=is_head, keeps_body=keeps_body)

    assert whole[3] is None
    if not is_head:  # a body that a HEAD request did not ask for may still be under way
        assert pieces == whole


@settings(max_examples=500)
@given(answer=BROKEN, cuts=CUTS)
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n", cuts=[])
@example(answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", cuts=[])
@example(answer=b"HTTP/1.1 101 Switching Protocols\r\n\r\n", cuts=[])
@example(answer=b"", cuts=[])
def test_whatever_comes_has_the_same_name_in_both_flavours(flavours, answer, cuts) -> None:
    status, _, _, failure, *_ = compared(flavours, cut(answer, cuts))

    assert (status == 0) == (failure is not None)
    assert failure is None or failure[0] in set(FailureKind) - {FailureKind.INTERNAL}


@pytest.mark.parametrize("answer", [NGINX, chunked([b"hello", b"world"]), plain(b"x" * 100)])
def test_an_answer_may_be_cut_at_every_byte(flavours, answer) -> None:
    wanted = compared(flavours, [answer])
    for place in range(1, len(answer)):
        assert compared(flavours, [answer[:place], answer[place:]]) == wanted
    assert compared(flavours, [answer[place : place + 1] for place in range(len(answer))]) == wanted
