"""How many connections of HTTP/2 a user keeps is bounded, however many origins it goes to; none in use is closed."""

import _socket
import socket
from collections.abc import Iterator
from functools import cache
from time import monotonic_ns
from types import SimpleNamespace

import gevent
import pytest

from loadstone_runner.engine.http.connection import Answer
from loadstone_runner.engine.http.http2 import Http2Courier
from loadstone_runner.engine.http.origin import Origin
from loadstone_runner.engine.http.pool import IDLE_MAX
from loadstone_runner.engine.http.wire import Wire

SECOND_NS = 1_000_000_000
GET = [(":method", "GET"), (":scheme", "http"), (":authority", "shop"), (":path", "/")]


class Server:
    """Takes all connections and says nothing; over TLS it chooses `protocol`."""

    profile = SimpleNamespace(proxies=None)

    def __init__(self) -> None:
        self.protocol = "h2"
        self.ends: list[socket.socket] = []
        self.kept: list[Origin] = []

    def connect(self, _origin: Origin, _by_ns: int) -> SimpleNamespace:
        own, end = socket.socketpair()
        self.ends.append(end)
        raw = _socket.socket(fileno=own.detach())
        raw.settimeout(0)
        return SimpleNamespace(wire=Wire(raw), phases=None, protocol=self.protocol)

    def keep(self, origin: Origin, wire: Wire) -> None:
        """Take a connection of HTTP/1.1, as a courier does."""
        self.kept.append(origin)
        wire.close()

    def close(self) -> None:
        """End all connections; again is harmless, as the courier's own end of it is."""
        for end in self.ends:
            end.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def courier(server: Server) -> Iterator[Http2Courier]:
    courier = Http2Courier(server, server, 0)  # type: ignore[arg-type]  # what is asked of a dialer and of a courier
    yield courier
    courier.close()


# One object of each.
@cache
def origin_of(scheme: str, number: int) -> Origin:
    return Origin(scheme, f"shop{number}.test", 80)


def open_one(courier: Http2Courier, number: int, *, scheme: str = "http"):
    """Return the session, or None where HTTP/1.1 is spoken."""
    return courier._session_to(origin_of(scheme, number), monotonic_ns() + SECOND_NS, Answer(monotonic_ns()))


def test_of_too_many_connections_those_known_longest_are_closed(courier: Http2Courier) -> None:
    sessions = [open_one(courier, number) for number in range(5 * IDLE_MAX)]

    assert [each.is_open for each in sessions] == [False] * 4 * IDLE_MAX + [True] * IDLE_MAX
    assert list(courier._sessions.values()) == sessions[-IDLE_MAX:]
    assert open_one(courier, 5 * IDLE_MAX - 1) is sessions[-1]
    assert open_one(courier, 0).is_open
    courier.close()
    assert not any(each.is_open for each in sessions)


def test_a_connection_with_a_request_under_way_is_not_closed_for_another(courier: Http2Courier) -> None:
    busy = [open_one(courier, number) for number in range(IDLE_MAX + 2)]
    begun = []
    for number in range(IDLE_MAX + 4):
        session = open_one(courier, 100 + number)
        stream, _ = session.begin(GET, monotonic_ns() + SECOND_NS, has_body=False)
        begun.append((session, stream))

    assert not any(each.is_open for each in busy)
    assert all(session.is_open for session, _ in begun)
    for session, stream in begun:
        session.end(stream)
    another = open_one(courier, 200)
    assert sum(session.is_open for session, _ in begun) == IDLE_MAX - 1
    assert another.is_open


def test_a_connection_that_the_server_has_closed_is_not_kept(server: Server, courier: Http2Courier) -> None:
    for number in range(IDLE_MAX - 2):
        open_one(courier, number)
    server.close()
    gevent.sleep(0.05)
    newest = open_one(courier, 100)

    assert list(courier._sessions.values()) == [newest]


def test_of_those_who_chose_http1_not_all_are_remembered_for_ever(server: Server, courier: Http2Courier) -> None:
    server.protocol = "http/1.1"
    for number in range(40 * IDLE_MAX):
        assert open_one(courier, number, scheme="https") is None
    assert len(courier._old) == 16 * IDLE_MAX

    asked = len(server.ends)
    assert open_one(courier, 40 * IDLE_MAX - 1, scheme="https") is None
    assert len(server.ends) == asked
    assert open_one(courier, 0, scheme="https") is None
    assert len(server.ends) == asked + 1
