"""Say what is wanted of a master: the whole wish, as values. How it gets there belongs to `control`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.load.change import Aim


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """A worker's engine container that is known to have ended."""

    worker: int
    attempt: int
    reason: str
    message: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Steer:
    """Tell the master what is wanted from now on: the whole wish, not a difference.

    Attributes:
        stop: why the run must stop, in the words of the verdict's reasons; empty to let it go on.
        ended: every worker that is known to have ended.
        paused: nothing is to be asked of the target.
        aims: what scenarios are to reach; none as long as the spec is the one that the run was planned with.
        config: the script's values; None as long.
        workers: how many there are to be; 0 as long, and in a run that keeps its workers.
        hopeless: why a load that has not begun cannot; empty: it may.
        hopeless_reason: the verdict's word for that.
    """

    run: int
    stop: str
    ended: tuple[WorkerEnd, ...]
    paused: bool = False
    aims: tuple[Aim, ...] = ()
    config: Mapping[str, str] | None = None
    workers: int = 0
    hopeless: str = ""
    hopeless_reason: str = ""
