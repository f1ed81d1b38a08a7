"""Whatever a setup raises, the run hears that it failed, once and with what can be said of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import gevent
import pytest

from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.director import Director
from loadstone_runner.engine.script import Script
from loadstone_runner.settings import read_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone import Run


class MuteError(Exception):
    """Looks for its text at something that is not there."""

    def __str__(self) -> str:
        raise LookupError


class QuittingError(Exception):
    """Wants to end the process that asks for its text."""

    def __str__(self) -> str:
        raise SystemExit


def fail(_run: Run, error: type[Exception] = MuteError) -> None:
    raise error


@pytest.mark.parametrize(
    ("setup", "problem"),
    [
        (fail, "setup fail() raised MuteError"),
        (partial(fail, error=LookupError), "setup partial() raised LookupError: "),
        (lambda run: fail(run, QuittingError), "setup <lambda>() raised QuittingError"),
    ],
)
@pytest.mark.promise("script-setup")
def test_a_setup_that_raises_what_cannot_be_said_is_answered(setup: Callable[[Run], object], problem: str) -> None:
    director, said = Director(read_engine({})), []
    director._link.send = said.append  # type: ignore[method-assign]
    director._script = Script((), setup, None)
    director._is_loaded.set()

    for _ in range(2):  # as a master that was started again asks again
        director._on_message(engine_pb2.ToEngine(setup=engine_pb2.SetupRequest()))
        gevent.sleep(0.01)

    reports = [each.setup for each in said if each.HasField("setup")]
    assert [(each.ok, each.problem) for each in reports] == [(False, problem)] * 2
