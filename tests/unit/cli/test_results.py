"""Each run on this machine keeps its own report and log, whoever ends in the same second."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from loadstone_cli.results import Kept, ResultFiles
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.local.run import LocalResult

if TYPE_CHECKING:
    from pathlib import Path

RUNS = 24
FINISHED_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
STEM = "twin-20260101T000000Z"


def end_of_run(number: int, folder: Path) -> Kept:
    """Keep what a run has left that ended in the second in which all of them do."""
    text = gzip.compress(str(number).encode())
    files = ResultFiles("twin", folder, None)
    files.check()
    files.running_log.write_bytes(text)
    report = pb.RunReport(times=pb.RunTimes(finished_ns=FINISHED_NS))
    return files.keep(LocalResult(outcome=pb.RunOutcome(), report=report, report_gzip=text), {}, None)


def stem(path: Path | None) -> str:
    assert path is not None
    return path.name.split(".")[0]


def test_runs_that_end_in_the_same_second_keep_a_report_and_a_log_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(RUNS) as threads:
        kept = list(threads.map(lambda number: end_of_run(number, tmp_path), range(RUNS)))

    assert {stem(each.report) for each in kept} == {STEM, *(f"{STEM}-{number}" for number in range(2, RUNS + 1))}
    for number, each in enumerate(kept):
        assert stem(each.report) == stem(each.log)
        assert each.report is not None
        assert each.log is not None
        assert {gzip.decompress(path.read_bytes()) for path in (each.report, each.log)} == {str(number).encode()}
    assert len(list((tmp_path / "logs").iterdir())) == RUNS
