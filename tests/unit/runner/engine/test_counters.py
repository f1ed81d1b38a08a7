import os
import stat

import pytest

from loadstone_core.stats.stream import COUNTER_BYTES, Counters, read_counters
from loadstone_runner.engine.counters import (
    COMPLETED,
    ITERATIONS_COMPLETED,
    ITERATIONS_STARTED,
    REPORTED,
    STARTED,
    CounterFile,
)


def test_what_is_counted_is_in_the_file_at_once(tmp_path) -> None:
    path = tmp_path / "engine-0-1.counters"
    counters = CounterFile(str(path))

    counters.block(0)[STARTED] += 3
    counters.block(0)[COMPLETED] += 2
    counters.block(0)[REPORTED] = 1

    assert read_counters(path.read_bytes()) == counters.read() == Counters(started=3, completed=2, reported=1)
    assert path.stat().st_size == COUNTER_BYTES


def test_each_scenario_counts_in_a_block_of_its_own(tmp_path) -> None:
    counters = CounterFile(str(tmp_path / "counters"))
    for place, done in ((0, 2), (2, 5)):
        counters.block(place)[ITERATIONS_STARTED] += done + 1
        counters.block(place)[ITERATIONS_COMPLETED] += done
        counters.block(place)[COMPLETED] += done
    counters.note_reported()

    assert counters.read().scenarios == ((3, 2), (0, 0), (6, 5))
    assert (counters.read().completed, counters.read().reported) == (7, 7)
    assert counters.iterations_completed() == 7
    with pytest.raises(ValueError, match="at most 32 scenarios"):
        counters.block(32)


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
    CounterFile(str(path)).block(0)[STARTED] = 7

    assert CounterFile(str(path)).read() == Counters()


def test_counters_without_a_file_count_alike() -> None:
    counters = CounterFile("")
    counters.block(0)[STARTED] += 1

    assert counters.read() == Counters(started=1)


def test_a_warm_up_is_counted_apart_whenever_somebody_looks(tmp_path) -> None:
    path = tmp_path / "counters"
    counters = CounterFile(str(path))
    counters.block(1)
    counters.warm_up()
    for place in (0, 1):
        counters.block(place)[STARTED] += 5
        counters.block(place)[COMPLETED] += 4
        counters.block(place)[ITERATIONS_STARTED] += 2
    assert read_counters(path.read_bytes()) == Counters(warm_up=8)
    counters.end_warm_up()
    assert read_counters(path.read_bytes()) == Counters(started=2, iterations_started=4, warm_up=8)
    counters.slots[COMPLETED] += 1
    counters.slots[ITERATIONS_COMPLETED] += 2

    assert counters.read() == Counters(
        started=2,
        completed=1,
        iterations_started=4,
        iterations_completed=2,
        scenarios=((0, 2),),
        warm_up=8,
    )
