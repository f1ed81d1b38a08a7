"""Sessions are offered as long as a server takes them up, and taken out of connections as seldom as that allows."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from loadstone_runner.engine.http.tls_memory import TlsMemory


@dataclass
class Session:
    has_ticket: bool = True
    id: bytes = b""


@dataclass
class Server:
    """Takes up what `takes` says of a session and how often it was offered before; None: it gives no sessions."""

    takes: object = None
    copies: int = 0
    offered: list[Session | None] = field(default_factory=list)

    def connect(self, memory: TlsMemory, where: str = "shop") -> bool:
        session = memory.recall(where)
        before = sum(each is session for each in self.offered)
        is_resumed = session is not None and self.takes is not None and self.takes(before)
        self.offered.append(session)
        memory.keep(where, Connection(self, is_resumed), session)
        return is_resumed


@dataclass
class Connection:
    server: Server
    is_resumed: bool

    @property
    def remembered(self) -> Session | None:
        self.server.copies += 1
        return Session(has_ticket=self.server.takes is not None)


def resumed(server: Server, connections: int) -> list[bool]:
    memory = TlsMemory()
    return [server.connect(memory) for _ in range(connections)]


def test_a_session_that_is_taken_up_again_and_again_is_copied_once() -> None:
    server = Server(lambda _before: True)

    assert resumed(server, 50) == [False] + [True] * 49
    assert server.copies == 1


def test_of_a_server_whose_sessions_serve_once_each_connection_has_a_session_of_its_own() -> None:
    server = Server(lambda before: before == 0)

    # That the first one does not serve twice has to be found out.
    assert resumed(server, 50) == [False, True, False] + [True] * 47
    assert server.copies == 48


def test_a_session_that_was_refused_after_some_time_is_replaced_by_a_newer_one() -> None:
    server = Server(lambda before: before < 10)

    assert resumed(server, 34).count(False) == 4
    assert server.copies == 3


@pytest.mark.parametrize("takes", [None, lambda _before: False])
def test_where_nothing_is_ever_taken_up_few_connections_are_asked_and_some_always_are(takes) -> None:
    server = Server(takes)

    assert not any(resumed(server, 1_000))
    assert 100 < server.copies < 200


def test_a_server_that_comes_to_resume_is_found_out() -> None:
    server, memory = Server(), TlsMemory()
    for _ in range(100):
        server.connect(memory)

    server.takes = lambda _before: True

    assert sum(server.connect(memory) for _ in range(20)) >= 10


def test_what_another_connection_was_offered_before_says_nothing_about_the_session_of_now() -> None:
    server, memory = Server(lambda _before: True), TlsMemory()
    server.connect(memory)
    assert server.connect(memory)

    memory.keep("shop", Connection(server, is_resumed=False), None)
    memory.keep("shop", Connection(server, is_resumed=False), Session())

    assert server.connect(memory)
    assert server.copies == 1


def test_places_are_remembered_apart_and_not_without_bound() -> None:
    server, memory = Server(lambda _before: True), TlsMemory()
    assert memory.recall("shop") is None
    for number in range(1_025):
        assert not server.connect(memory, f"shop {number}")

    assert not server.connect(memory, "shop 0")
    assert server.connect(memory, "shop 1024")
