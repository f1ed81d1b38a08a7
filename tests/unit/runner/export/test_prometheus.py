from __future__ import annotations

import asyncio

from loadstone_core.stats.metrics import CHECKS, DROPPED_ITERATIONS, LATENCY, Kind, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_protocol.messages import LaneNews
from loadstone_runner.export.prometheus import RunFigures, render

MILLISECOND = 1_000_000
LANE = LaneNews(
    "book", 4, 2, 1_500 * MILLISECOND, processed=9, failed=1, rejected=3, duration_ns=250 * MILLISECOND, longest_ns=0
)


def figures() -> RunFigures:
    series = []
    for scenario, latencies in (("a", (3, 30)), ("b", (300,))):
        each = Series(SeriesKey(LATENCY, scenario, "GET", "front"), Kind.TREND)
        for latency in latencies:
            assert each.histogram is not None
            each.histogram.record(latency * MILLISECOND)
        each.outcomes = {"failed": 1}
        series.append(each)
    checks, dropped = (
        Series(SeriesKey(CHECKS, name="ok"), Kind.RATE),
        Series(SeriesKey(DROPPED_ITERATIONS), Kind.COUNTER),
    )
    checks.count, checks.total = 5, 4
    dropped.count, dropped.total = 1, 7
    return RunFigures(
        loadtest="t",
        run=2,
        stage="running",
        verdict="",
        series=(*series, checks, dropped),
        iterations=9,
        users=3,
        workers={"running": 2},
        unaccounted=1,
        lanes={"director": {"book": LANE}, "engine": {}},
    )


def page(accept: str) -> tuple[str, str]:
    content, content_type = asyncio.run(render(figures(), accept))
    return content.decode(), content_type


def test_the_page_holds_the_merged_state_of_every_endpoint() -> None:
    text, content_type = page("text/plain;version=0.0.4")
    lines = set(text.splitlines())
    front = 'loadtest="t",method="GET",name="front",run="2"'

    assert content_type.startswith("text/plain")
    assert f"loadstone_requests_total{{{front}}} 3.0" in lines
    assert f"loadstone_request_failures_total{{{front}}} 2.0" in lines
    assert f"loadstone_request_duration_seconds_count{{{front}}} 3.0" in lines
    assert 'loadstone_checks_total{loadtest="t",name="ok",result="failed",run="2"} 1.0' in lines
    assert 'loadstone_dropped_iterations_total{loadtest="t",run="2"} 7.0' in lines
    assert 'loadstone_workers{loadtest="t",run="2",state="running"} 2.0' in lines
    buckets = [line.rsplit(" ", 1)[1] for line in text.splitlines() if "_seconds_bucket" in line]
    assert buckets == ["1.0"] * 3 + ["2.0"] * 3 + ["3.0"] * 6


def test_the_page_shows_each_lane_of_custom_messages() -> None:
    lines = set(page("text/plain;version=0.0.4")[0].splitlines())
    book = 'lane="book",loadtest="t",role="director"'

    assert f'loadstone_message_queue_depth{{{book},run="2"}} 4.0' in lines
    assert f'loadstone_message_running{{{book},run="2"}} 2.0' in lines
    assert f'loadstone_message_oldest_seconds{{{book},run="2"}} 1.5' in lines
    assert 'loadstone_messages_total{lane="book",loadtest="t",result="failed",role="director",run="2"} 1.0' in lines
    assert f'loadstone_message_handler_seconds_total{{{book},run="2"}} 0.25' in lines


def test_the_format_is_the_one_that_is_asked_for() -> None:
    text, content_type = page("application/openmetrics-text;version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
