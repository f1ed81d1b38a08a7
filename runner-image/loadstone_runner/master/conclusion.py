"""Put together what is known at the end of a run, and say what it means in the words of the status. Pure.

The table of verdicts is core's; the report with everything is made by `export`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.load.profile import Model
from loadstone_core.spec.defaults import SCENARIO
from loadstone_core.stats.metrics import DROPPED_ITERATIONS, EXCEPTION_ERROR, FEEDER_ERROR, LATENCY, SCHEDULE_SLIP
from loadstone_core.stats.metrics import Outcome as StatOutcome
from loadstone_core.stats.summary import summarize
from loadstone_core.units import MILLISECOND, SECOND, format_duration, format_latency, format_rate, format_share
from loadstone_core.verdict.ending import Effort, Ending
from loadstone_core.verdict.outcome import Verdict, conclude
from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_protocol.views import OutcomeView
from loadstone_runner.master.member import OUT_OF_MEMORY
from loadstone_runner.master.remarks import failed_handlers, handler_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loadstone_core.plan.model import RunPlan
    from loadstone_core.stats.histogram import Histogram
    from loadstone_core.stats.stream import ErrorCount
    from loadstone_core.stats.summary import Results
    from loadstone_core.stats.totals import Totals
    from loadstone_core.verdict.ending import ThresholdFinding
    from loadstone_core.verdict.outcome import Outcome
    from loadstone_runner.master.account import Account
    from loadstone_runner.master.judge import Judge
    from loadstone_runner.master.losses import Loss, Losses
    from loadstone_runner.master.measurement import Measurement
    from loadstone_runner.master.roster import Roster
    from loadstone_runner.master.run import RunState

MIXED: Final = "mixed"  # the model of scenarios with several models
LATE_NS: Final = 10 * MILLISECOND  # an iteration that starts so much after it was due counts as late
UNITS: Final = {Model.USERS: "user-seconds", Model.RATE: "iterations", Model.ITERATIONS: "iterations"}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Everything that a verdict depends on.

    Attributes:
        plan: what was asked.
        state: at the end: who stopped it, what broke.
        roster: who was lost.
        losses: what became of them.
        measurement: what was measured; every stream that will be closed is.
        unused: numbers that were granted to lost workers and not taken, by name.
        judge: the thresholds as they were judged so far.
        outside: requests of setup and teardown, by that name.
        notes: findings that decide nothing.
        remarks: what one has to know to read the figures of the load.
        logs: `status.logs`.
        load_ns: how long the load ran until it was told to stop; None if it never began.
        idle_ns: how long of it the load was paused.
        load_started_ns: the wall clock's, 0 if it never began.
        director_errors: of the script's listeners and handlers in the director.
    """

    plan: RunPlan
    state: RunState
    roster: Roster
    losses: Losses
    measurement: Measurement
    unused: dict[str, int]
    judge: Judge
    outside: dict[str, int]
    notes: tuple[Cause, ...]
    load_ns: int | None
    load_started_ns: int
    idle_ns: int = 0
    remarks: tuple[str, ...] = ()
    director_errors: tuple[ErrorCount, ...] = ()
    logs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """The end of a run: the verdict, the results, and the parts of the status that come from them."""

    outcome: Outcome
    results: Results
    load: dict[str, Any]
    thresholds: list[dict[str, Any]]
    summary: dict[str, str]
    logs: dict[str, Any]

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
            logs_json=to_json(self.logs),
        )


def conclude_run(end: End) -> Conclusion:
    """Return what a run means."""
    totals = end.measurement.merge.totals()
    elapsed_ns = max(0, (end.load_ns or 0) - end.plan.warm_up_ns - end.idle_ns)
    outside = end.outside | ({"warmUp": totals.warm_up} if end.plan.warm_up_ns else {})
    findings = end.judge.conclude(totals, elapsed_ns=elapsed_ns) if end.load_ns is not None else ()
    peak = end.measurement.timeline.peak_requests
    results = summarize(totals, end.plan.percentiles, elapsed_ns, peak_requests=peak, outside=outside)
    ending = _ending(end, results, findings)
    return Conclusion(
        outcome=conclude(ending),
        results=results,
        load=_load_status(end, ending.efforts, totals),
        thresholds=end.judge.to_status(is_over=True, load_started_ns=end.load_started_ns),
        summary=summary_status(results, elapsed_ns),
        logs=end.logs,
    )


def not_concluded(error: Exception) -> OutcomeView:
    """Return the end of a run of which the master could not work out what it means."""
    message = (
        f"the load has ended, and the master failed to work out what it means: {type(error).__name__}: {error}; "
        "this is an error of Loadstone, see the log of the master's container"
    )
    return OutcomeView(
        verdict=Verdict.ERROR.value,
        reason=Reason.MASTER_LOST.value,
        message=message,
        exit_code=1,
        results_json=b"",
        load_json=b"",
        thresholds_json=b"",
        summary_json=b"",
        report_sha256=b"",
    )


def last_word_of(outcome: OutcomeView) -> dict[str, Any]:
    """Return what the master's pod leaves behind of a run, for whoever never got the outcome itself."""
    return {
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "message": outcome.message,
        "exitCode": outcome.exit_code,
        "requests": json.loads(outcome.results_json or b"{}").get("requests", 0),
    }


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
    losses = end.losses.of_load
    end_second = -(-(load_ns or 0) // SECOND)
    return Ending(
        stopped=None if state.stop is None else Reason(state.stop),
        stop_message=state.stop_message,
        errors=(
            *(Cause(Reason(each.reason), each.message) for each in state.broke),
            *_out_of_memory(end.losses),
            *(failed_handlers((*totals.errors, *end.director_errors)) if plan.fails_on_handler_error else ()),
        ),
        thresholds=findings,
        notes=(
            *end.notes,
            *_lost_early(end.losses),
            *measurement.strain.findings(),
            *handler_errors(totals.errors, "engines"),
            *handler_errors(end.director_errors, "the director"),
            *_limited(totals),
            *_stalled(measurement),
            *_unused(end.unused),
        ),
        load_ran=load_ns is not None,
        efforts=tuple(_effort(account, totals, load_ns) for account in measurement.accounts),
        tolerance_ppm=plan.tolerance_ppm,
        requests=totals.requests,
        failures=totals.failures,
        unaccounted=totals.unaccounted,
        unaccounted_at_least=totals.unaccounted_at_least,
        iterations=totals.iterations,
        iterations_raised=results.iteration_errors,
        raised_most=next(
            (f"{each.message} in {each.name}" for each in totals.errors if each.kind == EXCEPTION_ERROR), ""
        ),
        seconds=-(-max(0, (load_ns or 0) - plan.warm_up_ns) // SECOND),
        saturated_seconds=measurement.saturation.seconds(end_second),
        exhausted_seconds=measurement.saturation.exhausted_seconds(end_second),
        workers=len(end.roster.members),
        workers_lost=len(losses),
        most_lost=end.losses.most,
        most_lost_allowed=end.losses.allowed,
        relief=end.losses.describe(),
        used_up=tuple(sorted({each.name for each in totals.errors if each.kind == FEEDER_ERROR})),
        first_loss=next((each.departure.message for each in losses if each.departure.message), ""),
    )


def _out_of_memory(losses: Iterable[Loss]) -> list[Cause]:
    return [
        Cause(
            Reason.WORKER_OOM,
            f"worker {each.worker} ({each.pod or 'never seen'}) was killed: it used more memory than its limit; "
            "raise workers.template.resources.limits.memory, or spread the load over more workers",
        )
        for each in losses
        if each.departure.reason == OUT_OF_MEMORY
    ]


def _lost_early(losses: Losses) -> list[Cause]:
    text = losses.describe_early()
    return [Cause(Reason.WORKER_DEGRADED, text)] if text else []


def _limited(totals: Totals) -> list[Cause]:
    if totals.series_complete:
        return []
    text = (
        "there were too many series, or names and labels too long for all of them, so some were counted together as "
        "__overflow__; give requests fewer names"
    )
    return [Cause(Reason.SERIES_LIMITED, text)]


def _stalled(measurement: Measurement) -> list[Cause]:
    """Return that percentiles hide a stall: who waits for an answer does not ask meanwhile (coordinated omission)."""
    seconds = measurement.timeline.stalled_seconds
    if not seconds or all(account.scenario.load.model is Model.RATE for account in measurement.accounts):
        return []
    text = (
        f"no request was answered for {seconds} s or longer; users that wait ask for nothing meanwhile, so the "
        "percentiles of this load cannot show how many would have waited; a load with a rate does"
    )
    return [Cause(Reason.TARGET_STALLED, text)]


def _unused(unused: Mapping[str, int]) -> list[Cause]:
    return [
        Cause(
            Reason.WORKER_DEGRADED,
            f"{count} rows of {name} went to workers that were lost or had to go, and may not have been used",
        )
        for name, count in sorted(unused.items())
    ]


def _effort(account: Account, totals: Totals, load_ns: int | None) -> Effort:
    name = account.scenario.name
    return Effort(
        scenario=name,
        model=account.scenario.load.model,
        planned=account.planned(),
        achieved=0 if load_ns is None else account.achieved(load_ns),
        dropped=sum(series.total for series in totals.select(DROPPED_ITERATIONS, {"scenario": name})),
    )


def _load_status(end: End, efforts: Sequence[Effort], totals: Totals) -> dict[str, Any]:
    """Return `status.load`: of all scenarios together, and of each if there are several."""
    status = _efforts_status(efforts) | {"late": _late(totals.histogram(SCHEDULE_SLIP))}
    if end.remarks:
        status["remarks"] = list(end.remarks)
    if [each.scenario for each in efforts] == [SCENARIO]:
        return status
    return status | {
        "scenarios": [
            {
                "name": effort.scenario,
                **_efforts_status([effort]),
                "late": _late(totals.histogram(SCHEDULE_SLIP, {"scenario": effort.scenario})),
                "users": account.user_seconds.peak,
                "requests": totals.histogram(LATENCY, {"scenario": effort.scenario}).count,
                "failures": totals.outcome(StatOutcome.FAILED, {"scenario": effort.scenario}),
            }
            for effort, account in zip(efforts, end.measurement.accounts, strict=True)
        ]
    }


def _efforts_status(efforts: Sequence[Effort]) -> dict[str, Any]:
    models, units = {each.model for each in efforts}, {UNITS[each.model] for each in efforts}
    status: dict[str, Any] = {"model": efforts[0].model.value if len(models) == 1 else MIXED}
    if len(units) == 1:
        # User-seconds and iterations do not add up.
        status |= {
            "planned": round(sum(each.planned for each in efforts)),
            "achieved": round(sum(each.achieved for each in efforts)),
            "unit": units.pop(),
        }
    return status | {"dropped": sum(each.dropped for each in efforts)}


def _late(slip: Histogram) -> int:
    return slip.count - slip.below(LATE_NS)
