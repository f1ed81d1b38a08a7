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
    Act,
    Assignment,
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
    SayEnd,
    Summary,
)
from loadstone_runner.agent.engines import Engines
from loadstone_runner.agent.farewell import Farewell
from loadstone_runner.agent.lease import Lease as MasterLease
from loadstone_runner.agent.silence import Silence

if TYPE_CHECKING:
    from loadstone_core.load.lots import Share
    from loadstone_core.register import Held
    from loadstone_core.stats.stream import Counters
    from loadstone_protocol.messages import Granted

SECOND: Final = 1_000_000_000
QUICK_PINGS: Final = 5
PING_EVERY_BEATS: Final = 5
KILL_AFTER_GRACE_NS: Final = 5 * SECOND
KILL_AFTER_LEASE_NS: Final = 2 * SECOND
TERMINATION_GRACE_NS: Final = 10 * SECOND
SILENCE_LEAST_NS: Final = 5 * SECOND  # a few heartbeats on a slow path
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
        self._silence = Silence()
        self._beats = 0
        self._trip: RoundTrip | None = None
        self._started_at_ns: dict[tuple[int, int], int] = {}
        self._kill_ns: int | None = None
        self._farewell = Farewell(self.engines)

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that was seen; masters of lower ones are not obeyed."""
        return self._desired.epoch

    @property
    def applied(self) -> Held | None:
        """The common configuration that every engine has applied; None while no start could be told to them.

        So the start is not ordered before the master knows how far away this agent is.
        """
        return self._desired.applied if self._trip is not None else None

    @property
    def common(self) -> Common | None:
        """The common configuration that is held."""
        return self._desired.common

    @property
    def granted(self) -> tuple[Granted, ...]:
        """How much each engine has been granted so far."""
        return self._desired.granted

    def shares(self, now_ns: int) -> tuple[Share, ...]:
        """Return what the engines do of the load; nothing once it was stopped here, or has to be now."""
        remaining_ns = self.lease.remaining_ns(now_ns)
        is_over = remaining_ns is not None and remaining_ns <= 0
        return () if is_over or self._desired.stop_reason else self._desired.shares

    def since_start_ns(self, monotonic_ns: int) -> int:
        """Return how long ago the load started, negative if it has not."""
        return monotonic_ns - self._desired.start_ns if self._desired.start_ns else -SECOND

    @property
    def is_refused(self) -> bool:
        """Whether the master does not want this agent, so that it need not come back."""
        return self._farewell.is_refused

    @property
    def finish(self) -> Finish | None:
        """How it ended; None before the end."""
        return self._farewell.finish

    def take(self) -> tuple[Effect, ...]:
        """Return what is to be done, oldest first, and forget it."""
        effects = tuple(self._effects)
        self._effects.clear()
        return effects

    # The master's side.

    def welcome(self, epoch: int, lease_ns: int, *, wants_inheritance: bool = False) -> None:
        """Begin with a master on a new connection: it is told everything anew."""
        if self._farewell.is_refused or epoch < self._desired.epoch:
            self._effects.append(HangUp(f"its epoch {epoch} is over here"))
            return
        if epoch > self._desired.epoch:
            # Another master, maybe on another machine: what was learned of the old one's clock is void.
            self._trip = None
            self.clock.forget()
            self._started_at_ns.clear()
            self._desired.change_epoch(epoch)
        self._is_welcome = True
        self._silence.end()
        self._farewell.forget_bye()
        self._desired.await_assignment()
        self.lease.set_duration(lease_ns)
        for view in self.engines:
            view.received = 0
        if wants_inheritance:
            self._effects.append(Act.BEQUEATH)
        self._effects += [Act.BEAT, Pings(QUICK_PINGS), Act.RETELL_STATES]
        self._effects += [SayEnd(end) for end in self.engines.ends()]
        self._say_bye()

    def refuse(self, code: RefusalCode, now_ns: int) -> None:
        """Stop at once: another attempt of this worker has taken its place, or the run is not for it."""
        self._farewell.is_refused = True
        self._is_welcome = False
        self._halt(f"the master refused this worker: {code}", grace_ns=0, now_ns=now_ns)

    def disconnect(self) -> None:
        """Note that the connection has ended: load goes on while the lease runs."""
        self._is_welcome = False

    def offer(self, common: Common, now_ns: int) -> None:
        """Weigh a common configuration; the next heartbeat says what came of it."""
        if self._desired.offer(common):
            if common.run_order is RunOrder.STOPPED:
                self._limit(0 if common.is_kill else common.graceful_stop_ns + KILL_AFTER_GRACE_NS, now_ns)
            self._configure()
            self._desired.look_for_applied()
        self._effects.append(Act.BEAT)

    def assign(self, assignment: Assignment) -> None:
        """Take this worker's part of the load; the next heartbeat says which is applied."""
        if self._desired.assign(assignment):
            self._configure()
        else:
            self._effects.append(Act.BEAT)

    def acknowledge(self, number: int, epoch: int, now_ns: int) -> None:
        """Extend the lease: the master has had this heartbeat."""
        if epoch >= self._desired.epoch and self.lease.acknowledge(number):
            self._silence.end()
            self._lend(now_ns)

    def pong(self, trip: RoundTrip) -> None:
        """Learn the master's clock; what waited for it goes on."""
        self.clock.add(trip)
        is_first, best = self._trip is None, self.clock.best(trip.received_ns)
        if best is None:
            return
        self._trip = best
        is_settled = self.clock.is_settled(trip.received_ns)
        if is_settled and self._desired.know_offset(best.offset_ns, best.duration_ns):
            self._configure()
        if is_first:
            self._effects.append(Act.BEAT)

    def deliver(self, engine: int, start: int, received: int) -> None:
        """Note which state of a stream the master has."""
        view = self.engines.find(engine, start)
        if view is not None:
            view.received = max(view.received, received)
            self._say_bye()

    def leave(self, now_ns: int, *, is_run_over: bool) -> None:
        """End: the master holds everything, or does not want more."""
        if self.engines.living():
            self._halt("the master let this worker go", grace_ns=0, now_ns=now_ns)
        self._add(self._farewell.end(EXIT_RUN_OVER if is_run_over else EXIT_ENDED_EARLY))

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
        self._effects.append(Act.BEAT)
        self._effects += self._desired.orders([view])
        return True

    def part(self, engine: int, start: int, now_ns: int) -> None:
        """Note that an engine's connection has ended."""
        self.engines.get(engine, start).is_connected = False
        self._look_for_ends(now_ns)

    def report(self, engine: int, start: int, status: EngineStatus) -> None:
        """Take in what an engine says of itself."""
        is_news = self.engines.hear(self.engines.get(engine, start), status)
        # Users that wait for numbers must not wait for the next heartbeat, too.
        if self._desired.look_for_applied() or is_news or status.is_starving:
            self._effects.append(Act.BEAT)

    def hear_script(self) -> None:
        """Note that an engine has imported the script, or could not: the master should know at once."""
        self._effects.append(Act.BEAT)

    def hold(self, engine: int, start: int, *, sequence: int, is_final: bool, first_start_ns: int) -> None:
        """Note that a state of a stream is in the ledger."""
        view = self.engines.get(engine, start)
        view.sequence = max(view.sequence, sequence)
        view.has_final = view.has_final or is_final
        if first_start_ns and not view.first_start_ns:
            view.first_start_ns = first_start_ns
            self._effects.append(Act.BEAT)

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
        self._effects += [Act.BEAT, SayEnd(view.end)]
        self._farewell.look_for_end(now_ns)
        self._desired.look_for_applied()
        self._say_bye()

    def owe_logs(self, *, owes: bool) -> None:
        """Note whether the master lacks something of the log: the last word waits for it, for a while."""
        self._farewell.owes_logs = owes
        if not owes:
            self._say_bye()

    # The launcher's side.

    def meet_launcher(self, now_ns: int) -> None:
        """Tell a launcher on a new connection what it was told before."""
        self._farewell.meet_launcher()
        self._lend(now_ns)
        if self._kill_ns is not None:
            self._effects.append(Deadline(max(0, self._kill_ns - now_ns) / SECOND))
        self._add(self._farewell.finish)

    def miss_launcher(self, now_ns: int) -> None:
        """Note that the launcher's connection has ended."""
        self._farewell.miss_launcher(now_ns)
        self._look_for_ends(now_ns)

    # Time, and the end.

    def terminate(self, now_ns: int) -> None:
        """Drain: SIGTERM came before the master said that this worker may go."""
        if self._farewell.terminated_ns is not None:
            return
        self._farewell.terminated_ns = now_ns
        common = self._desired.common
        wanted = common.graceful_stop_ns if common else 0
        self._halt("terminated", grace_ns=min(wanted, TERMINATION_GRACE_NS), now_ns=now_ns)
        self._effects.append(Act.BEAT)
        self._look_for_ends(now_ns)
        self._say_bye()

    def tick(self, now_ns: int) -> None:
        """Do what is due: the lease may have run out, an engine may be gone for good, it may be time to give up."""
        remaining_ns = self.lease.remaining_ns(now_ns)
        if remaining_ns is not None and remaining_ns <= 0 and self.engines.living():
            self._halt("the lease has run out", grace_ns=0, now_ns=now_ns)
        self._look_for_ends(now_ns)
        if self._farewell.give_logs_up(now_ns):
            self._say_bye()
        # Half of the lease is left to find the master, or another.
        if self._is_welcome and self._silence.exceeds(max(self.lease.duration_ns // 2, SILENCE_LEAST_NS), now_ns):
            self._silence.end()
            self._effects.append(HangUp("it acknowledges no heartbeat any more"))
        self._add(self._farewell.give_up(EXIT_ENDED_EARLY, now_ns, is_welcome=self._is_welcome))

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
            applied=self.applied,
            assignment=self._desired.applied_assignment,
            conflict=self._desired.conflict,
            is_draining=self._farewell.terminated_ns is not None,
            offset_ns=offset_ns,
            round_trip_ns=self._trip.duration_ns if self._trip else 0,
            start_off_by_ns=self._desired.start_off_by_ns,
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
        self._farewell.bury_orphans(now_ns)
        for view in self.engines:
            if view.may_conclude(now_ns):
                view.is_concluding = True
                self._effects.append(Conclude(view.engine, view.start))

    def _say_bye(self) -> None:
        if self._is_welcome:
            self._add(self._farewell.bye(self._desired.stop_reason))

    def _add(self, effect: Effect | None) -> None:
        if effect is not None:
            self._effects.append(effect)
