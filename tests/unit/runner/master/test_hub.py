"""What the hub of custom messages makes of entries that cannot be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.runner.master import rig

from loadstone_protocol.codec import WireError
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.master.hub import DIRECTOR, Hub, Post, Start

if TYPE_CHECKING:
    from pathlib import Path

ENGINE = Post(0, 0)
START = Start(1, 1)
ILL_MADE = "a message has a name of 1 to 128 characters and at most 256 KiB of data"
OF_A_LATER_RELEASE = b"\x1a\x02\x08\x01"  # field 3 of MessageEntry


def entry(number: int, name: str, *, to: int = engine_pb2.CustomMessage.DIRECTOR, data: bytes = b"") -> bytes:
    message = engine_pb2.CustomMessage(id=number, name=name, data=data)
    message.to = to  # type: ignore[assignment]
    return engine_pb2.MessageEntry(message=message).SerializeToString()


class World:
    """A hub and what it sends; the director and one engine have begun."""

    def __init__(self) -> None:
        self.sent: list[tuple[Post, engine_pb2.MessageFrame]] = []
        self.hub = Hub(
            "hub", workers=1, engines=1, send=lambda *told: self.sent.append(told), absence=lambda _worker: ""
        )
        self.hub.hear(DIRECTOR, START, engine_pb2.MessageFrame(rewind=True), 1)
        self.hub.hear(ENGINE, START, engine_pb2.MessageFrame(rewind=True), 1)
        self._name = self.sent[-1][1].hub
        self.sent.clear()

    def hear(self, *entries: bytes) -> None:
        """Let the engine send these in a frame."""
        self.hub.hear(ENGINE, START, engine_pb2.MessageFrame(hub=self._name, first=1, oldest=1, entries=entries), 2)

    def told(self, post: Post) -> list[engine_pb2.MessageEntry]:
        """Return the entries that somebody was sent."""
        sent = [content for to, frame in self.sent if to == post for content in frame.entries]
        return [engine_pb2.MessageEntry.FromString(each) for each in sent]


@pytest.mark.promise("messages")
@pytest.mark.parametrize(
    "bad",
    [OF_A_LATER_RELEASE, entry(3, "x" * 200), entry(0, "a"), b"\xff", b""],
    ids=["of another kind", "with a long name", "without a number", "no message", "empty"],
)
def test_entries_around_one_that_cannot_be_meant_are_taken_in(bad: bytes) -> None:
    world = World()

    with pytest.raises(WireError, match=r"^2 of its 4 entries: "):
        world.hear(entry(1, "a"), bad, entry(2, "b"), bad)

    assert [frame.received for to, frame in world.sent if to == ENGINE] == [4]
    assert [each.message.name for each in world.told(DIRECTOR)] == ["a", "b"]


@pytest.mark.promise("messages")
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry(7, "x" * 200), ILL_MADE),
        (entry(7, ""), ILL_MADE),
        (entry(7, "a", data=bytes(262_145)), ILL_MADE),
        (entry(7, "a", to=0), "a message says whom it is for"),
        (entry(7, "a", to=99), "a message says whom it is for"),
    ],
    ids=["long name", "no name", "much data", "for nobody", "for whom a later release has"],
)
def test_a_message_that_cannot_be_meant_is_rejected_to_its_sender(bad: bytes, reason: str) -> None:
    world = World()

    with pytest.raises(WireError):
        world.hear(bad)

    routed, rejected = [each.answer for each in world.told(ENGINE)]
    assert (routed.id, routed.status, routed.expected) == (7, engine_pb2.MessageAnswer.ROUTED, 1)
    assert (rejected.id, rejected.status, rejected.reason) == (7, engine_pb2.MessageAnswer.REJECTED, reason)
    assert not world.told(DIRECTOR)


def test_the_log_says_how_much_of_a_frame_was_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    master = rig.Master(tmp_path, rig.plan_of(), rig.Clock())
    master.bring_director()
    master.director_says(messages=engine_pb2.MessageFrame(rewind=True))
    hub = master.to_director.sent[-1].messages.hub
    entries = [entry(1, "a"), OF_A_LATER_RELEASE]

    master.director_says(messages=engine_pb2.MessageFrame(hub=hub, first=1, oldest=1, entries=entries))

    said = "from=the director reason=1 of its 2 entries: an entry says nothing that is known here"
    assert caplog.messages == [f"Left out what cannot be meant of a frame of messages: {said}"]
    assert master.conductor.mail.bad_frames == {"director": 1}


@pytest.mark.promise("messages")
def test_a_message_to_all_engines_goes_however_many_there_are() -> None:
    sent: list[tuple[Post, engine_pb2.MessageFrame]] = []
    hub = Hub("hub", workers=1_700, engines=64, send=lambda *told: sent.append(told), absence=lambda _worker: "")
    hub.hear(DIRECTOR, START, engine_pb2.MessageFrame(rewind=True), 1)
    name = sent[-1][1].hub
    message = entry(1, "go", to=engine_pb2.CustomMessage.WORKERS)
    hub.hear(DIRECTOR, START, engine_pb2.MessageFrame(hub=name, first=1, oldest=1, entries=[message]), 2)

    answers = [content for to, frame in sent if to == DIRECTOR for content in frame.entries]
    routed = engine_pb2.MessageEntry.FromString(answers[0]).answer
    assert (routed.status, routed.expected) == (engine_pb2.MessageAnswer.ROUTED, 1_700 * 64)
    assert len(answers) == 1
