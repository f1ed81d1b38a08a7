"""An outbox and an inbox lose nothing silently, whatever happens between them and to either of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.outbox import Batch, Entry, Inbox, Outbox, OutboxError, Phase, Receipt

ROOMY = {"entries_max": 1_000, "bytes_max": 1_000_000}
NETWORK = ("deliver", "deliver", "duplicate", "lose", "reorder")
STEPS = ("put", "put", "put", "send", "send", "keep", "answer", "reconnect", "crash", "forget", *NETWORK)


def send(outbox: Outbox) -> Batch:
    batch = outbox.take(bytes_max=100_000, entries_max=1_000, in_flight_max=1_000_000)
    assert batch is not None
    return batch


@dataclass
class World:
    """An outbox, an inbox, what is on its way between them, and what the receiver has applied and kept."""

    outbox: Outbox
    inbox: Inbox = field(default_factory=Inbox)
    batches: list[Batch] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    applied: list[Entry] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)
    put: int = 0
    lost_memory: int = 0  # entries of receivers that forgot them

    def step(self, step: str, at: int) -> None:
        match step:
            case "put":
                self.put += 1
                self.outbox.put(b"%d" % self.put)
            case "send":
                if (batch := self.outbox.take(bytes_max=8, entries_max=1_000, in_flight_max=16)) is not None:
                    self.batches.append(batch)
            case "keep":
                self.kept = list(self.applied)
                self.inbox.keep(self.inbox.received)
            case "answer":
                self.receipts.append(self.inbox.receipt())
            case "reconnect":
                self.batches.clear()
                self.receipts.clear()
                self.outbox.rewind()
            case "crash":
                self.applied = list(self.kept)
                self.inbox = Inbox(self.inbox.durable)
            case "forget":
                self.lost_memory += len(self.applied)
                self.applied, self.kept = [], []
                self.inbox = Inbox()
            case _:
                self._move(step, at)

    def _move(self, step: str, at: int) -> None:
        for queue in (self.batches, self.receipts):
            if not queue:
                continue
            place = at % len(queue) if step == "reorder" else 0
            moved = queue[place] if step == "duplicate" else queue.pop(place)
            if step == "lose":
                continue
            if isinstance(moved, Batch):
                self.applied += self.inbox.take(moved)
            else:
                self.outbox.acknowledge(moved)

    def heal(self) -> None:
        for _ in range(10_000):
            self.step("reconnect", 0)
            while (batch := self.outbox.take(bytes_max=8, entries_max=1_000, in_flight_max=16)) is not None:
                self.applied += self.inbox.take(batch)
                self.step("keep", 0)
                self.outbox.acknowledge(self.inbox.receipt())
            if self.outbox.phase is Phase.CLOSED:
                return
        raise AssertionError("the outbox never closed")


STEP = st.tuples(st.sampled_from(STEPS), st.integers(0, 20))


@settings(max_examples=400, deadline=None)
@given(st.lists(STEP.filter(lambda step: step[0] != "forget"), max_size=150), st.integers(1, 12))
@pytest.mark.promise("nothing-lost-silently")
def test_every_entry_is_applied_once_and_in_order_or_is_counted_in_a_gap_at_its_place(
    steps: list[tuple[str, int]], room: int
) -> None:
    world = World(Outbox(entries_max=room, bytes_max=20))
    for step, at in steps:
        world.step(step, at)
        assert world.inbox.durable <= world.inbox.received <= world.outbox.last
        assert world.outbox.durable <= world.inbox.durable
    world.outbox.drain()
    world.heal()

    expected = 1
    for entry in world.applied:
        if entry.lost:
            expected += entry.lost
        else:
            assert entry.payload == b"%d" % expected
            expected += 1
    assert expected == world.put + 1
    assert sum(entry.lost for entry in world.applied) == world.outbox.dropped


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=120))
def test_a_receiver_that_lost_its_memory_goes_on_and_says_how_many_entries_it_never_had(
    steps: list[tuple[str, int]],
) -> None:
    world = World(Outbox(**ROOMY))
    for step, at in steps:
        world.step(step, at)
    world.outbox.drain()
    world.heal()

    numbers = [int(entry.payload) for entry in world.applied]
    assert numbers == list(range(world.put + 1 - len(numbers), world.put + 1))
    assert len(numbers) + world.inbox.forgotten == world.put


def test_a_sender_that_was_started_again_goes_on_behind_what_is_durable() -> None:
    inbox = Inbox()
    first = Outbox(**ROOMY)
    for payload in (b"a", b"b", b"c"):
        first.put(payload)
    assert [entry.payload for entry in inbox.take(send(first))] == [b"a", b"b", b"c"]

    # Only "a" was known to be durable when the sender ended; it fills the next one from what it has on disk.
    second = Outbox(**ROOMY, first=2)
    for payload in (b"b", b"c", b"d"):
        second.put(payload)

    assert [entry.payload for entry in inbox.take(send(second))] == [b"d"]
    assert inbox.forgotten == 0


def test_what_has_no_room_becomes_one_gap_with_an_exact_count_and_leaves_the_rest_in_place() -> None:
    outbox = Outbox(entries_max=3, bytes_max=100)
    numbers = [outbox.put(b"xx") for _ in range(8)]

    assert numbers == [1, 2, 3, 0, 0, 0, 0, 0]
    outbox.take(bytes_max=100, entries_max=1_000, in_flight_max=100)
    outbox.acknowledge(Receipt(received=3, durable=3))
    assert outbox.put(b"yy") == 5
    assert send(outbox).entries == (Entry(b"", lost=5, lost_bytes=10), Entry(b"yy"))
    assert (outbox.dropped, outbox.dropped_bytes) == (5, 10)


def test_a_gap_is_told_without_waiting_for_what_comes_behind_it() -> None:
    outbox = Outbox(**ROOMY)
    outbox.lose(7, 700)

    assert send(outbox) == Batch(1, 1, (Entry(b"", 7, 700),))


def test_a_bound_of_bytes_holds_like_one_of_entries() -> None:
    outbox = Outbox(entries_max=100, bytes_max=10)

    assert [outbox.put(b"x" * 4) for _ in range(4)] == [1, 2, 0, 0]
    assert not outbox.has_room(3)
    assert outbox.has_room(2)


def test_a_write_after_the_end_neither_raises_nor_is_lost_without_a_count() -> None:
    outbox = Outbox(**ROOMY)
    outbox.put(b"a")
    outbox.drain()
    assert outbox.phase is Phase.DRAINING
    assert outbox.put(b"late") == 0
    send(outbox)
    outbox.acknowledge(Receipt(1, 1))
    outbox.drain()
    assert outbox.put(b"later") == 0

    assert outbox.phase is Phase.CLOSED
    assert outbox.late == 2
    assert outbox.last == 1


def test_giving_up_says_how_many_entries_were_not_durable() -> None:
    outbox = Outbox(**ROOMY)
    for _ in range(3):
        outbox.put(b"a")
    send(outbox)
    outbox.acknowledge(Receipt(received=3, durable=1))

    assert outbox.close() == 2
    assert outbox.phase is Phase.CLOSED


def test_an_empty_outbox_is_closed_as_soon_as_it_drains() -> None:
    outbox = Outbox(**ROOMY)
    outbox.drain()

    assert outbox.phase is Phase.CLOSED


def test_no_more_is_on_its_way_than_allowed_but_always_one_entry() -> None:
    outbox = Outbox(**ROOMY)
    for _ in range(5):
        outbox.put(b"x" * 10)

    assert [len(outbox.take(bytes_max=1, entries_max=1_000, in_flight_max=25).entries) for _ in range(1)] == [1]  # type: ignore[union-attr]
    batch = outbox.take(bytes_max=100, entries_max=1_000, in_flight_max=25)
    assert batch is not None
    assert batch.first == 2
    assert len(batch.entries) == 1
    assert outbox.take(bytes_max=100, entries_max=1_000, in_flight_max=25) is None
    assert outbox.unsent == 3
    outbox.acknowledge(Receipt(received=2, durable=0))
    assert len(send(outbox).entries) == 3


def test_a_batch_has_no_more_entries_than_its_receiver_takes() -> None:
    outbox = Outbox(**ROOMY)
    for _ in range(5):
        outbox.put(b"")

    batches = [outbox.take(bytes_max=100, entries_max=2, in_flight_max=100) for _ in range(4)]
    assert [each and (each.first, len(each.entries)) for each in batches] == [(1, 2), (3, 2), (5, 1), None]


def test_what_does_not_follow_is_asked_for_once_and_sent_again() -> None:
    outbox, inbox = Outbox(**ROOMY), Inbox()
    for payload in (b"a", b"b", b"c"):
        outbox.put(payload)
    first, second, third = (outbox.take(bytes_max=1, entries_max=1_000, in_flight_max=100) for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None

    assert inbox.take(second) == ()
    assert inbox.receipt() == Receipt(0, 0, resend=True)
    assert inbox.take(third) == ()
    assert inbox.receipt() == Receipt(0, 0, resend=False)
    outbox.acknowledge(Receipt(0, 0, resend=True))

    assert len(inbox.take(send(outbox))) == 3


@pytest.mark.parametrize("receipt", [Receipt(2, 0), Receipt(0, 2)])
def test_an_acknowledgement_of_what_was_never_sent_is_refused(receipt: Receipt) -> None:
    outbox = Outbox(**ROOMY)
    outbox.put(b"a")
    send(outbox)
    outbox.put(b"b")

    with pytest.raises(OutboxError):
        outbox.acknowledge(receipt)
    assert outbox.durable == 0


def test_nothing_is_kept_that_was_not_received() -> None:
    inbox = Inbox()
    inbox.take(Batch(1, 1, (Entry(b"a"),)))
    inbox.keep(9)

    assert inbox.receipt() == Receipt(1, 1)


def test_a_receiver_without_memory_counts_what_its_predecessor_held() -> None:
    outbox, first = Outbox(**ROOMY), Inbox()
    for payload in (b"1", b"2", b"3"):
        outbox.put(payload)
    first.take(send(outbox))
    first.keep(2)
    outbox.acknowledge(first.receipt())
    outbox.rewind()

    second = Inbox()
    applied = second.take(send(outbox))

    assert [entry.payload for entry in applied] == [b"3"]
    assert (second.forgotten, second.received, second.durable) == (2, 3, 2)
