"""WebSocket and server-sent events that one greenlet closes while another one receives or sends."""

import time

import gevent
import pytest
from tests.component.hostile import Peer
from tests.component.test_conversations import accept, frames, ignore


def test_who_receives_hears_that_another_greenlet_has_closed_the_connection(bench, serve) -> None:
    def speak_once(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n")
        time.sleep(3)

    def deaf(peer: Peer, _number: int) -> None:
        accept(peer)
        time.sleep(3)

    chat, other = bench.client(serve(frames(ignore)).url).websocket("/"), bench.client(serve(deaf).url)
    news, left = bench.client(serve(speak_once).url).server_events("/"), other.websocket("/")
    readers = [gevent.spawn(list, each) for each in (chat, news, left)]
    readers.append(gevent.spawn(lambda: chat.receive(timeout=60)))
    gevent.sleep(0.1)
    chat.close()
    news.close()
    other.close()
    gevent.joinall(readers, timeout=2)

    assert [each.ready() for each in readers] == [True] * 4
    assert [each.data for each in readers[1].value] == ["a"]
    assert bench.errors == {}
    with pytest.raises(RuntimeError, match="for one greenlet at a time"):
        readers[3].get()


def test_who_receives_while_it_is_open_lets_another_greenlet_wait_for_the_goodbye(bench, serve) -> None:
    def silent(peer: Peer, _number: int) -> None:
        accept(peer)
        peer.send(b"\x81\x02hi")
        time.sleep(3)

    chat = bench.client(serve(silent).url).websocket("/")
    looks = 0

    def read() -> None:
        nonlocal looks
        while chat.is_open and looks < 1_000:
            looks += 1
            if chat.receive() is not None:
                gevent.sleep(0.1)

    reader = gevent.spawn(read)
    gevent.sleep(0.05)
    chat.close()
    reader.join(2)

    assert (reader.ready(), looks) == (True, 1)


def test_a_connection_whose_server_never_pauses_is_closed_by_another_greenlet_in_peace(bench, serve) -> None:
    def chatter(peer: Peer, _number: int) -> None:
        accept(peer)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            peer.send(b"\x82\x7e\xff\xff" + bytes(65_535))

    def news(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        until = time.monotonic() + 5
        while time.monotonic() < until:
            peer.send(b"data: " + b"x" * 65_000 + b"\n\n")

    for open_one in (
        lambda: bench.client(serve(chatter).url).websocket("/"),
        lambda: bench.client(serve(news).url).server_events("/"),
    ):
        with open_one() as link:
            reader = gevent.spawn(lambda link=link: [None for _ in link])
            gevent.sleep(0.2)
        reader.get(timeout=3)

        assert link.ok
    assert bench.errors == {}


def test_who_sends_over_a_connection_that_another_greenlet_leaves_is_told_so_and_nothing_has_failed(
    bench, serve
) -> None:
    def deaf(peer: Peer, _number: int) -> None:
        accept(peer)
        time.sleep(3)

    chat = bench.client(serve(deaf).url).websocket("/")
    senders = [gevent.spawn(chat.send, bytes(20_000_000)) for _ in range(2)]
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.3), chat:
        gevent.sleep(5)
    gevent.joinall(senders, timeout=2)

    assert [each.value for each in senders] == [False, False]
    assert (chat.error, bench.errors) == (None, {})
