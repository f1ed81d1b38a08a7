"""Show a run's merged state to Prometheus. Nothing is kept for it: every figure is read when it is asked for.

`prometheus_client` is imported at the first scrape: a master that nobody scrapes does not pay for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone_core.stats.histogram import Histogram
from loadstone_core.stats.metrics import CHECKS, DROPPED_ITERATIONS, LATENCY, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from loadstone_core.stats.series import Series
    from loadstone_protocol.messages import LaneNews

SECOND: Final = 1_000_000_000
PEERS: Final = ("worker", "director", "platform", "stranger")
BOUNDS_MILLIS: Final = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class RunFigures(NamedTuple):
    """What is shown of a run.

    Attributes:
        loadtest: its LoadTest's name.
        run: its number.
        stage: how far it is.
        verdict: empty before the end.
        series: every merged series.
        iterations: completed.
        users: live now.
        workers: how many are in which state.
        unaccounted: requests that happened and are in no series.
        lanes: of custom messages, by "director" or "engine" (all of them together) and name.
        refused: how often something could not be meant, by who had sent it.
    """

    loadtest: str
    run: int
    stage: str
    verdict: str
    series: Iterable[Series]
    iterations: int
    users: int
    workers: Mapping[str, int]
    unaccounted: int
    lanes: Mapping[str, Mapping[str, LaneNews]] = {}
    refused: Mapping[str, int] = {}


async def render(figures: RunFigures, accept: str) -> tuple[bytes, str]:
    """Return the page in the format that the Accept header asks for, and its content type."""
    await asyncio.to_thread(_import)
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    return encode(_Collector(figures)), content_type


def _import() -> None:
    """Load the package beside the event loop: it takes 60 ms of CPU."""
    import prometheus_client.core
    import prometheus_client.exposition  # noqa: F401 for the modules' cache


class _Collector:
    """What prometheus_client asks for metrics."""

    def __init__(self, figures: RunFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        yield from _requests(self._figures)
        yield from _iterations(self._figures)
        yield from _run(self._figures)
        yield from _lanes(self._figures)


def _requests(figures: RunFigures) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    names = ("loadtest", "run", "method", "name")
    run = [figures.loadtest, str(figures.run)]
    requests = CounterMetricFamily("loadstone_requests", "Completed requests.", labels=names)
    failures = CounterMetricFamily("loadstone_request_failures", "Completed requests that failed.", labels=names)
    durations = HistogramMetricFamily(
        "loadstone_request_duration_seconds", "Latency: first byte sent to last byte read.", labels=names
    )
    for (method, name), (histogram, failed) in sorted(_endpoints(figures.series).items()):
        labels = [*run, method, name]
        requests.add_metric(labels, histogram.count)
        failures.add_metric(labels, failed)
        buckets = [(f"{bound / 1000}", float(histogram.below(bound * 1_000_000))) for bound in BOUNDS_MILLIS]
        durations.add_metric(labels, [*buckets, ("+Inf", histogram.count)], sum_value=histogram.total / SECOND)
    yield from (requests, failures, durations)


def _iterations(figures: RunFigures) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    run = [figures.loadtest, str(figures.run)]
    iterations = CounterMetricFamily("loadstone_iterations", "Completed iterations.", labels=("loadtest", "run"))
    iterations.add_metric(run, figures.iterations)
    dropped = CounterMetricFamily(
        "loadstone_dropped_iterations", "Iterations that could not be started in time.", labels=("loadtest", "run")
    )
    dropped.add_metric(run, sum(each.total for each in figures.series if each.key.metric == DROPPED_ITERATIONS))
    checks = CounterMetricFamily("loadstone_checks", "Checks by result.", labels=("loadtest", "run", "name", "result"))
    counted: dict[str, tuple[int, int]] = {}
    for each in figures.series:
        if each.key.metric == CHECKS:
            passed, failed = counted.get(each.key.name, (0, 0))
            counted[each.key.name] = (passed + each.total, failed + each.count - each.total)
    for name, (passed, failed) in sorted(counted.items()):
        checks.add_metric([*run, name, "passed"], passed)
        checks.add_metric([*run, name, "failed"], failed)
    yield from (iterations, dropped, checks)


def _run(figures: RunFigures) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    run, names = [figures.loadtest, str(figures.run)], ("loadtest", "run")
    users = GaugeMetricFamily("loadstone_users", "Live users.", labels=names)
    users.add_metric(run, figures.users)
    workers = GaugeMetricFamily("loadstone_workers", "Workers by state.", labels=(*names, "state"))
    for state, count in figures.workers.items():
        workers.add_metric([*run, state], count)
    info = GaugeMetricFamily("loadstone_run_info", "Where the run is.", labels=(*names, "stage", "verdict"))
    info.add_metric([*run, figures.stage, figures.verdict], 1)
    unaccounted = GaugeMetricFamily(
        "loadstone_unaccounted_requests", "Requests that happened and are not in the results.", labels=names
    )
    unaccounted.add_metric(run, figures.unaccounted)
    refused = CounterMetricFamily(
        "loadstone_refused_messages", "Messages and connections that could not be meant.", labels=(*names, "peer")
    )
    for peer in PEERS:
        refused.add_metric([*run, peer], figures.refused.get(peer, 0))
    yield from (users, workers, info, unaccounted, refused)


def _lanes(figures: RunFigures) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    names = ("loadtest", "run", "role", "lane")
    lanes = [
        ((figures.loadtest, str(figures.run), role, name), lane)
        for role, held in figures.lanes.items()
        for name, lane in sorted(held.items())
    ]
    gauges: tuple[tuple[str, str, Callable[[LaneNews], float]], ...] = (
        ("queue_depth", "Custom messages that wait for their handler.", lambda lane: lane.depth),
        ("running", "Handlers of custom messages that run.", lambda lane: lane.running),
        ("oldest_seconds", "Age of the oldest message that is not handled.", lambda lane: lane.oldest_ns / SECOND),
        ("longest_seconds", "The longest that a handler has run.", lambda lane: lane.longest_ns / SECOND),
    )
    for name, text, read in gauges:
        gauge = GaugeMetricFamily(f"loadstone_message_{name}", text, labels=names)
        for labels, lane in lanes:
            gauge.add_metric(labels, read(lane))
        yield gauge
    handled = CounterMetricFamily("loadstone_messages", "Custom messages by result.", labels=(*names, "result"))
    seconds = CounterMetricFamily("loadstone_message_handler_seconds", "Time that handlers have run.", labels=names)
    for labels, lane in lanes:
        seconds.add_metric(labels, lane.duration_ns / SECOND)
        for result in ("processed", "failed", "rejected"):
            handled.add_metric((*labels, result), getattr(lane, result))
    yield from (handled, seconds)


def _endpoints(series: Iterable[Series]) -> dict[tuple[str, str], tuple[Histogram, int]]:
    """Return latency and failures by method and name, of all scenarios and labels together."""
    endpoints: dict[tuple[str, str], tuple[Histogram, int]] = {}
    for each in series:
        if each.key.metric == LATENCY and each.histogram is not None:
            histogram, failed = endpoints.setdefault((each.key.method, each.key.name), (Histogram(), 0))
            histogram.merge(each.histogram)
            failed += each.outcomes.get(Outcome.FAILED, 0)
            endpoints[each.key.method, each.key.name] = (histogram, failed)
    return endpoints
