"""The fields of a LoadTest's status: what the operator writes and people and tools read.

Only shapes stand here. Texts have no length limits and few closed sets on purpose: a status that the API server
refuses would hide the very thing it reports, so the writer cuts and this declaration describes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.spec.shape import Flag, Listing, Record, Table, Text, Whole

if TYPE_CHECKING:
    from loadstone_core.spec.shape import Node

PHASES: Final = (
    "Pending",
    "Queued",
    "Preflight",
    "Provisioning",
    "Armed",
    "Running",
    "Paused",
    "Stopping",
    "Finished",
    "Suspended",
)
VERDICTS: Final = ("Passed", "Failed", "Error", "Aborted", "Inconclusive")
THRESHOLD_VERDICTS: Final = ("Passed", "Failed", "NoData", "Pending")


def _text(about: str) -> Text:
    return Text(about=about)


def _at(about: str) -> Text:
    return Text(about=about, form="date-time")


def _count(about: str) -> Whole:
    return Whole(about=about, long=True)


def _some(about: str, items: Record | Text) -> Listing:
    return Listing(about=about, items=items)


def _record(about: str, **fields: Node) -> Record:
    return Record(about=about, fields=fields)


_LATENCY: Final = Table(
    about="Latency in microseconds: avg, min, max and the percentiles, such as p95.",
    values=_count("Microseconds."),
)

_RUN: Final = _record(
    "The latest run.",
    number=_count("Number of the run, from 1 on."),
    id=_text("Unique name of the run."),
    epoch=_count("Number of the run's master pod, from 1 on."),
    cause=_text("Why it was started: Created, Trigger or Unsuspend."),
    generation=_count("Generation of the LoadTest that it runs."),
    workers=_count("How many workers the run was planned with."),
    resizable=Flag(about="Whether an edit of spec.workers.replicas takes effect while the run goes on."),
    gracefulStopMillis=_count("Milliseconds that running iterations may take to finish, as the run was planned."),
    startupTimeoutMillis=_count("Milliseconds that its start may take, as the run was planned."),
    specHash=_text("Digest of the fields that decide what a run does."),
    specParts=Table(
        about="Short digests of those parts of the spec that count from the next run on when they are edited.",
        values=_text("Digest of the part."),
    ),
    configRevision=_count("Grows with each edit of spec.config that all workers have applied."),
    sourceDigest=_text("Digest of the script and its files."),
    createdAt=_at("When the operator began it."),
    workersReadyAt=_at("When all workers were connected and ready."),
    loadStartedAt=_at("When all workers began the load."),
    loadStoppedAt=_at("When the last iteration ended."),
    finishedAt=_at("When the verdict was known."),
    timeToLoadMillis=_count("Milliseconds from the beginning of the run to the beginning of the load."),
    startSkewMicros=_count("Microseconds between the first and the last worker's start."),
)

_WORKERS: Final = _record(
    "The worker pods of the latest run.",
    desired=_count("How many there should be; follows spec.workers.replicas where that may change in a run."),
    made=_count("How many there were at most, if that is more than were planned and should be now."),
    ready=_count("How many pods are running."),
    connected=_count("How many are connected to the master."),
    running=_count("How many make load."),
    lost=_count("How many are lost and not replaced."),
    replaced=_count("How many were lost, or were not wanted for a time, and have a new pod that takes part."),
    attempts=_some(
        "How often the pods of workers were made, of those that were made more than once.",
        _record(
            "One worker.",
            worker=_count("Number of the worker, from 0 on."),
            attempt=_count("How often its pod was made."),
        ),
    ),
    attemptsInOrder=_text(
        "How often the pods of all workers were made, in their order, where attempts would be too long: 1*17 2 means "
        "once for the first 17 workers, twice for the next, once for all others."
    ),
    ratio=_text("Connected of desired, such as 2/2."),
    selector=_text("Label selector of the worker pods, for kubectl get pods -l."),
    problems=_some(
        "What is wrong with pods, at most ten.",
        _record(
            "One problem.",
            pod=_text("Name of the pod."),
            worker=_count("Number of the worker, from 0 on."),
            node=_text("Node of the pod."),
            reason=_text("Reason in one word, such as OOMKilled or Unschedulable."),
            message=_text("What happened and what to do."),
            exitCode=_count("Exit code of the container, if it ended."),
        ),
    ),
    problemsOmitted=_count("Further problems, of which there is no room to tell."),
)

_PROGRESS: Final = _record(
    "Where the run is; written every few seconds.",
    percent=_count("Share of the planned load that is done, 0 to 100."),
    elapsedSeconds=_count("Seconds since the load began."),
    users=_count("Users that run now."),
    rps=_count("Requests in the last second."),
    failuresPerSecond=_count("Failed requests in the last second."),
    p95Micros=_count("95th percentile of latency so far, in microseconds."),
)

_SUMMARY: Final = _record(
    "The most asked figures as text for people.",
    elapsed=_text("How long load ran, such as 5m."),
    p50=_text("Median of latency, such as 12.3ms."),
    p95=_text("95th percentile of latency."),
    p99=_text("99th percentile of latency."),
    errorRate=_text("Share of failed requests, such as 0.42%."),
    rps=_text("Requests a second over the run, such as 523/s."),
)

_EFFORT: Final = {
    "model": _text("users, rate or iterations; mixed for scenarios of several models."),
    "planned": _count("How much was planned."),
    "achieved": _count("How much was achieved."),
    "unit": _text("Unit of planned and achieved: user-seconds or iterations. Without one they cannot be added up."),
    "dropped": _count("Iterations that were due and could not be started in time."),
    "late": _count("Iterations that were started late."),
}
_LOAD: Final = _record(
    "The load that was planned and the load that was achieved, of all scenarios together.",
    **_EFFORT,
    remarks=_some("What one has to know to read these figures.", _text("One sentence.")),
    scenarios=Listing(
        about="The same of each scenario, if spec.scenarios has any.",
        items=Record(
            about="One scenario.",
            fields={
                "name": _text("Its name."),
                **_EFFORT,
                "users": _count("The most users at the end of a second."),
                "requests": _count("Requests that were completed."),
                "failures": _count("Completed requests that failed."),
            },
            required=("name",),
        ),
        key="name",
    ),
)

_RESULTS: Final = _record(
    "Exact totals of the latest run.",
    requests=_count("Requests that were completed."),
    failures=_count("Completed requests that failed."),
    started=_count("Requests that were started."),
    unsent=_count("Completed requests that never reached the wire (DNS, connect and TLS failures)."),
    ambiguous=_count("Requests that were sent but not answered whole; the target may or may not have counted them."),
    measured=_count("Completed requests that scripts measured by hand, so that no client of ours sent them."),
    unaccounted=_count("Requests that are known to have happened and are missing in the figures below."),
    unaccountedAtLeast=Flag(about="True if unaccounted is only a lower bound, as after the loss of a node."),
    outside=_record(
        "Requests beside the load; they are in no other figure.",
        setup=_count("Requests of setup."),
        teardown=_count("Requests of teardown."),
        warmUp=_count("Requests that were completed in load.warmUp, if there was one."),
    ),
    errorRatePpm=_count("Failed requests of a million."),
    rpsAvgMilli=_count("Requests in a thousand seconds, over the run."),
    rpsMaxMilli=_count("Requests in a thousand seconds, in the best second."),
    iterations=_count("Iterations that were completed."),
    droppedIterations=_count("Iterations that were due and could not be started."),
    iterationErrors=_count("Iterations in which the script raised an exception."),
    bytesSent=_count("Bytes that were sent."),
    bytesReceived=_count("Bytes that were received."),
    latencyMicros=_LATENCY,
    checks=_record(
        "Checks of the script.",
        passed=_count("Checks that held."),
        failed=_count("Checks that did not hold."),
    ),
    endpoints=_some(
        "Results by method and name.",
        _record(
            "One endpoint.",
            method=_text("Method of the request, such as GET."),
            name=_text("Name that the script gave it, else its path."),
            requests=_count("Requests that were completed."),
            failures=_count("Completed requests that failed."),
            latencyMicros=_LATENCY,
        ),
    ),
    endpointsOmitted=_count("Endpoints that are only in the report."),
    topErrors=_some(
        "The most frequent errors.",
        _record(
            "One error.",
            error=_text("What went wrong."),
            count=_count("How often."),
            name=_text("Name of the request, if it was one."),
        ),
    ),
    topErrorsOmitted=_count("Errors that the list has no room for; they are in the report."),
    seriesComplete=Flag(about="False if there were too many series, so that some share one figure."),
)

_LOGS: Final = _record(
    "What of the log of all engines has reached the master; `loadstone logs` shows it.",
    complete=Flag(about="True if every line that was written has arrived as it was."),
    lines=_count("Lines that have arrived."),
    bytes=_count("Bytes of these lines."),
    missingLines=_count("Lines that were written and have not arrived; unset if complete."),
    missingBytes=_count("Bytes of these lines."),
    missingAtLeast=Flag(about="True if there may be more: some worker ended without saying how much it had written."),
)

_THRESHOLD: Final = Record(
    about="One threshold.",
    fields={
        "name": _text("Its name."),
        "expr": _text("Its expression."),
        "verdict": Text(about="Whether it held; Pending before the end.", choices=THRESHOLD_VERDICTS),
        "actual": _text("What was measured, such as 283ms."),
        "severity": _text("Fail or Warn."),
        "firstBreachAt": _at("When it did not hold for the first time."),
    },
    required=("name",),
)

_PAST_RUN: Final = Record(
    about="One run.",
    fields={
        "run": _count("Number of the run."),
        "id": _text("Unique name of the run."),
        "verdict": _text("Its verdict."),
        "reason": _text("Its reason."),
        "cause": _text("Why it was started."),
        "loadStartedAt": _at("When load began."),
        "finishedAt": _at("When the verdict was known."),
        "requests": _count("Requests that were completed."),
        "errorRatePpm": _count("Failed requests of a million."),
        "rpsAvgMilli": _count("Requests in a thousand seconds."),
        "p95Micros": _count("95th percentile of latency in microseconds."),
        "p99Micros": _count("99th percentile of latency in microseconds."),
    },
    required=("run",),
)

_CONDITION: Final = Record(
    about="One condition.",
    fields={
        "type": _text("What it is about, such as WorkersReady."),
        "status": Text(about="True, False or Unknown.", choices=("True", "False", "Unknown")),
        "reason": _text("Why, in one word."),
        "message": _text("Why, in a sentence."),
        "observedGeneration": _count("Generation of the LoadTest that it is about."),
        "lastTransitionTime": _at("When status changed last."),
    },
    required=("type", "status", "reason", "message", "lastTransitionTime"),
)

STATUS: Final = Record(
    about="What the operator found and did. Nobody else writes it.",
    fields={
        "observedGeneration": _count("Generation of the LoadTest that the status is about; -1 before the first look."),
        "phase": Text(about="Where the run is.", choices=PHASES),
        "verdict": Text(about="What the run means; there once it has finished.", choices=VERDICTS),
        "finished": Flag(about="True once the latest run has ended, whatever its verdict: wait for this."),
        "exitCode": _count(
            "The verdict as a process would say it: 0 passed, 99 thresholds, 1 error, 130 aborted, 97 inconclusive."
        ),
        "reason": _text("Why, in one word of a closed vocabulary, such as ThresholdsFailed."),
        "message": _text("What happened and what to do, in a sentence."),
        "lastHandledTrigger": _text("The value of spec.trigger that was acted on last."),
        "conditions": Listing(about="The state in the form that tools wait for.", items=_CONDITION, key="type"),
        "findings": _some("Everything that was found, whatever decided the verdict.", _text("Reason: sentence.")),
        "run": _RUN,
        "workers": _WORKERS,
        "progress": _PROGRESS,
        "summary": _SUMMARY,
        "load": _LOAD,
        "results": _RESULTS,
        "logs": _LOGS,
        "thresholds": Listing(about="The thresholds and whether they held.", items=_THRESHOLD, key="name"),
        "thresholdsOmitted": _count(
            "Further thresholds, of which there is no room to tell; broken ones are told first."
        ),
        "history": Listing(about="The runs that have finished.", items=_PAST_RUN, key="run"),
        "historyOmitted": _count("Runs that have finished before those."),
        "report": _text("Name of the ConfigMap with the report of the latest run (gzip JSON), and the end of its log."),
    },
    default={"observedGeneration": -1},
)
