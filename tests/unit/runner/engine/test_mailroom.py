"""Mailrooms of a director and two engines around a real hub: once, in order, and senders hear what became of it."""

from __future__ import annotations

import random
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from loadstone import Place, messages, on_message
from loadstone_runner.engine.lanes import in_engine
from loadstone_runner.engine.mailroom import Mailroom
from loadstone_runner.master.hub import DIRECTOR, Hub, Post, Start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadstone_protocol.v1 import engine_pb2

ENGINE, OTHER = Post(0, 0), Post(1, 0)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    messages.forget()
    yield
    messages.forget()


class World:
    """A hub and whoever is at its posts; frames between them may be lost or doubled."""

    def __init__(self, *, loss: float = 0.0, seed: int = 0) -> None:
        self.chance = random.Random(seed)  # noqa: S311 no secret
        self.loss = loss
        self.gone: dict[int, str] = {}
        self.rooms: dict[Post, Mailroom] = {}
        self.starts: dict[Post, int] = {}
        self.errors: list[tuple[str, str, str]] = []
        self.begin_hub("hub")

    def begin_hub(self, name: str) -> None:
        self.hub = Hub(
            name,
            workers=2,
            engines=1,
            send=self.down,
            absence=lambda worker: self.gone.get(worker, ""),
        )

    def enter(self, post: Post) -> Mailroom:
        """Let a process begin at a post; its handlers are those that are registered now."""
        self.starts[post] = self.starts.get(post, 0) + 1
        made = self.rooms[post] = Mailroom(
            messages.handlings(),
            is_director=post == DIRECTOR,
            send=lambda message, post=post, start=self.starts[post]: self.up(post, start, message),
            work_of=in_engine,
            count=lambda *error: self.errors.append(error),
        )
        made.introduce()
        return made

    def up(self, post: Post, start: int, message: engine_pb2.EngineMessage) -> None:
        self.carry(lambda: self.hub.hear(post, Start(1, start), message.messages, monotonic_ns()))

    def down(self, post: Post, frame: engine_pb2.MessageFrame) -> None:
        self.carry(lambda: self.rooms[post].hear(frame))

    def carry(self, deliver: Callable[[], None]) -> None:
        if self.chance.random() < self.loss:
            return
        gevent.spawn(deliver)
        if self.chance.random() < self.loss:
            gevent.spawn(deliver)

    def heal(self) -> None:
        """Let all find out at once what was lost."""
        for each in self.rooms.values():
            each.introduce()


def keep(seen: list[Any], **options: Any) -> None:
    on_message("step", **options)(lambda message: seen.append(message.data))


def test_a_sender_waits_for_room_and_the_order_stays() -> None:
    world, seen = World(), []

    @on_message("step", queue=5, overflow="block_sender")
    def step(message):
        seen.append((message.sender, message.data))
        gevent.sleep(0.0005)

    world.enter(DIRECTOR)
    engines = [world.enter(ENGINE), world.enter(OTHER)]

    def send_all(engine: Mailroom) -> list[str]:
        sent = []
        for number in range(200):
            sent.append(engine.send_message("step", number, "director"))
            gevent.sleep(0)
        return [each.wait(10).status for each in sent]

    sending = [gevent.spawn(send_all, each) for each in engines]
    gevent.joinall(sending, timeout=20)

    assert [each.value for each in sending] == [["processed"] * 200] * 2
    for worker in (0, 1):
        assert [number for sender, number in seen if sender == Place(worker)] == list(range(200))
