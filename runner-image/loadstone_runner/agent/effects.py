"""What a session wants done, and what it is told. Values only; `session` makes them, `service` carries them out.

Named tuples, as making a dataclass costs half a millisecond, and ten workers start on two cores.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from loadstone_core.load.grant import Grant
    from loadstone_core.load.lots import Share
    from loadstone_core.register import Held
    from loadstone_protocol.messages import EngineEnd, EngineStage, RunOrder


class Common(NamedTuple):
    """The common configuration, as far as an agent decides by it; `body` is all of it, as it came.

    Attributes:
        held: its version and digest, in hex.
        is_intact: the digest is really that of the body.
        start_at_ns: on the master's clock; only with RunOrder.RUNNING.
        is_kill: with RunOrder.STOPPED: engines that live are killed at once.
    """

    held: Held
    is_intact: bool
    run_order: RunOrder
    script_digest: str
    start_at_ns: int
    stop_reason: str
    graceful_stop_ns: int
    body: bytes
    is_kill: bool = False


class Assignment(NamedTuple):
    """This worker's part of the load: slot `slot` of `slots`, and what its engines are granted.

    Attributes:
        holding: version of `shares`; 0: none are told, and the slot is this worker's part.
        shares: what its engines do of the load.
    """

    epoch: int
    version: int
    slot: int
    slots: int
    grants: tuple[Grant, ...]
    holding: int = 0
    shares: tuple[Share, ...] = ()


class EngineStatus(NamedTuple):
    """What an engine says of itself, as far as an agent decides by it.

    Attributes:
        is_starving: users wait for numbers, and none are left.
        leaving: users of shares that it gave up.
        start_at_ns: when the load starts that it follows, on this machine's clock; 0: it knows of none.
    """

    stage: EngineStage
    users: int
    applied_revision: int
    is_starving: bool
    leaving: int = 0
    start_at_ns: int = 0


class ProcessEnd(NamedTuple):
    """How the launcher says that an engine's process has ended; nothing of it is known when the launcher went, too."""

    exit_code: int = -1
    signal: int = 0
    tail: str = ""
    is_out_of_memory: bool = False


class Configure(NamedTuple):
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
    grants: tuple[Grant, ...]
    stop_reason: str
    graceful_stop_ns: int
    holding: int = 0
    shares: tuple[Share, ...] = ()


class Act(Enum):
    """What is wanted without anything more to say about it."""

    BEAT = auto()  # send a heartbeat now
    RETELL_STATES = auto()  # send the whole state of every stream
    BEQUEATH = auto()  # tell the master what is held of the one before


class HangUp(NamedTuple):
    """Leave this master and look for one anew."""

    why: str


class Pings(NamedTuple):
    """Ask for the master's clock `times` times."""

    times: int


class Conclude(NamedTuple):
    """Read what an engine that has ended left in its counters file, and hand it to `Session.conclude`."""

    engine: int
    start: int


class SayEnd(NamedTuple):
    """Tell the master that an engine's process has ended."""

    end: EngineEnd


class SayBye(NamedTuple):
    """Tell the master that nothing more will come."""

    ends: tuple[EngineEnd, ...]
    reason: str


class Lease(NamedTuple):
    """Let the launcher keep engines alive for so long."""

    seconds: float


class Deadline(NamedTuple):
    """Let the launcher kill what still lives after so long."""

    seconds: float


class Finish(NamedTuple):
    """Let the launcher exit with a code; then the agent may end, too.

    Attributes:
        is_durable: the master holds everything.
    """

    exit_code: int
    is_durable: bool


Effect = Act | HangUp | Configure | Pings | Conclude | SayEnd | SayBye | Lease | Deadline | Finish


class Summary(NamedTuple):
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
    start_off_by_ns: int
    engines: tuple[tuple[int, int], ...]
    started_at_ns: dict[tuple[int, int], int]
