"""WebSocket and server-sent events of the engine's client, against servers that keep to the protocol and others."""

import struct
import time
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha1

import gevent
import pytest
from tests.component.hostile import OK, Authority, Peer, always, server_context
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage

from loadstone_core.stats.stream import Counters


def accept(peer: Peer, *headers: bytes) -> None:
    """Take one opening."""
    head = peer.request()
    key = next(line[19:] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
    accepted = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest())
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: WebSocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accepted,
        *headers,
    ]
    peer.send(b"\r\n".join([*lines, b"", b""]))


def frames(take: Callable[[Peer, Connection, object], None], *first: object) -> Callable[[Peer, int], None]:
    """Accept an opening, say the first frames, and hand each that comes to a function."""

    def behave(peer: Peer, _number: int) -> None:
        accept(peer)
        machine = Connection(ConnectionType.SERVER)
        for each in first:
            peer.send(machine.send(each))
        while received := peer.connection.recv(65_536):
            machine.receive_data(received)
            for event in machine.events():
                peer.server.requests.append(repr(event).encode())
                if isinstance(event, CloseConnection):
                    peer.send(machine.send(event.response()))
                    return
                take(peer, machine, event)

    return behave


def echo(peer: Peer, machine: Connection, event: object) -> None:
    if isinstance(event, Message):
        peer.send(machine.send(type(event)(data=event.data, message_finished=event.message_finished)))


def ignore(_peer: Peer, _machine: Connection, _event: object) -> None:
    pass


def test_messages_go_both_ways_and_what_answers_what_is_timed(bench, serve) -> None:
    server = serve(frames(echo))
    client = bench.client(server.url)

    with client.websocket("/chat?x=1", headers={"X-Own": "1"}) as chat:
        assert (chat.status, chat.is_open, chat.ok, chat.name) == (101, True, True, "/chat")
        assert chat.ask("hello") == "hello"
        assert chat.ask(b"\x00\xff", name="binary") == b"\x00\xff"
        assert chat.send("ü" * 100_000)
        assert chat.receive(timeout=float("inf")) == "ü" * 100_000

    assert (chat.is_open, chat.ok, chat.send("late"), chat.receive()) == (False, True, False, None)
    assert bench.counters == Counters(started=1, completed=1)
    counts = bench.counts("/chat")
    assert counts["messages_sent"] == counts["messages_received"] == 3
    assert (counts["message_latency"], bench.counts("binary")) == (1, {"message_latency": 1})
    assert counts["latency"] == counts["connect"] == 1
    assert bench.outcomes("/chat")["bytes_sent"] == len(server.requests[0])
    assert b"GET /chat?x=1 HTTP/1.1" in server.requests[0]
    assert b"X-Own: 1" in server.requests[0]
    assert any(b"CloseConnection(" in each and b"1000" in each for each in server.requests)


def test_it_works_over_tls_with_a_subprotocol_and_from_a_ws_url(bench, serve, tmp_path) -> None:
    certificate = Authority(tmp_path).issue("server", "IP:127.0.0.1")

    def behave(peer: Peer, _number: int) -> None:
        accept(peer, b"Sec-WebSocket-Protocol: two")
        peer.send(b"\x81\x02hi")
        time.sleep(0.5)

    server = serve(behave, server_context(certificate))
    client = bench.client("", verify=False)
    with client.websocket(f"wss://127.0.0.1:{server.port}/", subprotocols=("one", "two")) as chat:
        assert (chat.subprotocol, chat.receive()) == ("two", "hi")
    client.websocket(f"wss://127.0.0.1:{server.port}/", subprotocols="two").close()
    assert b"Sec-WebSocket-Protocol: one, two\r\n" in server.requests[0]
    assert b"Sec-WebSocket-Protocol: two\r\n" in server.requests[1]


def test_frames_that_come_with_the_opening_are_not_lost_and_pings_are_answered(bench, serve) -> None:
    server = serve(frames(ignore, Ping(b"are you there"), TextMessage("first"), BytesMessage(b"second")))

    with bench.client(server.url).websocket("/") as chat:
        assert [chat.receive(), chat.receive()] == ["first", b"second"]
        assert chat.receive(timeout=0.05) is None
        assert chat.is_open

    assert any(b"Pong" in each and b"are you there" in each for each in server.requests)
    assert bench.errors == {}


def test_one_greenlet_receives_while_another_sends(bench, serve) -> None:
    with bench.client(serve(frames(echo)).url).websocket("/") as chat:
        received: list[str | bytes] = []
        reader = gevent.spawn(lambda: received.extend(chat))
        for number in range(50):
            assert chat.send(str(number))
            gevent.sleep(0.001)
        gevent.sleep(0.2)
        chat.close()
        reader.join(2)

    assert reader.ready()
    assert received[:50] == [str(number) for number in range(50)]


@pytest.mark.parametrize(
    ("goodbye", "code"),
    [
        (b"\x88\x02" + struct.pack(">H", 1000), 1000),
        (b"\x88\x02" + struct.pack(">H", 1001), 1001),
        (b"\x88\x00", 1005),
    ],
)
def test_a_server_that_closes_in_peace_is_no_failure_unless_an_answer_was_wanted(bench, serve, goodbye, code) -> None:
    def behave(peer: Peer, _number: int) -> None:
        accept(peer)
        peer.send(b"\x81\x02hi" + goodbye)
        peer.more()

    client = bench.client(serve(behave).url)
    with client.websocket("/") as chat:
        assert list(chat) == ["hi"]
        assert (chat.close_code, chat.ok) == (code, True)
    with client.websocket("/") as chat:
        assert chat.receive() == "hi"
        assert chat.ask("and now?") is None
        assert chat.error == "closed"

    assert bench.errors == {"closed": 1}


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"\x88\x02" + struct.pack(">H", 1011), "closed"),
        (b"", "closed"),
        (b"\x81\x02\xff\xff", "protocol"),
        (b"\xf1\x00", "protocol"),
        (b"\x81\x82\0\0\0\0hi", "protocol"),
        (b"\x82\x7f" + struct.pack(">Q", 1 << 62), "too large"),
        (None, "timeout"),
    ],
)
def test_whatever_goes_wrong_after_the_opening_is_a_named_error_and_nobody_raises(bench, serve, said, error) -> None:
    def behave(peer: Peer, _number: int) -> None:
        accept(peer)
        if said is None:
            time.sleep(1)
        elif not said:
            peer.more()  # what is left unread would make a reset of the closing
        else:
            peer.send(said)
            while error == "too large":
                peer.send(bytes(1024 * 1024))
            time.sleep(0.2)

    with bench.client(serve(behave).url).websocket("/", timeout=5 if error == "too large" else 0.4) as chat:
        assert chat.ask("hello") is None
        assert (chat.error, chat.ok) == (error, False)
        chat.send("once more")

    assert bench.errors == {error: 1}
    assert bench.counters == Counters(started=1, completed=1)


@pytest.mark.parametrize(
    ("answer", "error", "status"),
    [
        (OK, "status 200", 200),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "status 403", 403),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n", "protocol", 101),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", "protocol", 101),
        (b"", "reset", 0),
    ],
)
def test_an_opening_that_fails_is_a_failed_request(bench, serve, answer, error, status) -> None:
    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(answer)

    with bench.client(serve(behave).url).websocket("/") as chat:
        assert (chat.is_open, chat.status, chat.error) == (False, status, error)
        assert (chat.send("x"), chat.ask("x"), list(chat)) == (False, None, [])

    assert bench.errors == {error: 1}
    assert bench.counters == Counters(started=1, completed=1, ambiguous=int(not status))
    assert bench.outcomes()["failed"] == 1
    assert bench.client("http://127.0.0.1:1").websocket("/").error == "refused"


def test_a_websocket_lives_as_long_as_its_user_and_no_longer(bench, serve) -> None:
    server = serve(frames(echo))
    client = bench.client(server.url)

    chat = client.websocket("/")
    client.settle()
    assert chat.ask("still there?") == "still there?"
    client.close()
    assert not chat.is_open


def test_a_killed_user_is_not_held_up_by_a_goodbye(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        accept(peer)
        time.sleep(3)

    client = bench.client(serve(behave).url)

    def live() -> None:
        with client.websocket("/") as chat:
            chat.receive()

    greenlet = gevent.spawn(live)
    gevent.sleep(0.2)
    begin = time.monotonic()
    greenlet.kill()
    assert time.monotonic() - begin < 0.5


def events(*pieces: bytes, kind: bytes = b"text/event-stream; charset=utf-8") -> Callable[[Peer, int], None]:
    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        for each in pieces:
            peer.send(b"%x\r\n%b\r\n" % (len(each), each))
            time.sleep(0.02)
        peer.send(b"0\r\n\r\n")

    return behave


def test_events_are_counted_as_they_come(bench, serve) -> None:
    server = serve(events(b"data: one\n\nda", b"ta: two\nid: 7\n", b"\nevent: end\ndata: three\n\n"))

    with bench.client(server.url).server_events("/news") as news:
        assert bench.counters == Counters(started=1, completed=1)
        found = [(event.event, event.data, event.id) for event in news]

    assert found == [("message", "one", ""), ("message", "two", "7"), ("end", "three", "7")]
    assert news.ok
    assert bench.counts("/news").items() >= {"latency": 1, "messages_received": 3}.items()
    assert b"\r\nAccept: text/event-stream\r\n" in server.requests[0]


def test_waiting_for_an_event_in_vain_is_no_failure_and_loses_nothing(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n")
        time.sleep(0.4)
        peer.send(b"\n")

    with bench.client(serve(behave).url).server_events("/") as news:
        assert news.receive(timeout=0.05) is None
        assert news.receive(timeout=float("inf")).data == "a"
        assert news.receive() is None
    assert bench.errors == {}


def test_what_is_no_event_stream_or_breaks_off_is_a_named_error(bench, serve) -> None:
    def broken(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99\r\n\r\ndata: a\n\n")

    with bench.client(serve(broken).url).server_events("/") as news:
        assert [each.data for each in news] == ["a"]
        assert news.error == "truncated"
    assert bench.client(serve(always(OK)).url).server_events("/").error == "protocol"
    assert bench.client(serve(events(b"", kind=b"text/plain")).url).server_events("/").error == "protocol"
    assert bench.client("http://127.0.0.1:1").server_events("/").receive() is None

    assert bench.errors == {"truncated": 1, "protocol": 2, "refused": 1}
    assert bench.counters == Counters(started=4, completed=4, unsent=1)


def test_a_missing_library_is_said_with_what_to_install(bench, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(ValueError, match=r"needs the package wsproto: pip install 'loadstone\[http\]'"):
        bench.client("http://shop.test").websocket("/")


def test_pongs_and_empty_messages_are_taken(bench, serve) -> None:
    server = serve(frames(ignore, Pong(b"x"), TextMessage(""), BytesMessage(b"")))

    with bench.client(server.url).websocket("/") as chat:
        assert [chat.receive(), chat.receive()] == ["", b""]
