from __future__ import annotations

import gzip
import json
import random
from typing import Any

from loadstone_core.stats.metrics import LATENCY, Kind, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.stats.timeline import Row
from loadstone_runner.export.results import REPORT_MAX_BYTES, write_report

HEAD = {"run": {"number": 1}, "findings": []}


def trend(name: str, samples: int, seed: int = 1) -> Series:
    series = Series(SeriesKey(LATENCY, "default", "GET", name), Kind.TREND)
    chance = random.Random(seed)  # noqa: S311 the same samples in every run are the point
    for _ in range(samples):
        assert series.histogram is not None
        series.histogram.record(chance.randrange(10**4, 10**10))
    series.outcomes = {"failed": 1, "unsent": 0}
    return series


def row(second: int) -> Row:
    return Row(second, 1, 100 + second % 7, 1, 5, 10**6, 10**7 + second * 997, 10**8 + second * 991, 90, 0, 0)


def read(content: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(content))
    return document


def test_a_report_holds_every_series_and_row_and_is_the_same_for_the_same_run() -> None:
    series = [trend("rare", 3), trend("front", 50)]
    content = write_report(HEAD, series=series, rows=[row(0), row(1)])
    document = read(content)

    assert (document["schema"], document["run"]) == ("loadstone.dev/report/v1", {"number": 1})
    front = document["series"][0]
    assert (front["name"], front["count"], front["outcomes"]) == ("front", 50, {"failed": 1})
    assert sum(front["histogram"]["counts"]) == 50
    assert front["total"] == series[1].total
    assert document["timeline"]["rows"][1][:3] == [1, 1, 101]
    assert set(document["omitted"]) == {"timelineRowsJoined", "histograms", "series", "errors", "workerMessages"}
    assert not any(document["omitted"].values())
    assert write_report(HEAD, series=reversed(series), rows=[row(0), row(1)]) == content


def test_what_does_not_fit_is_left_out_in_order_and_counted() -> None:
    series = [trend(f"page {number}", number + 20, seed=number) for number in range(60)]
    rows = [row(second) for second in range(600)]
    whole = len(write_report(HEAD, series=series, rows=rows))

    some = read(write_report(HEAD, series=series, rows=rows, max_bytes=whole - 2_000))
    assert some["omitted"]["timelineRowsJoined"] == 600 - len(some["timeline"]["rows"]) > 0
    assert some["omitted"]["histograms"] == 0
    assert sum(each[2] for each in some["timeline"]["rows"]) == sum(each.requests for each in rows)
    assert sum(each[1] for each in some["timeline"]["rows"]) == 600

    few = write_report(HEAD, series=series, rows=rows, max_bytes=5_000)
    document = read(few)
    assert len(few) <= 5_000
    kept = [each["name"] for each in document["series"] if "histogram" in each]
    assert kept == [f"page {number}" for number in range(59, 59 - len(kept), -1)]
    assert document["omitted"]["histograms"] == 60 - len(kept) > 0
    assert sum(each["count"] for each in document["series"]) == sum(each.count for each in series)

    tiny = read(write_report(HEAD, series=series, rows=rows, max_bytes=1_200))
    assert tiny["omitted"]["series"] == 60 - len(tiny["series"]) > 0


def noise(length: int, seed: int) -> str:
    return random.Random(seed).randbytes(length // 2).hex()  # noqa: S311 it must not be compressible


def crowd(errors: int, lost: int) -> dict[str, Any]:
    return {
        **HEAD,
        "errors": [
            {"kind": "exception", "message": noise(300, each), "name": "buy", "count": errors - each}
            for each in range(errors)
        ],
        "workers": [
            {"worker": each, "attempt": 1, "state": "lost", "reason": "EngineDied", "message": noise(300, -each - 1)}
            for each in range(lost)
        ],
    }


def test_a_head_that_does_not_fit_loses_its_rarest_errors_and_then_what_lost_workers_said() -> None:
    head = crowd(errors=1_000, lost=200)
    series, rows = [trend("front", 50)], [row(0)]
    whole = len(write_report(head, series=series, rows=rows))

    fewer = read(write_report(head, series=series, rows=rows, max_bytes=whole - 50_000))
    kept = len(fewer["errors"])
    assert (fewer["omitted"]["series"], fewer["omitted"]["workerMessages"]) == (0, 0)
    assert fewer["omitted"]["errors"] == 1_000 - kept
    assert fewer["errors"] == head["errors"][:kept]
    assert 60 < kept < 1_000
    assert fewer["workers"] == head["workers"]

    few = write_report(head, series=series, rows=rows, max_bytes=25_000)
    document = read(few)
    assert len(few) <= 25_000
    assert document["errors"] == head["errors"][:60]
    silent = [each["worker"] for each in document["workers"] if not each["message"]]
    assert len(document["workers"]) == 200
    assert silent == list(range(200 - len(silent), 200))
    assert document["omitted"]["workerMessages"] == len(silent) > 0
    assert all(each["message"] for each in head["workers"])


def test_what_a_head_cannot_do_without_is_written_whatever_its_size() -> None:
    document = read(write_report(crowd(errors=70, lost=3), series=(), rows=(), max_bytes=10))

    assert (len(document["errors"]), document["omitted"]["errors"]) == (60, 10)
    assert ([each["message"] for each in document["workers"]], document["omitted"]["workerMessages"]) == ([""] * 3, 3)


def test_thousands_of_lost_workers_and_as_many_errors_as_are_kept_fit_into_a_report() -> None:
    content = write_report(crowd(errors=1_000, lost=5_000), series=(), rows=())

    assert len(content) <= REPORT_MAX_BYTES
    assert len(read(content)["workers"]) == 5_000


def test_the_largest_run_there_can_be_fits_into_a_config_map() -> None:
    base = trend("x", 400)
    series = []
    for number in range(2_000):
        each = Series(SeriesKey(LATENCY, "default", "GET", f"/a/quite/long/path/of/an/api/{number}"), Kind.TREND)
        each.cell = base.cell
        series.append(each)

    assert len(write_report(HEAD, series=series, rows=[row(second) for second in range(3_000)])) <= REPORT_MAX_BYTES
