"""What comes over the wire is read and added up alike, compiled and in Python, whatever the bytes are."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.flavours import shelf_called

from loadstone_core.stats.histogram import LARGEST_INDEX, Histogram
from loadstone_core.stats.merge import Merge
from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.stats.stream import LARGEST_COUNT, LARGEST_SUM, Counters, SeriesState, StreamId, StreamState
from loadstone_protocol.codec import WireError, series_to_bytes
from loadstone_protocol.v1 import statistics_pb2

promise = pytest.mark.promise

PURE, COMPILED = shelf_called("pure"), shelf_called("compiled")
COUNTS = st.one_of(st.integers(1, 300), st.integers(1, LARGEST_COUNT // 8))
INDEXES = st.one_of(st.integers(0, 200), st.integers(0, LARGEST_INDEX))
BUCKETS = st.dictionaries(INDEXES, COUNTS, max_size=20)
NAMES = st.sampled_from(["failed", "unsent", "bytes_sent", "\u00e9", ""])
OUTCOMES = st.dictionaries(NAMES, st.integers(1, LARGEST_COUNT), max_size=4) | st.fixed_dictionaries(
    {"bytes_sent": st.integers(LARGEST_COUNT + 1, LARGEST_SUM)}
)
KEYS = st.tuples(st.sampled_from(["latency", "own"]), st.text(max_size=5, alphabet="ab\u00e9")).map(
    lambda parts: SeriesKey(parts[0], name=parts[1], labels=(("tier", "a"),))
)


@st.composite
def sound_states(draw: Any, key: SeriesKey | None = None) -> SeriesState:
    buckets = draw(BUCKETS)
    zeros = draw(st.integers(0, 5))
    indexes = tuple(sorted(buckets))
    return SeriesState(
        key=key or draw(KEYS),
        kind=Kind.TREND,
        count=zeros + sum(buckets.values()),
        total=draw(st.integers(-(2**63), 2**63 - 1)),
        minimum=draw(st.integers(-(2**63), 2**63 - 1)),
        maximum=draw(st.integers(-(2**63), 2**63 - 1)),
        zeros=zeros,
        indexes=indexes,
        counts=tuple(buckets[index] for index in indexes),
        outcomes=tuple(sorted(draw(OUTCOMES).items())),
    )


def told(read: Any, content: bytes) -> Any:
    """Return everything that a flavour makes of some bytes."""
    try:
        state = read(content)
    except WireError:
        return "refused"
    return {each.name: getattr(state, each.name) for each in fields(SeriesState)} | {"fault": state.fault}


@given(sound_states())
def test_a_sound_state_is_read_as_it_was_sent(state: SeriesState) -> None:
    content = series_to_bytes(state)

    assert told(COMPILED.read_series, content) == told(PURE.read_series, content)
    assert PURE.read_series(content) == state
    assert COMPILED.read_series(content).fault == state.fault == ""


@st.composite
def any_messages(draw: Any) -> bytes:
    """Messages that parse, with numbers that nothing sound would have."""
    whole, signed = st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1)
    small = st.integers(0, 3)
    message = statistics_pb2.SeriesState(
        key=statistics_pb2.SeriesKey(metric=draw(st.sampled_from(["latency", ""])), name="n"),
        kind=draw(st.integers(0, 6)),
        count=draw(st.one_of(small, whole)),
        total=draw(signed),
        minimum=draw(signed),
        maximum=draw(signed),
        zeros=draw(st.one_of(small, whole)),
        index_deltas=draw(st.lists(st.one_of(st.integers(-2, 70), st.integers(-(2**31), 2**31 - 1)), max_size=4)),
        counts=draw(st.lists(st.one_of(small, whole), max_size=4)),
        outcomes=[
            statistics_pb2.Outcome(
                name=name, count=draw(st.one_of(whole, st.integers(LARGEST_SUM - 1, LARGEST_SUM + 1)))
            )
            for name in draw(st.lists(NAMES, max_size=2))
        ],
    )
    return message.SerializeToString()


@given(any_messages())
def test_of_what_cannot_be_meant_the_same_is_said(content: bytes) -> None:
    assert told(COMPILED.read_series, content) == told(PURE.read_series, content)


# Fields twice, numbers one by one or in parts, unknown fields: allowed, though ours never write so.
OTHER_FORMS = [
    b"\x0a\x09\x0a\x07latency\x10\x01\x18\x05\x18\x02\x40\x06\x48\x02",
    b"\x0a\x09\x0a\x07latency\x10\x01\x18\x02\x42\x01\x06\x42\x01\x02\x4a\x01\x01\x4a\x01\x01",
    b"\x0a\x09\x0a\x07latency\x10\x01\x7a\x02hi\x80\x01\x05\x99\x01" + bytes(8) + b"\x9d\x01" + bytes(4),
    b"\x0a\x03\x0a\x01l\x0a\x03\x22\x01n\x10\x01",
    b"\x0a\x09\x0a\x07latency\x10\x02\x52\x07\x0a\x03bad\x10\x01\x52\x04\x10\x02\x10\x03",
    b"\x0a\x09\x0a\x07latency\x10\x01\x18\x01\x42\x0b" + b"\x86" + b"\x80" * 8 + b"\x00\x4a\x01\x01",
]


@pytest.mark.parametrize("content", OTHER_FORMS)
def test_other_forms_of_the_same_message_are_read_as_well(content: bytes) -> None:
    assert told(COMPILED.read_series, content) == told(PURE.read_series, content)


@given(st.binary(max_size=60))
@example(b"\x0a\x03\x0a\x01\xff\x10\x01")
@example(b"\x0a\x03\x0a\x01l\x10\x01\x42\x01\x80\x4a\x01\x80")
@example(b"\x0a\x03\x0a\x01l\x10\x01\x52\x05\x0a\x01\xff\x10\x01")
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01l")
@example(b"\x00\x00")
@example(b"\x0a\x03\x0a\x01l\x10\x01\xb0\x80\x80\x80\x9b\x38\x05")
@example(b"\x0a\x03\x0a\x01l\x10\x01\xf8\xff\xff\xff\x1f\x05")
@example(b"\x0a\x03\x0a\x01l\x90\x80\x80\x80\x80\x00\x01")
@example(b"\x0a\x03\x0a\x01l\x90\x80\x80\x80\x00\x01")
def test_any_bytes_are_read_alike_or_refused_by_both(content: bytes) -> None:
    assert told(COMPILED.read_series, content) == told(PURE.read_series, content)


@given(sound_states(), st.integers(0, 2**32), st.data())
def test_damaged_states_are_read_alike_or_refused_by_both(state: SeriesState, seed: int, data: st.DataObject) -> None:
    content = bytearray(series_to_bytes(state))
    chance = random.Random(seed)  # noqa: S311
    for _ in range(data.draw(st.integers(1, 4))):
        match chance.randrange(3):
            case 0:
                content[chance.randrange(len(content))] = chance.randrange(256)
            case 1:
                del content[chance.randrange(len(content)) :]
            case _:
                content.insert(chance.randrange(len(content) + 1), chance.randrange(256))
        if not content:
            break

    assert told(COMPILED.read_series, bytes(content)) == told(PURE.read_series, bytes(content))


def test_keys_without_end_are_read_and_not_all_remembered() -> None:
    from loadstone_protocol.codec import KINDS, canonical_series, key_from_bytes
    from loadstone_runner.master.shelf._packed import Reader

    decoded = []

    def decode(content: bytes) -> SeriesKey:
        decoded.append(content)
        return key_from_bytes(content)

    reader = Reader(KINDS, decode_key=decode, canonical=canonical_series, refuse=WireError, most_keys=10)
    contents = [
        series_to_bytes(SeriesState(SeriesKey("own", name=str(number)), Kind.RATE, 1, 1)) for number in range(35)
    ]
    keys = [reader.read(content).key for content in contents]
    again = [reader.read(content).key for content in contents[-5:]]

    assert keys == [SeriesKey("own", name=str(number)) for number in range(35)]
    assert again == keys[-5:]
    assert len(decoded) == 35


KEY = SeriesKey("latency", name="front")


@given(st.lists(sound_states(KEY), min_size=1, max_size=5))
def test_what_a_state_adds_is_the_same(states: list[SeriesState]) -> None:
    held = [flavour.Held(Series(KEY, Kind.TREND, flavour.cell_of)) for flavour in (PURE, COMPILED)]
    for sequence, state in enumerate(states, start=1):
        content = series_to_bytes(state)
        pure = held[0].replace(PURE.read_series(content), sequence=sequence)
        compiled = held[1].replace(COMPILED.read_series(content), sequence=sequence)
        assert dict(compiled.buckets) == dict(pure.buckets)
        assert len(compiled.buckets) == len(pure.buckets)
        assert compiled._replace(buckets=[]) == pure._replace(buckets=[])
        assert held[1].sequence == sequence


def test_a_state_that_did_not_come_over_the_wire_is_held_too() -> None:
    held = COMPILED.Held(Series(KEY, Kind.TREND, COMPILED.cell_of))
    growth = held.replace(SeriesState(KEY, Kind.TREND, 3, 9, indexes=(4, 9), counts=(1, 2)), sequence=1)

    assert (growth.samples, growth.total, dict(growth.buckets)) == (3, 9, {4: 1, 9: 2})


def test_what_is_wrong_with_a_state_keeps_it_out() -> None:
    held = COMPILED.Held(Series(KEY, Kind.TREND, COMPILED.cell_of))
    held.replace(SeriesState(KEY, Kind.TREND, 3, 9, indexes=(4, 9), counts=(1, 2)), sequence=1)
    unsound = SeriesState(KEY, Kind.TREND, 3, 9, indexes=tuple(range(9)), counts=(0, *[1] * 8))

    with pytest.raises(ValueError, match="count is below 1"):
        held.replace(unsound, sequence=2)

    assert held.sequence == 1


def merged(flavour: Any, states: list[StreamState]) -> Any:
    merge = Merge(make_held=flavour.Held, make_cell=flavour.cell_of)
    for state in states:
        series = tuple(flavour.read_series(series_to_bytes(each)) for each in state.series)
        merge.apply(
            StreamState(**{each.name: getattr(state, each.name) for each in fields(state)} | {"series": series})
        )
    totals = merge.totals()
    rows = [
        (each.second, each.requests, each.failures, each.users, each.latency.buckets, each.latency.total)
        for each in merge.take_seconds()
    ]
    return {key: series.snapshot() for key, series in totals.series.items()}, totals.requests, rows


@st.composite
def histories(draw: Any) -> list[StreamState]:
    """States of two streams, of which some come twice, late or not at all."""
    made = []
    for worker in range(2):
        counts: dict[int, int] = {}
        for sequence in range(1, draw(st.integers(2, 5))):
            for index, count in draw(BUCKETS).items():
                counts[index] = min(LARGEST_COUNT // 64, counts.get(index, 0) + 1 + count % 1_000)
            total = sum(counts.values())
            series = SeriesState(
                KEY,
                Kind.TREND,
                total,
                3 * total,
                minimum=1,
                maximum=9,
                indexes=tuple(sorted(counts)),
                counts=tuple(counts[index] for index in sorted(counts)),
                outcomes=(("failed", total // 2),) if total > 1 else (),
            )
            checks = SeriesState(SeriesKey("checks", name="ok"), Kind.RATE, sequence, sequence // 2)
            counters = Counters(started=total, completed=total)
            stream = StreamId(worker, 1, 0, 1)
            made.append(StreamState(stream, sequence, sequence, True, (series, checks), counters, users=worker))  # noqa: FBT003
    chosen = draw(st.lists(st.sampled_from(made), max_size=12)) if made else []
    return [*chosen, *draw(st.permutations(made))]


@given(histories())
@promise("exact-totals")
def test_a_merge_is_the_same_whoever_adds_up(states: list[StreamState]) -> None:
    assert merged(COMPILED, states) == merged(PURE, states)


SAMPLES = st.lists(st.integers(-3, 2**63), max_size=30)


@given(SAMPLES, SAMPLES)
def test_a_merged_histogram_is_a_histogram(first: list[int], second: list[int]) -> None:
    plain, counted, other = Histogram(), COMPILED.cell_of(Kind.TREND), Histogram()
    for sample in first:
        plain.record(sample)
        counted.record(sample)
    for sample in second:
        other.record(sample)
    older = counted.copy()
    for each in (plain, counted):
        each.merge(other)

    assert {name: getattr(counted, name) for name in Histogram.__slots__} == {
        name: getattr(plain, name) for name in Histogram.__slots__
    }
    assert counted.pack() == plain.pack()
    assert counted.minus(older).buckets == other.buckets
    assert counted.count == 0 or counted.quantile(0.9) == plain.quantile(0.9)
    counted.clear()
    assert (counted.buckets, counted.count, counted.total, counted.maximum) == ({}, 0, 0, 0)


@pytest.mark.parametrize("index", [-1, LARGEST_INDEX + 1])
def test_there_are_no_buckets_beside_those_that_there_are(index: int) -> None:
    with pytest.raises(ValueError, match="there is no bucket"):
        COMPILED.cell_of(Kind.TREND).grow([(index, 1)], count=1, total=1, zeros=0)
