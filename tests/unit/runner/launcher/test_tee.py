import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.launcher import tee
from loadstone_runner.launcher.tee import Output, Source, Tail


@pytest.fixture
def pipe():
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    yield ends
    for end in ends:
        os.close(end)


def _read(fd):
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""


@given(st.lists(st.text(alphabet="ab \u00e4", max_size=30)))
def test_the_tail_is_the_last_twenty_lines(lines):
    tail = Tail()
    for line in lines:
        tail.add(line.encode())

    assert tail.text() == "\n".join(line.rstrip() for line in lines[-20:])


def test_a_line_that_is_no_text_or_too_long_is_kept_as_far_as_it_goes():
    tail = Tail()
    tail.add(b"\xff" + b"x" * 5_000)

    assert tail.text() == "\ufffd" + "x" * 999


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=20))
def test_what_an_engine_writes_comes_out_whole_however_it_is_cut(content, cuts):
    source_end, engine_end = os.pipe()
    read_end, write_end = os.pipe()
    try:
        output = Output(write_end)
        source = Source(source_end, Tail(), output)
        rest = content
        for cut in cuts:
            piece, rest = rest[:cut], rest[cut:]
            if piece:
                os.write(engine_end, piece)
            assert source.read_some()
        os.write(engine_end, rest)
        source.read_rest()
        while output.is_waiting:
            output.write_some()
        os.set_blocking(read_end, False)
        received = _read(read_end)
    finally:
        for end in (source_end, engine_end, read_end, write_end):
            os.close(end)

    assert received == content + (b"\n" if content and not content.endswith(b"\n") else b"")


def test_an_output_that_nobody_reads_drops_whole_lines_and_says_how_many(pipe, monkeypatch):
    monkeypatch.setattr(tee, "QUEUE_MAX_BYTES", 100)
    output = Output(pipe[1])
    for number in range(30):
        output.put(b"line %02d..\n" % number)
    while output.is_waiting:
        output.write_some()
    output.put(b"after\n")
    output.write_some()

    lines = _read(pipe[0]).splitlines()
    assert lines[:10] == [b"line %02d.." % number for number in range(10)]
    assert lines[10:] == [b"launcher: 20 lines of output were dropped, nobody read them in time", b"after"]


def test_an_output_never_waits_for_its_reader(pipe):
    os.set_blocking(pipe[1], False)
    output = Output(pipe[1])
    for _ in range(200):
        output.put(b"x" * 999 + b"\n")
    for _ in range(200):
        output.write_some()

    assert output.is_waiting


def test_an_output_whose_reader_is_gone_throws_away():
    read_end, write_end = os.pipe()
    os.close(read_end)
    output = Output(write_end)
    output.put(b"line\n")
    output.write_some()
    os.close(write_end)

    assert not output.is_waiting


def test_a_source_that_has_ended_says_so_and_passes_on_its_last_line(pipe):
    read_end, write_end = os.pipe()
    tail = Tail()
    source = Source(read_end, tail, Output(pipe[1]))
    os.write(write_end, b"no end")
    os.close(write_end)

    assert source.read_some()
    assert not source.read_some()
    os.close(read_end)
    assert tail.text() == "no end"


def test_a_line_without_an_end_does_not_grow_for_ever(pipe):
    read_end, write_end = os.pipe()
    output = Output(pipe[1])
    source = Source(read_end, Tail(), output)
    os.write(write_end, b"x" * (tee.LINE_MAX_BYTES + 1))
    source.read_some()
    os.close(read_end)
    os.close(write_end)

    assert output.is_waiting


def test_a_process_that_was_left_behind_and_prints_for_ever_is_not_read_for_ever(pipe, monkeypatch):
    monkeypatch.setattr(tee, "REST_READS", 3)
    monkeypatch.setattr(tee, "READ_BYTES", 10)
    read_end, write_end = os.pipe()
    output = Output(pipe[1])
    source = Source(read_end, Tail(), output)
    os.write(write_end, b"x" * 1_000)
    source.read_rest()
    output.write_some()
    os.close(read_end)
    os.close(write_end)

    assert _read(pipe[0]) == b"x" * 30 + b"\n"


def test_nothing_to_read_yet_is_no_end(pipe):
    source = Source(pipe[0], Tail(), Output(pipe[1]))

    assert source.read_some()
