"""The engine's HTTP client against servers that count, misbehave, and speak TLS: all on loopback, all real sockets."""

import socket
import ssl
import subprocess
import time
from pathlib import Path

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


def test_a_request_that_meets_the_closing_is_ambiguous_and_never_sent_twice(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(OK)
        peer.request()

    server = serve(behave)
    client = bench.client(server.url)

    replies = [client.get("/") for _ in range(2)]

    assert [reply.error for reply in replies] == [None, "reset"]
    assert len(server.requests) == 2
    assert bench.counters == Counters(started=2, completed=2, ambiguous=1)


def hang(peer: Peer, _number: int) -> None:
    peer.request()
    time.sleep(5)


def reset_at_once(peer: Peer, _number: int) -> None:
    peer.request()
    peer.reset()


def endless_head(peer: Peer, _number: int) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.send(b"X-Filler: " + b"x" * 1000 + b"\r\n")


def drip(peer: Peer, _number: int) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        peer.send(b"x")
        time.sleep(0.02)


@pytest.mark.promise("script-replies")
@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (once(b""), "reset"),
        (reset_at_once, "reset"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), "truncated"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Le"), "truncated"),
        (once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), "truncated"),
        (once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n"), "protocol"),
        (once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"), "protocol"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello"), "protocol"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), "protocol"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nhello"), "too large"),
        (once(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol"),
        (once(b"HTTP/2 200 OK\r\n\r\n"), "protocol"),
        (once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"), "protocol"),
        (endless_head, "protocol"),
        (hang, "timeout"),
        (drip, "timeout"),
    ],
)
def test_a_hostile_answer_is_a_named_failure_that_is_counted_once(bench, serve, behave, error) -> None:
    server = serve(behave)
    client = bench.client(server.url)

    reply = client.get("/", timeout=0.4)

    assert (reply.status, reply.ok, reply.error) == (0, False, error)
    assert bench.errors == {error: 1}
    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)
    assert bench.outcomes().items() >= {"count": 1, "failed": 1, "ambiguous": 1}.items()
    assert len(server.requests) == 1
    assert bench.client(serve(always(OK)).url).get("/").ok


def test_what_never_reached_the_target_is_unsent(bench) -> None:
    with socket.socket() as closed, socket.socket() as full:
        closed.bind(("127.0.0.1", 0))
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for each in fillers:
            each.setblocking(False)  # noqa: FBT003 its only parameter
            each.connect_ex(full.getsockname())
        client = bench.client(f"http://127.0.0.1:{closed.getsockname()[1]}")

        errors = [
            client.get("/").error,
            client.get("http://no-such-name.invalid/").error,
            client.get(f"http://127.0.0.1:{full.getsockname()[1]}/", timeout=0.3).error,
        ]
        for each in fillers:
            each.close()

    assert errors == ["refused", "dns", "connect timeout"]
    assert bench.counters == Counters(started=3, completed=3, unsent=3)


@pytest.mark.parametrize(("status", "error"), [(200, None), (399, None), (404, "status 404"), (503, "status 503")])
def test_a_status_from_400_on_is_a_failure_with_an_answer(bench, serve, status, error) -> None:
    client = bench.client(serve(always(b"HTTP/1.1 %d Some\r\nContent-Length: 2\r\n\r\nno" % status)).url)

    reply = client.get("/")

    assert (reply.status, reply.body, reply.error) == (status, b"no", error)
    assert bench.counters == Counters(started=1, completed=1)
    assert bench.outcomes().get("failed", 0) == (error is not None)


def test_the_script_says_which_statuses_pass(bench, serve) -> None:
    client = bench.client(serve(always(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")).url)

    assert client.get("/", expect_status=(200, 404)).ok
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


def test_redirects_are_followed_and_each_hop_is_a_request_of_its_own(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        while True:
            line = peer.request().split(b"\r\n")[0]
            if b"/start" in line:
                peer.send(b"HTTP/1.1 303 See Other\r\nLocation: /end?a=1\r\nContent-Length: 0\r\n\r\n")
            else:
                peer.send(OK)

    server = serve(behave)
    client = bench.client(server.url)

    reply = client.post("/start", json={"a": 1}, headers={"X-Mine": "1"})
    stopped = client.get("/start", allow_redirects=False)

    assert (reply.status, reply.url, reply.name) == (200, f"{server.url}/end?a=1", "/end")
    assert (stopped.status, stopped.ok, stopped.headers["Location"]) == (303, True, "/end?a=1")
    assert [each.split(b" HTTP")[0] for each in server.requests] == [b"POST /start", b"GET /end?a=1", b"GET /start"]
    assert b"X-Mine: 1" in server.requests[1]
    assert b"application/json" not in server.requests[1]
    assert bench.counters.completed == 3


def test_a_redirect_loop_ends_as_a_named_failure(bench, serve) -> None:
    server = serve(always(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"))

    reply = bench.client(server.url).get("/")

    assert (reply.status, reply.error) == (302, "too many redirects")
    assert len(server.requests) == bench.counters.completed == 11
    assert bench.errors == {"too many redirects": 1}
    assert bench.counters.ambiguous == 0


def test_authorization_does_not_follow_a_redirect_to_another_origin(bench, serve) -> None:
    other = serve(always(OK))
    first = serve(always(b"HTTP/1.1 307 Temporary\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % other.url.encode()))
    client = bench.client(first.url)
    client.headers["Authorization"] = "Bearer secret"

    assert client.put("/", data=b"body").ok

    assert b"secret" in first.requests[0]
    assert b"secret" not in other.requests[0]
    assert other.requests[0].startswith(b"PUT / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % other.port)
    assert other.requests[0].endswith(b"\r\n\r\nbody")


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


def test_a_kill_in_mid_request_is_interrupted_and_ambiguous(bench, serve) -> None:
    client = bench.client(serve(hang).url)

    user = gevent.spawn(client.get, "/")
    gevent.sleep(0.2)
    user.kill()

    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)
    assert bench.outcomes().items() >= {"failed": 1, "interrupted": 1, "ambiguous": 1}.items()


def test_a_timeout_of_the_script_itself_is_recorded_and_raised(bench, serve) -> None:
    client = bench.client(serve(hang).url)

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        client.get("/")

    assert bench.errors == {"timeout": 1}
    assert bench.outcomes()["ambiguous"] == 1
    assert "interrupted" not in bench.outcomes()
    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)


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


def test_a_later_request_is_not_ended_by_the_deadline_of_an_earlier_one(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        while peer.request():
            time.sleep(0.15)
            peer.send(OK)

    client = bench.client(serve(behave).url)

    assert [client.get("/", timeout=seconds).error for seconds in (0.25, 0.25, 10, 0.25)] == [None] * 4
    assert client.get("/", timeout=0.05).error == "timeout"


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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-days", "2", "-subj", "/CN=test",
            "-addext", "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem"


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_https_keeps_its_connection_and_its_handshake_is_timed_once(bench, serve, tls, certificate, version) -> None:
    tls.maximum_version = version
    server = serve(always(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000), tls)
    client = bench.client(server.url)
    client.verify = str(certificate)

    for _ in range(5):
        reply = client.get("/")
        assert (reply.error, len(reply.body)) == (None, 100_000)
        gevent.sleep(0.01)

    assert (server.connections, len(server.requests)) == (1, 5)
    counts = {each.key.metric: each.count for each in bench.instruments.recorder.whole()}
    assert counts["tls"] == 1


def test_a_certificate_that_nobody_vouches_for_is_a_tls_failure_and_unsent(bench, serve, tls) -> None:
    server = serve(always(OK), tls)
    client = bench.client(server.url)

    refused = client.get("/")
    client.verify = False
    accepted = client.get("/")

    assert (refused.error, accepted.error) == ("certificate", None)
    assert len(server.requests) == 1
    assert bench.counters == Counters(started=2, completed=2, unsent=1)
    assert [each.message for each in bench.instruments.recorder.errors()] == [
        "the certificate is self-signed and nobody vouches for it"
    ]


def test_plain_http_from_a_tls_port_and_a_silent_one_are_tls_failures(bench, serve) -> None:
    plain = serve(lambda peer, _number: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    silent = serve(lambda _peer, _number: time.sleep(3))
    client = bench.client("")

    assert client.get(f"https://127.0.0.1:{plain.port}/").error == "tls"
    assert client.get(f"https://127.0.0.1:{silent.port}/", timeout=0.3).error == "tls timeout"
    assert bench.counters.unsent == 2


def test_an_https_answer_that_breaks_off_is_truncated(bench, serve, tls) -> None:
    server = serve(once(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), tls)
    client = bench.client(server.url)
    client.verify = False

    assert client.get("/").error == "truncated"
    assert bench.counters.ambiguous == 1


def test_a_long_body_goes_through_tls(bench, serve, tls) -> None:
    server = serve(always(OK), tls)
    client = bench.client(server.url)
    client.verify = False
    body = bytes(range(256)) * 20_000

    assert client.post("/", data=body).ok
    assert server.requests[0].endswith(body)


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
