"""What the HTTP client sends and receives beside plain requests: cookies, codings, forms, streams. Real sockets."""

import gzip
import io
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator
from email import message_from_bytes
from types import MappingProxyType

import brotli
import gevent
import pytest
import zstandard
from tests.component.hostile import CLOSING, OK, Peer, always

from loadstone_core.stats.stream import Counters


def answer(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body])


def setting(*lines: bytes) -> Callable[[Peer, int], None]:
    return always(answer(b"", *(b"Set-Cookie: " + each for each in lines)))


def cookies_of(request: bytes) -> list[bytes]:
    return [line for line in request.split(b"\r\n") if line.lower().startswith(b"cookie:")]


def test_a_user_keeps_its_own_cookies(bench, serve) -> None:
    server = serve(setting(b"session=7; Path=/"))
    one, other = (bench.client(server.url, cookies="user") for _ in range(2))

    one.get("/")
    one.settle()
    one.get("/")
    other.get("/")

    assert [cookies_of(each) for each in server.requests] == [[], [b"Cookie: session=7"], []]
    assert one.cookies.get("session") == "7"
    one.cookies.set("theme", "dark", domain="127.0.0.1")
    one.post("/", data=b"x")
    assert cookies_of(server.requests[-1]) == [b"Cookie: session=7; theme=dark"]


def test_cookies_last_an_iteration_if_asked(bench, serve) -> None:
    server = serve(setting(b"session=7; Path=/"))
    client = bench.client(server.url, cookies="iteration")

    for _ in range(2):
        client.get("/")
        client.get("/")
        client.settle()

    assert [len(cookies_of(each)) for each in server.requests] == [0, 1, 0, 1]


def test_cookies_that_are_off_are_neither_kept_nor_to_be_had(bench, serve) -> None:
    server = serve(setting(b"session=7; Path=/"))
    client = bench.client(server.url)

    client.get("/")
    client.get("/")

    assert cookies_of(server.requests[1]) == []
    with pytest.raises(RuntimeError, match=r'HttpOptions\(cookies="user"\)'):
        _ = client.cookies


def test_a_redirect_sets_a_cookie_for_its_next_hop_and_a_header_of_the_script_wins(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        while request := peer.request():
            if b"/old" in request.partition(b"\r\n")[0]:
                peer.send(b"HTTP/1.1 302 Found\r\nLocation: /new\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n")
            else:
                peer.send(OK)

    server = serve(behave)
    client = bench.client(server.url, cookies="user")

    client.get("/old")
    client.get("/new", headers={"cookie": "mine=2"})

    assert [cookies_of(each) for each in server.requests[1:]] == [[b"Cookie: a=1"], [b"cookie: mine=2"]]


BODY = b"hello, hello, hello" * 100


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        ("gzip", gzip.compress(BODY)),
        ("br", brotli.compress(BODY)),
        ("zstd", zstandard.ZstdCompressor().compress(BODY)),
    ],
    ids=["gzip", "br", "zstd"],
)
def test_a_coded_body_is_asked_for_and_undone(bench, serve, coding, coded) -> None:
    server = serve(always(answer(coded, b"Content-Encoding: " + coding.encode())))
    client = bench.client(server.url, encodings=("gzip", "br", "zstd"))

    reply = client.get("/")

    assert (reply.body, reply.error) == (BODY, None)
    assert b"\r\nAccept-Encoding: gzip, br, zstd\r\n" in server.requests[0]
    assert bench.outcomes()["bytes_received"] < len(BODY)


def test_nothing_is_undone_that_was_not_asked_for(bench, serve) -> None:
    coded = gzip.compress(BODY)
    server = serve(always(answer(coded, b"Content-Encoding: gzip")))

    assert bench.client(server.url).get("/").body == coded
    assert b"Accept-Encoding" not in server.requests[0]
    assert bench.client(server.url, encodings=("br",)).get("/").error == "bad encoding"
    assert bench.client(server.url, encodings=("br",), discard_bodies=True).get("/").error is None
    with bench.client(server.url, encodings=("br",)).stream("GET", "/") as reply:
        assert (reply.read(), reply.error) == (coded, None)


def test_authorization_is_sent_with_every_request_or_with_one(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(server.url, auth="token")

    client.get("/")
    client.get("/", auth=("me", "secret"))
    bench.client(server.url).get("/", auth="other")
    bench.client("http://other.test", auth="token").get(server.url)
    client.get("/", headers={"Authorization": None})

    sent = [line for each in server.requests for line in each.split(b"\r\n") if line.startswith(b"Authorization")]
    assert sent == [
        b"Authorization: Bearer token",
        b"Authorization: Basic bWU6c2VjcmV0",
        b"Authorization: Bearer other",
        b"Authorization: Bearer token",
    ]


def form_of(request: bytes) -> dict[str, tuple[str | None, str, bytes]]:
    head, _, body = request.partition(b"\r\n\r\n")
    kind = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Type"))
    parts = message_from_bytes(kind + b"\r\n\r\n" + body).get_payload()
    return {
        each.get_param("name", header="content-disposition"): (
            each.get_filename(),
            each.get_content_type(),
            each.get_payload(decode=True),
        )
        for each in parts
    }


def test_a_form_carries_fields_and_files_from_memory_and_from_disk(bench, serve, tmp_path) -> None:
    server = serve(always(OK))
    path = tmp_path / "photo.bin"
    path.write_bytes(bytes(range(256)) * 1_000)
    client = bench.client(server.url)

    small = client.post("/", data={"title": "Ü", "n": 1}, files={"note": "text", "x": ("a.csv", b"1,2", "text/csv")})
    with path.open("rb") as file:
        large = client.post("/", files={"photo": path, "again": file})

    assert (small.error, large.error) == (None, None)
    assert form_of(server.requests[0]) == {
        "title": (None, "text/plain", "Ü".encode()),
        "n": (None, "text/plain", b"1"),
        "note": ("note", "application/octet-stream", b"text"),
        "x": ("a.csv", "text/csv", b"1,2"),
    }
    whole = ("photo.bin", "application/octet-stream", path.read_bytes())
    assert form_of(server.requests[1]) == {"photo": whole, "again": whole}
    assert bench.counters == Counters(started=2, completed=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"files": {"a": 7}}, "files: a must be bytes, text, a path or an open file"),
        ({"files": {"a": ("x",)}}, "must be a content"),
        ({"files": {"a": ("x", b"", "text/plain\r\nEvil: 1")}}, "must be one line"),
        ({"files": {"a": b""}, "json": {}}, "beside files"),
        ({"data": io.StringIO("text")}, "open for bytes"),
        ({"data": iter([b"text"]), "timeout": 0}, "a timeout must be seconds"),
        ({"expect_status": "200"}, "expect_status must be a status or several, not '200'"),
        ({"expect_status": b"200"}, "expect_status must be a status or several, not b'200'"),
        ({"expect_status": 200.5}, "expect_status must be a status or several, not 200.5"),
    ],
)
def test_what_cannot_be_asked_for_is_the_scripts_error_and_not_counted(bench, serve, options, sentence) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        bench.client(serve(always(OK)).url).post("/", **options)
    assert bench.counters.started == 0


def test_a_body_that_is_made_while_it_is_sent_goes_in_chunks_and_the_connection_lives_on(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(server.url)

    replies = [client.post("/", data=(b"piece %d;" % number for number in range(3))) for _ in range(2)]

    assert [reply.error for reply in replies] == [None, None]
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    assert body == b"8\r\npiece 0;\r\n8\r\npiece 1;\r\n8\r\npiece 2;\r\n0\r\n\r\n"
    assert server.connections == 1


def test_any_mapping_is_a_form_and_what_gives_no_bytes_is_told_so(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(server.url)
    form = MappingProxyType({"a": "1", "none": None, "b": ["2", "3"]})

    assert client.post("/", data=form).ok
    assert client.post("/", data=form, files={"note": "text"}).ok
    with pytest.raises(TypeError, match="an iterable must give bytes, not a tuple; a form is a mapping"):
        client.post("/", data=[("a", "1")])

    assert server.requests[0].endswith(b"\r\n\r\na=1&b=2&b=3")
    assert b"Content-Type: application/x-www-form-urlencoded\r\n" in server.requests[0]
    assert set(form_of(server.requests[1])) == {"a", "b", "note"}


def test_an_open_file_is_sent_with_its_length(bench, serve) -> None:
    server = serve(always(OK))
    file = io.BytesIO(b"x" * 200_000)
    file.seek(50_000)

    assert bench.client(server.url).put("/", data=file).ok
    assert b"\r\nContent-Length: 150000\r\n" in server.requests[0]
    assert server.requests[0].endswith(b"\r\n\r\n" + b"x" * 150_000)


def test_a_body_whose_making_raises_is_counted_and_raised(bench, serve) -> None:
    server = serve(always(OK))

    def broken() -> Iterator[bytes]:
        yield b"one"
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        bench.client(server.url).post("/", data=broken())
    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)
    assert bench.errors == {"internal": 1}


@pytest.mark.parametrize("length", [200_000, 100_001])
def test_an_answer_before_the_end_of_a_long_body_is_the_answer(bench, serve, length) -> None:
    def behave(peer: Peer, _number: int) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        time.sleep(0.3)

    def slowly() -> Iterator[bytes]:
        for _ in range(length // 10_000):
            gevent.sleep(0.02)
            yield b"x" * 10_000

    server = serve(behave)
    reply = bench.client(server.url).post("/", data=slowly())

    assert (reply.status, reply.body, reply.error) == (413, b"no", "status 413")
    assert bench.counters == Counters(started=1, completed=1)


def test_an_answer_is_read_bit_by_bit_and_its_connection_carries_the_next(bench, serve) -> None:
    server = serve(always(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"hel", b"lo", b"world"))
    client = bench.client(server.url)

    for _ in range(2):
        with client.stream("GET", "/") as reply:
            assert bench.counters.completed < bench.counters.started
            pieces = list(reply.iter_bytes())
        assert (reply.status, b"".join(pieces), len(pieces) > 1, reply.error) == (200, b"helloworld", True, None)

    assert server.connections == 1
    assert bench.counters == Counters(started=2, completed=2)
    assert bench.counts().items() >= {"latency": 2, "first_byte": 2, "body": 2, "connect": 1}.items()


def test_lines_come_whole_however_they_are_split(bench, serve) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = serve(always(chunked + b"4\r\none\r\r\n", b"4\r\n\ntwo\r\n", b"3\r\n\n\xc3\xbc\r\n0\r\n\r\n"))

    with bench.client(server.url).stream("GET", "/") as reply:
        assert list(reply.iter_lines()) == ["one", "two", "ü"]


def test_a_long_answer_is_never_held_as_a_whole(bench, serve) -> None:
    size = 200 * 1024 * 1024

    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = bytes(1024 * 1024)
        for _ in range(200):
            peer.send(piece)

    server = serve(behave)
    tracemalloc.start()
    with bench.client(server.url).stream("GET", "/") as reply:
        received = sum(len(piece) for piece in reply.iter_bytes())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert received == size
    assert peak < 8 * 1024 * 1024


def test_what_the_script_does_not_read_is_not_received(bench, serve) -> None:
    server = serve(always(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000))
    client = bench.client(server.url)

    with client.stream("GET", "/") as reply:
        next(iter(reply.iter_bytes()))
    client.stream("GET", "/")
    client.settle()

    assert (reply.error, reply.ok) == (None, True)
    assert bench.counters == Counters(started=2, completed=2)
    assert client.get("/").ok


def test_a_stream_that_breaks_off_is_a_failure_and_the_script_decides_on_the_others(bench, serve) -> None:
    broken = serve(always(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhello"))
    broken.behave = lambda peer, _number: (peer.request(), peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"))
    client = bench.client(broken.url)

    with client.stream("GET", "/") as reply:
        assert b"".join(reply.iter_bytes()) == b"hi"
        assert (reply.error, reply.status) == ("truncated", 200)
    with bench.client(serve(always(OK)).url).stream("GET", "/") as reply:
        reply.read()
        reply.failure("too short")
    with bench.client("http://127.0.0.1:1").stream("GET", "/") as reply:
        assert list(reply.iter_bytes()) == []

    assert reply.error == "refused"
    assert bench.errors == {"truncated": 1, "too short": 1, "refused": 1}
    assert bench.counters == Counters(started=3, completed=3, ambiguous=1, unsent=1)


def test_a_stream_whose_greenlet_is_killed_is_interrupted(bench, serve) -> None:
    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
        time.sleep(3)

    client = bench.client(serve(behave).url)

    def read() -> None:
        with client.stream("GET", "/") as reply:
            list(reply.iter_bytes())

    greenlet = gevent.spawn(read)
    gevent.sleep(0.2)
    greenlet.kill()

    assert bench.errors == {"interrupted": 1}
    assert bench.counters == Counters(started=1, completed=1, ambiguous=1)


def test_the_first_byte_has_a_deadline_of_its_own(bench, serve) -> None:
    def late(peer: Peer, _number: int) -> None:
        peer.request()
        time.sleep(1)

    def slow(peer: Peer, _number: int) -> None:
        while peer.request():
            peer.send(OK[:-2])
            time.sleep(0.4)
            peer.send(OK[-2:])

    begin = time.monotonic()
    assert bench.client(serve(late).url, first_byte_timeout=0.2).get("/").error == "first byte timeout"
    assert time.monotonic() - begin < 0.9
    server = serve(slow)
    client = bench.client(server.url, first_byte_timeout=0.2)
    assert [client.get("/").body for _ in range(2)] == [b"hello"] * 2
    assert server.connections == 1
    assert client.get("/", timeout=0.3).error == "timeout"


def test_running_out_of_files_is_a_failure_of_its_own_kind(bench, serve) -> None:
    client = bench.client(serve(always(CLOSING)).url)
    assert client.get("/").ok
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        assert client.get("/").error == "too many open files"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert bench.counters == Counters(started=2, completed=2, unsent=1)
