"""Half a character (a lone surrogate) in what a script raises or says is told as `?`, for UTF-8 cannot carry it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from loadstone import Shape, messages, on_message
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine import lane_process
from loadstone_runner.engine.director import Director
from loadstone_runner.engine.introduction import load_and_report
from loadstone_runner.engine.numbers import Allotment
from loadstone_runner.engine.script import Script
from loadstone_runner.engine.shaping import Shaping
from loadstone_runner.engine.tracebacks import Tracebacks, text_of
from loadstone_runner.settings import read_engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadstone import Run

HALF = "\ud83d"  # of a surrogate pair: what json.loads('"\\ud83d"') returns


def fail(_run: Run) -> None:
    raise ValueError(f"no such tenant: {HALF}")


def director_of(setup: Callable[[Run], object]) -> tuple[Director, list[engine_pb2.EngineMessage]]:
    """Return a director that has a script with this setup, and what it will have said."""
    made, said = Director(read_engine({})), []
    made._link.send = said.append  # type: ignore[method-assign]
    made._script = Script((), setup, None)
    made._is_loaded.set()
    return made, said


@pytest.mark.promise("script-setup")
def test_a_setup_that_raises_it_is_answered_with_what_it_raised() -> None:
    made, said = director_of(fail)

    made._on_message(engine_pb2.ToEngine(setup=engine_pb2.SetupRequest()))
    gevent.sleep(0.01)

    [report] = [each.setup for each in said if each.HasField("setup")]
    assert not report.ok
    assert report.problem == "setup fail() raised ValueError: no such tenant: ?"
    assert report.traceback.endswith("ValueError: no such tenant: ?")


@pytest.mark.promise("script-stop-run")
def test_a_reason_to_stop_that_has_it_is_said_in_the_status() -> None:
    made, said = director_of(fail)

    made._backstage.services.stop_run(f"the account {HALF} is empty")

    assert [each.status.stop_asked for each in said] == ["the account ? is empty"]


@pytest.mark.promise("script-errors")
def test_a_script_that_raises_it_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    content = "import json\nraise ValueError(json.loads('\"\\\\ud83d\"'))\n"
    (tmp_path / "test.py").write_text(content)

    script, report = load_and_report(read_engine({"LOADSTONE_SCRIPT_DIR": str(tmp_path)}))

    assert script is None
    assert report.problem == "test.py cannot be imported: ValueError: ?"
    assert report.traceback.endswith("ValueError: ?")


def test_a_shape_that_raises_it_fails_with_what_it_raised() -> None:
    class Failing(Shape):
        def tick(self) -> tuple[int, float] | None:
            raise ValueError(HALF)

    shaping = Shaping(Failing, count=lambda *_: None, on_change=lambda: None)
    shaping.hear(json.dumps({"loadSeconds": 1}).encode())
    gevent.sleep(0.01)

    assert shaping.wanted == engine_pb2.ShapeState(failed="Failing.tick: ValueError: ?")


def test_rows_of_a_feeder_whose_name_has_it_are_asked_for() -> None:
    allotment = Allotment(lambda: None)
    gevent.spawn(allotment.next_row, f"accounts {HALF}")
    gevent.sleep(0.01)

    assert [(each.name, each.waiting) for each in allotment.states(1)] == [("feeder/accounts ?", 1)]
    allotment.close()


def test_a_handler_in_a_process_of_its_own_that_raises_it_is_answered() -> None:
    messages.forget()

    @on_message("step", where="process")
    def step(_message: Any) -> None:
        raise ValueError(HALF)

    [handling] = messages.handlings()
    messages.forget()

    answer = lane_process._handle(handling, engine_pb2.CustomMessage(name="step"), Tracebacks())

    assert (answer.status, answer.reason) == (engine_pb2.MessageAnswer.FAILED, "ValueError: ?")


def test_an_exception_whose_own_text_cannot_be_had_is_told_by_its_kind() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise LookupError

    assert text_of(MuteError()) == "MuteError"
