"""Redirects: each hop is a request of its own, and what belongs to one origin does not go to another."""

from tests.component.hostile import OK, Peer, always


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
