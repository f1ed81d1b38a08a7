"""What of a log has arrived, what is missing of it, and its last lines."""

from __future__ import annotations

import gzip
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_protocol.messages import LogEnd
from loadstone_runner.master import logbook
from loadstone_runner.master.log_reading import last_lines, whole
from loadstone_runner.master.log_store import LogStore, read_cut, read_segment, segments, unpack
from loadstone_runner.master.logbook import DIRECTOR, LogBook, Source
from loadstone_runner.spool import Kind, LogStream, Record, Tally, digested, end_payload, gap_payload

if TYPE_CHECKING:
    from pathlib import Path

WORKER = Source(3, 1, "boot")
OUT = LogStream(0, 1, 1)
promise = pytest.mark.promise


def lines(number: int, *texts: str, stream: LogStream = OUT) -> Record:
    return Record(number, Kind.LINES, stream, len(texts), "".join(f"{text}\n" for text in texts).encode())


def gap(number: int, count: int, size: int) -> Record:
    return Record(number, Kind.GAP, OUT, count, gap_payload(size))


def end(number: int, *records: Record) -> Record:
    digest = sha256(b"".join(map(digested, records))).digest()
    held = [each for each in records if each.kind is Kind.LINES]
    lost = [each for each in records if each.kind is Kind.GAP]
    tally = Tally(
        sum(each.lines for each in records),
        sum(len(each.payload) for each in held) + sum(each.lost_size for each in lost),
        sum(each.lines for each in lost),
        sum(each.lost_size for each in lost),
        digest,
    )
    return Record(number, Kind.END, OUT, 0, end_payload(tally))


def book_of(*records: Record, source: Source = WORKER) -> LogBook:
    book = LogBook()
    for record in records:
        book.apply(source, record)
    return book


@promise("logs-complete")
def test_a_log_is_complete_when_everything_that_was_written_has_come_as_it_was() -> None:
    written = [lines(1, "a", "bc"), lines(2, "d")]
    summary = book_of(*written, end(3, *written)).summary(is_silent=False)

    assert summary.to_status() == {"complete": True, "lines": 3, "bytes": 7}
    assert summary.complaint() == ""


@promise("logs-complete")
def test_a_gap_and_what_did_not_come_are_missing_by_lines_and_bytes() -> None:
    written = [lines(1, "a"), gap(2, 4, 40), lines(3, "b")]
    with_gap = book_of(*written, end(4, *written)).summary(is_silent=False)
    assert with_gap.to_status() == {
        "complete": False,
        "lines": 2,
        "bytes": 4,
        "missingLines": 4,
        "missingBytes": 40,
    }

    cut_off = book_of(lines(1, "a"))
    told = end(9, *written).tally
    cut_off.hear_end(
        3,
        1,
        LogEnd(
            boot="boot",
            engine=0,
            start=1,
            fd=1,
            has_ended=True,
            lines=told.lines,
            size=told.size,
            lost_lines=told.lost_lines,
            lost_size=told.lost_size,
            digest=told.digest,
        ),
    )
    summary = cut_off.summary(is_silent=False)
    assert (summary.missing_lines, summary.missing_size) == (5, 42)
    assert "5 lines (42 bytes) of 6; in a cluster kubectl logs may still have it" in summary.complaint()


def test_a_stream_whose_end_nobody_told_makes_a_lower_bound() -> None:
    open_stream = book_of(lines(1, "a")).summary(is_silent=False)
    silent = book_of().summary(is_silent=True)
    director = book_of(lines(1, "a"), source=Source(DIRECTOR, 1, "boot")).summary(is_silent=False)
    not_ended = book_of()
    not_ended.hear_end(3, 1, LogEnd(boot="boot", engine=0, start=1, fd=1, has_ended=False))

    assert open_stream.to_status()["missingAtLeast"] is True
    assert "a worker that was lost" in silent.complaint()
    assert director.is_complete
    assert not_ended.summary(is_silent=False).is_at_least


def test_other_lines_than_the_ones_that_were_written_are_noticed() -> None:
    summary = book_of(lines(1, "b"), end(2, lines(1, "a"))).summary(is_silent=False)

    assert (summary.damaged, summary.missing_lines) == (1, 0)
    assert "digests differ" in summary.complaint()


def test_a_record_that_comes_twice_counts_once() -> None:
    book = book_of(lines(1, "a"), lines(2, "b"), lines(2, "b"), lines(1, "a"))

    assert book.summary(is_silent=False).lines == 2
    assert book.newest(WORKER) == 2


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(0, 100))
def test_the_tail_is_the_last_lines_however_they_came(blocks: list[int], wanted: int) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(logbook, "TAIL_LINES", 100)
    try:
        book = LogBook()
        written = []
        for number, count in enumerate(blocks, start=1):
            block = [f"{number}.{at}" for at in range(count)]
            written += block
            book.apply(WORKER, lines(number, *block))
    finally:
        patch.undo()
    text, count = book.tail(wanted)

    expected = written[-wanted:] if wanted else []
    assert text.decode().splitlines() == [f"worker-3 | {line}" for line in expected]
    assert count == len(expected)


def test_what_a_progress_bar_writes_over_is_one_line() -> None:
    book = book_of(lines(1, "10 %\r20 %", "30 %\r40 %", "done"))

    assert book.tail(2) == (b"worker-3 | 30 %\r40 %\nworker-3 | done\n", 2)


def test_made_up_streams_do_not_grow_without_bound_and_leave_the_log_incomplete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logbook, "STREAMS_MAX", 10)
    book = book_of(*(lines(number, "x", stream=LogStream(number, 1, 1)) for number in range(1, 100)))

    assert len(book._streams) == 11
    assert book.summary(is_silent=False).lines == 99
    assert book.summary(is_silent=False).is_at_least


def test_long_lines_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "TAIL_BYTES", 1_000)
    book = book_of(*(lines(number, "x" * 90) for number in range(1, 100)))

    assert 1 <= book.tail(10_000)[1] <= 10


def test_each_line_is_shown_behind_its_source() -> None:
    book = LogBook()
    for number, (source, stream) in enumerate(
        [
            (Source(DIRECTOR, 1, "b"), OUT),
            (Source(0, 1, "b"), OUT),
            (Source(0, 2, "b"), LogStream(1, 1, 2)),
        ],
        start=1,
    ):
        book.apply(source, lines(number, "one", "two", stream=stream))
    book.apply(Source(0, 1, "b"), gap(9, 3, 30))

    assert book.tail(100)[0].decode().splitlines() == [
        "director | one",
        "director | two",
        "worker-0 | one",
        "worker-0 | two",
        "worker-0#2/1 | one",
        "worker-0#2/1 | two",
        "worker-0 | [3 lines, 30 bytes are missing here: no room]",
    ]


def stored(folder: Path) -> list[int]:
    return [record.number for path in segments(folder) for _, record in read_segment(path)]


def test_what_is_stored_is_read_back_also_by_a_later_start(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    store.append([(WORKER, lines(1, "a").encode()), (Source(DIRECTOR, 1, "x"), lines(1, "b").encode())])
    store.append([(WORKER, lines(2, "c").encode())])
    LogStore(tmp_path).append([(WORKER, lines(3, "d").encode())])

    assert stored(tmp_path) == [1, 1, 2, 3]
    assert b"".join(whole(tmp_path)).decode().splitlines() == [
        "worker-3 | a",
        "director | b",
        "worker-3 | c",
        "worker-3 | d",
    ]
    assert last_lines(whole(tmp_path), 1) == b"worker-3 | d\n"


@pytest.mark.parametrize("cut", [1, 10, 25])
def test_what_a_crash_cut_off_is_not_read_and_what_comes_after_it_is(tmp_path: Path, cut: int) -> None:
    store = LogStore(tmp_path)
    store.append([(WORKER, lines(1, "a").encode())])
    store.append([(WORKER, lines(2, "b").encode())])
    (path,) = [each for each in segments(tmp_path) if each.stat().st_size]
    path.write_bytes(path.read_bytes()[:-cut])
    assert stored(tmp_path) == [1]
    LogStore(tmp_path).append([(WORKER, lines(2, "b").encode())])

    assert stored(tmp_path) == [1, 2]


def test_a_log_that_is_too_long_keeps_its_beginning_and_its_end_and_says_what_is_cut(tmp_path: Path) -> None:
    store = LogStore(tmp_path, limit=4_000, segment=500)
    for number in range(1, 200):
        store.append([(WORKER, lines(number, f"{number} {sha256(str(number).encode()).hexdigest()}").encode())])
    numbers = stored(tmp_path)
    text = b"".join(whole(tmp_path)).decode().splitlines()

    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 4_500
    assert (numbers[0], numbers[-1]) == (1, 199)
    (cut,) = [line for line in text if line.startswith("[")]
    assert int(cut[1:].split()[0]) == 199 - len(numbers)


def test_a_segment_that_a_crash_left_behind_is_counted_once(tmp_path: Path) -> None:
    store = LogStore(tmp_path, limit=4_000, segment=500)
    kept: dict[Path, bytes] = {}
    for number in range(1, 60):
        kept |= {path: path.read_bytes() for path in segments(tmp_path)}
        store.append([(WORKER, lines(number, f"{number} {sha256(str(number).encode()).hexdigest()}").encode())])
    newest = tmp_path / read_cut(tmp_path).newest
    newest.write_bytes(kept[newest])  # as if the machine had stopped before it was removed

    assert read_cut(tmp_path).lines + len(stored(tmp_path)) == 59
    LogStore(tmp_path)
    assert not newest.exists()
    assert read_cut(tmp_path).lines + len(stored(tmp_path)) == 59


def test_what_is_no_log_is_not_read() -> None:
    assert unpack(b"nothing") == ([], 0)
    assert unpack(gzip.compress(b"\xff" * 50))[0] == []
    assert unpack(gzip.compress(b"\x00\x00\x00\x01" * 3))[0] == []
