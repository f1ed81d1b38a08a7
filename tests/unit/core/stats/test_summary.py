"""The status shows exactly what the totals hold, and says how much it leaves out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.stats.stream import ErrorCount
from loadstone_core.stats.summary import latency_micros, summarize
from loadstone_core.stats.totals import Totals

MILLI = 1_000_000
SECOND = 1_000_000_000


def latency(method: str, name: str, samples: list[int], *, scenario: str = "default", failed: int = 0) -> Series:
    series = Series(SeriesKey("latency", scenario, method, name), Kind.TREND)
    for sample in samples:
        series.cell.record(sample)
    series.outcomes = {"failed": failed, "bytes_sent": 10 * len(samples), "bytes_received": 100 * len(samples)}
    return series


def counted(metric: str, kind: Kind, *, count: int, total: int) -> Series:
    series = Series(SeriesKey(metric, name="x"), kind)
    series.count, series.total = count, total
    return series


def totals_of(*series: Series, **counts: object) -> Totals:
    return Totals(series={one.key: one for one in series}, **counts)  # type: ignore[arg-type]


def test_the_status_has_every_number_in_its_own_unit() -> None:
    durations = Series(SeriesKey("iteration_duration", name="buy"), Kind.TREND)
    durations.outcomes = {"failed": 2}
    totals = totals_of(
        latency("GET", "front page", [10 * MILLI] * 3, failed=1),
        latency("POST", "/orders", [30 * MILLI]),
        counted("checks", Kind.RATE, count=9, total=7),
        counted("dropped_iterations", Kind.COUNTER, count=1, total=5),
        durations,
        requests=5,
        started=6,
        unsent=1,
        ambiguous=2,
        unaccounted=1,
        iterations=8,
        errors=(ErrorCount("Timeout", "after 5s", "front page", 3), ErrorCount("HTTP 503", "", "/orders", 1)),
    )

    status = summarize(totals, ("99.9",), 2 * SECOND, peak_requests=4, outside={"setup": 2}).to_status()

    assert status == {
        "requests": 5,
        "failures": 1,
        "started": 6,
        "unsent": 1,
        "ambiguous": 2,
        "measured": 0,
        "unaccounted": 1,
        "outside": {"setup": 2, "teardown": 0},
        "errorRatePpm": 250_000,
        "rpsAvgMilli": 2_500,
        "rpsMaxMilli": 4_000,
        "iterations": 8,
        "droppedIterations": 5,
        "iterationErrors": 2,
        "bytesSent": 40,
        "bytesReceived": 400,
        "latencyMicros": {
            "avg": 15_000,
            "min": 10_000,
            "max": 30_000,
            # Percentiles are middles of buckets, here 0.3 % above and 0.2 % below the sample.
            "p50": 10_030,
            "p90": 29_947,
            "p95": 29_947,
            "p99": 29_947,
            "p99.9": 29_947,
        },
        "checks": {"passed": 7, "failed": 2},
        "endpoints": [
            {
                "method": "GET",
                "name": "front page",
                "requests": 3,
                "failures": 1,
                "latencyMicros": {
                    "avg": 10_000,
                    "min": 10_000,
                    "max": 10_000,
                    "p50": 10_000,
                    "p90": 10_000,
                    "p95": 10_000,
                    "p99": 10_000,
                    "p99.9": 10_000,
                },
            },
            {
                "method": "POST",
                "name": "/orders",
                "requests": 1,
                "failures": 0,
                "latencyMicros": {
                    "avg": 30_000,
                    "min": 30_000,
                    "max": 30_000,
                    "p50": 30_000,
                    "p90": 30_000,
                    "p95": 30_000,
                    "p99": 30_000,
                    "p99.9": 30_000,
                },
            },
        ],
        "endpointsOmitted": 0,
        "topErrors": [
            {"error": "Timeout: after 5s", "count": 3, "name": "front page"},
            {"error": "HTTP 503", "count": 1, "name": "/orders"},
        ],
        "seriesComplete": True,
    }


def test_bytes_that_no_status_can_hold_stand_at_the_most_that_it_can() -> None:
    series = [latency("GET", name, [1]) for name in ("/a", "/b", "/c")]
    for one in series:
        one.outcomes = {"bytes_sent": 2**60, "bytes_received": 2**62}

    status = summarize(totals_of(*series), (), SECOND, peak_requests=1).to_status()

    assert (status["bytesSent"], status["bytesReceived"]) == (3 * 2**60, 2**62)


def test_a_run_without_requests_has_no_latency_and_no_rate() -> None:
    status = summarize(Totals(), ("50",), 0).to_status()

    assert "latencyMicros" not in status
    assert "unaccountedAtLeast" not in status
    assert (status["requests"], status["errorRatePpm"], status["rpsAvgMilli"], status["endpoints"]) == (0, 0, 0, [])


def test_an_unknown_loss_and_refused_series_are_said() -> None:
    status = summarize(Totals(unaccounted_at_least=True, series_complete=False), (), SECOND).to_status()

    assert status["unaccountedAtLeast"] is True
    assert status["seriesComplete"] is False


def test_scenarios_and_labels_of_an_endpoint_are_one_endpoint() -> None:
    results = summarize(
        totals_of(
            latency("GET", "a", [1_000] * 2, failed=1),
            latency("GET", "a", [5_000] * 3, scenario="night", failed=2),
            latency("POST", "a", [1_000] * 4),
        ),
        (),
        SECOND,
    )

    assert [(end.method, end.name, end.requests, end.failures) for end in results.endpoints] == [
        ("GET", "a", 5, 3),
        ("POST", "a", 4, 0),
    ]
    assert results.endpoints[0].latency_micros["max"] == 5


@given(st.lists(st.integers(1, 5), max_size=40))
def test_the_most_used_endpoints_are_shown_and_the_others_counted(requests: list[int]) -> None:
    series = [latency("GET", f"{number:02}", [1_000] * count) for number, count in enumerate(requests)]

    results = summarize(totals_of(*series), (), SECOND)

    ranked = sorted(((-count, f"{number:02}") for number, count in enumerate(requests)))
    assert [(-end.requests, end.name) for end in results.endpoints] == ranked[:20]
    assert results.endpoints_omitted == max(0, len(requests) - 20)


def test_only_the_most_frequent_errors_are_shown() -> None:
    errors = tuple(ErrorCount("Failed", str(number), "", 50 - number) for number in range(15))

    assert summarize(Totals(errors=errors), (), SECOND).top_errors == errors[:10]


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_microseconds_are_rounded_to_the_nearest(samples: list[int]) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.record(sample)

    shown = latency_micros(histogram, ("50", "99.99"))

    assert list(shown) == ["avg", "min", "max", "p50", "p99.99"]
    assert abs(1_000 * shown["min"] - min(samples)) <= 500
    assert abs(1_000 * shown["max"] - max(samples)) <= 500
    assert abs(1_000 * len(samples) * shown["avg"] - sum(samples)) <= 500 * len(samples)
    assert shown["min"] <= shown["p50"] <= shown["p99.99"] <= shown["max"]


def test_latency_without_samples_shows_nothing() -> None:
    assert latency_micros(Histogram(), ("50",)) == {}


def test_percentiles_come_once_and_ascend() -> None:
    shown = summarize(totals_of(latency("GET", "a", [1_000])), ("99.9", "50", "75"), SECOND).latency_micros

    assert list(shown) == ["avg", "min", "max", "p50", "p75", "p90", "p95", "p99", "p99.9"]
