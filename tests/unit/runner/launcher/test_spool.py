"""What a launcher writes into the spool is read whole, or is a gap with exact counts."""

import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadstone_runner import spool as form
from loadstone_runner.launcher import spool as writing
from loadstone_runner.launcher.spool import Spool
from loadstone_runner.spool import Kind, LogStream, Record, SpoolError, SpoolReader, digested, segments_in

OUT, ERR = LogStream(0, 1, 1), LogStream(3, 1, 2)


def read(folder, boot="a", **options):
    return reader_of(folder, boot).read(options.get("size", 1 << 30))


def reader_of(folder, boot="a"):
    return SpoolReader(str(folder), boot, segments_in(str(folder))[boot][0][0])


def tallies(records):
    """Count what a reader sees of each stream, as a receiver does."""
    seen = {}
    for record in records:
        lines, size, lost, lost_size, digest = seen.setdefault(record.stream, [0, 0, 0, 0, hashlib.sha256()])
        digest.update(digested(record))
        if record.kind is Kind.LINES:
            assert record.lines == record.payload.count(b"\n")
            seen[record.stream] = [lines + record.lines, size + len(record.payload), lost, lost_size, digest]
        elif record.kind is Kind.GAP:
            seen[record.stream] = [lines, size, lost + record.lines, lost_size + record.lost_size, digest]
    return seen


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from([OUT, ERR]), st.integers(1, 60), st.booleans()), max_size=60),
    st.integers(200, 4_000),
)
@pytest.mark.promise("logs-complete")
def test_lines_that_were_read_and_lines_that_were_dropped_are_all_that_were_written(tmp_path_factory, blocks, limit):
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(str(folder), "a", limit=limit)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(writing, "SEGMENT_BYTES", 300)
    records, reader = [], None
    try:
        for number, (stream, lines, is_read) in enumerate(blocks):
            spool.put(stream, b"%03d\n" % number * lines, lines)
            if is_read and (reader or segments_in(str(folder))):
                reader = reader or reader_of(folder)
                records += reader.read(1 << 20)
                reader.release(reader.next_number - 1)
        for stream in (OUT, ERR):
            spool.end(stream)
        reader = reader or reader_of(folder)
        records += reader.read(1 << 20)
    finally:
        monkey.undo()

    assert [record.number for record in records] == list(range(1, len(records) + 1))
    ends = {record.stream: record.tally for record in records if record.kind is Kind.END}
    seen = tallies(records)
    for stream in (OUT, ERR):
        held = seen[stream]
        end = ends[stream]
        assert (held[2], held[3], held[4].digest()) == (end.lost_lines, end.lost_size, end.digest)
        assert (held[0] + held[2], held[1] + held[3]) == (end.lines, end.size)
        assert end.lines == sum(lines for each, lines, _ in blocks if each == stream)


def test_a_spool_that_nobody_reads_stays_within_its_bound_and_goes_on_when_it_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SEGMENT_BYTES", 1_000)
    spool = Spool(str(tmp_path), "a", limit=10_000)
    for _ in range(1_000):
        spool.put(OUT, b"x" * 99 + b"\n", 1)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_200

    reader = reader_of(tmp_path)
    held = reader.read(1 << 20)
    reader.release(reader.next_number - 1)
    spool.put(OUT, b"again\n", 1)
    fresh = reader.read(1 << 20)

    assert [record.kind for record in fresh] == [Kind.GAP, Kind.LINES]
    assert fresh[0].lines + len(held) == 1_000
    assert fresh[0].lost_size == fresh[0].lines * 100


def test_a_disk_that_takes_nothing_makes_a_gap_and_no_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    spool = Spool(str(blocked / "log"), "a")
    spool.put(OUT, b"x\n", 1, marks=[(b"7", 0)])
    spool.end(OUT)

    good = Spool(str(tmp_path / "log"), "a")
    good.put(OUT, b"first\n", 1)
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        good.put(OUT, b"second\n", 1)
    with monkeypatch.context() as full:
        real = os.write
        full.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
        good.put(OUT, b"third\n", 1)
    good.put(OUT, b"fourth\n", 1)

    kinds = [(each.kind, each.lines, each.payload[:5]) for each in read(tmp_path / "log")]
    assert kinds[0] == (Kind.LINES, 1, b"first")
    assert kinds[1][:2] == (Kind.GAP, 2)
    assert kinds[2] == (Kind.LINES, 1, b"fourt")


def test_who_waits_is_told_whether_the_line_is_in_the_spool(tmp_path):
    spool = Spool(str(tmp_path), "a", limit=100)
    spool.put(OUT, b"x\n", 1, marks=[(b"1", 0)])
    spool.put(OUT, b"y" * 100 + b"\n", 1, marks=[(b"2", 0)])
    spool.put(OUT, b"", 0, marks=[(b"3", 0)])
    spool.put(ERR, b"", 0, marks=[(b"4", 0)])

    marks = [each.payload for each in read(tmp_path) if each.kind is Kind.MARK]
    assert marks == [b"+1", b"-2", b"-3", b"+4"]


@pytest.mark.promise("log-durable")
def test_a_line_of_which_a_part_had_no_room_is_lost_for_who_waits_for_it(tmp_path):
    spool = Spool(str(tmp_path), "a", limit=1_000)
    spool.put(OUT, b"x" * 99 + b"\n", 1)
    spool.put(OUT, b"first part\n" * 100, 100)
    spool.put(OUT, b"second part\n", 1)
    spool.put(OUT, b"third part\nother\n", 2, marks=[(b"1", 1_112), (b"2", 12), (b"3", 0)])
    spool.put(OUT, b"", 0, marks=[(b"4", 29), (b"5", 30)])

    marks = [each.payload for each in read(tmp_path) if each.kind is Kind.MARK]
    assert marks == [b"-1", b"+2", b"+3", b"+4", b"-5"]


@pytest.mark.promise("log-durable")
def test_a_line_that_was_longer_than_all_there_is_before_its_secrets_were_taken_out_is_held(tmp_path):
    spool = Spool(str(tmp_path), "a")
    spool.put(OUT, b"***\n", 1)
    spool.put(OUT, b"rest\n", 1, marks=[(b"1", 40)])

    assert [each.payload for each in read(tmp_path) if each.kind is Kind.MARK] == [b"+1"]


@pytest.mark.promise("hostile-scripts", "log-durable")
def test_marks_that_a_script_makes_up_stay_within_the_bound_and_true_ones_get_through_once_they_were_read(tmp_path):
    limit = 1024 * 1024
    spool = Spool(str(tmp_path), "a", limit=limit)
    for _ in range(50):
        spool.put(OUT, b"", 0, marks=[(b"1", 0)] * 1_000)
    spool.put(OUT, b"no room\n", 1, marks=[(b"2", 0)])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit + writing.MARKS_BYTES + 100

    reader = reader_of(tmp_path)
    reader.read(1 << 30)
    reader.release(reader.next_number - 1)
    spool.put(OUT, b"room\n", 1, marks=[(b"3", 0)])

    fresh = [(each.kind, each.payload) for each in reader.read(1 << 30)]
    assert fresh[1:] == [(Kind.LINES, b"room\n"), (Kind.MARK, b"+3")]


@pytest.mark.promise("log-durable")
def test_who_waits_for_a_line_that_had_no_room_hears_it_though_lines_have_filled_the_spool(tmp_path):
    spool = Spool(str(tmp_path), "a", limit=1_000)
    for _ in range(20):
        spool.put(OUT, b"x" * 99 + b"\n", 1)
    for number in range(1_000):
        spool.put(OUT, b"an order\n", 1, marks=[(b"%d" % number, 0)])

    marks = [each.payload for each in read(tmp_path) if each.kind is Kind.MARK]
    assert marks == [b"-%d" % number for number in range(1_000)]


def test_records_are_read_as_they_come_and_another_start_of_the_launcher_has_its_own(tmp_path):
    spool = Spool(str(tmp_path), "a")
    spool.put(OUT, b"one\n", 1)
    reader = reader_of(tmp_path)
    assert [each.payload for each in reader.read(1_000)] == [b"one\n"]
    assert reader.read(1_000) == []
    spool.put(OUT, b"two\n", 1)
    Spool(str(tmp_path), "b").put(OUT, b"other\n", 1)

    assert [each.payload for each in reader.read(1_000)] == [b"two\n"]
    assert [each.payload for each in read(tmp_path, "b")] == [b"other\n"]
    assert segments_in(str(tmp_path / "none")) == {}


def test_a_record_that_is_still_being_written_is_not_read_by_halves(tmp_path):
    encoded = Record(1, Kind.LINES, OUT, 1, b"line\n").encode()
    path = tmp_path / form.segment_name("a", 1)
    path.write_bytes(encoded[:-2])
    reader = reader_of(tmp_path)
    assert reader.read(1_000) == []
    with path.open("ab") as file:
        file.write(encoded[-2:])

    assert [each.payload for each in reader.read(1_000)] == [b"line\n"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 40,
        Record(2, Kind.LINES, OUT, 1, b"x\n").encode(),
        Record(1, Kind.LINES, OUT._replace(fd=7), 1, b"x\n").encode(),
        Record(1, Kind.LINES, OUT, 2, b"x\n").encode(),
        Record(1, Kind.LINES, OUT, 0, b"x").encode(),
        Record(1, Kind.GAP, OUT, 1, b"x").encode(),
        Record(1, Kind.END, OUT, 0, b"short").encode(),
        Record(1, Kind.MARK, OUT, 0, b"+x").encode(),
    ],
)
def test_what_no_launcher_wrote_is_refused(tmp_path, content):
    (tmp_path / form.segment_name("a", 1)).write_bytes(content)

    with pytest.raises(SpoolError):
        read(tmp_path)


def test_a_reader_is_neither_led_elsewhere_nor_made_to_wait(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(Record(1, Kind.LINES, OUT, 1, b"x\n").encode())
    for number, make in enumerate((lambda path: path.symlink_to(secret), os.mkfifo, os.mkdir)):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / form.segment_name("a", 1))
        with pytest.raises(SpoolError):
            read(folder)


def test_missing_records_are_noticed(tmp_path):
    (tmp_path / form.segment_name("a", 1)).write_bytes(Record(1, Kind.LINES, OUT, 1, b"x\n").encode())
    (tmp_path / form.segment_name("a", 5)).write_bytes(Record(5, Kind.LINES, OUT, 1, b"x\n").encode())

    with pytest.raises(SpoolError, match="2 to 4"):
        read(tmp_path)
