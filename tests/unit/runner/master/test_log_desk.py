"""The master's log: acknowledged when it is on the disk, read again by a later start, shown from its end."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import tracemalloc
from typing import TYPE_CHECKING

from loadstone_core.outbox import Batch, Entry
from loadstone_protocol.bulk import batch_frame
from loadstone_runner.launcher.spool import Spool
from loadstone_runner.master import log_desk
from loadstone_runner.master.exchange import Exchange
from loadstone_runner.master.log_desk import LogDesk, recall
from loadstone_runner.master.log_reading import whole
from loadstone_runner.master.log_store import LogStore
from loadstone_runner.master.logbook import LogBook
from loadstone_runner.spool import Kind, LogStream, Record, SpoolReader, segments_in

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

OUT = LogStream(0, 1, 1)


def record(number: int, text: str = "line") -> Entry:
    return Entry(Record(number, Kind.LINES, OUT, 1, f"{text} {number}\n".encode()).encode())


def damage(path: str) -> None:
    with open(path, "ab") as file:  # noqa: PTH123 a spool's paths are text
        file.write(b"\xff" * 60)


class Desk:
    """A desk with its book and its exchange, over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.book = LogBook()
        recall(self.book, folder / "log")
        self.store = LogStore(folder / "log")
        self.exchange = Exchange()
        self.kept: list[tuple[int, bool]] = []
        self.desk = LogDesk(
            self.book,
            self.store,
            exchange=self.exchange,
            on_director_kept=lambda number, is_lost: self.kept.append((number, is_lost)),
        )

    def hear(self, first: int, *entries: Entry) -> None:
        self.exchange.end_of(0, 1).hear(batch_frame("logs/b", Batch(first, 1, entries)))

    def durable(self) -> int:
        inbox = self.exchange.end_of(0, 1).inbox("logs/b")
        return inbox.durable if inbox is not None else 0

    def text(self) -> list[str]:
        return b"".join(whole(self.folder / "log")).decode().splitlines()


def test_lines_are_durable_when_they_are_on_the_disk_and_a_later_start_goes_on_behind_them(tmp_path: Path) -> None:
    async def check() -> None:
        desk = Desk(tmp_path)
        desk.hear(1, record(1), record(2))
        assert desk.durable() == 0
        await desk.desk.finish()
        assert desk.durable() == 2

        later = Desk(tmp_path)
        later.hear(1, record(1), record(2), record(3))
        await later.desk.finish()
        assert later.durable() == 3
        assert later.text() == [f"worker-0 | line {number}" for number in (1, 2, 3)]

    asyncio.run(check())


def test_a_disk_that_is_full_for_a_while_delays_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        monkeypatch.setattr(log_desk, "RETRY_SECONDS", 0.01)
        desk = Desk(tmp_path)
        append, failures = desk.store.append, [OSError(28, "full"), OSError(28, "full")]

        def failing(records: list) -> None:
            if failures:
                raise failures.pop()
            append(records)

        monkeypatch.setattr(desk.store, "append", failing)
        desk.hear(1, record(1))
        await desk.desk.finish()
        assert desk.durable() == 1
        assert desk.text() == ["worker-0 | line 1"]

    asyncio.run(check())


def test_what_many_workers_send_at_once_is_put_on_the_disk_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        monkeypatch.setattr(log_desk, "PART_BYTES", 300)
        desk = Desk(tmp_path)
        append, parts = desk.store.append, []

        def counting(records: list) -> None:
            parts.append(sum(len(encoded) for _, encoded in records))
            append(records)

        monkeypatch.setattr(desk.store, "append", counting)
        for number in range(1, 101):
            desk.hear(number, record(number))
        await desk.desk.finish()

        assert max(parts) < 400
        assert len(parts) > 10
        assert desk.durable() == 100
        assert desk.text() == [f"worker-0 | line {number}" for number in range(1, 101)]

    asyncio.run(check())


def test_what_is_on_the_disk_is_not_held_while_a_flood_is_slowed_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "x" * 200_000

    async def check() -> None:
        monkeypatch.setattr(log_desk, "BYTES_PER_SECOND", 1)
        desk = Desk(tmp_path)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1, 101):
            desk.hear(number, record(number, text))
        arrived, _ = tracemalloc.get_traced_memory()
        while desk.durable() < 100:  # noqa: ASYNC110 (in a thread)
            await asyncio.sleep(0.01)
        held, _ = tracemalloc.get_traced_memory()
        assert held - before < (arrived - before) / 2

    tracemalloc.start()
    try:
        asyncio.run(check())
    finally:
        tracemalloc.stop()


def test_what_no_launcher_wrote_is_left_out_and_holds_up_nothing(tmp_path: Path) -> None:
    async def check() -> None:
        desk = Desk(tmp_path)
        desk.hear(1, Entry(b"\xff" * 40), Entry(b""), record(3))
        await desk.desk.finish()
        assert desk.durable() == 3
        assert desk.text() == ["worker-0 | line 3"]

    asyncio.run(check())


def test_the_directors_spool_is_read_kept_and_removed_and_its_marks_are_answered(tmp_path: Path) -> None:
    async def check() -> None:
        spool = Spool(str(tmp_path / "spool"), "d")
        spool.put(OUT, b"setup\n", 1, marks=[(b"1", 0)])
        desk = Desk(tmp_path)
        desk.desk.take_in(str(tmp_path / "spool"))
        await desk.desk.finish()
        assert desk.kept == [(1, False)]

        spool.put(OUT, b"x" * 99 + b"\n", 1)
        later = Desk(tmp_path)
        later.desk.take_in(str(tmp_path / "spool"))
        later.desk.take_in(str(tmp_path / "spool"))
        await later.desk.finish()
        assert later.text() == ["director | setup", "director | " + "x" * 99]
        (_, path) = segments_in(str(tmp_path / "spool"))["d"][0]
        damage(path)
        later.desk.take_in(str(tmp_path / "spool"))
        later.desk.take_in(str(tmp_path / "spool"))

    asyncio.run(check())


def test_a_segment_of_the_directors_that_cannot_be_removed_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_reader: SpoolReader, _number: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(SpoolReader, "release", refuse)

    async def check() -> None:
        Spool(str(tmp_path / "spool"), "d").put(OUT, b"setup\n", 1)
        desk = Desk(tmp_path)
        desk.desk.take_in(str(tmp_path / "spool"))
        desk.hear(1, record(1))
        await desk.desk.finish()
        assert desk.durable() == 1

    asyncio.run(check())


def test_the_tail_fits_where_it_is_to_be_kept(tmp_path: Path) -> None:
    async def check() -> None:
        desk = Desk(tmp_path)
        for number in range(1, 400):
            desk.hear(number, record(number, "".join(chr(33 + (number * at) % 90) for at in range(200))))
        await desk.desk.finish()
        packed, lines = desk.desk.tail_gzip(10_000, 8_000)
        assert len(packed) <= 8_000
        text = gzip.decompress(packed).decode().splitlines()
        assert len(text) == lines > 10
        assert text[-1].endswith(" 399")

    asyncio.run(check())
