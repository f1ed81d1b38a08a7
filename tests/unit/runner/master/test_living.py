"""Which engines live is known at once; how many, once a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from loadstone_runner.master.living import Living
from loadstone_runner.master.member import WorkerState
from loadstone_runner.master.roster import Roster


@dataclass
class Engine:
    engine: int


@dataclass
class Beat:
    engines: tuple[Engine, ...]


def test_those_live_that_have_come_and_are_not_over_whatever_their_number_was() -> None:
    roster = Roster(run_uid="u/1", epoch=1, expected=4)
    states = (WorkerState.RUNNING, WorkerState.LOST, WorkerState.EXPECTED, WorkerState.SUSPECT)
    for member, state in zip(roster.members, states, strict=True):
        member.state, member.beat = state, cast("Any", Beat((Engine(0), Engine(1))))
    roster.members[3].beat = None
    living = Living(roster)
    assert (len(living), [*living]) == (2, [(0, 0), (0, 1)])
    assert [place in living for place in ((0, 1), (0, 2), (1, 0), (2, 0), (3, 0), (4, 0), (-1, 0), "a")] == [
        True,
        *[False] * 7,
    ]

    roster.members[0].state = WorkerState.LOST
    assert ((0, 1) in living, len(living)) == (False, 2)
    living.look()
    assert len(living) == 0
