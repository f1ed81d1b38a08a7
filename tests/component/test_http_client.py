"""What the engine's HTTP client sends, reads and counts of plain requests: on loopback, over real sockets."""

import time
from enum import StrEnum
from http import HTTPMethod

import gevent
import pytest
from tests.component.hostile import OK, Peer, always, once

from loadstone_core.stats.stream import Counters


def test_one_connection_carries_all_requests_of_a_user(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(server.url)

    replies = [client.get("/") for _ in range(20)]

    assert server.connections == 1
    assert len(server.requests) == bench.counters.completed == bench.counters.started == 20
    assert {(reply.status, reply.body, reply.ok, reply.error) for reply in replies} == {(200, b"hello", True, None)}
    assert bench.outcomes() == {
        "count": 20,
        "bytes_sent": 20 * len(server.requests[0]),
        "bytes_received": 20 * len(OK),
    }


def test_requests_in_a_block_with_a_name_have_that_one_unless_they_have_their_own(bench, serve) -> None:
    client = bench.client(serve(always(OK)).url)

    client.get("/")
    with client.rename("block"):
        client.get("/")
        client.get("/", name="own")
        client.post("/")
        with client.rename("inner"):
            client.get("/")
        client.get("/")
        with client.stream("GET", "/") as reply:
            assert b"".join(reply.iter_bytes()) == b"hello"
    client.get("/")

    counts = {each.key[2:4]: each.count for each in bench.instruments.recorder.whole() if each.key.metric == "latency"}
    named = {("GET", "block"): 3, ("POST", "block"): 1, ("GET", "own"): 1, ("GET", "inner"): 1}
    assert counts == {("GET", "/"): 2, **named}


def test_methods_and_names_may_be_members_of_an_enumeration(bench, serve) -> None:
    class Name(StrEnum):
        CART = "cart"

    client = bench.client(serve(always(OK)).url)

    for _ in range(2):
        assert client.request(HTTPMethod.GET, "/", name=Name.CART).ok
        assert client.request(HTTPMethod.POST, "/", name=Name.CART, json={}).ok
    with client.stream(HTTPMethod.GET, "/", name=Name.CART) as reply:
        reply.read()
    for _ in range(2):
        bench.instruments.check(Name.CART, ok=True, labels={})
        bench.instruments.check(Name.CART, ok=True, labels={"kind": "new"})

    assert bench.counters == Counters(started=5, completed=5)
    assert {type(part) for each in bench.instruments.recorder.whole() for part in each.key[1:4]} == {str}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_stream_without_a_body_has_ended_with_its_head_whatever_the_script_does_then(bench, serve, method) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (5 if method == "HEAD" else 0)
    client = bench.client(serve(always(head)).url)

    with client.stream(method, "/") as reply:
        gevent.sleep(0.5)

    assert (reply.error, reply.elapsed < 0.5) == (None, True)


def test_a_usual_method_is_sent_in_capitals_and_another_one_as_it_is(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(server.url)

    for _ in range(2):
        client.request("get", "/")
    client.request("post", "/", params={"a": 1})
    client.request("report", "/")

    sent = [each.split(b" ")[0] for each in server.requests]
    assert sent == [b"GET", b"GET", b"POST", b"report"]
    assert b"Content-Length: 0\r\n" in server.requests[2]
    assert {each.key.method for each in bench.instruments.recorder.whole()} == {"GET", "POST", "report"}


def test_a_late_start_counts_for_the_request_that_was_asked_first_and_for_no_other(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        while head := peer.request():
            time.sleep(0.2 if b"/slow" in head else 0)
            peer.send(OK.replace(b"200", b"404" if b"/missing" in head else b"200"))

    client = bench.client(serve(behave).url)
    for late_ns in (0, 0, 10**12):
        client.start_delay_ns = late_ns
        gevent.joinall([gevent.spawn(client.get, path) for path in ("/slow", "/fast")])
    client.start_delay_ns = 10**12
    for path in ("/missing", "/fast"):
        client.get(path)

    whole = bench.instruments.recorder.whole()
    longest = {each.key.name: each.maximum for each in whole if each.key.metric == "latency"}
    assert {name: took_ns > 10**12 for name, took_ns in longest.items()} == {
        "/slow": True,
        "/fast": False,
        "/missing": True,
    }


def test_who_listens_hears_of_each_request_also_over_a_connection_that_was_kept(bench, serve) -> None:
    client = bench.client(serve(always(OK)).url)
    heard: list[tuple] = []

    for _ in range(2):
        client.get("/")
    bench.instruments.on_request = lambda *told: heard.append(told)
    client.get("/", name="front page")
    client.get("/", context={"row": 7})
    with client.stream("GET", "/", context={"row": 8}) as reply:
        assert b"".join(reply.iter_bytes()) == b"hello"
    bench.instruments.on_request = None
    client.get("/")

    assert [(told[1], told[3:7], dict(told[7])) for told in heard] == [
        ("front page", (len(OK), None, 200, f"{client._target}/"), {}),
        ("/", (len(OK), None, 200, f"{client._target}/"), {"row": 7}),
        ("/", (len(OK), None, 200, f"{client._target}/"), {"row": 8}),
    ]
    assert bench.counters.completed == 6


def test_a_new_connection_has_its_phases_recorded_and_a_kept_one_has_not(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(server.url)

    for _ in range(3):
        client.get("/")

    counts = {each.key.metric: each.count for each in bench.instruments.recorder.whole()}
    assert counts == {"latency": 3, "service_time": 3, "first_byte": 3, "body": 3, "dns": 1, "connect": 1}


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r", b"\nhe", b"llo"), b"hello"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",), b"hello"),
        (
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3;a=b\r\nhe",
                b"l\r\n2\r",
                b"\nlo\r\n0",
                b"\r\nX: y\r\n\r\n",
            ),
            b"hello",
        ),
        ((b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK), b"hello"),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), b""),
        ((b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",), b""),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",), b""),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x" * 100_000), b"x" * 100_000),
    ],
)
def test_an_answer_is_whole_however_it_comes_and_leaves_the_connection_usable(bench, serve, pieces, body) -> None:
    server = serve(always(*pieces))
    client = bench.client(server.url)

    replies = [client.get("/") for _ in range(3)]

    assert [reply.body for reply in replies] == [body] * 3
    assert server.connections == 1
    assert bench.counters.completed == 3
    assert bench.errors == {}


def test_head_has_no_body_whatever_its_length_says(bench, serve) -> None:
    server = serve(always(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))
    client = bench.client(server.url)

    replies = [client.head("/") for _ in range(2)]

    assert [(reply.status, reply.body, reply.headers["content-length"]) for reply in replies] == [(200, b"", "5")] * 2
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n",
    ],
)
def test_a_connection_that_cannot_be_kept_is_not(bench, serve, answer) -> None:
    server = serve(once(answer))
    client = bench.client(server.url)

    replies = [client.get("/") for _ in range(3)]

    assert [reply.body for reply in replies] == [b"hello"] * 3
    assert server.connections == 3
    assert bench.counters.ambiguous == 0


def test_a_connection_closed_while_idle_is_noticed_before_it_is_used(bench, serve) -> None:
    server = serve(once(OK))
    client = bench.client(server.url)

    for _ in range(5):
        assert client.get("/").ok
        gevent.sleep(0.05)

    assert (server.connections, len(server.requests)) == (5, 5)
    assert bench.counters == Counters(started=5, completed=5)


def test_the_script_says_which_statuses_pass(bench, serve) -> None:
    client = bench.client(serve(always(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")).url)

    assert client.get("/", expect_status=(200, 404)).ok
    assert client.get("/", expect_status={"missing": 404}.values()).ok
    assert client.get("/", expect_status=200).error == "status 404"
    assert bench.errors == {"status 404": 1}


@pytest.mark.promise("script-replies")
def test_the_script_decides_inside_the_block_and_the_sample_follows(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(server.url)

    with client.get("/", catch_response=True) as reply:
        assert bench.counters.completed == 0
        reply.failure("sold out")
    with client.get("/status", catch_response=True) as reply:
        pass
    with client.get("/missing", catch_response=True, expect_status=404) as reply:
        reply.success()
    client.get("/forgotten", catch_response=True)
    client.settle()

    assert bench.counters == Counters(started=4, completed=4)
    assert bench.errors == {"sold out": 1}
    with pytest.raises(RuntimeError, match="recorded already"):
        reply.failure("too late")


def test_headers_of_the_client_are_sent_until_they_change(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(server.url)

    client.get("/")
    client.headers["X-Token"] = "a"
    client.get("/")
    client.headers["X-Token"] = "b"
    client.get("/")
    client.headers.clear()
    client.get("/")

    assert [b"X-Token" in each for each in server.requests] == [False, True, True, False]
    assert b"X-Token: b" in server.requests[2]


def test_a_long_body_is_sent_while_the_peer_reads_slowly(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        time.sleep(0.1)
        peer.request()
        peer.send(OK)

    server = serve(behave)
    body = bytes(range(256)) * 40_000

    reply = bench.client(server.url).post("/", data=body)

    assert reply.ok
    assert server.requests[0].endswith(body)
    assert bench.outcomes()["bytes_sent"] == len(server.requests[0])


def test_an_early_answer_to_a_long_body_is_an_answer(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        peer.more()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        time.sleep(0.5)

    server = serve(behave)
    client = bench.client(server.url)

    reply = client.post("/", data=b"x" * 50_000_000)

    assert (reply.status, reply.body, reply.error) == (413, b"big", "status 413")
    assert bench.counters == Counters(started=1, completed=1)


def test_a_body_that_nobody_wants_is_read_over_and_counted(bench, serve) -> None:
    pieces = (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x" * 100_000)
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    for answer in (pieces, (OK,), (chunks,)):
        server = serve(always(*answer))
        client = bench.client(server.url)

        kept = [client.get("/").body for _ in range(2)]
        client.discard_bodies = True
        dropped = [client.get("/") for _ in range(2)] + [client.get("/", discard_body=True)]
        wanted = client.get("/", discard_body=False)

        assert len(set(kept)) == 1
        assert wanted.body == kept[0] != b""
        assert {(reply.body, reply.error, reply.status) for reply in dropped} == {(b"", None, 200)}
        assert server.connections == 1
    received = 6 * sum(len(each) for answer in (pieces, (OK,), (chunks,)) for each in answer)
    assert bench.outcomes()["bytes_received"] == received


def test_many_users_wait_side_by_side(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        while peer.request():
            time.sleep(0.3)
            peer.send(OK)

    server = serve(behave)
    begin = time.monotonic()

    users = [gevent.spawn(bench.client(server.url).get, "/") for _ in range(30)]
    gevent.joinall(users)

    assert time.monotonic() - begin < 3
    assert bench.counters.completed == len(server.requests) == 30
    assert all(each.value.ok for each in users)


def test_a_target_may_have_a_path_and_a_name(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(f"http://localhost:{server.port}/api/")

    reply = client.get("/orders?open=1", params={"page": 2, "tag": ["a", "b c"]})

    assert reply.url == f"http://localhost:{server.port}/api/orders?open=1&page=2&tag=a&tag=b+c"
    assert server.requests[0].startswith(b"GET /api/orders?open=1&page=2&tag=a&tag=b+c HTTP/1.1\r\nHost: localhost:")
    assert reply.name == "/api/orders"


def test_a_request_that_cannot_be_written_is_the_scripts_error_and_not_counted(bench) -> None:
    client = bench.client("")

    with pytest.raises(ValueError, match=r"set load\.target"):
        client.get("/")
    with pytest.raises(ValueError, match="line breaks"):
        client.get("http://127.0.0.1/", headers={"X": "a\r\nEvil: 1"})
    with pytest.raises(TypeError, match="time_out"):
        client.get("http://127.0.0.1/", time_out=3)

    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds above 0"):
            client.get("http://127.0.0.1/", timeout=seconds)
    with pytest.raises(ValueError, match="verify must be"):
        client.verify = None

    assert bench.counters.started == 0


def test_a_name_of_any_type_and_a_reason_of_any_type_are_text(bench, serve) -> None:
    client = bench.client(serve(always(OK)).url)

    with client.get("/", name=7, catch_response=True) as reply:
        reply.failure(42)

    assert bench.counters == Counters(started=1, completed=1)
    assert bench.errors == {"42": 1}
    assert bench.outcomes("7")["count"] == 1
