"""A real director process: setup and teardown."""

from __future__ import annotations

import json
import signal
import textwrap

import pytest
from tests.component import engine_process
from tests.component.engine_process import VISITOR, Make, Target

from loadstone_protocol.v1 import engine_pb2 as pb

# pytest finds a fixture by its name in the module of the test.
engines = engine_process.engines
target = engine_process.target


DIRECTED = """
    from loadstone import User, setup, task, teardown

    class Visitor(User):
        @task
        def one(self): ...

    @setup
    def prepare(run):
        return {"status": run.http.post("/orders", json={"item": 1}).status, "pair": (1, 2)}

    @teardown
    def clean(run):
        assert run.setup_data == {"status": 201, "pair": [1, 2]}
        run.http.get("/", name="a")
        run.http.get("/", name="b")
"""


@pytest.mark.promise("script-setup")
def test_the_director_runs_setup_and_teardown_once_and_counts_their_requests_apart(
    engines: Make, target: Target
) -> None:
    director = engines(DIRECTED, role="director", target=target.url)
    hello = director.agent.wait(lambda each: each.HasField("hello")).hello
    assert director.agent.wait(lambda each: each.HasField("script")).script.user_classes == ["Visitor"]

    for _ in range(2):
        director.agent.send(pb.ToEngine(setup=pb.SetupRequest(teardown=False)))
    prepared = director.agent.wait(lambda each: each.HasField("setup")).setup
    director.agent.send(pb.ToEngine(setup=pb.SetupRequest(teardown=True)))
    cleaned = director.agent.wait(lambda each: each.setup.teardown).setup

    assert hello.role == pb.ENGINE_ROLE_DIRECTOR
    assert (prepared.ok, json.loads(prepared.result_json), prepared.requests) == (
        True,
        {"status": 201, "pair": [1, 2]},
        1,
    )
    assert (cleaned.ok, cleaned.problem, cleaned.requests) == (True, "", 2)
    assert target.count()["requests"] == 3
    director.process.send_signal(signal.SIGTERM)
    assert director.process.wait(timeout=10) == 0


@pytest.mark.promise("script-setup")
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("raise RuntimeError('no database')", "setup prepare() raised RuntimeError: no database"),
        ("import sys; sys.exit(1)", "setup prepare() raised SystemExit: 1"),
        ("return object()", "is not JSON serializable"),
        ("return 'x' * 300000", "at most 262144 travel"),
    ],
)
def test_a_setup_that_fails_is_told_and_the_director_lives_on(
    engines: Make, target: Target, body: str, problem: str
) -> None:
    script = textwrap.dedent(VISITOR) + f"\nfrom loadstone import setup\n\n@setup\ndef prepare(run):\n    {body}\n"
    director = engines(script, role="director", target=target.url)
    director.agent.wait(lambda each: each.HasField("script"))

    director.agent.send(pb.ToEngine(setup=pb.SetupRequest()))
    report = director.agent.wait(lambda each: each.HasField("setup")).setup

    assert not report.ok
    assert problem in report.problem
    assert director.process.poll() is None
