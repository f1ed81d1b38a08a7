"""Turn a master's report, as it comes over the wire, into values. The only reader of the protocol's messages here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.units import SECOND, format_duration, format_latency, format_rate, format_share
from loadstone_core.verdict.outcome import EXIT_CODES, Reason, Verdict
from loadstone_operator.observation import MasterView, Outcome, Stage, Times, WorkerView
from loadstone_protocol.v1 import control_pb2 as wire

if TYPE_CHECKING:
    from loadstone_operator.wishes import Steer

_STAGES: Final = {
    wire.GATHERING: Stage.GATHERING,
    wire.ARMED: Stage.ARMED,
    wire.RUNNING_LOAD: Stage.RUNNING,
    wire.STOPPING_LOAD: Stage.STOPPING,
    wire.FINISHED: Stage.FINISHED,
}
_STATES: Final = {
    wire.WorkerReport.EXPECTED: "Expected",
    wire.WorkerReport.CONNECTED: "Connected",
    wire.WorkerReport.READY_WORKER: "Ready",
    wire.WorkerReport.RUNNING_WORKER: "Running",
    wire.WorkerReport.SUSPECT: "Suspect",
    wire.WorkerReport.ENDED_WORKER: "Ended",
    wire.WorkerReport.LOST: "Lost",
    wire.WorkerReport.RETIRED: "Retired",
}
_MICRO: Final = 1_000
# The whole wish is one message of gRPC, and a run may have had tens of thousands of attempts.
STEERING_MOST_BYTES: Final = 4 * 1024 * 1024


class ReportInvalid(ValueError):  # noqa: N818 (the master's fault, and counted as its silence)
    """A master's report is not what the protocol says."""


def read_report(report: wire.RunReport) -> MasterView:
    """Return a report as a value.

    Raises:
        ReportInvalid: a field is not what the protocol says.
    """
    try:
        return MasterView(
            connected=True,
            stage=_STAGES[report.stage],
            workers=tuple(_worker(worker) for worker in report.workers),
            progress=_progress(report.progress),
            summary=_summary(report.progress),
            thresholds=_list(report.thresholds_json),
            findings=tuple(report.findings),
            times=_times(report.times),
            waiting_for=report.waiting_for,
            paused=report.paused,
            config_revision=report.config_revision,
            outcome=_outcome(report.outcome) if report.HasField("outcome") else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ReportInvalid(
            f"the master's report {report.sequence} cannot be read ({error!r}); use the same release for the operator "
            "and for spec.image, from which the master comes"
        ) from error


def write_steering(wish: Steer, *, run_uid: str, epoch: int, revision: int) -> wire.Steering:
    """Return a wish as the message for the master.

    Every end is in it. If that is more than `STEERING_MOST_BYTES`, only the last bytes are of what each said.
    """
    steering = _steering(wish, run_uid=run_uid, epoch=epoch, revision=revision)
    excess = steering.ByteSize() - STEERING_MOST_BYTES
    if excess > 0:
        _cut_messages(steering, excess)
    return steering


def _steering(wish: Steer, *, run_uid: str, epoch: int, revision: int) -> wire.Steering:
    return wire.Steering(
        run_uid=run_uid,
        epoch=epoch,
        revision=revision,
        stop=bool(wish.stop),
        stop_reason=wish.stop,
        # To a master of a release that knows no kill, it is at least this.
        immediate=wish.stop == Reason.KILLED,
        ended=[
            wire.WorkerEnd(
                worker=end.worker,
                attempt=end.attempt,
                reason=end.reason,
                message=end.message,
                exit_code=end.exit_code,
            )
            for end in wish.ended
        ],
        paused=wish.paused,
        aims=[
            wire.Aim(scenario=aim.scenario, value=aim.value, spawn_rate=aim.spawn_rate or 0, rate=aim.is_rate)
            for aim in wish.aims
        ],
        config=None if wish.config is None else wire.Values(values=wish.config),
        workers=wish.workers,
        hopeless=wish.hopeless,
        hopeless_reason=wish.hopeless_reason,
    )


def _cut_messages(steering: wire.Steering, excess: int) -> None:
    """Make a wish so many bytes smaller: what was said at length is cut first, down to nothing if need be."""
    said = [end.message.encode() for end in steering.ended]
    most = max(map(len, said), default=0)
    while most and sum(len(text) - most for text in said if len(text) > most) < excess:
        most //= 2
    for end, text in zip(steering.ended, said, strict=True):
        if len(text) > most:
            # What is left of a character that was cut through is none.
            end.message = text[len(text) - most :].decode(errors="ignore")


def _worker(worker: wire.WorkerReport) -> WorkerView:
    return WorkerView(
        worker=worker.worker,
        attempt=worker.attempt,
        state=_STATES.get(worker.state, "Expected"),
        pod=worker.pod,
        reason=worker.reason,
        message=worker.message,
        exit_code=worker.exit_code,
    )


def _progress(progress: wire.Progress) -> dict[str, Any] | None:
    if progress.elapsed_ns <= 0:
        return None
    told = {
        "percent": min(100, progress.percent),
        "elapsedSeconds": progress.elapsed_ns // SECOND,
        "users": progress.users,
        "rps": progress.requests_per_second,
        "failuresPerSecond": progress.failures_per_second,
    }
    return {**told, "p95Micros": progress.p95_ns // _MICRO} if progress.requests else told


def _summary(progress: wire.Progress) -> dict[str, str] | None:
    """Return the figures for people while the run goes on; the outcome brings its own."""
    if progress.elapsed_ns <= 0:
        return None
    told = {"elapsed": format_duration(progress.elapsed_ns // SECOND * SECOND)}
    if progress.requests:
        told["errorRate"] = format_share(progress.failures, progress.requests)
        told["rps"] = format_rate(progress.requests, progress.elapsed_ns)
        for name, value in (("p50", progress.p50_ns), ("p95", progress.p95_ns), ("p99", progress.p99_ns)):
            told[name] = format_latency(value // _MICRO)
    return told


def _times(times: wire.RunTimes) -> Times:
    return Times(
        workers_ready_ns=times.workers_ready_ns,
        load_started_ns=times.load_started_ns,
        load_stopped_ns=times.load_stopped_ns,
        finished_ns=times.finished_ns,
        start_skew_ns=max(0, times.start_skew_ns),
    )


def _outcome(outcome: wire.RunOutcome) -> Outcome:
    verdict = Verdict(outcome.verdict)
    return Outcome(
        verdict=verdict,
        reason=outcome.reason or str(verdict),
        message=outcome.message,
        exit_code=EXIT_CODES[verdict] if not outcome.exit_code else outcome.exit_code,
        results=_table(outcome.results_json),
        load=_table(outcome.load_json),
        thresholds=_list(outcome.thresholds_json),
        summary=_table(outcome.summary_json),
        logs=_table(outcome.logs_json),
        has_report=bool(outcome.report_sha256),
    )


def _table(text: bytes) -> dict[str, Any] | None:
    if not text:
        return None
    table = json.loads(text)
    if not isinstance(table, dict):
        raise TypeError("not an object")
    return table


def _list(text: bytes) -> tuple[dict[str, Any], ...] | None:
    return tuple(json.loads(text)) if text else None
