"""Mailrooms of a director and two engines around a real hub: once, in order, and senders hear what became of it."""

from __future__ import annotations

import random
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from loadstone import Place, messages, on_message
from loadstone_protocol.codec import WireError
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine import mailroom as room
from loadstone_runner.engine.lanes import in_engine
from loadstone_runner.engine.mailroom import Mailroom
from loadstone_runner.engine.payloads import Payload
from loadstone_runner.master import hub as hub_room
from loadstone_runner.master.hub import DIRECTOR, Hub, Post, Start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENGINE, OTHER = Post(0, 0), Post(1, 0)
HALF = "\ud83d"  # of a surrogate pair: what json.loads('"\\ud83d"') returns


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    messages.forget()
    yield
    messages.forget()


class World:
    """A hub and whoever is at its posts; frames between them may be lost, doubled or late."""

    def __init__(self, *, loss: float = 0.0, seed: int = 0, delay: float = 0.0) -> None:
        self.chance = random.Random(seed)  # noqa: S311 no secret
        self.loss = loss
        self.delay = delay
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
        gevent.spawn_later(self.delay, deliver)
        if self.chance.random() < self.loss:
            gevent.spawn_later(self.delay, deliver)

    def heal(self) -> None:
        """Let all find out at once what was lost."""
        for each in self.rooms.values():
            each.introduce()


def keep(seen: list[Any], **options: Any) -> None:
    on_message("step", **options)(lambda message: seen.append(message.data))


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.004])
@pytest.mark.parametrize("seed", range(3))
def test_a_sender_waits_for_room_and_the_order_stays(seed: int, delay: float) -> None:
    world, seen = World(seed=seed, delay=delay), []

    @on_message("step", queue=5, overflow="block_sender")
    def step(message):
        seen.append((message.sender, message.data))
        gevent.sleep(world.chance.choice([0, 0.0005, 0.002]))

    world.enter(DIRECTOR)
    engines = [world.enter(ENGINE), world.enter(OTHER)]

    def send_all(engine: Mailroom) -> list[str]:
        sent = []
        for number in range(60):
            sent.append(engine.send_message("step", number, "director"))
            gevent.sleep(0)
        return [each.wait(10).status for each in sent]

    sending = [gevent.spawn(send_all, each) for each in engines]
    gevent.joinall(sending, timeout=20)

    assert [each.value for each in sending] == [["processed"] * 60] * 2
    for worker in (0, 1):
        assert [number for sender, number in seen if sender == Place(worker)] == list(range(60))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_or_doubled_each_message_is_handled_once_and_in_order(seed: int) -> None:
    world, seen = World(loss=0.3, seed=seed), []
    keep(seen)
    director, engine = world.enter(DIRECTOR), world.enter(ENGINE)
    world.enter(OTHER)

    up = [engine.send_message("step", f"up {number}", "director") for number in range(50)]
    down = [director.send_message("step", f"down {number}", "workers") for number in range(50)]
    for _ in range(200):
        world.heal()
        gevent.sleep(0.001)
        if all(each.is_done for each in (*up, *down)):
            break

    assert {each.wait(1).status for each in (*up, *down)} == {"processed"}
    assert [each for each in seen if each.startswith("up")] == [f"up {number}" for number in range(50)]
    assert sorted(each for each in seen if each.startswith("down")) == sorted(
        f"down {number}" for number in range(50) for _ in range(2)
    )
    assert [len(each.wait().answers) for each in down] == [2] * 50


def test_a_new_hub_is_told_what_is_open_and_nobody_handles_anything_twice() -> None:
    world, seen = World(), []
    keep(seen)
    director = world.enter(DIRECTOR)
    world.enter(ENGINE)
    answered = director.send_message("step", 1, Place(0))
    unrouted = director.send_message("step", 2, 1)
    assert answered.wait(5).is_processed
    world.loss = 1.0  # the answer to this one is lost with the hub
    lost = director.send_message("step", 3, Place(0))
    gevent.sleep(0.01)
    world.loss = 0.0
    world.heal()
    gevent.sleep(0.002)

    world.begin_hub("another")
    world.heal()
    world.enter(OTHER)

    assert lost.wait(5).is_processed
    assert unrouted.wait(5).is_processed
    assert sorted(seen) == [1, 2, 3]


@pytest.mark.promise("messages")
def test_a_new_hub_knows_how_many_there_are_now_and_only_they_are_waited_for() -> None:
    world = World()
    on_message("step")(lambda _message: 1)
    world.enter(ENGINE)
    messages.forget()
    on_message("step")(lambda _message: gevent.sleep(60))
    world.enter(OTHER)
    director = world.enter(DIRECTOR)
    sent = director.send_message("step", None, "workers")
    gevent.sleep(0.05)

    world.gone[1] = "worker 1 is not wanted any more"
    world.begin_hub("another")
    world.hub.resize(1)
    world.heal()

    assert [(each.by, each.status) for each in sent.wait(5).answers] == [(Place(0), "processed")]


@pytest.mark.promise("messages")
def test_what_was_answered_to_a_former_hub_stands_for_nobody_that_a_new_one_asks() -> None:
    world, gate = World(), gevent.event.Event()
    on_message("step")(lambda _message: 1)
    world.enter(OTHER)
    messages.forget()
    on_message("step")(lambda _message: gate.wait() and None)
    world.enter(ENGINE)
    director = world.enter(DIRECTOR)
    sent = director.send_message("step", None, "workers")
    gevent.sleep(0.05)

    world.gone[1] = "worker 1 is not wanted any more"
    world.begin_hub("another")
    world.hub.resize(1)
    world.heal()
    gevent.sleep(0.05)

    assert not sent.is_done
    gate.set()
    assert sent.wait(5).is_processed


def test_what_a_process_that_is_gone_has_not_answered_is_rejected_with_the_reason() -> None:
    world = World()
    on_message("hang")(lambda _message: gevent.sleep(60))
    director = world.enter(DIRECTOR)
    world.enter(ENGINE)
    hanging = director.send_message("hang", None, 0)
    never = director.send_message("hang", None, 1)
    gevent.sleep(0.05)

    world.gone = {0: "worker 0 was lost: out of memory", 1: "worker 1 was lost: it never came"}
    for worker, why in world.gone.items():
        world.hub.lose(worker, why)
    world.hub.flush(monotonic_ns())
    later = director.send_message("hang", None, "workers")

    assert hanging.wait(5)[:2] == ("rejected", "worker 0 was lost: out of memory")
    assert never.wait(5)[:2] == ("rejected", "worker 1 was lost: it never came")
    assert [each.reason for each in later.wait(5).answers] == list(world.gone.values())


def test_a_process_that_is_started_anew_answers_for_itself_only() -> None:
    world, seen = World(), []
    on_message("hang")(lambda _message: gevent.sleep(60))
    keep(seen)
    director = world.enter(DIRECTOR)
    world.enter(ENGINE)
    hanging = director.send_message("hang", None, 0)
    gevent.sleep(0.05)

    world.enter(ENGINE)

    assert hanging.wait(5)[:2] == ("rejected", "worker 0 engine 0 was started anew")
    assert director.send_message("step", "new", 0).wait(5).is_processed
    assert seen == ["new"]


def test_a_process_that_is_started_anew_owes_nothing_for_what_the_former_one_has_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_room, "AWAITED_MAX", 10)
    world, seen = World(), []
    on_message("hang")(lambda _message: gevent.sleep(0.3))
    keep(seen)
    world.enter(DIRECTOR)
    former = world.enter(ENGINE)
    for _ in range(10):
        former.send_message("hang", None, "director")
    gevent.sleep(0.05)

    newer = world.enter(ENGINE)
    # Answers to the former one come all the same.
    gevent.sleep(0.4)

    sent = [newer.send_message("step", number, "director") for number in range(10)]
    assert all(each.wait(5).is_processed for each in sent)


def test_what_cannot_be_sent_is_refused_at_once_and_too_much_is_rejected() -> None:
    engine = World().enter(ENGINE)
    for name, data, to in (
        ("", 1, None),
        ("a", object(), None),
        ("a", float("nan"), None),
        ("a", b"x" * 300_000, None),
        ("a", 1, "worker"),
        ("a", 1, -1),
        ("a", 1, True),
    ):
        with pytest.raises(ValueError, match=r"send_message|travel|to="):
            engine.send_message(name, data, to)
    lonely = World(loss=1.0).enter(ENGINE)

    sent = [lonely.send_message("a", number, None) for number in range(room.PENDING_MAX + 1)]

    assert not sent[0].is_done
    assert sent[-1].wait(1)[:2] == ("rejected", sent[-1].wait(1).reason)
    assert "wait here for their answers" in sent[-1].wait(1).reason
    with pytest.raises(TimeoutError, match="what became of a message 'a' is not known within 0 s"):
        sent[0].wait(0)
    lonely.close(0)
    assert sent[0].wait(1).reason == "the run has ended before it was handled"
    assert lonely.send_message("a", 1, None).wait(1).status == "rejected"


@pytest.mark.promise("messages")
def test_a_handler_that_raises_half_a_character_fails_its_own_message_and_no_other() -> None:
    world, seen = World(), []

    @on_message("step")
    def step(message):
        if message.data == HALF:
            raise ValueError(f"unknown name {message.data}")
        seen.append(message.data)

    world.enter(DIRECTOR)
    engine = world.enter(ENGINE)
    receipts = [each.wait(5) for each in [engine.send_message("step", name, "director") for name in ("a", HALF, "b")]]

    assert [each.reason for each in receipts] == ["", "ValueError: unknown name ?", ""]
    assert seen == ["a", "b"]


@pytest.mark.promise("messages")
def test_a_key_that_raises_half_a_character_fails_its_own_message_and_no_other() -> None:
    world, seen = World(), []

    def key(data: str) -> str:
        if data == HALF:
            raise ValueError(f"unknown name {data}")
        return data

    keep(seen, concurrent=True, key=key)
    world.enter(DIRECTOR)
    engine = world.enter(ENGINE)
    receipts = [each.wait(5) for each in [engine.send_message("step", name, "director") for name in ("a", HALF, "b")]]

    assert [each.reason for each in receipts] == ["", "its key= raised ValueError: unknown name ?", ""]
    assert seen == ["a", "b"]


def nested(depth: int) -> list[Any]:
    data: list[Any] = []
    for _ in range(depth - 1):
        data = [data]
    return data


@pytest.mark.promise("messages")
@pytest.mark.parametrize("kind", [lambda data: data, lambda data: {"a": ("[", data[0])}], ids=["lists", "others"])
def test_data_that_is_nested_too_deep_is_refused_where_it_is_sent(kind: Callable[[list[Any]], Any]) -> None:
    world, seen = World(), []
    keep(seen)
    world.enter(DIRECTOR)
    engine = world.enter(ENGINE)

    with pytest.raises(ValueError, match="lists and dicts nested more than 500 deep are too deep for a message"):
        engine.send_message("step", kind(nested(501)), "director")

    assert engine.send_message("step", [nested(499)] * 2, "director").wait(5).is_processed
    assert seen == [[nested(499)] * 2]


@pytest.mark.promise("messages")
def test_data_that_cannot_be_read_where_it_arrives_fails_its_own_message_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, seen = World(), []
    keep(seen)
    world.enter(DIRECTOR)
    engine = world.enter(ENGINE)
    deep = Payload(b"[" * 100_000 + b"]" * 100_000, is_bytes=False)
    with monkeypatch.context() as of_another_release:
        of_another_release.setattr(room, "encode", lambda _data: deep)
        sent = engine.send_message("step", None, "director")

    assert sent.wait(1)[:2] == ("failed", "its data cannot be read there: it is nested too deep")
    assert engine.send_message("step", 1, "director").wait(1).is_processed
    assert seen == [1]
    assert world.errors == [("handler", "its data cannot be read there: it is nested too deep", "step")]


def test_a_sender_that_sends_too_fast_is_told_by_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_room, "BURST", 10)
    monkeypatch.setattr(hub_room, "RATE_PER_SECOND", 1)
    world, seen = World(), []
    keep(seen)
    world.enter(DIRECTOR)
    engine = world.enter(ENGINE)

    receipts = [each.wait(5) for each in [engine.send_message("step", number, None) for number in range(20)]]

    assert [each.status for each in receipts] == ["processed"] * 10 + ["rejected"] * 10
    assert receipts[-1].reason == "more than 1 messages a second came from here"


def test_frames_that_cannot_be_meant_are_refused_and_change_nothing() -> None:
    world, seen = World(), []
    keep(seen)
    world.enter(DIRECTOR)
    engine = world.enter(ENGINE)
    gevent.sleep(0.01)
    hub = world.hub._members[ENGINE].leg.hub
    message = engine_pb2.CustomMessage(id=1, name="step", to=engine_pb2.CustomMessage.DIRECTOR)

    def entry(**changes: Any) -> bytes:
        made = engine_pb2.CustomMessage()
        made.CopyFrom(message)
        for name, value in changes.items():
            setattr(made, name, value)
        return engine_pb2.MessageEntry(message=made).SerializeToString()

    for post, fields in (
        (Post(7, 0), {}),
        (ENGINE, {"entries": [b"x"], "oldest": 2, "first": 1}),
        (ENGINE, {"oldest": 1, "first": 1}),
        (ENGINE, {"received": 9}),
        (ENGINE, {"entries": [bytes(400_000)], "oldest": 1, "first": 1}),
        (ENGINE, {"entries": [b"\xff"], "oldest": 1, "first": 1}),
        (ENGINE, {"entries": [b""], "oldest": 1, "first": 2}),
        (ENGINE, {"entries": [entry(name="")], "oldest": 1, "first": 3}),
        (ENGINE, {"entries": [entry(id=0)], "oldest": 1, "first": 4}),
        (ENGINE, {"entries": [entry(to=0)], "oldest": 1, "first": 5}),
    ):
        frame = engine_pb2.MessageFrame(hub=hub, **fields)
        with pytest.raises(WireError):
            world.hub.hear(post, Start(1, 1), frame, monotonic_ns())

    assert not seen
    assert engine.send_message("step", "well", None).is_done is False
