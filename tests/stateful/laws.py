"""What must hold at every moment of every run, whatever breaks; `Laws` sees all that is said and all that is sent.

1. No user lives twice, and there are never more users than were asked for while somebody may not have heard of less.
2. No number is granted twice: no row of a feeder, no iteration. Of a rate no iteration is begun twice, and no more come
   due in any five seconds than were asked for, with what a change of the load costs; nor do more users live than may.
3. The configuration that an agent has applied never goes back in the life of its process.
4. A master that has taken in an attempt of a worker takes in no older one, and answers none.
5. What a master has of a stream is at least what it says to be durable, and that never goes back.
6. Totals only grow while one master lives, and after its restart in the same pod they hold at least what was durable.
7. No stream ends on the master's side but for a reason of its own worker: a newer connection, or a refusal.
8. In the end every request is in exactly one place: in the totals, in `unaccounted`, or behind `unaccountedAtLeast`,
   which is said only where something was lost of which nobody can know. So is every iteration in what was achieved.
9. Every process that ends by itself has left its last word, and the run has an outcome.
10. Once everything is healed, the load is whole again as soon as the leases allow; without the part of those that are
    lost for good where nobody is to take their place.
11. There is load only while no more workers are lost than may be. Where the loss of a worker, or of the master, is to
   end the run, it is an Error. Whether a worker that was added had ever come, a master in a new pod does not know
   before it comes: until then it counts as one that the load goes on without.
12. Once everything is healed, no more workers make load than are wanted.
13. Where an agent has been told that the run is killed, no engine lives any more; and a run of which somebody was told
    so is Aborted as Killed, and soon over.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from tests.stateful.clockwork import BEGINNING

from loadstone_core.stats.stream import StreamId
from loadstone_protocol.v1 import control_pb2, coordination_pb2
from loadstone_runner.master.service import EXIT_SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.stateful.clockwork import Process, VirtualTimeLoop
    from tests.stateful.engine import Sent
    from tests.stateful.network import Call, Network
    from tests.stateful.world import Pod

Who = tuple[int, int, str]  # worker, attempt, boot
AT_ONCE_SECONDS = 2.0
KILLED_WITHIN_SECONDS = 1.0  # also where an agent and its launcher have to find each other first
WINDOW_SECONDS = 5
# Of two machines the clocks, as the master knows them, and an engine that hears of another load behind its beginning.
CLOCKS_SECONDS, CHANGE_SECONDS = 0.5, 1.0


class BrokenLawError(AssertionError):
    """A law does not hold."""


class Laws:
    """Everything that was seen of one run, and whether it may be so.

    Attributes:
        sent: by stream, what its engine has sent.
        asked: (moment, users or iterations a second) of everything that was asked, oldest first.
        trace: what happened, for whoever has to understand a failure.
        most_guests: users that a rate may have.
        most_lost: workers that may be lost at a time while there is load.
        planned: how many workers the run began with.
        least_wanted: the fewest workers that were wanted at any time; others may be lost that were to leave.
        may_lose: streams of which something may be lost that nobody can count.
        killed: attempts of workers whose agents were told to kill, which process of theirs was, and when.
    """

    def __init__(  # noqa: PLR0915 all that is seen begins here
        self, loop: VirtualTimeLoop, network: Network, *, hearing_seconds: float, planned: int, most_lost: int
    ) -> None:
        self.loop = loop
        self.most_lost = most_lost
        self.planned = planned
        self.least_wanted = math.inf
        self.most_guests = math.inf
        self.sent: dict[StreamId, Sent] = {}
        self.asked: list[tuple[float, int]] = []
        self.trace: list[str] = []
        self.may_lose: set[StreamId] = set()
        self.killed: dict[tuple[int, int], tuple[Process, float]] = {}
        self.may_lose_ended = False
        self.restarted: set[tuple[int, int]] = set()  # (worker, attempt) whose agent was started again
        self.has_two_masters = False  # or had: each may grant rows of which the other does not know
        self.parted_at: list[float] = []
        self._said: dict[tuple[StreamId, int], int] = {}  # requests by the state with a sequence
        self._taken_by: dict[StreamId, int] = {}  # the master that last acknowledged a state of it
        self._told_by = 0  # the master that last said how the run is
        self._taken_in: dict[StreamId, list[tuple[float, int]]] = {}  # when a master said that it has so many
        self.masters_killed = 0
        self.heirs: set[str] = set()  # addresses of masters that have found somebody who knew of the one before
        # Attempts of workers that were let go, as all of theirs is durable, and when.
        self._left: dict[tuple[int, int], float] = {}
        self._hearing_seconds = hearing_seconds  # by then everybody has heard of less load, or makes none
        self._applied: dict[str, tuple[int, int]] = {}
        self._spoken: dict[str, float] = {}  # by boot: when the newest call was made on which it has said so
        # (id of the master, worker) -> attempt, and when that was heard
        self._newest: dict[tuple[int, int], tuple[int, float]] = {}
        self._calls: Counter[tuple[str, int]] = Counter()
        self._attempts: Counter[int] = Counter()  # the newest that has spoken, by worker
        self._durable: dict[tuple[int, ...], int] = {}
        self._durable_at: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)  # by master: another's disk is lost
        self._totals: dict[int, int] = {}
        self._kept: dict[str, int] = {}  # by master that was started again: how many requests were durable by then
        self._looked_at: dict[tuple[str, StreamId], int] = {}
        self._granted: dict[tuple[str, object], StreamId] = {}
        self._dues: Counter[int] = Counter()  # iterations of a rate, by the second in which they were due
        network.taps.append(self._hear)
        network.ended.append(self._see_end)

    def note(self, what: str) -> None:
        """Write down what happens."""
        self.trace.append(f"{self.loop.time() - BEGINNING:9.3f} {what}")

    def demand(self, holds: bool, what: str) -> None:  # noqa: FBT001 reads like an assertion
        if not holds:
            self.note(f"BROKEN: {what}")
            self.loop.complaints.append(what)  # where this is raised in a callback, nobody else hears of it
            raise BrokenLawError(what)

    # Load.

    def users(self) -> dict[int, list[Sent]]:
        """Return who has each user that lives and sends now."""
        living: dict[int, list[Sent]] = {}
        for each in self.sent.values():
            if each.makes_load:
                for place in each.users:
                    living.setdefault(place, []).append(each)
        return living

    def most_asked(self, at: float | None = None, until: float = math.inf) -> tuple[int, int]:
        """Return the most that somebody may believe to be asked for at a moment, and how often that has changed."""
        # Whoever is cut off with its master goes on with what was asked before.
        since = min([self.loop.time() if at is None else at, *self.parted_at]) - self._hearing_seconds
        recent = [users for moment, users in self.asked if since < moment <= until]
        before = [users for moment, users in self.asked if moment <= since]
        return max([*recent, *before[-1:]], default=0), len(recent)

    def look(self) -> None:
        """Look at the load of this moment."""
        living = self.users()
        twice = {place: [each.stream for each in held] for place, held in living.items() if len(held) > 1}
        self.demand(not twice, f"users live twice: {twice}")
        asked, _ = self.most_asked()
        self.demand(len(living) <= asked, f"{len(living)} users live, {asked} were asked for")
        self.demand(not self.loop.complaints, f"something broke: {self.loop.complaints[:3]}")
        guests = sum(len(each.guests) for each in self.sent.values() if each.guests and each.makes_load)
        self.demand(guests <= self.most_guests, f"{guests} users of a rate live, {self.most_guests} may")
        self._look_at_numbers()
        self._look_at_dues()

    def _look_at_dues(self) -> None:
        """Look whether more iterations of a rate came due in any window than were asked for."""
        touched: set[int] = set()
        for each in self.sent.values():
            for due in each.dues[self._looked_at.get(("due", each.stream), 0) :]:
                self._dues[int(due)] += 1
                touched.add(int(due))
            self._looked_at["due", each.stream] = len(each.dues)
        for first in {second - before for second in touched for before in range(WINDOW_SECONDS)}:
            begun = self.begun(first, first + WINDOW_SECONDS)
            asked, changes = self.most_asked(first, first + WINDOW_SECONDS)
            most = asked * (WINDOW_SECONDS + CLOCKS_SECONDS + CHANGE_SECONDS * changes) + len(self.engines) + 1
            self.demand(begun <= most, f"{begun} iterations of {WINDOW_SECONDS} s were begun, {most} were asked for")

    def begun(self, since: int, until: int) -> int:
        """Return how many iterations of a rate were begun that were due in these whole seconds."""
        return sum(self._dues[second] for second in range(since, until))

    @property
    def engines(self) -> set[tuple[int, int]]:
        """Return (worker, engine) of all that there ever were."""
        return {(name.worker, name.engine) for name in self.sent}

    def _look_at_numbers(self) -> None:
        for each in self.sent.values():
            for kind, taken in (("row", each.rows), ("iteration", each.numbers), ("arrival", each.arrivals)):
                key = (kind, each.stream)
                for number in taken[self._looked_at.get(key, 0) :]:
                    other = self._granted.setdefault((kind, number), each.stream)
                    self.demand(
                        other == each.stream or (kind == "row" and (self.has_two_masters or self._is_forgotten(other))),
                        f"{kind} {number} was granted to {other} and to {each.stream}",
                    )
                self._looked_at[key] = len(taken)

    def _is_forgotten(self, name: StreamId) -> bool:
        """Whether nobody may tell the next master of this engine's rows: it had ended, or its agent was a new one."""
        process = self.sent[name].process
        has_ended = process is None or not process.is_alive
        return self.may_lose_ended and (has_ended or (name.worker, name.attempt) in self.restarted)

    # Words.

    def _hear(self, call: Call, is_up: bool, content: bytes) -> None:  # noqa: FBT001 as taps are called
        match call.method, is_up:
            case "Control", True:
                self._hear_agent(call, coordination_pb2.AgentMessage.FromString(content))
            case "Control", False:
                self._hear_master(call, coordination_pb2.MasterMessage.FromString(content))
            case "Statistics", False:
                self._hear_ack(call, coordination_pb2.StatisticsAck.FromString(content))
            case "Statistics", True if call.who is not None:
                self._hear_state(coordination_pb2.StatisticsFrame.FromString(content).state)
            case "Statistics" | "Bulk", True if call.who is None:
                kind = coordination_pb2.BulkFrame if call.method == "Bulk" else coordination_pb2.StatisticsFrame
                self._meet(call, kind.FromString(content).peer)  # type: ignore[attr-defined]  # both have one
            case "Watch", False:
                self._hear_report(call, control_pb2.RunReport.FromString(content))

    def _meet(self, call: Call, peer: Any) -> None:
        call.who = (peer.worker, peer.attempt, peer.boot)
        self._calls[call.method, peer.worker] += 1
        call.turn = self._calls[call.method, peer.worker]
        self._attempts[peer.worker] = max(self._attempts[peer.worker], peer.attempt)
        call.hello_turn = self._calls["Control", peer.worker]

    def _hear_agent(self, call: Call, message: Any) -> None:
        kind = message.WhichOneof("kind")
        if kind == "hello":
            self._meet(call, message.hello.peer)
            self.note(f"worker {call.who[0]}.{call.who[1]} says hello to {call.connection.address[0]}")
        elif kind == "inheritance" and message.inheritance.config.version.revision:
            self.heirs.add(call.connection.address[0])
        elif kind == "heartbeat" and message.heartbeat.applied.revision:
            version = (message.heartbeat.applied.epoch, message.heartbeat.applied.revision)
            boot = call.who[2]
            # What travels on an older connection may come behind what was said on a newer one, its Hello as well.
            self._spoken[boot] = max(self._spoken.get(boot, 0.0), call.made_at)
            if call.made_at == self._spoken[boot]:
                before = self._applied.get(boot, (0, 0))
                self.demand(version >= before, f"{call.who} applied {version} after {before}")
                self._applied[boot] = version

    def _hear_master(self, call: Call, message: Any) -> None:
        kind = message.WhichOneof("kind")
        worker, attempt, _ = call.who
        if kind == "welcome":
            master = id(call.connection.server)
            newest, heard_at = self._newest.get((master, worker), (0, 0.0))
            # Two that came at the same moment are told in an order of their own.
            is_at_once = self.loop.time() - heard_at < AT_ONCE_SECONDS
            taken_in = f"attempt {attempt} of worker {worker} was taken in after {newest}"
            self.demand(attempt >= newest or is_at_once, taken_in)
            self._newest[master, worker] = (max(attempt, newest), self.loop.time())
            # What the older one did since its last report is lost if it had not ended: it is not heard any more.
            older = {name for name in self.sent if name.worker == worker and name.attempt < attempt}
            self.may_lose |= {name for name in older if (worker, name.attempt) not in self._left}
        elif kind in {"refused", "leave"}:
            call.is_dismissed = True
            if kind == "leave":
                self._left.setdefault((worker, attempt), self.loop.time())
            self.note(f"worker {worker}.{attempt} is told {kind}: {message.refused.detail}")
        elif kind == "config" and coordination_pb2.CommonBody.FromString(message.config.body).kill:
            self.note(f"worker {worker}.{attempt} is told to kill")
            self.killed.setdefault((worker, attempt), (call.connection.client, self.loop.time()))
            if self.killed[worker, attempt][0] is not call.connection.client:
                self.killed[worker, attempt] = (call.connection.client, self.loop.time())

    def look_at_killed(self, pods: Iterable[Pod]) -> None:
        """Look whether anybody makes load in a pod whose agent has had the time to have it killed."""
        for pod in pods:
            agent, told_at = self.killed.get((pod.worker, pod.attempt), (None, 0.0))
            if agent is not pod.main or agent is None or pod.launcher is None:
                continue  # another process of it will be told
            awake = agent.has_come_to_itself and pod.launcher.has_come_to_itself
            since = max(told_at, agent.changed_at, pod.launcher.changed_at)
            if awake and self.loop.time() > since + KILLED_WITHIN_SECONDS:
                living = [each.name for each in pod.engines.values() if each.is_alive]
                self.demand(not living, f"{pod.name} was told to kill, and there are {living}")

    def _hear_ack(self, call: Call, ack: Any) -> None:
        stream = (ack.stream.worker, ack.stream.attempt, ack.stream.engine, ack.stream.start)
        self.demand(
            ack.received >= ack.durable, f"of {stream} {ack.received} was received and {ack.durable} is durable"
        )
        name = StreamId(*stream)
        self._taken_in.setdefault(name, []).append((self.loop.time(), self._said.get((name, ack.received), 0)))
        self._taken_by[name] = id(call.connection.server)
        if ack.durable:
            before = self._durable.get(stream, 0)
            self.demand(ack.durable >= before, f"durable of {stream} went from {before} back to {ack.durable}")
            self._durable[stream] = ack.durable
            if call.connection.server is not None:
                self._durable_at[call.connection.server.process.name].add(stream)

    def _hear_state(self, state: Any) -> None:
        name = StreamId(state.stream.worker, state.stream.attempt, state.stream.engine, state.stream.start)
        self._said[name, state.sequence] = state.counters.completed

    def _hear_report(self, call: Call, report: Any) -> None:
        server = call.connection.server
        assert server is not None
        if report.stage == control_pb2.RUNNING_LOAD:
            lost = [
                each.worker
                for each in report.workers
                if each.state == control_pb2.WorkerReport.LOST and self._counts(each.worker, id(server))
            ]
            self.demand(len(lost) <= self.most_lost, f"there is load, and {lost} are lost")
        requests, boot = report.progress.requests, id(server)
        before = self._totals.get(boot, self._kept.get(server.process.name, 0))
        self.demand(requests >= before, f"totals went from {before} back to {requests}")
        self._totals[boot] = requests
        self._told_by = boot

    def _counts(self, worker: int, master: int) -> bool:
        """Whether a master has to count a worker that is lost."""
        is_known = worker < self.planned or not self.may_lose_ended or (master, worker) in self._newest
        return worker < self.least_wanted and is_known

    def see_restart(self, process: Process) -> None:
        """A master is started again, in the same pod."""
        self._kept[process.name] = sum(
            each.requests for name, each in self.sent.items() if self._key(name) in self._durable_at[process.name]
        )

    @staticmethod
    def _key(name: StreamId) -> tuple[int, ...]:
        return (name.worker, name.attempt, name.engine, name.start)

    def _see_end(self, call: Call, why: str) -> None:
        """A call has ended on the master's side, while its client was still there."""
        server = call.connection.server
        if call.method not in {"Control", "Statistics", "Bulk"} or call.who is None or server is None:
            return
        worker = call.who[0]
        # A worker that connects anew says Hello first: its other streams may be ended before they come again.
        is_followed = call.turn < self._calls[call.method, worker] or call.hello_turn < self._calls["Control", worker]
        is_followed = is_followed or call.who[1] < self._attempts[worker]
        # A master that has been started again knows nobody before its Hello.
        is_stranger = (id(server), worker) not in self._newest
        is_asked = is_stranger or call.is_dismissed or why == "returned" or not server.process.is_alive
        self.demand(is_followed or is_asked, f"{call.method} of {call.who} was ended by the master: {why}")

    # The end.

    def see_exit(self, process: Process, last_word: Path) -> None:
        """A master or an agent has ended; by itself, unless it has no exit code."""
        if process.exit_code is None:
            self.masters_killed += process.name.startswith("master")
            return
        self.note(f"{process.name} ended with {process.exit_code}")
        if process.exit_code == EXIT_SUCCEEDED:
            return  # it has left the run to another master
        self.demand(last_word.exists(), f"{process.name} ended with {process.exit_code} and without a last word")
        json.loads(last_word.read_text())

    def judge(self, outcome: Any, *, ends_with_what_was_taken: bool, may_be_killed: bool, is_orphaned: bool) -> None:
        """Look whether a run that was killed, or was to end with what it was robbed of, has done so."""
        ended = f"it went on to {outcome.verdict}/{outcome.reason}"
        if outcome.reason == "Killed":
            self.demand(may_be_killed and outcome.verdict == "Aborted", ended)
            return
        self.demand(is_orphaned or not self.killed, f"somebody was told to kill, and {ended}")
        if ends_with_what_was_taken:
            self.demand(outcome.verdict == "Error", ended)

    def conclude(self, outcome: Any, finished_at: float, *, is_orphaned: bool) -> None:
        """Compare what the outcome says with what was sent; an orphaned master has found nobody to tell it anything."""
        results = json.loads(outcome.results_json)
        # Who was not let go when the run was over had not said everything, and those that it lost are not waited for.
        self.may_lose |= {
            name for name in self.sent if self._left.get((name.worker, name.attempt), finished_at) >= finished_at
        }
        told, lost = results["requests"], results["unaccounted"]
        sent = sum(each.requests for each in self.sent.values())
        self.note(f"outcome: {outcome.verdict}/{outcome.reason}: {outcome.message}")
        self.note(f"results: {results}; sent: {sent}")
        at_least = bool(results.get("unaccountedAtLeast"))
        self.demand(0 <= lost <= told, f"{lost} of {told} are unaccounted")
        self.demand(told <= sent, f"the results hold {told} requests, {sent} were sent")
        if not at_least and not is_orphaned:
            self.demand(told == sent, f"the results hold {told} requests, {sent} were sent, and nothing is unknown")
        elif at_least:
            self.demand(bool(self.may_lose) or self.may_lose_ended, "something is unknown, and nothing was lost")
        self._look_at_achieved(json.loads(outcome.load_json), is_whole=not at_least and not is_orphaned)
        least = sum(self._certain(name, finished_at) for name in self.sent)
        self.demand(told >= least, f"the results hold {told} requests, {least} were sent or heard for certain")

    def _look_at_achieved(self, load: Any, *, is_whole: bool) -> None:
        """Compare what is said to be achieved with what was begun, or done."""
        counts = {
            "rate": sum(each.iterations for each in self.sent.values()),
            "iterations": sum(each.requests for each in self.sent.values()),
        }
        if (most := counts.get(load["model"])) is not None:
            achieved = load["achieved"]
            self.demand(achieved <= most, f"{achieved} iterations are achieved, {most} were there")
            self.demand(
                achieved == most or not is_whole, f"{achieved} iterations are achieved of {most}; none is unknown"
            )

    def _certain(self, name: StreamId, finished_at: float) -> int:
        """Return how many requests of a stream must be in the totals, whatever was lost."""
        # Of a stream that it has heard of, a master in a new pod holds everything, as one has that was there all along.
        has_come = self._taken_by.get(name) == self._told_by and not self.has_two_masters
        if name not in self.may_lose and (has_come or not self.may_lose_ended):
            return self.sent[name].requests
        is_kept = not self.masters_killed and not self.may_lose_ended
        return max((held for at, held in self._taken_in.get(name, ()) if is_kept and at < finished_at), default=0)
