"""Name the phases of a run and their order. Nothing here knows when a phase is reached."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Phase(StrEnum):
    """Where a run is, as the status says it."""

    PENDING = "Pending"
    QUEUED = "Queued"
    PREFLIGHT = "Preflight"
    PROVISIONING = "Provisioning"
    ARMED = "Armed"
    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPING = "Stopping"
    FINISHED = "Finished"
    SUSPENDED = "Suspended"

    @property
    def is_terminal(self) -> bool:
        """Whether only another run leads out of this phase."""
        return self in _TERMINAL

    @property
    def order(self) -> int:
        """How far along a run is; equal for phases that may alternate, and for the two ways to end."""
        return _ORDER[self]


_TERMINAL: Final = frozenset({Phase.FINISHED, Phase.SUSPENDED})
_STEPS: Final = (
    (Phase.PENDING,),
    (Phase.QUEUED,),
    (Phase.PREFLIGHT,),
    (Phase.PROVISIONING,),
    (Phase.ARMED,),
    (Phase.RUNNING, Phase.PAUSED),
    (Phase.STOPPING,),
    (Phase.FINISHED, Phase.SUSPENDED),
)
_ORDER: Final[Mapping[Phase, int]] = {phase: order for order, step in enumerate(_STEPS) for phase in step}
