import os
import stat

from loadstone_core.stats.stream import COUNTER_BYTES, Counters, read_counters
from loadstone_runner.engine.counters import COMPLETED, REPORTED, STARTED, CounterFile


def test_what_is_counted_is_in_the_file_at_once(tmp_path) -> None:
    path = tmp_path / "engine-0-1.counters"
    counters = CounterFile(str(path))

    counters.slots[STARTED] += 3
    counters.slots[COMPLETED] += 2
    counters.slots[REPORTED] = 1

    assert read_counters(path.read_bytes()) == counters.read() == Counters(started=3, completed=2, reported=1)
    assert path.stat().st_size == COUNTER_BYTES


def test_the_file_is_readable_by_the_group_whatever_the_umask(tmp_path) -> None:
    path = tmp_path / "counters"
    before = os.umask(0o077)
    try:
        CounterFile(str(path))
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_an_earlier_process_leaves_no_counts_behind(tmp_path) -> None:
    path = tmp_path / "counters"
    CounterFile(str(path)).slots[STARTED] = 7

    assert CounterFile(str(path)).read() == Counters()


def test_counters_without_a_file_count_alike() -> None:
    counters = CounterFile("")
    counters.slots[STARTED] += 1

    assert counters.read() == Counters(started=1)
