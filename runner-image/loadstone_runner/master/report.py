"""Compose a finished run's report from its tables. Pure; the form of the file is the affair of `export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loadstone_core.clock import rfc3339
from loadstone_runner.export.results import write_report

if TYPE_CHECKING:
    from loadstone_runner.master.conclusion import Conclusion, End
    from loadstone_runner.master.member import Member
    from loadstone_runner.master.views import Times


def report_of(conclusion: Conclusion, end: End, times: Times) -> bytes:
    """Return the report as gzip JSON of at most 512 KiB."""
    results, outcome = conclusion.results, conclusion.outcome
    head = {
        "run": _run(end, times),
        "verdict": {
            "verdict": outcome.verdict.value,
            "reason": outcome.reason.value,
            "message": outcome.message,
            "exitCode": outcome.exit_code,
        },
        "findings": list(outcome.findings),
        "thresholds": conclusion.thresholds,
        "load": conclusion.load,
        "results": results.to_status(),
        "errors": [
            {"kind": each.kind, "message": each.message, "name": each.name, "count": each.count}
            for each in results.totals.errors
        ],
        "logs": conclusion.logs,
        "workers": [_worker(member) for member in end.roster.members],
    }
    return write_report(head, series=results.totals.series.values(), rows=end.measurement.timeline.rows())


def _run(end: End, times: Times) -> dict[str, Any]:
    identity = end.plan.run
    return {
        "loadtest": identity.loadtest,
        "namespace": identity.namespace,
        "number": identity.number,
        "id": identity.uid,
        "epoch": identity.epoch,
        "specHash": end.plan.spec_digest,
        "target": end.plan.target,
        "workersReadyAt": _at(times.workers_ready_ns),
        "loadStartedAt": _at(times.load_started_ns),
        "loadStoppedAt": _at(times.load_stopped_ns),
        "finishedAt": _at(times.finished_ns),
        "loadNanoseconds": end.load_ns or 0,
        "startSkewMicros": end.roster.start_skew_ns() // 1_000,
    }


def _worker(member: Member) -> dict[str, Any]:
    worker: dict[str, Any] = {
        "worker": member.worker,
        "attempt": member.attempt,
        "pod": member.pod,
        "state": member.state.value,
    }
    if flavours := {each.flavour for each in member.engines if each.flavour}:
        worker["flavour"] = ", ".join(sorted(flavours))
    if member.departure is not None:
        departure = member.departure
        worker |= {"reason": departure.reason, "message": departure.message, "exitCode": departure.exit_code}
    return worker


def _at(wall_ns: int) -> str | None:
    return rfc3339(wall_ns) if wall_ns else None
