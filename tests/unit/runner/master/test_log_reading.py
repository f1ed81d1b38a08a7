"""Whoever reads a log while it grows and is cut sees each line once, or is told how many he does not see."""

from __future__ import annotations

import io
import os
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_runner.master import log_reading
from loadstone_runner.master.log_reading import Reading
from loadstone_runner.master.log_store import LogStore, segments, unpack
from loadstone_runner.master.logbook import Source
from loadstone_runner.settings import LogSettings
from loadstone_runner.spool import Kind, LogStream, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

promise = pytest.mark.promise


class Log:
    """A log of numbered lines; with `limit` it is cut after some hundred."""

    def __init__(self, folder: Path, *, limit: int = 1 << 20) -> None:
        self.store = LogStore(folder, limit=limit, segment=500)
        self.written = 0

    def write(self, count: int) -> None:
        for _ in range(count):
            self.written += 1
            text = f"{self.written} {sha256(str(self.written).encode()).hexdigest()}\n"
            record = Record(self.written, Kind.LINES, LogStream(0, 1, 1), 1, text.encode())
            self.store.append([(Source(0, 1, "boot"), record.encode())])


def numbers(text: bytes) -> list[int]:
    return [int(line.split()[2]) for line in text.decode().splitlines() if not line.startswith("[")]


def missing(text: bytes) -> int:
    return sum(int(line[1:].split()[0]) for line in text.decode().splitlines() if line.startswith("["))


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6))
@promise("log-command")
def test_each_line_is_shown_once_and_in_order_or_counted_as_missing(steps: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # thousands of times, on a disk that others use
        log = Log(Path(name), limit=4_000)
        reading = Reading(Path(name))
        text = b""
        pieces: Iterator[bytes] = reading.more()
        for written, read in steps:
            log.write(written)
            for _ in range(read):
                piece = next(pieces, None)
                if piece is None:
                    pieces = reading.more()
                    break
                text += piece
        text += b"".join(pieces) + b"".join(reading.more())

    shown = numbers(text)
    assert shown == sorted(set(shown))
    assert len(shown) + missing(text) == log.written


class Terminal(io.BytesIO):
    """Standard output at the end of a slow line: when the first words are on their way, something happens."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile: Callable[[], None] | None = meanwhile

    def write(self, text: bytes, /) -> int:  # type: ignore[override]
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return super().write(text)


def followed(monkeypatch: pytest.MonkeyPatch, folder: Path, meanwhile: Callable[[], None], *, tail: int = -1) -> bytes:
    """Return what `loadstone logs -f` prints until somebody interrupts it, after three looks."""
    terminal, looks = Terminal(meanwhile), iter(range(3))

    def sleep(_seconds: float) -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(log_reading, "sys", SimpleNamespace(stdout=SimpleNamespace(buffer=terminal)))
    monkeypatch.setattr(log_reading, "time", SimpleNamespace(sleep=sleep))
    assert log_reading.serve(LogSettings(state_dir=str(folder), tail=tail, follow=True)) == 0
    return terminal.getvalue()


@pytest.mark.parametrize(("tail", "seen"), [(-1, range(1, 16)), (2, range(9, 16)), (0, range(11, 16))])
@promise("log-command")
def test_who_follows_sees_what_came_while_the_past_was_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tail: int, seen: range
) -> None:
    log = Log(tmp_path / "log")
    log.write(10)

    text = followed(monkeypatch, tmp_path, lambda: log.write(5), tail=tail)

    assert numbers(text) == list(seen)


def test_who_follows_a_log_that_is_cut_meanwhile_is_told_what_is_missing_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = Log(tmp_path / "log", limit=4_000)
    log.write(20)
    before = segments(tmp_path / "log")

    text = followed(monkeypatch, tmp_path, lambda: log.write(200))

    assert not set(before[1:]) & set(segments(tmp_path / "log"))
    assert missing(text) > 0
    assert len(numbers(text)) + missing(text) == 220
    assert numbers(text)[-1] == 220


def test_the_last_line_of_a_progress_bar_is_all_that_it_wrote_over() -> None:
    text = b"worker-0 | 10 %\r20 %\nworker-0 | 30 %\r40 %\n"

    assert log_reading.last_lines([text], 1) == b"worker-0 | 30 %\r40 %\n"


class Counted(bytes):
    """The content of a file, which counts what of it is looked at."""

    looked_at = 0

    def __getitem__(self, part: slice) -> bytes:  # type: ignore[override]
        found = super().__getitem__(part)
        self.looked_at += len(found)
        return found


def test_to_read_a_log_that_came_a_line_at_a_time_grows_with_its_length_and_not_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    log, looked_at = Log(tmp_path), []
    for _ in range(2):
        log.write(1_000)
        content = Counted(b"".join(path.read_bytes() for path in segments(tmp_path)))

        assert len(unpack(content)[0]) == log.written
        looked_at.append(content.looked_at)

    assert looked_at[1] < 2.5 * looked_at[0]
