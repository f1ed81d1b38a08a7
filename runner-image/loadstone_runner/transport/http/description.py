"""Describe the control API as OpenAPI 3.1. What is described here is compared with what is sent by a contract test."""

from __future__ import annotations

from typing import Any, Final

_COUNT: Final = {"type": "integer", "minimum": 0}
_MICROS: Final = {"type": "integer", "minimum": 0, "description": "Microseconds; 0 without requests."}
_MOMENT: Final = {"type": ["string", "null"], "format": "date-time", "description": "UTC; null = not yet."}
_TEXT: Final = {"type": "string"}
_UNIT: Final = "the unit of the metric: nanoseconds of all but the script's own"
_LATENCY: Final = {"p50Micros": _MICROS, "p95Micros": _MICROS, "p99Micros": _MICROS}


def _object(about: str, properties: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "description": about,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _said(about: str, unit: str = "") -> dict[str, Any]:
    return {**_COUNT, "description": f"{about}{', ' + unit if unit else ''}."}


_SERIES_ROW: Final = _object(
    "What one series gained in the seconds of a row; the name is that of the request, the task or the check.",
    {
        "metric": {**_TEXT, "description": "`latency`, `service_time`, `iteration_duration`, or the script's own."},
        "scenario": _TEXT,
        "method": _TEXT,
        "name": _TEXT,
        "labels": {"type": "object", "additionalProperties": _TEXT},
        "count": _said("Samples"),
        "total": {"type": "integer", "description": f"Their sum, in {_UNIT}."},
        "failures": _said("Requests that have failed"),
        **{
            name: {"type": "integer", "description": f"Of these samples, in {_UNIT}."} for name in ("p50", "p95", "p99")
        },
    },
)
ROW: Final = _object(
    "What happened in some consecutive seconds of the load, over all workers.",
    {
        "kind": {"const": "row"},
        "tier": {"enum": ["1s", "10s"], "description": "How wide the rows are that were asked for."},
        "second": _said("The first one, counted from the start of load"),
        "seconds": _said("How many they are: as the tier, or fewer in the last row of a run"),
        "endedAt": {"type": "string", "format": "date-time", "description": "When the last of them was over, UTC."},
        "endedUnixMicros": _said("The same since the epoch", "microseconds"),
        "users": _said("The most that were alive at the end of any of the seconds"),
        "requests": _said("Completed"),
        "failures": _said("Of these"),
        "iterations": _said("Completed"),
        "droppedIterations": _said("That could not be started in time"),
        **_LATENCY,
        "gaps": _said("Seconds that some engine has not reported: part of them may be missing, or in a later row"),
        "series": {
            "type": "array",
            "items": _SERIES_ROW,
            "description": "Every series of samples, in rows of 10 s, from the first whole one on after they were "
            "asked for, for a minute. Empty in rows of 1 s.",
        },
    },
)
OUTCOME: Final = _object(
    "How the run ended; the parts are those of the LoadTest's status.",
    {
        "kind": {"const": "outcome"},
        "verdict": {"enum": ["Passed", "Failed", "Error", "Inconclusive", "Aborted"]},
        "reason": _TEXT,
        "message": _TEXT,
        "exitCode": _said("What `loadstone run` exits with"),
        "results": {"type": "object"},
        "load": {"type": "object"},
        "thresholds": {"type": "array", "items": {"type": "object"}},
        "summary": {"type": "object"},
        "logs": {"type": "object"},
    },
    optional=("results", "load", "thresholds", "summary", "logs"),
)
RUN: Final = _object(
    "The whole state of a run.",
    {
        "kind": {"const": "run"},
        "id": _TEXT,
        "stage": {"enum": ["gathering", "armed", "running", "stopping", "finished"]},
        "waitingFor": {**_TEXT, "description": "While gathering: one sentence."},
        "paused": {"type": "boolean"},
        "progress": _object(
            "How far the load is. Counts are since its start; rates, percentiles are of the last closed second.",
            {
                "tier": {"const": "1s"},
                "percent": _said("Of its time or its iterations"),
                "elapsedMillis": _said("Since the start of load", "milliseconds"),
                "users": _COUNT,
                "requests": _COUNT,
                "failures": _COUNT,
                "iterations": _COUNT,
                "droppedIterations": _COUNT,
                "requestsPerSecond": _COUNT,
                "failuresPerSecond": _COUNT,
                **_LATENCY,
            },
        ),
        "workers": {
            "type": "array",
            "items": _object(
                "One worker.",
                {
                    "worker": _COUNT,
                    "attempt": _COUNT,
                    "state": {"enum": ["expected", "connected", "ready", "running", "suspect", "ended", "lost"]},
                    "pod": _TEXT,
                    "users": _COUNT,
                    "reason": _TEXT,
                    "message": _TEXT,
                },
            ),
        },
        "thresholds": {"type": "array", "items": {"type": "object"}},
        "findings": {"type": "array", "items": {**_TEXT, "description": "Reason: sentence"}},
        "workersReadyAt": _MOMENT,
        "loadStartedAt": _MOMENT,
        "loadStoppedAt": _MOMENT,
        "finishedAt": _MOMENT,
        "outcome": {"anyOf": [OUTCOME, {"type": "null"}]},
    },
)
LOAD: Final = _object(
    "What a scenario with a constant load is to reach. Exactly one of users and rate.",
    {
        "users": {"type": "integer", "minimum": 1, "description": "Of a closed scenario."},
        "rate": {"type": "integer", "minimum": 1, "description": "Iterations a second, of an open one."},
        "spawnRate": {"type": "integer", "minimum": 1, "description": "Users started a second; unset: as before."},
        "scenario": {"type": "string", "description": "Its name; may be left out where there is only one."},
    },
    optional=("users", "rate", "spawnRate", "scenario"),
)
STOP: Final = _object(
    "How the run is to end.",
    {"immediate": {"type": "boolean", "description": "Running iterations get min(gracefulStop, 10 s)."}},
    optional=("immediate",),
)


def describe(*, can_steer: bool) -> dict[str, Any]:
    """Return the description, of what a local run can be asked too if `can_steer`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Loadstone control API",
            "version": "1",
            "description": "One run of a load test: what there is to see of it, and in local mode what may be changed.",
        },
        "security": [] if can_steer else [{"token": []}],
        "paths": _shown() | (_steered() if can_steer else {}),
        "components": {
            "schemas": {"Row": ROW, "Outcome": OUTCOME, "Run": RUN, "Load": LOAD, "Stop": STOP},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _shown() -> dict[str, Any]:
    return {
        "/v1/run": {"get": _operation("The whole state of the run.", {"200": _json("Run")})},
        "/v1/run/watch": {
            "get": {
                **_operation(
                    "Closed rows: those that are kept (1s: 10 minutes, 10s: 6 hours), then each when it is closed, as "
                    "server-sent events `row`; last one `outcome`. The id of an event is where to go on after a break.",
                    {"200": {"description": "Events.", "content": {"text/event-stream": {"schema": _TEXT}}}},
                ),
                "parameters": [
                    {"name": "tier", "in": "query", "schema": {"enum": ["1s", "10s"], "default": "1s"}},
                    {"name": "from", "in": "query", "schema": {**_COUNT, "default": 0}},
                    {"name": "Last-Event-ID", "in": "header", "schema": _TEXT},
                ],
            }
        },
        "/v1/run/report": {
            "get": _operation(
                "The report of a finished run (docs/report.md).",
                {
                    "200": {"description": "The report.", "content": {"application/json": {}}},
                    "404": {"description": "The run is not finished."},
                },
            )
        },
        "/v1/openapi.json": {"get": _operation("This description.", {"200": {"description": "OpenAPI 3.1."}})},
    }


def _steered() -> dict[str, Any]:
    return {
        "/v1/run/load": {"post": _wish("Set the load.", "Load")},
        "/v1/run/pause": {"post": _wish("Ask nothing of the target until resumed.")},
        "/v1/run/resume": {"post": _wish("End a pause.")},
        "/v1/run/stop": {"post": _wish("End the run and keep its results.", "Stop")},
    }


def _wish(about: str, schema: str = "") -> dict[str, Any]:
    answers = {
        "202": {"description": "It is on its way to the master."},
        "400": {"description": "It cannot be meant; `error` says why."},
        "409": {"description": "It cannot be asked of this run; `error` says why."},
    }
    body = {"requestBody": {"content": {"application/json": {"schema": _reference(schema)}}}} if schema else {}
    return _operation(about, answers) | body


def _operation(about: str, answers: dict[str, Any]) -> dict[str, Any]:
    return {"summary": about, "responses": answers}


def _json(schema: str) -> dict[str, Any]:
    return {"description": f"{schema}.", "content": {"application/json": {"schema": _reference(schema)}}}


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}
