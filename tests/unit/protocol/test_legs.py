"""The way between a script's process and the hub: whatever waits on one side comes to be on the other."""

from __future__ import annotations

from loadstone_protocol.legs import ENTRIES_MAX, Leg
from loadstone_protocol.v1 import engine_pb2

SECOND = 1_000_000_000


def carry(sender: Leg, receiver: Leg, now_ns: int) -> list[bytes]:
    """Let everything travel that is due between two ends; return what is new at the second."""
    fresh: list[bytes] = []
    while frame := sender.next_frame(now_ns):
        fresh += receiver.hear(engine_pb2.MessageFrame.FromString(frame.SerializeToString()), now_ns)
        while answer := receiver.next_frame(now_ns):
            sender.hear(engine_pb2.MessageFrame.FromString(answer.SerializeToString()), now_ns)
    return fresh


def test_as_many_answers_as_may_wait_arrive_although_all_of_them_are_sent_again() -> None:
    hub, engine = Leg("hub"), Leg("hub")
    answers = [b"%d" % number for number in range(ENTRIES_MAX)]
    for answer in answers:
        assert hub.put(answer)
    while hub.next_frame(0):
        pass  # lost, as the engine stands still

    hub.look(60 * SECOND)
    assert carry(hub, engine, 60 * SECOND) == answers
    assert hub.is_delivered
