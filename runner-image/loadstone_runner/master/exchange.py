"""Keep this master's channels with each worker's agent, whatever becomes of their connections. Nothing is decided here.

Who wants to hear a kind of channel, or to send on one, equips every end there is and will be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_runner.transport.grpc.bulk import BulkEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    Equip = Callable[[BulkEnd, int, int], None]


class Exchange:
    """The ends by worker and attempt: what an attempt has said before its agent was started again counts on."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, int], BulkEnd] = {}
        self._equipment: list[Equip] = []

    def equip(self, equip: Equip) -> None:
        """Have `equip(end, worker, attempt)` called for each end, once."""
        self._equipment.append(equip)
        for (worker, attempt), end in self._ends.items():
            equip(end, worker, attempt)

    def end_of(self, worker: int, attempt: int) -> BulkEnd:
        """Return the channels of a worker's attempt, made when they are first asked for."""
        end = self._ends.get((worker, attempt))
        if end is None:
            end = self._ends[(worker, attempt)] = BulkEnd()
            for equip in self._equipment:
                equip(end, worker, attempt)
        return end
