"""A later start of the master knows of a log whose middle was cut out what the former one knew of it."""

from __future__ import annotations

import errno
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_runner.master import log_store
from loadstone_runner.master.log_desk import recall
from loadstone_runner.master.log_store import LogStore, read_cut, read_segment, segments
from loadstone_runner.master.logbook import LogBook, Source
from loadstone_runner.spool import Kind, LogStream, Record, Tally, end_payload, gap_payload

if TYPE_CHECKING:
    from loadstone_runner.master.logbook import LogSummary

OUT = LogStream(0, 1, 1)
CHANCE = Random(1)  # noqa: S311 lines that do not compress
promise = pytest.mark.promise


class Writer:
    """What one worker's launcher writes to its log."""

    def __init__(self, worker: int) -> None:
        self.source = Source(worker, 1, "boot")
        self.number = 0
        self.lines = self.size = self.lost_lines = self.lost_size = 0
        self.digest = sha256()

    def say(self, size: int = 900) -> Record:
        text = bytes(CHANCE.choices(range(97, 123), k=size)) + b"\n"
        self.lines += 1
        self.size += len(text)
        self.digest.update(text)
        return self._record(Kind.LINES, 1, text)

    def drop(self, lines: int = 7) -> Record:
        self.lines += lines
        self.size += 10 * lines
        self.lost_lines += lines
        self.lost_size += 10 * lines
        self.digest.update(b"gap %d %d\n" % (lines, 10 * lines))
        return self._record(Kind.GAP, lines, gap_payload(10 * lines))

    def end(self) -> Record:
        told = Tally(self.lines, self.size, self.lost_lines, self.lost_size, self.digest.digest())
        return self._record(Kind.END, 0, end_payload(told))

    def mark(self) -> Record:
        return self._record(Kind.MARK, 0, b"+1")

    def _record(self, kind: Kind, lines: int, payload: bytes) -> Record:
        self.number += 1
        return Record(self.number, kind, OUT, lines, payload)


class Master:
    """One start of a master, as far as it has a log."""

    def __init__(self, folder: Path, *, limit: int = 40_000) -> None:
        self.book = LogBook()
        recall(self.book, folder)
        self.store = LogStore(folder, limit=limit, segment=limit // 5)

    def take(self, writer: Writer, *records: Record) -> None:
        for record in records:
            self.book.apply(writer.source, record)
        self.store.append([(writer.source, record.encode()) for record in records])

    def summary(self, *, is_silent: bool = False) -> LogSummary:
        return self.book.summary(is_silent=is_silent)


@promise("logs-complete", "master-restart")
def test_a_worker_that_left_early_and_said_everything_is_not_suspected_of_more(tmp_path: Path) -> None:
    early, late, master = Writer(1), Writer(0), Master(tmp_path)
    master.take(early, early.say())
    for _ in range(14):
        master.take(late, late.say())
    master.take(early, early.end())
    for _ in range(120):
        master.take(late, late.say())
    master.take(late, late.end())

    assert read_cut(tmp_path).lines
    assert master.summary().is_complete
    assert Master(tmp_path).summary() == master.summary()


@promise("logs-complete", "master-restart")
def test_lines_that_had_no_room_are_still_missing(tmp_path: Path) -> None:
    lost, late, master = Writer(1), Writer(0), Master(tmp_path)
    master.take(lost, lost.say(), lost.drop(500), lost.say())
    for _ in range(75):
        master.take(lost, lost.say())
        master.take(late, late.say())
    master.take(late, late.end())

    assert master.summary(is_silent=True).missing_lines == 500
    assert Master(tmp_path).summary(is_silent=True) == master.summary(is_silent=True)


@promise("nothing-lost-silently")
def test_what_was_cut_out_is_not_asked_for_again(tmp_path: Path) -> None:
    quiet, late, master = Writer(1), Writer(0), Master(tmp_path)
    for _ in range(14):
        master.take(late, late.say())
    master.take(quiet, quiet.say(), quiet.mark())
    for _ in range(60):
        master.take(late, late.say())

    assert not [source for path in segments(tmp_path) for source, _ in read_segment(path) if source == quiet.source]
    assert Master(tmp_path).book.newest(quiet.source) == 2


WORDS = ("say", "say", "say", "drop", "mark", "end", "start")
STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(WORDS)), min_size=10, max_size=120)


@promise("logs-complete", "master-restart")
@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_every_later_start_says_of_a_log_what_one_master_would_have_said(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    writers, master, only = [Writer(worker) for worker in range(3)], Master(folder, limit=2_000), LogBook()
    has_ended: set[int] = set()
    for worker, what in steps:
        writer = writers[worker]
        if what == "start":
            master = Master(folder, limit=2_000)
        elif worker not in has_ended:
            made = {"say": writer.say, "drop": writer.drop, "mark": writer.mark, "end": writer.end}[what]()
            master.take(writer, made)
            only.apply(writer.source, made)
            if what == "end":
                has_ended.add(worker)
    assert Master(folder).summary() == only.summary(is_silent=False)


def test_a_file_of_another_form_is_taken_for_none(tmp_path: Path) -> None:
    for text in ("", "{}", "[", '[1, 2, "", 3, 4]', '[1, 2, ""]\n[1]'):
        (tmp_path / "cut").write_text(text)
        assert (read_cut(tmp_path).lines, segments(tmp_path)) == (0, [])


def test_streams_without_number_are_counted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_store, "STREAMS_MAX", 10)
    cut = log_store.Cut()
    for number in range(1, 100):
        cut.take(Source(0, 1, "b"), Record(number, Kind.LINES, LogStream(number, 1, 1), 1, b"x\n"))

    assert (cut.lines, len(cut.streams)) == (99, 11)


def test_nothing_is_kept_twice_where_the_disk_has_no_room_to_say_what_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer, master = Writer(0), Master(tmp_path)
    record = writer.say()
    while sum(path.stat().st_size for path in segments(tmp_path)) < 39_500:
        master.take(writer, record)
        record = writer.say()
    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", refuse)
        with pytest.raises(OSError, match="space"):
            master.take(writer, record)
    master.store.append([(writer.source, record.encode())])

    kept = [each.number for path in segments(tmp_path) for _, each in read_segment(path)]
    assert kept == sorted(set(kept))
    assert kept[-1] == record.number


def test_a_disk_that_takes_no_new_segment_for_a_while_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = LogStore(tmp_path, segment=1_000)
    writer = Writer(0)
    batches = [[(writer.source, writer.say().encode())] for _ in range(3)]
    store.append(batches[0])
    with monkeypatch.context() as full:
        full.setattr(Path, "touch", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="space"):
                store.append(batches[1])
    store.append(batches[1])
    store.append(batches[2])

    assert [each.number for path in segments(tmp_path) for _, each in read_segment(path)] == [1, 2, 3]
