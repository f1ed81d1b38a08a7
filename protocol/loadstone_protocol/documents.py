"""Show a run to platforms as JSON documents, from the messages of service Control. Nothing is decided or left out here.

Names are those of the status; each says its unit: `...Micros` are microseconds, `...Millis` milliseconds, both of
durations, `...At` is RFC 3339. docs/control.md describes every field.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.clock import rfc3339
from loadstone_protocol.control import STAGES, WORKER_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_protocol.v1 import control_pb2

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000

# The tiers of rows by their name, in seconds.
TIERS: Final[Mapping[str, int]] = {"1s": 1, "10s": 10}

_STAGE_NAMES: Final = {number: name for name, number in STAGES.items()}
_STATE_NAMES: Final = {number: name for name, number in WORKER_STATES.items()}


def row_document(row: control_pb2.Row, tier: str) -> dict[str, Any]:
    """Return one row of the timeline, of the tier with this name."""
    return {
        "kind": "row",
        "tier": tier,
        "second": row.second,
        "seconds": row.width_seconds,
        "endedAt": rfc3339(row.ended_ns),
        "endedUnixMicros": row.ended_ns // MICROSECOND,
        "users": row.users,
        "requests": row.requests,
        "failures": row.failures,
        "iterations": row.iterations,
        "droppedIterations": row.dropped_iterations,
        "p50Micros": row.p50_ns // MICROSECOND,
        "p95Micros": row.p95_ns // MICROSECOND,
        "p99Micros": row.p99_ns // MICROSECOND,
        "gaps": row.gaps,
        "series": list(map(_series, row.series)),
    }


def _series(each: control_pb2.SeriesRow) -> dict[str, Any]:
    """Return one series of a row, in the unit of its metric as in the report."""
    return {
        "metric": each.key.metric,
        "scenario": each.key.scenario,
        "method": each.key.method,
        "name": each.key.name,
        "labels": {label.name: label.value for label in each.key.labels},
        "count": each.count,
        "total": each.total,
        "failures": each.failures,
        "p50": each.p50,
        "p95": each.p95,
        "p99": each.p99,
    }


def outcome_document(outcome: control_pb2.RunOutcome) -> dict[str, Any]:
    """Return the end of a run: the verdict, and the parts of the status that come with it."""
    parts = {
        "results": outcome.results_json,
        "load": outcome.load_json,
        "thresholds": outcome.thresholds_json,
        "summary": outcome.summary_json,
        "logs": outcome.logs_json,
    }
    return {
        "kind": "outcome",
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "message": outcome.message,
        "exitCode": outcome.exit_code,
        **{name: json.loads(text) for name, text in parts.items() if text},
    }


def run_document(report: control_pb2.RunReport) -> dict[str, Any]:
    """Return the whole state of a run; `outcome` is null before its end."""
    return {
        "kind": "run",
        "id": report.run_uid,
        "stage": _STAGE_NAMES.get(report.stage, "gathering"),
        "waitingFor": report.waiting_for,
        "paused": report.paused,
        "progress": _progress(report.progress),
        "workers": [_worker(worker) for worker in report.workers],
        "thresholds": json.loads(report.thresholds_json or b"[]"),
        "findings": list(report.findings),
        "workersReadyAt": _at(report.times.workers_ready_ns),
        "loadStartedAt": _at(report.times.load_started_ns),
        "loadStoppedAt": _at(report.times.load_stopped_ns),
        "finishedAt": _at(report.times.finished_ns),
        "outcome": outcome_document(report.outcome) if report.HasField("outcome") else None,
    }


def _progress(progress: control_pb2.Progress) -> dict[str, Any]:
    """Return how far the load is. Rates and percentiles are of the last closed second: the tier is 1s."""
    return {
        "tier": "1s",
        "percent": progress.percent,
        "elapsedMillis": progress.elapsed_ns // MILLISECOND,
        "users": progress.users,
        "requests": progress.requests,
        "failures": progress.failures,
        "iterations": progress.iterations,
        "droppedIterations": progress.dropped_iterations,
        "requestsPerSecond": progress.requests_per_second,
        "failuresPerSecond": progress.failures_per_second,
        "p50Micros": progress.p50_ns // MICROSECOND,
        "p95Micros": progress.p95_ns // MICROSECOND,
        "p99Micros": progress.p99_ns // MICROSECOND,
    }


def _worker(worker: control_pb2.WorkerReport) -> dict[str, Any]:
    return {
        "worker": worker.worker,
        "attempt": worker.attempt,
        "state": _STATE_NAMES.get(worker.state, "expected"),
        "pod": worker.pod,
        "users": worker.users,
        "reason": worker.reason,
        "message": worker.message,
    }


def _at(wall_ns: int) -> str | None:
    return rfc3339(wall_ns) if wall_ns else None
