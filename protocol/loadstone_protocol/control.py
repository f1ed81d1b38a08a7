"""Make the message of what a master shows to whoever follows its run. Nothing is decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core import __version__
from loadstone_core.units import SECOND
from loadstone_protocol.codec import carried, write_key
from loadstone_protocol.v1 import control_pb2
from loadstone_protocol.version import PROTOCOL_MAJOR, PROTOCOL_MINOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadstone_core.stats.timeline import Row
    from loadstone_core.stats.windows import SeriesRow
    from loadstone_protocol.views import OutcomeView, ProgressView, RunView, TimesView, WorkerView

STAGES: Final[Mapping[str, control_pb2.RunStage]] = {
    "gathering": control_pb2.GATHERING,
    "armed": control_pb2.ARMED,
    "running": control_pb2.RUNNING_LOAD,
    "stopping": control_pb2.STOPPING_LOAD,
    "finished": control_pb2.FINISHED,
}
WORKER_STATES: Final[Mapping[str, control_pb2.WorkerReport.State]] = {
    "expected": control_pb2.WorkerReport.EXPECTED,
    "connected": control_pb2.WorkerReport.CONNECTED,
    "ready": control_pb2.WorkerReport.READY_WORKER,
    "running": control_pb2.WorkerReport.RUNNING_WORKER,
    "suspect": control_pb2.WorkerReport.SUSPECT,
    "ended": control_pb2.WorkerReport.ENDED_WORKER,
    "lost": control_pb2.WorkerReport.LOST,
    "retired": control_pb2.WorkerReport.RETIRED,
}


def run_report(view: RunView) -> control_pb2.RunReport:
    """Return the message of a run's whole state."""
    report = control_pb2.RunReport(
        run_uid=view.run_uid,
        epoch=view.epoch,
        sequence=view.sequence,
        stage=STAGES[view.stage],
        workers=[_worker_report(worker) for worker in view.workers],
        progress=_progress(view.progress),
        thresholds_json=view.thresholds_json,
        findings=view.findings,
        times=_times(view.times),
        waiting_for=view.waiting_for,
        paused=view.is_paused,
        config_revision=view.config_revision,
        protocol_major=PROTOCOL_MAJOR,
        protocol_minor=PROTOCOL_MINOR,
        version=__version__,
    )
    if view.outcome is not None:
        report.outcome.CopyFrom(_outcome(view.outcome))
    return report


def row_message(row: Row, *, load_started_ns: int, series: Iterable[SeriesRow] = ()) -> control_pb2.RowsMessage:
    """Return the message of a closed row; `load_started_ns` is the wall clock's at the start of load."""
    return control_pb2.RowsMessage(
        row=control_pb2.Row(
            width_seconds=row.width,
            second=row.second,
            ended_ns=load_started_ns + (row.second + row.width) * SECOND,
            requests=row.requests,
            failures=row.failures,
            iterations=row.iterations,
            dropped_iterations=row.dropped,
            users=row.users,
            p50_ns=row.p50,
            p95_ns=row.p95,
            p99_ns=row.p99,
            gaps=row.gaps,
            series=map(_series_row, series),
        )
    )


def _series_row(each: SeriesRow) -> control_pb2.SeriesRow:
    message = control_pb2.SeriesRow(
        count=each.count,
        total=carried(each.total),
        failures=each.failures,
        p50=each.p50,
        p95=each.p95,
        p99=each.p99,
    )
    write_key(each.key, message.key)
    return message


def last_message(outcome: OutcomeView) -> control_pb2.RowsMessage:
    """Return the message that comes behind all rows."""
    return control_pb2.RowsMessage(outcome=_outcome(outcome))


def _worker_report(worker: WorkerView) -> control_pb2.WorkerReport:
    return control_pb2.WorkerReport(
        worker=worker.worker,
        attempt=worker.attempt,
        state=WORKER_STATES[worker.state],
        pod=worker.pod,
        reason=worker.reason,
        message=worker.message,
        exit_code=worker.exit_code,
        users=worker.users,
    )


def _progress(progress: ProgressView) -> control_pb2.Progress:
    return control_pb2.Progress(
        percent=progress.percent,
        elapsed_ns=progress.elapsed_ns,
        users=progress.users,
        requests=progress.requests,
        failures=progress.failures,
        requests_per_second=progress.requests_per_second,
        failures_per_second=progress.failures_per_second,
        p50_ns=progress.p50_ns,
        p95_ns=progress.p95_ns,
        p99_ns=progress.p99_ns,
        iterations=progress.iterations,
        dropped_iterations=progress.dropped_iterations,
    )


def _times(times: TimesView) -> control_pb2.RunTimes:
    return control_pb2.RunTimes(
        workers_ready_ns=times.workers_ready_ns,
        load_started_ns=times.load_started_ns,
        load_stopped_ns=times.load_stopped_ns,
        finished_ns=times.finished_ns,
        start_skew_ns=times.start_skew_ns,
    )


def _outcome(outcome: OutcomeView) -> control_pb2.RunOutcome:
    return control_pb2.RunOutcome(
        verdict=outcome.verdict,
        reason=outcome.reason,
        message=outcome.message,
        exit_code=outcome.exit_code,
        results_json=outcome.results_json,
        load_json=outcome.load_json,
        thresholds_json=outcome.thresholds_json,
        summary_json=outcome.summary_json,
        report_sha256=outcome.report_sha256,
        logs_json=outcome.logs_json,
    )
