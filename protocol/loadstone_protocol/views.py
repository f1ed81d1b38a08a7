"""What a master shows to whoever follows its run, as plain values. Their message is made by `control`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """One worker; `state` is a key of control.WORKER_STATES."""

    worker: int
    attempt: int
    state: str
    pod: str
    reason: str
    message: str
    exit_code: int
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressView:
    """How far the load is, and what the last closed second was like. Times are nanoseconds."""

    percent: int = 0
    elapsed_ns: int = 0
    users: int = 0
    requests: int = 0
    failures: int = 0
    requests_per_second: int = 0
    failures_per_second: int = 0
    p50_ns: int = 0
    p95_ns: int = 0
    p99_ns: int = 0
    iterations: int = 0
    dropped_iterations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimesView:
    """When the run got where, nanoseconds since the Unix epoch, 0 = not yet; the skew is a duration."""

    workers_ready_ns: int = 0
    load_started_ns: int = 0
    load_stopped_ns: int = 0
    finished_ns: int = 0
    start_skew_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeView:
    """The verdict with everything that the status takes from it, the JSON ready-made."""

    verdict: str
    reason: str
    message: str
    exit_code: int
    results_json: bytes
    load_json: bytes
    thresholds_json: bytes
    summary_json: bytes
    report_sha256: bytes
    logs_json: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """The whole state of a run; `stage` is a key of control.STAGES."""

    run_uid: str
    epoch: int
    sequence: int
    stage: str
    workers: tuple[WorkerView, ...] = ()
    progress: ProgressView = field(default_factory=ProgressView)
    thresholds_json: bytes = b"[]"
    findings: tuple[str, ...] = ()
    times: TimesView = field(default_factory=TimesView)
    outcome: OutcomeView | None = None
    waiting_for: str = ""
    is_paused: bool = False
    config_revision: int = 0


def differ_in_figures(before: RunView, after: RunView) -> bool:
    """Say whether two views of a run differ in nothing but what moves all the time, such as rates and users."""
    still = replace(
        before,
        sequence=after.sequence,
        progress=after.progress,
        thresholds_json=after.thresholds_json,
        workers=_with_users_of(before.workers, after.workers),
    )
    return still == after


def _with_users_of(before: tuple[WorkerView, ...], after: tuple[WorkerView, ...]) -> tuple[WorkerView, ...]:
    if len(before) != len(after):
        return before
    return tuple(replace(old, users=new.users) for old, new in zip(before, after, strict=True))
