"""What the control API sends, as values. Durations are microseconds or milliseconds, as their names say.

Fields that this release does not know are skipped, so an older client understands a newer run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeVar

Tier = Literal["1s", "10s"]
Document = Mapping[str, Any]

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """What one series of samples gained in the seconds of a row.

    Attributes:
        metric: `latency`, `service_time`, `iteration_duration`, or the script's own.
        scenario: which its samples belong to.
        method: of a request; else empty.
        name: of the request, the task or the check.
        labels: by name.
        count: samples.
        total: their sum, as all below in the unit of the metric: nanoseconds of all but the script's own.
        failures: requests that have failed.
        p50: of these samples alone.
        p95: likewise.
        p99: likewise.
    """

    metric: str
    scenario: str
    method: str
    name: str
    labels: Mapping[str, str]
    count: int
    total: int
    failures: int
    p50: int
    p95: int
    p99: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What happened in some consecutive seconds of the load, over all workers.

    Attributes:
        tier: how wide the rows are that were asked for.
        second: the first one, counted from the start of load.
        seconds: how many they are: as the tier, or fewer in the last row of a run.
        ended_unix_micros: when the last of them was over.
        users: the most that were alive at the end of any of them.
        requests: completed.
        failures: of these.
        iterations: completed.
        dropped_iterations: that could not be started in time.
        p50_micros: latency of all requests of the row together; 0 without requests.
        p95_micros: likewise.
        p99_micros: likewise.
        gaps: seconds that some engine has not reported: part of them may be missing, or stand in a later row.
        series: every series of samples, in rows of 10 s while they are among the newest; else empty.
    """

    tier: Tier
    second: int
    seconds: int
    ended_unix_micros: int
    users: int
    requests: int
    failures: int
    iterations: int
    dropped_iterations: int
    p50_micros: int
    p95_micros: int
    p99_micros: int
    gaps: int
    series: tuple[SeriesRow, ...] = ()

    @property
    def requests_per_second(self) -> float:
        """Requests that were completed, over the width of the row."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. `results`, `load`, `thresholds` and `summary` are as in a LoadTest's status."""

    verdict: str
    reason: str
    message: str
    exit_code: int
    results: Document
    load: Document
    thresholds: tuple[Document, ...]
    summary: Document

    @property
    def is_passed(self) -> bool:
        """Whether the run did what was asked and broke no threshold."""
        return self.verdict == "Passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the load is: counts since its start, rates and percentiles of the last closed second."""

    percent: int
    elapsed_millis: int
    users: int
    requests: int
    failures: int
    iterations: int
    dropped_iterations: int
    requests_per_second: int
    failures_per_second: int
    p50_micros: int
    p95_micros: int
    p99_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker of a run."""

    worker: int
    attempt: int
    state: str
    pod: str
    users: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The whole state of a run; `outcome` is None before its end, a moment is None while it has not come."""

    id: str
    stage: str
    waiting_for: str
    paused: bool
    progress: Progress
    workers: tuple[Worker, ...]
    thresholds: tuple[Document, ...]
    findings: tuple[str, ...]
    load_started_at: datetime | None
    load_stopped_at: datetime | None
    finished_at: datetime | None
    outcome: Outcome | None


def row_from(document: Document) -> Row:
    """Return a row from its document."""
    series = tuple(_plain(SeriesRow, each) for each in document.get("series", ()))
    return _plain(Row, {**document, "series": series})


def outcome_from(document: Document) -> Outcome:
    """Return an outcome from its document, or from a status file of `loadstone run`."""
    return Outcome(
        verdict=document["verdict"],
        reason=document["reason"],
        message=document["message"],
        exit_code=document["exitCode"],
        results=document.get("results", {}),
        load=document.get("load", {}),
        thresholds=tuple(document.get("thresholds", ())),
        summary=document.get("summary", {}),
    )


def state_from(document: Document) -> State:
    """Return a state from its document."""
    return State(
        id=document["id"],
        stage=document["stage"],
        waiting_for=document["waitingFor"],
        paused=document["paused"],
        progress=_plain(Progress, document["progress"]),
        workers=tuple(_plain(Worker, each) for each in document["workers"]),
        thresholds=tuple(document["thresholds"]),
        findings=tuple(document["findings"]),
        load_started_at=_moment(document["loadStartedAt"]),
        load_stopped_at=_moment(document["loadStoppedAt"]),
        finished_at=_moment(document["finishedAt"]),
        outcome=None if document["outcome"] is None else outcome_from(document["outcome"]),
    )


def _plain(kind: type[_Value], document: Document) -> _Value:
    """Return a value whose fields are those of the document, in the other way of writing names."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # every kind here is a dataclass
    return kind(**{name: document[_camel(name)] for name in names})


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
