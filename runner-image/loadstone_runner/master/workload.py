"""Join what is known of a run's load: where its scenarios are, what was done of them, what was granted. Pure.

Each of these is kept in a table of its own: `course`, `measurement`, `grants`. What follows is decided in `run`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from loadstone_core.load.change import Aim
from loadstone_core.load.grant import of_feeder, of_iterations
from loadstone_core.load.profile import Model
from loadstone_runner.master import run
from loadstone_runner.master.books import Place
from loadstone_runner.master.course import Course
from loadstone_runner.master.grants import Grants
from loadstone_runner.master.living import Living
from loadstone_runner.master.member import WorkerState
from loadstone_runner.master.remarks import remarks_on
from loadstone_runner.master.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.plan.model import RunPlan
    from loadstone_protocol.messages import Inheritance, ShapeNews
    from loadstone_runner.master.account import Account
    from loadstone_runner.master.measurement import Measurement
    from loadstone_runner.master.roster import Roster


class Workload:
    """The load of one run.

    Attributes:
        plan: of the run.
        course: its scenarios.
        grants: the numbers of its iterations and rows.
        living: the engines that can take some.
        shares: who does which part of it.
        shape_asked: the most users that a shape in the script has asked for.
    """

    def __init__(self, plan: RunPlan, roster: Roster, measurement: Measurement) -> None:
        shared = {of_iterations(each.name): each.load.shared_iterations for each in plan.scenarios}
        self.plan = plan
        self.course = Course(plan.scenarios)
        self.grants = Grants(
            {name: iterations for name, iterations in shared.items() if iterations},
            plan.workers,
            plan.engines_per_worker,
            users={of_iterations(each.name): each.load.most_users for each in plan.scenarios},
        )
        rates = [each for each in plan.scenarios if each.load.model is Model.RATE]
        self.shares = Shares(
            plan.workers,
            plan.engines_per_worker,
            whole=max(max(each.load.profile.peak, each.load.most_users) for each in plan.scenarios),
            epoch=plan.run.epoch,
            most_users=min((each.load.max_users for each in rates if each.load.max_users is not None), default=None),
        )
        self.living = Living(roster)
        self._engines = plan.engines_per_worker
        self._moves = plan.moves_load
        self.shape_asked = 0
        self._aims: tuple[Aim, ...] = ()
        self._shaped = next((each for each in plan.scenarios if each.load.is_shaped), None)
        self._shape_aims: tuple[Aim, ...] = ()
        self._is_shape_over = False
        self._is_paused = False
        self._changed_ns = -1  # when the newest change begins
        self._roster = roster
        self._measurement = measurement

    def remarks(self, *, has_shape: bool) -> tuple[str, ...]:
        """Return what is to be said of the load, of a script that has a shape or has none."""
        has_left_out = self.grants.has_left_out
        return remarks_on(self.plan, has_shape=has_shape, shape_asked=self.shape_asked, has_left_out=has_left_out)

    def look(self, since_start_ns: int, *, lead_ns: int) -> run.LoadDone | run.LoadChanged | None:
        """Return what has become of the load by a moment; None: nothing that anybody has to hear of."""
        self.living.look()
        has_changed = self.course.advance(
            since_start_ns, is_done=lambda place: self._is_done(place, since_start_ns), lead_ns=lead_ns
        )
        self._measurement.follow(self.course.scenarios)
        if self.course.is_over:
            return run.LoadDone()
        return run.LoadChanged() if has_changed else None

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where the load of a former master was: as it was asked for last, until somebody asks for another."""
        self.course.recall(held["course"])
        self._is_paused = self.course.is_paused
        self._measurement.follow(self.course.scenarios)

    def want(self, aims: tuple[Aim, ...], *, is_paused: bool) -> None:
        """Note what is asked from now on; `steer` brings the load there."""
        self._aims, self._is_paused = aims, is_paused

    def take_shape(self, shape: ShapeNews) -> None:
        """Note what the script's shape wants from now on, as far as it may; `steer` brings the load there."""
        if self._shaped is None:
            return
        self.shape_asked = max(self.shape_asked, shape.users)
        self._is_shape_over = shape.is_over
        if not shape.is_over:
            users = min(shape.users, self._shaped.load.most_users)
            self._shape_aims = (Aim(self._shaped.name, users, shape.spawn_rate),)

    def steer(self, at_ns: int) -> run.LoadChanged | None:
        """Ask for what is wanted from a moment of the load on, unless that is what is asked already."""
        # After the change that came first, however much sooner this one could be heard of: a disk may be slow once.
        at_ns = max(at_ns, self._changed_ns + 1)
        aims = (*self._aims, *self._shape_aims)
        has_changed = self.course.steer(aims, is_paused=self._is_paused, at_ns=at_ns)
        if self._is_shape_over and not self.course.is_paused:
            has_changed = self.course.conclude(at_ns) or has_changed
        if has_changed:
            self._changed_ns = at_ns
        self._measurement.follow(self.course.scenarios)
        return run.LoadChanged() if has_changed else None

    def open_grants(self) -> set[int]:
        """Give out the first iterations of scenarios whose start is known; return whose assignment has changed."""
        known = (of_iterations(each.name) for each in self.course.scenarios if each.start_ns is not None)
        return {worker for name in known for worker in self.grants.open(name)}

    def learn_granted(self, worker: int, attempt: int, word: Inheritance) -> bool:
        """Take in what an attempt of a worker holds of a master before; return whether all awaited ones have told."""
        # Nobody tells what was granted to attempts that were replaced, or before an agent was started again.
        is_all = word.version is not None and self._roster.members[worker].attempt <= 1
        is_last = self.grants.learn(worker, word.granted, is_all=is_all)
        if attempt < self._roster.members[worker].attempt:
            # Whoever has taken its place since it spoke has none of that.
            self.grants.replace(worker, attempt)
        return is_last

    def forsake_gone(self) -> bool:
        """Wait for no word of workers that are gone; return whether all have told now that are awaited."""
        untold = [self._roster.members[worker] for worker in self.grants.untold]
        # Nobody was ever here who is expected still.
        gone = {each.worker for each in untold if each.state.is_over or each.state is WorkerState.EXPECTED}
        return self.grants.forsake(gone)

    def make_room(self) -> None:
        """Know everybody who was wanted at any time; whoever is new has nothing of the load yet."""
        self.grants.resize(len(self._roster.members))
        self.shares.resize(len(self._roster.members))

    def resize(self) -> set[int]:
        """Divide the load among as many workers as are wanted now; return whose part of it has changed at once."""
        self.make_room()
        return self.shares.divide(self._roster.wanted)

    def move(self, from_ns: int) -> set[int]:
        """Let what nobody does be done by whoever is there, from a moment of the load on; return whose part changed."""
        if not self.shares.may_move:
            return set()
        able = {Place(*place): attempt for place, attempt in self._roster.able().items()}
        there = {place.worker for place in able}
        leaving = [worker for worker in self._leaving if worker not in there]
        return self.shares.settle(able, from_ns=max(0, from_ns), moves=self._moves, leaving=leaving)

    @property
    def _leaving(self) -> range:
        return range(self._roster.wanted, len(self._roster.members))

    def fill_up(self) -> set[int]:
        """Give what nobody does to the workers whose it is and that are there, from the first moment of the load on."""
        if not self.shares.may_move:
            return set()
        wanted = [self._roster.members[worker] for worker in self._roster.living() if worker < self._roster.wanted]
        staying = [each for each in wanted if not each.has_retired]
        there = {Place(each.worker, engine): each.attempt for each in staying for engine in range(self._engines)}
        return self.shares.settle(there, from_ns=0, moves=False, leaving=self._leaving)

    def unused_rows(self) -> dict[str, int]:
        """Return how many rows of feeders were granted to workers that were lost or had to go, and not taken.

        As far as they had said.
        """
        unused: Counter[str] = Counter()
        for worker in {each.worker for each in self._roster.lost()}.union(self._leaving):
            unused.update(self.grants.unused_by(worker))
        unused.update(self.grants.unused_by_former())
        return {name: count for name, count in unused.items() if name.startswith(of_feeder(""))}

    def _is_done(self, place: int, since_start_ns: int) -> bool:
        """Say whether nothing more will be done of a scenario that is counted in iterations."""
        account = self._measurement.accounts[place]
        if account.scenario.load.model is not Model.ITERATIONS:
            return account.is_done(since_start_ns)
        return self._roster.is_done(place) or account.is_done(since_start_ns, abandoned=self._abandoned(account))

    def _abandoned(self, account: Account) -> int:
        """Return how many iterations were granted to workers that are lost: what they did not do is never redone."""
        name, iterations = of_iterations(account.scenario.name), account.iterations
        gone = {(each.worker, each.attempt): self.grants.granted_to(name, each.worker) for each in self._roster.lost()}
        gone |= self.grants.former(name)
        left = sum(max(0, granted - iterations.completed_by(*attempt)) for attempt, granted in gone.items())
        return left + self.grants.forsaken(name)
