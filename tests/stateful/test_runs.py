"""Runs in which anything may break at any moment: real masters and agents, in virtual time, and no law is broken.

`SEED=1234 pytest -s tests/stateful` plays one run again and prints its trace; `SEEDS=20000` plays so many, from `FIRST`
on. What is made up here and what is real stands in `README.md` beside this file.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from grpc import aio
from tests.stateful.clockwork import BEGINNING, EPOCH_NS, SECOND, VirtualTimeLoop
from tests.stateful.connections import FOLLOWER_PATIENCE
from tests.stateful.laws import CLOCKS_SECONDS
from tests.stateful.mischief import Mischief
from tests.stateful.world import Shape, World

from loadstone_core.spec.model import MasterOnLoss, OnLoss
from loadstone_protocol.v1 import control_pb2
from loadstone_runner.agent import uplink
from loadstone_runner.master import standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

promise = pytest.mark.promise
SEED = os.environ.get("SEED")
FIRST, SEEDS = int(os.environ.get("FIRST", "0")), int(os.environ.get("SEEDS", "300"))
PARTED = float(os.environ.get("PARTED", "0.15"))  # of all runs: the network falls apart
BATCH = 10
HEALED_AT = 14.0
HEALED_LATE_AT = 60.0
# Beside a lease: its slack, what a client needs to find its master again, and a pod that is made.
WHOLE_WITHIN_SECONDS = 20.0
MASTER_WITHIN_SECONDS = 6.0  # of the loss of one, also of one that was lost in the last moment
FOLLOWS_WITHIN_SECONDS = 4.0  # when nothing is wrong; a user may finish its iteration
RATED_SECONDS = 6  # that are looked at to see a rate
WIDE = 0.6  # of all runs: not all is as it is by default
FOLDER = "loadstone-run-"
MEMORY = Path("/dev/shm")  # noqa: S108 a folder of one's own is made in it; a disk would take a tenth of the time
RESIDENT_BYTES = 50_000_000  # that an agent says it has; a file of the kernel's each time is a fortieth of a run
MOST_SECONDS = 600.0  # of virtual time; every run ends long before


def shape_of(dice: random.Random) -> Shape:
    """Return what a run is made of."""
    lease = dice.choice((3.0, 3.0, 12.0))
    workers, engines = dice.choice((2, 3, 3)), dice.choice((1, 1, 2))
    healed_at = HEALED_LATE_AT if dice.random() < PARTED else HEALED_AT
    return Shape(
        workers=workers,
        engines=engines,
        # Numbers of an engine whose only user was somebody else's for a while stay there when that one goes home.
        users=max(dice.randrange(3, 10), workers * engines),
        seconds=healed_at + MASTER_WITHIN_SECONDS + WHOLE_WITHIN_SECONDS + lease + FOLLOWS_WITHIN_SECONDS + 4.0,
        lease_seconds=lease,
        healed_at=healed_at,
        iterations=dice.choice((None, None, None, dice.randrange(100, 250))),
        setup_seconds=dice.choice((0.05, 0.05, 3.0, 7.0)),
    )


def widened(shape: Shape, seed: int) -> Shape:
    """Return a shape of which not all is as it is by default, drawn beside what else befalls the run of this seed."""
    dice = random.Random(f"wide {seed}")  # noqa: S311 a game
    if dice.random() >= WIDE:
        return shape
    has_rate = shape.iterations is None and dice.random() < 0.5
    ramp = dice.choice((0.0, 0.0, 5.0)) if shape.iterations is None else 0.0
    on_loss = dice.choice((OnLoss.REPLACE, OnLoss.REPLACE, OnLoss.REDISTRIBUTE, OnLoss.CONTINUE, OnLoss.ABORT))
    late = dice.choice((0.0, 0.0, dice.uniform(1.0, 18.0)))
    ends_with_master = not shape.is_parted and dice.random() < 0.15
    return replace(
        shape,
        seconds=shape.seconds + late + ramp + (RATED_SECONDS if has_rate else 0.0),
        has_rate=has_rate,
        ramp_seconds=ramp,
        on_loss=on_loss,
        max_lost_percent=dice.choice((100, 100, 100, 100, 34, 0)),
        min_available=shape.workers - 1 if dice.random() < (0.5 if late else 0.1) else None,
        startup_seconds=dice.choice((8.0, 60.0)) if late else 60.0,
        late_seconds=late,
        master_on_loss=MasterOnLoss.ABORT if ends_with_master else MasterOnLoss.RESTART,
    )


class Story:
    """One run from its beginning to its end."""

    def __init__(self, seed: int, folder: Path, shape: Shape | None = None) -> None:
        self.dice = random.Random(seed)  # noqa: S311 a game
        self.loop = VirtualTimeLoop(self.dice)
        self.world = World(shape or widened(shape_of(self.dice), seed), folder, self.loop, self.dice)
        self.laws = self.world.laws
        self.mischief = Mischief(self.world)
        self.was_whole, self.followed_by = False, MOST_SECONDS

    def play(self) -> None:
        try:
            self.loop.run_until_complete(self._live())
        finally:
            self.loop.bury()

    async def _live(self) -> None:
        world, shape = self.world, self.world.shape
        self.laws.note(f"{shape}")
        world.begin()
        self.plan_mischief()
        world.network.after(shape.healed_at, self.mischief.heal)
        while not (world.is_over and not self._lives_on()):
            await asyncio.sleep(0.2)
            self.look()
        self._conclude()

    def plan_mischief(self) -> None:
        """Say what befalls the run, and when."""
        world, dice = self.world, self.dice
        # A few kinds in each run, so that the same ones meet more often than chance would have it.
        menu = dice.sample(self.mischief.menu(), dice.randrange(1, 7))
        for _ in range(dice.choice((1, 2, 3, 4, 6, 9))):
            fault = dice.choice(menu)
            world.network.after(dice.uniform(0.0, HEALED_AT), self.mischief.do, fault)
        if world.shape.is_parted:
            world.network.after(dice.uniform(0.5, HEALED_AT), self.mischief.do, self.mischief.part_the_network)

    def look(self) -> None:
        """Look whether everything is as it must be at this moment."""
        world, shape = self.world, self.world.shape
        self.laws.look()
        passed = self.loop.time() - BEGINNING
        self.laws.demand(passed < MOST_SECONDS, "the run has no end")
        if not (world.is_sole and world.makes_load) or shape.iterations is not None:
            return
        since = max(shape.healed_at, world.newest_master_at - BEGINNING, shape.late_seconds)
        whole_by = since + WHOLE_WITHIN_SECONDS + shape.lease_seconds
        if not self.was_whole and passed >= whole_by:
            self.was_whole = True
            self._demand_load()
            # From here on nothing is wrong, so what is wanted is done soon.
            world.ask(self.dice.randrange(1, 13))
            self.followed_by = passed + FOLLOWS_WITHIN_SECONDS + (RATED_SECONDS if shape.has_rate else 0)
        elif self.was_whole and passed >= self.followed_by:
            self.followed_by = MOST_SECONDS
            self._demand_load()

    def _demand_load(self) -> None:
        """Demand all that is asked for, but for what was the part of those that nobody stands in for."""
        world, laws = self.world, self.laws
        places = range(world.users_asked)
        if world.shape.on_loss is OnLoss.CONTINUE:
            lost = {each.worker for each in world.report.workers if each.state == control_pb2.WorkerReport.LOST}
            slots, workers = world.shape.workers * world.shape.engines, world.shape.workers
            places = [each for each in places if each % slots % workers not in lost]
        if not world.shape.has_rate:
            living = len(laws.users())
            laws.demand(living == len(places), f"{living} users live, {len(places)} are asked for")
            return
        now = int(self.loop.time())
        begun, asked = laws.begun(now - RATED_SECONDS - 1, now - 1), len(places) * RATED_SECONDS
        least = asked - len(places) * CLOCKS_SECONDS - len(laws.engines) - 1
        laws.demand(begun >= least, f"{begun} iterations of {RATED_SECONDS} s were begun, {asked} are asked for")

    def _conclude(self) -> None:
        world = self.world
        if world.is_given_up:
            return
        if world.outcome is None:
            self.laws.demand("verdict" in world.last_word, f"a master has ended and left behind {world.last_word}")
            return
        finished_at = BEGINNING + (world.report.times.finished_ns - EPOCH_NS) / SECOND
        is_orphaned = len(world.masters) > 1 and world.masters[-1].address not in self.laws.heirs
        self.laws.conclude(world.outcome, finished_at, is_orphaned=is_orphaned)
        self.laws.judge(
            world.outcome,
            ends_with_workers=world.shape.on_loss is OnLoss.ABORT,
            ends_with_master=world.shape.master_on_loss is MasterOnLoss.ABORT and self.mischief.has_taken_master,
        )

    def _lives_on(self) -> bool:
        """Whether a process of the run is still there that should end by itself."""
        pods = [*self.world.all_pods, self.world.masters[-1]]
        return any(each.main is not None and each.main.is_alive for each in pods if not each.is_gone)


class WhileTheOperatorIsAway(Story):
    """A worker falls silent and comes back, and the master has nobody to tell it whether there is another master."""

    def __init__(self, seed: int, folder: Path) -> None:
        shape = Shape(workers=2, engines=1, users=6, seconds=100, lease_seconds=3, healed_at=HEALED_LATE_AT)
        super().__init__(seed, folder, shape)
        self.most_at: dict[int, int] = {}

    def plan_mischief(self) -> None:
        network, master = self.world.network, self.world.masters[0].address
        worker, operator = self.world.pods[0].address, self.world.operator.address
        for at, do, other in (
            (3.0, network.cut, operator),
            (4.0, network.cut, worker),
            (24.0, network.heal, worker),
            (35.0, network.heal, operator),
        ):
            network.after(at, do, other, master)

    def look(self) -> None:
        super().look()
        self.most_at[int(self.loop.time() - BEGINNING)] = len(self.laws.users())


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
