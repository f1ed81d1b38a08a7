"""A deadline counts whatever the script and the server do until then: look away, or leave nobody time to wait."""

import socket
import time
from collections.abc import Iterator

import gevent
import pytest
from tests.component.hostile import Peer
from tests.component.test_conversations import accept
from tests.component.test_http2 import nothing, speaks

from loadstone_core.stats.stream import Counters
from loadstone_runner.engine.http.wire import Duplex, Wire


def begin_and_fall_silent(peer: Peer, _number: int) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
    time.sleep(3)


def flood(peer: Peer, piece: bytes) -> None:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        peer.send(piece)


def test_a_stream_that_stalls_after_its_deadline_ends_although_the_script_did_something_else_then(bench, serve) -> None:
    client = bench.client(serve(begin_and_fall_silent).url)

    with client.stream("GET", "/", timeout=0.3) as reply:
        gevent.sleep(0.6)
        reply.read()

    assert reply.error == "timeout"
    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)


def test_a_body_that_takes_longer_than_the_timeout_to_make_ends_its_request(bench, serve) -> None:
    def silent(peer: Peer, _number: int) -> None:
        peer.request()
        time.sleep(3)

    def body() -> Iterator[bytes]:
        yield b"a"
        gevent.sleep(0.6)
        yield b"b"

    reply = bench.client(serve(silent).url).post("/", data=body(), timeout=0.3)

    assert reply.error == "timeout"
    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)


def swallow(peer: Peer, _number: int) -> None:
    while True:
        peer.more()


@pytest.mark.parametrize(("behave", "http2"), [(swallow, False), (speaks(nothing), True)])
def test_a_body_that_is_made_without_end_ends_at_its_deadline_although_the_server_takes_all_of_it(
    bench, serve, behave, http2
) -> None:
    def body() -> Iterator[bytes]:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            yield b"a"
            gevent.sleep(0.05)

    client = bench.client(serve(behave).url, http2=http2)
    begin = time.monotonic()

    assert client.post("/", data=body(), timeout=0.3).error == "timeout"
    assert time.monotonic() - begin < 4
    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)


def test_a_server_that_never_pauses_cannot_outlast_a_deadline(bench, serve) -> None:
    def bytes_without_end(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        flood(peer, b"x" * 1_000_000)

    with bench.client(serve(bytes_without_end).url).stream("GET", "/", timeout=0.5) as reply:
        for _ in reply.iter_bytes():
            pass

    assert reply.error == "timeout"
    assert reply.elapsed < 4


def test_frames_without_a_message_do_not_keep_who_receives(bench, serve) -> None:
    def pongs_without_end(peer: Peer, _number: int) -> None:
        accept(peer)
        flood(peer, (b"\x8a\x7d" + b"x" * 125) * 1_000)

    chat = bench.client(serve(pongs_without_end).url).websocket("/")
    begin = time.monotonic()

    assert chat.receive(timeout=0.3) is None
    assert time.monotonic() - begin < 4
    assert chat.is_open


def test_who_only_looks_gets_what_is_there_each_time() -> None:
    near, far = socket.socketpair()
    near.settimeout(0)
    link = Duplex(Wire(near))
    with far:
        for number in range(40):
            far.sendall(b"%d" % number)
            assert link.receive(time.monotonic_ns()) == b"%d" % number
    link.close()
