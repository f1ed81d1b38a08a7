"""Decide what each engine is told: the newest configuration, its part of the load, or a stop decided here. Pure.

When something is told, and what the master hears of it, is decided in `session`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.load.share import slot_of
from loadstone_core.register import Held, Weighed, weigh
from loadstone_protocol.messages import Granted, RunOrder
from loadstone_runner.agent.effects import Assignment, Common, Configure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadstone_core.load.grant import Grant
    from loadstone_core.load.lots import Share
    from loadstone_runner.agent.engines import Engines, EngineView


class Desired:
    """The two registers of a worker and what follows from them for its engines.

    Attributes:
        epoch: the highest that was seen; configurations of lower ones are not obeyed.
        common: the configuration that is held.
        conflict: one sentence about one that was refused, nothing while all is well.
        applied: the newest that every engine has applied.
        applied_assignment: the version of the newest assignment that every engine has applied.
    """

    def __init__(self, *, worker: int, engines: Engines, epoch: int, script_digest: str, first_revision: int) -> None:
        """Begin with nothing held; `first_revision` outranks what engines hold of an earlier agent."""
        self.epoch = epoch
        self.common: Common | None = None
        self.conflict = ""
        self.applied: Held | None = None
        self.applied_assignment = 0
        self._worker = worker
        self._engines = engines
        self._script_digest = script_digest
        self._assignment: Assignment | None = None
        self._is_assigned = False  # by the master on the present connection
        self._revision = first_revision
        self._common_revision = first_revision
        self._assignment_revision = first_revision
        self._offset_ns: int | None = None
        self._round_trip_ns = 0
        self._starts: dict[tuple[int, int], int] = {}  # (epoch, start on the master's clock) -> here
        self._stop_reason = ""
        self._stop_grace_ns = 0
        self._granted: dict[tuple[str, int], Granted] = {}

    def offer(self, common: Common) -> bool:
        """Weigh a common configuration; return whether it was adopted: newer, intact, for the script mounted here."""
        version = common.held.version
        if version.epoch < self.epoch:
            return False
        weighed = weigh(self.common.held if self.common else None, common.held)
        if weighed is Weighed.CONFLICT or not common.is_intact:
            self.conflict = (
                f"worker {self._worker} was sent version {version.epoch}.{version.revision} with two contents"
            )
            return False
        if weighed is not Weighed.ADOPT:
            return False
        if common.script_digest not in {"", self._script_digest}:
            self.conflict = (
                f"worker {self._worker} has mounted a script with {self._script_digest}, "
                f"the run is for {common.script_digest}; start the run again"
            )
            return False
        self.conflict = ""
        self.epoch = version.epoch
        self.common = common
        self._common_revision = self.revise()
        return True

    def await_assignment(self) -> None:
        """Note that a connection is new: what was assigned before may be somebody else's by now.

        The master says on each what this worker is to do, but when its disk is slow a moment after the order to begin.
        """
        self._is_assigned = False

    def assign(self, assignment: Assignment) -> bool:
        """Take this worker's part of the load; return whether engines have to hear of it."""
        held = self._assignment
        if assignment.epoch < self.epoch or not 0 <= assignment.slot < assignment.slots:
            return False
        was_awaited, self._is_assigned = not self._is_assigned, True
        if held is not None and (assignment.epoch, assignment.version) <= (held.epoch, held.version):
            return was_awaited
        for grant in assignment.grants:
            key = (grant.name, grant.engine)
            self._granted[key] = grown(self._granted.get(key, Granted(*key, 0, 0, 0)), grant)
        self._assignment = assignment
        self._assignment_revision = self.revise()
        return True

    def stop(self, reason: str, *, grace_ns: int) -> bool:
        """Stop the load whatever the master says, now and later; return False if it stops as soon already."""
        if self._stop_reason and grace_ns >= self._stop_grace_ns:
            return False
        self._stop_reason = self._stop_reason or reason
        self._stop_grace_ns = grace_ns
        self.revise()
        return True

    @property
    def start_ns(self) -> int:
        """When the load starts or has started, on this machine's clock; 0: that is not known."""
        is_ordered = self.common is not None and self.common.start_at_ns
        return min(self._starts_followed(), default=0) if is_ordered else 0

    @property
    def start_off_by_ns(self) -> int:
        """How far off the start of load may be here, by what is known of the master's clock now; 0: nothing is."""
        if self.common is None or self.common.held.version.epoch != self.epoch or self._offset_ns is None:
            return 0
        start_here_ns = self.common.start_at_ns - self._offset_ns
        off_by_ns = [abs(each - start_here_ns) + self._round_trip_ns // 2 for each in self._starts_followed()]
        return max(off_by_ns, default=0)

    @property
    def granted(self) -> tuple[Granted, ...]:
        """How much each engine has been granted so far."""
        return tuple(self._granted.values())

    @property
    def shares(self) -> tuple[Share, ...]:
        """What the engines do of the load that have not ended, by the newest assignment."""
        held = self._assignment.shares if self._assignment is not None else ()
        living = self._engines.living()
        return tuple(each for each in held if each.engine in living)

    @property
    def stop_reason(self) -> str:
        """Why the load was stopped here, nothing if it was not."""
        return self._stop_reason

    @property
    def is_complete(self) -> bool:
        """Whether both registers hold something, so that engines can be told what to do."""
        return self.common is not None and self._assignment is not None

    def change_epoch(self, epoch: int) -> None:
        """Obey a master of a higher epoch, whose clock is not known yet."""
        self.epoch = epoch
        self._offset_ns = None

    def know_offset(self, offset_ns: int, round_trip_ns: int) -> bool:
        """Learn the master's clock minus this one, off by half a round trip; return whether engines waited for it."""
        waited = self.common is not None and self._start_here() is None
        self._offset_ns, self._round_trip_ns = offset_ns, round_trip_ns
        return waited

    def revise(self) -> int:
        """Number what is wanted now anew, as engines apply only what is newer; return the number."""
        self._revision += 1
        return self._revision

    def look_for_applied(self) -> bool:
        """Update what every engine has applied; return whether it has changed."""
        before = (self.applied, self.applied_assignment)
        if self.common is not None and self._engines.have_applied(self._common_revision):
            self.applied = self.common.held
        if self._assignment is not None and self._engines.have_applied(self._assignment_revision):
            self.applied_assignment = self._assignment.version
        return before != (self.applied, self.applied_assignment)

    def orders(self, views: Iterable[EngineView]) -> list[Configure]:
        """Return what engines are told now; nothing while a register is empty or the master's clock unknown.

        None begins with what a master before has assigned; one that has begun goes on with it.
        """
        common, assignment, start_at_ns = self.common, self._assignment, self._start_here()
        if common is None or assignment is None or start_at_ns is None:
            return []
        run_order, reason, grace_ns = common.run_order, common.stop_reason, common.graceful_stop_ns
        if self._stop_reason:
            run_order, reason, grace_ns = RunOrder.STOPPED, self._stop_reason, min(grace_ns, self._stop_grace_ns)
        return [
            Configure(
                engine=view.engine,
                start=view.start,
                revision=self._revision,
                body=common.body,
                run_order=run_order,
                start_at_ns=start_at_ns,
                slot=slot_of(assignment.slot, view.engine, assignment.slots),
                slots=assignment.slots * self._engines.expected,
                grants=tuple(each for each in assignment.grants if each.engine == view.engine),
                stop_reason=reason,
                graceful_stop_ns=grace_ns,
                holding=assignment.holding,
                shares=tuple(each for each in assignment.shares if each.engine == view.engine),
            )
            for view in views
            if self._is_assigned or run_order is not RunOrder.RUNNING or view.start_at_ns
        ]

    def _start_here(self) -> int | None:
        """Return the common start on this machine's clock, 0 without one; None while the master's clock is unknown.

        Converted once: a better offset that comes later must not move a start that engines know already. The offset is
        that of the newest master, and says nothing of a start by the clock of one before.
        """
        if self.common is None or not self.common.start_at_ns:
            return 0
        key = self._start_key()
        is_of_this_clock = self.common.held.version.epoch == self.epoch
        if key not in self._starts and is_of_this_clock and self._offset_ns is not None:
            self._starts[key] = self.common.start_at_ns - self._offset_ns
        return self._starts.get(key)

    def _starts_followed(self) -> list[int]:
        """Return the start that each engine follows, as it says; before any does, the one that they are told.

        An engine keeps the first that it hears of: a former start of this agent, or another master, may have meant it.
        """
        said = [view.start_at_ns for view in self._engines.current() if view.start_at_ns]
        told = self._start_here()
        return said or ([told] if told else [])

    def _start_key(self) -> tuple[int, int]:
        return (self.common.held.version.epoch, self.common.start_at_ns) if self.common is not None else (0, 0)


def grown(held: Granted, grant: Grant) -> Granted:
    """Return what was granted so far and now: each grant says all of it, and an older one less.

    Its ranges are kept for another master: no engine may have been told of them yet.
    """
    ranges = grant.first_range + len(grant.ranges)
    return held._replace(
        ranges=max(held.ranges, ranges),
        numbers=max(held.numbers, grant.before + sum(map(len, grant.ranges))),
        end=max(held.end, grant.end),
        latest=grant.ranges if ranges >= held.ranges else held.latest,
    )
