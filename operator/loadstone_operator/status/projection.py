"""Turn one observation and the update that was decided into the whole status. Pure; the clock is an argument.

The status is always written whole, so that what is no longer true disappears from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, assert_never

from loadstone_core.clock import rfc3339
from loadstone_core.lifecycle.phases import Phase
from loadstone_operator import naming
from loadstone_operator.actions import Begin, End, Keep, Progress, Refuse, Update, Wait
from loadstone_operator.observation import Accepted, Observation, Outcome, ReportState
from loadstone_operator.resizing import wanted_workers
from loadstone_operator.status.budget import fit
from loadstone_operator.status.conditions import conditions
from loadstone_operator.status.held import KEPT
from loadstone_operator.status.workers import project_workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadstone_operator.observation import Cause, Times

HISTORY_MOST: Final = 10
FINDING_MAX: Final = 1_024  # characters

# What belongs to one run, and so leaves with it.
_OF_A_RUN: Final = (
    "verdict", "exitCode", "reason", "message", "findings", "run", "workers", "progress", "summary", "load", "results",
    "logs", "thresholds", "thresholdsOmitted", "report",
)  # fmt: skip
_HURRY_NOT: Final = ("progress", "summary", "thresholds", "thresholdsOmitted", "findings", "load")
_MILLIS: Final = 1_000_000
_MICROS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Moment:
    """What the projection cannot see: the wall clock, when the run began, and the digest of the script."""

    now_ns: int
    created_ns: int
    source_digest: str = ""


def project(old: Mapping[str, Any], seen: Observation, update: Update, moment: Moment) -> dict[str, Any]:
    """Return the whole status after an update of the old one."""
    status = {key: value for key, value in old.items() if key != "conditions"}
    status["observedGeneration"] = seen.test.generation
    report = ReportState.NONE
    match update:
        case Begin(run=run, cause=cause):
            _begin(status, seen, run=run, cause=cause, moment=moment)
            _say(status, update.phase, update.reason, update.message)
        case Progress():
            _progress(status, seen, update, moment)
        case End(run=run, cause=cause):
            if seen.held.run != run:
                _begin(status, seen, run=run, cause=cause, moment=moment)
            report = update.report
            _end(status, seen, update.outcome, report=report, moment=moment)
        case Refuse():
            _clear(status, seen)
            _conclude(status, update.outcome)
        case Wait():
            _say(status, Phase.SUSPENDED, update.reason, update.message)
            status["finished"] = False
        case Keep():
            report = update.report
            _name_report(status, seen, report)
        case _:
            assert_never(update)
    status["conditions"] = conditions(status, seen.spec, report, old=old, now=rfc3339(moment.now_ns))
    return fit(status)


def is_urgent(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Say whether the two differ in more than figures that move all the time."""
    return any(old.get(key) != new.get(key) for key in old.keys() | new.keys() if key not in _HURRY_NOT)


def _clear(status: dict[str, Any], seen: Observation) -> None:
    for key in _OF_A_RUN:
        status.pop(key, None)
    if seen.test.trigger is not None:
        status["lastHandledTrigger"] = seen.test.trigger


def _begin(status: dict[str, Any], seen: Observation, *, run: int, cause: Cause, moment: Moment) -> None:
    _clear(status, seen)
    status["finished"] = False
    status["run"] = {
        "number": run,
        "id": naming.run_uid(seen.test.uid, run),
        "epoch": 1,
        "cause": str(cause),
        "generation": seen.test.generation,
        "createdAt": rfc3339(moment.created_ns),
    }
    status["run"] |= _planned(seen)
    if moment.source_digest:
        status["run"]["sourceDigest"] = moment.source_digest
    _follow(status, seen, moment)


def _progress(status: dict[str, Any], seen: Observation, update: Progress, moment: Moment) -> None:
    if seen.held.phase is Phase.QUEUED:
        # Nothing has been made of it yet, so it is planned with what the spec says when it begins.
        status["run"] = {**status["run"], **_planned(seen)}
    _follow(status, seen, moment, workers=wanted_workers(seen))
    if update.epoch:
        status["run"] = {**status["run"], "epoch": update.epoch}
    _say(status, update.phase, update.reason, update.message)


def _planned(seen: Observation) -> dict[str, Any]:
    """Return what a run is planned with, as far as the status holds it."""
    spec = seen.spec
    if not isinstance(spec, Accepted):
        return {}
    return {
        "specHash": spec.digest,
        "specParts": dict(spec.parts),
        "workers": spec.workers,
        "resizable": spec.can_resize,
        "gracefulStopMillis": -(-spec.graceful_stop_ns // _MILLIS),
        "startupTimeoutMillis": -(-spec.startup_timeout_ns // _MILLIS),
    }


def _follow(status: dict[str, Any], seen: Observation, moment: Moment, *, workers: int = 0) -> None:
    """Bring everything up to date that a master and pods can tell; without a master its last words stay.

    `workers` is how many there are to be from now on; 0: as many as before.
    """
    status["workers"] = project_workers(status, seen, workers=workers)
    master = seen.master
    if master is None or master.stage is None:
        return
    for key, value in (("progress", master.progress), ("summary", master.summary)):
        if value:
            status[key] = dict(value)
    _list_thresholds(status, master.thresholds)
    status["findings"] = [finding.partition("\n")[0][:FINDING_MAX] for finding in master.findings]
    status["run"] = {**status.get("run", {}), **_times(master.times, moment)}
    if master.config_revision:
        status["run"]["configRevision"] = master.config_revision


def _times(times: Times, moment: Moment) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key, instant in (
        ("workersReadyAt", times.workers_ready_ns),
        ("loadStartedAt", times.load_started_ns),
        ("loadStoppedAt", times.load_stopped_ns),
        ("finishedAt", times.finished_ns),
    ):
        if instant:
            told[key] = rfc3339(instant)
    if times.load_started_ns:
        told["timeToLoadMillis"] = max(0, times.load_started_ns - moment.created_ns) // _MILLIS
        told["startSkewMicros"] = times.start_skew_ns // _MICROS
    return told


def _end(status: dict[str, Any], seen: Observation, outcome: Outcome, *, report: ReportState, moment: Moment) -> None:
    _follow(status, seen, moment)
    _conclude(status, outcome)
    run = dict(status["run"])
    run.setdefault("finishedAt", rfc3339(moment.now_ns))
    status["run"] = run
    parts = {"load": outcome.load, "results": outcome.results, "summary": outcome.summary, "logs": outcome.logs}
    for key, value in parts.items():
        if value is not None:
            status[key] = dict(value)
    _list_thresholds(status, outcome.thresholds)
    history = [_past(status), *(past for past in status.get("history") or () if past["run"] != run["number"])]
    status["history"] = history[:HISTORY_MOST]
    if omitted := int(status.get("historyOmitted", 0)) + len(history[HISTORY_MOST:]):
        status["historyOmitted"] = omitted
    _name_report(status, seen, report)


def _list_thresholds(status: dict[str, Any], thresholds: Iterable[Mapping[str, Any]] | None) -> None:
    """Write all thresholds anew, if they are told; what was left out of the last ones counts no more."""
    if thresholds is not None:
        status["thresholds"] = [dict(threshold) for threshold in thresholds]
        status.pop("thresholdsOmitted", None)


def _conclude(status: dict[str, Any], outcome: Outcome) -> None:
    _say(status, Phase.FINISHED, outcome.reason, outcome.message)
    status["finished"] = True
    status["verdict"] = str(outcome.verdict)
    status["exitCode"] = int(outcome.exit_code)


def _say(status: dict[str, Any], phase: Phase, reason: str, message: str) -> None:
    status["phase"] = str(phase)
    for key, value in (("reason", str(reason)), ("message", message)):
        if value:
            status[key] = value
        else:
            status.pop(key, None)


def _name_report(status: dict[str, Any], seen: Observation, report: ReportState) -> None:
    if report in KEPT:
        status["report"] = naming.report(seen.test.name)


def _past(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of the history for the run that the status is about."""
    run, results = status["run"], status.get("results") or {}
    latency = results.get("latencyMicros") or {}
    told = {
        "run": run["number"],
        "id": run["id"],
        "verdict": status["verdict"],
        "reason": status.get("reason"),
        "cause": run.get("cause"),
        "loadStartedAt": run.get("loadStartedAt"),
        "finishedAt": run.get("finishedAt"),
        "requests": results.get("requests"),
        "errorRatePpm": results.get("errorRatePpm"),
        "rpsAvgMilli": results.get("rpsAvgMilli"),
        "p95Micros": latency.get("p95"),
        "p99Micros": latency.get("p99"),
    }
    return {key: value for key, value in told.items() if value is not None}
