"""Decide what an agent does: obey the newest master, keep the lease, end with everything told. Pure.

`now_ns` is CLOCK_BOOTTIME. Each method takes in one thing that happened; `take` returns what is to be done about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.stats.stream import StreamId
from loadstone_protocol.messages import EngineEnd, RefusalCode, RunOrder
from loadstone_runner.agent.clock import ClockOffset, RoundTrip
from loadstone_runner.agent.desired import Desired
from loadstone_runner.agent.effects import (
    Assignment,
    Beat,
    Common,
    Conclude,
    Deadline,
    Effect,
    EngineStatus,
    Finish,
    HangUp,
    Lease,
    Pings,
    ProcessEnd,
    RetellStates,
    SayBye,
    SayEnd,
    Summary,
)
from loadstone_runner.agent.engines import Engines
from loadstone_runner.agent.lease import Lease as MasterLease

if TYPE_CHECKING:
    from loadstone_core.register import Held
    from loadstone_core.stats.stream import Counters

SECOND: Final = 1_000_000_000
QUICK_PINGS: Final = 5
PING_EVERY_BEATS: Final = 5
LAUNCHER_ABSENT_NS: Final = 2 * SECOND
KILL_AFTER_GRACE_NS: Final = 5 * SECOND
KILL_AFTER_LEASE_NS: Final = 2 * SECOND
TERMINATION_GRACE_NS: Final = 10 * SECOND
FLUSH_NS: Final = 10 * SECOND
TERMINATION_MAX_NS: Final = 25 * SECOND
# A master that is made anew within this time gets everything.
MASTER_AWAITED_NS: Final = 120 * SECOND
EXIT_RUN_OVER: Final = 0
EXIT_ENDED_EARLY: Final = 143


class Session:
    """One agent's knowledge of its master, its engines and its launcher.

    Attributes:
        clock: of the master.
        lease: the right to make load.
        engines: what is known of each.
    """

    def __init__(
        self, *, worker: int, attempt: int, engines: int, epoch: int, script_digest: str, first_revision: int
    ) -> None:
        """Begin without master and engines; `first_revision` outranks what engines hold of an earlier agent."""
        self.clock = ClockOffset()
        self.lease = MasterLease()
        self.engines = Engines(engines)
        self._desired = Desired(
            worker=worker,
            engines=self.engines,
            epoch=epoch,
            script_digest=script_digest,
            first_revision=first_revision,
        )
        self._worker = worker
        self._attempt = attempt
        self._effects: list[Effect] = []
        self._is_welcome = False
        self._is_refused = False
        self._beats = 0
        self._trip: RoundTrip | None = None
        self._started_at_ns: dict[tuple[int, int], int] = {}
        self._kill_ns: int | None = None
        self._has_launcher = False
        self._launcher_left_ns: int | None = None
        self._terminated_ns: int | None = None
        self._ended_ns: int | None = None
        self._has_said_bye = False
        self._finish: Finish | None = None

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that was seen; masters of lower ones are not obeyed."""
        return self._desired.epoch

    @property
    def applied(self) -> Held | None:
        """The common configuration that every engine has applied."""
        return self._desired.applied

    @property
    def is_refused(self) -> bool:
        """Whether the master does not want this agent, so that it need not come back."""
        return self._is_refused

    @property
    def finish(self) -> Finish | None:
        """How it ended; None before the end."""
        return self._finish

    def take(self) -> tuple[Effect, ...]:
        """Return what is to be done, oldest first, and forget it."""
        effects = tuple(self._effects)
        self._effects.clear()
        return effects

    # The master's side.

    def welcome(self, epoch: int, lease_ns: int) -> None:
        """Begin with a master on a new connection: it is told everything anew."""
        if epoch < self._desired.epoch:
            self._effects.append(HangUp())
            return
        self._desired.epoch = epoch
        self._is_welcome = True
        self._has_said_bye = False
        self.lease.set_duration(lease_ns)
        self.clock.forget()
        for view in self.engines:
            view.received = 0
        self._effects += [Beat(), Pings(QUICK_PINGS), RetellStates()]
        self._effects += [SayEnd(end) for end in self.engines.ends()]
        self._say_bye()

    def refuse(self, code: RefusalCode, now_ns: int) -> None:
        """Stop at once: another attempt of this worker has taken its place, or the run is not for it."""
        self._is_refused = True
        self._halt(f"the master refused this worker: {code}", grace_ns=0, now_ns=now_ns)

    def disconnect(self) -> None:
        """Note that the connection has ended: load goes on while the lease runs."""
        self._is_welcome = False

    def offer(self, common: Common, now_ns: int) -> None:
        """Weigh a common configuration; the next heartbeat says what came of it."""
        if self._desired.offer(common):
            self._configure()
            if common.run_order is RunOrder.STOPPED:
                self._limit(common.graceful_stop_ns + KILL_AFTER_GRACE_NS, now_ns)
            self._desired.look_for_applied()
        self._effects.append(Beat())

    def assign(self, assignment: Assignment) -> None:
        """Take this worker's part of the load; the next heartbeat says which is applied."""
        if self._desired.assign(assignment):
            self._configure()
        else:
            self._effects.append(Beat())

    def acknowledge(self, number: int, epoch: int, now_ns: int) -> None:
        """Extend the lease: the master has had this heartbeat."""
        if epoch >= self._desired.epoch and self.lease.acknowledge(number):
            self._lend(now_ns)

    def pong(self, trip: RoundTrip) -> None:
        """Learn the master's clock; what waited for it goes on."""
        self.clock.add(trip)
        self._trip = self.clock.best(trip.received_ns) or self._trip
        if self._trip is not None and self._desired.know_offset(self._trip.offset_ns):
            self._configure()

    def deliver(self, engine: int, start: int, received: int) -> None:
        """Note which state of a stream the master has."""
        view = self.engines.get(engine, start)
        view.received = max(view.received, received)
        self._say_bye()

    def leave(self, now_ns: int, *, is_run_over: bool) -> None:
        """End: the master holds everything, or does not want more."""
        self._halt("the master let this worker go", grace_ns=0, now_ns=now_ns)
        self._finish_with(EXIT_RUN_OVER if is_run_over else EXIT_ENDED_EARLY, is_durable=self._has_said_bye)

    # The engines' side.

    def know(self, engine: int, start: int) -> bool:
        """Learn of an engine's process from its launcher; return False if there is no such engine here."""
        if not self.engines.accepts(engine, start):
            return False
        self.engines.get(engine, start)
        return True

    def join(self, engine: int, start: int) -> bool:
        """Begin with an engine on a new connection; return False if there is no such engine here."""
        if not self.know(engine, start):
            return False
        view = self.engines.get(engine, start)
        view.is_connected = True
        self._effects.append(Beat())
        self._effects += self._desired.orders([view])
        return True

    def part(self, engine: int, start: int, now_ns: int) -> None:
        """Note that an engine's connection has ended."""
        self.engines.get(engine, start).is_connected = False
        self._look_for_ends(now_ns)

    def report(self, engine: int, start: int, status: EngineStatus) -> None:
        """Take in what an engine says of itself."""
        is_news = self.engines.hear(self.engines.get(engine, start), status)
        self._desired.grants.take(engine, status.ranges_taken)
        if self._desired.look_for_applied() or is_news:
            self._effects.append(Beat())

    def hear_script(self) -> None:
        """Note that an engine has imported the script, or could not: the master should know at once."""
        self._effects.append(Beat())

    def hold(self, engine: int, start: int, *, sequence: int, is_final: bool, first_start_ns: int) -> None:
        """Note that a state of a stream is in the ledger."""
        view = self.engines.get(engine, start)
        view.sequence = max(view.sequence, sequence)
        view.has_final = view.has_final or is_final
        if first_start_ns and not view.first_start_ns:
            view.first_start_ns = first_start_ns
            self._effects.append(Beat())

    def bury(self, engine: int, start: int, end: ProcessEnd, *, now_ns: int) -> None:
        """Note that an engine's process has ended; said again after a reconnect, it changes nothing."""
        view = self.engines.get(engine, start)
        if view.process_end is None:
            view.process_end, view.process_end_ns = end, now_ns
            self._look_for_ends(now_ns)

    def conclude(self, engine: int, start: int, counters: Counters | None, *, now_ns: int) -> None:
        """Complete an engine's end with what its counters file said, None if there was none to read."""
        view = self.engines.get(engine, start)
        process_end = view.process_end or ProcessEnd()
        view.end = EngineEnd(
            stream=StreamId(self._worker, self._attempt, engine, start),
            is_clean=view.has_final,
            counters=counters,
            exit_code=process_end.exit_code,
            signal=process_end.signal,
            tail=process_end.tail,
            is_out_of_memory=process_end.is_out_of_memory,
            final_sequence=view.sequence,
        )
        self._effects += [Beat(), SayEnd(view.end)]
        if self.engines.have_ended():
            self._ended_ns = now_ns
        self._desired.look_for_applied()
        self._say_bye()

    # The launcher's side.

    def meet_launcher(self, now_ns: int) -> None:
        """Tell a launcher on a new connection what it was told before."""
        self._has_launcher = True
        self._launcher_left_ns = None
        self._lend(now_ns)
        if self._kill_ns is not None:
            self._effects.append(Deadline(max(0, self._kill_ns - now_ns) / SECOND))
        if self._finish is not None:
            self._effects.append(self._finish)

    def miss_launcher(self, now_ns: int) -> None:
        """Note that the launcher's connection has ended."""
        self._has_launcher = False
        self._launcher_left_ns = now_ns
        self._look_for_ends(now_ns)

    # Time, and the end.

    def terminate(self, now_ns: int) -> None:
        """Drain: SIGTERM came before the master said that this worker may go."""
        if self._terminated_ns is not None:
            return
        self._terminated_ns = now_ns
        common = self._desired.common
        wanted = common.graceful_stop_ns if common else 0
        self._halt("terminated", grace_ns=min(wanted, TERMINATION_GRACE_NS), now_ns=now_ns)
        self._effects.append(Beat())
        self._look_for_ends(now_ns)
        self._say_bye()

    def tick(self, now_ns: int) -> None:
        """Do what is due: the lease may have run out, an engine may be gone for good, it may be time to give up."""
        remaining_ns = self.lease.remaining_ns(now_ns)
        if remaining_ns is not None and remaining_ns <= 0 and self.engines.living():
            self._halt("the lease has run out", grace_ns=0, now_ns=now_ns)
        self._look_for_ends(now_ns)
        if self._is_hopeless(now_ns):
            self._finish_with(EXIT_ENDED_EARLY, is_durable=False)

    def summary(self, now_ns: int) -> Summary:
        """Return the next heartbeat's content; the lease will run from `now_ns` when it is acknowledged."""
        self._beats += 1
        if self._beats % PING_EVERY_BEATS == 0:
            self._effects.append(Pings(1))
        self.lease.beat(self._beats, now_ns)
        offset_ns = self._trip.offset_ns if self._trip else 0
        for view in self.engines:
            if view.first_start_ns and self._trip is not None:
                self._started_at_ns.setdefault((view.engine, view.start), view.first_start_ns + offset_ns)
        return Summary(
            number=self._beats,
            applied=self._desired.applied,
            assignment=self._desired.applied_assignment,
            conflict=self._desired.conflict,
            is_draining=self._terminated_ns is not None,
            offset_ns=offset_ns,
            round_trip_ns=self._trip.duration_ns if self._trip else 0,
            engines=tuple((view.engine, view.start) for view in self.engines.current()),
            started_at_ns=dict(self._started_at_ns),
        )

    def _configure(self) -> None:
        self._effects += self._desired.orders(view for view in self.engines.current() if view.is_connected)

    def _lend(self, now_ns: int) -> None:
        remaining_ns = self.lease.remaining_ns(now_ns)
        if remaining_ns is not None:
            self._effects.append(Lease(max(0, remaining_ns) / SECOND))

    def _halt(self, reason: str, *, grace_ns: int, now_ns: int) -> None:
        """Stop the load here, whatever the master's configuration says, now and later."""
        if not self._desired.stop(reason, grace_ns=grace_ns):
            return
        if not self._desired.is_complete:
            # Engines that were told nothing yet have nothing to finish.
            self._limit(0, now_ns)
            return
        self._limit(grace_ns + KILL_AFTER_GRACE_NS if grace_ns else KILL_AFTER_LEASE_NS, now_ns)
        self._configure()

    def _limit(self, duration_ns: int, now_ns: int) -> None:
        """Have the launcher kill what lives after a duration; never later than said before."""
        moment_ns = now_ns + duration_ns
        if self._kill_ns is None or moment_ns < self._kill_ns:
            self._kill_ns = moment_ns
            self._effects.append(Deadline(duration_ns / SECOND))

    def _look_for_ends(self, now_ns: int) -> None:
        if self._is_launcher_lost(now_ns):
            for view in self.engines:
                if not view.is_connected and view.process_end is None:
                    view.process_end, view.process_end_ns = ProcessEnd(), now_ns
        for view in self.engines:
            if view.may_conclude(now_ns):
                view.is_concluding = True
                self._effects.append(Conclude(view.engine, view.start))

    def _is_launcher_lost(self, now_ns: int) -> bool:
        """Return whether the launcher, without which no engine lives, is known to be gone."""
        if self._has_launcher or self._launcher_left_ns is None:
            return False
        # The kubelet ends the agent's container only after the launcher's.
        return self._terminated_ns is not None or now_ns - self._launcher_left_ns >= LAUNCHER_ABSENT_NS

    def _is_over(self) -> bool:
        """Return whether no engine will say anything any more."""
        if self.engines.have_ended():
            return True
        is_abandoned = self._terminated_ns is not None and not self._has_launcher
        return is_abandoned and all(view.end is not None for view in self.engines)

    def _say_bye(self) -> None:
        if not self._is_welcome or self._has_said_bye or not self._is_over():
            return
        if all(view.is_delivered for view in self.engines):
            self._has_said_bye = True
            self._effects.append(SayBye(self.engines.ends(), self._reason()))

    def _reason(self) -> str:
        if self._terminated_ns is not None:
            return "terminated"
        if not all(end.is_clean for end in self.engines.ends()):
            return "engine lost"
        return self._desired.stop_reason or "ended"

    def _is_hopeless(self, now_ns: int) -> bool:
        """Return whether waiting for the master's last word makes no sense any more."""
        if self._finish is not None:
            return False
        if self._terminated_ns is not None:
            since_ns = max(self._terminated_ns, self._ended_ns or 0)
            has_nothing = self._is_over() and not any(view.sequence for view in self.engines)
            is_late = self._is_over() and now_ns - since_ns >= FLUSH_NS
            return (
                is_late or (has_nothing and not self._is_welcome) or now_ns - self._terminated_ns >= TERMINATION_MAX_NS
            )
        if self._is_refused:
            return self._is_over() or not self._has_launcher
        return self._ended_ns is not None and now_ns - self._ended_ns >= MASTER_AWAITED_NS

    def _finish_with(self, exit_code: int, *, is_durable: bool) -> None:
        if self._finish is None:
            self._finish = Finish(exit_code, is_durable=is_durable)
            self._effects.append(self._finish)
