from __future__ import annotations

import pytest

from loadstone_runner.master.roster import Member, WorkerState
from loadstone_runner.master.views import waiting_for


def members(*states: WorkerState) -> tuple[Member, ...]:
    return tuple(Member(worker, state=state) for worker, state in enumerate(states))


COME, NOT = WorkerState.CONNECTED, WorkerState.EXPECTED


@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        (members(COME, NOT, NOT), "workers 1, 2 of 3 to connect"),
        (members(*[NOT] * 12), "workers 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more of 12 to connect"),
    ],
)
def test_workers_that_have_not_come_are_named_first(who: tuple[Member, ...], sentence: str) -> None:
    assert waiting_for(has_director=False, is_set_up=False, members=who, ready=set()) == sentence


def test_then_the_director_is_waited_for_and_then_the_engines() -> None:
    who = members(COME, COME)

    assert waiting_for(has_director=False, is_set_up=False, members=who, ready=set()) == (
        "the director to import the script"
    )
    assert waiting_for(has_director=True, is_set_up=False, members=who, ready=set()) == "the director to run setup"
    assert waiting_for(has_director=True, is_set_up=True, members=who, ready={0}) == (
        "worker 1 of 2 to import the script and be ready"
    )
    assert waiting_for(has_director=True, is_set_up=True, members=who, ready={0, 1}) == ""
