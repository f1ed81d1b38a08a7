"""Put together what is known at the end of a run, and say what it means in the words of the status. Pure.

The table of verdicts is core's; the report with everything is made by `export`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.load.profile import Model
from loadstone_core.stats.metrics import SCHEDULE_SLIP
from loadstone_core.stats.summary import summarize
from loadstone_core.units import MILLISECOND, SECOND, format_duration, format_latency, format_rate, format_share
from loadstone_core.verdict.ending import Ending
from loadstone_core.verdict.outcome import conclude
from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_protocol.views import OutcomeView

if TYPE_CHECKING:
    from loadstone_core.plan.model import RunPlan
    from loadstone_core.stats.summary import Results
    from loadstone_core.stats.totals import Totals
    from loadstone_core.verdict.ending import ThresholdFinding
    from loadstone_core.verdict.outcome import Outcome
    from loadstone_runner.master.judge import Judge
    from loadstone_runner.master.measurement import Measurement
    from loadstone_runner.master.roster import Member, Roster
    from loadstone_runner.master.run import RunState

OUT_OF_MEMORY: Final = "OOMKilled"
LATE_NS: Final = 10 * MILLISECOND  # an iteration that starts so much after it was due counts as late
UNITS: Final = {Model.USERS: "user-seconds", Model.RATE: "iterations", Model.ITERATIONS: "iterations"}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Everything that a verdict depends on.

    Attributes:
        plan: what was asked.
        state: at the end: who stopped it, what broke.
        roster: who was lost.
        measurement: what was measured; every stream that will be closed is.
        judge: the thresholds as they were judged so far.
        outside: requests of setup and teardown, by that name.
        notes: findings that decide nothing.
        load_ns: how long the load ran until it was told to stop; None if it never began.
        load_started_ns: the wall clock's, 0 if it never began.
    """

    plan: RunPlan
    state: RunState
    roster: Roster
    measurement: Measurement
    judge: Judge
    outside: dict[str, int]
    notes: tuple[Cause, ...]
    load_ns: int | None
    load_started_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """The end of a run: the verdict, the results, and the parts of the status that come from them."""

    outcome: Outcome
    results: Results
    load: dict[str, Any]
    thresholds: list[dict[str, Any]]
    summary: dict[str, str]

    def to_view(self, report_sha256: bytes) -> OutcomeView:
        """Return what followers get; the digest is that of the report's file."""
        return OutcomeView(
            verdict=self.outcome.verdict.value,
            reason=self.outcome.reason.value,
            message=self.outcome.message,
            exit_code=self.outcome.exit_code,
            results_json=to_json(self.results.to_status()),
            load_json=to_json(self.load),
            thresholds_json=to_json(self.thresholds),
            summary_json=to_json(self.summary),
            report_sha256=report_sha256,
        )


def conclude_run(end: End) -> Conclusion:
    """Return what a run means."""
    totals = end.measurement.merge.totals()
    elapsed_ns = end.load_ns or 0
    findings = end.judge.conclude(totals, elapsed_ns=elapsed_ns) if end.load_ns is not None else ()
    peak = end.measurement.timeline.peak_requests
    results = summarize(totals, end.plan.percentiles, elapsed_ns, peak_requests=peak, outside=end.outside)
    ending = _ending(end, results, findings)
    return Conclusion(
        outcome=conclude(ending),
        results=results,
        load=_load_status(ending, totals),
        thresholds=end.judge.to_status(is_over=True, load_started_ns=end.load_started_ns),
        summary=summary_status(results, elapsed_ns),
    )


def to_json(value: Any) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def summary_status(results: Results, elapsed_ns: int) -> dict[str, str]:
    """Return `status.summary`: the run in a few words for people."""
    latency = results.latency_micros
    summary = {"elapsed": format_duration(elapsed_ns // SECOND * SECOND)}
    summary |= {name: format_latency(latency[name]) for name in ("p50", "p95", "p99") if name in latency}
    summary["errorRate"] = format_share(results.totals.failures, results.totals.requests)
    summary["rps"] = format_rate(results.totals.requests, elapsed_ns)
    return summary


def _ending(end: End, results: Results, findings: tuple[ThresholdFinding, ...]) -> Ending:
    plan, state, measurement = end.plan, end.state, end.measurement
    totals, load_ns = results.totals, end.load_ns
    lost = end.roster.lost()
    return Ending(
        stopped=None if state.stop is None else Reason(state.stop),
        stop_message=state.stop_message,
        errors=(*(Cause(Reason(each.reason), each.message) for each in state.broke), *_out_of_memory(lost)),
        thresholds=findings,
        notes=(*end.notes, *_limited(totals)),
        load_ran=load_ns is not None,
        model=plan.load.model,
        planned=plan.load.planned(),
        achieved=0 if load_ns is None else measurement.achieved(load_ns),
        tolerance_ppm=plan.tolerance_ppm,
        dropped=results.dropped_iterations,
        requests=totals.requests,
        failures=totals.failures,
        unaccounted=totals.unaccounted,
        unaccounted_at_least=totals.unaccounted_at_least,
        iterations=totals.iterations,
        iterations_raised=results.iteration_errors,
        seconds=-(-(load_ns or 0) // SECOND),
        saturated_seconds=measurement.saturation.seconds,
        workers=plan.workers,
        workers_lost=len(lost),
    )


def _out_of_memory(lost: tuple[Member, ...]) -> list[Cause]:
    return [
        Cause(
            Reason.WORKER_OOM,
            f"worker {member.worker} ({member.pod or 'never seen'}) was killed: it used more memory than its limit; "
            "raise workers.template.resources.limits.memory, or spread the load over more workers",
        )
        for member in lost
        if member.departure is not None and member.departure.reason == OUT_OF_MEMORY
    ]


def _limited(totals: Totals) -> list[Cause]:
    if totals.series_complete:
        return []
    text = "there were too many series, so some were counted together as __overflow__; give requests fewer names"
    return [Cause(Reason.SERIES_LIMITED, text)]


def _load_status(ending: Ending, totals: Totals) -> dict[str, Any]:
    slip = totals.histogram(SCHEDULE_SLIP)
    return {
        "model": ending.model.value,
        "planned": round(ending.planned),
        "achieved": round(ending.achieved),
        "unit": UNITS[ending.model],
        "dropped": ending.dropped,
        "late": slip.count - slip.below(LATE_NS),
    }
