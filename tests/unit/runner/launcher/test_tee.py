import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.launcher import tee
from loadstone_runner.launcher.tee import Output, Source, Tail, take_marks
from loadstone_runner.redaction import Redactor


@pytest.fixture
def pipe():
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    yield ends
    for end in ends:
        os.close(end)


def _source(fd, output, *, tail=None, secrets=(), marks=None):
    def sink(block, lines, marked):
        (tail or Tail()).add(block)
        output.put(block, lines)
        if marks is not None:
            marks.extend(marked)

    return Source(fd, sink, Redactor(secrets))


def _read(fd):
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""


@given(st.lists(st.text(alphabet="ab \u00e4", max_size=30)))
def test_the_tail_is_the_last_twenty_lines(lines):
    tail = Tail()
    for line in lines:
        tail.add(line.encode() + b"\n")

    assert tail.text() == "\n".join(line.rstrip() for line in lines[-20:])


def test_a_line_that_is_no_text_or_too_long_is_kept_as_far_as_it_goes():
    tail = Tail()
    tail.add(b"\xff" + b"x" * 5_000 + b"\n")

    assert tail.text() == "\ufffd" + "x" * 999


def test_of_a_line_that_was_written_over_the_last_is_kept_and_no_control_character():
    tail = Tail()
    tail.add(b"10 %\r20 %\r\x1b[31mno\x00\tmore\x1b[0m\r\n")

    assert tail.text() == " [31mno  more [0m"


@given(st.binary(max_size=300).filter(lambda text: tee.MARK not in text), st.lists(st.integers(1, 40), max_size=20))
def test_what_an_engine_writes_comes_out_whole_however_it_is_cut(content, cuts):
    source_end, engine_end = os.pipe()
    read_end, write_end = os.pipe()
    try:
        output = Output(write_end)
        source = _source(source_end, output)
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
    source = _source(read_end, Output(pipe[1]), tail=tail)
    os.write(write_end, b"no end")
    os.close(write_end)

    assert source.read_some()
    assert not source.read_some()
    os.close(read_end)
    assert tail.text() == "no end"


def test_a_line_without_an_end_does_not_grow_for_ever(pipe):
    read_end, write_end = os.pipe()
    output = Output(pipe[1])
    source = _source(read_end, output)
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
    source = _source(read_end, output)
    os.write(write_end, b"x" * 1_000)
    source.read_rest()
    output.write_some()
    os.close(read_end)
    os.close(write_end)

    assert _read(pipe[0]) == b"x" * 30 + b"\n"


def test_nothing_to_read_yet_is_no_end(pipe):
    source = _source(pipe[0], Output(pipe[1]))

    assert source.read_some()


@given(
    st.lists(st.sampled_from(["plain", "hunter2hunter2", "a hunter2hunter2 b", "x" * 40, "line one", "two"])), st.data()
)
def test_no_secret_comes_out_however_the_text_is_cut(words, data):
    read_end, write_end = os.pipe()
    out, into = os.pipe()
    output = Output(into)
    source = _source(read_end, output, secrets=["hunter2hunter2", "line one\ntwo", "abc"])
    text = "\n".join(words).encode()
    try:
        while text:
            cut = data.draw(st.integers(1, len(text)))
            os.write(write_end, text[:cut])
            source.read_some()
            text = text[cut:]
        os.close(write_end)
        source.read_rest()
        while output.is_waiting:
            output.write_some()
        os.set_blocking(out, False)
        received = _read(out)
    finally:
        for end in (read_end, out, into):
            os.close(end)

    assert b"hunter2" not in received
    assert b"line one" not in received
    assert received.count(b"plain") == words.count("plain")


def test_a_secret_in_a_line_that_is_too_long_is_not_cut_open(pipe, monkeypatch):
    monkeypatch.setattr(tee, "LINE_MAX_BYTES", 100)
    read_end, write_end = os.pipe()
    output = Output(pipe[1])
    source = _source(read_end, output, secrets=["s" * 30])
    for at in range(0, 90, 3):
        for piece in (b"-" * (60 + at), b"s" * 20, b"s" * 10, b"-" * 90):
            os.write(write_end, piece)
            source.read_some()
    os.close(write_end)
    source.read_rest()
    os.close(read_end)
    while output.is_waiting:
        output.write_some()
    received = _read(pipe[0])

    assert b"s" not in received.replace(b"\n", b"")
    assert received.count(b"***") == 30


def test_a_secret_that_is_longer_than_a_line_may_be_makes_no_empty_lines(pipe, monkeypatch):
    monkeypatch.setattr(tee, "LINE_MAX_BYTES", 100)
    read_end, write_end = os.pipe()
    output = Output(pipe[1])
    source = _source(read_end, output, secrets=["s" * 300])
    for _ in range(100):
        os.write(write_end, b"-" * 10)
        source.read_some()
    os.close(write_end)
    source.read_rest()
    os.close(read_end)
    while output.is_waiting:
        output.write_some()
    *lines, last = _read(pipe[0]).split(b"\n")

    assert all(lines)
    assert not last
    assert b"".join(lines) == b"-" * 1_000


def test_marks_are_taken_out_and_told_with_the_lines_before_them(pipe):
    read_end, write_end = os.pipe()
    output, marks = Output(pipe[1]), []
    source = _source(read_end, output, marks=marks)
    os.write(write_end, b"a\n\x1eloadstone-mark 7 2\nb\n\x1eloadstone-ma")
    source.read_some()
    os.write(write_end, b"rk 8 5\n")
    os.close(write_end)
    source.read_rest()
    os.close(read_end)
    output.write_some()

    assert _read(pipe[0]) == b"a\nb\n"
    assert marks == [(b"7", 0), (b"8", 5)]
    assert take_marks(b"nothing\n") == (b"nothing\n", [])
    assert take_marks(tee.MARK + b"x\n" + tee.MARK + b"9 0\n") == (tee.MARK + b"x\n", [(b"9", 0)])


def test_a_number_that_no_message_can_carry_is_a_line_as_any_other():
    line = tee.MARK + b"99999999999999999999 1\n"

    assert take_marks(b"a\n" + line + tee.MARK + b"9 2\n") == (b"a\n" + line, [(b"9", 0)])
