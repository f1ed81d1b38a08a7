"""What a session wants done, and what it is told. Values only; `session` makes them, `service` carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadstone_core.register import Held
    from loadstone_protocol.messages import EngineEnd, EngineStage, RunOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The common configuration, as far as an agent decides by it; `body` is all of it, as it came.

    Attributes:
        held: its version and digest, in hex.
        is_intact: the digest is really that of the body.
        start_at_ns: on the master's clock; only with RunOrder.RUNNING.
    """

    held: Held
    is_intact: bool
    run_order: RunOrder
    script_digest: str
    start_at_ns: int
    stop_reason: str
    graceful_stop_ns: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """This worker's part of the load: slot `slot` of `slots`, and ranges of iterations from number `first_range`."""

    epoch: int
    version: int
    slot: int
    slots: int
    ranges: tuple[range, ...]
    first_range: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """What an engine says of itself, as far as an agent decides by it."""

    stage: EngineStage
    users: int
    applied_revision: int
    ranges_taken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnd:
    """How the launcher says that an engine's process has ended; nothing of it is known when the launcher went, too."""

    exit_code: int = -1
    signal: int = 0
    tail: str = ""
    is_out_of_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """Tell an engine the whole desired state.

    Attributes:
        body: of the common configuration: the load, and what setup returned.
        start_at_ns: on this machine's clock.
    """

    engine: int
    start: int
    revision: int
    body: bytes
    run_order: RunOrder
    start_at_ns: int
    slot: int
    slots: int
    ranges: tuple[range, ...]
    first_range: int
    stop_reason: str
    graceful_stop_ns: int


@dataclass(frozen=True, slots=True)
class Beat:
    """Send a heartbeat now."""


@dataclass(frozen=True, slots=True)
class Pings:
    """Ask for the master's clock `count` times."""

    count: int


@dataclass(frozen=True, slots=True)
class RetellStates:
    """Send the whole state of every stream."""


@dataclass(frozen=True, slots=True)
class Conclude:
    """Read what an engine that has ended left in its counters file, and hand it to `Session.conclude`."""

    engine: int
    start: int


@dataclass(frozen=True, slots=True)
class SayEnd:
    """Tell the master that an engine's process has ended."""

    end: EngineEnd


@dataclass(frozen=True, slots=True)
class SayBye:
    """Tell the master that nothing more will come."""

    ends: tuple[EngineEnd, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """Leave this master, one of an earlier epoch, and look for another."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Let the launcher keep engines alive for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Deadline:
    """Let the launcher kill what still lives after so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Finish:
    """Let the launcher exit with a code; then the agent may end, too.

    Attributes:
        is_durable: the master holds everything.
    """

    exit_code: int
    is_durable: bool


Effect = Configure | Beat | Pings | RetellStates | Conclude | SayEnd | SayBye | HangUp | Lease | Deadline | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a heartbeat says beside the engines' own words.

    Attributes:
        started_at_ns: when each engine began its load, on the master's clock, by (engine, start).
    """

    number: int
    applied: Held | None
    assignment: int
    conflict: str
    is_draining: bool
    offset_ns: int
    round_trip_ns: int
    engines: tuple[tuple[int, int], ...]
    started_at_ns: dict[tuple[int, int], int]
