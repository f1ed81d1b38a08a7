"""The control API is described as it is: routes, documents, and what the client reads of them."""

from dataclasses import fields
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from loadstone_client.values import Row, outcome_from, row_from, state_from
from loadstone_protocol import documents
from loadstone_protocol.v1 import control_pb2 as pb
from loadstone_runner.transport.http.api import application
from loadstone_runner.transport.http.description import OUTCOME, ROW, RUN, describe

promise = pytest.mark.promise
WISHES = {"/v1/run/load", "/v1/run/pause", "/v1/run/resume", "/v1/run/stop"}
OUTCOME_MESSAGE = pb.RunOutcome(
    verdict="Failed",
    reason="ThresholdsFailed",
    message="1 of 1 thresholds broke",
    exit_code=99,
    results_json=b'{"requests": 5}',
    load_json=b'{"planned": 5}',
    thresholds_json=b'[{"name": "fast"}]',
    summary_json=b'{"p95": "1ms"}',
    logs_json=b'{"complete": true}',
)
REPORT = pb.RunReport(
    run_uid="uid/1",
    stage=pb.FINISHED,
    workers=[pb.WorkerReport(worker=1, attempt=2, state=pb.WorkerReport.LOST, pod="w", reason="OOMKilled", users=3)],
    progress=pb.Progress(percent=50, elapsed_ns=1_500_000_000, users=3, requests=10, p95_ns=2_500_000),
    thresholds_json=b'[{"name": "fast"}]',
    findings=["WorkerDegraded: worker 1"],
    times=pb.RunTimes(load_started_ns=1_700_000_000_123_456_000),
    outcome=OUTCOME_MESSAGE,
    paused=True,
)
ROW_MESSAGE = pb.Row(width_seconds=10, second=20, ended_ns=1_700_000_000_123_456_789, requests=7, users=3, p99_ns=9_999)


@promise("control-described")
def test_every_route_is_described_and_every_description_has_a_route() -> None:
    routes = set()
    for route in application(None, admission=None, steered=None).router.routes():
        if route.method != "HEAD":
            routes.add((route.method.lower(), route.resource.canonical))
    described = {
        (method, path) for path, operations in describe(can_steer=True)["paths"].items() for method in operations
    }

    assert {(method, path) for method, path in described if path not in WISHES} == {
        (method, path) for method, path in routes if method == "get"
    }
    assert {path for method, path in described if method == "post"} == WISHES
    assert {path for method, path in routes if method == "post"} == {"/v1/run/{wish}"}
    assert WISHES.isdisjoint(describe(can_steer=False)["paths"])


@promise("control-described", "progress-jsonl")
@pytest.mark.parametrize(
    ("schema", "document"),
    [
        (ROW, documents.row_document(ROW_MESSAGE, "10s")),
        (ROW, documents.row_document(pb.Row(width_seconds=1), "1s")),
        (OUTCOME, documents.outcome_document(OUTCOME_MESSAGE)),
        (OUTCOME, documents.outcome_document(pb.RunOutcome(verdict="Error", reason="MasterLost", exit_code=1))),
        (RUN, documents.run_document(REPORT)),
        (RUN, documents.run_document(pb.RunReport())),
    ],
)
def test_what_is_sent_is_what_is_described(schema, document) -> None:
    Draft202012Validator.check_schema(schema)

    assert [error.message for error in Draft202012Validator(schema).iter_errors(document)] == []


@promise("control-described")
def test_every_field_of_a_row_says_what_it_is_in_the_page_for_users() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "control.md").read_text()

    assert [name for name in ROW["properties"] if f"`{name}`" not in page] == []


@promise("embedding")
def test_the_client_reads_every_figure_that_is_sent() -> None:
    row = row_from(documents.row_document(ROW_MESSAGE, "10s"))
    state = state_from(documents.run_document(REPORT))

    assert row == Row(
        tier="10s",
        second=20,
        seconds=10,
        ended_unix_micros=1_700_000_000_123_456,
        users=3,
        requests=7,
        failures=0,
        iterations=0,
        dropped_iterations=0,
        p50_micros=0,
        p95_micros=0,
        p99_micros=9,
        gaps=0,
    )
    # The kind is the class, and the moment is there once.
    assert len(fields(Row)) == len(ROW["properties"]) - len({"kind", "endedAt"})
    assert (state.stage, state.paused, state.workers[0].state, state.workers[0].reason) == (
        "finished",
        True,
        "lost",
        "OOMKilled",
    )
    assert (state.progress.elapsed_millis, state.progress.p95_micros) == (1_500, 2_500)
    assert state.load_started_at.microsecond == 123_456
    assert state.finished_at is None
    assert state.outcome == outcome_from(documents.outcome_document(OUTCOME_MESSAGE))
    assert (state.outcome.exit_code, state.outcome.is_passed, state.outcome.load) == (99, False, {"planned": 5})
