"""What goes wrong with a request has a name and is counted once: sent, unsent, ambiguous or interrupted."""

import socket
import time

import gevent
import pytest
from tests.component.hostile import OK, Peer, always, once

from loadstone_core.stats.stream import Counters


def hang(peer: Peer, _number: int) -> None:
    peer.request()
    time.sleep(5)


def reset_at_once(peer: Peer, _number: int) -> None:
    peer.request()
    peer.reset()


def reset_in_the_answer(peer: Peer, _number: int) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    time.sleep(0.05)
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
        (reset_in_the_answer, "truncated"),
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


def test_a_stream_names_what_breaks_it_as_other_answers_do(bench, serve) -> None:
    for behave in (reset_at_once, reset_in_the_answer):
        with bench.client(serve(behave).url).stream("GET", "/") as reply:
            reply.read()

    assert bench.errors == {"reset": 1, "truncated": 1}


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


def test_a_kill_in_mid_request_is_interrupted_and_ambiguous(bench, serve) -> None:
    server = serve(hang)
    client = bench.client(server.url)

    user = gevent.spawn(client.get, "/")
    while not server.requests:
        gevent.sleep(0.01)
    user.kill()

    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)
    assert bench.outcomes().items() >= {"failed": 1, "interrupted": 1, "ambiguous": 1}.items()


def test_a_timeout_of_the_script_itself_is_recorded_and_raised(bench, serve) -> None:
    client = bench.client(serve(hang).url)

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.5):
        client.get("/")

    assert bench.errors == {"timeout": 1}
    assert bench.outcomes()["ambiguous"] == 1
    assert "interrupted" not in bench.outcomes()
    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)


def test_a_later_request_is_not_ended_by_the_deadline_of_an_earlier_one(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        while peer.request():
            time.sleep(0.6)
            peer.send(OK)

    client = bench.client(serve(behave).url)

    assert [client.get("/", timeout=seconds).error for seconds in (1, 1, 10, 1)] == [None] * 4
    assert client.get("/", timeout=0.05).error == "timeout"
