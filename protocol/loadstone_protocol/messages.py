"""What agents and followers say to a master, as plain values. Nothing is parsed here and no stub is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.load.change import Aim
    from loadstone_core.load.lots import Share
    from loadstone_core.register import Version
    from loadstone_core.stats.stream import Counters, StreamId


class EngineStage(StrEnum):
    """How far an engine is."""

    LOADING = "loading"
    READY = "ready"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class RunOrder(StrEnum):
    """What the common configuration asks of every worker."""

    READY = "ready"
    RUNNING = "running"
    STOPPED = "stopped"


class RefusalCode(StrEnum):
    """Why an agent is not taken in."""

    WRONG_RUN = "wrong run"
    FENCED = "fenced"
    PROTOCOL = "protocol"
    RUN_OVER = "run over"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an agent is not taken in, with one sentence for people."""

    code: RefusalCode
    detail: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Who an agent is: the attempt of a worker, and which start of the agent's process (`boot`).

    Attributes:
        started_ns: CLOCK_BOOTTIME at that start.
        machine_boot: which boot of which machine that clock counts from; empty if it is not known.
    """

    run_uid: str
    worker: int
    attempt: int
    boot: str
    pod: str
    started_ns: int = 0
    machine_boot: str = ""

    def precedes(self, other: Peer) -> bool:
        """Say whether this start of an agent is known to have been before another one."""
        is_same_clock = self.machine_boot != "" and self.machine_boot == other.machine_boot
        return is_same_clock and self.started_ns < other.started_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first words of an agent on a new connection."""

    peer: Peer
    protocol_major: int
    protocol_minor: int
    script_digest: str
    engines: int
    highest_epoch: int
    version: str = ""  # of the Loadstone distribution


@dataclass(frozen=True, slots=True)
class ScriptNews:
    """Whether a process could import the script; `traceback` is its last lines.

    Attributes:
        is_preflight: the script is well, but what the load needs is not there.
    """

    is_ok: bool
    problem: str
    traceback: str
    is_preflight: bool = False

    def describe(self) -> str:
        """Return problem and traceback for people."""
        return f"{self.problem}\n{self.traceback}" if self.traceback else self.problem


@dataclass(frozen=True, slots=True)
class ShapeNews:
    """What a shape in the script wants of the load; `failed` is why it cannot be asked any more, empty if it can."""

    users: int
    spawn_rate: int | None
    is_over: bool
    failed: str


@dataclass(frozen=True, slots=True)
class GrantNews:
    """What became of the numbers of one name that an engine was granted: see GrantState in engine.proto."""

    name: str
    known: int
    left: int
    per_second: int
    waiting: int
    rows: int = 0


class LaneNews(NamedTuple):
    """How the handling of one kind of custom message is: see LaneState in engine.proto."""

    name: str
    depth: int
    running: int
    oldest_ns: int
    processed: int
    failed: int
    rejected: int
    duration_ns: int
    longest_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNews:
    """One engine in a heartbeat; lag and slip are the largest, or 99th percentile, of the last second.

    Attributes:
        over: places in the plan of the scenarios of which the engine will begin nothing more.
        exhausted: connections that could not be opened in that second for want of ports, files or memory.
    """

    engine: int
    start: int
    stage: EngineStage
    users: int
    loop_lag_ns: int
    schedule_slip_ns: int
    grants: tuple[GrantNews, ...]
    over: frozenset[int]
    script: ScriptNews | None
    started_at_ns: int  # on the master's clock; 0 = not yet
    exhausted: int = 0
    stop_asked: str = ""  # why the script wants the run to end; empty: it does not
    flavour: str = ""  # of the request path: compiled or pure
    lanes: tuple[LaneNews, ...] = ()
    holding: int = 0  # version of the shares that it follows
    leaving: int = 0  # users of shares that it gave up, which have not ended yet
    memory_bytes: int = 0  # resident
    cpu_permille: int = 0  # of a core, in the last second
    series: int = 0  # that it keeps
    queued_bytes: int = 0  # of messages that its agent has not taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The observed state of one worker; CPU and throttling are of the last second, 0 is also for unknown.

    Attributes:
        cgroup_bytes: memory of the engines' container that cannot be taken back.
        agent_lag_ns: how late the agent's own loop was.
        spool_bytes: of what waits on disk, or in memory that stands in for it.
        start_off_by_ns: how far off the start of load may be that engines follow there.
    """

    number: int
    sent_ns: int  # on the agent's clock
    applied: Version | None
    applied_digest: str  # hex
    assignment: int
    engines: tuple[EngineNews, ...]
    cpu_permille: int
    memory_bytes: int
    memory_limit_bytes: int
    round_trip_ns: int
    conflict: str | None
    is_draining: bool
    throttled_permille: int = 0
    cgroup_bytes: int = 0
    agent_memory_bytes: int = 0
    agent_lag_ns: int = 0
    spool_bytes: int = 0
    start_off_by_ns: int = 0

    @property
    def users(self) -> int:
        """Live users of all engines."""
        return sum(each.users for each in self.engines)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEnd:
    """How one engine process ended; `counters` are None when nobody could read them."""

    stream: StreamId
    is_clean: bool
    counters: Counters | None
    exit_code: int
    signal: int
    tail: str
    is_out_of_memory: bool
    final_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """What was written to one output of one start of an engine, as its launcher counted it.

    Attributes:
        boot: of the launcher.
        fd: 1 or 2.
        has_ended: else nobody knows how much was written, and the rest is nothing.
        lost_lines: of `lines`, those for which there was no room.
        digest: SHA-256 over the lines that were not lost, and where the gaps are.
    """

    boot: str
    engine: int
    start: int
    fd: int
    has_ended: bool
    lines: int = 0
    size: int = 0
    lost_lines: int = 0
    lost_size: int = 0
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Bye:
    """Everything that an agent will ever say has been said."""

    engines: tuple[EngineEnd, ...]
    reason: str
    logs: tuple[LogEnd, ...] = ()


@dataclass(frozen=True, slots=True)
class Ping:
    """A question for the master's clock."""

    sent_ns: int


class Granted(NamedTuple):
    """How much of one name an engine has been granted: so many ranges and numbers, all below `end`.

    Attributes:
        latest: the last of these ranges, which the engine may not know yet.
    """

    name: str
    engine: int
    ranges: int
    numbers: int
    end: int
    latest: tuple[range, ...] = ()


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What an agent holds of the master before.

    Attributes:
        version: of the configuration; None: it holds none.
        since_start_ns: of the load, when this was sent; negative: it has not begun.
        setup_json: what setup returned.
        memory: what the master before has left for this one.
        shares: what its engines do of the load, by the newest assignment that it holds.
    """

    version: Version | None
    since_start_ns: int
    granted: tuple[Granted, ...]
    setup_json: bytes = b""
    memory: bytes = b""
    shares: tuple[Share, ...] = ()


AgentWord = Heartbeat | EngineEnd | Bye | Ping | Inheritance


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """A follower knows that the container of a worker has ended."""

    worker: int
    attempt: int
    reason: str
    message: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """What a follower wants of the run, whole; a higher revision replaces a lower one."""

    revision: int
    stop_reason: str | None
    is_immediate: bool
    ended: tuple[WorkerEnd, ...]
    is_paused: bool = False
    aims: tuple[Aim, ...] = ()
    config: Mapping[str, str] | None = None  # None: as the run was planned
    workers: int = 0  # how many are wanted; 0: as many as were planned
    hopeless: str = ""  # why a load that has not begun cannot; empty: it may
    hopeless_reason: str = ""  # the verdict's word for that; empty: none was told
