"""Show the totals of a run as the resource's status has them: whole numbers, microseconds, the top of each list.

Nothing is judged here; thresholds and the verdict live in `loadstone_core.verdict`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.stats.metrics import CHECKS, DROPPED_ITERATIONS, ITERATION_DURATION, LATENCY, Outcome
from loadstone_core.stats.series import merged_histogram
from loadstone_core.stats.stream import LARGEST_SUM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadstone_core.stats.histogram import Histogram
    from loadstone_core.stats.series import Series
    from loadstone_core.stats.stream import ErrorCount
    from loadstone_core.stats.totals import Totals

ENDPOINTS_SHOWN: Final = 20
ERRORS_SHOWN: Final = 10
STANDARD_PERCENTILES: Final = ("50", "90", "95", "99")

_MICRO = 1_000
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class EndpointResult:
    """The requests of one method and name, of all scenarios and labels together.

    Attributes:
        method: of the requests; empty for those counted in the overflow series.
        name: of the requests.
        requests: completed and measured.
        failures: of these.
        latency_micros: see `Results`.
    """

    method: str
    name: str
    requests: int
    failures: int
    latency_micros: Mapping[str, int]

    def to_status(self) -> dict[str, Any]:
        """Return an entry of `status.results.endpoints`."""
        return {
            "method": self.method,
            "name": self.name,
            "requests": self.requests,
            "failures": self.failures,
            "latencyMicros": dict(self.latency_micros),
        }


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that `status.results` says; the names are those of the status.

    Attributes:
        totals: the counts come from here.
        error_rate_ppm: failures among the measured requests, in millionths.
        rps_avg_milli: completed requests a second over the elapsed time, in thousandths.
        rps_max_milli: the most in one second of the timeline.
        dropped_iterations: due and not started in time.
        iteration_errors: iterations in which the script raised.
        checks_passed: samples of all checks that held.
        checks_failed: and that did not.
        latency_micros: avg, min, max and percentiles such as p50 and p99.9; empty without requests.
        endpoints: the most used, most requests first.
        endpoints_omitted: how many more there are.
        top_errors: the most frequent.
        outside: requests of setup, teardown and the like, by name; in no other number.
    """

    totals: Totals
    error_rate_ppm: int
    rps_avg_milli: int
    rps_max_milli: int
    dropped_iterations: int
    iteration_errors: int
    checks_passed: int
    checks_failed: int
    latency_micros: Mapping[str, int]
    endpoints: tuple[EndpointResult, ...]
    endpoints_omitted: int
    top_errors: tuple[ErrorCount, ...]
    outside: Mapping[str, int] = field(default_factory=dict)

    def to_status(self) -> dict[str, Any]:
        """Return `status.results`; `unaccountedAtLeast` only if it is true, `latencyMicros` only with requests."""
        totals = self.totals
        status: dict[str, Any] = {
            "requests": totals.requests,
            "failures": totals.failures,
            "started": totals.started,
            "unsent": totals.unsent,
            "ambiguous": totals.ambiguous,
            "measured": totals.measured,
            "unaccounted": totals.unaccounted,
        }
        if totals.unaccounted_at_least:
            status["unaccountedAtLeast"] = True
        status |= {
            "outside": {"setup": 0, "teardown": 0, **self.outside},
            "errorRatePpm": self.error_rate_ppm,
            "rpsAvgMilli": self.rps_avg_milli,
            "rpsMaxMilli": self.rps_max_milli,
            "iterations": totals.iterations,
            "droppedIterations": self.dropped_iterations,
            "iterationErrors": self.iteration_errors,
            # What one stream may say is within 64 bits; what all say together need not be.
            "bytesSent": min(totals.outcome(Outcome.BYTES_SENT), LARGEST_SUM),
            "bytesReceived": min(totals.outcome(Outcome.BYTES_RECEIVED), LARGEST_SUM),
        }
        if self.latency_micros:
            status["latencyMicros"] = dict(self.latency_micros)
        return status | {
            "checks": {"passed": self.checks_passed, "failed": self.checks_failed},
            "endpoints": [endpoint.to_status() for endpoint in self.endpoints],
            "endpointsOmitted": self.endpoints_omitted,
            "topErrors": [_error_status(error) for error in self.top_errors],
            "seriesComplete": totals.series_complete,
        }


def summarize(
    totals: Totals,
    percentiles: Sequence[str],
    elapsed_ns: int,
    *,
    peak_requests: int = 0,
    outside: Mapping[str, int] | None = None,
) -> Results:
    """Return the results of a run.

    Args:
        totals: merged over all streams.
        percentiles: asked for beside 50, 90, 95 and 99, such as "99.9".
        elapsed_ns: from the start of load to the last completed request; 0 gives a rate of 0.
        peak_requests: the most requests of one second, from the timeline.
        outside: requests of setup and teardown.
    """
    wanted = _ordered((*STANDARD_PERCENTILES, *percentiles))
    latency = totals.select(LATENCY)
    checks = totals.select(CHECKS)
    passed = sum(series.total for series in checks)
    endpoints = _endpoints(latency, wanted)
    return Results(
        totals=totals,
        error_rate_ppm=_rounded(totals.failures * 1_000_000, sum(series.count for series in latency)),
        rps_avg_milli=_rounded(totals.requests * 1_000 * _SECOND, elapsed_ns),
        rps_max_milli=peak_requests * 1_000,
        dropped_iterations=sum(series.total for series in totals.select(DROPPED_ITERATIONS)),
        iteration_errors=sum(series.outcomes.get(Outcome.FAILED, 0) for series in totals.select(ITERATION_DURATION)),
        checks_passed=passed,
        checks_failed=sum(series.count for series in checks) - passed,
        latency_micros=latency_micros(merged_histogram(latency), wanted),
        endpoints=endpoints[:ENDPOINTS_SHOWN],
        endpoints_omitted=max(0, len(endpoints) - ENDPOINTS_SHOWN),
        top_errors=totals.errors[:ERRORS_SHOWN],
        outside=outside or {},
    )


def latency_micros(latency: Histogram, percentiles: Sequence[str]) -> dict[str, int]:
    """Return avg, min, max and percentiles, in microseconds, of a histogram in nanoseconds; empty without samples."""
    mean = latency.mean()
    if mean is None:
        return {}
    shown = {
        "avg": _rounded(mean.numerator, mean.denominator * _MICRO),
        "min": _rounded(latency.minimum, _MICRO),
        "max": _rounded(latency.maximum, _MICRO),
    }
    for percentile in percentiles:
        shown[f"p{percentile}"] = _rounded(latency.quantile(Fraction(percentile) / 100), _MICRO)
    return shown


def _endpoints(latency: Sequence[Series], percentiles: Sequence[str]) -> tuple[EndpointResult, ...]:
    """Return every endpoint, most requests first, then by method and name."""
    groups: defaultdict[tuple[str, str], list[Series]] = defaultdict(list)
    for series in latency:
        groups[(series.key.method, series.key.name)].append(series)
    results = [
        EndpointResult(
            method=method,
            name=name,
            requests=sum(series.count for series in group),
            failures=sum(series.outcomes.get(Outcome.FAILED, 0) for series in group),
            latency_micros=latency_micros(merged_histogram(group), percentiles),
        )
        for (method, name), group in groups.items()
    ]
    return tuple(sorted(results, key=lambda result: (-result.requests, result.method, result.name)))


def _error_status(error: ErrorCount) -> dict[str, Any]:
    text = f"{error.kind}: {error.message}" if error.message else error.kind
    return {"error": text, "count": error.count, "name": error.name}


def _ordered(percentiles: Sequence[str]) -> tuple[str, ...]:
    """Return percentiles, each once, ascending."""
    return tuple(sorted(dict.fromkeys(percentiles), key=Fraction))


def _rounded(part: int, whole: int) -> int:
    """Return part / whole rounded to the nearest whole number, halves up; 0 of nothing."""
    return (2 * part + whole) // (2 * whole) if whole else 0
