"""Scripted engines: what makes load behind the Unix socket of an agent, and counts by itself what it sends.

An engine does what the real one does as far as others can see it: the users of its lots, one iteration after another,
each with a row that nobody else may have; a state and a status each second; counters in a file that outlives it. It
counts by itself, in `Sent`, what a target would have counted. Counters, grants, lease, recorder and reports are the
real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.stateful.arrivals import Arrival, Arrivals
from tests.stateful.clockwork import SECOND, Machine, Process
from tests.stateful.peers import Peer

from loadstone_core.load.grant import of_feeder, of_iterations
from loadstone_core.load.pacing import targets
from loadstone_core.load.profile import Model
from loadstone_core.stats.recorder import Recorder
from loadstone_protocol import framing
from loadstone_protocol.allotment import grants_from_messages, shares_from_messages
from loadstone_protocol.codec import scenarios_from_messages, stream_state_to_message
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.counters import (
    COMPLETED,
    ITERATIONS_COMPLETED,
    ITERATIONS_STARTED,
    STARTED,
    CounterFile,
)
from loadstone_runner.engine.grants import Grants
from loadstone_runner.engine.lease import Lease
from loadstone_runner.engine.reports import Reports

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from tests.stateful.network import Network

    from loadstone_core.load.lots import Lot
    from loadstone_core.load.profile import Profile
    from loadstone_core.load.scenario import Scenario
    from loadstone_core.stats.stream import StreamId

FEEDER = "rows"
SEATS_MOST = 100  # of a rate: as the real one has it for a small rate
Stage = engine_pb2.EngineStatus.Stage


@dataclass
class Sent:
    """What one start of an engine has sent, counted where it arrives.

    Attributes:
        requests: that were completed.
        iterations: that were begun.
        rows: of the feeder that its users took, and `numbers` of its iterations.
        users: places of the users that live now.
        arrivals: of a rate, that were begun; and `dues`, when these and those that were dropped were due.
        guests: users of a rate that live now, each for an iteration.
    """

    stream: StreamId
    requests: int = 0
    iterations: int = 0
    rows: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    users: set[int] = field(default_factory=set)
    arrivals: list[Arrival] = field(default_factory=list)
    dues: list[float] = field(default_factory=list)
    guests: set[int] = field(default_factory=set)
    process: Process | None = None

    @property
    def makes_load(self) -> bool:
        """Whether anything is sent now: not by the dead, and not by the frozen."""
        return self.process is not None and self.process.has_come_to_itself


class Engine(Peer):
    """One engine of one worker."""

    def __init__(  # noqa: PLR0915 all that an engine is begins here
        self, network: Network, folder: Path, process: Process, *, number: int, dice: random.Random, sent: Sent
    ) -> None:
        self.sent = sent
        sent.process = process
        self._number = number
        self._dice = dice
        self._machine: Machine = process.machine
        self._decoder = framing.Decoder()
        counters = CounterFile(f"{folder}/engine-{number}-1.counters")
        self._counters = counters.slots
        self._recorder = Recorder()
        instruments: Any = SimpleNamespace(recorder=self._recorder, counters=counters)
        self._reports = Reports(instruments, sent.stream)
        self._lease = Lease(f"{folder}/lease")
        self._stage = Stage.LOADING
        self._config: engine_pb2.EngineConfig | None = None
        self._scenario: Scenario | None = None
        self._start_at_ns = 0
        self._begin_ns = 0
        self._holding = 0
        self._grants: dict[str, Grants] = {}
        self._taken_before: dict[str, int] = {}
        self._lots: dict[Lot, int] = {}
        self._wanted: dict[Lot, int] = {}
        self._drivers: dict[Lot, asyncio.Task[None]] = {}
        self._player: asyncio.Task[None] | None = None
        self._seats: dict[int, asyncio.Task[None]] = {}
        self._arrivals = Arrivals(process, begin=self._let_in, drop=self._recorder.dropped)
        self._let_in_count = 0
        self._retired: set[int] = set()
        self._leaving: set[int] = set()
        self._is_stopping = False
        self._final = 0
        self._closed_second = -1
        self._exit_code = 0
        process.signals[15] = lambda: self._terminate(10.0)
        process.on_thaw.append(self._look_at_lease)
        super().__init__(network, f"{folder}/agent.sock", process)
        process.call_later(dice.uniform(0.05, 0.5), self._load)

    # What it says.

    def introduce(self) -> None:
        self._decoder = framing.Decoder()
        hello = engine_pb2.EngineHello(role=engine_pb2.ENGINE_ROLE_ENGINE, engine=self._number, start=1, pid=2)
        self._say(hello=hello)
        if self._stage is not Stage.LOADING or self._config is not None:
            self._say(script=engine_pb2.ScriptReport(ok=True))
        if self._reports.sequence:
            self._report(is_full=True)
        self._say_status()

    def _say(self, **kind: Any) -> None:
        self.put(framing.encode(engine_pb2.EngineMessage(**kind).SerializeToString()))

    def _say_status(self) -> None:
        applied = 0 if self._config is None else self._config.revision
        status = engine_pb2.EngineStatus(
            stage=self._stage,
            applied_revision=applied,
            holding=self._holding,
            start_at_ns=self._start_at_ns,
            users=len(self._seats),
            leaving=len(self._leaving) + self._surplus,
            over=[0] if self._is_stopping else [],
        )
        for name, grants in self._grants.items():
            status.grants.add(
                name=name,
                known=grants.known,
                left=grants.left,
                per_second=max(0, grants.taken - self._taken_before.get(name, 0)),
                waiting=grants.waiting,
            )
        self._say(status=status)

    def _report(self, *, is_full: bool = False, is_final: bool = False) -> None:
        second = (self._machine.monotonic_ns() - self._start_at_ns) // SECOND if self._start_at_ns else -1
        second = second if is_final or not self._start_at_ns else second - 1
        self._closed_second = max(self._closed_second, second)
        state = self._reports.next_state(
            self._closed_second, users=[len(self._seats)], is_full=is_full, is_final=is_final
        )
        if is_final:
            self._final = state.sequence
        first_ns = self._begin_ns if self.sent.requests else 0
        self._say(state=stream_state_to_message(state, first_start_ns=first_ns))

    def _tick(self) -> None:
        if self._final:
            return
        self._look_at_lease()
        now_ns = self._machine.monotonic_ns()
        if self._start_at_ns and now_ns >= self._start_at_ns + SECOND:
            self._report()
        self._say_status()
        self._taken_before = {name: grants.taken for name, grants in self._grants.items()}
        wait_ns = SECOND - (now_ns - self._start_at_ns) % SECOND if 0 < self._start_at_ns <= now_ns else SECOND
        self._process.call_later(wait_ns / SECOND, self._tick)

    # What it hears.

    def data_received(self, data: bytes) -> None:
        for payload in self._decoder.feed(data):
            message = engine_pb2.ToEngine.FromString(payload)
            match message.WhichOneof("kind"):
                case "config" if message.config.stop_reason == "Killed":
                    pass  # as a script that holds the lock hears of nothing
                case "config":
                    self._configure(message.config)
                case "ack":
                    self._reports.acknowledge(message.ack.received)
                    if self._final and self._reports.acknowledged >= self._final:
                        self._process.end(self._exit_code)

    def _load(self) -> None:
        """Have the script imported."""
        self._say(script=engine_pb2.ScriptReport(ok=True))
        held, self._config = self._config, engine_pb2.EngineConfig()
        if held is not None:
            self._configure(held)
        self._tick()

    def _configure(self, config: engine_pb2.EngineConfig) -> None:
        held = self._config
        if held is not None and config.revision <= held.revision:
            return
        is_loaded = held is not None and (held.revision == 0 or self._stage is not Stage.LOADING)
        self._config = config
        if is_loaded:
            self._follow(config)
            self._say_status()

    def _follow(self, config: engine_pb2.EngineConfig) -> None:
        """Bring the load to where a configuration wants it."""
        if config.run_state == engine_pb2.STOPPED_STATE:
            self._stop(config.graceful_stop_ns / SECOND)
            return
        if self._is_stopping:
            return
        if self._stage is Stage.LOADING:
            self._stage = Stage.READY
        for grant in grants_from_messages(config.grants):
            self._grants.setdefault(grant.name, Grants()).extend(grant.first_range, grant.ranges)
        if config.run_state == engine_pb2.RUNNING_STATE and not self._start_at_ns:
            self._start_at_ns = config.start_at_ns
        if config.holding:
            self._hold(config)
        self._enter(*scenarios_from_messages(config.scenarios))

    def _enter(self, scenario: Any) -> None:
        """Begin a scenario, follow what has changed of it, or end it."""
        before, self._scenario = self._scenario, scenario
        if scenario.is_over:
            self._stop(scenario.graceful_stop_ns / SECOND)
        elif self._start_at_ns and scenario.start_ns is not None:
            is_other = before is None or (before.start_ns, before.load) != (scenario.start_ns, scenario.load)
            if not self._begin_ns or is_other:
                self._play(scenario, self._start_at_ns + scenario.start_ns)

    def _hold(self, config: engine_pb2.EngineConfig) -> None:
        """Have the users of these lots, and no others."""
        self._holding = config.holding
        before = self._lots
        self._lots = {each.lot: self._start_at_ns + each.from_ns for each in shares_from_messages(config.shares)}
        if self._has_rate:
            self._arrivals.hold(self._lots)
            return
        for lot in before.keys() - self._lots.keys():
            if lot in self._drivers:
                self._drivers.pop(lot).cancel()
            wanted = self._wanted.pop(lot, 0)
            kept = [each for each in self._lots.keys() - before.keys() if lot.has(each)]
            for piece in kept:
                self._wanted[piece] = piece.share(lot.first + wanted * lot.parts)
            for place in self._seats:
                if place % lot.parts == lot.first and not any(place % each.parts == each.first for each in kept):
                    self._leaving.add(place)
                    self._retired.add(place)
        if self._begin_ns and self._player is None:
            for lot in sorted(self._lots.keys() - before.keys()):
                self._drive(lot)

    # Users.

    def _play(self, scenario: Scenario, begin_ns: int) -> None:
        """Follow a profile from a moment on, and the one before until then."""
        if self._player is not None:
            self._player.cancel()
        self._arrivals.end_at(begin_ns)
        self._player = self._process.spawn(self._take_over(scenario, begin_ns))

    async def _take_over(self, scenario: Scenario, begin_ns: int) -> None:
        await self._sleep_until(begin_ns)
        self._halt()
        self._begin_ns = begin_ns
        self._player = None
        if self._stage is Stage.READY:
            self._stage = Stage.RUNNING
            self._say_status()
        if self._has_rate:
            self._arrivals.follow(scenario, begin_ns, self._lots)
        for lot in [] if self._has_rate else sorted(self._lots):
            if not scenario.load.profile.value_at(0):
                self._resize(lot, 0)
            self._drive(lot)
        end_ns = scenario.load.profile.end_ns
        if end_ns is not None:
            wait = self._machine.seconds_until(begin_ns + end_ns)
            self._process.call_later(wait, self._end_profile, scenario)

    def _end_profile(self, scenario: Scenario) -> None:
        if scenario is self._scenario or (self._scenario and scenario.load == self._scenario.load):
            self._stop(scenario.graceful_stop_ns / SECOND)

    def _halt(self) -> None:
        for driver in self._drivers.values():
            driver.cancel()
        self._drivers.clear()
        self._arrivals.stop()

    def _drive(self, lot: Lot) -> None:
        scenario = self._scenario
        if scenario is not None and not self._is_stopping:
            driver = self._process.spawn(self._follow_profile(lot, scenario.load.profile, self._begin_ns))
            self._drivers[lot] = driver

    async def _follow_profile(self, lot: Lot, profile: Profile, begin_ns: int) -> None:
        from_ns, reached = self._lots[lot], 0
        for after_ns, users in targets(profile, *lot):
            at_ns = max(begin_ns + after_ns, from_ns)
            if at_ns > self._machine.monotonic_ns():
                self._resize(lot, reached)
                await self._sleep_until(at_ns)
            reached = users
        self._resize(lot, reached)

    async def _sleep_until(self, at_ns: int) -> None:
        while (left := self._machine.seconds_until(at_ns)) > 0:  # noqa: ASYNC110 a clock sets no event
            await asyncio.sleep(left + 1e-6)

    def _resize(self, lot: Lot, wanted: int) -> None:
        """Have users in the first places of a lot, and let its others go after their iteration."""
        before, self._wanted[lot] = self._wanted.get(lot, 0), wanted
        for turn in range(wanted, before):
            self._retired.add(lot.first + turn * lot.parts)
        for turn in range(before, wanted):
            place = lot.first + turn * lot.parts
            self._retired.discard(place)
            self._leaving.discard(place)
            if place not in self._seats:
                self._seats[place] = self._process.spawn(self._live(place))
                self.sent.users.add(place)

    async def _live(self, place: int) -> None:
        """Be one user."""
        try:
            while place not in self._retired:
                await self._iterate()
        except asyncio.CancelledError:
            self._retired.add(place)
        self._left(place)

    @property
    def _has_rate(self) -> bool:
        return self._scenario is not None and self._scenario.load.model is Model.RATE

    def _let_in(self, arrival: Arrival, seconds_late: float) -> None:
        """Begin an iteration of a rate, on a user of its own."""
        self.sent.dues.append(self._process.now - seconds_late)
        if len(self._seats) >= self._seats_most:
            self._recorder.dropped(1)
            return
        self.sent.arrivals.append(arrival)
        self._let_in_count += 1
        seat = -self._let_in_count  # users of a closed load have their places
        self._seats[seat] = self._process.spawn(self._visit(seat))
        self.sent.guests.add(seat)

    @property
    def _seats_most(self) -> int:
        most = None if self._scenario is None else self._scenario.load.max_users
        return SEATS_MOST if most is None else sum(lot.share(most) for lot in self._lots)

    @property
    def _surplus(self) -> int:
        """How many users of a rate there are beyond this engine's part of those that may be."""
        return max(0, len(self._seats) - self._seats_most) if self._has_rate else 0

    async def _visit(self, seat: int) -> None:
        """Be a user for one iteration."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._iterate()
        was_surplus = self._surplus
        self._seats.pop(seat, None)
        self.sent.guests.discard(seat)
        if was_surplus and not self._surplus:
            self._process.call_later(0.02, self._say_status)

    async def _iterate(self) -> None:
        """Do one iteration: a row, and a request."""
        scenario = self._scenario
        assert scenario is not None
        if scenario.load.model is Model.ITERATIONS:
            number = await self._take(of_iterations(scenario.name))
            if number is None:
                return
            self.sent.numbers.append(number)
        row = await self._take(of_feeder(FEEDER))
        if row is None:
            return
        self.sent.rows.append(row)
        self.sent.iterations += 1
        self._counters[ITERATIONS_STARTED] += 1
        self._counters[STARTED] += 1
        latency = self._dice.uniform(0.2, 1.5)
        await asyncio.sleep(latency)
        self.sent.requests += 1
        self._counters[COMPLETED] += 1
        took_ns = int(latency * SECOND)
        self._recorder.request(
            method="GET", name="/", latency_ns=took_ns, service_ns=took_ns, failed=False, unsent=False,
            ambiguous=False, interrupted=False, sent=10, received=10,
        )  # fmt: skip
        self._counters[ITERATIONS_COMPLETED] += 1
        self._recorder.iteration("task", took_ns)

    async def _take(self, name: str) -> int | None:
        """Return the next number of a name, waiting for it; None when the load is over for this engine."""
        grants = self._grants.setdefault(name, Grants())
        while (number := grants.take()) is None:
            if self._is_stopping:
                return None
            grants.waiting += 1
            self._process.call_later(0.02, self._say_status)
            await asyncio.sleep(0.25)
            grants.waiting -= 1
            if name != of_feeder(FEEDER) and self._retires_now():
                return None
        return number

    def _retires_now(self) -> bool:
        task = asyncio.current_task()
        return any(self._seats.get(place) is task for place in self._retired)

    def _left(self, place: int) -> None:
        self._seats.pop(place, None)
        self.sent.users.discard(place)
        was_retired = place in self._retired
        self._retired.discard(place)
        if place in self._leaving:
            self._leaving.discard(place)
            if not self._leaving:
                self._process.call_later(0.02, self._say_status)
        wanted = any(_has(lot, place, users) for lot, users in self._wanted.items())
        if wanted and not was_retired and not self._is_stopping:
            self._seats[place] = self._process.spawn(self._live(place))
            self.sent.users.add(place)

    # The end.

    def _look_at_lease(self) -> None:
        """Make no more load if the lease has run out."""
        if self._lease.is_over(self._machine.boottime_ns()):
            self._terminate(0.0)

    def _terminate(self, grace: float) -> None:
        if self._stage in {Stage.LOADING, Stage.READY, Stage.RUNNING}:
            self._exit_code = 143
        self._stop(grace)

    def _stop(self, grace: float) -> None:
        """Begin no further iteration; running ones may take so long."""
        if not self._is_stopping:
            self._is_stopping = True
            self._halt()
            if self._player is not None:
                self._player.cancel()
            self._wanted.clear()
            self._retired.update(self._seats)
            self._stage = Stage.STOPPING
            self._say_status()
            self._process.spawn(self._drain())
        if grace:
            self._process.call_later(grace, self._end_users)
        else:
            self._end_users()

    def _end_users(self) -> None:
        for seat in self._seats.values():
            seat.cancel()
        self.sent.users.clear()
        self.sent.guests.clear()

    async def _drain(self) -> None:
        while self._seats:  # noqa: ASYNC110 this is how the real one looks
            await asyncio.sleep(0.05)
        self._stage = Stage.ENDED
        self._report(is_full=True, is_final=True)
        self._say_status()
        await asyncio.sleep(10)
        self._process.end(self._exit_code or 1)


def _has(lot: Lot, place: int, users: int) -> bool:
    return place in range(lot.first, lot.first + users * lot.parts, lot.parts)
