"""Runs in which anything may break at any moment: real masters and agents, in virtual time, and no law is broken.

`SEED=1234 pytest -s tests/stateful` plays one run again and prints its trace; `SEEDS=20000` plays so many, from `FIRST`
on. What is made up here and what is real stands in `README.md` beside this file.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from grpc import aio
from tests.stateful.clockwork import SECOND
from tests.stateful.connections import FOLLOWER_PATIENCE
from tests.stateful.stories import (
    Prepared,
    Story,
    WhileTheOperatorIsAway,
    WithAKill,
    WithAnEngineLess,
    WithARate,
    WithARateOfMoreWorkersAndThenFewer,
    WithAWorkerLess,
    WithAWorkerThatIsLate,
    WithMoreWorkersAndThenFewer,
    WithNobodyToGoOn,
    WithNobodyToStandIn,
    WithoutAnotherMaster,
)

from loadstone_protocol.v1 import control_pb2
from loadstone_runner.agent import uplink
from loadstone_runner.master import standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

promise = pytest.mark.promise
SEED = os.environ.get("SEED")
FIRST, SEEDS = int(os.environ.get("FIRST", "0")), int(os.environ.get("SEEDS", "300"))
BATCH = 10
FOLDER = "loadstone-run-"
MEMORY = Path("/dev/shm")  # noqa: S108 a folder of one's own is made in it; a disk would take a tenth of the time
RESIDENT_BYTES = 50_000_000  # that an agent says it has; a file of the kernel's each time is a fortieth of a run


class Listener(logging.Handler):
    """Takes whatever the product itself calls an error for one."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._complain = complain

    def emit(self, record: logging.LogRecord) -> None:
        self._complain(f"{record.name} logged {record.getMessage()!r}: {record.exc_info and record.exc_info[1]!r}")


def play(seed: int, monkeypatch: pytest.MonkeyPatch, kind: type[Story] = Story) -> Story:
    """Play one run; what broke is raised, and its trace is printed."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=FOLDER, dir=memory) as folder, monkeypatch.context() as patch:
        story = kind(seed, Path(folder))
        listener = Listener(story.loop.complain)
        patch.setattr(aio, "server", story.world.network.server)
        patch.setattr(aio, "insecure_channel", story.world.network.channel)
        patch.setattr(os, "urandom", story.dice.randbytes)
        patch.setattr(standing, "FOLLOWER_GONE_NS", int((FOLLOWER_PATIENCE + 1) * SECOND))
        patch.setattr(uplink, "_resident_bytes", lambda: RESIDENT_BYTES)
        # A process is killed, never the machine: what was written stays.
        patch.setattr(os, "fsync", lambda _descriptor: None)
        logging.getLogger("loadstone_runner").addHandler(listener)
        try:
            story.play()
        except BaseException:
            print(f"SEED={seed}", *story.laws.trace, sep="\n")
            raise
        finally:
            logging.getLogger("loadstone_runner").removeHandler(listener)
    return story


@pytest.fixture(scope="module", autouse=True)
def _forget_what_lasts() -> Iterator[None]:
    """Have the garbage collector look at what runs leave, and not at all modules and tests after each."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def close_files() -> None:
    """Close what killed processes have left open, as the kernel would: thousands of runs would have no more files."""
    gc.collect()  # files that close themselves must not do so when their descriptors are somebody else's
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if f"/{FOLDER}" in str(descriptor.readlink()):
                os.close(int(descriptor.name))


def batches() -> list[list[int]]:
    seeds = [int(SEED)] if SEED else list(range(FIRST, FIRST + SEEDS))
    return [seeds[first : first + BATCH] for first in range(0, len(seeds), BATCH)]


def test_a_seed_is_the_same_run_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (play(FIRST, monkeypatch).laws.trace for _ in range(2))
    assert one == other


@promise("exact-totals", "load-moves", "master-restart")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", batches(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_no_law_is_broken_whatever_breaks(seeds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in seeds:
        story = play(seed, monkeypatch)
        if SEED:
            print(*story.laws.trace, sep="\n")
        del story
        close_files()


@promise("load-moves")
def test_what_a_silent_worker_did_waits_for_an_operator_and_is_done_by_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seed in range(3):
        story = play(seed, monkeypatch, WhileTheOperatorIsAway)
        assert isinstance(story, WhileTheOperatorIsAway)
        most = story.most_at
        assert most[2] == 6
        # Its lease is over, and nobody may know yet that there is no later master.
        assert {most[second] for second in range(16, 23)} == {3}
        # It has come back to this one, and says that its load has ended.
        assert {most[second] for second in range(28, 33)} == {6}


@promise("quorum")
def test_a_load_begins_without_a_worker_that_is_late_and_is_done_by_one_alone_at_any_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = play(0, monkeypatch, WithAWorkerThatIsLate)
    assert isinstance(story, WithAWorkerThatIsLate)
    assert story.most_at[7] == 0
    # Two workers have half of it each; one alone has all of it.
    assert {story.most_at[second] for second in range(12, 25)} == {6}
    assert {story.most_at[second] for second in range(30, 45)} == {6}
    assert {len(each.users) for each in story.laws.sent.values()} == {0}
    assert all(each.requests for each in story.laws.sent.values())


@promise("load-moves")
@pytest.mark.parametrize("kind", [WithMoreWorkersAndThenFewer, WithARateOfMoreWorkersAndThenFewer])
def test_workers_are_added_and_taken_away_and_the_load_stays_what_was_asked_for(
    kind: type[WithMoreWorkersAndThenFewer], monkeypatch: pytest.MonkeyPatch
) -> None:
    story = play(0, monkeypatch, kind)
    assert isinstance(story, WithMoreWorkersAndThenFewer)
    load, results = (json.loads(each) for each in (story.world.outcome.load_json, story.world.outcome.results_json))
    assert results["requests"] == sum(each.requests for each in story.laws.sent.values())
    assert results["unaccounted"] == 0
    # What is due while lots change hands is done by nobody, and never by two.
    assert load["achieved"] > 0.97 * load["planned"]
    if not story.shape.has_rate:
        assert story.world.outcome.verdict == "Passed"
        # In a hand-over the sum is short for a moment, and never more.
        assert {story.most_at[second] for second in (*range(4, 9), *range(15, 22), *range(26, 36))} == {6}
        assert (story.workers_at[7], story.workers_at[20], story.workers_at[34]) == ({0, 1}, {0, 1, 2, 3, 4}, {0})
    assert all(pod.is_deleted for pod in story.world.all_pods if pod.worker)


@pytest.mark.parametrize(
    ("kind", "left", "reason"),
    [
        (WithAWorkerLess, 6, "LoadNotReached"),
        (WithARate, 6, "LoadNotReached"),
        (WithNobodyToStandIn, 3, "LoadNotReached"),
        (WithNobodyToGoOn, 0, "WorkersLost"),
        (WithoutAnotherMaster, 0, "MasterLost"),
    ],
)
def test_what_a_loss_leaves_of_the_load_is_what_was_asked_for(
    kind: type[Prepared], left: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = play(0, monkeypatch, kind)
    assert isinstance(story, Prepared)
    assert story.most_at[9] == 6
    # Its lease is over, and another load is asked for later.
    assert {story.most_at.get(second, 0) for second in range(24, 36)} == {left}
    assert story.world.outcome.reason == reason


def test_an_engine_goes_on_with_its_rows_when_another_of_its_worker_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    story = play(0, monkeypatch, WithAnEngineLess)
    assert isinstance(story, WithAnEngineLess)
    done = [story.sent_at[second] for second in range(9, 36, 3)]
    assert all(later > earlier for earlier, later in pairwise(done))


def test_a_run_that_is_killed_makes_no_load_from_then_on_and_is_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    story = play(0, monkeypatch, WithAKill)
    assert isinstance(story, WithAKill)
    outcome = story.world.outcome
    assert (outcome.verdict, outcome.reason, outcome.exit_code) == ("Aborted", "Killed", 130)
    sent = sum(each.requests for each in story.laws.sent.values())
    assert sent == json.loads(outcome.results_json)["requests"] > 0
    # Users do an iteration in a tenth of a second or so, and there are six of them.
    assert sent - story.sent_at_kill < 12
    assert story.over_at < story.at + 2
    # Who was killed on purpose is not lost.
    assert [each.state for each in story.world.report.workers] == [control_pb2.WorkerReport.ENDED_WORKER] * 2
    assert not any("lost" in each for each in story.world.report.findings)
