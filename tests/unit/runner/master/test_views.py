from __future__ import annotations

import pytest

from loadstone_runner.master.roster import Member, WorkerState
from loadstone_runner.master.views import waiting_for


def members(*states: WorkerState) -> tuple[Member, ...]:
    return tuple(Member(worker, state=state) for worker, state in enumerate(states))


COME, NOT = WorkerState.CONNECTED, WorkerState.EXPECTED


@pytest.mark.parametrize(
    ("who", "has_director", "is_set_up", "ready", "sentence"),
    [
        (members(COME, NOT, NOT), True, True, set(), "workers 1, 2 of 3 to connect; see the pods' conditions"),
        (
            members(*[NOT] * 12),
            True,
            True,
            set(),
            "workers 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more of 12 to connect; see the pods' conditions",
        ),
        (members(COME), False, False, set(), "the director to import the script"),
        (members(COME), True, False, set(), "the director to run setup"),
        (members(COME, COME), True, True, {0}, "worker 1 of 2 to import the script and be ready"),
        (members(COME), True, True, {0}, ""),
    ],
)
def test_what_the_start_waits_for_is_one_sentence(
    who: tuple[Member, ...], has_director: bool, is_set_up: bool, ready: set[int], sentence: str
) -> None:
    assert waiting_for(has_director=has_director, is_set_up=is_set_up, members=who, ready=ready) == sentence
