"""The master's side of its director: what is owed to it, and how it ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.master.director import Director


class Link:
    """Whatever is sent on it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.hello = SimpleNamespace(role=engine_pb2.ENGINE_ROLE_DIRECTOR)

    def send(self, message: Any) -> None:
        self.sent.append(message)


def kills(launcher: Link) -> int:
    return sum(each["do"] == "kill" for each in launcher.sent)


def test_a_director_that_is_killed_is_owed_nothing_more() -> None:
    director, launcher, script = Director(), Link(), Link()
    director.on_launcher_hello(launcher, {})  # type: ignore[arg-type]  # it takes what is sent
    director.ask(is_teardown=True)
    assert kills(launcher) == 0

    director.kill()
    assert kills(launcher) == 1
    director.on_hello(script)  # type: ignore[arg-type]
    assert script.sent == []


def test_a_launcher_that_comes_later_hears_that_its_director_is_to_be_killed() -> None:
    director, launcher = Director(), Link()
    director.kill()
    director.on_launcher_hello(launcher, {})  # type: ignore[arg-type]

    assert kills(launcher) == 1


@pytest.mark.parametrize(("lease", "lent"), [(10.0, 30.0), (300.0, 300.0)])
def test_a_director_lives_without_its_master_for_as_long_as_workers_do(lease: float, lent: float) -> None:
    director, launcher = Director(lease), Link()
    director.on_launcher_hello(launcher, {})  # type: ignore[arg-type]

    assert launcher.sent == [{"do": "lease", "seconds": lent}]
