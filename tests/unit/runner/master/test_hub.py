"""What the hub of custom messages makes of entries that cannot be meant."""

from __future__ import annotations

import pytest

from loadstone_protocol.codec import WireError
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.master.hub import DIRECTOR, Hub, Post, Start

ENGINE = Post(0, 0)
START = Start(1, 1)
OF_A_LATER_RELEASE = b"\x1a\x02\x08\x01"  # field 3 of MessageEntry


def entry(number: int, name: str) -> bytes:
    message = engine_pb2.CustomMessage(id=number, to=engine_pb2.CustomMessage.DIRECTOR, name=name)
    return engine_pb2.MessageEntry(message=message).SerializeToString()


@pytest.mark.promise("messages")
@pytest.mark.parametrize(
    "bad",
    [OF_A_LATER_RELEASE, entry(3, "x" * 200), entry(0, "a"), b"\xff", b""],
    ids=["of another kind", "with a long name", "without a number", "no message", "empty"],
)
def test_entries_around_one_that_cannot_be_meant_are_taken_in(bad: bytes) -> None:
    sent: list[tuple[Post, engine_pb2.MessageFrame]] = []
    hub = Hub("hub", workers=1, engines=1, send=lambda *told: sent.append(told), absence=lambda _worker: "")
    hub.hear(DIRECTOR, START, engine_pb2.MessageFrame(rewind=True), 1)
    hub.hear(ENGINE, START, engine_pb2.MessageFrame(rewind=True), 1)
    name = sent[-1][1].hub
    frame = engine_pb2.MessageFrame(hub=name, first=1, oldest=1, entries=[entry(1, "a"), bad, entry(2, "b"), bad])
    sent.clear()

    with pytest.raises(WireError):
        hub.hear(ENGINE, START, frame, 2)

    assert [each.received for post, each in sent if post == ENGINE] == [4]
    passed_on = [content for post, each in sent if post == DIRECTOR for content in each.entries]
    assert [engine_pb2.MessageEntry.FromString(each).message.name for each in passed_on] == ["a", "b"]
