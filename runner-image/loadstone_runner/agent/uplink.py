"""Stand between the session and its master: say hello, answer, beat, ask for the time; pass on what the master says.

Decisions are the session's; the connection is `transport`'s.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Final

from loadstone_core import __version__
from loadstone_protocol.codec import WireError
from loadstone_protocol.credentials import read_pems
from loadstone_protocol.messages import Peer
from loadstone_protocol.v1 import coordination_pb2
from loadstone_runner.agent import messages
from loadstone_runner.system_clock import machine_boot
from loadstone_runner.transport.grpc.bulk import BulkEnd
from loadstone_runner.transport.grpc.bulk_client import BulkClient
from loadstone_runner.transport.grpc.client import MasterClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadstone_core.clock import Clock
    from loadstone_protocol.messages import EngineEnd
    from loadstone_runner.agent.effects import SayBye
    from loadstone_runner.agent.health import Health
    from loadstone_runner.agent.logs import LogEnd
    from loadstone_runner.agent.relay import Relay
    from loadstone_runner.agent.session import Session
    from loadstone_runner.settings import AgentSettings


_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# What a state of 50 series takes a master, so that a thousand workers fill most of a second, one after another.
_TURN_SECONDS: Final = 0.00075
_TURNS: Final = 1_000


def turn_seconds(worker: int) -> float:
    """Return how long after the end of a second a worker reports it.

    Seconds end for all workers at once. Reported at once, those of a large run would keep heartbeats waiting.
    """
    return worker % _TURNS * _TURN_SECONDS


class Uplink:
    """The master's side of an agent, a ClientListener.

    Attributes:
        bulk: this agent's outboxes and inboxes, on a connection of their own.
    """

    def __init__(
        self,
        settings: AgentSettings,
        session: Session,
        *,
        clock: Clock,
        health: Health,
        script_digest: str,
        react: Callable[[], None],
    ) -> None:
        """Begin without a connection; `react` carries out what the session wants done.

        Raises:
            OSError: certificate, key or authority cannot be read.
        """
        self._session = session
        self._clock = clock
        self._health = health
        self._react = react
        who = (settings.run_uid, settings.worker, settings.attempt, os.urandom(8).hex(), settings.pod)
        self._peer = Peer(*who, clock.boottime_ns(), machine_boot())
        self._script_digest = script_digest
        self._engines = settings.engines
        pems = read_pems(settings.tls_dir)
        self._client = MasterClient(settings.master, self, run_uid=settings.run_uid, pems=pems)
        self.bulk = BulkEnd()
        self._bulk_client = BulkClient(self.bulk, run_uid=settings.run_uid, pems=pems, on_bad_frame=self._blame)
        self._relay: Relay
        self._connection: asyncio.Task[None] | None = None
        self._waiting: list[coordination_pb2.StatisticsFrame] = []  # for this worker's turn
        self._pings_left = 0
        self._beat_is_due = False

    def connect(self, relay: Relay) -> None:
        """Look for the master, and stay with it, until `close`; `relay` knows the engines."""
        self._relay = relay
        self.bulk.passage = relay
        relay.pass_on = self.bulk.pass_on
        self._connection = asyncio.create_task(self._client.run())

    def check(self) -> None:
        """Raise what ended the search for a master, if anything did: without it this agent is of no use."""
        if self._connection is not None and self._connection.done() and not self._connection.cancelled():
            self._connection.result()
        self._bulk_client.check()

    def leave(self) -> None:
        """Stop looking for a master."""
        self._bulk_client.close()
        if self._connection is not None:
            self._connection.cancel()

    async def close(self) -> None:
        """Leave, and wait until the connection is closed."""
        self.leave()
        if self._connection is not None:
            await asyncio.gather(self._connection, return_exceptions=True)

    # What the master says.

    def on_open(self) -> None:
        """Say hello."""
        self._pings_left = 0
        hello = messages.hello_message(
            self._peer,
            version=__version__,
            script_digest=self._script_digest,
            engines=self._engines,
            applied=self._session.applied,
            highest_epoch=self._session.highest_epoch,
        )
        self._client.say(hello)

    def on_message(self, message: coordination_pb2.MasterMessage) -> None:
        """Take in what the master says; what cannot be meant is counted and dropped."""
        try:
            self._hear(message)
        except WireError as error:
            self._blame(error)
        self._react()

    def on_acknowledged(self, ack: coordination_pb2.StatisticsAck) -> None:
        """Take note of what the master has of a stream."""
        self._session.deliver(ack.stream.engine, ack.stream.start, ack.received)
        if ack.want_full:
            for frame in self._relay.whole_states(ack.stream.engine):
                self._client.report(frame)
        self._react()

    def whole_states(self) -> list[coordination_pb2.StatisticsFrame]:
        """Return everything that engines have reported."""
        return self._relay.whole_states()

    def on_closed(self, why: str) -> None:
        """Note that there is no master."""
        self._health.connection_lost(why)
        self._bulk_client.close()
        self._session.disconnect()
        self._react()

    # What the master is told.

    def report(self, frame: coordination_pb2.StatisticsFrame) -> None:
        """Pass a state on, when it is this worker's turn in the second; a last one at once, behind those before it."""
        self._waiting.append(frame)
        if frame.state.final:
            self._pass_on()
        else:
            asyncio.get_running_loop().call_later(turn_seconds(self._peer.worker), self._pass_on)

    def _pass_on(self) -> None:
        """Send all that waits: what comes later must not come first, as an older state is none any more."""
        for frame in self._waiting:
            self._client.report(frame)
        self._waiting.clear()

    def open_streams(self) -> None:
        """Begin the other streams with this master: statistics with everything, bulk with what is not durable."""
        peer = messages.peer_message(self._peer)
        self._client.open_statistics(coordination_pb2.StatisticsFrame(peer=peer))
        self._bulk_client.open(self._client.target, peer)

    def hang_up(self, why: str) -> None:
        """Leave this master and look for one anew."""
        _say(f"left the master: {why}")
        self._client.hang_up()

    def bequeath(self) -> None:
        """Tell a master that has taken over what is held of the one before."""
        session = self._session
        since_start_ns = session.since_start_ns(self._clock.monotonic_ns())
        shares = session.shares(self._clock.boottime_ns())
        self._client.say(messages.inheritance_message(session.common, since_start_ns, session.granted, shares))

    def say_end(self, end: EngineEnd) -> None:
        """Say that an engine's process has ended."""
        self._client.say(coordination_pb2.AgentMessage(engine_end=messages.end_message(end)))

    def say_bye(self, bye: SayBye, logs: Iterable[LogEnd]) -> None:
        """Say that nothing more will come, and how much was written to the log."""
        self._client.say(messages.bye_message(bye.ends, bye.reason, logs))

    def ask_for_time(self, times: int) -> None:
        """Ask for the master's clock; each question follows an answer, so that no two share a round trip."""
        self._pings_left += times
        self._ping()

    def beat_soon(self) -> None:
        """Send one heartbeat for everything that happens in this turn of the loop."""
        if not self._beat_is_due:
            self._beat_is_due = True
            asyncio.get_running_loop().call_soon(self._beat)

    def _blame(self, error: WireError) -> None:
        self._health.bad_messages += 1
        _say(f"the master sent something that cannot be meant: {error}")

    def _hear(self, message: coordination_pb2.MasterMessage) -> None:
        session, now_ns = self._session, self._clock.boottime_ns()
        match message.WhichOneof("kind"):
            case "ack":
                self._health.acknowledged += 1
                session.acknowledge(message.ack.number, message.ack.epoch, now_ns)
            case "pong":
                self._on_pong(message.pong)
            case "config":
                session.offer(messages.common_from_message(message.config), now_ns)
            case "assignment":
                session.assign(messages.assignment_from_message(message.assignment))
            case "welcome":
                self._health.connections += 1
                told = message.welcome
                session.welcome(told.epoch, told.lease_ns, wants_inheritance=told.wants_inheritance)
            case "refused":
                _say(f"the master refused this worker: {message.refused.detail}")
                session.refuse(messages.refusal_from_message(message.refused), now_ns)
            case "leave":
                session.leave(now_ns, is_run_over=message.leave.run_over)
            case _:
                raise WireError("a message of the master says nothing that is known here")

    def _on_pong(self, pong: coordination_pb2.Pong) -> None:
        self._session.pong(messages.trip_from_message(pong, received_ns=self._clock.monotonic_ns()))
        if self._pings_left > 0:
            self._ping()

    def _ping(self) -> None:
        self._pings_left -= 1
        self._client.say(messages.ping_message(self._clock.monotonic_ns()))

    def _beat(self) -> None:
        self._beat_is_due = False
        usage = self._health.usage
        summary = self._session.summary(self._clock.boottime_ns())
        self._health.heartbeats += 1
        self._health.clock_offset_ns = summary.offset_ns
        beat = coordination_pb2.Heartbeat(
            number=summary.number,
            sent_ns=self._clock.monotonic_ns(),
            applied=messages.version_message(summary.applied),
            applied_sha256=bytes.fromhex(summary.applied.digest) if summary.applied is not None else b"",
            assignment=summary.assignment,
            engines=self._relay.summaries(summary, usage),
            cpu_permille=usage.cpu_permille(),
            memory_bytes=self._health.memory_bytes(self._relay),
            memory_limit_bytes=usage.memory_limit_bytes,
            throttled_permille=usage.throttled_permille,
            cgroup_bytes=usage.cgroup_bytes,
            agent_memory_bytes=_resident_bytes(),
            agent_lag_ns=self._health.take_largest_lag_ns(),
            spool_bytes=self._relay.spool_bytes(),
            clock_offset_ns=summary.offset_ns,
            round_trip_ns=summary.round_trip_ns,
            start_off_by_ns=summary.start_off_by_ns,
            conflict=bool(summary.conflict),
            conflict_detail=summary.conflict,
            draining=summary.is_draining,
        )
        self._client.say(coordination_pb2.AgentMessage(heartbeat=beat))
        self._react()


def _resident_bytes() -> int:
    """Return the memory that this process really has."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 once a second, for each worker
        return int(file.read().split()[1]) * _PAGE_BYTES


def _say(sentence: str) -> None:
    sys.stderr.write(f"agent: {sentence}\n")
