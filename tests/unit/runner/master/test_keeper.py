"""Nobody is told that a worker may go before all that its streams ended with is on disk, lost ones too."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_protocol.codec import stream_state_to_bytes
from loadstone_runner.master import keeper as keeping
from loadstone_runner.master.checkpoints import Checkpoints
from loadstone_runner.master.keeper import Keeper
from loadstone_runner.master.roster import Roster
from loadstone_runner.master.store import Store

if TYPE_CHECKING:
    from pathlib import Path

promise = pytest.mark.promise
LOST = StreamState(StreamId(1, 1, 0, 1), sequence=3, second=2, full=True, counters=Counters(completed=7))


@promise("master-restart", "exact-totals")
def test_a_worker_goes_only_when_what_its_lost_streams_ended_with_is_on_disk(tmp_path: Path) -> None:
    async def run() -> None:
        store = Store(tmp_path)
        lost = [(LOST, True)]

        def take_lost() -> list[tuple[StreamState, bool]]:
            taken, lost[:] = lost[:], []
            return taken

        seen: list[Any] = []
        checkpoints = Checkpoints(store, take_lost)
        keeper = Keeper(
            store, lambda who, _states: seen.append((who, len(store.read_lost()))), keep_lost=checkpoints.keep_lost
        )
        keeper.settle((1, 1), {LOST.stream})
        await keeper.finish()
        assert seen == [((1, 1), 1)]
        checkpoints.look()
        await checkpoints.finish()
        assert len(store.read_lost()) == 1, "it is written once"

    asyncio.run(run())


@promise("master-restart", "exact-totals")
@pytest.mark.parametrize("refusals", [0, 1])
def test_a_worker_that_says_its_last_word_twice_loses_nothing_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    final = replace(LOST, full=True, final=True)
    monkeypatch.setattr(keeping, "RETRY_SECONDS", 0.01)

    async def run() -> None:
        store, told, left = Store(tmp_path), [], refusals

        async def refuse() -> None:
            nonlocal left
            if left:
                left -= 1
                # The word comes again while the disk takes nothing.
                keeper.settle((1, 1), {final.stream})
                raise OSError(28, "full")

        keeper = Keeper(store, lambda who, states: told.append((who, states)), keep_lost=refuse)
        keeper.hold(final)
        keeper.settle((1, 1), {final.stream})
        if not refusals:
            keeper.settle((1, 1), {final.stream})
        await keeper.finish()

        assert told == [((1, 1), (final,))]
        assert store.read_ended() == [stream_state_to_bytes(final)]

    asyncio.run(run())


@promise("master-restart", "exact-totals")
def test_a_later_start_knows_of_a_last_word_only_once_all_of_it_is_on_disk() -> None:
    roster = Roster(run_uid="u/1", epoch=1, expected=1)
    roster.members[0].attempt = 1
    roster.end(roster.members[0])

    def knows() -> bool:
        later = Roster(run_uid="u/1", epoch=1, expected=1)
        later.recall(json.loads(json.dumps(roster.remember())))
        return later.members[0].has_said_bye

    roster.let_go(0, 2)
    assert not knows()
    roster.let_go(0, 1)
    assert knows()
