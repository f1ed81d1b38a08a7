"""What a run is: its shape by the dice, what befalls it, and what is looked at while it goes on.

`Story` is what chance makes of a seed; the others have one fault at a known moment. What must hold is in `laws`; how a
run is played, and that it is, in `test_runs`.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.stateful.clockwork import BEGINNING, EPOCH_NS, SECOND, VirtualTimeLoop
from tests.stateful.laws import CLOCKS_SECONDS
from tests.stateful.mischief import Mischief
from tests.stateful.world import RATED_SECONDS, Shape, World

from loadstone_core.spec.model import MasterOnLoss, OnLoss
from loadstone_core.stats.stream import StreamId
from loadstone_protocol.v1 import control_pb2

if TYPE_CHECKING:
    from pathlib import Path

PARTED = float(os.environ.get("PARTED", "0.15"))  # of all runs: the network falls apart
HEALED_AT = 14.0
HEALED_LATE_AT = 60.0
# Beside a lease: its slack, what a client needs to find its master again, and a pod that is made.
WHOLE_WITHIN_SECONDS = 20.0
MASTER_WITHIN_SECONDS = 6.0  # of the loss of one, also of one that was lost in the last moment
BEGUN_WITHIN_SECONDS = 2.0
FOLLOWS_WITHIN_SECONDS = 4.0  # when nothing is wrong; a user may finish its iteration
RESIZED = float(os.environ.get("RESIZED", "0.3"))  # of those that may be: others are wanted than so many workers
KILLED = float(os.environ.get("KILLED", "0.1"))  # of all runs: somebody has them killed
STOPPED_LATE_SECONDS = 4.0
KILLED_WITHIN_SECONDS = 20.0  # what does not answer is waited for 15 s
WIDE = float(os.environ.get("WIDE", "0.6"))  # of all runs: not all is as it is by default
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
    is_quorate = dice.random() < (0.5 if late else 0.1)
    ends_with_master = not shape.is_parted and dice.random() < 0.15
    return replace(
        shape,
        seconds=shape.seconds + late + ramp + (RATED_SECONDS if has_rate else 0.0),
        has_rate=has_rate,
        max_users=dice.choice((None, shape.workers * shape.engines + 2, 12)) if has_rate else None,
        ramp_seconds=ramp,
        on_loss=on_loss,
        max_lost_percent=dice.choice((100, 100, 100, 100, 34, 0)),
        min_available=shape.workers - 1 if is_quorate else None,
        startup_seconds=8.0 if late and is_quorate else 60.0,
        late_seconds=late,
        master_on_loss=MasterOnLoss.ABORT if ends_with_master else MasterOnLoss.RESTART,
        late_worker=dice.randrange(shape.workers),
    )


def resizes_of(shape: Shape, seed: int) -> list[tuple[float, int]]:
    """Return when which other number of workers is wanted, drawn beside what else befalls the run of this seed."""
    dice = random.Random(f"resized {seed}")  # noqa: S311 a game
    # With Abort it would not be known whether somebody was lost or was to leave.
    if shape.iterations is not None or shape.on_loss is OnLoss.ABORT or dice.random() >= RESIZED:
        return []
    return [(dice.uniform(0.0, HEALED_AT), dice.randrange(1, 6)) for _ in range(dice.choice((1, 1, 2, 3)))]


def stops_of(seed: int) -> list[tuple[float, bool]]:
    """Return when the run is stopped, and whether it is killed, drawn beside what else befalls the run of this seed."""
    dice = random.Random(f"killed {seed}")  # noqa: S311 a game
    if dice.random() >= KILLED:
        return []
    at = dice.uniform(0.0, HEALED_AT + STOPPED_LATE_SECONDS)
    before = [(max(0.0, at - dice.uniform(0.1, 4.0)), False)] if dice.random() < 0.3 else []
    return [*before, (at, True)]


class Story:
    """One run from its beginning to its end."""

    def __init__(self, seed: int, folder: Path, shape: Shape | None = None) -> None:
        self.dice = random.Random(seed)  # noqa: S311 a game
        self.loop = VirtualTimeLoop(self.dice)
        self.world = World(shape or widened(shape_of(self.dice), seed), folder, self.loop, self.dice)
        self.laws = self.world.laws
        self.resizes = resizes_of(self.world.shape, seed) if shape is None else []
        self.stops = stops_of(seed) if shape is None else []
        self.mischief = Mischief(self.world)
        self.was_whole, self.followed_by = False, MOST_SECONDS
        self.began = MOST_SECONDS  # to make load

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
        for at, workers in self.resizes:
            world.network.after(at, world.resize, workers)
        for at, is_kill in self.stops:
            world.network.after(at, world.kill if is_kill else world.stop)
        if world.shape.is_parted:
            world.network.after(dice.uniform(0.5, HEALED_AT), self.mischief.do, self.mischief.part_the_network)

    def look(self) -> None:
        """Look whether everything is as it must be at this moment."""
        world, shape = self.world, self.world.shape
        self.laws.look()
        passed = self.loop.time() - BEGINNING
        self.laws.demand(passed < MOST_SECONDS, "the run has no end")
        self.laws.look_at_killed(world.all_pods)
        if world.is_killed:
            # It is wanted before everything is healed, or soon after.
            since = max(shape.healed_at + STOPPED_LATE_SECONDS, world.newest_master_at - BEGINNING)
            over_by = since + WHOLE_WITHIN_SECONDS + shape.lease_seconds + KILLED_WITHIN_SECONDS
            self.laws.demand(world.is_decided or passed < over_by, "it was killed, and is not over")
        if world.is_stopped or not (world.is_sole and world.makes_load) or shape.iterations is not None:
            return
        self.began = min(self.began, passed)
        since = max(shape.healed_at, world.newest_master_at - BEGINNING, shape.late_seconds)
        # One that begins without somebody gives others what that one was to do.
        begun_by = self.began + BEGUN_WITHIN_SECONDS + shape.full_seconds
        whole_by = max(since + WHOLE_WITHIN_SECONDS + shape.lease_seconds, begun_by)
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
        least, most = self._parts()
        at_work = [each.stream for each in laws.sent.values() if each.users and each.makes_load]
        leaving = [each for each in at_work if each.worker >= world.workers_wanted]
        states = {each.worker: each.state for each in world.report.workers}
        # Of those that are wanted somebody may be lost whom nobody replaces, and then others go on.
        is_staffed = all(states.get(each) != control_pb2.WorkerReport.LOST for each in range(world.workers_wanted))
        laws.demand(
            not (is_staffed and leaving), f"{world.workers_wanted} workers are wanted, and users live on {leaving}"
        )
        if not world.shape.has_rate:
            living = len(laws.users())
            laws.demand(least <= living <= most, f"{living} users live, {least} to {most} are asked for")
            return
        now = int(self.loop.time())
        begun, asked = laws.begun(now - RATED_SECONDS - 1, now - 1), least * RATED_SECONDS
        missed = least * CLOCKS_SECONDS + len(laws.engines) + 1
        laws.demand(
            begun >= asked - missed, f"{begun} iterations of {RATED_SECONDS} s were begun, {asked} are asked for"
        )

    def _parts(self) -> tuple[int, int]:
        """Return what must be done of what is asked for, and what may."""
        world, asked = self.world, self.world.users_asked
        if world.shape.on_loss in {OnLoss.REPLACE, OnLoss.REDISTRIBUTE}:
            return asked, asked
        if world.has_resized:
            is_whole = all(each.state != control_pb2.WorkerReport.LOST for each in world.report.workers)
            return asked if is_whole else 0, asked
        workers, engines = world.shape.workers, world.shape.engines
        # A load that begins without somebody is short of that part for as long as nobody comes to do it.
        away = (control_pb2.WorkerReport.LOST, control_pb2.WorkerReport.EXPECTED)
        lost = {each.worker for each in world.report.workers if each.state in away}
        # Of a worker that has lost an engine, the other goes on with what is its own.
        living = {
            (worker, each) for worker in lost for each, made in world.pods[worker].engines.items() if made.is_alive
        }
        parts = [(slot % workers, slot // workers) for slot in (each % (workers * engines) for each in range(asked))]
        least = [each for each in parts if each[0] not in lost]
        return len(least), len(least) + sum(each in living for each in parts)

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
        is_ended = world.shape.on_loss is OnLoss.ABORT and self.mischief.has_taken_worker
        # Iterations may have been done a moment before.
        is_ended = is_ended and world.shape.iterations is None
        with_master = world.shape.master_on_loss is MasterOnLoss.ABORT and self.mischief.has_taken_master
        self.laws.judge(
            world.outcome,
            # Whoever stops a run has ended it before.
            ends_with_what_was_taken=(is_ended or with_master) and not world.is_stopped,
            may_be_killed=world.is_killed,
            is_orphaned=is_orphaned,
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


class Prepared(Story):
    """One fault at a known moment, with two workers of one engine; `most_at` has the load by seconds."""

    shape = Shape(workers=2, engines=1, users=6, seconds=50, lease_seconds=3, healed_at=HEALED_AT)
    at = 10.0

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder, self.shape)
        self.most_at: dict[int, int] = {}

    def plan_mischief(self) -> None:
        self.world.network.after(self.at, self.mischief.do, self.befall)

    def befall(self) -> str:
        return ""

    def look(self) -> None:
        super().look()
        second = int(self.loop.time() - BEGINNING)
        rated = self.laws.begun(int(self.loop.time()) - 1, int(self.loop.time()))
        self.most_at[second] = rated if self.world.shape.has_rate else len(self.laws.users())


class WithAWorkerThatIsLate(Prepared):
    """One of two workers waits for a node for longer than the start may take."""

    shape = replace(Prepared.shape, late_worker=1, late_seconds=25.0, startup_seconds=8.0, min_available=1)


class WithAWorkerLess(Prepared):
    """One of two workers is lost."""

    def befall(self) -> str:
        self.world.lose(self.world.pods[0])
        return "a node is lost"


class WithMoreWorkersAndThenFewer(Prepared):
    """Two workers become five, and these one; `workers_at` is who makes load."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.workers_at: dict[int, set[int]] = {}

    def plan_mischief(self) -> None:
        self.world.network.after(8.0, self.world.resize, 5)
        self.world.network.after(22.0, self.world.resize, 1)

    def look(self) -> None:
        super().look()
        second = int(self.loop.time() - BEGINNING)
        self.workers_at[second] = {each.stream.worker for each in self.laws.sent.values() if each.users}


class WithARateOfMoreWorkersAndThenFewer(WithMoreWorkersAndThenFewer):
    """Two workers become five, and these one, with a rate."""

    shape = replace(Prepared.shape, has_rate=True)


class WithNobodyToStandIn(WithAWorkerLess):
    """One of two workers is lost, and the other does its own part."""

    shape = replace(Prepared.shape, on_loss=OnLoss.CONTINUE)


class WithNobodyToGoOn(WithAWorkerLess):
    """One of two workers is lost, and the run is to end with it."""

    shape = replace(Prepared.shape, on_loss=OnLoss.ABORT)


class WithAnEngineLess(Prepared):
    """One of two engines of a worker is killed, and nobody stands in for it; `sent_at` is what the other has done."""

    shape = replace(Prepared.shape, engines=2, users=8, on_loss=OnLoss.CONTINUE)

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.sent_at: dict[int, int] = {}

    def befall(self) -> str:
        self.world.pods[0].engines[0].kill()
        return "an engine is killed"

    def look(self) -> None:
        super().look()
        self.sent_at[int(self.loop.time() - BEGINNING)] = self.laws.sent[StreamId(0, 1, 1, 1)].requests


class WithAKill(Prepared):
    """The run is killed; `sent_at_kill` is what was sent until then, and `over_at` when its outcome is known."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self.over_at = MOST_SECONDS
        self.sent_at_kill = 0

    def befall(self) -> str:
        self.world.kill()
        self.sent_at_kill = sum(each.requests for each in self.laws.sent.values())
        return "it is killed"

    def look(self) -> None:
        super().look()
        if self.world.outcome is not None:
            self.over_at = min(self.over_at, self.loop.time() - BEGINNING)


class WithARate(WithAWorkerLess):
    """One of two workers is lost, and the other begins what was its part of a rate."""

    shape = replace(Prepared.shape, has_rate=True, on_loss=OnLoss.REDISTRIBUTE)


class WithoutAnotherMaster(Prepared):
    """The master is killed, and the run is to end with it."""

    shape = replace(Prepared.shape, master_on_loss=MasterOnLoss.ABORT)

    def befall(self) -> str:
        return self.mischief.kill_the_master()
