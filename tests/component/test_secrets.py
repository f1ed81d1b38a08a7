"""What user code says of secrets goes nowhere: into no figure, sentence, log or report of a whole run."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest
from tests.component.local_plan import local_plan

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.units import SECOND
from loadstone_runner.local.run import LocalResult, LocalRun

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2-of-the-shop"
LOAD = """
import os
from loadstone import User, constant, log, on_message, send_message, stop_run, task

TOKEN = os.environ["TOKEN"]


@on_message("order", concurrent=True)
def order(message):
    raise ValueError(f"no such key: {TOKEN}")


class Visitor(User):
    wait = constant(0.1)

    @task
    def buy(self):
        send_message("order", {"token": TOKEN}, to="workers")
        send_message("order", {"token": TOKEN}, to="director")
        raise RuntimeError("x" * 240 + TOKEN)

    @task
    def ask(self):
        log(f"asking with {TOKEN}")
        self.http.get("/")

    def on_stop(self):
        stop_run(f"{TOKEN} is no good")
"""
SETUP = """
import os
from loadstone import User, setup, task


@setup
def begin(run):
    raise RuntimeError(f"the shop knows no {os.environ['TOKEN']}")


class Visitor(User):
    @task
    def nothing(self): ...
"""
BROKEN = """
import os
raise RuntimeError(f"cannot log in with {os.environ['TOKEN']}")
"""


def run(folder: Path, script: str) -> tuple[LocalResult, str]:
    """Return how a run ended, and everything that it has left behind as one text."""
    files = {"test.py": script.encode()}
    load = LoadProfile(Model.USERS, Profile((Segment(0, SECOND, 3, 3),), SECOND), None)
    alone = Scenario(name="default", load=load, target="http://127.0.0.1:1", graceful_stop_ns=SECOND)
    made = LocalRun(
        plan=local_plan("secrets", files, alone, workers=1),
        files=files,
        environment={"TOKEN": SECRET, "LOADSTONE_SECRETS": '["TOKEN"]'},
        on_report=lambda _report: None,
        log_file=folder / "log.gz",
    )
    result = asyncio.run(asyncio.wait_for(made.run(), 90))
    pieces = [gzip.decompress(result.report_gzip), gzip.decompress((folder / "log.gz").read_bytes())]
    pieces += [result.outcome.SerializeToString(), result.report.SerializeToString()]
    return result, b"\n".join(pieces).decode(errors="replace")


@pytest.mark.promise("log-secrets")
def test_errors_of_users_and_handlers_are_reported_without_secrets(tmp_path: Path) -> None:
    result, text = run(tmp_path, LOAD)

    assert result.report.progress.requests > 0
    for said in ("no such key: ***", "asking with ***", "x***"):
        assert said in text, said
    assert "hunter" not in text


@pytest.mark.promise("log-secrets")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param(SETUP, "the shop knows no ***", id="setup"),
        pytest.param(BROKEN, "cannot log in with ***", id="import"),
    ],
)
def test_why_a_script_does_not_begin_is_said_without_secrets(tmp_path: Path, script: str, said: str) -> None:
    result, text = run(tmp_path, script)

    assert result.outcome.verdict == "Error"
    assert said in result.outcome.message
    assert "hunter" not in text
