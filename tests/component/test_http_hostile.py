"""Every named failure, each from a server (or its absence) that brings it about: counted once, and nobody raises."""

import gzip
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gevent
import pytest
from tests.component.hostile import OK, Authority, Peer, always, server_context

from loadstone_core.stats.stream import Counters
from loadstone_runner.engine.http.failures import FailureKind
from loadstone_runner.engine.vitals import resident_bytes

MIB = 1024 * 1024


def says(*pieces: bytes) -> Callable[[Peer, int], None]:
    """Answer one request and close the connection."""

    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        for each in pieces:
            peer.send(each)

    return behave


def reset(peer: Peer, _number: int) -> None:
    peer.request()
    peer.reset()


def silence(_peer: Peer, _number: int) -> None:
    time.sleep(2)


def plain_words(peer: Peer, _number: int) -> None:
    peer.send(b"HTTP/1.1 400 No\r\n\r\n")


def deaf(peer: Peer, _number: int) -> None:
    peer.request()
    time.sleep(2)


def drip(peer: Peer, _number: int) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(200):
        peer.send(b"x")
        time.sleep(0.02)


def endless_head(peer: Peer, _number: int) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    line = b"X-Filler: " + b"x" * 10_000 + b"\r\n"
    for _ in range(100 * MIB // len(line)):
        peer.send(line)


def endless_interim(peer: Peer, _number: int) -> None:
    peer.request()
    while True:
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)


def endless_body(head: bytes, piece: bytes) -> Callable[[Peer, int], None]:
    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(head)
        while True:
            peer.send(piece)

    return behave


def circle(peer: Peer, _number: int) -> None:
    while peer.request():
        peer.send(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")


def coded(body: bytes) -> Callable[[Peer, int], None]:
    return always(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


PLAIN = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def peak_bytes() -> int:
    """Return the most resident memory that this process, servers included, has had."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


class Row(NamedTuple):
    """One way to go wrong.

    Attributes:
        kind: of the failure.
        behave: what the server does; None: there is none where the client looks.
        options: of the client.
        url: in place of the server's; `{port}` is its port.
        requests: how many the target saw of it, each counted.
        unsent: nothing of it has left.
        has_status: an answer came, and is a failure nevertheless.
    """

    kind: FailureKind
    behave: Callable[[Peer, int], None] | None
    options: dict[str, object] = {}  # noqa: RUF012 nobody changes it
    url: str = ""
    requests: int = 1
    unsent: bool = False
    has_status: bool = False


K = FailureKind
QUICK = {"timeout": 0.4}
GZIP = {"encodings": ("gzip",)}
ROWS = {
    "wrong host": Row(K.DNS, None, {}, "http://no-such-name.invalid/", 0, unsent=True),
    "a name that is too long": Row(K.DNS, None, {}, f"http://{'x' * 300}.test/", 0, unsent=True),
    "wrong family": Row(K.DNS, None, {"ip": "only ipv6"}, "http://127.0.0.1:1/", 0, unsent=True),
    "nobody listens": Row(K.REFUSED, None, {}, "http://127.0.0.1:1/", 0, unsent=True),
    "no way there": Row(K.UNREACHABLE, None, {}, "http://255.255.255.255:1/", 0, unsent=True),
    "no such unix socket": Row(K.UNREACHABLE, None, {}, "http+unix://%2Fnowhere/", 0, unsent=True),
    "no such source address": Row(K.NO_PORTS, always(OK), {"source_addresses": ("192.0.2.1",)}, "", 0, unsent=True),
    "no tunnel": Row(K.PROXY, says(b""), {"proxy": "http://127.0.0.1:{port}"}, "https://a.test/", 1, unsent=True),
    "the proxy is none": Row(
        K.PROXY, says(b"220 smtp.test\r\n\r\n"), {"proxy": "http://127.0.0.1:{port}"}, "https://a.test/", 1, unsent=True
    ),
    "no tls there": Row(K.TLS, plain_words, {}, "https://127.0.0.1:{port}/", 0, unsent=True),
    "tls is silent": Row(K.TLS_TIMEOUT, silence, {"tls_timeout": 0.2}, "https://127.0.0.1:{port}/", 0, unsent=True),
    "tls hangs up": Row(K.TLS, lambda _peer, _: None, {}, "https://127.0.0.1:{port}/", 0, unsent=True),
    "reset before an answer": Row(K.RESET, reset),
    "hangs up before an answer": Row(K.RESET, says(b"")),
    "no first byte": Row(K.FIRST_BYTE_TIMEOUT, deaf, {"first_byte_timeout": 0.2}),
    "no answer": Row(K.TIMEOUT, deaf, QUICK),
    "a drop at a time": Row(K.TIMEOUT, drip, QUICK),
    "half a head": Row(K.TRUNCATED, says(b"HTTP/1.1 200 OK\r\nContent-Le")),
    "half a body": Row(K.TRUNCATED, says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")),
    "half a chunk": Row(K.TRUNCATED, says(CHUNKED + b"5\r\nhel")),
    "no last chunk": Row(K.TRUNCATED, says(CHUNKED + b"5\r\nhello\r\n")),
    "100 MB of headers": Row(K.PROTOCOL, endless_head),
    "interim answers without end": Row(K.TIMEOUT, endless_interim, QUICK),
    "another protocol": Row(K.PROTOCOL, says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")),
    "http/2 unasked": Row(K.PROTOCOL, says(b"\0\0\x12\x04\0\0\0\0\0" + bytes(18) + b"\r\n\r\n")),
    "switched protocols": Row(K.PROTOCOL, says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")),
    "two lengths": Row(K.PROTOCOL, says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello")),
    "a negative length": Row(K.PROTOCOL, says(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello")),
    "a chunk that lies": Row(K.PROTOCOL, says(CHUNKED + b"2\r\nhello\r\n0\r\n\r\n")),
    "a chunk size without end": Row(K.PROTOCOL, endless_body(CHUNKED, b"0" * 1_000)),
    "trailers without end": Row(K.PROTOCOL, endless_body(CHUNKED + b"0\r\n", b"X: y\r\n" * 1_000)),
    "a NUL in a header": Row(K.PROTOCOL, says(b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n")),
    "a body without end": Row(K.TOO_LARGE, endless_body(PLAIN, bytes(MIB))),
    "chunks without end": Row(K.TOO_LARGE, endless_body(CHUNKED, b"100000\r\n" + bytes(MIB) + b"\r\n")),
    "a length beyond all": Row(K.TOO_LARGE, says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")),
    "a bomb": Row(K.TOO_LARGE, coded(gzip.compress(bytes(65 * MIB))), GZIP, has_status=True),
    "no gzip": Row(K.ENCODING, coded(b"hello"), GZIP, has_status=True),
    "half a gzip": Row(K.ENCODING, coded(gzip.compress(b"hello" * 100)[:-9]), GZIP, has_status=True),
    "an unasked coding": Row(K.ENCODING, coded(gzip.compress(b"x")), {"encodings": ("br",)}, has_status=True),
    "redirects in a circle": Row(K.TOO_MANY_REDIRECTS, circle, {}, "", 11, has_status=True),
    "a redirect to nowhere": Row(
        K.PROTOCOL, says(b"HTTP/1.1 302 Found\r\nLocation: gopher://a\r\nContent-Length: 0\r\n\r\n"), has_status=True
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_whatever_goes_wrong_has_a_name_is_counted_once_and_hurts_nobody_else(bench, serve, row) -> None:
    server = serve(row.behave or always(OK))
    options = {
        name: value.format(port=server.port) if isinstance(value, str) else value for name, value in row.options.items()
    }
    client = bench.client(row.url.format(port=server.port) or server.url, **options)
    before = resident_bytes()
    # The peak of resident memory begins anew; see proc(5).
    Path("/proc/self/clear_refs").write_text("5")

    reply = client.get("")

    peak = peak_bytes()
    assert (reply.ok, reply.error, reply.status > 0) == (False, row.kind.value, row.has_status)
    assert bench.errors == {row.kind.value: 1}
    assert all(bench.sentences)
    whole = max(row.requests, 1)
    ambiguous = not row.unsent and not row.has_status
    assert bench.counters == Counters(started=whole, completed=whole, unsent=int(row.unsent), ambiguous=int(ambiguous))
    assert peak - before < 300 * MIB
    if row.kind is not K.PROXY:
        assert len(server.requests) == row.requests
    # The same user goes on, and another one never noticed.
    good = serve(always(OK))
    assert bench.client(good.url).get("/").ok
    if not row.options:
        assert client.get(good.url + "/").ok


def test_the_other_kinds_are_named_as_well(bench, serve, tmp_path: Path) -> None:
    def full() -> str:
        """Return why a server with a full backlog is not reached."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for each in fillers:
                each.setblocking(False)  # noqa: FBT003 its only parameter
                each.connect_ex(listener.getsockname())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            reply = bench.client(url, connect_timeout=0.2).get("")
            for each in fillers:
                each.close()
        return reply.error

    def killed() -> None:
        greenlet = gevent.spawn(bench.client(serve(deaf).url).get, "/")
        gevent.sleep(0.1)
        greenlet.kill()

    authority = Authority(tmp_path)
    foreign = serve(always(OK), server_context(authority.issue("server", "IP:127.0.0.1")))

    assert full() == "connect timeout"
    assert bench.client(foreign.url).get("/").error == "certificate"
    killed()
    assert bench.errors == {"connect timeout": 1, "certificate": 1, "interrupted": 1}


def test_every_kind_of_failure_has_a_row() -> None:
    elsewhere = {
        K.CONNECT_TIMEOUT, K.CERTIFICATE, K.INTERRUPTED,  # above
        K.NO_FILES, K.INTERNAL,  # test_http_bodies
        K.CLOSED,  # test_websocket
        K.NO_MEMORY,  # test_failures, as no test can take the memory of the kernel
    }  # fmt: skip

    assert {row.kind for row in ROWS.values()} | elsewhere == set(FailureKind)
