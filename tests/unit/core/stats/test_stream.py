"""What an engine reports, and what a master may believe of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadstone_core.errors import WorldError
from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.stream import (
    BLOCK_BYTES,
    BLOCKS,
    COUNTER_BYTES,
    COUNTER_LAYOUT,
    COUNTER_MAGIC,
    MESSAGE_CAP,
    WARMING_UP,
    Counters,
    ErrorCount,
    ErrorTable,
    SeriesState,
    StreamId,
    StreamState,
    UsersAt,
    pack_counters,
    read_counters,
    unsound,
)

TREND = SeriesState(
    SeriesKey("latency"), Kind.TREND, count=6, total=60, minimum=0, maximum=30, zeros=1, indexes=(3, 7), counts=(2, 3)
)
SOUND = StreamState(StreamId(0, 1, 0, 1), sequence=1, second=0, full=True, series=(TREND,))


U48 = st.integers(0, 2**48)
BLOCKS_OF_COUNTERS = st.lists(st.builds(Counters, U48, U48, U48, U48, U48, U48, U48), min_size=1, max_size=BLOCKS)


@example([Counters(completed=1)] * BLOCKS, b"")
@given(BLOCKS_OF_COUNTERS, st.binary(max_size=9))
def test_the_counters_of_all_scenarios_survive_their_file(blocks: list[Counters], rest: bytes) -> None:
    read = read_counters(pack_counters(*blocks) + rest)

    assert read.completed == sum(block.completed for block in blocks)
    assert read.reported == sum(block.reported for block in blocks)
    iterations = [(block.iterations_started, block.iterations_completed) for block in blocks]
    assert [*read.scenarios, *[(0, 0)] * (len(blocks) - len(read.scenarios))] == iterations
    assert not read.scenarios or read.scenarios[-1] != (0, 0)


def a_file(block: Counters, baseline: Counters, magic: int) -> bytes:
    content = bytearray(pack_counters(block))
    slots = (magic, *(getattr(baseline, name) for name in COUNTER_LAYOUT[1:]))
    at = BLOCKS * BLOCK_BYTES
    content[at : at + BLOCK_BYTES] = b"".join(slot.to_bytes(8, "little") for slot in slots)
    return bytes(content)


def test_while_it_warms_up_an_engine_has_counted_nothing_but_that() -> None:
    counts = Counters(9, 7, 1, 1, 6, 5, 3)

    assert read_counters(a_file(counts, Counters(), WARMING_UP)) == Counters(warm_up=7)


def test_after_its_warm_up_an_engine_counts_what_came_since_and_what_was_open() -> None:
    before, now = Counters(9, 7, 1, 1, 6, 5, 3), Counters(20, 18, 2, 3, 16, 15, 12)

    # Two requests and an iteration were open: they end after the warm-up, so they belong to the load.
    assert read_counters(a_file(now, before, COUNTER_MAGIC)) == Counters(
        started=13,
        completed=11,
        unsent=1,
        ambiguous=2,
        iterations_started=11,
        iterations_completed=10,
        reported=5,
        scenarios=((10, 10),),
        warm_up=7,
    )


def test_counters_of_one_scenario_may_be_as_large_as_their_slots() -> None:
    largest = 2**64 - 1

    assert read_counters(pack_counters(Counters(largest))).started == largest


def test_a_block_that_is_not_ours_is_refused() -> None:
    content = bytearray(pack_counters(Counters()))
    content[BLOCK_BYTES] = 7
    with pytest.raises(WorldError, match="0x7 instead of"):
        read_counters(bytes(content))


def test_the_counters_file_has_little_endian_slots_in_the_order_of_the_layout() -> None:
    content = pack_counters(Counters(1, 2, 3, 4, 5, 6, 7, 8))

    slots = [int.from_bytes(content[at : at + 8], "little") for at in range(0, BLOCK_BYTES, 8)]
    assert dict(zip(COUNTER_LAYOUT, slots, strict=True)) == {
        "magic": COUNTER_MAGIC,
        "started": 1,
        "completed": 2,
        "unsent": 3,
        "ambiguous": 4,
        "iterations_started": 5,
        "iterations_completed": 6,
        "reported": 7,
        "measured": 8,
    }


def test_a_short_counters_file_is_refused() -> None:
    with pytest.raises(WorldError, match="4607 bytes instead of 4608"):
        read_counters(bytes(COUNTER_BYTES - 1))


def test_a_counters_file_of_another_version_is_refused() -> None:
    with pytest.raises(WorldError, match="0x4c530001 instead of 0x4c530002"):
        read_counters(pack_counters(Counters()).replace(b"\x02\x00\x53\x4c", b"\x01\x00\x53\x4c"))


def test_a_sound_state_has_no_fault() -> None:
    counter = SeriesState(SeriesKey("iterations"), Kind.COUNTER, count=1, total=5)

    assert unsound(SOUND) == ""
    assert unsound(replace(SOUND, series=(TREND, counter), second=-1)) == ""
    assert unsound(replace(SOUND, series=())) == ""


def test_bytes_may_add_up_to_more_than_there_may_be_samples() -> None:
    moved = replace(TREND, outcomes=(("bytes_received", 2**62), ("bytes_sent", 2**48 + 1), ("failed", 6)))

    assert unsound(replace(SOUND, series=(moved,))) == ""


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("sequence 0", {"sequence": 0}),
        ("second -2", {"second": -2}),
        ("users -1", {"users": -1}),
        ("by scenario", {"scenario_users": (1, -1)}),
        ("by scenario", {"scenario_users": (1,) * 33}),
        ("comes twice", {"series": (TREND, TREND)}),
    ],
)
def test_a_state_outside_its_bounds_is_refused(fault: str, change: dict[str, Any]) -> None:
    assert fault in unsound(replace(SOUND, **change))


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("count is below 0", {"count": -1}),
        ("count is below 0", {"outcomes": (("failed", -1),)}),
        ("count is below 0", {"zeros": -1}),
        ("or above 281474976710656", {"outcomes": (("failed", 2**48 + 1),)}),
        ("count is below 0", {"outcomes": (("bytes_sent", -1),)}),
        ("bytes are above 4611686018427387904", {"outcomes": (("bytes_received", 2**62 + 1),)}),
        ("count is below 0", {"counts": (5, -1)}),
        ("or above 281474976710656", {"count": 2**48 + 1}),
        ("or above 281474976710656", {"kind": Kind.RATE, "count": 2**48 + 1}),
        ("only a trend has buckets", {"kind": Kind.RATE}),
        ("2 bucket indexes for 1 counts", {"counts": (5,)}),
        ("count is below 1", {"counts": (5, 0)}),
        ("hold 6 samples, the count says 7", {"count": 7}),
        ("do not ascend", {"indexes": (7, 3)}),
        ("do not ascend", {"indexes": (3, 3)}),
        ("do not ascend", {"indexes": (-1, 3)}),
        ("do not ascend", {"indexes": (3, 4_033)}),
    ],
)
def test_a_series_that_contradicts_itself_is_refused_by_name(fault: str, change: dict[str, Any]) -> None:
    found = unsound(replace(SOUND, series=(replace(TREND, **change),)))

    assert fault in found
    assert found.startswith("series latency: ")


def test_errors_are_counted_by_kind_message_and_name_most_frequent_first() -> None:
    table = ErrorTable()
    table.add("Timeout", "after 5s", name="front page")
    table.add("HTTP 503", "", name="front page", count=4)
    table.extend([ErrorCount("Timeout", "after 5s", "front page", 2), ErrorCount("Timeout", "after 5s", "cart", 3)])

    assert table.counts() == (
        ErrorCount("HTTP 503", "", "front page", 4),
        ErrorCount("Timeout", "after 5s", "cart", 3),
        ErrorCount("Timeout", "after 5s", "front page", 3),
    )


@given(st.lists(st.integers(0, 20)))
def test_errors_beyond_the_cap_are_counted_together(messages: list[int]) -> None:
    table = ErrorTable(cap=3)
    for message in messages:
        table.add("Failed", str(message), name="")

    counts = table.counts()
    assert len(counts) <= 4
    assert sum(error.count for error in counts) == len(messages)
    assert any(error.kind == "__overflow__" for error in counts) == (len(set(messages)) > 3)


def test_an_error_that_was_taken_back_is_not_listed() -> None:
    table = ErrorTable()
    table.add("Timeout", "", name="", count=2)
    table.add("Timeout", "", name="", count=-2)

    assert table.counts() == ()


def test_long_messages_are_cut() -> None:
    table = ErrorTable()
    table.add("Failed", "x" * 5_000, name="")

    assert len(table.counts()[0].message) == MESSAGE_CAP


@pytest.mark.parametrize(
    ("history", "fault"),
    [
        ((UsersAt(0, 1, (3,)), UsersAt(5, 6, (3,))), ""),
        ((UsersAt(0, 1, (3,)), UsersAt(0, 2, (3,))), "does not ascend"),
        ((UsersAt(1, 2, (3,)), UsersAt(2, 2, (3,))), "does not ascend"),
        ((UsersAt(9, 1, (3,)),), "seconds that are none of its own"),
        ((UsersAt(-1, 1, (3,)),), "seconds that are none of its own"),
        ((UsersAt(0, 1, (0,) * 99),), "more scenarios"),
    ],
)
def test_a_history_is_refused_that_no_stream_can_have(history: tuple[UsersAt, ...], fault: str) -> None:
    state = StreamState(stream=StreamId(0, 1, 0, 1), sequence=7, second=6, full=True, history=history)
    assert fault in unsound(state)
    assert bool(fault) == bool(unsound(state))
