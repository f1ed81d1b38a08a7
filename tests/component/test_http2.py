"""HTTP/2 of the engine's client against a server of the h2 library: over TLS, by prior knowledge, and its fallback."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
from tests.component.hostile import OK, Authority, Peer, always, server_context

from loadstone_core.stats.stream import Counters
from loadstone_runner.engine.http.pool import IDLE_MAX


class Http2Peer:
    """A server's end of an HTTP/2 connection; `answer` is called for each whole request."""

    def __init__(
        self, peer: Peer, answer: Callable[["Http2Peer", int, dict[str, str], bytes], None], **settings
    ) -> None:
        self.peer = peer
        self.answer = answer
        self.machine = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        )
        self.machine.initiate_connection()
        codes = h2.settings.SettingCodes
        self.machine.update_settings({codes[name]: value for name, value in settings.items()})
        self.heads: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.resets: list[int] = []
        self.owed: dict[int, bytes] = {}

    def serve(self) -> None:
        self.flush()
        while True:
            received = self.peer.connection.recv(65_536)
            if not received:
                return
            for event in self.machine.receive_data(received):
                self.take(event)
            self.pay()
            self.flush()

    def take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self.heads[event.stream_id] = dict(event.headers)
                self.bodies[event.stream_id] = b""
            case h2.events.DataReceived():
                self.bodies[event.stream_id] += event.data
                self.machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamReset():
                self.resets.append(event.stream_id)
                self.owed.pop(event.stream_id, None)
            case h2.events.StreamEnded():
                number = event.stream_id
                self.peer.server.requests.append(repr(self.heads[number]).encode() + self.bodies[number])
                self.answer(self, number, self.heads[number], self.bodies[number])

    def send(self, number: int, status: int, body: bytes = b"", **headers: str) -> None:
        self.machine.send_headers(number, [(":status", str(status)), *headers.items()], end_stream=not body)
        if body:
            self.owed[number] = body
            self.pay()

    def pay(self) -> None:
        """Send of the bodies what the windows allow."""
        for number, body in list(self.owed.items()):
            done = 0
            while done < len(body) and (room := self.machine.local_flow_control_window(number)):
                part = body[done : done + min(room, self.machine.max_outbound_frame_size)]
                done += len(part)
                self.machine.send_data(number, part, end_stream=done == len(body))
            self.owed[number] = body[done:]
            if done == len(body):
                del self.owed[number]

    def flush(self) -> None:
        self.peer.send(self.machine.data_to_send())


Answer = Callable[[Http2Peer, int, dict[str, str], bytes], None]


def speaks(answer: Answer, **settings: int) -> Callable[[Peer, int], None]:
    return lambda peer, _number: Http2Peer(peer, answer, **settings).serve()


def hello(peer: Http2Peer, number: int, _head: dict[str, str], _body: bytes) -> None:
    peer.send(number, 200, b"hello", server="h2 of a test")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Authority(tmp_path_factory.mktemp("tls")).issue("server", "IP:127.0.0.1")


def test_one_connection_carries_all_requests_of_a_user(bench, serve) -> None:
    server = serve(speaks(hello))
    client = bench.client(server.url, http2=True)

    replies = [client.get("/?x=1", headers={"X-Own": "Yes"}) for _ in range(10)]

    assert {(each.status, each.body, each.error, each.headers["Server"]) for each in replies} == {
        (200, b"hello", None, "h2 of a test")
    }
    assert server.connections == 1
    assert bench.counters == Counters(started=10, completed=10)
    assert bench.counts().items() >= {"latency": 10, "first_byte": 10, "body": 10, "connect": 1, "dns": 1}.items()
    assert bench.outcomes()["bytes_sent"] > 0 < bench.outcomes()["bytes_received"]
    head = server.requests[0].decode()
    assert f"':authority': '127.0.0.1:{server.port}'" in head
    assert "':path': '/?x=1'" in head
    assert "'x-own': 'Yes'" in head
    assert "'user-agent': 'loadstone'" in head


def test_over_tls_the_server_chooses_and_an_old_one_gets_http1(bench, serve, certificate) -> None:
    new, old = server_context(certificate), server_context(certificate)
    new.set_alpn_protocols(["h2", "http/1.1"])
    old.set_alpn_protocols(["http/1.1"])
    servers = [serve(speaks(hello), new), serve(always(OK), old), serve(always(OK), server_context(certificate))]

    for server in servers:
        client = bench.client(server.url, http2=True, verify=False)
        assert [client.get("/").body for _ in range(3)] == [b"hello"] * 3
        assert server.connections == 1

    assert b":authority" in servers[0].requests[0]
    assert servers[1].requests[0].startswith(b"GET / HTTP/1.1\r\n")
    assert bench.counts()["tls"] == 3


def test_requests_at_the_same_time_share_a_connection(bench, serve) -> None:
    waiting: list[int] = []

    def answer(peer: Http2Peer, number: int, _head: dict[str, str], _body: bytes) -> None:
        waiting.append(number)
        if len(waiting) == 5:
            for each in reversed(waiting):
                peer.send(each, 200, b"%d" % each)

    server = serve(speaks(answer))
    client = bench.client(server.url, http2=True)

    requests = [gevent.spawn(client.get, "/") for _ in range(5)]
    gevent.joinall(requests, timeout=5)

    assert sorted(int(each.value.body) for each in requests) == [1, 3, 5, 7, 9]
    assert server.connections == 1


def test_a_server_that_takes_few_streams_at_a_time_gets_no_more(bench, serve) -> None:
    most: list[int] = []

    def answer(peer: Http2Peer, number: int, _head: dict[str, str], _body: bytes) -> None:
        most.append(peer.machine.open_inbound_streams)
        peer.send(number, 200, b"x")

    client = bench.client(serve(speaks(answer, MAX_CONCURRENT_STREAMS=2)).url, http2=True)
    assert client.get("/").ok

    requests = [gevent.spawn(client.get, "/") for _ in range(20)]
    gevent.joinall(requests, timeout=5)

    assert all(each.value.ok for each in requests)
    assert max(most) <= 2


def test_long_bodies_go_both_ways_through_small_windows(bench, serve) -> None:
    def echo(peer: Http2Peer, number: int, _head: dict[str, str], body: bytes) -> None:
        peer.send(number, 200, body)

    body = bytes(range(256)) * 12_000
    client = bench.client(serve(speaks(echo)).url, http2=True)

    assert client.post("/", data=body).body == body
    assert client.post("/", data=(body[:100_000] for _ in range(3))).body == body[:100_000] * 3
    assert client.get("/").body == b""
    assert bench.counters == Counters(started=3, completed=3)


def test_redirects_cookies_and_codings_work_as_ever(bench, serve) -> None:
    import gzip

    def answer(peer: Http2Peer, number: int, head: dict[str, str], _body: bytes) -> None:
        if head[":path"] == "/old":
            peer.send(number, 302, **{"location": "/new", "set-cookie": "a=1; Path=/"})
        else:
            peer.send(number, 200, gzip.compress(head["cookie"].encode()), **{"content-encoding": "gzip"})

    client = bench.client(serve(speaks(answer)).url, http2=True, cookies="user", encodings=("gzip",))

    assert client.get("/old").body == b"a=1"
    assert bench.counters.completed == 2


def reset(code: int) -> Answer:
    return lambda peer, number, _head, _body: peer.machine.reset_stream(number, code)


def hang_up(peer: Http2Peer, _number: int, _head: dict[str, str], _body: bytes) -> None:
    peer.peer.connection.close()


def half(peer: Http2Peer, number: int, _head: dict[str, str], _body: bytes) -> None:
    peer.machine.send_headers(number, [(":status", "200")])
    peer.machine.send_data(number, b"half")


def nothing(_peer: Http2Peer, _number: int, _head: dict[str, str], _body: bytes) -> None:
    pass


def endless(peer: Http2Peer, number: int, _head: dict[str, str], _body: bytes) -> None:
    peer.send(number, 200, bytes(65 * 1024 * 1024))


def long_head(peer: Http2Peer, number: int, _head: dict[str, str], _body: bytes) -> None:
    peer.machine.send_headers(number, [(":status", "200"), *(("x-filler", "x" * 10_000) for _ in range(10))])


def wrong_length(peer: Http2Peer, number: int, _head: dict[str, str], _body: bytes) -> None:
    peer.send(number, 200, b"hello", **{"content-length": "4"})


@pytest.mark.parametrize(
    ("behave", "options", "error"),
    [
        (speaks(reset(h2.errors.ErrorCodes.INTERNAL_ERROR)), {}, "reset"),
        (speaks(reset(0xABCDEF)), {}, "reset"),
        (speaks(hang_up), {}, "reset"),
        (speaks(half), {"timeout": 0.3}, "timeout"),
        (speaks(nothing), {"timeout": 0.3}, "timeout"),
        (speaks(nothing), {"first_byte_timeout": 0.3}, "first byte timeout"),
        (speaks(endless), {}, "too large"),
        (speaks(long_head), {}, "protocol"),
        (speaks(wrong_length), {}, "protocol"),
        (lambda peer, _number: peer.send(OK) or time.sleep(0.5), {}, "protocol"),
        (lambda _peer, _number: time.sleep(2), {"timeout": 0.3}, "timeout"),
        (lambda peer, _number: peer.more(), {}, "reset"),
    ],
)
def test_whatever_goes_wrong_is_a_named_failure_that_is_counted_once(bench, serve, behave, options, error) -> None:
    client = bench.client(serve(behave).url, http2=True, **options)

    reply = client.get("/")

    assert (reply.status, reply.error) == (0, error)
    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)
    assert bench.client(serve(speaks(hello)).url, http2=True).get("/").ok


def test_a_server_that_hangs_up_while_it_takes_nothing_of_a_long_body_ends_the_request(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        server = Http2Peer(peer, nothing, INITIAL_WINDOW_SIZE=1 << 30)
        server.machine.increment_flow_control_window(1 << 30)
        server.flush()
        time.sleep(1)
        peer.connection.shutdown(socket.SHUT_WR)
        time.sleep(3)

    client = bench.client(serve(behave).url, http2=True)
    job = gevent.spawn(client.post, "/", data=bytes(50_000_000), timeout=30)
    job.join(3)

    assert job.ready()
    assert (job.value.error, bench.errors) == ("reset", {"reset": 1})


def test_one_stream_that_fails_leaves_the_others_and_its_connection_alone(bench, serve) -> None:
    def answer(peer: Http2Peer, number: int, head: dict[str, str], _body: bytes) -> None:
        if head[":path"] == "/slow":
            return
        peer.send(number, 200, b"fast")

    server = serve(speaks(answer))
    client = bench.client(server.url, http2=True)

    slow = gevent.spawn(client.get, "/slow", timeout=0.2)
    gevent.sleep(0.05)
    assert client.get("/fast").ok
    slow.join()
    assert slow.value.error == "timeout"
    assert client.get("/fast").ok
    assert server.connections == 1


@pytest.mark.parametrize("how", ["refused stream", "goodbye"])
def test_what_the_server_has_not_touched_goes_over_a_fresh_connection_once(bench, serve, how) -> None:
    connections: list[int] = []

    def behave(peer: Peer, number: int) -> None:
        seen: list[int] = []

        def answer(http2: Http2Peer, stream: int, _head: dict[str, str], _body: bytes) -> None:
            seen.append(stream)
            if number == 0 and len(seen) == 2:
                if how == "goodbye":
                    http2.machine.close_connection(last_stream_id=1)
                else:
                    http2.machine.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
                    http2.machine.close_connection(last_stream_id=stream)
                return
            http2.send(stream, 200, b"hello")

        connections.append(number)
        Http2Peer(peer, answer).serve()

    client = bench.client(serve(behave).url, http2=True)

    assert [client.get("/").error for _ in range(3)] == [None] * 3
    assert connections == [0, 1]
    assert bench.counters == Counters(started=3, completed=3)


def test_a_connection_closed_while_idle_is_not_used_again(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        def answer(http2: Http2Peer, number: int, _head: dict[str, str], _body: bytes) -> None:
            http2.send(number, 200, b"hello")
            http2.flush()
            peer.connection.close()

        Http2Peer(peer, answer).serve()

    server = serve(behave)
    client = bench.client(server.url, http2=True)

    for _ in range(3):
        assert client.get("/").ok
        gevent.sleep(0.1)

    assert server.connections == 3


def test_a_user_keeps_no_more_connections_than_with_http1(bench, serve) -> None:
    servers = [serve(speaks(hello)) for _ in range(IDLE_MAX + 2)]
    client = bench.client(servers[0].url, http2=True)

    for server in (*servers, servers[-1], servers[0]):
        assert client.get(server.url).body == b"hello"

    assert [server.connections for server in servers] == [2] + [1] * (IDLE_MAX + 1)


def test_a_killed_request_tells_the_server_and_its_connection_lives_on(bench, serve) -> None:
    peers: list[Http2Peer] = []

    def answer(peer: Http2Peer, number: int, head: dict[str, str], _body: bytes) -> None:
        peers.append(peer)
        if head[":path"] == "/quick":
            peer.send(number, 200, b"x")

    server = serve(speaks(answer))
    client = bench.client(server.url, http2=True)
    greenlet = gevent.spawn(client.get, "/")
    gevent.sleep(0.1)
    greenlet.kill()

    assert client.get("/quick").ok
    assert peers[0].resets == [1]
    assert server.connections == 1
    assert bench.errors == {"interrupted": 1}


def test_streams_and_proxied_requests_speak_http1(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(server.url, http2=True)
    proxied = bench.client("http://shop.test", http2=True, proxy=server.url)

    with client.stream("GET", "/") as reply:
        assert reply.read() == b"hello"
    assert proxied.get("/").ok
    assert server.requests[1].startswith(b"GET http://shop.test/ HTTP/1.1\r\n")


def test_a_missing_library_is_said_with_what_to_install(bench, monkeypatch) -> None:
    monkeypatch.setattr("loadstone_runner.engine.http.outfit.find_spec", lambda _name: None)

    with pytest.raises(ValueError, match=r"http2 needs the package h2: pip install 'loadstone\[http\]'"):
        bench.client("http://shop.test", http2=True)
