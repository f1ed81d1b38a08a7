"""Hold what a master knows of one worker. Times are CLOCK_BOOTTIME nanoseconds unless they say otherwise."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.plan.model import ATTEMPTS_MOST
from loadstone_protocol.messages import EngineStage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.register import Held
    from loadstone_protocol.messages import EngineNews, Heartbeat, Peer, ScriptNews

SILENT: Final = "Silent"
OUT_OF_MEMORY: Final = "OOMKilled"
_REMEMBERED: Final = ("attempt", "pod", "script_digest", "awaits_bye", "is_excused", "has_retired")


class WorkerState(StrEnum):
    """How far a worker is."""

    EXPECTED = "expected"
    CONNECTED = "connected"
    READY = "ready"
    RUNNING = "running"
    SUSPECT = "suspect"
    ENDED = "ended"
    LOST = "lost"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is expected of the worker."""
        return self in {WorkerState.ENDED, WorkerState.LOST}


SAID_MAX: Final = 1_024  # characters of what followers are told of one worker: there may be thousands


@dataclass(frozen=True, slots=True)
class Departure:
    """Why a worker is gone before its time."""

    reason: str  # OOMKilled, EngineDied, Terminated, Silent, Deleted, ...
    message: str
    exit_code: int = 0


@dataclass(slots=True)
class Member:
    """What is known of one worker; `heard_ns` is None before its first Hello."""

    worker: int
    state: WorkerState = WorkerState.EXPECTED
    attempt: int = 0
    boot: str = ""
    peer: Peer | None = None  # who was taken in last
    pod: str = ""
    heard_ns: int | None = None
    is_connected: bool = False
    script_digest: str = ""
    beat: Heartbeat | None = None
    departure: Departure | None = None
    has_said_bye: bool = False
    is_durable: bool = False  # and what it said cannot be lost any more
    awaits_bye: bool = False  # lost, and yet its agent lives and has more to say
    is_excused: bool = False  # has not come, and the run has begun without it
    has_retired: bool = False  # this attempt has given up all of its load for good, as fewer workers were wanted
    round_trip_ns: int = 0
    start_off_by_ns: int = 0
    starts: dict[tuple[int, int], int] = field(default_factory=dict)  # (engine, start) -> first load, master's clock

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        return {name: getattr(self, name) for name in _REMEMBERED} | {
            # A later start may have heard nothing of it yet.
            "has_said_bye": self.has_said_bye and self.is_durable,
            "over": self.state.value if self.state.is_over else "",
            "departure": astuple(self.departure) if self.departure else None,
            "starts": [[*key, at_ns] for key, at_ns in self.starts.items()],
        }

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another master of the run was with this worker."""
        for name in _REMEMBERED:
            setattr(self, name, held[name])
        self.has_said_bye = self.is_durable = held["has_said_bye"]
        self.departure = Departure(*held["departure"]) if held["departure"] else None
        self.starts = {(engine, start): at_ns for engine, start, at_ns in held["starts"]}
        if held["over"]:
            self.state = WorkerState(held["over"])

    def has_applied(self, held: Held) -> bool:
        """Say whether the worker has acknowledged a configuration, to the byte."""
        beat = self.beat
        return beat is not None and (beat.applied, beat.applied_digest) == (held.version, held.digest)

    def conflict(self, expected_digest: str) -> str | None:
        """Return one sentence if the worker holds other files or another configuration than the run, else None."""
        who = f"worker {self.worker} ({self.pod})"
        if self.script_digest != expected_digest:
            return (
                f"{who} mounts script files with digest {self.script_digest}, the run's are {expected_digest}; "
                "run the test again so that all get the same files"
            )
        if self.beat is not None and self.beat.conflict is not None:
            return f"{who} refused the configuration: {self.beat.conflict}"
        return None

    def foreign(self, held: Held) -> str | None:
        """Return one sentence if the worker holds a later version of this epoch than was ever sent, else None."""
        applied = self.beat.applied if self.beat is not None else None
        if applied is None or applied.epoch != held.version.epoch or applied <= held.version:
            return None
        return (
            f"worker {self.worker} ({self.pod}) holds version {applied.epoch}.{applied.revision} of the configuration, "
            "which another master of this run must have sent"
        )

    def script_problem(self) -> ScriptNews | None:
        """Return what keeps an engine of the worker from running the script: the script itself, or what it needs."""
        return next((each.script for each in self.engines if each.script is not None and not each.script.is_ok), None)

    @property
    def is_living(self) -> bool:
        """Whether the worker has come and is not over."""
        return not self.state.is_over and self.state is not WorkerState.EXPECTED

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be heard of the worker that counts."""
        return (self.state.is_over or self.is_excused) and not self.awaits_bye

    @property
    def engines(self) -> tuple[EngineNews, ...]:
        """The engines as the newest heartbeat has them."""
        return self.beat.engines if self.beat else ()

    @property
    def users(self) -> int:
        """Live users by the newest heartbeat; none once the worker is over."""
        return 0 if self.state.is_over or not self.beat else self.beat.users

    def state_by_engines(self) -> WorkerState:
        """Return how far the worker is by what its engines say."""
        stages = {each.stage for each in self.engines}
        if stages & {EngineStage.RUNNING, EngineStage.STOPPING, EngineStage.ENDED}:
            return WorkerState.RUNNING
        if stages == {EngineStage.READY}:
            return WorkerState.READY
        return WorkerState.CONNECTED


def earlier_attempts(attempt: int) -> range:
    """Return the attempts of a worker before this one, as far as an operator makes so many; the number is a peer's."""
    return range(max(1, attempt - ATTEMPTS_MOST), attempt)
