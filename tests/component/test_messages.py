"""Custom messages between the director and the engines of two workers, all processes real."""

import asyncio
import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.digest import files_digest
from loadstone_runner.local.run import LocalResult, LocalRun

SECOND = 1_000_000_000
promise = pytest.mark.promise

HEAD = """
import json, os, time
import gevent
from loadstone import *


def note(**fields):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps(fields, default=str) + chr(10))


class Visitor(User):
    wait = constant(0.05)

    @task
    def turn(self):
        with measure("turn"):
            pass

"""


@dataclass
class Ran:
    """A run that is over: its end, its reports, and what its script has noted."""

    result: LocalResult
    reports: list[Any] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)

    def noted(self, what: str) -> list[Any]:
        return [each[what] for each in self.notes if what in each]


def run(
    folder: Path, script: str, *, seconds: int = 3, workers: int = 2, engines: int = 1, users: int = 4, **plan: Any
) -> Ran:
    files = {"test.py": (HEAD + textwrap.dedent(script)).encode()}
    end_ns = seconds * SECOND
    load = LoadProfile(Model.USERS, Profile((Segment(0, end_ns, users, users),), end_ns), None)
    made = RunPlan(
        run=RunIdentity(uid="messages/1", loadtest="messages", namespace="local", number=1, epoch=1),
        spec_digest="sha256:00",
        workers=workers,
        engines_per_worker=engines,
        scenarios=(Scenario(name="default", user=None, load=load, graceful_stop_ns=5 * SECOND, target=None),),
        tolerance_ppm=50_000,
        target=None,
        percentiles=("50",),
        thresholds=(),
        warm_up_ns=0,
        startup_timeout_ns=60 * SECOND,
        script=ScriptRef(digest=files_digest(files), directory="/scripts", entrypoint="test.py"),
        **plan,
    )
    notes, reports = folder / "notes", []
    notes.touch()
    local = LocalRun(plan=made, files=files, environment={"NOTES": str(notes)}, on_report=reports.append)
    result = asyncio.run(asyncio.wait_for(local.run(), 90))
    return Ran(result, reports, [json.loads(line) for line in notes.read_text().splitlines()])


@promise("messages")
def test_messages_go_both_ways_and_their_senders_hear_what_became_of_them(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        @on_message("collect")
        def collect(message):
            note(collected=[message.data, str(message.sender)])
            return {"seen": message.data}

        @on_message("greet")
        def greet(message):
            note(greeted=message.sender)
            return b"from " + message.data

        @on_message("broken")
        def broken(message):
            raise ValueError("no")

        @events.test_start.add_listener
        def begin(environment):
            if not environment.is_director:
                answer = send_message("collect", ["a", 1]).wait(10)
                note(answered=[answer.status, answer.result, str(answer.answers[0].by)])
                return
            told = send_message("greet", b"director", to="workers").wait(10)
            note(told=[told.status, len(told.answers), sorted(each.result.decode() for each in told.answers)])
            one = send_message("greet", b"one", to=1).wait(10)
            note(one=[one.status, [str(each.by) for each in one.answers]])
            place = send_message("greet", b"place", to=Place(0, 1)).wait(10)
            note(place=[place.status, [str(each.by) for each in place.answers]])
            for name, to in (("nobody", 0), ("greet", 7), ("broken", Place(0)), ("collect", "director")):
                other = send_message(name, to=to).wait(10)
                note(other=[name, other.status, other.reason])
        """,
        engines=2,
    )

    assert ran.result.outcome.verdict == "Passed", ran.result.outcome
    senders = {f"worker {worker} engine {engine}" for worker in (0, 1) for engine in (0, 1)}
    assert {sender for data, sender in ran.noted("collected") if data == ["a", 1]} == senders
    assert len(ran.noted("collected")) == 5
    assert ran.noted("answered") == [["processed", {"seen": ["a", 1]}, "director"]] * 4
    assert ran.noted("told") == [["processed", 4, ["from director"] * 4]]
    assert ran.noted("one") == [["processed", ["worker 1 engine 0", "worker 1 engine 1"]]]
    assert ran.noted("place") == [["processed", ["worker 0 engine 1"]]]
    assert ran.noted("other") == [
        ["nobody", "rejected", "nothing handles messages of the name 'nobody' there: see @on_message"],
        ["greet", "rejected", "there is no worker 7 engine 0: the run has 2 workers with 2 engines each, counted from 0"],
        ["broken", "failed", "ValueError: no"],
        ["collect", "processed", ""],
    ]
