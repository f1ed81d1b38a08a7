"""Whoever writes a durable line waits for what becomes of it, or hears at once that it cannot be written."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import gevent
import pytest

import loadstone
from loadstone import seat
from loadstone_runner.engine.marks import LogMarks


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    held = io.BytesIO()
    monkeypatch.setattr(sys, "__stdout__", io.TextIOWrapper(held, encoding="utf-8"))
    return held


@pytest.mark.promise("log-durable")
def test_half_a_character_in_a_line_is_written_as_a_question_mark(
    output: io.BytesIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    marks = LogMarks()
    monkeypatch.setattr(seat, "taken", SimpleNamespace(log_durably=marks.write))
    waiting = gevent.spawn(loadstone.log, "order \ud83d was placed twice", durable=True, timeout=5)
    gevent.sleep(0)
    marks.hear(1, is_lost=False)

    assert waiting.get(timeout=5)
    assert output.getvalue() == b"order ? was placed twice\n\x1eloadstone-mark 1 25\n"
    assert loadstone.log("order \ud83d")
    assert capsys.readouterr().out == "order ?\n"
    assert not marks._waiting


def test_nobody_is_waited_for_whose_line_could_not_be_written(output: io.BytesIO) -> None:
    output.close()
    marks = LogMarks()

    with pytest.raises(ValueError, match="closed file"):
        marks.write("order 7 was placed twice", 5)

    assert not marks._waiting


def test_a_timeout_of_the_scripts_own_ends_what_it_is_about_and_not_only_the_waiting(output: io.BytesIO) -> None:
    marks = LogMarks()

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        marks.write("order 7 was placed twice", 5)

    assert not marks._waiting
    assert not marks.write("order 8 was placed twice", 0.01)
    assert not marks.write("order 9 was placed twice", 0)
